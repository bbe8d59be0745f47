"""A distillation that is interrupted, killed or prolonged ends with the same bits."""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datm.data import DataSet
from datm.distillation import DistillConfig, DistilledSet, distill
from datm.distillation.state import FILE
from datm.errors import InputError
from datm.runtime.device import Runtime
from datm.runtime.files import read_json, read_json_lines
from datm.teaching import Trajectories, teach
from small_jobs import DISTILL, TEACH, Interrupt, Steps, kill_when, small_digits, tree

# validations at 0, 3, 6, 7; checkpoints at 2, 4, 6 and after each validation
CONFIG = replace(
    DISTILL, iterations=7, match=replace(DISTILL.match, segments=2, first_upper=1, expansion=5)
)


def told(out: Path) -> dict[str, Any]:
    """All that a run says, without the seconds."""
    lines = read_json_lines(out / "metrics.jsonl")
    for line in lines:
        line.pop("seconds", None)
    meta = read_json(out / "distilled" / "distilled.json")
    del meta["seconds"]
    return {"metrics": lines, "meta": meta}


def tensors(out: Path) -> dict[str, str]:
    return {k: v for k, v in tree(out / "distilled").items() if k.endswith((".safetensors", "png"))}


def assert_same(out: Path, whole: Path) -> None:
    assert set(tree(out)) == set(tree(whole))
    assert len(tensors(out)) == 4
    assert tensors(out) == tensors(whole)
    assert told(out) == told(whole)


