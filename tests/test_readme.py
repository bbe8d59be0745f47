"""What the README shows works: its Python runs, its commands and files exist."""

import re
from pathlib import Path

import pytest

import datm
from datm.cli import main
from datm.recipes import RECIPES
from datm.smoke import smoke_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    assert 8 <= len(example.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    # The same lines with every count made small: the real ones take minutes.
    monkeypatch.setattr(datm, "recipe", lambda name: smoke_recipe(RECIPES[name].recipe))
    names: dict[str, object] = {}
    exec(example, names)
    assert {"distilled", "random", "full"} <= set(eval(capsys.readouterr().out))
    label = names["soft_label"]
    assert label.shape == (10,)
    assert label.sum().item() == pytest.approx(1)
    assert (tmp_path / "runs/a/distilled/preview.png").is_file()


def test_the_recipes_it_names_exist() -> None:
    named = set(re.findall(r"\b(?:digits|cifar10)-\w+", README))
    assert named
    assert named <= set(RECIPES)


def test_the_commands_it_shows_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {line.split()[1] for line in README.splitlines() if line.startswith("datm ")}
    assert {"run", "recipes"} <= commands
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        assert command in capsys.readouterr().out


def test_the_files_it_links_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).is_file(), target
