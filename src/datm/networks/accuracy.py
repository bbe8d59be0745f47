"""Class scores and accuracy over a whole split.

Shapes: n images, c channels, H height, W width, K classes, P parameters.
"""

import torch
from torch import Tensor

from datm.networks.functional import Network
from datm.runtime.capturing import captured
from datm.runtime.compiling import compiled
from datm.runtime.seeds import generator

CHUNK = 250
STATISTICS_PIXELS = 2**21
"""Pixels of the sample that batch statistics come from (2,048 images of 32x32): it is one batch."""


def chunk_of(count: int, compile: bool) -> int:
    """How many of `count` images are scored at once: of few no more, if nothing is compiled."""
    return CHUNK if compile or count > CHUNK else count


class Predictor:
    """Class scores of a network over many images, in chunks of one size (so it compiles once)."""

    def __init__(self, network: Network, compile: bool = False) -> None:
        self.network = network
        self._static = compile
        self._forward = captured(compiled(network.__call__)) if compile else network.__call__

    @torch.no_grad()
    def scores(self, params: Tensor, images: Tensor, reference: Tensor) -> Tensor:
        """Scores [n, K] of `images` [n, c, H, W] in the training space.

        Batch-normalised layers use their statistics over `reference`, the images that the network
        was trained on (a sample of them, if many), never those of the images being judged.
        """
        statistics = []
        # Asked of a few images first: most networks need none, and so no sample.
        if self.network.statistics(params, reference[:2]):
            statistics = [self.network.statistics(params, _sample(reference))]
        parts = []
        for chunk in torch.split(images, CHUNK):
            missing = chunk_of(len(images), self._static) - len(chunk)
            padded = torch.cat([chunk, chunk[:1].expand(missing, *chunk.shape[1:])])
            # Cloned: on a GPU the next call of any captured function overwrites the scores.
            parts.append(self._forward(params, padded, *statistics)[: len(chunk)].clone())
        return torch.cat(parts)

    def accuracy(
        self,
        params: Tensor,
        images: Tensor,
        labels: Tensor,
        reference: Tensor,
        by_class: bool = False,
    ) -> float:
        """The share of `images` [n, c, H, W] whose highest score is that of their label [n].

        `by_class`: the mean of each class's own, over the classes that are there.
        """
        hits = (self.scores(params, images, reference).argmax(1) == labels).double()
        if by_class:
            counts = torch.bincount(labels).double()
            hits = (torch.bincount(labels, weights=hits) / counts)[counts > 0]
        return float(hits.mean())


def _sample(images: Tensor) -> Tensor:
    """At most STATISTICS_PIXELS worth of `images`: any of them, for they may stand by class."""
    most = max(1, STATISTICS_PIXELS // (images.shape[2] * images.shape[3]))
    if len(images) <= most:
        return images
    rows = torch.randperm(len(images), generator=generator(0, "statistics"))[:most]
    return images[rows.to(images.device)]
