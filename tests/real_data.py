"""Real data that tests use where they are there."""

import os
from pathlib import Path

import pytest


def cifar10() -> Path:
    """The real CIFAR-10 as Parquet, or a skip that says where it was looked for."""
    default = Path(__file__).parents[1].parent / "shared/data/cifar10"
    folder = Path(os.environ.get("DATM_CIFAR10", default))
    if not folder.is_dir():
        reason = "real data are no part of the repository, the format is tested on made-up files"
        pytest.skip(f"{reason}; no CIFAR-10 at {folder} (DATM_CIFAR10 names another place)")
    return folder
