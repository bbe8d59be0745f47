"""Holding images out: by class, fixed by a seed of its own, independent of the run's seed."""

import torch
from torch import Tensor

from datm.errors import InputError
from datm.runtime.seeds import derived_seed


def take_per_class(labels: Tensor, counts: list[int], seed: int, purpose: str) -> Tensor:
    """Mask [n] bool of counts[k] randomly drawn images of each class k; labels [n] int64.

    Drawn by the order of hashes, not by torch's generator, whose numbers may change with a release:
    a split is the same for ever.
    """
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for k, count in enumerate(counts):
        members = (labels == k).nonzero().flatten()
        order = sorted(range(len(members)), key=lambda i: derived_seed(seed, purpose, k, i))
        mask[members[order[:count]]] = True
    return mask


def hold_out(
    labels: Tensor, share: float, classes: tuple[str, ...], seed: int, what: str
) -> Tensor:
    """Mask [n] bool of the images to hold out: `share` of each class, at least one, never all.

    Raises InputError for a class of which one image cannot be spared.
    """
    sizes = torch.bincount(labels, minlength=len(classes)).tolist()
    for name, size in zip(classes, sizes, strict=True):
        if size < 2:
            raise InputError(
                f"data.{what}: class {name!r} has {size} training image(s), at least 2 are needed "
                f"to hold one out for {what}; add images or remove the class."
            )
    counts = [min(max(round(share * size), 1), size - 1) for size in sizes]
    return take_per_class(labels, counts, seed, what)
