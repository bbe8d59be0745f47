"""FTD: Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset Distillation",
CVPR 2023, arXiv 2211.11004.

MTT with teachers trained for flat minima and an average of the synthetic pixels. Cells whose
settings are not in the public scripts have MTT's.
"""

from dataclasses import replace

from datm import methods
from datm.recipes.benchmark import CELLS, Benchmark
from datm.recipes.cazenavette2022mtt import TABLE as MTT
from datm.recipes.cazenavette2022mtt import Cell, Settled, budget, settle
from datm.recipes.recipe import Entry, Recipe

SOURCE = "FTD (Du 2023)"

KNOWN: dict[str, dict[int, Cell]] = {
    "cifar10": {10: MTT["cifar10"][10]},
    "cifar100": {
        10: Cell(20, 2, 40, 1000, 1000, 1e-5, 0.01, True),
        50: Cell(80, 2, 40, 1000, 1000, 1e-5, 0.01, True),
    },
    "tiny": {10: Cell(20, 2, 40, 500, 10_000, 1e-4, 0.01, True)},
}

EMA = {
    "cifar10": {1: 0.9999, 10: 0.9995, 50: 0.999},
    "cifar100": {1: 0.9995, 10: 0.9995, 50: 0.999},
    "tiny": {1: 0.999, 10: 0.999, 50: 0.999},
}
ASSUMED = "average's decay assumed"

SMALL_SHARE = {("cifar10", 1), ("cifar10", 10)}
"""Cells whose teachers have GSAM's share 0.3; all others have 1."""

OTHERS = {("cifar100", 50), ("tiny", 10)}
"""Cells whose settings are those that others ran FTD with, DATM's authors among them."""


def ftd(benchmark: Benchmark, ipc: int, found: Settled) -> Recipe:
    """The method of `methods.py` with this cell's share of GSAM and decay of the average."""
    base = methods.ftd(budget("ftd", benchmark, ipc, found.cell))
    share = 0.3 if (benchmark.name, ipc) in SMALL_SHARE else 1.0
    return replace(
        base,
        teach=replace(base.teach, gsam_alpha=share),
        distill=replace(base.distill, ema=EMA[benchmark.name][found.lender]),
    )


def entry(benchmark: Benchmark, ipc: int) -> Entry:
    found = settle(ipc, KNOWN[benchmark.name], MTT[benchmark.name])
    made = ftd(benchmark, ipc, found)
    assumed = "" if found.lender in KNOWN[benchmark.name] else ASSUMED
    listed = (benchmark.name, ipc) in OTHERS
    return benchmark.entry(
        made,
        "ftd",
        source=SOURCE,
        settings="public scripts" if listed else found.settings,
        differs=assumed,
    )


ENTRIES = tuple(entry(benchmark, ipc) for benchmark, cells in CELLS.items() for ipc in cells)
