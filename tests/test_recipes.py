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

# by source: shape of an image, training images of the smallest class
SOURCES = {"digits": ((1, 8, 8), 100), "cifar10": ((3, 32, 32), 4500)}


def last_epoch(made: Recipe) -> int:
    """The epoch at which the last segment that may be drawn ends."""
    match = made.distill.match
    return match.last_upper - 1 + match.teacher_epochs


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_fits_together(name: str) -> None:
    made = recipe(name)
    assert made.name == name
    assert re.fullmatch(r"[\w.-]+", name)
    shape, images = SOURCES[made.data.source]
    network = make_network(made.teach.network, shape, 10)
    for model in made.evaluate.models:
        make_network(model, shape, 10)
    assert network.layout.total > 1000
    assert last_epoch(made) <= made.teach.epochs
    assert made.distill.ipc <= images
    assert made.distill.match.expansion < made.distill.iterations
    assert made.distill.validate_every <= made.distill.iterations
    assert RECIPES[name].summary
    assert RECIPES[name].source


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_shrunk(name: str) -> None:
    small = smoke_recipe(recipe(name))
    assert last_epoch(small) <= small.teach.epochs
    assert small.distill.ipc == recipe(name).distill.ipc
    assert small.distill.iterations <= 10


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


def test_all_cifar10_rows_share_their_teachers() -> None:
    rows = [entry.recipe for entry in RECIPES.values() if entry.recipe.data.source == "cifar10"]
    assert len(rows) >= 5
    assert all((row.teach, row.data, row.seed) == (rows[0].teach, rows[0].data, 0) for row in rows)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digit", r"did you mean 'digits'\?"),
        ("cifar10-ipc5O", r"did you mean 'cifar10-ipc50'\?"),
        ("nothing like it", "there are digits, "),
        ("", "there are digits, "),
    ],
)
def test_an_unknown_recipe_is_one_sentence_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=rf"^recipe: '{name}' is not known; {hint}") as caught:
        datm.recipe(name)
    assert "\n" not in str(caught.value)


def test_the_names_that_are_promised_exist() -> None:
    promised = {"digits", "digits-ipc10", *(f"cifar10-ipc{ipc}" for ipc in PUBLISHED)}
    assert promised <= set(RECIPES)
    assert datm.recipe("digits-ipc10").distill.ipc == 10