@pytest.fixture(scope="module")
def whole(
    digits: DataSet, teachers: Trajectories, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    distill(digits, teachers, CONFIG, out=out)
    lines = told(out)["metrics"]
    assert [line["iteration"] for line in lines if "loss" in line] == list(range(1, 8))
    validated = [line for line in lines if "validation_accuracy" in line]
    assert [line["iteration"] for line in validated] == [0, 3, 6, 7]
    return out


@pytest.mark.parametrize("at", range(1, 12))
def test_continued_after_ctrl_c_equals_uninterrupted(
    digits: DataSet, teachers: Trajectories, whole: Path, tmp_path: Path, at: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        distill(digits, teachers, CONFIG, out=tmp_path, console=Interrupt(at))
    assert not (tmp_path / "distilled" / "distilled.json").exists()
    distill(digits, teachers, CONFIG, out=tmp_path)
    assert_same(tmp_path, whole)


def test_ctrl_c_saves_all_but_the_iteration_in_hand(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    config = replace(CONFIG, checkpoint_every=1000, validate_every=1000)
    with pytest.raises(KeyboardInterrupt):
        # the first advance is the validation of iteration 0
        distill(digits, teachers, config, out=tmp_path, console=Interrupt(6))
    again = Steps()
    distill(digits, teachers, config, out=tmp_path, console=again)
    assert again.steps[:2] == [4, 5]


class Crash(BaseException):
    """Stands for the process's end."""


def test_continued_after_a_crash_at_any_write_equals_uninterrupted(
    digits: DataSet,
    teachers: Trajectories,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(CONFIG, iterations=4, validate_every=2, checkpoint_every=3, validate_epochs=2)
    whole = tmp_path / "whole"
    distill(digits, teachers, config, out=whole)
    real = os.replace
    crashes = 0
    while True:
        out = tmp_path / str(crashes)
        left = crashes

        def crashing(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:  # a dead process writes no more, not even in a `finally`
                raise Crash
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", crashing)
            try:
                distill(digits, teachers, config, out=out)
                break
            except Crash:
                crashes += 1
        if (out / "distilled" / "distilled.json").exists():  # which says that all is done
            assert len(tensors(out)) == 4
        distill(digits, teachers, config, out=out)
        assert_same(out, whole)
    assert crashes > 7


def test_continued_after_kills_equals_uninterrupted(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    config = replace(DISTILL, iterations=40, validate_every=20, checkpoint_every=7)
    distill(digits, teachers, config, out=tmp_path / "whole")
    out = tmp_path / "killed"
    script = """
import sys
from dataclasses import replace
from datm.distillation import distill
from datm.teaching import Trajectories
from small_jobs import Steps, DISTILL, small_digits
config = replace(DISTILL, iterations=40, validate_every=20, checkpoint_every=7)
distill(small_digits(), Trajectories.open(sys.argv[1]), config, out=sys.argv[2])
"""
    lines = random.randrange(5, 35)

    def ready() -> bool:
        return len(read_json_lines(out / "metrics.jsonl")) >= lines

    kill_when(script, ready, teachers.path, out)
    assert not (out / "distilled" / "distilled.json").exists()
    distill(digits, teachers, config, out=out)
    assert_same(out, tmp_path / "whole")


def test_running_longer_later_equals_running_long_at_once(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    for iterations in (0, 3, 6):
        config = replace(CONFIG, iterations=iterations)
        distill(digits, teachers, config, out=tmp_path / "longer")
    distill(digits, teachers, config, out=tmp_path / "at once")
    assert_same(tmp_path / "longer", tmp_path / "at once")


def test_an_end_between_two_validations_changes_no_iterate(
    digits: DataSet, teachers: Trajectories, whole: Path, tmp_path: Path
) -> None:
    for iterations in (2, 5, 7):  # each end is validated too, so there are more to choose from
        distill(digits, teachers, replace(CONFIG, iterations=iterations), out=tmp_path)
    assert tensors(tmp_path)["last.safetensors"] == tensors(whole)["last.safetensors"]
    lines = [[li for li in told(o)["metrics"] if "loss" in li] for o in (tmp_path, whole)]
    assert lines[0] == lines[1]


def test_a_finished_distillation_is_not_repeated(
    digits: DataSet, teachers: Trajectories, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datm.distillation import loop

    def no_work(*_: Any) -> None:
        raise AssertionError("it was repeated")

    before = tree(whole)
    for name in ("_step", "_validated"):
        monkeypatch.setattr(loop, name, no_work)
    distill(digits, teachers, CONFIG, out=whole)
    assert tree(whole) == before


def test_without_a_folder_the_result_is_the_same(
    digits: DataSet, teachers: Trajectories, whole: Path
) -> None:
    made = distill(digits, teachers, CONFIG)
    saved = DistilledSet.load(whole / "distilled")
    assert made.fingerprint() == saved.fingerprint()


def test_another_seed_gives_another_set(
    digits: DataSet, teachers: Trajectories, whole: Path
) -> None:
    made = distill(digits, teachers, replace(CONFIG, iterations=1), seed=1)
    assert not torch.allclose(made.images, DistilledSet.load(whole / "distilled").images)


Change = Callable[[DistillConfig], DistillConfig]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ipc": 2}, r"distill\.ipc 2 now, 1 there"),
        ({"images_lr": 21.0}, r"distill\.images_lr 21\.0 now, 20\.0 there"),
        ({"match": {"inner_steps": 4}}, r"distill\.match\.inner_steps 4 now, 3 there"),
        ({"seed": 5}, r"seed 5 now, 0 there"),
        ({"precision": "bfloat16"}, r"precision 'bfloat16' now, 'float32' there"),
        ({"teachers": {"epochs": 5}}, r"teach\.epochs 5 now, 4 there"),
        ({"teachers": {"teachers": 1}}, r"teach\.teachers \[\d+\] now, \[\d+, \d+\] there"),
    ],
)
def test_a_checkpoint_of_another_distillation_is_refused(
    digits: DataSet,
    teachers: Trajectories,
    whole: Path,
    tmp_path: Path,
    changed: dict[str, Any],
    message: str,
) -> None:
    before = tree(whole)
    if "teachers" in changed:
        teachers = teach(digits, replace(TEACH, **changed.pop("teachers")), out=tmp_path)
    seed = changed.pop("seed", 0)
    runtime = Runtime(precision=changed.pop("precision", "float32"))
    match = replace(CONFIG.match, **changed.pop("match", {}))
    config = replace(CONFIG, match=match, iterations=9, **changed)
    with pytest.raises(InputError, match=rf"{FILE}: belongs to another distillation .*{message}"):
        distill(digits, teachers, config, out=whole, seed=seed, runtime=runtime)
    assert tree(whole) == before


def test_teachers_of_other_data_are_refused(
    teachers: Trajectories, whole: Path, tmp_path: Path
) -> None:
    before = tree(whole)
    with pytest.raises(InputError, match=r"its teachers saw other data \(train 100, here 90\)"):
        distill(small_digits(9), teachers, CONFIG, out=whole)
    assert tree(whole) == before


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty"])
def test_a_broken_checkpoint_is_refused(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, damage: str
) -> None:
    from safetensors.torch import save_file

    with pytest.raises(KeyboardInterrupt):
        distill(digits, teachers, CONFIG, out=tmp_path, console=Interrupt(3))
    path = tmp_path / "checkpoint" / FILE
    if damage == "foreign":
        save_file({"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes(path.read_bytes()[:-9] if damage == "cut" else b"")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=rf"{FILE}: .* remove it"):
        distill(digits, teachers, CONFIG, out=tmp_path)
    assert tree(tmp_path) == before
