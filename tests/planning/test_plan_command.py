"""`datm plan`: refuses what `datm run` refuses, writes nothing, prints a table or JSON."""

import json
import os
from pathlib import Path

import pytest

from datm.cli import main
from datm.data import load
from datm.teaching import Trajectories, teach
from mini import mini_arguments, mini_recipe
from small_jobs import tree

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datm.planning.plan.PATIENCE", 0.05)


def planned(capsys: Captured, *arguments: str) -> dict:
    capsys.readouterr()
    assert main(["plan", "digits", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonesuch"],
        ["digits", "--ipc", "500"],
        ["digits", "--match.last_upper", "60"],
        ["digits", "--network", "convnet-9"],
        ["digits", "--evaluate.models", "convnet-9"],
        ["digits", "--data", "nowhere"],
        ["digits", "--device", "cuda:77"],
        ["digits", "--match.lowr", "1"],
        ["digits", "--name", "a/b"],
        ["digits", "--out", "file/run"],
        ["digits", "--out", "strange"],
        ["digits", "--trajectories", "nowhere"],
    ],
    ids=" ".join,
)
def test_it_refuses_what_a_run_refuses(arguments: list[str], capsys: Captured) -> None:
    Path("file").touch()
    Path("strange/checkpoint").mkdir(parents=True)
    before = sorted(Path().rglob("*"))
    said = []
    for command in ("plan", "run"):
        assert main([command, *arguments]) == 2
        said.append(capsys.readouterr().err.splitlines()[-1])
    assert sorted(Path().rglob("*")) == before
    plan, run = said
    if "--trajectories" not in arguments and "file/run" not in arguments:
        assert plan == run
    assert plan.startswith("datm: ")


def test_the_table(capsys: Captured, tmp_path: Path) -> None:
    assert main(["plan", "digits", *mini_arguments()]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)
    first = [line.split()[0] for line in lines if line]
    table = first[first.index("stage") :]
    assert table[0] == "stage"
    assert table[2:8] == ["load", "teach", "distil", "evaluate", "total", "available"]
    assert "It fits. Most memory: " in captured.out
    assert "(698 parameters)" in captured.out  # 4 x 9 + 4, 4 + 4, 10 x 4 x 16 + 10
    assert "timing steps" in captured.err
    assert os.listdir(tmp_path) == []


def test_the_totals_are_those_of_the_stages(capsys: Captured) -> None:
    plan = planned(capsys, *mini_arguments(), "--out", "here")
    stages = {stage["stage"]: stage for stage in plan["stages"]}
    assert list(stages) == ["load", "teach", "distil", "evaluate"]
    total = plan["total"]
    assert total["seconds"] == pytest.approx(sum(s["seconds"] for s in stages.values()))
    assert total["disk"] == sum(stage["disk"] for stage in stages.values())
    assert total["host"] == max(stage["host"] for stage in stages.values())
    assert 0 < plan["quickest"] <= total["seconds"]
    (parameters,) = plan["parameters"].values()
    assert stages["teach"]["disk"] == (2 + 1) * (4 + 1) * parameters * 4
    assert plan["fits"]
    assert plan["problems"] == plan["hints"] == []
    assert plan["out"] == "here"
    assert plan["available"]["device"] is None


def test_a_smoke_plan_is_that_of_a_smoke_run(capsys: Captured) -> None:
    plan = planned(capsys, "--network", "convnet-1,width=4", "--compile", "false", "--smoke")
    assert plan["recipe"] == "digits-smoke"
    assert plan["out"] == "runs/digits-smoke"
    (parameters,) = plan["parameters"].values()
    disk = {stage["stage"]: stage["disk"] for stage in plan["stages"]}
    assert disk["teach"] == (2 + 1) * (3 + 1) * parameters * 4


def test_teachers_made_elsewhere_are_not_planned(capsys: Captured) -> None:
    recipe = mini_recipe()
    teach(load(recipe.data), recipe.teach, out="elsewhere")
    before = tree(Path())
    plan = planned(capsys, *mini_arguments(), "--trajectories", "elsewhere")
    assert [stage["stage"] for stage in plan["stages"]] == ["load", "distil", "evaluate"]
    assert len(Trajectories.open("elsewhere")) == 2
    assert tree(Path()) == before


def test_a_run_folder_can_be_planned_and_stays_as_it_is(capsys: Captured) -> None:
    assert main(["teach", "digits", *mini_arguments(), "--out", "there"]) == 0
    before = tree(Path())
    capsys.readouterr()
    assert main(["plan", "there", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == "there"
    assert tree(Path()) == before
    # Other settings than what is in it was made with are refused, as for a run.
    assert main(["plan", "there", "--teach.learning_rate", "0.5"]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err
