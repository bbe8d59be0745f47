"""The two losses: the student's on synthetic images, and the distance its training should close.

Shapes: P parameters, B batch, c channels, H height, W width, K classes.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from datm.networks.functional import Network

StudentLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(params [P], images [B, c, H, W], logits [B, K]) -> scalar: the loss of one inner step."""

CERTAIN = 1e4
"""A logit whose softmax is exactly one in float32 and float64."""


def hard_logits(labels: Tensor, classes: int) -> Tensor:
    """Label logits [n, K] whose softmax is exactly the one-hot code of `labels` [n]."""
    return F.one_hot(labels, classes).float() * CERTAIN


def soft_cross_entropy(scores: Tensor, logits: Tensor) -> Tensor:
    """Mean over the batch of the cross-entropy between softmax(logits) and softmax(scores)."""
    return -(logits.softmax(1) * scores.log_softmax(1)).sum(1).mean()


def student_loss(network: Network) -> StudentLoss:
    """The soft cross-entropy of `network`, as a function of its flat parameters."""

    def loss(params: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        return soft_cross_entropy(network(params, images), logits)

    return loss


def matching_loss(student: Tensor, start: Tensor, target: Tensor) -> Tensor:
    """||student - target||^2 / ||start - target||^2, 1 if unmoved (Cazenavette 2022, eq. 2)."""
    return (student - target).square().sum() / (start - target).square().sum()
