"""Training teachers on the augmented real data (Guo 2024, section 3.1; Cazenavette 2022).

Plain SGD: no momentum, decay or schedule. Everything random is a function of the seed, the
teacher's number and the step, so an interrupted teacher continues from its last row on disk.

Letters: P parameters, E epochs, B batch, K classes.
"""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import Tensor

from datm.augment import draw_augmentation, parse_strategy
from datm.batches import BatchStream
from datm.data import DataSet
from datm.errors import InputError
from datm.matching import Student, student_loss
from datm.matching.objective import hard_logits
from datm.networks import Network, Predictor, make_network
from datm.runtime.device import Runtime
from datm.runtime.files import writable_folder
from datm.runtime.logs import QUIET, Console
from datm.runtime.seeds import derived_seed, generator
from datm.runtime.settings import differences, settings
from datm.teaching.trajectories import (
    FORMAT,
    MANIFEST,
    Trajectories,
    TrajectoryWriter,
    drop_partial,
    rows_on_disk,
    save_manifest,
)


@settings
class TeachConfig:
    """How teachers are trained."""

    network: str = Field(default="convnet-3", description="such as convnet-3 or convnet-2,width=32")
    teachers: int = Field(default=10, gt=0, description="K, how many teachers")
    epochs: int = Field(default=50, gt=0, description="E, epochs per teacher")
    batch: int = Field(default=256, gt=0, description="B, real images per step")
    learning_rate: float = Field(default=0.01, gt=0, description="of plain SGD")
    augmentation: str = Field(
        default="colour_crop_cutout_flip_scale_rotate",
        description="differentiable Siamese augmentation: operations joined by '_', or none",
    )

    def __post_init__(self) -> None:
        parse_strategy(self.augmentation)


def teach(
    data: DataSet,
    config: TeachConfig,
    *,
    out: str | os.PathLike[str],
    runtime: Runtime | None = None,
    seed: int = 0,
    console: Console = QUIET,
) -> Trajectories:
    """Train the teachers that are not in the folder `out` yet and record their trajectories there.

    A finished teacher is never trained again; an unfinished one goes on after its last recorded
    epoch. Raises InputError if `out` holds teachers of other data, network, settings or seed.
    """
    runtime = runtime or Runtime()
    classes = len(data.classes)
    network = make_network(config.network, data.shape, classes, runtime.precision)
    folder = writable_folder(out)
    manifest = _open_manifest(folder, identity(data, network, config, runtime, seed), config)
    waiting = [n for n in range(config.teachers) if not _complete(folder, manifest, n)]
    if waiting:
        school = _School(data, network, config, runtime)
        behind = _rows_done(folder, manifest, waiting[0]) - 1
        done = waiting[0] * config.epochs + max(behind, 0)
        console.start("teach", config.teachers * config.epochs, done)
        for number in waiting:
            _train_teacher(school, folder, manifest, number, seed, console)
        console.finish(_summary(manifest))
    return Trajectories.open(folder)


def identity(
    data: DataSet, network: Network, config: TeachConfig, runtime: Runtime, seed: int
) -> dict[str, Any]:
    """All that decides what a teacher becomes: what a manifest must share to be continued."""
    teach_settings = dataclasses.asdict(config)
    # How many teachers there are does not change any of them; the network has its own entry.
    del teach_settings["teachers"], teach_settings["network"]
    return {
        "data": data.describe(),
        "network": network.spec,
        "parameters": network.layout.total,
        "precision": runtime.precision,
        "settings": teach_settings,
        "seed": seed,
    }


class _School:
    """What all teachers share: data in the training space on the device, compiled functions."""

    def __init__(
        self, data: DataSet, network: Network, config: TeachConfig, runtime: Runtime
    ) -> None:
        self.device = runtime.torch_device()
        self.network = network
        self.config = config
        data = data.to(self.device)
        self.images = data.transform(data.train.images)
        self.logits = hard_logits(data.train.labels, len(data.classes))
        self.held_out = {
            name: (data.transform(split.images), split.labels)
            for name, split in (("validation", data.validation), ("test", data.test))
        }
        self.student = Student(student_loss(network), runtime.compile)
        self.predictor = Predictor(network, runtime.compile)

    def epochs(self, params: Tensor, first: int, seed: int) -> Iterator[tuple[int, Tensor, float]]:
        """Train on from `params` [P] after epoch `first`; yield (epoch, parameters, mean loss)."""
        config = self.config
        stream = BatchStream(len(self.images), config.batch, seed, "order")
        for epoch in range(first + 1, config.epochs + 1):
            total = params.new_zeros(())
            for index in range(stream.steps_per_epoch):
                step = (epoch - 1) * stream.steps_per_epoch + index
                rows = stream[step].to(self.device)
                draw = generator(seed, "augment", step)
                augment = draw_augmentation(config.augmentation, len(rows), draw)
                images = augment(self.images[rows])
                gradient, loss = self.student.gradient(params, images, self.logits[rows])
                params = params - config.learning_rate * gradient
                total = total + loss
            yield epoch, params, float(total) / stream.steps_per_epoch

    def report(self, params: Tensor) -> dict[str, float | None]:
        """Accuracy on the splits that teachers never see (None for an empty split)."""
        return {
            f"{name}_accuracy": self.predictor.accuracy(params, images, labels, self.images)
            if len(labels)
            else None
            for name, (images, labels) in self.held_out.items()
        }


