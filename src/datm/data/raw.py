"""What a source hands over: encoded or decoded images with class numbers, split as published.

A reader is a function (path or name, DataConfig) -> RawSplits, one file each in `sources/`. It
neither resizes, nor holds anything out, nor decodes more than its format makes it: `load.py` does
that once, for all sources alike.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from datm.data.config import DataConfig
from datm.errors import InputError

SplitName = Literal["train", "validation", "test"]

SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}


class EncodedImage(NamedTuple):
    """A file's bytes, or its path; `name` is what a message calls it."""

    name: str
    data: bytes | Path


@dataclass(frozen=True)
class RawSplit:
    """Images, encoded or as uint8 [n, c, H, W] with c 1 or 3, and their classes [n] int64."""

    images: list[EncodedImage] | Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class RawSplits:
    """A source as its publisher split it. `notes` are sentences for the user."""

    name: str
    classes: tuple[str, ...]
    train: RawSplit
    validation: RawSplit | None = None
    test: RawSplit | None = None
    notes: tuple[str, ...] = ()


def reason(error: Exception) -> str:
    """What an exception of another library says, as a part of our sentence: its first line."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__


def refuse_label_column(config: DataConfig, what: str) -> None:
    """For sources with one label per image: data.label_column is then a mistake."""
    if config.label_column is not None:
        raise InputError(
            f"data.label_column: {config.label_column!r} was given, but {what} has no columns; "
            "leave it out."
        )
