"""The tables that `datm recipes` prints."""

import re
from dataclasses import replace

import pytest

from datm.errors import InputError
from datm.listing import recipe_text, recipes_table, recipes_text
from datm.recipes import RECIPES


@pytest.mark.parametrize("columns", [60, 100, 140])
def test_every_recipe_stands_in_full_below_its_source(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In lines as long as the terminal's, or 100 columns where it is narrower or none."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = recipes_table().splitlines()
    assert max(map(len, lines)) <= max(100, columns)
    assert "…" not in "".join(lines)
    last = lines[0].index("settings; what differs")
    source, name, said = "", "", {}
    for line in lines[2:]:
        if not line.startswith(" "):
            source = line
        elif re.match(r" {4}\w", line):
            source += " " + line.strip()
        elif line.startswith(" " * last):
            said[name] += " " + line.strip()
        else:
            name = line.split()[0]
            said[name] = line[last:]
            entry = RECIPES[name]
            assert source == "; ".join(filter(None, (entry.source, entry.always_differs)))
            assert (entry.published or "-") in line[:last]
            assert (entry.measured or "-") in line[:last]
    assert list(said) == list(RECIPES)
    for name, entry in RECIPES.items():
        assert said[name] == "; ".join(filter(None, (entry.settings, entry.differs)))


def test_what_differs_in_all_recipes_of_a_source_is_said_once() -> None:
    table = recipes_table()
    assert table.count("teachers are FTD's") == 2  # of DATM and of PAD
    for name in ("cifar10-ipc1", "covid-ipc50", "pad-tiny-ipc50"):
        assert "teachers are FTD's" in recipe_text(name)


def test_what_is_said_of_a_source_is_wrapped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    long = replace(RECIPES["digits"], always_differs="said of all " * 20)
    monkeypatch.setitem(RECIPES, "digits", long)
    lines = recipes_table("digits").splitlines()
    assert max(map(len, lines)) <= 100
    assert " ".join(line.strip() for line in lines).count("said of all") == 20


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("imagewoof", ["imagewoof-ipc1", "imagewoof-ipc10", "imagewoof-ipc50"]),
        ("ltdd-cifar10-lt1", ["ltdd-cifar10-lt10-ipc50", "ltdd-cifar10-lt100-ipc50"]),
        ("LTDD", [f"ltdd-cifar10-lt{factor}-ipc50" for factor in (10, 50, 100, 200)]),
    ],
)
def test_a_part_of_a_name_or_a_source_picks_recipes(part: str, names: list[str]) -> None:
    lines = recipes_text(part).splitlines()
    assert [line.split()[0] for line in lines[2:] if re.match(r"  \w", line)] == names


def test_a_part_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"^recipe: 'zzz' is not known; "):
        recipes_table("zzz")


def test_a_whole_name_is_that_recipe_even_where_it_is_part_of_others() -> None:
    assert recipes_text("digits") == recipe_text("digits")
    text = recipes_text("tiny-ipc50")
    assert "# published %: 39.7 ± 0.3 (DATM (Guo 2024), Table 1)\n" in text
    assert (
        "# what differs: first release: T from 46, T+ 60; the authors' teachers are FTD's, here"
        " plain SGD's\n" in text
    )
    assert "# published %: -\n" in recipe_text("mtt-cifar10-ipc500")
