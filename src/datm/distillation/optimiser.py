"""One update of what is distilled: the direction that its gradients so far give."""

from typing import Literal, NamedTuple

from torch import Tensor

Optimiser = Literal["sgd", "adam"]

DECAY = 0.99
"""Adam's decay of squared gradients: its memory is 100 updates, where torch.optim's is 1,000."""
SMALLEST = 1e-12
"""Added to Adam's denominator. Gradients of images are of 1e-6: the usual 1e-8 would count."""


class Moments(NamedTuple):
    """What is remembered of a tensor's gradients; of its shape. Zero at first.

    velocity: their sum (sgd) or mean (adam), the older the less; square: the mean of their squares
    (adam).
    """

    velocity: Tensor
    square: Tensor


def descend(
    optimiser: Optimiser, gradient: Tensor, moments: Moments, momentum: float, updates: int
) -> tuple[Tensor, Moments]:
    """(what the learning rate times is subtracted, the new moments), after `updates` others.

    "sgd": with momentum, as in torch.optim. "adam" (Kingma 2015, algorithm 1): about 1 in every
    entry, whatever the size of its gradients.
    """
    if optimiser == "sgd":
        velocity = momentum * moments.velocity + gradient
        return velocity, Moments(velocity, moments.square)
    velocity = momentum * moments.velocity + (1 - momentum) * gradient
    square = DECAY * moments.square + (1 - DECAY) * gradient.square()
    # In place: there are 10,000 images in some sets.
    size = (square / (1 - DECAY ** (updates + 1))).sqrt_().add_(SMALLEST)
    mean = (velocity / (1 - momentum ** (updates + 1))).div_(size)
    return mean, Moments(velocity, square)
