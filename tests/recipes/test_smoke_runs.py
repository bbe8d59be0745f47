"""`datm run RECIPE --smoke` and `datm plan` go through, on files as their publishers have them.

The slow tests are for every recipe: `pytest -m slow -k "every_recipe and pad-tiny"` runs some of
them. Whitening Tiny ImageNet means the eigenvectors of a 12,288 x 12,288 matrix, a quarter of an
hour: there it is replaced by normalising, and nothing else of the recipe.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import stand_ins

from datm.cli import main
from datm.recipes import RECIPES
from datm.runtime.files import read_json
from datm.smoke import IPC


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def _quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datm.planning.plan.PATIENCE", 0.05)


@pytest.fixture
def stand_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Puts in place what a recipe reads; returns the options that its smoke run needs on it."""

    def options(name: str) -> list[str]:
        recipe = RECIPES[name].recipe
        data = recipe.data
        if data.source != "digits" and not (home / data.source).exists():
            stand_ins.write(home, data.source)
        monkeypatch.setenv("DATM_DATA", str(home))
        large = data.source == "tiny-imagenet-200" and data.transform == "zca"
        more = ["--data.transform", "normalise"] if large else []
        if recipe.distill.ipc > IPC:
            # A recipe begins with more images than there are here; a smoke run takes as many.
            more += ["--ipc", str(IPC)]
        return more

    return options


def smoke(name: str, out: Path, *more: str) -> dict[str, float]:
    """Mean accuracies by what the networks were trained on."""
    assert main(["run", name, *_options(out), *more]) == 0
    assert (out / "report.html").is_file()
    return {record["what"]: record["mean"] for record in read_json(out / "evaluation.json")}


def check_plan(name: str, out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> None:
    """The plan of a smoke run: it is made, every stage takes something, and nothing is written."""
    assert main(["plan", name, *_options(out), *more, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [stage["stage"] for stage in plan["stages"]] == ["load", "teach", "distil", "evaluate"]
    for stage in plan["stages"]:
        assert stage["seconds"] > 0
        assert stage["host"] > 0
    assert plan["recipe"] == f"{name}-smoke"
    assert not out.exists()


def _options(out: Path) -> list[str]:
    return ["--smoke", "--out", str(out), "--compile", "false", "--device", "cpu"]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_runs(name: str, stand_in: Callable[[str], list[str]], tmp_path: Path) -> None:
    found = smoke(name, tmp_path / "run", *stand_in(name))
    assert set(found) == {"distilled", "initial", "random", "full"}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_plans(
    name: str,
    stand_in: Callable[[str], list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check_plan(name, tmp_path / "run", capsys, *stand_in(name))


# the digits; a MedMNIST file; teachers by difficulty; a long tail
@pytest.mark.parametrize(
    "name", ["digits-ipc1", "pathmnist-ipc1", "pad-cifar10-ipc1", "ltdd-cifar10-lt200-ipc50"]
)
def test_some_recipes_plan(
    name: str,
    stand_in: Callable[[str], list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With few channels, and normalised, as whitening would take longer than all the rest."""
    network = RECIPES[name].recipe.teach.network.partition(",")[0]
    more = ["--network", f"{network},width=4", "--data.transform", "normalise"]
    check_plan(name, tmp_path / "run", capsys, *stand_in(name), *more)


def test_the_demonstration_runs(tmp_path: Path) -> None:
    found = smoke("digits-ipc10", tmp_path / "run", "--network", "convnet-2,width=8")
    assert set(found) == {"distilled", "initial", "random", "full"}


def test_another_data_set_runs_under_a_recipe(tmp_path: Path) -> None:
    """Grey images of two classes under the settings of PathMNIST."""
    stand_ins.pathmnist(tmp_path / "grey.npz", classes=2, shape=(28, 28))
    found = smoke(
        "pathmnist-ipc10",
        tmp_path / "run",
        *("--data", str(tmp_path / "grey.npz"), "--network", "convnet-3,width=8"),
    )
    assert set(found) == {"distilled", "initial", "random", "full"}


@pytest.mark.parametrize("source", stand_ins.WRITERS)
def test_every_source_of_the_recipes_has_a_stand_in(source: str) -> None:
    sources = {entry.recipe.data.source for entry in RECIPES.values()}
    assert source in sources
    assert sources <= {*stand_ins.WRITERS, "digits"}
