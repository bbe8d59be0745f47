"""The steps of a run on random images, to be measured: made of what the stages are made of.

Shapes: P parameters, B batch, c channels, H height, W width, K classes, N inner steps, G networks
or segments side by side.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from datm.augment import Augmentation, Augmentations, SideBySide, augmented, draw_augmentation
from datm.baselines import DMConfig, DSAConfig, Task, zhao2021dsa, zhao2023dm
from datm.matching import Student, match_gradient, student_loss
from datm.matching.config import Method
from datm.networks import Predictor, make_network
from datm.planning.outline import Step
from datm.runtime.device import Runtime
from datm.runtime.seeds import generator

Call = Callable[[int], object]
"""Takes one step, or that many inner steps."""


class Parts:
    """A network and the functions that every stage makes of it."""

    def __init__(
        self, spec: str, shape: tuple[int, int, int], classes: int, runtime: Runtime, method: Method
    ) -> None:
        self.shape, self.classes, self.method = shape, classes, method
        self.device = runtime.torch_device()
        self.network = make_network(spec, shape, classes, runtime.arithmetic)
        self.student = Student(student_loss(self.network), runtime.compile)
        self.predictor = Predictor(self.network, runtime.compile)
        self.draw = generator(0, "plan", spec)
        self.params = self.network.initial(self.draw).to(self.device)

    def uncompiled(self, batch: int) -> Callable[[], object]:
        """A gradient on `batch` images, in plain eager execution."""
        eager, inputs = Student(student_loss(self.network)), self._inputs(batch)
        return lambda: eager.gradient(self.params, *inputs)

    def call(self, step: Step, batch: int) -> Call:
        """`step` on G x `batch` images, to be taken again and again, each time with other draws."""
        images, logits = self._inputs(batch)
        calls = itertools.count()
        sides = range(step.side)

        def augmentation() -> Augmentation:
            draw = generator(0, "plan", next(calls))
            return draw_augmentation(step.augmentation, batch, draw)

        def gradient(steps: int) -> object:
            params = torch.stack([self.params for _ in sides])
            rows = torch.stack(
                [torch.stack([self._rows(batch) for _ in range(steps)]) for _ in sides]
            )
            seeds = [next(calls) for _ in sides]
            seen = augmented(step.augmentation, seeds, range(steps), images[rows])
            still = torch.zeros_like(params)
            return self.student.descend(params, still, seen, logits[rows], [0.01] * steps)

        def match(inner_steps: int) -> object:
            return self._match(images, logits, step.side, inner_steps, augmentation)

        def condense(_: int) -> object:
            return self._condense(step, images, next(calls))

        kinds: dict[str, Call] = {
            "dm": condense,
            "dsa": condense,
            "gradient": gradient,
            "match": match,
            "scores": lambda _: self.predictor.scores(self.params, images, images[:1]),
            "statistics": lambda _: self.network.statistics(self.params, images),
        }
        return kinds[step.kind]

    def _match(
        self,
        images: Tensor,
        logits: Tensor,
        sides: int,
        inner_steps: int,
        augmentation: Callable[[], Augmentation],
    ) -> object:
        """The matching gradients of `sides` segments over `inner_steps` steps."""
        batch = len(images)
        draws = [
            Augmentations.of([augmentation() for _ in range(inner_steps)]) for _ in range(sides)
        ]
        batches = [
            torch.stack([self._rows(batch) for _ in range(inner_steps)]) for _ in range(sides)
        ]

        start = self._alone_or_stacked([self.params] * sides)
        return match_gradient(
            self.student,
            start,
            0.99 * start,
            images,
            logits,
            torch.tensor(0.01, device=self.device),
            self._alone_or_stacked(batches),
            self.method,
            draws[0] if sides == 1 else SideBySide(tuple(draws)),
        )

    def _condense(self, step: Step, images: Tensor, number: int) -> object:
        """The gradient of one class's synthetic images by another method."""
        own = images[: step.synthetic]
        task = Task(
            network=self.network,
            images=images,
            labels=torch.zeros(len(images), dtype=torch.long, device=self.device),
            classes=self.classes,
            start=torch.arange(len(own), device=self.device),
            augmentation=step.augmentation,
            seed=number,
        )
        if step.kind == "dm":
            config = DMConfig(batch=len(images))
            return zhao2023dm.gradient_at(task, self.params, own, config, 0)[1]
        settings = DSAConfig(batch=len(images))
        return zhao2021dsa.gradient_at(task, self.params, own, settings, (0, 0))[1]

    def _inputs(self, count: int) -> tuple[Tensor, Tensor]:
        """Random images [count, c, H, W] and label logits [count, K]."""
        images = torch.randn((count, *self.shape), generator=self.draw)
        logits = torch.randn((count, self.classes), generator=self.draw)
        return images.to(self.device), logits.to(self.device)

    def _rows(self, batch: int) -> Tensor:
        return torch.randperm(batch, generator=self.draw).to(self.device, non_blocking=True)

    @staticmethod
    def _alone_or_stacked(parts: Sequence[Tensor]) -> Tensor:
        """G tensors as the stages hand them on: one goes without the axis G."""
        return parts[0] if len(parts) == 1 else torch.stack(list(parts))
