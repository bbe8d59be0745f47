"""Where the parts run, and the random problems they are tried on.

Letters: P parameters, S synthetic images (= 2 B), N inner steps, B batch, K classes, G segments
side by side.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from speed.baselines import Segment
from torch import Tensor

from datm.augment import OPERATIONS, Augmentations, SideBySide, draw_augmentation
from datm.matching import Augment, MatchGradient, Student, match_gradient
from datm.networks import Network, make_network
from datm.runtime.device import Precision, Runtime
from datm.runtime.seeds import generator

STRATEGY = "_".join(OPERATIONS)
CLASSES = 10
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Place:
    """The device and the size of everything: the papers' ConvNet, or a toy. A CPU compiles none."""

    device: Device
    quick: bool = False

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the images."""
        return (3, 8, 8) if self.quick else (3, 32, 32)

    def precisions(self, *wanted: Precision) -> tuple[Precision, ...]:
        """Those of `wanted` that this device computes in."""
        return wanted if self.on_gpu else ("float32",)

    def network(self, precision: Precision, classes: int = CLASSES) -> Network:
        """The network; the process is set up for it."""
        Runtime(device=self.device, precision=precision).torch_device()
        spec = "convnet-1,width=4" if self.quick else "convnet-3"
        return make_network(spec, self.shape, classes, precision)

    def wait(self) -> None:
        """For all that the device was given to do."""
        if self.on_gpu:
            torch.cuda.synchronize()


class Problem(NamedTuple):
    """G segments side by side: start, target [G, P]; batches [G, N, B]. G = 1: no such axis."""

    segment: Segment
    augment: Augment

    def match(self, student: Student) -> MatchGradient:
        return match_gradient(student, *self.segment, augment=self.augment)


def random_problem(
    place: Place,
    network: Network,
    batch: int,
    steps: int,
    sides: int = 1,
    seed: int = 0,
    classes: int = CLASSES,
) -> Problem:
    """In float32; the same numbers on every device."""
    draw = generator(seed, "problem", batch, steps, sides)

    def each(make: Callable[[], Tensor]) -> Tensor:
        return make() if sides == 1 else torch.stack([make() for _ in range(sides)])

    def near(start: Tensor) -> Tensor:
        return start + 0.01 * torch.randn(start.shape, generator=draw)

    def rows() -> Tensor:
        return torch.stack(
            [torch.randperm(2 * batch, generator=draw)[:batch] for _ in range(steps)]
        )

    initial = network.initial(draw)
    start = each(lambda: near(initial))
    values = (
        start,
        near(start),
        torch.randn(2 * batch, *place.shape, generator=draw),
        torch.randn(2 * batch, classes, generator=draw),
        torch.tensor(0.01),
        each(rows),
    )
    drawn = []
    for _ in range(sides):
        own = Augmentations.of([draw_augmentation(STRATEGY, batch, draw) for _ in range(steps)])
        drawn.append(replace(own, uniforms=own.uniforms.to(place.device)))
    augment: Augment = drawn[0] if sides == 1 else SideBySide(tuple(drawn))
    return Problem(Segment(*(value.to(place.device) for value in values)), augment)
