"""The student's loss on synthetic images.

Shapes: P parameters, B batch, c channels, H height, W width, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from datm.networks.functional import Network

StudentLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(params [P], images [B, c, H, W], logits [B, K]) -> scalar: the loss of one inner step."""

ScoreLoss = Callable[[Tensor, Tensor], Tensor]
"""(scores [B, K], logits [B, K]) -> scalar."""

CERTAIN = 1e4
"""A logit whose softmax is exactly one in float32 and float64."""


def hard_logits(labels: Tensor, classes: int) -> Tensor:
    """Label logits [n, K] whose softmax is exactly the one-hot code of `labels` [n]."""
    return F.one_hot(labels, classes).float() * CERTAIN


def soft_cross_entropy(scores: Tensor, logits: Tensor) -> Tensor:
    """Mean over the batch of the cross-entropy between softmax(logits) and softmax(scores)."""
    return -(logits.softmax(1) * scores.log_softmax(1)).sum(1).mean()


@dataclass(frozen=True)
class NetworkLoss:
    """The soft cross-entropy of `network`, as a function of its flat parameters.

    log_prior: [K], taken from the scores first. A balanced set then follows a teacher whose data
        had these class shares, for such a teacher's scores contain them (LTDD, Zhao 2025).
    decoupled: the last linear layer descends the cross-entropy of the scores as they are, as in a
        teacher whose classifier saw balanced batches; only the backbone's has the prior taken off.
    """

    network: Network
    log_prior: Tensor | None = None
    decoupled: bool = False

    def __call__(self, params: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        return self._corrected(self.network(params, images), logits)

    def gradient(self, params: Tensor, images: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """(what a step descends along [P], the loss)."""
        whole, loss = torch.func.grad_and_value(self)(params, images, logits)
        if not self.decoupled:
            return whole, loss
        features = self.network.features(params, images)

        def plain(head: Tensor) -> Tensor:
            return soft_cross_entropy(self._scores(features, head), logits)

        own = torch.func.grad(plain)(params[-self._head :])
        return torch.cat([whole[: -self._head], own]), loss

    def slope(self, params: Tensor, images: Tensor, logits: Tensor, direction: Tensor) -> Tensor:
        """<gradient, direction> for a `direction` [P], by forward mode.

        Without `decoupled`: the derivative of the loss as `params` move along it.
        """
        scores, change = self.network.derivative(params, images, direction)
        if not self.decoupled:
            return self._along(self._corrected, scores, change, logits)
        # The scores are linear in the last layer: its share of the change is the layer itself.
        features = self.network.features(params, images)
        own = self._scores(features, direction[-self._head :])
        return self._along(self._corrected, scores, change - own, logits) + self._along(
            soft_cross_entropy, scores, own, logits
        )

    @property
    def _head(self) -> int:
        return self.network.layout.classifier

    def _scores(self, features: Tensor, head: Tensor) -> Tensor:
        return F.linear(features, *self.network.layout.head(head))

    def _corrected(self, scores: Tensor, logits: Tensor) -> Tensor:
        return soft_cross_entropy(
            scores if self.log_prior is None else scores - self.log_prior, logits
        )

    @staticmethod
    def _along(loss: ScoreLoss, scores: Tensor, change: Tensor, logits: Tensor) -> Tensor:
        def of_scores(moved: Tensor) -> Tensor:
            return loss(moved, logits)

        derivative: Tensor = torch.func.jvp(of_scores, (scores,), (change,))[1]
        return derivative


def student_loss(
    network: Network, log_prior: Tensor | None = None, decoupled: bool = False
) -> NetworkLoss:
    """The loss that a student of this network descends; the other arguments: `NetworkLoss`."""
    return NetworkLoss(network, log_prior, decoupled)
