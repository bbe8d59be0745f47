"""Whether two folders hold the same teachers."""

from pathlib import Path
from typing import Any

from datm.runtime.files import read_json
from datm.teaching import Trajectories
from small_jobs import tree


def told(folder: Path) -> dict[str, Any]:
    """The manifest without the seconds, the only thing that may differ between two runs."""
    manifest: dict[str, Any] = read_json(folder / "manifest.json")
    for teacher in manifest["teachers"]:
        del teacher["seconds"]
    return manifest


def weights(folder: Path) -> dict[str, str]:
    return {name: value for name, value in tree(folder).items() if name != "manifest.json"}


def assert_same(folder: Path, whole: Trajectories) -> None:
    """`folder` holds what the uninterrupted run made, to the bit, and nothing else."""
    assert weights(folder) == weights(whole.path)
    assert told(folder) == told(whole.path)
