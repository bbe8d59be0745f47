"""Training one fresh network on a set of images with soft or hard labels.

Shapes: n images, c channels, H height, W width, K classes, P parameters, B batch, G networks
side by side, m steps of a block.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from datm.augment import augmented
from datm.batches import BatchStream, training_blocks
from datm.matching import Student
from datm.networks import Network
from datm.runtime.seeds import generator


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a network is trained: the papers' protocol (Zhao 2021; Guo 2024, appendix)."""

    learning_rate: float
    """of SGD; divided by 10 after half of the steps"""
    epochs: int
    """passes over the images"""
    batch: int = 256
    """images per step, at most all of them"""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augmentation: str = "none"
    """differentiable Siamese augmentation, one operation drawn per step"""

    def steps(self, count: int) -> int:
        """SGD steps that these epochs take over `count` images."""
        batch = min(self.batch, count)
        return self.epochs * max(1, round(count / batch))

    def describe(self, count: int) -> dict[str, Any]:
        """The protocol as plain values, with the number of steps over `count` images."""
        return {**asdict(self), "batch": min(self.batch, count), "steps": self.steps(count)}


def train_network(
    network: Network,
    student: Student,
    images: Tensor,
    logits: Tensor,
    protocol: Protocol,
    seed: int,
) -> Tensor:
    """Parameters [P] of a fresh network after training on `images` [n, c, H, W], training space.

    `logits` [n, K] are label logits (`hard_logits` for class numbers); `student` holds the
    compiled loss of `network`. All randomness comes from `seed`. SGD as in torch.optim: decay is
    added to the gradient, momentum starts at the first gradient.
    """
    return train_networks(network, student, [(images, logits)], protocol, [seed])[0]


@torch.no_grad()
def train_networks(
    network: Network,
    student: Student,
    sets: Sequence[tuple[Tensor, Tensor]],
    protocol: Protocol,
    seeds: Sequence[int],
) -> Tensor:
    """Parameters [G, P] of G networks trained side by side, each on its own set and seed.

    As `train_network`; the sets are of one size.
    """
    device, count = sets[0][0].device, len(sets[0][0])
    params = torch.stack([network.initial(generator(seed, "initial")) for seed in seeds]).to(device)
    velocity = torch.zeros_like(params)
    streams = [BatchStream(count, protocol.batch, seed, "order") for seed in seeds]
    steps = range(protocol.steps(count))
    halfway = (len(steps) + 1) // 2

    def inputs(block: range) -> tuple[Tensor, Tensor]:
        """Augmented images [G, m, B, c, H, W] and label logits [G, m, B, K]."""
        rows = [stream.stack(block).to(device, non_blocking=True) for stream in streams]
        pairs = list(zip(sets, rows, strict=True))
        images = torch.stack([own_images[own] for (own_images, _), own in pairs])
        logits = torch.stack([own_logits[own] for (_, own_logits), own in pairs])
        return augmented(protocol.augmentation, seeds, block, images), logits

    numbers = len(seeds) * streams[0].batch * sets[0][0][0].numel()
    for block in training_blocks(steps, numbers, params.is_cuda):
        rates = [protocol.learning_rate * (1.0 if step < halfway else 0.1) for step in block]
        params, velocity, _ = student.descend(
            params, velocity, *inputs(block), rates, protocol.momentum, protocol.weight_decay
        )
    return params
