"""Training teachers on the augmented real data (Guo 2024, section 3.1; Cazenavette 2022).

SGD without momentum, decay or schedule, or one of the variants of `TeachConfig`. Everything random
is a function of the seed, the teacher's number and the step, so an interrupted teacher continues
from its last row on disk.

Letters: P parameters, E epochs.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from datm.data import DataSet
from datm.errors import InputError
from datm.networks import Network, make_network
from datm.runtime.device import Runtime
from datm.runtime.files import writable_folder
from datm.runtime.logs import QUIET, Console
from datm.teaching.config import TeachConfig
from datm.teaching.curriculum import Lessons, by_difficulty
from datm.teaching.el2n import difficulty
from datm.teaching.manifest import (
    close_record,
    epochs_done,
    is_complete,
    open_manifest,
    record_of,
    rows_done,
    summary,
)
from datm.teaching.optimisers import Direction, du2023ftd, sgd
from datm.teaching.school import Course, Learner, School
from datm.teaching.trajectories import (
    Trajectories,
    TrajectoryWriter,
    save_manifest,
    save_progress,
)


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
    network = make_network(config.network, data.shape, classes, runtime.arithmetic)
    folder = writable_folder(out)
    check_classifier(network, config)
    ours = identity(data, network, config, runtime, seed)
    manifest = open_manifest(folder, ours, config.teachers)
    waiting = [n for n in range(config.teachers) if not is_complete(folder, manifest, n)]
    if waiting:
        school = School(data, network, config, runtime)
        lessons = school.shuffled()
        if config.order == "el2n":
            scores = difficulty(school, folder, manifest, ours, runtime.side_by_side, console)
            lessons = by_difficulty(
                scores, school.labels, config.curriculum, config.batch, config.epochs
            )
            save_manifest(folder, manifest)
        course = _course(config, lessons)
        console.start("teach", config.teachers * config.epochs, epochs_done(manifest))
        while waiting:
            # Side by side go those that stand at one epoch.
            behind = [rows_done(folder, manifest, number) for number in waiting]
            group = [n for n, rows in zip(waiting, behind, strict=True) if rows == behind[0]]
            group = group[: runtime.side_by_side]
            _train_teachers(school, course, folder, manifest, group, seed, console)
            waiting = [number for number in waiting if number not in group]
        console.finish(summary(manifest))
    return Trajectories.open(folder)


def check_classifier(network: Network, config: TeachConfig) -> None:
    """Raises InputError where the last linear layer is to be taught by itself but is not known."""
    if config.classifier == "balanced" and not network.layout.classifier:
        raise InputError(
            f"teach.classifier: {network.spec} has no linear layer at its end to teach by itself;"
            " use 'natural' or another network."
        )


def identity(
    data: DataSet, network: Network, config: TeachConfig, runtime: Runtime, seed: int
) -> dict[str, Any]:
    """All that decides what a teacher becomes: what a manifest must share to be continued."""
    return {
        "data": data.describe(),
        "network": network.spec,
        "parameters": network.layout.total,
        "precision": runtime.arithmetic,
        "settings": config.decisive(),
        "seed": seed,
    }


def _course(config: TeachConfig, lessons: Lessons) -> Course:
    """What the teachers of these settings are taught."""
    direction: Direction = sgd
    if config.optimiser == "ftd":
        direction = partial(du2023ftd, rho=config.rho, gsam_alpha=config.gsam_alpha)
    return Course(config.epochs, lessons, direction, config.classifier == "balanced")


@dataclass(frozen=True)
class _Pupil:
    """A teacher in the making: who it is, its record in the manifest, its rows on disk."""

    learner: Learner
    record: dict[str, Any]
    writer: TrajectoryWriter


def _train_teachers(
    school: School,
    course: Course,
    folder: Path,
    manifest: dict[str, Any],
    numbers: Sequence[int],
    seed: int,
    console: Console,
) -> None:
    """Train teachers that stand at the same epoch to the end, side by side."""
    found = [_enrol(school, folder, manifest, number, seed) for number in numbers]
    pupils = [pupil for pupil in found if pupil is not None]
    if not pupils:
        return
    save_manifest(folder, manifest)
    newest = torch.stack([pupil.writer.last() for pupil in pupils]).to(school.device)
    first = len(pupils[0].record["epochs"]) - 1
    began = time.monotonic()
    learners = [pupil.learner for pupil in pupils]
    taught = [learner.number for learner in learners]
    for epoch, params, losses in school.epochs(newest, first, learners, course):
        for pupil, own, loss in zip(pupils, params, losses, strict=True):
            pupil.writer.append(own)
            accuracies = school.report(own)
            pupil.record["epochs"].append({"epoch": epoch, "train_loss": loss, **accuracies})
            pupil.record["seconds"] += (time.monotonic() - began) / len(pupils)
        began = time.monotonic()
        save_progress(folder, manifest, taught)
        shown = accuracies["test_accuracy"] or 0.0
        console.advance(epochs_done(manifest), loss=losses[-1], test=shown)
    for pupil in pupils:
        pupil.writer.finish()
        close_record(folder, manifest, pupil.learner.number)


def _enrol(
    school: School, folder: Path, manifest: dict[str, Any], number: int, seed: int
) -> _Pupil | None:
    """Teacher `number` as it stands on disk, begun if it is new; None if nothing is left to do."""
    record = record_of(manifest, number, seed)
    if (folder / record["file"]).exists():
        # Stopped between the last row and the manifest: all that is missing is to say so.
        close_record(folder, manifest, number)
        return None
    known = rows_done(folder, manifest, number)
    del record["epochs"][known:]
    record["complete"] = False
    learner = Learner(number, record["seed"])
    writer = TrajectoryWriter(folder, number, known, school.network.layout.total)
    if known == 0:
        record["seconds"] = 0.0
        params = school.initial(learner)
        writer.append(params)
        record["epochs"].append({"epoch": 0, "train_loss": None, **school.report(params)})
    return _Pupil(learner, record, writer)
