"""Early, all and late segments against the number of images: one figure of several comparisons.

    python benchmarks/accuracy.py windows RECIPE --ipc 1 --out runs/windows/1 ...
    python benchmarks/accuracy.py windows RECIPE --ipc 50 --out runs/windows/50 ...
    python benchmarks/windows_figure.py runs/windows/1 runs/windows/50 --out windows.png

Each folder holds the runs of `accuracy.py windows` at one number of images per class; the number
and the accuracies are read from their evaluation.json.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure

from datm.runtime.files import read_json

Curve = dict[int, list[float]]
"""Accuracies in % of all networks of all seeds, by images per class."""

COLOURS = {"early": "#0072b2", "all": "#7f7f7f", "late": "#d55e00", "random": "#009e73"}


def curves(folders: Iterable[Path]) -> dict[str, Curve]:
    """One curve for each window, and one for random real images where they were evaluated."""
    found: dict[str, Curve] = defaultdict(lambda: defaultdict(list))
    for path in sorted(path for folder in folders for path in folder.glob("*/evaluation.json")):
        window = path.parent.name.partition("-")[0]
        for record in read_json(path):
            name = window if record["what"] == "distilled" else record["what"]
            if name in COLOURS:
                found[name][record["ipc"]] += [100 * share for share in record["accuracies"]]
    return {name: dict(sorted(found[name].items())) for name in COLOURS if name in found}


def draw(drawn: dict[str, Curve], title: str) -> Figure:
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="images per class", ylabel="test accuracy, %", title=title)
    for name, curve in drawn.items():
        axes.errorbar(
            list(curve),
            [statistics.fmean(every) for every in curve.values()],
            [statistics.stdev(every) for every in curve.values()],
            label="random real images" if name == "random" else f"{name} segments",
            color=COLOURS[name],
            linestyle="--" if name == "random" else "-",
            marker="o",
            capsize=3,
        )
    ticks = sorted({ipc for curve in drawn.values() for ipc in curve})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a .png or .svg file")
    parser.add_argument("--title", default="")
    options = parser.parse_args()
    drawn = curves(options.folders)
    if not drawn:
        raise SystemExit(f"{options.folders[0]}: holds no evaluated run of accuracy.py windows.")
    draw(drawn, options.title).savefig(options.out, dpi=160)


if __name__ == "__main__":
    main()
