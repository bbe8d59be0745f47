"""A classifier that learns from balanced batches, for teachers of long-tailed data.

After the expert decoupling of LTDD (Zhao 2025, arXiv 2408.14506). There two sets of teachers are
trained one after the other: a backbone on the data as it is, then, from the finished backbone, a
classifier by itself for a few epochs, with its weights' norms bounded; and the two kinds of
trajectories are matched separately. Here one teacher does both at once: in each step all
parameters but those of the last linear layer follow the batch as it is drawn from the data, and
the last linear layer follows a batch of equally frequent classes, both gradients taken at the same
parameters. No weight is decayed or bounded. So one flat vector holds the decoupled teacher at every
epoch, and one trajectory is matched.

Letters: P parameters, B batch, K classes, m images.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from datm.runtime.seeds import generator
from datm.teaching.optimisers import Gradient


def balanced_stream(rows: Tensor, labels: Tensor, batch: int, seed: int) -> Callable[[int], Tensor]:
    """For a step B of `rows` [m], each class of `labels` [m] equally often; a function of the seed.

    Classes take turns through the steps, so that K steps hold every class exactly as often and one
    step differs by one image at most. An image is drawn from its class with replacement. Classes
    without images are passed over.
    """
    by_class = rows[labels.argsort(stable=True)]
    sizes = labels.bincount()
    starts = sizes.cumsum(0) - sizes
    there = sizes.nonzero().flatten()

    def batch_at(step: int) -> Tensor:
        classes = there[(step * batch + torch.arange(batch)) % len(there)]
        draw = generator(seed, "balanced", step)
        drawn = torch.rand(batch, generator=draw, dtype=torch.float64)
        return by_class[starts[classes] + (drawn * sizes[classes]).long()]

    return batch_at


def decoupled(natural: Gradient, balanced: Gradient, classifier: int) -> Gradient:
    """`natural`'s gradient but for the last `classifier` entries, which are `balanced`'s.

    The loss is `natural`'s.
    """

    def gradient(params: Tensor) -> tuple[Tensor, Tensor]:
        whole, loss = natural(params)
        # On a GPU the next call of any captured function overwrites what this one returned.
        backbone, loss = whole[..., :-classifier].clone(), loss.clone()
        own, _ = balanced(params)
        return torch.cat([backbone, own[..., -classifier:]], -1), loss

    return gradient
