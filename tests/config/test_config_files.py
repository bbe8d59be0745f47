"""Recipes from names and YAML files and back, with the recipes that datm comes with."""

from dataclasses import replace
from pathlib import Path

import pytest

from datm.config import differences, dump_config, fields, load_config, value_of
from datm.config.validate import shown
from datm.errors import InputError
from datm.recipes import RECIPES, recipe


def refused(path: Path, text: str | None = None) -> str:
    """The one sentence that refuses a YAML file with this text."""
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


@pytest.mark.parametrize("name", RECIPES)
def test_dump_then_load_gives_an_equal_recipe(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(recipe(name)))
    assert load_config(path) == recipe(name) == load_config(name)


@pytest.mark.parametrize("name", RECIPES)
def test_every_value_can_be_given_on_the_command_line(name: str) -> None:
    there = recipe(name)
    texts = {}
    for field in fields():
        value = value_of(there, field)
        texts[field.name] = ",".join(map(str, value)) if field.is_only_list else str(value)
    assert load_config("digits", texts) == there


def test_every_field_has_a_name_of_its_own_a_type_and_a_description() -> None:
    names = [field.name for field in fields()]
    assert len(set(names)) == len(names)
    assert {"name", "seed", "device", "network", "ipc", "data.source", "match.lower"} <= set(names)
    for field in fields():
        assert field.description, field.name
        assert "<" not in field.type, field.name
        assert shown(field.default)


def test_a_file_starts_from_a_recipe_and_the_command_line_wins(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "recipe: digits\nipc: 2\nteach:\n  epochs: 30\ndistill.images_lr: 1e2\ndata: digits\n"
    )
    found = load_config(path, {"teach.epochs": "31"})
    wanted = recipe("digits")
    assert found == replace(
        wanted,
        name="mine",
        teach=replace(wanted.teach, epochs=31),
        distill=replace(wanted.distill, ipc=2, images_lr=100.0),
    )


def test_a_file_without_a_recipe_starts_from_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "bare.yaml"
    path.write_text("seed: 3\n")
    found = load_config(path)
    assert (found.name, found.seed) == ("bare", 3)
    assert [f.name for f, _, _ in differences(found, type(found)(name="x"))] == ["name", "seed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; give at least `recipe: NAME`."),
        ("# nothing\n", "is empty"),
        ("- a\n- b\n", "holds a list, not settings"),
        ("just text", "holds a str, not settings"),
        ("a: [1, 2\nb: 3", "is not valid YAML"),
        ("\tseed: 1", "is not valid YAML"),
        ("seed: !!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("ipc: 1\nseed: 2\nipc: 3\n", "'ipc' comes twice (line 3); keep one of them."),
        ("teach:\n  epochs: 1\n  epochs: 2\n", "'epochs' comes twice (line 3)"),
        ("teach: {epochs: 3}\nteach.epochs: 4\n", "teach.epochs: is given twice, as teach: e"),
        ("data: a\ndata.source: b\n", "data.source: is given twice, as data and as data.source"),
        ("recipe: digit\n", "recipe: 'digit' is not known; did you mean 'digits'?"),
        ("recipe: [digits]\n", "recipe: \"['digits']\" is not known;"),
        ("recipe: digits\nipcs: 3\n", "ipcs: there is no such setting; did you mean ipc?"),
        ("recipe: digits\nipc: three\n", "ipc: 'three' is not a whole number; give an integer"),
        ("? [a, b]\n: 3\n", "is not valid YAML"),
        ("? {a: b}\n: 3\n", "is not valid YAML"),
    ],
)
def test_files_that_make_no_sense_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(tmp_path / "x.yaml", text)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "there is no such file" in refused(tmp_path / "none.yaml")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read (it is not UTF-8 text)" in refused(tmp_path / "binary.yaml")


def test_unknown_recipes_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        load_config("digts")


def test_a_recipes_name_wins_over_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_config("digits") == recipe("digits")


def test_differences_name_the_fields_and_both_values() -> None:
    one = recipe("digits")
    other = load_config("digits", {"ipc": "3", "evaluate.seeds": "2"})
    found = {field.name: (left, right) for field, left, right in differences(one, other)}
    assert found == {
        "ipc": (one.distill.ipc, 3),
        "evaluate.seeds": (one.evaluate.seeds, 2),
    }
    assert differences(one, one) == []
