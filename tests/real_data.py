"""Real data that tests use where they are there."""

import os
from pathlib import Path

import pytest


def cifar10() -> Path:
    """The real CIFAR-10 as Parquet, or a skip that says where it was looked for."""
    default = Path(__file__).parents[1].parent / "shared/data/cifar10"
    folder = Path(os.environ.get("DATM_CIFAR10", default))
    if not folder.is_dir():
        looked = f"no CIFAR-10 at {folder}, and it is no part of the repository"
        # Why a skip: real images may not be kept in the repository, and what these tests show is
        # shown by real images only. The format itself is tested on made-up files, always.
        pytest.skip(f"{looked} (DATM_CIFAR10 names another place)")
    return folder
