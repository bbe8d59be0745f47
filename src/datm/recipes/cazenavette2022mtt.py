"""MTT: Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022.

Settings: the release's example (CIFAR-100 at one image per class) and, for the other cells, the
commands that public benchmarks list for it. Hard labels, plain SGD teachers of 50 epochs, a fixed
window from epoch 0 on, pixels and step size learned, no threshold.
"""

from dataclasses import dataclass, replace

from datm import methods
from datm.recipes.benchmark import CELLS, Benchmark
from datm.recipes.guo2024datm import ROWS as DATM
from datm.recipes.recipe import Entry, Recipe
from datm.recipes.row import Row
from datm.runtime.device import Runtime
from datm.teaching import TeachConfig

SOURCE = "MTT (Cazenavette 2022)"
ITERATIONS = 5000


@dataclass(frozen=True)
class Cell:
    """N, M, T+, B; rates of pixels and alpha; alpha at the beginning; whether ZCA is used."""

    steps: int
    span: int
    last: int
    batch: int
    images_lr: float
    step_size_lr: float
    step_size: float
    zca: bool


TABLE: dict[str, dict[int, Cell]] = {
    "cifar10": {
        1: Cell(50, 2, 2, 10, 100, 1e-7, 0.01, True),
        10: Cell(30, 2, 20, 100, 100, 1e-5, 0.001, True),
        50: Cell(30, 2, 40, 500, 1000, 1e-5, 0.001, False),
    },
    "cifar100": {
        1: Cell(20, 3, 20, 100, 1000, 1e-5, 0.01, True),
        10: Cell(20, 2, 20, 1000, 1000, 1e-5, 0.01, False),
        50: Cell(80, 2, 40, 125, 1000, 1e-5, 0.01, True),
    },
    "tiny": {
        1: Cell(10, 2, 10, 200, 10_000, 1e-4, 0.01, False),
        10: Cell(20, 2, 40, 200, 10_000, 1e-4, 0.01, False),
        50: Cell(20, 2, 40, 300, 10_000, 1e-4, 0.01, False),
    },
}

RELEASED = {("cifar100", 1)}

DIFFERS = {("cifar10", 10): "the paper's 1e5 for pixels is a misprint"}


@dataclass(frozen=True)
class Settled:
    """The settings a cell has: its own, or those of the cell with the next fewer images."""

    cell: Cell
    lender: int
    settings: str


def settle(ipc: int, own: dict[int, Cell], lent: dict[int, Cell] | None = None) -> Settled:
    """Settings for `ipc` images per class from a method's `own` cells, else from MTT's, `lent`."""
    lent = lent or {}
    lender = max(known for known in {*own, *lent} if known <= ipc)
    if lender in own:
        words = "release" if lender == ipc else f"borrowed: its IPC {lender}"
        return Settled(own[lender], lender, words)
    return Settled(lent[lender], lender, f"borrowed: MTT's IPC {lender}")


def budget(prefix: str, benchmark: Benchmark, ipc: int, cell: Cell) -> Recipe:
    """Data, teachers and the figures of `cell`; a method of `methods.py` makes the rest.

    The labels' rate is that of DATM's cell: nothing here learns labels, but what is laid over may.
    """
    window = (0, None, cell.last, 0)
    labels_lr = DATM[benchmark.name][ipc].labels_lr
    rates = (cell.images_lr, labels_lr, cell.step_size_lr)
    row = Row(cell.steps, cell.span, *window, cell.batch, *rates)
    return Recipe(
        name=f"{prefix}-{benchmark.name}-ipc{ipc}",
        runtime=Runtime(precision="auto", compile=True),
        data=replace(benchmark.data, transform="zca" if cell.zca else "normalise"),
        teach=TeachConfig(network=benchmark.network, teachers=100, epochs=50),
        distill=row.distill(ipc, iterations=ITERATIONS, step_size=cell.step_size),
    )


def entry(benchmark: Benchmark, ipc: int) -> Entry:
    found = settle(ipc, TABLE[benchmark.name])
    made = methods.mtt(budget("mtt", benchmark, ipc, found.cell))
    listed = found.lender == ipc and (benchmark.name, ipc) not in RELEASED
    return benchmark.entry(
        made,
        "mtt",
        source=SOURCE,
        settings="public scripts" if listed else found.settings,
        differs=DIFFERS.get((benchmark.name, ipc), ""),
    )


ENTRIES = tuple(entry(benchmark, ipc) for benchmark, cells in CELLS.items() for ipc in cells)
