"""Every recipe can be run, and the paper's rows are the published ones."""

import re
from pathlib import Path

import pytest

import datm
from datm.config import dump_config, load_config
from datm.errors import InputError
from datm.networks import make_network
from datm.recipes import RECIPES, Recipe, recipe
from datm.smoke import smoke_recipe

# by source: shape of an image, classes
SOURCES = {
    "digits": ((1, 8, 8), 10),
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "tiny-imagenet-200": ((3, 64, 64), 200),
    "pathmnist.npz": ((3, 32, 32), 9),
    "covid": ((1, 112, 112), 4),
    "imagenet": ((3, 128, 128), 10),
}
CELLS = [
    *(("cifar10", ipc) for ipc in (1, 10, 50, 500, 1000)),
    *(("cifar100", ipc) for ipc in (1, 10, 50, 100)),
    *(("tiny", ipc) for ipc in (1, 10, 50)),
]


def last_epoch(made: Recipe) -> int:
    """The epoch at which the last segment that may be drawn ends."""
    match = made.distill.match
    return match.last_upper - 1 + match.teacher_epochs


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_fits_together(name: str) -> None:
    made = recipe(name)
    assert made.name == name
    assert re.fullmatch(r"[\w.-]+", name)
    shape, classes = SOURCES[made.data.source]
    network = make_network(made.teach.network, shape, classes)
    for model in made.evaluate.models:
        make_network(model, shape, classes)
    assert network.layout.total > 1000
    assert last_epoch(made) <= made.teach.epochs
    assert made.distill.match.batch <= classes * made.distill.formed
    assert made.distill.match.expansion < made.distill.iterations
    assert made.distill.validate_every <= made.distill.iterations
    assert made.data.image_size in (None, shape[1:])
    assert made.data.channels in (None, shape[0])
    entry = RECIPES[name]
    assert entry.summary
    assert entry.source
    assert entry.settings
    assert not (entry.published and entry.source != "ours") or re.fullmatch(
        r"\d\d?\.\d\d?( ± 0\.\d)?", entry.published
    )


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_shrunk(name: str) -> None:
    full = recipe(name)
    small = smoke_recipe(full)
    assert last_epoch(small) <= small.teach.epochs
    assert small.distill.ipc == min(full.distill.ipc, 2)
    assert small.distill.iterations <= 10
    assert small.data == full.data
    assert small.teach.network == full.teach.network
    for setting in ("optimiser", "order", "classifier", "rho", "gsam_alpha"):
        assert getattr(small.teach, setting) == getattr(full.teach, setting)
    for setting in ("gradient", "skip_depth", "backbone_weight", "prior_correction"):
        assert getattr(small.distill.match, setting) == getattr(full.distill.match, setting)
    for setting in ("labels", "ema", "initial", "threshold", "images_lr"):
        assert getattr(small.distill, setting) == getattr(full.distill, setting)
    assert smoke_recipe(small) == small


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_the_same_read_from_its_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(recipe(name)), encoding="utf-8")
    assert load_config(path) == recipe(name)


# N, M, T-, T, T+, expansion, B, rates of images, labels and step size; accuracy: the paper's
# released configurations and its Table 1
PUBLISHED = {
    1: (80, 2, 0, None, 4, 0, 10, 100, 5, 1e-7, "46.9 ± 0.5"),
    10: (80, 2, 0, 10, 20, 1000, 100, 100, 2, 1e-5, "66.8 ± 0.2"),
    50: (80, 2, 0, 20, 40, 2000, 500, 1000, 2, 1e-5, "76.1 ± 0.3"),
    500: (40, 2, 40, None, 60, 0, 1000, 50, 10, 1e-5, "83.5 ± 0.2"),
    1000: (100, 2, 40, None, 60, 0, 1000, 50, 10, 1e-5, "85.5 ± 0.4"),
}


@pytest.mark.parametrize("ipc", PUBLISHED)
def test_the_cifar10_rows_are_the_published_ones(ipc: int) -> None:
    entry = RECIPES[f"cifar10-ipc{ipc}"]
    made = entry.recipe
    distill, match = made.distill, made.distill.match
    found = (
        match.inner_steps,
        match.teacher_epochs,
        match.lower,
        match.first_upper,
        match.last_upper,
        match.expansion,
        match.batch,
        distill.images_lr,
        distill.labels_lr,
        distill.step_size_lr,
        entry.published,
    )
    assert found == PUBLISHED[ipc]
    assert distill.ipc == ipc
    assert distill.iterations == 10_000
    assert (distill.images_momentum, distill.labels_momentum) == (0.5, 0.9)
    assert (distill.step_size_momentum, distill.step_size) == (0.5, 0.01)
    assert distill.threshold == 1.0
    assert made.data.transform == "zca"
    assert (made.teach.network, made.teach.teachers) == ("convnet-3", 100)
    assert (made.teach.learning_rate, made.teach.batch) == (0.01, 256)
    assert made.teach.augmentation == "colour_crop_cutout_flip_scale_rotate"
    assert (made.evaluate.seeds, made.evaluate.epochs) == (5, 1000)
    assert (made.evaluate.momentum, made.evaluate.weight_decay) == (0.9, 5e-4)


@pytest.mark.parametrize("prefix", ["", "pad-"])
@pytest.mark.parametrize("benchmark", ["cifar10", "cifar100", "tiny"])
def test_all_rows_of_a_data_set_share_their_teachers(prefix: str, benchmark: str) -> None:
    rows = [recipe(f"{prefix}{name}-ipc{ipc}") for name, ipc in CELLS if name == benchmark]
    assert len(rows) >= 3
    assert all((row.teach, row.data, row.seed) == (rows[0].teach, rows[0].data, 0) for row in rows)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digit", r"did you mean 'digits'\?"),
        ("cifar10-ipc5O", r"did you mean 'cifar10-ipc50'\?"),
        ("nothing like it", "`datm recipes` lists all "),
        ("", "`datm recipes` lists all "),
    ],
)
def test_an_unknown_recipe_is_one_sentence_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=rf"^recipe: '{name}' is not known; {hint}") as caught:
        datm.recipe(name)
    assert "\n" not in str(caught.value)


def test_the_names_that_are_promised_exist() -> None:
    subsets = ("nette", "woof", "meow", "yellow", "fruit", "squawk")
    promised = {
        *("digits", "digits-ipc10", "covid-ipc50"),
        *(f"{m}{name}-ipc{n}" for name, n in CELLS for m in ("", "pad-", "mtt-", "ftd-", "tesla-")),
        *(f"cifar10-lt{factor}-ipc50" for factor in (10, 50, 100, 200)),
        *(f"pathmnist-ipc{ipc}" for ipc in (1, 5, 10, 100, 1000)),
        *(f"image{subset}-ipc{ipc}" for subset in subsets for ipc in (1, 10, 50)),
    }
    assert promised <= set(RECIPES)
    assert datm.recipe("digits-ipc10").distill.ipc == 10
