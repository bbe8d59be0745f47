"""What each iteration differentiates: its students, with all that is drawn for them.

Most follow a teacher's segment; some begin with fresh weights and are judged on real images.

Every draw is a function of the seed and the iteration, so the next iteration's can be made while
a GPU works on this one; they reach it through pinned memory, without a wait.

Shapes: P parameters, N inner steps, B batch, R real images, c channels, H height, W width.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from datm.augment import Augmentations, draw_augmentation, parse_strategy
from datm.batches import BatchStream
from datm.errors import InputError
from datm.matching import MatchConfig, Segment, draw_segment, on_real_images
from datm.runtime.seeds import generator
from datm.teaching import Trajectories

NONE = torch.empty(0)


@dataclass(frozen=True)
class Draw:
    """A student: its start [P], batches [first + N, B] and one augmentation per inner step.

    It has to reach `target` [P], where `segment` ends, or, without a segment, to do well on the
    real images in the rows `real` [R]; the other of the two is empty.
    first: the first step that is differentiated.
    """

    segment: Segment | None
    start: Tensor
    target: Tensor
    batches: Tensor
    augment: Augmentations
    real: Tensor
    first: int = 0

    def pinned(self) -> "Draw":
        """The same in page-locked memory, from which a GPU copies by itself."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> "Draw":
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, move: Callable[[Tensor], Tensor]) -> "Draw":
        return replace(
            self,
            start=move(self.start),
            target=move(self.target),
            batches=move(self.batches),
            real=move(self.real),
            augment=replace(self.augment, uniforms=move(self.augment.uniforms)),
        )


def check_flip(match: MatchConfig, augmentation: str) -> None:
    """Raises InputError where flipped segments are asked for of teachers that saw no such images.

    augmentation: the teachers'.
    """
    if match.flip and "flip" not in parse_strategy(augmentation):
        raise InputError(
            f"match.flip: the teachers' augmentation, {augmentation}, has no flip, so a flipped"
            " image may be of another class; leave match.flip out or teach with flip."
        )


Initial = Callable[[torch.Generator], Tensor]
"""Freshly initialised parameters [P] of the student's network."""


class Segments:
    """The draws of any iteration, on `device`; on a GPU the next iteration's are made ahead."""

    def __init__(
        self,
        trajectories: Trajectories,
        initial: Initial,
        match: MatchConfig,
        count: int,
        real: int,
        seed: int,
        device: torch.device,
        ahead: bool | None = None,
    ) -> None:
        """For `count` synthetic images and `real` ones.

        `ahead`: make the next iteration's draws meanwhile (default: on a GPU).
        """
        self._trajectories = trajectories
        self._initial = initial
        self._match = match
        self._count = count
        self._real = real
        self._seed = seed
        self._device = device
        on_gpu = device.type == "cuda"
        self._pin = on_gpu
        self._pool = ThreadPoolExecutor(1) if (on_gpu if ahead is None else ahead) else None
        self._ahead: dict[int, Future[list[Draw]]] = {}

    def __call__(self, iteration: int) -> list[Draw]:
        """One draw for each of `match.segments`, all with a segment or all without."""
        if self._pool is None:
            return self._draw_all(iteration)
        waiting = self._ahead.pop(iteration, None)
        draws = waiting.result() if waiting else self._draw_all(iteration)
        self._ahead = {iteration + 1: self._pool.submit(self._draw_all, iteration + 1)}
        return [draw.to(self._device) for draw in draws]

    def _draw_all(self, iteration: int) -> list[Draw]:
        draws = [self.draw(iteration, number) for number in range(self._match.segments)]
        return [draw.pinned() for draw in draws] if self._pin else draws

    def draw(self, iteration: int, number: int) -> Draw:
        """Student `number` of `iteration`, on the CPU."""
        match = self._match
        path = self._seed, "distill", iteration, number
        if on_real_images(match, iteration):
            # The same for all of an iteration: students side by side advance together.
            skip = generator(self._seed, "distill", iteration, "skip")
            first = int(torch.randint(match.data_skip + 1, (), generator=skip))
            start = self._initial(generator(*path, "start"))
            real = torch.randint(
                self._real, (match.data_batch,), generator=generator(*path, "real")
            )
            return self._student(path, None, start, NONE, real, first)
        segment = draw_segment(
            match, iteration, len(self._trajectories), generator(*path, "segment")
        )
        ends = self._trajectories.segment(segment.teacher, segment.start, match.teacher_epochs)
        return self._student(path, segment, *ends, NONE.long(), 0)

    def _student(
        self,
        path: tuple[int, str, int, int],
        segment: Segment | None,
        start: Tensor,
        target: Tensor,
        real: Tensor,
        first: int,
    ) -> Draw:
        """The student with its batches and augmentations."""
        match, steps = self._match, first + self._match.inner_steps
        stream = BatchStream(self._count, match.batch, *path, "batches")
        drawn = [
            draw_augmentation(
                self._trajectories.augmentation, stream.batch, generator(*path, "augment", step)
            )
            for step in range(steps)
        ]
        # Flipping kernels makes of a teacher that of flipped images. Flipping images instead does
        # the same in any network, and the matching loss does not know the difference.
        flipped = match.flip and bool(torch.rand((), generator=generator(*path, "flip")) < 0.5)
        augment = replace(Augmentations.of(drawn), flipped=flipped)
        return Draw(segment, start, target, stream.stack(range(steps)), augment, real, first)
