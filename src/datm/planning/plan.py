"""The plan of a run: everything is checked as `datm run` does, a few steps are timed, nothing is
written.
"""

import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from datm import checks
from datm.data import DataSet
from datm.networks import make_network
from datm.planning import memory
from datm.planning.advice import Need, Room, hints, problems
from datm.planning.machine import (
    available_device,
    available_memory,
    bytes_in,
    existing,
    free_disk,
)
from datm.planning.measure import Costs, measure
from datm.planning.outline import Outline, Sizes, Step, Work
from datm.planning.probe import BACKWARD, MATCHED, Order
from datm.planning.process import highest, resident
from datm.planning.work import stages
from datm.runtime.environment import describe_environment
from datm.runtime.files import writable_folder
from datm.runtime.logs import QUIET, Console
from datm.smoke import smoke_recipe
from datm.teaching import Trajectories

if TYPE_CHECKING:
    from datm.recipes import Recipe

BUDGET = 60.0
"""Seconds after which only what is indispensable is still timed."""
PATIENCE = 1.5
"""Seconds for which one step is repeated."""
COMPILERS = 2 * 215 * 2**20
"""Bytes of the compilers that run beside a process that compiles (two g++ 13, torch 2.13)."""
UNKNOWN = 4 * 2**30
"""Bytes taken for free where that cannot be known."""


@dataclass(frozen=True)
class Plan:
    """What a run would take here, stage by stage, and what there is."""

    outline: Outline
    out: Path
    parameters: dict[str, int]
    needs: list[Need]
    room: Room
    environment: dict[str, Any]
    scaled: list[tuple[Step, int]]
    """steps that were timed on another number of images, and on how many"""
    quickest: float
    """seconds of all stages if every step were as quick as its quickest repeat"""
    problems: list[str]
    """why it does not fit, and what to change: a sentence each"""
    hints: list[str]
    """what would shorten it"""

    @property
    def total(self) -> Need:
        """The sum of time and disk, the largest of memory."""
        return Need(
            "total",
            sum(need.seconds for need in self.needs),
            max(need.device for need in self.needs),
            max(need.host for need in self.needs),
            sum(need.disk for need in self.needs),
        )

    def plain(self) -> dict[str, Any]:
        """The plan as values for JSON; seconds and bytes."""
        needs = [asdict(need) | {"peak": need.peak and need.peak.name} for need in self.needs]
        return {
            "recipe": self.outline.recipe.name,
            "out": str(self.out),
            "device": str(self.outline.recipe.runtime.torch_device()),
            "parameters": self.parameters,
            "stages": needs,
            "total": {
                key: getattr(self.total, key) for key in ("seconds", "device", "host", "disk")
            },
            "quickest": self.quickest,
            "available": asdict(self.room),
            "fits": not self.problems,
            "problems": self.problems,
            "hints": self.hints,
            "environment": self.environment,
        }


def make_plan(
    recipe: "Recipe",
    out: Path,
    *,
    smoke: bool = False,
    trajectories: str | None = None,
    console: Console = QUIET,
) -> Plan:
    """The plan for running `recipe` from its beginning in the run folder `out`, on this machine.

    smoke, trajectories: as in `pipeline.run`. Raises InputError where `datm run` would, for the
    settings, the data or what is in `out`.
    """
    ipc = recipe.distill.ipc
    recipe = replace(recipe, runtime=recipe.runtime.settled())
    if smoke:
        recipe = smoke_recipe(recipe)
    free = available_memory()
    # What this process holds already, a run would hold too.
    host_room = None if free is None else free + resident()
    began = time.monotonic()
    data, teachers = _checked(recipe, ipc, out, smoke, trajectories, console)
    loading = Need("load", time.monotonic() - began, host=highest())
    device = recipe.runtime.torch_device()
    outline = _outline(recipe, data, teachers)
    base = resident(trimmed=True)
    device_room = available_device(device)
    room = Room(host_room, device_room, free_disk(out) + bytes_in(out))
    order = _order(outline, (free if device_room is None else device_room) or UNKNOWN)
    costs = Costs(measure(order, console), recipe.distill.match.inner_steps)
    parameters = {
        spec: make_network(spec, data.shape, len(data.classes)).layout.total
        for spec in (outline.network, *outline.models)
    }
    needs = [loading, *needs_of(outline, parameters, costs, base, device.type == "cuda")]
    everything = sum(stages(outline).values(), Counter())
    return Plan(
        outline=outline,
        out=out,
        parameters=parameters,
        needs=needs,
        room=room,
        environment=describe_environment(recipe.seed),
        scaled=costs.scaled(everything),
        quickest=costs.seconds(everything, quickest=True),
        problems=problems(outline, needs, room, parameters[outline.network]),
        hints=hints(outline, needs, costs),
    )


