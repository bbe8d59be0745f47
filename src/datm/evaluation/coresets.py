"""Real images to compare with: subsets of the training data.

Shapes: n images, K classes, S = K x ipc chosen images.
"""

import torch
from torch import Tensor

from datm.runtime.seeds import generator


def random_real(labels: Tensor, classes: int, ipc: int, seed: int) -> Tensor:
    """Rows [S] of `ipc` random images of each class, in class order (all of a smaller class)."""
    chosen = []
    for number in range(classes):
        rows = (labels == number).nonzero().squeeze(1).cpu()
        order = torch.randperm(len(rows), generator=generator(seed, "random", number))
        chosen.append(rows[order[:ipc]])
    return torch.cat(chosen)
