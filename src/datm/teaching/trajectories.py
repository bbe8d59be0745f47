"""The store of teachers' trajectories: one safetensors file per teacher beside one manifest.

`teacher-000.safetensors` holds "weights" [E + 1, P] float32, row t the parameters after t epochs.
While a teacher is being trained its rows are appended to `teacher-000.partial`, raw, and what is
said of it stands in `progress.json`: the manifest, which grows with every finished teacher, is
written when teachers begin and end.

Letters: P parameters, E epochs, M epochs a segment spans.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from datm.errors import InputError
from datm.runtime.files import read_json, save_tensors, write_json

FORMAT = "datm-trajectories-1"
MANIFEST = "manifest.json"
PROGRESS = "progress.json"


@dataclass(frozen=True)
class Trajectories:
    """Finished teachers in a folder, read by memory map. `len()` counts them."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Trajectories":
        """The trajectories in the folder `path`.

        Raises InputError if there is no manifest, or one of another format.
        """
        path = Path(path)
        if not (path / MANIFEST).is_file():
            raise InputError(f"{path}: holds no {MANIFEST}, so no trajectories; run `datm teach`.")
        manifest = read_json(path / MANIFEST)
        found = manifest.get("format") if isinstance(manifest, dict) else None
        if found != FORMAT:
            raise InputError(f"{path / MANIFEST}: format {found!r} is not {FORMAT!r}; teach again.")
        _catch_up(path, manifest)
        return cls(path, manifest)

    @property
    def network(self) -> str:
        """The teachers' network, as a spec for `make_network`."""
        return str(self.manifest["network"])

    @property
    def epochs(self) -> int:
        """E: a trajectory holds the weights after 0 .. E epochs."""
        return int(self.manifest["settings"]["epochs"])

    @property
    def augmentation(self) -> str:
        """The augmentation the teachers were trained with."""
        return str(self.manifest["settings"]["augmentation"])

    @property
    def classifier(self) -> str:
        """What the teachers' last linear layer learned from: natural or balanced batches."""
        return str(self.manifest["settings"].get("classifier", "natural"))

    @property
    def finished(self) -> list[dict[str, Any]]:
        """The manifest's records of the teachers whose training is complete."""
        return [teacher for teacher in self.manifest["teachers"] if teacher["complete"]]

    @property
    def complete(self) -> bool:
        """Whether every teacher that was asked for is finished."""
        return len(self) >= int(self.manifest["settings"]["teachers"])

    def __len__(self) -> int:
        return len(self.finished)

    def weights(self, teacher: int, epoch: int) -> Tensor:
        """Parameters [P] of a teacher after `epoch` epochs; only that row is read."""
        file = self.path / self.finished[teacher]["file"]
        try:
            with safe_open(file, framework="pt") as tensors:
                row: Tensor = tensors.get_slice("weights")[epoch]
        except (OSError, IndexError, SafetensorError) as error:
            raise InputError(
                f"{file}: cannot be read ({error}); remove it and run `datm teach` again."
            ) from error
        return row

    def segment(self, teacher: int, start: int, length: int) -> tuple[Tensor, Tensor]:
        """(theta*_t, theta*_{t+M}), both [P]: the ends of a segment of `length` epochs."""
        return self.weights(teacher, start), self.weights(teacher, start + length)


class TrajectoryWriter:
    """One teacher's rows as they are made. Rows beyond `rows` in a partial file are dropped."""

    def __init__(self, folder: Path, number: int, rows: int, parameters: int) -> None:
        self._final = folder / f"teacher-{number:03d}.safetensors"
        self._partial = _partial(folder, number)
        self._parameters = parameters
        self._partial.touch()
        os.truncate(self._partial, rows * parameters * 4)

    def append(self, weights: Tensor) -> None:
        """Write one epoch's parameters [P] to disk."""
        with self._partial.open("ab") as file:
            file.write(weights.detach().cpu().float().numpy().tobytes())
            file.flush()
            os.fsync(file.fileno())

    def last(self) -> Tensor:
        """The newest row [P]."""
        return torch.from_numpy(np.array(self._rows()[-1]))

    def finish(self) -> None:
        """Turn the rows into the teacher's safetensors file."""
        save_tensors(self._final, {"weights": torch.from_numpy(self._rows())})

    def _rows(self) -> Any:
        # Mapped, not read: the rows of a large network are gigabytes. Nothing is written back.
        flat = np.memmap(self._partial, dtype="<f4", mode="c")
        return flat.reshape(-1, self._parameters)


def rows_on_disk(folder: Path, number: int, parameters: int) -> int:
    """Whole rows in a teacher's partial file."""
    partial = _partial(folder, number)
    return partial.stat().st_size // (4 * parameters) if partial.exists() else 0


def drop_partial(folder: Path, number: int) -> None:
    """Remove a teacher's partial file, once the teacher's own is there."""
    _partial(folder, number).unlink(missing_ok=True)


def _partial(folder: Path, number: int) -> Path:
    return folder / f"teacher-{number:03d}.partial"


def save_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write all of the manifest, which then says all that is known."""
    write_json(folder / MANIFEST, manifest)
    (folder / PROGRESS).unlink(missing_ok=True)


def save_progress(folder: Path, manifest: Mapping[str, Any], numbers: Sequence[int]) -> None:
    """Write the records of the teachers `numbers`, the only ones that change until they end."""
    records = {str(number): manifest["teachers"][number] for number in numbers}
    write_json(folder / PROGRESS, records)


def _catch_up(folder: Path, manifest: dict[str, Any]) -> None:
    """Take records that are further on in progress.json than in the manifest from there."""
    records = read_json(folder / PROGRESS) if (folder / PROGRESS).exists() else {}
    for number, ours in enumerate(manifest["teachers"]):
        theirs = records.get(str(number), ours)
        if not ours["complete"] and len(theirs["epochs"]) > len(ours["epochs"]):
            manifest["teachers"][number] = theirs
