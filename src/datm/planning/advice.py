"""What to change where a run does not fit, and what would shorten it.

Letters: B batch, K teachers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from datm.matching import last_epoch
from datm.planning import memory
from datm.planning.measure import Costs
from datm.planning.memory import Phase
from datm.planning.outline import Outline
from datm.planning.units import bytes_text, span
from datm.planning.work import stages

if TYPE_CHECKING:
    from datm.recipes import Recipe

LONG = 2 * 86_400.0
"""Seconds from which a run is called long."""
FEW_TEACHERS, FEW_ITERATIONS = 10, 1000


@dataclass(frozen=True)
class Need:
    """What one stage takes: seconds; bytes on the device, on the host and on disk.

    On a CPU `device` is 0: its memory is the host's. peak: the phase that takes the most.
    """

    stage: str
    seconds: float
    device: int = 0
    host: int = 0
    disk: int = 0
    peak: Phase | None = None


@dataclass(frozen=True)
class Room:
    """What there is: bytes of memory and of disk; None where it is not known (or no device)."""

    host: int | None
    device: int | None
    disk: int


def problems(outline: Outline, needs: list[Need], room: Room, parameters: int) -> list[str]:
    """Why the run does not fit, a sentence each; empty where it does. `parameters` is P."""
    return [*_disk(outline, needs, room, parameters), *_memory(outline, needs, room)]


def _disk(outline: Outline, needs: list[Need], room: Room, parameters: int) -> Iterator[str]:
    needed = sum(need.disk for need in needs)
    if needed <= room.disk:
        return
    text = f"disk: {bytes_text(needed)} are needed, {bytes_text(room.disk)} are free"
    one = memory.teacher_disk(outline, parameters)
    others = needed - memory.teachers_disk(outline, parameters) if outline.made else needed
    fitting = (room.disk - others) // one - 1
    if outline.made and fitting >= 1:
        yield f"{text}; --teach.teachers {fitting} would fit, or give --out on another disk."
    else:
        yield f"{text}; give --out on another disk."


def _memory(outline: Outline, needs: list[Need], room: Room) -> Iterator[str]:
    for need in needs:
        for kind, needed, there in (
            ("device memory", need.device, room.device),
            ("memory", need.host, room.host),
        ):
            if there is not None and needed > there:
                text = f"{need.stage}: {bytes_text(needed)} of {kind} are needed"
                if need.peak:
                    text += f" ({need.peak.name})"
                remedy = _remedy(outline, need, needed - there)
                yield f"{text}, {bytes_text(there)} are free; {remedy}."


def _remedy(outline: Outline, need: Need, excess: int) -> str:
    """What makes a stage `excess` bytes smaller."""
    recipe, peak = outline.recipe, need.peak
    if peak is None or peak.step is None or peak.activations <= excess:
        return "give a smaller --data.size, or a machine with more"
    if peak.step.kind == "match" and recipe.distill.match.gradient == "unrolled":
        return "--match.gradient exact holds one inner step instead of all"
    options = {
        ("teach", "gradient"): "--teach.batch",
        ("distil", "match"): "--match.batch",
        ("evaluate", "gradient"): "--evaluate.batch",
        ("evaluate", "dm"): "--evaluate.dm.batch",
        ("evaluate", "dsa"): "--evaluate.dsa.batch",
    }
    option = options.get((need.stage, peak.step.kind))
    fitting = int(peak.step.batch * (1 - excess / peak.activations))
    if outline.at_once > 1:
        return "--side_by_side 1 takes less"
    lower = ", or --precision bfloat16" if recipe.runtime.arithmetic == "float32" else ""
    if option is None or fitting < 1:
        return f"give a narrower --network{lower}"
    return f"{option} {fitting} would fit{lower} (plan again with it)"


def hints(outline: Outline, needs: list[Need], costs: Costs) -> list[str]:
    """What would shorten a run of days: its longest stage, options and their effect."""
    total = sum(need.seconds for need in needs)
    if total < LONG:
        return []
    longest = max(needs, key=lambda need: need.seconds)
    stage = longest.stage
    found = [f"{span(total)} in all, {span(longest.seconds)} of them for {stage}."]
    for option, changed in _levers(outline.recipe, stage):
        seconds = costs.seconds(stages(replace(outline, recipe=changed))[stage])
        found.append(f"{option} would make {stage} {span(seconds)}.")
    runtime = outline.recipe.runtime
    faster = [] if runtime.compile else ["--compile true"]
    faster += ["--precision bfloat16"] if runtime.arithmetic == "float32" else []
    if runtime.torch_device().type == "cpu":
        faster.append("a GPU")
    elif runtime.side_by_side == 1 and _has_several(outline.recipe, stage):
        faster.append("--side_by_side 4")
    if stage == "teach":
        found.append("Teachers made before can be used: --trajectories DIR.")
    if faster:
        found.append(f"Steps may be quicker with {' or '.join(faster)}: plan again to see.")
    return found


def _has_several(recipe: "Recipe", stage: str) -> bool:
    """Whether a stage has teachers, segments or networks to stand side by side."""
    several = {
        "teach": recipe.teach.teachers,
        "distil": recipe.distill.match.segments,
        "evaluate": recipe.evaluate.seeds,
    }
    return several[stage] > 1


def _levers(recipe: "Recipe", stage: str) -> list[tuple[str, "Recipe"]]:
    """Options that make a stage shorter, each with the recipe that it would make."""
    config, distil, full = recipe.teach, recipe.distill, recipe.evaluate
    teachers = min(FEW_TEACHERS, max(1, config.teachers // 2))
    iterations = min(FEW_ITERATIONS, max(1, distil.iterations // 2))
    epochs = max(1, full.full_epochs // 4)
    last = last_epoch(distil.match)
    if stage == "teach":
        fewer = replace(config, teachers=teachers)
        found = [(f"--teach.teachers {teachers}", replace(recipe, teach=fewer))]
        if 0 < last < config.epochs:
            text = f"--teach.epochs {last}, where the last segment ends,"
            found.append((text, replace(recipe, teach=replace(config, epochs=last))))
        return found
    if stage == "distil":
        changed = replace(recipe, distill=replace(distil, iterations=iterations))
        return [(f"--distill.iterations {iterations}", changed)]
    return [
        ("--evaluate.full_seeds 1", replace(recipe, evaluate=replace(full, full_seeds=1))),
        (
            f"--evaluate.full_epochs {epochs}",
            replace(recipe, evaluate=replace(full, full_epochs=epochs)),
        ),
    ]
