"""What every matching-gradient method takes and returns.

Shapes: P parameters, S synthetic images, N inner steps, B batch, c channels, H height, W width,
K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from datm.batches import blocks
from datm.matching.data_loss import DataLoss
from datm.matching.distance import Way
from datm.matching.student import Student

Augment = Callable[[int, Tensor], Tensor]
"""(inner step i, images [..., B, c, H, W]) -> augmented images; differentiable, i decides the draw.

It may have a method `block(first, images [..., n, B, c, H, W])` that does n steps at once.
"""


@dataclass(frozen=True)
class MatchGradient:
    """The outer loss and its gradient with respect to what is distilled.

    loss: scalar, 1 where the student made no progress; images_grad [S, c, H, W];
    logits_grad [S, K]; step_size_grad: scalar; student [P]: the parameters that were judged,
    those after N steps unless the distance says otherwise.
    Of G segments side by side: each with a leading axis G.
    """

    loss: Tensor
    images_grad: Tensor
    logits_grad: Tensor
    step_size_grad: Tensor
    student: Tensor


@dataclass(frozen=True)
class Problem:
    """One student's training: what `match_gradient` was given, the same for every method.

    outer: the loss of the student at its end; first: the first step that is differentiated.
    """

    student: Student
    start: Tensor
    images: Tensor
    logits: Tensor
    step_size: Tensor
    batches: Tensor
    augment: Augment
    outer: Way | DataLoss
    first: int = 0

    @property
    def steps(self) -> int:
        """N, the number of inner steps."""
        return self.batches.shape[-2]

    def blocks(self, first: int, stop: int) -> list[range]:
        """The inner steps from `first` up to `stop`, in runs that are done at once, about equal."""
        images = self.batches.shape[:-2].numel() * self.batches.shape[-1] * self.images[0].numel()
        return blocks(range(first, stop), images, self.images.is_cuda)

    def augmented(self, block: range, images: Tensor) -> Tensor:
        """Images [..., n, B, c, H, W] of the steps in `block` as those steps see them."""
        if block_of := getattr(self.augment, "block", None):
            augmented: Tensor = block_of(block.start, images)
            return augmented
        each = zip(block, images.unbind(-5), strict=True)
        return torch.stack([self.augment(step, own) for step, own in each], -5)

    def inputs(self, step: int) -> tuple[Tensor, Tensor]:
        """Augmented images [..., B, c, H, W] and label logits [..., B, K] of inner step `step`."""
        rows = self.batches[..., step, :]
        return self.augment(step, self.images[rows]), self.logits[rows]
