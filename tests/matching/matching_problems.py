"""Random matching problems for the tests, small enough for float64 oracles.

Letters: S synthetic images, B batch, N inner steps, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from datm.augment import OPERATIONS, Augmentations, draw_augmentation
from datm.matching import MatchGradient, match_gradient, student_loss
from datm.networks import make_network
from datm.runtime.seeds import generator

SMALL = "convnet-2,width=6"
SHAPE = (3, 8, 8)
CLASSES = 4
STRATEGY = "_".join(OPERATIONS)


@dataclass(frozen=True)
class Segment:
    """Everything `match_gradient` takes, with a student and a target drawn at random."""

    loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    start: Tensor
    target: Tensor
    images: Tensor
    logits: Tensor
    step_size: Tensor
    batches: Tensor
    augment: Callable[[int, Tensor], Tensor] | None = None

    def match(self, method: str, **changed: Any) -> MatchGradient:
        return match_gradient(
            changed.get("loss", self.loss),
            self.start,
            changed.get("target", self.target),
            changed.get("images", self.images),
            changed.get("logits", self.logits),
            changed.get("step_size", self.step_size),
            self.batches,
            method,
            self.augment,
            changed.get("distance"),
            changed.get("first", 0),
        )

    def to(self, dtype: torch.dtype) -> "Segment":
        names = "start", "target", "images", "logits", "step_size"
        return replace(self, **{name: getattr(self, name).to(dtype) for name in names})


def random_segment(
    seed: int,
    steps: int,
    batch: int,
    count: int = 7,
    spec: str = SMALL,
    shape: tuple[int, int, int] = SHAPE,
    strategy: str = STRATEGY,
) -> Segment:
    """A float64 segment of `steps` inner steps over `count` images; nothing in it is zero.

    A batch is drawn with replacement: an image may stand in it twice, or in no batch at all.
    """
    draw = generator(seed, "segment", spec, steps, batch)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=draw, dtype=torch.float64)

    network = make_network(spec, shape, CLASSES)
    total = network.layout.total
    start = network.initial(draw).double() + 0.05 * normal(total)
    return Segment(
        student_loss(network),
        start,
        start + 0.1 * normal(total),
        normal(count, *shape),
        2 * normal(count, CLASSES),
        torch.tensor(0.07, dtype=torch.float64),
        torch.randint(count, (steps, batch), generator=draw),
        drawn_augment(strategy, steps, batch, seed),
    )


def drawn_augment(strategy: str, steps: int, batch: int, seed: int) -> Augmentations:
    """One draw of `strategy` for each inner step."""
    return Augmentations.of(
        [
            draw_augmentation(strategy, batch, generator(seed, "augment", step))
            for step in range(steps)
        ]
    )


def difference(ours: Tensor, theirs: Tensor) -> float:
    """||ours - theirs|| / ||theirs||."""
    assert theirs.norm() > 0
    return float((ours - theirs).norm() / theirs.norm())


def differences(ours: MatchGradient, theirs: MatchGradient) -> dict[str, float]:
    """The relative difference of each of the record's five entries."""
    return {
        name: difference(getattr(ours, name), getattr(theirs, name))
        for name in ("loss", "images_grad", "logits_grad", "step_size_grad", "student")
    }
