"""From what the user wrote as data.source to the reader for it.

To add a source: write its reader, and give it a line in BUNDLED or (before the general ones) KINDS.
"""

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from datm.data.config import DataConfig
from datm.data.raw import RawSplits
from datm.data.sources import cifar, digits, folders, hub, parquet
from datm.errors import InputError

BUNDLED: dict[str, Callable[[DataConfig], RawSplits]] = {"digits": digits.read}


class Kind(NamedTuple):
    """A kind of file or folder: how to recognise it, how to read it."""

    accepts: Callable[[Path], bool]
    read: Callable[[Path, DataConfig], RawSplits]


# The first that accepts reads: the most particular first, any folder at all last.
KINDS = (
    Kind(cifar.accepts, cifar.read),
    Kind(parquet.accepts, parquet.read),
    Kind(folders.accepts, folders.read),
)

# Data sets people name without a path; nothing is downloaded unless they say hub:.
ON_THE_HUB = {
    "cifar10": "hub:uoft-cs/cifar10",
    "cifar100": "hub:uoft-cs/cifar100",
    "mnist": "hub:ylecun/mnist",
    "fashion-mnist": "hub:zalando-datasets/fashion_mnist",
    "svhn": "hub:ufldl-stanford/svhn:cropped_digits",
    "tiny-imagenet": "hub:zh-plus/tiny-imagenet",
}


def find_reader(config: DataConfig) -> Callable[[], RawSplits]:
    """What will read config.source. Raises InputError where there is no such source."""
    source = config.source
    if source in BUNDLED:
        return lambda: BUNDLED[source](config)
    if source.startswith("hub:"):
        return lambda: hub.read(source.removeprefix("hub:"), config)
    path = _locate(source)
    for kind in KINDS:
        if kind.accepts(path):
            return lambda: kind.read(path, config)
    raise InputError(
        f"{path}: a file that is no CIFAR archive; give the folder that holds the data set."
    )


def _locate(source: str) -> Path:
    """The existing path that is meant: as written, or a bare name inside $DATM_DATA."""
    if not source.strip():
        raise InputError("data.source: is empty; name a data set, say digits, or its folder.")
    path = Path(source).expanduser()
    if path.exists():
        return path
    home = os.environ.get("DATM_DATA")
    bare = len(path.parts) == 1
    if bare and home:
        inside = Path(home).expanduser() / source
        if inside.exists():
            return inside
    if bare and source in ON_THE_HUB:
        looked = f"{home} holds no {source!r}" if home else "DATM_DATA is not set"
        raise InputError(
            f"data.source: {source!r} is not bundled and {looked}; give the path of its folder or "
            f"archive, or {ON_THE_HUB[source]} to download it."
        )
    raise InputError(
        f"data.source: {source!r} does not exist{_suggestion(path, bare)}; give digits, "
        "hub:owner/name, a folder of class folders or of Parquet files, or a CIFAR archive."
    )


def _suggestion(path: Path, bare: bool) -> str:
    names = {path.parent / name: name for name in [*BUNDLED, *ON_THE_HUB]} if bare else {}
    if path.parent.is_dir():
        names |= {entry: str(entry) for entry in sorted(path.parent.iterdir())}
    by_name = {entry.name: shown for entry, shown in names.items()}
    close = difflib.get_close_matches(path.name, by_name, n=1, cutoff=0.7)
    return f" (did you mean {by_name[close[0]]}?)" if close else ""
