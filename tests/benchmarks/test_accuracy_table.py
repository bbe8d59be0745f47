"""Comparisons of final accuracies: their variants, their table, and a small one in full."""

from pathlib import Path

import accuracy
import comparisons
import pytest

from datm.config import dump_config, load_config
from datm.recipes import recipe
from mini import MINI


def test_mean_and_deviation_are_over_all_networks_of_all_seeds() -> None:
    rows = {"exact, float32": [[0.5, 0.7], [0.9, 0.9]], "TESLA, float32": [[0.1, 0.2]], "later": []}
    lines = accuracy.table(rows).splitlines()
    assert lines[2:] == [
        "| exact, float32 | 60.0, 90.0 | 75.0 | 19.1 | 4 |",
        "| TESLA, float32 | 15.0 | 15.0 | 7.1 | 2 |",
    ]


def test_overrides_are_pairs() -> None:
    given = ["--distill.iterations", "20", "--data", "x"]
    assert accuracy.pairs(given) == {"distill.iterations": "20", "data": "x"}
    for wrong in (["--data"], ["data", "x"]):
        with pytest.raises(SystemExit, match="no list of --field value"):
            accuracy.pairs(wrong)


def test_windows_are_the_teachers_epochs_in_quarters() -> None:
    """Teachers of 40 epochs, segments of 2: start epochs 0 to 38."""
    bounds = {
        name.partition(",")[0]: (v.overrides["match.lower"], v.overrides["match.last_upper"])
        for name, v in comparisons.windows(recipe("digits")).items()
    }
    assert bounds == {"early": ("0", "9"), "all": ("0", "39"), "late": ("19", "39")}


def test_every_variant_of_every_comparison_makes_a_recipe(tmp_path: Path) -> None:
    for name in (*accuracy.FIXED, *accuracy.DERIVED):
        made = accuracy.Bench("digits", {"ipc": "1"}, tmp_path).comparison(name)
        recipes = [load_config("digits", v.overrides, v.method) for v in made.values()]
        assert len({dump_config(recipe) for recipe in recipes}) == len(made) > 1


def test_ingredients_are_compared_on_the_same_work() -> None:
    """Inner steps in all, up to the rounding of the iterations."""
    made = comparisons.ingredients(recipe("cifar10-ipc10"))
    for variant in made.values():
        changed = load_config("cifar10-ipc10", variant.overrides)
        distill, match = changed.distill, changed.distill.match
        assert distill.iterations * match.segments * match.inner_steps == 10_000 * 80
        assert dump_config(changed) != dump_config(recipe("cifar10-ipc10")) or (
            variant is made["as it is"]
        )


def test_every_variant_has_a_folder_of_its_own(tmp_path: Path) -> None:
    bench = accuracy.Bench("digits", {}, tmp_path)
    for name in (*accuracy.FIXED, *accuracy.DERIVED):
        made = bench.comparison(name)
        folders = {bench.folder(variant, seed) for variant in made for seed in (0, 1)}
        assert len(folders) == 2 * len(made)
        assert {folder.parent for folder in folders} == {tmp_path}


def test_a_small_comparison_of_methods(tmp_path: Path) -> None:
    """Teachers are shared where they are the same; what was done is not done again."""
    bench = accuracy.Bench("digits", MINI, tmp_path)
    outs = {name: bench.distil(name, comparisons.METHODS[name], 1) for name in ("MTT", "TESLA")}
    assert len(list(tmp_path.glob("teachers-*"))) == 1
    found = bench.accuracies(outs["MTT"], 1)
    assert len(found) == int(MINI["evaluate.seeds"])
    assert bench.accuracies(outs["MTT"], 1) == found
    assert list(bench.baselines(outs["MTT"], ("random", "herding"), 1)) == ["random", "herding"]
