"""The published methods, laid over recipes: what each changes, and nothing else."""

import math
from dataclasses import replace

import pytest

from datm.cli import main
from datm.config import load_config
from datm.config.load import differences
from datm.errors import InputError
from datm.matching import MatchConfig
from datm.methods import METHODS, apply_method, datm, ftd, mtt, pad, tesla
from datm.recipes import RECIPES, Recipe, recipe
from datm.teaching import TeachConfig


def changes(ours: Recipe, theirs: Recipe) -> dict[str, object]:
    """Field by field, what `ours` has where it differs from `theirs`."""
    return {field.name: mine for field, mine, _ in differences(ours, theirs)}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_laid_over_itself_changes_nothing(name: str) -> None:
    once = METHODS[name](recipe("cifar10-ipc50"))
    assert METHODS[name](once) == once


def test_the_papers_rows_are_datm_already() -> None:
    for name in ("digits", "cifar10-ipc1", "cifar10-ipc50", "cifar10-ipc1000"):
        assert datm(recipe(name)) == recipe(name)


def test_mtt() -> None:
    assert changes(mtt(recipe("cifar10-ipc10")), recipe("cifar10-ipc10")) == {
        "match.first_upper": None,
        "match.expansion": 0,
        "distill.initial": "any",
        "distill.labels": "hard",
        "distill.threshold": math.inf,
    }
    assert changes(mtt(recipe("cifar10-ipc500")), recipe("cifar10-ipc500"))["match.lower"] == 0


def test_ftd_and_tesla_are_mtt_but_for_their_ingredients() -> None:
    base = recipe("cifar10-ipc10")
    assert changes(ftd(base), mtt(base)) == {
        "teach.optimiser": "ftd",
        "distill.ema": pytest.approx(0.999),
    }
    assert changes(tesla(base), mtt(base)) == {
        "match.gradient": "tesla",
        "distill.labels": "fixed",
    }
    short = replace(base, distill=replace(base.distill, iterations=400))
    assert ftd(short).distill.ema == pytest.approx(0.975)


@pytest.mark.parametrize(("ipc", "share"), [(1, 0.0), (10, 0.25), (50, 0.5), (1000, 0.75)])
def test_pad_is_datm_but_for_its_ingredients(ipc: int, share: float) -> None:
    base = recipe(f"cifar10-ipc{ipc}")
    expected = {"teach.order": "el2n", "match.skip_depth": share}
    assert changes(pad(base), base) == {k: v for k, v in expected.items() if v}


def test_every_method_can_be_laid_over_every_recipe() -> None:
    for name in METHODS:
        for known in RECIPES:
            made = apply_method(name, recipe(known))
            assert made.name == f"{known}-{name}"
            assert made.distill.iterations == recipe(known).distill.iterations


@pytest.mark.parametrize("name", METHODS)
def test_a_method_leaves_nothing_of_another_long_tailed_one(name: str) -> None:
    """Whatever a variant sets is as in the fields' defaults, unless the method itself sets it."""
    made = METHODS[name](recipe("ltdd-cifar10-lt200-ipc50"))
    match, plain = made.distill.match, MatchConfig()
    for setting in ("backbone_weight", "classifier_weight", "prior_correction"):
        assert getattr(match, setting) == getattr(plain, setting)
    assert made.teach.classifier == TeachConfig().classifier


def test_overrides_put_back_what_is_for_long_tails() -> None:
    given = {"match.prior_correction": "true", "teach.classifier": "balanced"}
    found = load_config("ltdd-cifar10-lt200-ipc50", given, "datm")
    assert (found.distill.match.prior_correction, found.teach.classifier) == (True, "balanced")
    assert found.data.imbalance == 200


def test_overrides_win_over_the_method() -> None:
    found = load_config("digits", {"distill.labels": "learned", "name": "mine"}, "mtt")
    assert (found.distill.labels, found.distill.initial, found.name) == ("learned", "any", "mine")


def test_what_a_method_derives_follows_the_overrides() -> None:
    assert load_config("digits", {"ipc": "50"}, "pad").distill.match.skip_depth == 0.5
    longer = load_config("digits", {"distill.iterations": "10000"}, "ftd")
    assert (longer.distill.ema, longer.name) == (pytest.approx(0.999), "digits-ftd")
    given = {"distill.iterations": "10000", "distill.ema": "0.9"}
    assert load_config("digits", given, "ftd").distill.ema == 0.9


def test_overrides_need_to_fit_the_method_not_the_recipe() -> None:
    """The window of digits grows from epoch 10; MTT's does not grow, so it may end at 5."""
    with pytest.raises(InputError, match="first_upper 10, last_upper 5 are not in order"):
        load_config("digits", {"match.last_upper": "5"})
    assert load_config("digits", {"match.last_upper": "5"}, "mtt").distill.match.last_upper == 5
    with pytest.raises(InputError, match="lower 25, first_upper 20, last_upper 20 are not in"):
        load_config("digits", {"match.lower": "25"}, "mtt")


def test_unknown_methods_are_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="method: 'mdd' is not known; give one of mtt, ftd"):
        apply_method("mdd", recipe("digits"))
    assert main(["run", "digits", "--method", "mdd"]) == 2
    assert capsys.readouterr().err.startswith("datm: method: 'mdd' is not known")
