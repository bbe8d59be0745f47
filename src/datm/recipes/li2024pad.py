"""PAD: Li et al., "Prioritize Alignment in Dataset Distillation", arXiv 2408.03360.

DATM's rows with the differences in the paper's table of settings: teachers see images by
difficulty, shallow parameters are not matched, other windows.
"""

from dataclasses import replace
from typing import Any

from datm import methods
from datm.recipes.benchmark import CELLS, CIFAR10, Benchmark
from datm.recipes.guo2024datm import ROWS, TEACHERS, datm
from datm.recipes.recipe import Entry, Recipe
from datm.recipes.row import Row
from datm.teaching.curriculum import Curriculum

SOURCE = "PAD (Li 2024)"
EXPANSION = 400
"""Iterations. The paper has 100 to 400, not by cell."""

CHANGES: dict[str, dict[int, dict[str, Any]]] = {
    "cifar10": {500: {"steps": 80}, 1000: {"steps": 80}},
    "cifar100": {
        10: {"lower": 0, "first": 20, "last": 40},
        50: {"lower": 40, "first": 60, "last": 80},
        100: {"lower": 40, "first": None, "last": 80},
    },
    "tiny": {
        1: {"steps": 60, "last": 30},
        10: {"steps": 60, "lower": 0, "first": 20, "last": 40, "batch": 250},
        50: {"steps": 80, "lower": 20, "first": 40, "last": 60, "batch": 250},
    },
}

DIFFERS = {
    ("cifar10", 1): "threshold 1.1 in the release",
    ("cifar10", 10): "release: expansion 1000, skips 0.5",
    ("cifar10", 50): "release: expansion 2000",
    ("cifar10", 500): "release: N 40, T+ 70, skips 0.5",
    ("cifar10", 1000): "release: N 100, skips 0.5",
    ("cifar100", 1): "release: T 20, T+ 30, skips 0.5",
    ("cifar100", 10): "release: DATM's window, skips 0.5",
    ("cifar100", 50): "release: DATM's window, skips nothing",
    ("cifar100", 100): "release: DATM's window",
    ("tiny", 1): "release: DATM's N and window, skips 0.5",
    ("tiny", 10): "release: DATM's N, window, B, skips 0.5",
    ("tiny", 50): "release: DATM's N, window, B, skips 0.5",
}


def pad_row(benchmark: str, ipc: int) -> Row:
    """DATM's row with PAD's changes."""
    row = replace(ROWS[benchmark][ipc], **CHANGES[benchmark].get(ipc, {}))
    return replace(row, expansion=EXPANSION if row.first else 0)


def pad(benchmark: Benchmark, ipc: int) -> Recipe:
    """The method of `methods.py`; all images are in after 20 epochs for CIFAR-10, else after 40."""
    base = datm(benchmark, ipc, pad_row(benchmark.name, ipc))
    made = methods.pad(base)
    curriculum = Curriculum(complete_after=20 if benchmark is CIFAR10 else 40)
    return replace(
        made,
        name=f"pad-{base.name}",
        teach=replace(made.teach, curriculum=curriculum),
        distill=replace(made.distill, initial=base.distill.initial),
    )


def entry(benchmark: Benchmark, ipc: int) -> Entry:
    made = pad(benchmark, ipc)
    return benchmark.entry(
        made,
        "pad",
        source=SOURCE,
        settings="paper",
        differs=DIFFERS[benchmark.name, ipc],
        always_differs=TEACHERS,
    )


ENTRIES = tuple(entry(benchmark, ipc) for benchmark, cells in CELLS.items() for ipc in cells)
