"""CIFAR-10 on a small budget: an hour or two on two CPU cores.

Few teachers at twice the papers' learning rate, so that a segment of one epoch goes about as far as
the papers' two; early segments only, falling rates, and several images in each stored one (see
formation.py), which at such budgets is worth more than anything else that was tried.
"""

from datm.evaluation import EvaluateConfig
from datm.recipes.benchmark import CIFAR10
from datm.recipes.recipe import Entry, Recipe
from datm.recipes.row import Row
from datm.runtime.device import Runtime
from datm.teaching import TeachConfig

# N, M, T-, T, T+, expansion, B; rates of pixels, labels, alpha
ROWS = {
    1: Row(40, 1, 0, None, 5, 0, 50, 100, 5, 1e-7),
    10: Row(40, 1, 0, None, 5, 0, 50, 100, 2, 1e-5),
}
FORMATION = {1: 4, 10: 2}


def _short(ipc: int) -> Recipe:
    return Recipe(
        name=f"cifar10-ipc{ipc}-short",
        runtime=Runtime(precision="auto", compile=True),
        data=CIFAR10.data,
        teach=TeachConfig(network=CIFAR10.network, teachers=8, epochs=11, learning_rate=0.02),
        distill=ROWS[ipc].distill(
            ipc,
            formation=FORMATION[ipc],
            iterations=400,
            step_size=0.02,
            reader_lr=0.01,
            final_rate=0.05,
            threshold=1e6,
        ),
        evaluate=EvaluateConfig(learning_rates=(0.01,), full_seeds=1),
    )


def _entry(ipc: int, measured: str, differs: str, cost: str) -> Entry:
    pieces = FORMATION[ipc] ** 2
    return Entry(
        recipe=_short(ipc),
        summary=f"{CIFAR10.summary(ipc)}, each of {pieces} pieces; few teachers, 400 iterations",
        source="ours",
        settings="ours",
        measured=measured,
        differs=differs,
        cost=cost,
    )


ENTRIES = (
    _entry(
        1,
        "55.0 ± 0.7",
        "seed 1: 52.2 ± 0.7, seed 2: 53.5 ± 0.2; all real data 82.1",
        "29 min of teachers on two cores, 29 min and 7 of evaluation on one (Xeon with AMX, other"
        " work beside it, 2026-11-29); 37 min more for all real data (2026-11-30)",
    ),
    _entry(
        10,
        "63.6 ± 0.1",
        "seed 1: 63.3 ± 0.3; all real data 82.1",
        "29 min of teachers on two cores, 38 min and 22 of evaluation on one (Xeon with AMX, other"
        " work beside it, 2026-11-29); 37 min more for all real data (2026-11-30)",
    ),
)
