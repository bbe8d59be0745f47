"""A plan as plain text, up to 100 columns wide."""

import textwrap

from datm.distillation import DistillConfig
from datm.planning.advice import Need
from datm.planning.plan import Plan
from datm.planning.units import bytes_text, span

WIDTH = 100
CLOSE = 0.8
"""The share of what there is from which a fit is called close: memory is known to a fifth or so."""
BUSY = 1.5
"""How many times its quickest a step may take, commonly, on a machine of one's own."""


def plan_text(plan: Plan) -> str:
    """The facts, a line for each stage, what there is, and whether it fits."""
    paragraphs = [_facts(plan), _table(plan), "\n".join(_verdict(plan))]
    return "\n\n".join(paragraphs)


def _facts(plan: Plan) -> str:
    outline, environment = plan.outline, plan.environment
    recipe, sizes = outline.recipe, outline.sizes
    match, runtime = recipe.distill.match, recipe.runtime
    c, h, w = sizes.shape
    segments = "one segment" if match.segments == 1 else f"{match.segments} segments"
    made = "" if outline.made else ", made elsewhere"
    networks = [f"{spec} ({plan.parameters[spec]:,} parameters)" for spec in plan.parameters]
    gpus = environment["gpus"]
    memory = environment["memory_bytes"]
    facts = {
        "recipe": f"{recipe.name}, into {plan.out}",
        "data": f"{recipe.data.source}: {sizes.train:,} images to train on, {sizes.validation:,} "
        f"for validation, {sizes.test:,} for test; {c}x{h}x{w}, {sizes.classes} classes",
        "network": "; ".join(networks),
        "teachers": f"{outline.teachers}{made}"
        + (
            f", {recipe.teach.epochs} epochs each, {recipe.teach.batch} images a step"
            * outline.made
        ),
        "distilled": f"{outline.synthetic:,} images ({_per_class(recipe.distill)}); "
        f"{recipe.distill.iterations:,} iterations of {segments} of {match.inner_steps} inner "
        f"steps on {outline.match_batch:,} images ({match.gradient} gradient)",
        "machine": f"{environment['cpu']}, {environment['cores']} cores"
        + (f", {bytes_text(memory)} of memory" if memory else "")
        + (f", {', '.join(gpus)}" if gpus else ""),
        "device": f"{runtime.torch_device()}, {runtime.arithmetic}, "
        + ("compiled" if runtime.compile else "uncompiled"),
    }
    return "\n".join(_wrapped(f"{key:<11}", text) for key, text in facts.items())


def _per_class(config: DistillConfig) -> str:
    pieces = f", {config.formation**2} in each" if config.formation > 1 else ""
    return f"{config.ipc} per class{pieces}"


def _table(plan: Plan) -> str:
    """Time, memory and disk by stage; on a CPU, device and host memory are one column."""
    cuda = plan.room.device is not None
    room = Need("available", 0.0, plan.room.device or 0, plan.room.host or 0, plan.room.disk)
    rows = [("stage", "time", *(("device memory", "host memory") if cuda else ("memory",)), "disk")]
    for need in [*plan.needs, plan.total, room]:
        memory = (need.device, need.host) if cuda else (need.host,)
        cells = [bytes_text(value) if value else "-" for value in (*memory, need.disk)]
        time = span(need.seconds) if need is not room else ""
        rows.append((need.stage, time, *cells))
    rows.insert(-2, tuple("" for _ in rows[0]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("─" * width for width in widths))
    lines = []
    for row in rows:
        first, *others = (
            text.ljust(width) if number == 0 else text.rjust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines)


def _verdict(plan: Plan) -> list[str]:
    found = []
    if plan.problems:
        found.append("It does not fit:")
        found += [_wrapped("- ", text) for text in plan.problems]
    else:
        closely = ", closely" * _closely(plan)
        found.append(f"It fits{closely}. Most memory: {_largest(plan)}.")
    if plan.hints:
        found.append("It takes days:")
        found += [_wrapped("- ", text) for text in plan.hints]
    return found + [_wrapped("", text) for text in _notes(plan)]


def _closely(plan: Plan) -> bool:
    """Whether so little is left that the estimate's error may decide."""
    total, room = plan.total, plan.room
    pairs = (total.host, room.host), (total.device, room.device), (total.disk, room.disk)
    return any(there is not None and needed > CLOSE * there for needed, there in pairs)


def _largest(plan: Plan) -> str:
    """The stage and phase that takes the most memory."""
    need = max(plan.needs, key=lambda need: (need.device, need.host))
    return need.stage + (f", {need.peak.name}" if need.peak else "")


def _notes(plan: Plan) -> list[str]:
    """What the figures rest on."""
    notes = ["Times: a few steps of each kind taken here now, the median multiplied."]
    steps = sum(need.seconds for need in plan.needs if need.stage not in ("load", "compile"))
    if steps > BUSY * plan.quickest:
        notes.append(
            f"The quickest of those steps would make {span(plan.quickest)} of {span(steps)}: this "
            "machine is busy with other work."
        )
    if any(need.stage == "compile" for need in plan.needs):
        notes.append("Compiling: once; what was compiled for this plan is kept for the run.")
    if plan.scaled:
        shown = [f"{step.kind} on {step.batch:,} from {n:,}" for step, n in plan.scaled]
        notes.append(f"Scaled from steps on other numbers of images: {', '.join(shown)}.")
    return notes


def _wrapped(head: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
