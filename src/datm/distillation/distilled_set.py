"""The distilled set: synthetic images, their soft labels, the step size, and what they are.

Shapes: S images, R of them as they are stored (S, or fewer where each holds several), c channels,
H height, W width, K classes.
"""

import hashlib
import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datm.data import Transform
from datm.errors import InputError
from datm.formation import form, store
from datm.runtime.files import load_tensors, read_json, save_tensors, writable_folder, write_json

FORMAT = "datm-distilled-1"
TENSORS = "distilled.safetensors"
META = "distilled.json"
TRANSFORM = "transform."


@dataclass(eq=False)
class DistilledSet(Dataset[tuple[Tensor, Tensor]]):
    """A torch Dataset of (image [c, H, W] in the training space, soft label [K]).

    images: [S, c, H, W] float32 in the training space, ordered by class; logits: [S, K], the
    soft labels before softmax; step_size: the learning rate to train with; transform: from pixels
    to the training space, with its inverse; meta: what distilled.json says (data, network,
    recipe, ...); records: the evaluation's; packed: [R, c, H, W], what `images` are formed from
    (see formation.py), or None where they are stored as they are.
    """

    images: Tensor
    logits: Tensor
    step_size: float
    classes: tuple[str, ...]
    transform: Transform
    meta: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    packed: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.logits[index].softmax(0)

    @property
    def stored(self) -> Tensor:
        """[R, c, H, W]: the images as they are stored."""
        return self.images if self.packed is None else self.packed

    @property
    def formation(self) -> int:
        """F: each stored image is cut into F x F pieces that are trained on, enlarged."""
        return math.isqrt(len(self.images) // len(self.stored))

    @property
    def ipc(self) -> int:
        """Images per class, as they are stored: what the set takes of space."""
        return len(self.stored) // len(self.classes)

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings that made the set."""
        recipe: dict[str, Any] = self.meta["recipe"]
        return recipe

    @property
    def network(self) -> str:
        """Spec of the teachers' network."""
        return str(self.meta["network"])

    @property
    def augmentation(self) -> str:
        """The augmentation that students are trained with."""
        return str(self.meta["augmentation"])

    def pixels(self) -> Tensor:
        """The images as they look: [S, c, H, W] in [0, 1]."""
        return self.transform.inverse(self.images).clamp(0, 1)

    def holding(self, stored: Tensor, logits: Tensor, step_size: float) -> "DistilledSet":
        """The same with other images, as they are stored, and other labels; not evaluated."""
        return replace(
            self,
            images=form(stored, self.formation),
            packed=None if self.packed is None else stored,
            logits=logits,
            step_size=step_size,
            records=[],
        )

    def fingerprint(self) -> str:
        """SHA-256 over images, labels and step size."""
        digest = hashlib.sha256(repr(self.step_size).encode())
        for tensor in (self.stored, self.logits):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the folder `path`: tensors, distilled.json, preview.png and the card README.md."""
        from datm.reporting.card import dataset_card
        from datm.reporting.figures import preview_png

        folder = writable_folder(path)
        tensors = {
            "images": self.stored,
            "logits": self.logits,
            "step_size": torch.tensor(self.step_size, dtype=torch.float64),
        }
        tensors |= {TRANSFORM + name: value for name, value in self.transform.tensors().items()}
        save_tensors(folder / TENSORS, tensors, {"format": FORMAT})
        pixels = store(self.pixels().cpu(), self.formation)
        preview_png(pixels, list(self.classes), self.ipc, folder / "preview.png")
        meta = {
            **self.meta,
            "format": FORMAT,
            "classes": list(self.classes),
            "ipc": self.ipc,
            "formation": self.formation,
            "shape": list(self.images.shape[1:]),
            "transform": self.transform.kind,
            "step_size": self.step_size,
            "records": self.records,
        }
        (folder / "README.md").write_text(dataset_card(meta, self.records), encoding="utf-8")
        # Last, because this file is what makes the folder a distilled set.
        write_json(folder / META, meta)

    @classmethod
    def formed(cls, stored: Tensor, formation: int, **others: Any) -> "DistilledSet":
        """The set of the images that are formed from `stored` [R, c, H, W]."""
        packed = stored if formation > 1 else None
        return cls(images=form(stored, formation), packed=packed, **others)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "DistilledSet":
        """The set in the folder `path`.

        Raises InputError if it is missing, of another format or damaged.
        """
        folder = Path(path)
        if not (folder / META).is_file():
            raise InputError(f"{folder}: holds no {META}, so no distilled set; check the path.")
        meta = read_json(folder / META)
        found = meta.get("format") if isinstance(meta, dict) else None
        if found != FORMAT:
            raise InputError(f"{folder / META}: format {found!r} is not {FORMAT!r}; distil again.")
        tensors = load_tensors(folder / TENSORS)
        _check(folder, meta, tensors)
        return cls.formed(
            stored=tensors["images"],
            formation=meta.get("formation", 1),
            logits=tensors["logits"],
            step_size=float(tensors["step_size"]),
            classes=tuple(meta["classes"]),
            transform=_transform(folder, meta, tensors),
            meta=meta,
            records=meta.get("records", []),
        )


def _check(folder: Path, meta: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Raises InputError where description and tensors do not belong together."""
    classes = meta.get("classes")
    if not isinstance(classes, list) or not classes:
        raise InputError(f"{folder / META}: classes {classes!r} is no list of names; restore it.")
    formation = meta.get("formation", 1)
    if not isinstance(formation, int) or formation < 1:
        raise InputError(f"{folder / META}: formation {formation!r} is no count; restore it.")
    names = "images", "logits", "step_size"
    shapes = [list(tensors[name].shape) if name in tensors else None for name in names]
    images, logits, step_size = shapes
    fits = (
        images is not None
        and len(images) == 4
        and not any(side % formation for side in images[2:])
        and logits == [images[0] * formation**2, len(classes)]
    )
    if not fits or step_size != []:
        found = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes, strict=True))
        raise InputError(
            f"{folder / TENSORS}: holds {found}, which is no distilled set of {len(classes)}"
            f" classes as {META} says; restore the files."
        )


def _transform(folder: Path, meta: dict[str, Any], tensors: dict[str, Tensor]) -> Transform:
    parts = {
        name.removeprefix(TRANSFORM): value
        for name, value in tensors.items()
        if name.startswith(TRANSFORM)
    }
    try:
        return Transform.from_tensors(str(meta.get("transform")), parts)
    except InputError as error:
        raise InputError(f"{folder / TENSORS}: {error}") from error
