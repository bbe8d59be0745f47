"""The markdown of a benchmark run, made from its records alone."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from speed.cases import LABELS, Case
from speed.machine import hardware

Record = Mapping[str, Any]
Row = tuple[Case, Record]
EPOCH_IMAGES = 50_000
MIB, GIB = 2**20, 2**30
NONE = "-"


def render(header: Record, by_name: Mapping[str, Record]) -> str:
    """The whole page; a section stands only where a case of its kind was run."""
    rows = [(Case(**record["case"]), record) for record in by_name.values()]
    ceilings = next((record for case, record in rows if case.kind == "ceilings"), {})
    parts = [["# Speed of matching, teaching and evaluating", "", *introduction(header)]]
    for kind, section in SECTIONS.items():
        chosen = [row for row in rows if row[0].kind == kind]
        if chosen:
            parts.append(section(chosen, ceilings))
    warned = [f"- {case.name}: {text}" for case, record in rows for text in warnings(case, record)]
    if warned:
        parts.append(["## Warnings", "", *warned])
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def warnings(case: Case, record: Record) -> list[str]:
    """What the reader of a case's figures has to know."""
    found = list(record.get("warnings", ()))
    if case.allocator == "kept" and record.get("keeps_freed_memory") is False:
        found.append("freed memory could not be kept in this environment")
    return found


def introduction(header: Record) -> list[str]:
    """What ran where and how."""
    environment = header["environment"]
    versions = environment["versions"]
    features = ", ".join(environment["features"]) or "none known"
    kernel = environment["bfloat16_kernel"]
    gpu = f"{hardware(environment)}; " if environment["device"] == "cuda" else ""
    lines = [
        f"`{header['command']}`",
        "",
        f"{gpu}{environment['cpu']}, {environment['cores']} cores"
        f" ({environment['threads']} threads used), {(environment['memory_bytes'] or 0) / GIB:.0f}"
        f" GiB; processor features: {features};"
        + (f" bfloat16 convolutions use {unit(kernel)} (oneDNN's `{kernel}`);" if kernel else "")
        + f" {environment['platform']}; Python {versions['python']}, torch {versions['torch']};"
        f" commit {environment['commit'] or 'unknown'}; {environment['time'][:10]}.",
        "",
        "Every case in a process of its own, on random data. Times are medians of n repeats, at"
        f" most {header['repeats']}, fewer once {header['seconds']:.0f} s had passed; what is"
        f" predicted to take over {header['limit']:.0f} s once was left out. Every process keeps"
        " freed memory (glibc's mallopt), the baselines' too, except where a row says otherwise."
        " `benchmarks/README.md` says what the columns mean.",
    ]
    return lines


def unit(kernel: str) -> str:
    """The processor's unit that one of oneDNN's bfloat16 kernels is named after."""
    if "amx" in kernel:
        return "the AMX tiles"
    native = "bf16" in kernel or "avx10" in kernel
    return "the AVX-512 bfloat16 instructions" if native else "float32 arithmetic"


def ceilings_section(rows: list[Row], _: Record) -> list[str]:
    record = rows[0][1]
    if trouble := problem(record):
        return ["## The machine's ceilings", "", trouble]
    names = [name for name in ("float32", "tf32", "bfloat16") if name in record]
    found = [
        [f"matrix product, {record['side']} cube, {name}", f"{record[name] / 1e9:,.0f} GFLOP/s"]
        for name in names
    ]
    found.append(["copy, read and written", f"{record['copy'] / 1e9:,.1f} GB/s"])
    return ["## The machine's ceilings", "", *table(["what", "fastest measured"], found)]


def errors_section(rows: list[Row], _: Record) -> list[str]:
    head = ["B", "N", "method", "precision", "images", "label logits", "step size"]
    found = []
    for case, record in rows:
        size = [str(case.batch), str(case.steps)]
        if trouble := problem(record):
            found.append([*size, trouble, *[NONE] * 4])
            continue
        for key, values in record["errors"].items():
            how, precision = key.split("/")
            shown = [f"{values[name]:.0e}" for name in ("images", "logits", "step_size")]
            found.append([*size, LABELS[how], precision, *shown])
    text = (
        "Relative to the gradient unrolled in float64: ||ours - exact|| / ||exact||. Where an"
        " activation is zero to rounding, float32 can put it on the other side of the ReLU: with"
        " any method a few such flips, in some runs and not in others, make errors of 1e-4 to 1e-3."
    )
    return ["## Error of the gradient", "", text, "", *table(head, found)]


def matching_section(rows: list[Row], ceilings: Record) -> list[str]:
    text = f"{network(rows)}, without augmentation; time of both sweeps together."
    return ["## One matching gradient", "", text, "", *matched(rows, ceilings, "s per gradient")]


def iterations_section(rows: list[Row], ceilings: Record) -> list[str]:
    text = f"{network(rows)}; augmentation on, and the three updates included."
    return ["## One iteration", "", text, "", *matched(rows, ceilings, "s per iteration")]


