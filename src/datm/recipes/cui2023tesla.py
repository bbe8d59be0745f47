"""TESLA: Cui et al., "Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory",
ICML 2023, arXiv 2211.10586.

MTT with an estimate of the gradient. Its release gives CIFAR-10 at one image per class and
CIFAR-100 at 50; the other cells have MTT's settings.
"""

from dataclasses import replace

from datm import methods
from datm.recipes.benchmark import CELLS, TINY, Benchmark
from datm.recipes.cazenavette2022mtt import TABLE as MTT
from datm.recipes.cazenavette2022mtt import Cell, budget, settle
from datm.recipes.recipe import Entry, Recipe

SOURCE = "TESLA (Cui 2023)"

RELEASED: dict[str, dict[int, Cell]] = {
    "cifar10": {1: Cell(50, 2, 5, 10, 1000, 1e-7, 0.01, True)},
    "cifar100": {50: MTT["cifar100"][50]},
    "tiny": {},
}
DIFFERS = {
    ("cifar10", 1): "whitens for the teachers only, here for both",
}
LABELS = "paper: soft labels"


def tesla(benchmark: Benchmark, ipc: int, cell: Cell) -> Recipe:
    """The method of `methods.py`; its soft labels only where the release has them: many classes."""
    made = methods.tesla(budget("tesla", benchmark, ipc, cell))
    return (
        made if benchmark is TINY else replace(made, distill=replace(made.distill, labels="hard"))
    )


def entry(benchmark: Benchmark, ipc: int) -> Entry:
    found = settle(ipc, RELEASED[benchmark.name], MTT[benchmark.name])
    made = tesla(benchmark, ipc, found.cell)
    notes = DIFFERS.get((benchmark.name, ipc)), None if benchmark is TINY else LABELS
    return benchmark.entry(
        made,
        "tesla",
        source=SOURCE,
        settings=found.settings,
        differs="; ".join(filter(None, notes)),
    )


ENTRIES = tuple(entry(benchmark, ipc) for benchmark, cells in CELLS.items() for ipc in cells)
