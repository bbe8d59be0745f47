"""The families' settings and accuracies against the papers' tables, and how families differ."""

import pytest

from datm.config import differences, load_config
from datm.networks import make_network
from datm.recipes import RECIPES, recipe
from datm.recipes.benchmark import CELLS

# accuracies and their tables, cell by cell, from each method and data set
ACCURACIES = {
    "cifar100-ipc1": "27.9 ± 0.2",
    "cifar100-ipc100": "57.5 ± 0.2",
    "tiny-ipc50": "39.7 ± 0.3",
    "cifar10-lt10-ipc50": "66.7",
    "cifar10-lt200-ipc50": "40.1",
    "ltdd-cifar10-lt200-ipc50": "62.3",
    "pathmnist-ipc5": "64.94",
    "pathmnist-ipc1000": "89.15",
    "covid-ipc50": "87.38",
    "imagenette-ipc1": "52.5",
    "imagewoof-ipc10": "40.5",
    "imagemeow-ipc50": "56.8",
    "imageyellow-ipc10": "65.1",
    "imagefruit-ipc50": "50.2",
    "imagesquawk-ipc50": "71.0",
    "pad-cifar10-ipc1000": "86.7",
    "pad-cifar100-ipc50": "55.9",
    "pad-tiny-ipc10": "32.3",
    "mtt-cifar10-ipc1": "46.2",
    "mtt-cifar10-ipc500": "",
    "mtt-cifar100-ipc100": "49.2",
    "mtt-tiny-ipc50": "28.0",
    "ftd-cifar10-ipc50": "73.2",
    "ftd-tiny-ipc10": "23.4",
    "ftd-tiny-ipc50": "",
    "tesla-cifar10-ipc10": "66.4",
    "tesla-cifar100-ipc1": "24.8",
    "tesla-tiny-ipc1": "",
}


@pytest.mark.parametrize("name", ACCURACIES)
def test_accuracies_are_the_published_ones(name: str) -> None:
    assert RECIPES[name].published == ACCURACIES[name]
    if ACCURACIES[name]:
        assert RECIPES[name].published_in


# N, M, T-, T, T+, B and rates of pixels, labels (DATM's where none are learned) and step size
SETTINGS = {
    "cifar100-ipc1": (40, 3, 0, 10, 20, 100, 1000, 10, 1e-5),
    "cifar100-ipc50": (80, 2, 20, None, 70, 1000, 1000, 10, 1e-5),
    "tiny-ipc1": (40, 2, 0, 15, 20, 200, 10_000, 10, 1e-4),
    "tiny-ipc50": (20, 2, 40, None, 70, 1000, 100, 10, 1e-4),
    "pad-cifar10-ipc500": (80, 2, 40, None, 60, 1000, 50, 10, 1e-5),
    "pad-cifar100-ipc50": (80, 2, 40, 60, 80, 1000, 1000, 10, 1e-5),
    "pad-cifar100-ipc100": (80, 2, 40, None, 80, 1000, 50, 10, 1e-5),
    "pad-tiny-ipc1": (60, 2, 0, 15, 30, 200, 10_000, 10, 1e-4),
    "pad-tiny-ipc50": (80, 2, 20, 40, 60, 250, 100, 10, 1e-4),
    "mtt-cifar100-ipc1": (20, 3, 0, None, 20, 100, 1000, 10, 1e-5),
    "mtt-cifar100-ipc50": (80, 2, 0, None, 40, 125, 1000, 10, 1e-5),
    "ftd-cifar10-ipc10": (30, 2, 0, None, 20, 100, 100, 2, 1e-5),
    "ftd-cifar100-ipc10": (20, 2, 0, None, 40, 1000, 1000, 10, 1e-5),
    "tesla-cifar10-ipc1": (50, 2, 0, None, 5, 10, 1000, 5, 1e-7),
    "imagenette-ipc10": (40, 2, 0, None, 10, 100, 100_000, 5, 1e-6),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_the_published_ones(name: str) -> None:
    distill = recipe(name).distill
    match = distill.match
    window = (match.lower, match.first_upper, match.last_upper)
    rates = (distill.images_lr, distill.labels_lr, distill.step_size_lr)
    steps = (match.inner_steps, match.teacher_epochs)
    assert (*steps, *window, match.batch, *rates) == SETTINGS[name]


def changed(one: str, other: str) -> set[str]:
    return {field.name for field, _, _ in differences(recipe(one), recipe(other))} - {"name"}


def test_a_family_differs_from_its_parent_by_what_the_paper_changed() -> None:
    teaching = {"teach.order", "match.skip_depth", "match.expansion"}
    assert changed("cifar10-ipc10", "pad-cifar10-ipc10") == teaching
    assert changed("mtt-cifar10-ipc10", "ftd-cifar10-ipc10") == {"teach.optimiser", "distill.ema"}
    assert changed("mtt-cifar10-ipc10", "tesla-cifar10-ipc10") == {"match.gradient"}
    assert changed("mtt-tiny-ipc1", "tesla-tiny-ipc1") == {"match.gradient", "distill.labels"}
    assert changed("cifar10-ipc50", "cifar10-lt50-ipc50") == {"data.imbalance"}
    assert changed("cifar10-lt50-ipc50", "ltdd-cifar10-lt50-ipc50") == {
        *("distill.images_lr", "distill.threshold", "teach.classifier"),
        *("match.backbone_weight", "match.classifier_weight", "match.prior_correction"),
    }
    assert changed("imagenette-ipc10", "imagewoof-ipc10") == {"data.subset"}


@pytest.mark.parametrize("name", RECIPES)
def test_labels_can_be_learned_under_every_recipe(name: str) -> None:
    """At the rate of DATM's cell where the recipe itself learns none."""
    distill = load_config(name, {"distill.labels": "learned"}).distill
    assert distill.labels_lr > 0
    family, _, cell = name.partition("-")
    if family in ("mtt", "ftd", "tesla"):
        assert distill.labels_lr == recipe(cell).distill.labels_lr


def test_a_cell_without_settings_of_its_own_says_whose_it_has() -> None:
    assert RECIPES["mtt-cifar10-ipc500"].settings == "borrowed: its IPC 50"
    assert changed("mtt-cifar10-ipc50", "mtt-cifar10-ipc500") == {"ipc", "distill.labels_lr"}
    assert RECIPES["tesla-cifar100-ipc10"].settings == "borrowed: MTT's IPC 10"
    assert RECIPES["imagewoof-ipc50"].settings == "borrowed: ImageNette, IPC 200"


@pytest.mark.parametrize("benchmark", CELLS, ids=lambda benchmark: benchmark.name)
def test_costs_count_the_parameters_of_the_network(benchmark) -> None:
    shape = (benchmark.channels, benchmark.side, benchmark.side)
    network = make_network(benchmark.network, shape, benchmark.classes)
    assert benchmark.parameters == network.layout.total


def test_costs_of_the_largest_cifar10_row() -> None:
    """100 teachers x 101 rows x 320,010 numbers x 4 bytes; 11 x 0.101 GFLOP x 100 x 1000."""
    cost = RECIPES["cifar10-ipc1000"].cost
    assert "12.9 GB" in cost
    assert "10000 iterations of 112 TFLOP" in cost


def test_every_cell_of_tesla_with_hard_labels_says_so() -> None:
    for name, entry in RECIPES.items():
        if name.startswith("tesla-"):
            hard = entry.recipe.distill.labels == "hard"
            assert ("paper: soft labels" in entry.differs) == hard
    assert RECIPES["tesla-cifar10-ipc1"].differs.startswith("whitens for the teachers only")