def matched(rows: list[Row], ceilings: Record, whole: str) -> list[str]:
    """Rows by size, with ratios to both baselines."""
    head = ["K", "B", "N", "method", "precision", "ms per inner step", "range", "n", whole]
    head += ["faster than (a)", "faster than (b)", "peak MiB", "of the floor", "first call, s"]
    found = []
    for case, record in sorted(rows, key=lambda row: (row[0].classes, row[0].batch, row[0].steps)):
        size = [str(case.classes), str(case.batch), str(case.steps), label(case), case.precision]
        if trouble := problem(record):
            found.append([*size, trouble, *[NONE] * (len(head) - 6)])
            continue
        found.append(
            [
                *size,
                *timing(case, record),
                f"{record['seconds_per_step'] * case.steps:.3g}",
                ratio(case, record, rows, "unrolled"),
                ratio(case, record, rows, "tesla"),
                *costs(case, record, ceilings),
            ]
        )
    return table(head, found)


def teaching_section(rows: list[Row], ceilings: Record) -> list[str]:
    head = ["method", "precision", "ms per step", "range", "n", "s per epoch", "faster than eager"]
    head += ["peak MiB", "of the floor", "first call, s"]
    found = []
    for case, record in rows:
        if trouble := problem(record):
            found.append([label(case), case.precision, trouble, *[NONE] * (len(head) - 3)])
            continue
        epoch = record["seconds_per_step"] * EPOCH_IMAGES / case.batch
        shown = [to_digits(epoch), ratio(case, record, rows, "eager")]
        times = timing(case, record)
        found.append([label(case), case.precision, *times, *shown, *costs(case, record, ceilings)])
    case = rows[0][0]
    text = (
        f"{network(rows)}, batches of {case.batch}, plain SGD, augmentation on in both."
        f" {case.steps} steps were timed; an epoch is scaled from them to {EPOCH_IMAGES:,} images"
        f" ({EPOCH_IMAGES / case.batch:,.1f} steps)."
    )
    return ["## A teacher's epoch", "", text, "", *table(head, found)]


def evaluation_section(rows: list[Row], ceilings: Record) -> list[str]:
    head = ["images", "method", "precision", "ms per step", "range", "n", "steps per second"]
    head += ["faster than eager", "peak MiB", "of the floor", "first call, s"]
    found = []
    for case, record in rows:
        size = [str(case.batch), label(case), case.precision]
        if trouble := problem(record):
            found.append([*size, trouble, *[NONE] * (len(head) - 4)])
            continue
        rate = f"{1 / record['seconds_per_step']:.3g}"
        shown = [*timing(case, record), rate, ratio(case, record, rows, "eager")]
        found.append([*size, *shown, *costs(case, record, ceilings)])
    text = (
        f"{network(rows)} trained on distilled images (batches of at most 256), momentum and decay,"
        f" augmentation on in both; {rows[0][0].steps} steps were timed."
    )
    return ["## Training a network to evaluate", "", text, "", *table(head, found)]


def network(rows: list[Row]) -> str:
    depth, width, side = rows[0][0].geometry
    return f"ConvNet-{depth}, {width} filters, {side}x{side} colour images"


def label(case: Case) -> str:
    plain = case.allocator == "default"
    several = f", {case.sides} side by side" if case.sides > 1 else ""
    return LABELS[case.how] + several + (", glibc's default malloc" if plain else "")


def problem(record: Record) -> str:
    """Why there are no figures, or nothing."""
    for name in ("skipped", "failed"):
        if name in record:
            return f"{name}: {' '.join(record[name].replace('|', '/').split())}"
    return ""


def timing(case: Case, record: Record) -> list[str]:
    """Milliseconds per step of one, their range, and the number of repeats."""
    steps = case.steps * case.sides
    spread = (1000 * seconds / steps for seconds in sorted(record["seconds"]))
    every = [to_digits(value) for value in spread]
    return [
        to_digits(1000 * record["seconds_per_step"]),
        f"{every[0]} to {every[-1]}" if len(every) > 1 else NONE,
        str(len(every)),
    ]


def to_digits(value: float) -> str:
    """To a tenth, of less than ten to three digits: a GPU's times are shorter than that."""
    return f"{value:,.1f}" if value >= 10 else f"{value:.3g}"


def costs(case: Case, record: Record, ceilings: Record) -> list[str]:
    """Peak memory, the share of the arithmetic floor reached, and the seconds of the first call."""
    share = NONE
    if case.precision in ceilings:
        floor = case.step_flops / ceilings[case.precision]
        share = f"{100 * floor / record['seconds_per_step']:.0f}%"
    return [f"{record['peak_bytes'] / MIB:,.0f}", share, f"{record['first_seconds']:.1f}"]


def ratio(case: Case, record: Record, rows: Iterable[Row], how: str) -> str:
    """How many times faster than the baseline `how` at the same K and B, per step.

    The baseline counts in its fastest precision; "~" where only another N of it was measured.
    """
    found: dict[int, float] = {}
    for other, measured in rows:
        alike = (other.how, other.classes, other.batch, other.allocator) == (
            how,
            case.classes,
            case.batch,
            "kept",
        )
        if alike and "seconds_per_step" in measured:
            seconds = measured["seconds_per_step"]
            found[other.steps] = min(seconds, found.get(other.steps, seconds))
    if not found:
        return NONE
    steps = min(found, key=lambda steps: (abs(steps - case.steps), steps))
    mark = "" if steps == case.steps else "~"
    return f"{mark}{found[steps] / record['seconds_per_step']:.2f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


SECTIONS: dict[str, Callable[[list[Row], Record], list[str]]] = {
    "ceilings": ceilings_section,
    "match": matching_section,
    "iteration": iterations_section,
    "teach": teaching_section,
    "evaluate": evaluation_section,
    "error": errors_section,
}
