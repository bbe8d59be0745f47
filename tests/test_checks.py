"""What a run refuses before it spends anything, where a user's own network is involved."""

import sys
from pathlib import Path

import pytest
import torch

from datm.checks import check_models, check_networks, check_teaching, check_trajectories
from datm.data import load_data
from datm.errors import InputError
from datm.evaluation import evaluate
from datm.networks.user import user_network
from datm.teaching import teach
from mini import mini_recipe

MODULE = """
from torch import nn

def make(shape, classes):
    return nn.Sequential(nn.Conv2d(shape[0], {width}, 3), nn.ReLU(), nn.Flatten(), {last})

"""
LINEAR = "nn.Linear({width} * (shape[1] - 2) * (shape[2] - 2), classes)"
POOLED = (
    "nn.Unflatten(1, ({width}, -1)),"
    " nn.Conv1d({width}, classes, (shape[1] - 2) * (shape[2] - 2)), nn.Flatten()"
)


def write(folder: Path, name: str, width: int = 4, last: str = LINEAR) -> str:
    """A module of a user, `name`.py in `folder`; its import path."""
    text = MODULE.format(width=width, last=last.format(width=width))
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    sys.modules.pop(name, None)
    user_network.cache_clear()  # as in the next process
    return f"{name}:make"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def test_teachers_of_a_module_that_has_changed_are_refused(place: Path) -> None:
    data = load_data("digits")
    network = write(place, "changing_net")
    recipe = mini_recipe(network=network, teach__epochs="1", teach__teachers="1")
    made = teach(data, recipe.teach, out=place / "trajectories")
    write(place, "changing_net", width=5)
    with pytest.raises(InputError, match=r"teachers have \d+ parameters, changing_net:make now"):
        check_trajectories(made, recipe, data, 1)


def test_a_module_that_has_changed_is_evaluated_anew(place: Path, distilled) -> None:
    data = load_data("digits")
    config = mini_recipe(evaluate__baselines="[]").evaluate
    network, out = write(place, "evaluated_net"), place / "evaluation.json"

    def key() -> str:
        return str(evaluate(distilled, data, [network], 1, config=config, out=out)[0]["key"])

    first = key()
    assert key() == first
    write(place, "evaluated_net", width=5)
    assert key() != first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluate__baselines": "[herding]"}, "evaluate.baselines: herding compares"),
        ({"evaluate__baselines": "[random, dm]"}, "evaluate.baselines: dm compares"),
        (
            {"match__backbone_weight": "1", "match__classifier_weight": "2"},
            "match.classifier_weight: the network has no",
        ),
        ({"teach__classifier": "balanced"}, "teach.classifier: headless_net:make has no linear"),
    ],
)
def test_a_network_without_a_linear_end_cannot_do_everything(
    place: Path, changes: dict[str, str], message: str
) -> None:
    network = write(place, "headless_net", last=POOLED)
    check_networks(mini_recipe(network=network), load_data("digits"))
    with pytest.raises(InputError, match=message):
        check_networks(mini_recipe(network=network, **changes), load_data("digits"))


def test_what_compares_features_is_asked_of_the_network_that_gives_them(place: Path) -> None:
    """For dm that is the distilled set's; herding and k-center train one of each evaluated kind."""
    headless, data = write(place, "other_net", last=POOLED), load_data("digits")
    evaluated = {"evaluate__models": f"{headless},convnet-1"}
    check_networks(mini_recipe(**evaluated, evaluate__baselines="[dm, dsa]"), data)
    for chosen in ("herding", "k-center"):
        with pytest.raises(InputError, match=f"{chosen} compares .* other_net:make has none"):
            check_networks(mini_recipe(**evaluated, evaluate__baselines=f"[{chosen}]"), data)
    distilled = {"network": headless, "evaluate__models": "convnet-1"}
    check_networks(mini_recipe(**distilled, evaluate__baselines="[herding, dsa]"), data)
    with pytest.raises(InputError, match=r"dm compares .* other_net:make has none"):
        check_networks(mini_recipe(**distilled, evaluate__baselines="[dm]"), data)


def test_a_set_made_elsewhere_is_checked_with_the_network_that_made_it(place: Path) -> None:
    headless, data = write(place, "makers_net", last=POOLED), load_data("digits")
    recipe = mini_recipe(evaluate__models="convnet-1", evaluate__baselines="[dm]")
    check_models(recipe, data, "convnet-1")
    with pytest.raises(InputError, match=r"dm compares .* makers_net:make has none"):
        check_models(recipe, data, headless)


def test_networks_are_tried_in_the_precision_of_the_run(place: Path) -> None:
    network = write(place, "one_dimensional_net", last=POOLED)
    recipe = mini_recipe(evaluate__models=network, precision="bfloat16")
    check_networks(mini_recipe(evaluate__models=network), load_data("digits"))
    with pytest.raises(InputError, match=r"evaluate\.models: .*bfloat16"):
        check_networks(recipe, load_data("digits"))


@pytest.fixture
def distilled():
    """Digits in the place of a distilled set."""
    from datm.distillation import DistilledSet

    data = load_data("digits")
    rows = torch.arange(20)
    return DistilledSet(
        images=data.transform(data.train.images[rows]),
        logits=torch.eye(10)[data.train.labels[rows]] * 9,
        step_size=0.05,
        classes=data.classes,
        transform=data.transform,
        meta={"network": "convnet-1,width=4", "augmentation": "none"},
    )


def test_flipped_segments_are_refused_before_teachers_without_flips_are_trained() -> None:
    check_teaching(mini_recipe(match__flip="true", teach__augmentation="flip_crop"))
    with pytest.raises(InputError, match=r"match\.flip: the teachers' augmentation, crop, has"):
        check_teaching(mini_recipe(match__flip="true", teach__augmentation="crop"))
