"""DATM: Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory
Matching", ICLR 2024, arXiv 2310.05773. Settings: its release.

Momentum 0.5 of pixels and alpha, 0.9 of labels and alpha from 0.01 are defaults. The authors' own
teachers are FTD's (rho 0.01, share 0.3), which is `teach.optimiser: ftd`; here they are plain SGD.
"""

from datm.recipes.benchmark import CELLS, Benchmark
from datm.recipes.recipe import Entry, Recipe
from datm.recipes.row import Row
from datm.runtime.device import Runtime
from datm.teaching import TeachConfig

SOURCE = "DATM (Guo 2024)"
ITERATIONS = 10_000

# N, M, T-, T, T+, expansion, B; rates of pixels, labels, alpha
ROWS: dict[str, dict[int, Row]] = {
    "cifar10": {
        1: Row(80, 2, 0, None, 4, 0, 10, 100, 5, 1e-7),
        10: Row(80, 2, 0, 10, 20, 1000, 100, 100, 2, 1e-5),
        50: Row(80, 2, 0, 20, 40, 2000, 500, 1000, 2, 1e-5),
        500: Row(40, 2, 40, None, 60, 0, 1000, 50, 10, 1e-5),
        1000: Row(100, 2, 40, None, 60, 0, 1000, 50, 10, 1e-5),
    },
    "cifar100": {
        1: Row(40, 3, 0, 10, 20, 1000, 100, 1000, 10, 1e-5),
        10: Row(80, 2, 0, 30, 50, 2000, 1000, 1000, 10, 1e-5),
        50: Row(80, 2, 20, None, 70, 0, 1000, 1000, 10, 1e-5),
        100: Row(80, 2, 30, None, 70, 0, 1000, 50, 10, 1e-5),
    },
    "tiny": {
        1: Row(40, 2, 0, 15, 20, 2000, 200, 10_000, 10, 1e-4),
        10: Row(40, 2, 10, None, 50, 0, 500, 100, 10, 1e-4),
        50: Row(20, 2, 40, None, 70, 0, 1000, 100, 10, 1e-4),
    },
}

FROM_ANY = {("cifar100", 50)}
"""Cells that begin with any real images, not with those that teachers classify correctly."""

TEACHERS = "the authors' teachers are FTD's, here plain SGD's"

DIFFERS = {
    ("cifar10", 1): "its threshold is 1.1, here 1.0",
    ("cifar10", 500): "first release: T grew from 56",
    ("cifar10", 1000): "first release: T grew from 56",
    ("cifar100", 1): "first release: T 20, T+ 30, labels' rate 2",
    ("cifar100", 100): "first release: T- 40, T from 44",
    ("tiny", 10): "first release: T from 46",
    ("tiny", 50): "first release: T from 46, T+ 60",
}


def teachers(benchmark: Benchmark) -> TeachConfig:
    """The teachers of every DATM row on this data set."""
    return TeachConfig(network=benchmark.network, teachers=100, epochs=100)


def datm(benchmark: Benchmark, ipc: int, row: Row) -> Recipe:
    """DATM with the settings of `row`; the recipe is named after the data set."""
    initial = "any" if (benchmark.name, ipc) in FROM_ANY else "correct"
    return Recipe(
        name=f"{benchmark.name}-ipc{ipc}",
        runtime=Runtime(precision="auto", compile=True),
        data=benchmark.data,
        teach=teachers(benchmark),
        distill=row.distill(ipc, iterations=ITERATIONS, initial=initial),
    )


def entry(
    benchmark: Benchmark,
    ipc: int,
    row: Row,
    *,
    settings: str = "release",
    published_in: str = "",
    differs: str = "",
) -> Entry:
    """The entry of a DATM row."""
    return benchmark.entry(
        datm(benchmark, ipc, row),
        "datm",
        source=SOURCE,
        settings=settings,
        published_in=published_in,
        differs=differs,
        always_differs=TEACHERS,
    )


ENTRIES = tuple(
    entry(
        benchmark,
        ipc,
        ROWS[benchmark.name][ipc],
        differs=DIFFERS.get((benchmark.name, ipc), ""),
    )
    for benchmark, cells in CELLS.items()
    for ipc in cells
)