def _train_teacher(
    school: _School,
    folder: Path,
    manifest: dict[str, Any],
    number: int,
    seed: int,
    console: Console,
) -> None:
    record = _record(manifest, number, seed)
    if (folder / record["file"]).exists():
        # Stopped between the last row and the manifest: all that is missing is to say so.
        _close(folder, manifest, number)
        return
    known = _rows_done(folder, manifest, number)
    del record["epochs"][known:]
    record["complete"] = False
    writer = TrajectoryWriter(folder, number, known, school.network.layout.total)
    if known == 0:
        record["seconds"] = 0.0
        start = school.network.initial(generator(record["seed"], "initial"))
        params = start.to(school.device)
        writer.append(params)
        record["epochs"].append({"epoch": 0, "train_loss": None, **school.report(params)})
        save_manifest(folder, manifest)
    newest = writer.last().to(school.device)
    began = time.monotonic()
    first = len(record["epochs"]) - 1
    for epoch, params, loss in school.epochs(newest, first, record["seed"]):
        if not (loss < float("inf") and bool(params.isfinite().all())):
            raise InputError(
                f"teach.learning_rate: teacher {number} diverged in epoch {epoch} (loss {loss});"
                f" {school.config.learning_rate} is too large, give a smaller one."
            )
        writer.append(params)
        accuracies = school.report(params)
        record["epochs"].append({"epoch": epoch, "train_loss": loss, **accuracies})
        record["seconds"] += time.monotonic() - began
        began = time.monotonic()
        save_manifest(folder, manifest)
        done = number * school.config.epochs + epoch
        console.advance(done, loss=loss, test=accuracies["test_accuracy"] or 0.0)
    writer.finish()
    _close(folder, manifest, number)


def _close(folder: Path, manifest: dict[str, Any], number: int) -> None:
    drop_partial(folder, number)
    manifest["teachers"][number]["complete"] = True
    save_manifest(folder, manifest)


def _open_manifest(folder: Path, ours: dict[str, Any], config: TeachConfig) -> dict[str, Any]:
    """The folder's manifest, made if there is none, refused if it is not about `ours`."""
    if (folder / MANIFEST).exists():
        manifest = Trajectories.open(folder).manifest
        theirs = {key: manifest[key] for key in ours if key in manifest}
        theirs["settings"] = {
            key: value for key, value in theirs["settings"].items() if key in ours["settings"]
        }
        if differs := differences({key: ours[key] for key in theirs}, theirs):
            raise InputError(
                f"{folder}: holds teachers made otherwise ({'; '.join(differs)});"
                " choose another folder or the same settings."
            )
    elif strays := sorted(path.name for path in folder.glob("teacher-*")):
        raise InputError(
            f"{folder}: holds {strays[0]} but no {MANIFEST}, so it is not known what was taught;"
            " choose another folder, or remove the files."
        )
    else:
        manifest = {"format": FORMAT, **ours, "teachers": []}
        text = json.dumps(ours, sort_keys=True)
        manifest["settings_hash"] = hashlib.sha256(text.encode()).hexdigest()
    manifest["settings"] = {**ours["settings"], "teachers": config.teachers}
    save_manifest(folder, manifest)
    return manifest


def _record(manifest: dict[str, Any], number: int, seed: int) -> dict[str, Any]:
    """The manifest's record of teacher `number`, made if it is the next one."""
    teachers = manifest["teachers"]
    if number == len(teachers):
        teachers.append(
            {
                "file": f"teacher-{number:03d}.safetensors",
                "seed": derived_seed(seed, "teacher", number),
                "complete": False,
                "seconds": 0.0,
                "epochs": [],
            }
        )
    record: dict[str, Any] = teachers[number]
    return record


def _complete(folder: Path, manifest: dict[str, Any], number: int) -> bool:
    """Whether a teacher is finished, and its file still there."""
    if number >= len(manifest["teachers"]):
        return False
    record = manifest["teachers"][number]
    return bool(record["complete"]) and (folder / record["file"]).exists()


def _rows_done(folder: Path, manifest: dict[str, Any], number: int) -> int:
    """Rows of a teacher that are both on disk and in the manifest."""
    if number >= len(manifest["teachers"]):
        return 0
    record = manifest["teachers"][number]
    if (folder / record["file"]).exists():
        return len(record["epochs"])
    return min(len(record["epochs"]), rows_on_disk(folder, number, manifest["parameters"]))


def _summary(manifest: dict[str, Any]) -> str:
    final = [teacher["epochs"][-1]["test_accuracy"] or 0.0 for teacher in manifest["teachers"]]
    return f"{len(final)} teachers, mean test accuracy {100 * sum(final) / len(final):.1f}%"
