"""What a run folder holds, read for the report: every part may be missing.

Shapes: S distilled images, K classes, c channels, H height, W width, n images shown.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datm.data.transform import Transform
from datm.errors import InputError
from datm.formation import form
from datm.reporting.verdict import Record, main_model
from datm.runtime.files import load_tensors, read_json, read_json_lines

PER_CLASS = 10  # images of a class that a report shows at most
CARDS = 250  # images that it shows at most in all
PIXELS = 1_000_000  # numbers (images x c x H x W) that it shows at most, before and after each
RESULTS = (
    "trajectories/manifest.json",
    "metrics.jsonl",
    "distilled/distilled.json",
    "evaluation.json",
)


@dataclass(frozen=True)
class Gallery:
    """The images to show: the first `shown` of `per_class` of each of the first `classes` classes.

    Pixels [n, c, H, W] in [0, 1], class probabilities [n, K], n = classes * shown, in class
    order. `own` is the mean probability that soft labels give their image's class, over all S.
    """

    classes: int
    shown: int
    per_class: int
    pixels: Tensor
    probabilities: Tensor
    own: Tensor


@dataclass(frozen=True)
class RunFolder:
    """The files of a run, parsed. None or empty where a file is not there."""

    path: Path
    config: str | None = None
    environment: Mapping[str, Any] | None = None
    manifest: Mapping[str, Any] | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    meta: Mapping[str, Any] | None = None
    distilled: Gallery | None = None
    initial: Gallery | None = None
    records: list[Record] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The recipe's name, else the folder's."""
        recipe = (self.meta or {}).get("recipe") or {}
        line = re.search(r"^name:[ \t]*(\S.*)$", self.config or "", re.MULTILINE)
        named = recipe.get("name") or (line[1].strip("'\" ") if line else None)
        return str(named or self.path.resolve().name)

    @property
    def data(self) -> Mapping[str, Any]:
        """What is known of the data set (DataSet.describe)."""
        data = (self.meta or {}).get("data") or (self.manifest or {}).get("data") or {}
        return dict(data)

    @property
    def classes(self) -> list[str]:
        """The classes' names, in order; empty where they are not known."""
        return [str(name) for name in self.data.get("classes") or ()]

    @property
    def model(self) -> str | None:
        """The network that the verdict is about: the one that distilled, where evaluated."""
        return main_model(self.records, (self.meta or {}).get("network"))

    @property
    def iterations(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that carry an outer loss, one per iteration, in order."""
        return self._lines("loss", "data_loss")

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that carry a validation accuracy."""
        return self._lines("validation_accuracy")

    def _lines(self, *keys: str) -> list[dict[str, Any]]:
        """Those that carry one of the keys."""
        found = {line["iteration"]: line for line in self.metrics if any(k in line for k in keys)}
        return [found[iteration] for iteration in sorted(found)]


def read_run(path: Path) -> RunFolder:
    """Read the run folder at `path`.

    Raises InputError where it is no folder, holds no result of any stage, or a file is broken.
    """
    if not path.is_dir():
        raise InputError(f"{path}: is no folder; give the run folder that `datm run` wrote.")
    if not any((path / name).is_file() for name in RESULTS):
        raise InputError(
            f"{path}: has nothing to report (none of {', '.join(RESULTS)}); "
            "give the run folder that `datm run` wrote."
        )
    config = path / "config.yaml"
    meta = _json(path / "distilled" / "distilled.json")
    records = _json(path / "evaluation.json")
    if records is None:
        records = (meta or {}).get("records") or []
    distilled, initial = _galleries(path / "distilled", meta)
    return RunFolder(
        path=path,
        config=config.read_text(encoding="utf-8") if config.is_file() else None,
        environment=_json(path / "environment.json"),
        manifest=_json(path / "trajectories" / "manifest.json"),
        metrics=read_json_lines(path / "metrics.jsonl"),
        meta=meta,
        distilled=distilled,
        initial=initial,
        records=_checked(records, path / "evaluation.json"),
    )


def _json(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _checked(records: Any, path: Path) -> list[Record]:
    """The evaluation records, refused where a field that the report needs is missing."""
    needed = {"what", "model", "images", "accuracies", "mean", "std"}
    if not isinstance(records, list):
        raise InputError(f"{path}: holds no list of records; remove it and run `datm evaluate`.")
    for i, record in enumerate(records):
        missing = needed - set(record if isinstance(record, dict) else ())
        if missing:
            raise InputError(
                f"{path}: record {i} has no {sorted(missing)[0]!r}; "
                "remove the file and run `datm evaluate` again."
            )
    return records


def _galleries(
    folder: Path, meta: Mapping[str, Any] | None
) -> tuple[Gallery | None, Gallery | None]:
    """The images after and before distillation, each None where its file is not there."""
    file = folder / "distilled.safetensors"
    if meta is None or not file.is_file():
        return None, None
    tensors = load_tensors(file)
    kind = str(meta["transform"])
    transform = Transform.from_tensors(
        kind,
        {
            name.removeprefix("transform."): tensor
            for name, tensor in tensors.items()
            if name.startswith("transform.")
        },
    )
    initial = folder / "initial.safetensors"
    return (
        _gallery(file, tensors, meta, transform),
        _gallery(initial, load_tensors(initial), meta, transform) if initial.is_file() else None,
    )


def _gallery(
    file: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], transform: Transform
) -> Gallery:
    k, formation = len(meta["classes"]), int(meta.get("formation", 1))
    pieces = formation**2
    ipc = int(meta["ipc"]) * pieces
    if "images" not in tensors or "logits" not in tensors:
        raise InputError(f"{file}: holds no images and logits; distil again or remove the file.")
    stored, logits = tensors["images"], tensors["logits"].float()
    if len(stored) * pieces != k * ipc or tuple(logits.shape) != (k * ipc, k):
        raise InputError(
            f"{file}: holds {len(stored) * pieces} images and logits {tuple(logits.shape)} where "
            f"distilled.json says {k} classes of {ipc}; restore the file or distil again."
        )
    classes, shown = how_many(k, ipc, stored[0].numel())
    # Formed are only the images that are shown: all of a large set take gigabytes.
    shape = stored.shape[1:]
    needed = stored.view(k, -1, *shape)[:classes, : math.ceil(shown / pieces)].flatten(0, 1)
    images = form(needed, formation).view(classes, -1, *shape)[:, :shown].flatten(0, 1)
    rows = (torch.arange(classes)[:, None] * ipc + torch.arange(shown)).flatten()
    probabilities = logits.softmax(dim=1)
    own = probabilities[torch.arange(k * ipc), torch.arange(k).repeat_interleave(ipc)]
    return Gallery(
        classes=classes,
        shown=shown,
        per_class=ipc,
        pixels=transform.inverse(images).clamp(0, 1),
        probabilities=probabilities[rows],
        own=own.mean(),
    )


def how_many(classes: int, ipc: int, numbers: int) -> tuple[int, int]:
    """Classes and images per class to show, of images of `numbers` = c x H x W numbers each."""
    room = max(1, min(CARDS, PIXELS // numbers))
    classes = min(classes, room)
    return classes, max(1, min(ipc, PER_CLASS, room // classes))
