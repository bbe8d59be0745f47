"""Randomness as a pure function of one seed and a path of names.

Every draw in the library comes from `generator(seed, "teacher", 3, "order", 0)` or the like. So no
generator state has to be saved: a resumed run makes the same draws as one that never stopped.
"""

import hashlib

import torch


def derived_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed from `seed` and a path of names and numbers; unrelated for unequal paths."""
    digest = hashlib.sha256(repr((seed, *path)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *path: str | int) -> torch.Generator:
    """A CPU generator for this seed and path (draws are made on the CPU, so devices agree)."""
    return torch.Generator().manual_seed(derived_seed(seed, *path))
