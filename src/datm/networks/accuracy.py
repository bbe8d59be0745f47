"""Class scores and accuracy over a whole split.

Shapes: n images, c channels, H height, W width, K classes, P parameters.
"""

import torch
from torch import Tensor

from datm.networks.functional import Network
from datm.runtime.compiling import compiled

CHUNK = 250
STATISTICS_IMAGES = 2048


class Predictor:
    """Class scores of a network over many images, in chunks of one size (so it compiles once)."""

    def __init__(self, network: Network, compile: bool = False) -> None:
        self.network = network
        self._static = compile
        self._forward = compiled(network.__call__) if compile else network.__call__

    @torch.no_grad()
    def scores(self, params: Tensor, images: Tensor, reference: Tensor | None = None) -> Tensor:
        """Scores [n, K] of `images` [n, c, H, W] in the training space.

        Batch-normalised layers use their statistics over `reference`, the images that the network
        was trained on (at most the first 2,048), never those of the images being judged.
        """
        statistics = None
        if reference is not None:
            statistics = self.network.statistics(params, reference[:STATISTICS_IMAGES]) or None
        parts = []
        for chunk in torch.split(images, CHUNK):
            full = self._static or len(images) > CHUNK
            missing = CHUNK - len(chunk) if full else 0
            padded = torch.cat([chunk, chunk[:1].expand(missing, *chunk.shape[1:])])
            parts.append(self._forward(params, padded, statistics)[: len(chunk)])
        return torch.cat(parts)

    def accuracy(
        self, params: Tensor, images: Tensor, labels: Tensor, reference: Tensor | None = None
    ) -> float:
        """The share of `images` [n, c, H, W] whose highest score is that of their label [n]."""
        hits = self.scores(params, images, reference).argmax(1) == labels
        return float(hits.double().mean())