def _checked(
    recipe: "Recipe",
    ipc: int,
    out: Path,
    smoke: bool,
    trajectories: str | None,
    console: Console,
) -> tuple[DataSet, Trajectories | None]:
    """The data and, where they were made elsewhere, the teachers; checked as for a run."""
    place = out / "trajectories"
    elsewhere = trajectories or (place.resolve() if place.is_symlink() else None)
    adopted = elsewhere is not None
    data = checks.checked_data(recipe, out, smoke=smoke, adopted=adopted, ipc=ipc, console=console)
    teachers = None if elsewhere is None else Trajectories.open(elsewhere)
    if teachers is None:
        checks.check_teaching(recipe)
    else:
        checks.check_trajectories(teachers, recipe, data, 1)
    writable_folder(existing(out))  # which is there, so nothing is made
    return data, teachers


def _outline(recipe: "Recipe", data: DataSet, teachers: Trajectories | None) -> Outline:
    def spec(text: str) -> str:
        return make_network(text, data.shape, len(data.classes)).spec

    network = spec(recipe.teach.network)
    models = dict.fromkeys(spec(model) for model in recipe.evaluate.models)
    return Outline(
        recipe=recipe,
        sizes=Sizes.of(data),
        network=network,
        models=tuple(models) or (network,),
        teachers=recipe.teach.teachers if teachers is None else len(teachers),
        augmentation=recipe.teach.augmentation if teachers is None else teachers.augmentation,
        made=teachers is None,
    )


def _order(outline: Outline, free: int) -> Order:
    """Every kind of step of the run, those first that it spends most on."""
    recipe, sizes = outline.recipe, outline.sizes
    everything: Work = sum(stages(outline).values(), Counter())
    passes = {
        "gradient": BACKWARD,
        "match": MATCHED,
        "scores": 1,
        "statistics": 0,
        "dm": 1,
        "dsa": BACKWARD,
    }
    images = {step: passes[step.kind] * step.batch * n for step, n in everything.items()}
    return Order(
        steps=sorted(images, key=lambda step: -images[step]),
        runtime=recipe.runtime,
        shape=sizes.shape,
        classes=sizes.classes,
        method=recipe.distill.match.gradient,
        inner_steps=recipe.distill.match.inner_steps,
        memory=free // 2,
        budget=BUDGET,
        patience=PATIENCE,
        threads=torch.get_num_threads(),
    )


def needs_of(
    outline: Outline, parameters: dict[str, int], costs: Costs, base: int, cuda: bool
) -> list[Need]:
    """What compiling and each stage take; `base`: bytes on the host once the data are loaded."""
    base += costs.host
    work = stages(outline)
    own = parameters[outline.network]
    writing = memory.writing(outline)
    phases = {
        "teach": memory.teach(outline, work["teach"], own, costs.activations),
        "distil": memory.distil(outline, work["distil"], own, costs.activations),
        "evaluate": [
            phase
            for model in dict.fromkeys(step.network for step in work["evaluate"])
            for phase in memory.evaluate(
                outline,
                Counter({s: n for s, n in work["evaluate"].items() if s.network == model}),
                parameters[model],
                costs.activations,
            )
        ],
    }
    taught = memory.teachers_disk(outline, own) + memory.scores_disk(outline)
    disk = {"teach": taught, "distil": memory.set_disk(outline)}
    needs = []
    if outline.recipe.runtime.compile:
        needs.append(Need("compile", costs.compiling, host=base + COMPILERS))
    for stage, held in phases.items():
        if stage == "teach" and not outline.made:
            continue
        if stage == "distil" and not cuda:
            held = [*held, writing]
        if cuda:
            peak = memory.largest(held)
            device = memory.loaded(outline) + peak.total()
            host = base + (writing.total(memory.GAPS) if stage == "distil" else 0)
        else:
            peak = memory.largest(held, memory.GAPS)
            device, host = 0, base + peak.total(memory.GAPS)
        seconds = costs.seconds(work[stage])
        needs.append(Need(stage, seconds, device, host, disk.get(stage, 0), peak))
    return needs
