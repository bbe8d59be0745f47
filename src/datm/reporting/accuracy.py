"""The report's section on accuracy: curves, what was gained, every record."""

from collections.abc import Sequence

from datm.reporting import plots
from datm.reporting.card import duration
from datm.reporting.html import esc, figure, flat, missing, table
from datm.reporting.per_class import per_class_figure
from datm.reporting.run_folder import RunFolder
from datm.reporting.tables import BALANCED, balanced, count, has_balanced, in_order, kind_name
from datm.reporting.verdict import (
    Record,
    accuracy,
    networks,
    pick,
    signed,
    span,
    welch_interval,
)

INTERVAL = "95 % interval"


def accuracy_section(run: RunFolder) -> str:
    if not run.records:
        return missing("Nothing was evaluated yet: <code>datm evaluate</code> fills this section.")
    first = run.model
    curves = [r["model"] for r in run.records if r["what"] == "random"]
    others = [m for m in dict.fromkeys(curves) if m != first and curves.count(m) > 1]
    figures = [
        figure(
            plots.accuracy_plot(run.records, model),
            f"Test accuracy of {esc(model)}. Bars and shade: one standard deviation over networks.",
        )
        for model in (str(first), *others)
    ]
    figures.insert(1, comparison(run.records, str(first)))
    figures.append(per_class_figure(run.records, str(first), run.classes))
    absent = [
        kind_name(what)
        for what in ("full", "random", "distilled")
        if pick(run.records, what, first) is None
    ]
    note = missing(f"Not measured yet: {esc(', '.join(absent))}.") if absent else ""
    return f'{note}<div class="charts">{"".join(figures)}</div>{records_table(run.records)}'


def comparison(records: Sequence[Record], model: str) -> str:
    """What distilling gained and what it lost: differences in points with their intervals."""
    distilled = pick(records, "distilled", model)
    if distilled is None:
        return ""
    rows = []
    for what in ("random", "herding", "k-center", "dm", "dsa", "initial", "full"):
        same = [r for r in records if what != "random" or r["images"] == distilled["images"]]
        other = pick(same, what, model)
        if other is not None:
            interval = welch_interval(distilled, other)
            difference = signed(100 * (distilled["mean"] - other["mean"]))
            cells = (
                f"{esc(kind_name(what))} ({other['images']:,} images)",
                f"<b>{difference}</b>",
                span(interval) if interval else "–",
            )
            rows.append((what, cells))
    if not rows:
        return ""
    gained = table(("compared with", "points", INTERVAL), rows, ("points", INTERVAL))
    return (
        f'<figure class="compare"><h3>What the distilled images gain</h3>{gained}'
        f"<figcaption>Mean accuracy of {esc(model)} on the distilled images minus that on the "
        "other training set; Welch’s interval over the networks trained on each.</figcaption>"
        "</figure>"
    )


def records_table(records: Sequence[Record]) -> str:
    """Every record, with each network's accuracy as a dot and, to unfold, numbers and protocol."""
    low = min(min(r["accuracies"], default=r["mean"]) for r in records)
    high = max(max(r["accuracies"], default=r["mean"]) for r in records)
    several = ["model"] if len({r["model"] for r in records}) > 1 else []
    even = [BALANCED] if has_balanced(records) else []
    numbers = ("accuracy %", *even, "images", "per class")
    head = ("training set", *several, numbers[0], "each network", *numbers[1:], "how")
    rows = []
    for r in in_order(records):
        ipc = r.get("ipc")
        cells = (
            esc(kind_name(r["what"])),
            *(esc(r[key]) for key in several),
            f"<b>{accuracy(r)}</b>",
            _dots(r, low, high),
            *(balanced(r) for _ in even),
            count(r),
            "all" if ipc is None else f"{ipc:,}",
            _protocol(r),
        )
        rows.append((r["what"], cells))
    return table(head, rows, numbers)


def _protocol(record: Record) -> str:
    """Every network's accuracy and how it was trained, to unfold."""
    each = ", ".join(f"{100 * a:.2f}" for a in record["accuracies"])
    facts = [("accuracies, %", each), *flat(record.get("protocol") or {})]
    if record.get("seconds") is not None:
        facts.append(("time", duration(record["seconds"])))
    listed = "".join(f"<dt>{esc(key)}</dt><dd>{esc(value)}</dd>" for key, value in facts)
    return f"<details><summary>{networks(record)}</summary><dl>{listed}</dl></details>"


def _dots(record: Record, low: float, high: float) -> str:
    """Each network's accuracy on a scale that all rows share."""
    width = high - low or 1.0
    dots = "".join(
        f'<circle class="dot" cx="{6 + 108 * (a - low) / width:.1f}" cy="8" r="3.5">'
        f"<title>{100 * a:.2f} %</title></circle>"
        for a in record["accuracies"]
    )
    return f'<svg class="strip" viewBox="0 0 120 16"><path class="grid" d="M2 8H118"/>{dots}</svg>'
