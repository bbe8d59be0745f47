"""A data set in memory: three splits of uint8 images, class names and the transform.

Shapes: n images, c channels, H height, W width, K classes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from datm.data.transform import Transform
from datm.errors import InputError


@dataclass(frozen=True)
class Split:
    """Images [n, c, H, W] uint8 and their class numbers [n] int64, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    @property
    def balanced(self) -> bool:
        """Whether no class that is there has over half as many images again as another."""
        there = [count for count in torch.bincount(self.labels).tolist() if count]
        return max(there, default=0) <= 1.5 * min(there, default=0)

    def select(self, indices: Tensor) -> "Split":
        """The images at `indices` [m] int64, in that order."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class DataSet:
    """Train, validation and test splits with one transform into the training space.

    `validation` is held out of the publisher's training images, never of `test`. `notes` are
    sentences about what loading had to do (say, images that were resized).
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    transform: Transform
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, H, W) of one image."""
        c, h, w = self.train.images.shape[1:]
        return c, h, w

    @property
    def class_prior(self) -> Tensor:
        """[K] float32 on train's device: each class's share of the training images."""
        counts = torch.bincount(self.train.labels, minlength=len(self.classes))
        return counts.float() / len(self.train)

    @property
    def validates_by_class(self) -> bool:
        """Whether validation accuracy means that of every class alike.

        So where a long tail is judged on balanced test images: what was held out of the tail holds
        next to nothing of the rare classes, which the test asks as often as the others.
        """
        return self.test.balanced and not self.validation.balanced

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the training images' bytes and labels: the same data, the same string."""
        digest = hashlib.sha256(repr(tuple(self.train.images.shape)).encode())
        digest.update(self.train.images.cpu().contiguous().numpy().data)
        digest.update(self.train.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """What a manifest says of the data: name, shape, classes, counts, transform, bytes."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "classes": list(self.classes),
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
            "transform": self.transform.kind,
            "fingerprint": self.fingerprint,
        }

    def check_same(self, there: Mapping[str, Any], what: str) -> None:
        """Raises InputError where `there`, described as above, are other images or another space.

        what: what was made of them, and how, as the message's first words.
        """
        here = self.describe()
        for key in ("shape", "classes", "transform", "fingerprint"):
            if there.get(key) != here[key]:
                theirs, ours = (_short(repr(own.get(key))) for own in (there, here))
                raise InputError(
                    f"{what} other data ({key} {theirs} there, {ours} now);"
                    " give the same data settings or another folder."
                )

    def to(self, device: torch.device | str) -> "DataSet":
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
            transform=self.transform.to(device),
        )


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
