"""Real data that tests use where they are there."""

import os
from pathlib import Path

import pytest


def cifar10() -> Path:
    """The real CIFAR-10 as Parquet, or a skip that says where it was looked for."""
    default = Path(__file__).parents[1].parent / "shared/data/cifar10"
    folder = Path(os.environ.get("DATM_CIFAR10", default))
    if not folder.is_dir():
        # Real images may not be kept in the repository. What needs none of them is tested elsewhere
        # on made-up files in the same format; what does cannot be shown without them.
        pytest.skip(
            f"no CIFAR-10 at {folder}: it is no part of the repository, its format is tested on"
            " made-up files (DATM_CIFAR10 names another place)"
        )
    return folder
