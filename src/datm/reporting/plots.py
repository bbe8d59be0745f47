"""The report's charts: what is drawn from which records, in which colours.

Colours: c1 distilled, c2 random real images (and validation), c3 all real data, c4 before
distillation, c5 neutral, c6 to c9 the other baselines.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from datm.reporting.chart import Axis, Chart
from datm.reporting.run_folder import RunFolder
from datm.reporting.tables import kind_name
from datm.reporting.verdict import Record, accuracy, pick, std

BINS = 400  # points of a line at most
DOTS = 1500  # dots of a scatter at most
THIN_LINES = 40  # teachers drawn one by one at most
STYLES = {
    "distilled": "c1",
    "random": "c2",
    "full": "c3",
    "initial": "c4",
    "herding": "c6",
    "k-center": "c7",
    "dm": "c8",
    "dsa": "c9",
}
"""The colour of each kind of training set; c5 for any other."""


def accuracy_plot(records: Sequence[Record], model: str) -> str:
    """Accuracy against the number of training images: real curve, all real data, distilled."""
    mine = [r for r in records if r["model"] == model]
    ends = [100 * (r["mean"] + sign * (std(r) or 0)) for r in mine for sign in (-1, 1)]
    chart = Chart(
        Axis.around("training images", [r["images"] for r in mine], log=True),
        Axis.around("test accuracy", ends, unit=" %"),
        f"Accuracy of {model} against the number of training images",
    )
    full = pick(mine, "full", model)
    if full is not None:
        level, spread = 100 * full["mean"], 100 * (std(full) or 0)
        edges = [chart.x.low, chart.x.high]
        chart.band(edges, [level - spread] * 2, [level + spread] * 2, "c3")
        chart.level(level, "c3", f"all {full['images']:,} real images: {accuracy(full)} %")
    others = [w for w in dict.fromkeys(r["what"] for r in mine) if w != "full"]
    # the real images first, so that the distilled point lies on top
    for what in sorted(others, key=lambda w: {"initial": 1, "distilled": 2}.get(w, 0)):
        series = sorted((r for r in mine if r["what"] == what), key=lambda r: r["images"])
        _series(chart, series, STYLES.get(what, "c5"))
    return chart.svg()


def _series(chart: Chart, series: list[Record], style: str) -> None:
    xs = [r["images"] for r in series]
    ys = [100 * r["mean"] for r in series]
    if len(series) > 1:
        chart.line(xs, ys, style)
    chart.spread(xs, ys, [100 * (std(r) or 0) for r in series], style)
    name = kind_name(series[0]["what"])
    titles = [f"{name}, {r['images']:,} images: {accuracy(r)} %" for r in series]
    legend = f"{name}: {accuracy(series[0])} %" if len(series) == 1 else name
    chart.points(xs, ys, style, titles, 5 if style == "c1" else 3.5, legend)


def loss_plot(run: RunFolder) -> str:
    """Matching loss over iterations: every iteration faint, the running median on top."""
    return _over_iterations(run, "loss", "matching loss", smooth=True)


def data_loss_plot(run: RunFolder) -> str:
    """The loss of students on real images over iterations, in the same way."""
    return _over_iterations(run, "data_loss", "loss on real images", smooth=True)


def step_size_plot(run: RunFolder) -> str:
    """The learned step size over iterations."""
    return _over_iterations(run, "step_size", "step size", smooth=False)


def _over_iterations(run: RunFolder, key: str, label: str, *, smooth: bool) -> str:
    lines = [(r["iteration"], v) for r in run.iterations if (v := number(r.get(key))) is not None]
    if not lines:
        return ""
    xs, ys = [x for x, _ in lines], [y for _, y in lines]
    chart = Chart(
        _iterations(run),
        Axis.around(f"{label} (log scale)", ys, log=True),
        f"{label} over iterations",
    )
    if smooth and len(xs) >= 20:
        if len(xs) > 2 * BINS:
            chart.band(*binned(xs, ys, BINS // 2), "c1")
        else:
            chart.line(xs, ys, "faint c1", "each iteration")
        chart.line(*running_median(xs, ys), "c1", "running median")
    else:
        centre, low, high = binned(xs, ys)
        chart.line(centre, [(a + b) / 2 for a, b in zip(low, high, strict=True)], "c1")
    best = best_iteration(run)
    if best is not None:
        chart.upright(best, "c3", f"best iterate: {best:,}")
    return chart.svg()


def validation_plot(run: RunFolder) -> str:
    """Validation accuracy of networks trained on the iterates, the best one marked."""
    xs, ys = [], []
    for line in run.validations:
        value = number(line["validation_accuracy"])
        if value is not None:
            xs.append(line["iteration"])
            ys.append(100 * value)
    if not xs:
        return ""
    chart = Chart(
        _iterations(run),
        Axis.around("validation accuracy", ys, unit=" %"),
        "Validation accuracy over iterations",
    )
    chart.line(xs, ys, "c2")
    titles = [f"iteration {x:,}: {y:.1f} %" for x, y in zip(xs, ys, strict=True)]
    chart.points(xs, ys, "c2", titles, 3, "an iterate on held-out images")
    best = best_iteration(run)
    if best is not None and best in xs:
        i = xs.index(best)
        chart.points([best], [ys[i]], "c3", [titles[i]], 5.5, f"best: {ys[i]:.1f} % at {best:,}")
    return chart.svg()


def start_epoch_plot(run: RunFolder) -> str:
    """Matching loss of each segment by its start epoch; early iterations pale, late ones strong."""
    lines = run.iterations
    found = [
        (epoch, value, i / max(1, len(lines) - 1))
        for i, line in enumerate(lines)
        for _, epoch, loss in line.get("segments") or ()
        if (value := number(loss)) is not None and value > 0
    ]
    if not found:
        return ""
    sides = [e + side for e, _, _ in found for side in (-0.4, 0.4)]
    kept = found[:: -(-len(found) // DOTS)]
    chart = Chart(
        Axis.around("start epoch of the segment", sides, whole=True, pad=0.02),
        Axis.around("matching loss (log scale)", [v for _, v, _ in found], log=True),
        "Matching loss by the epoch at which the segment starts",
    )
    for third, (style, legend) in enumerate(
        (("old", "first third of the iterations"), ("mid", "second"), ("c1", "last"))
    ):
        dots = [(e, v, a) for e, v, a in kept if min(int(3 * a), 2) == third]
        # set beside each other within an epoch, so that the thirds do not hide one another
        xs = [
            e + 0.22 * (third - 1) + 0.16 * (_scatter(i) - 0.5) for i, (e, _, _) in enumerate(dots)
        ]
        chart.points(xs, [v for _, v, _ in dots], f"small {style}", radius=2, legend=legend)
    by_epoch: dict[int, list[float]] = defaultdict(list)
    for epoch, value, _ in found:
        by_epoch[epoch].append(value)
    epochs = sorted(by_epoch)
    medians = [statistics.median(by_epoch[epoch]) for epoch in epochs]
    titles = [
        f"start epoch {e}: median {m:.3f} of {len(by_epoch[e])} segments"
        for e, m in zip(epochs, medians, strict=True)
    ]
    chart.line(epochs, medians, "c5")
    chart.points(
        epochs, medians, "c5", titles, 3.5 if len(epochs) <= 20 else 2.5, "median of the epoch"
    )
    return chart.svg()


def teachers_plot(run: RunFolder) -> str:
    """Teachers' accuracy by epoch: test and validation, one thin line each, the means thick."""
    teachers = (run.manifest or {}).get("teachers") or []
    curves: dict[str, list[list[tuple[int, float]]]] = {}
    for key in ("validation_accuracy", "test_accuracy"):
        curves[key] = [
            [(e["epoch"], 100 * v) for e in t["epochs"] if (v := number(e.get(key))) is not None]
            for t in teachers
        ]
    every = [point for lines in curves.values() for line in lines for point in line]
    if not every:
        return ""
    chart = Chart(
        Axis.around("epoch", [e for e, _ in every], whole=True, pad=0.02),
        Axis.around("accuracy", [v for _, v in every], unit=" %"),
        "Accuracy of the teachers by epoch",
    )
    used = start_epochs(run)
    if used is not None:
        chart.stretch(used[0], used[1], "pale c5", f"segments start here: {used[0]} to {used[1]}")
    looks = {"validation_accuracy": ("dashed c2", "validation"), "test_accuracy": ("c1", "test")}
    for key, (style, name) in looks.items():
        for line in curves[key][:THIN_LINES]:
            look = f"faint {style.removeprefix('dashed ')}"
            chart.line([e for e, _ in line], [v for _, v in line], look)
        means = mean_curve(curves[key])
        if means:
            last = f"{name}, mean: {means[-1][1]:.1f} % at epoch {means[-1][0]}"
            chart.line([e for e, _ in means], [v for _, v in means], style, last)
    return chart.svg()


def teachers_loss_plot(run: RunFolder) -> str:
    """Teachers' training loss by epoch, one thin line each, the mean thick."""
    curves = [
        [(e["epoch"], v) for e in t["epochs"] if (v := number(e.get("train_loss"))) is not None]
        for t in (run.manifest or {}).get("teachers") or []
    ]
    every = [point for line in curves for point in line]
    if not every:
        return ""
    chart = Chart(
        Axis.around("epoch", [0, *(e for e, _ in every)], whole=True, pad=0.02),
        Axis.around("training loss (log scale)", [v for _, v in every], log=True),
        "Training loss of the teachers by epoch",
    )
    for line in curves[:THIN_LINES]:
        chart.line([e for e, _ in line], [v for _, v in line], "faint c5")
    means = mean_curve(curves)
    last = f"mean: {means[-1][1]:.3g} at epoch {means[-1][0]}"
    chart.line([e for e, _ in means], [v for _, v in means], "c5", last)
    return chart.svg()


def mean_curve(curves: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Mean over the curves that have an epoch, for the epochs that most curves have."""
    values: dict[int, list[float]] = defaultdict(list)
    for curve in curves:
        for epoch, value in curve:
            values[epoch].append(value)
    most = max(map(len, values.values()), default=0)
    return [(e, statistics.fmean(values[e])) for e in sorted(values) if 2 * len(values[e]) > most]


def start_epochs(run: RunFolder) -> tuple[int, int] | None:
    """The first and the last start epoch that was matched."""
    epochs = [segment[1] for line in run.iterations for segment in line.get("segments") or ()]
    return (min(epochs), max(epochs)) if epochs else None


def best_iteration(run: RunFolder) -> int | None:
    """The iterate that was kept: the last one marked best, else what the distilled set says."""
    marked = [line["iteration"] for line in run.validations if line.get("best")]
    return marked[-1] if marked else (run.meta or {}).get("iteration")


def number(value: Any) -> float | None:
    """`value` as a finite float, or None (JSON writes what is not finite as null)."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def binned(
    xs: Sequence[float], ys: Sequence[float], bins: int = BINS
) -> tuple[list[float], list[float], list[float]]:
    """At most `bins` stretches of the points: middle x, lowest and highest y of each."""
    count = min(bins, len(xs))
    edges = [round(i * len(xs) / count) for i in range(count + 1)]
    parts = [slice(a, b) for a, b in pairwise(edges)]
    return (
        [statistics.fmean(xs[p]) for p in parts],
        [min(ys[p]) for p in parts],
        [max(ys[p]) for p in parts],
    )


def running_median(
    xs: Sequence[float], ys: Sequence[float], bins: int = BINS
) -> tuple[list[float], list[float]]:
    """Medians over windows of a thirtieth of the points (at least 5), at most `bins` of them."""
    half = max(2, len(xs) // 60)
    at = range(0, len(xs), -(-len(xs) // bins))
    medians = [statistics.median(ys[max(0, i - half) : i + half + 1]) for i in at]
    return [xs[i] for i in at], medians


def _iterations(run: RunFolder) -> Axis:
    """One x axis for all charts over iterations."""
    every = [line["iteration"] for line in (*run.iterations, *run.validations)]
    return Axis.around("iteration", every, whole=True, pad=0.02)


def _scatter(i: int) -> float:
    """Evenly scattered numbers in [0, 1): the golden ratio's multiples."""
    return (i * 0.6180339887498949) % 1
