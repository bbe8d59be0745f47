"""Teaching that is interrupted, asked for more or for something else."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from same_teachers import assert_same

from datm.data import DataSet
from datm.errors import InputError
from datm.runtime.device import Runtime
from datm.runtime.files import read_json, write_json
from datm.teaching import Trajectories, teach, train
from small_jobs import TEACH, Interrupt, Steps, small_digits, tree


@pytest.mark.parametrize("at", range(1, 9))
def test_continued_after_ctrl_c_equals_uninterrupted(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, at: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        teach(digits, TEACH, out=tmp_path, console=Interrupt(at))
    assert len(Trajectories.open(tmp_path)) == (at - 1) // 4
    assert_same(teach(digits, TEACH, out=tmp_path).path, teachers)


@pytest.mark.parametrize("torn", [1, 4, 1001, -1, -4, -1001])
def test_a_torn_last_row_is_made_again(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, torn: int
) -> None:
    """Bytes too many (a row being written) or too few (a manifest ahead of its rows)."""
    with pytest.raises(KeyboardInterrupt):
        teach(digits, TEACH, out=tmp_path, console=Interrupt(2))
    partial = tmp_path / "teacher-000.partial"
    with partial.open("rb+") as file:
        content = file.read()
        file.truncate(len(content) + min(torn, 0))
        file.seek(0, os.SEEK_END)
        file.write(b"\xff" * max(torn, 0))
    assert_same(teach(digits, TEACH, out=tmp_path).path, teachers)


def test_a_lost_partial_file_is_made_again(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        teach(digits, TEACH, out=tmp_path, console=Interrupt(6))
    (tmp_path / "teacher-001.partial").unlink()
    assert_same(teach(digits, TEACH, out=tmp_path).path, teachers)


def no_training(*_: Any) -> None:
    raise AssertionError("a teacher was trained")


def test_finished_teachers_are_never_trained_again(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(teachers.path, tmp_path / "teachers")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("teacher-*")}
    monkeypatch.setattr(train, "School", no_training)
    again = teach(digits, TEACH, out=folder, console=Interrupt(1))
    assert len(again) == 2
    assert {path: path.stat().st_mtime_ns for path in folder.glob("teacher-*")} == before
    assert_same(folder, teachers)


def test_a_stop_between_the_last_row_and_the_manifest(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are there, only the word that they are complete is missing."""
    folder = shutil.copytree(teachers.path, tmp_path / "teachers")
    manifest = read_json(folder / "manifest.json")
    manifest["teachers"][1]["complete"] = False
    write_json(folder / "manifest.json", manifest)
    (folder / "teacher-001.partial").write_bytes(b"rows that were not removed yet")
    monkeypatch.setattr(train.School, "epochs", no_training)
    assert_same(teach(digits, TEACH, out=folder).path, teachers)


def test_more_teachers_join_the_finished_ones(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    first = teach(digits, replace(TEACH, teachers=1), out=tmp_path)
    assert first.complete
    before = (tmp_path / "teacher-000.safetensors").stat().st_mtime_ns
    assert_same(teach(digits, TEACH, out=tmp_path).path, teachers)
    assert (tmp_path / "teacher-000.safetensors").stat().st_mtime_ns == before


def test_a_finished_teacher_whose_file_is_gone_is_trained_again(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    folder = shutil.copytree(teachers.path, tmp_path / "teachers")
    (folder / "teacher-000.safetensors").unlink()
    assert_same(teach(digits, TEACH, out=folder).path, teachers)


@pytest.mark.parametrize("at", [1, 3, 4, 6])
def test_the_progress_goes_on_where_it_was(digits: DataSet, tmp_path: Path, at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        teach(digits, TEACH, out=tmp_path, console=Interrupt(at))
    progress = Steps()
    teach(digits, TEACH, out=tmp_path, console=progress)
    # At 4 the weights of the first teacher were still to be gathered into their file.
    assert progress.steps == list(range(at, 9))


@pytest.mark.parametrize(
    ("changed", "here", "there"),
    [
        ({"learning_rate": 0.02}, r"settings\.learning_rate 0\.02", r"0\.05"),
        ({"epochs": 9}, r"settings\.epochs 9", "4"),
        ({"batch": 31}, r"settings\.batch 31", "30"),
        ({"augmentation": "none"}, r"settings\.augmentation 'none'", "'crop_scale_rotate'"),
        ({"network": "convnet-1,width=5"}, "network 'convnet-1,width=5", "'convnet-1,width=4"),
        ({"seed": 3}, "seed 3", "0"),
        ({"precision": "bfloat16"}, "precision 'bfloat16'", "'float32'"),
        ({"data": 9}, r"data\.train 90", "100"),
    ],
)
def test_teachers_of_other_settings_are_refused_with_both_sides(
    digits: DataSet,
    teachers: Trajectories,
    tmp_path: Path,
    changed: dict[str, Any],
    here: str,
    there: str,
) -> None:
    folder = shutil.copytree(teachers.path, tmp_path / "teachers")
    before = tree(folder)
    data = small_digits(changed.pop("data")) if "data" in changed else digits
    seed = changed.pop("seed", 0)
    runtime = Runtime(precision=changed.pop("precision", "float32"))
    with pytest.raises(InputError, match=rf"teachers: holds .*{here}.* now, {there}.* there"):
        teach(data, replace(TEACH, **changed), out=folder, seed=seed, runtime=runtime)
    assert tree(folder) == before


@pytest.mark.parametrize("name", ["teacher-000.safetensors", "teacher-001.partial"])
def test_teachers_without_their_manifest_are_refused(
    digits: DataSet, tmp_path: Path, name: str
) -> None:
    """Nobody can say whose they are, so they are neither adopted nor overwritten."""
    (tmp_path / name).write_bytes(b"somebody's days of work")
    with pytest.raises(InputError, match=rf"holds {name} but no manifest\.json"):
        teach(digits, TEACH, out=tmp_path)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "datm-trajectories-0"}'])
def test_a_broken_manifest_is_refused_and_kept(digits: DataSet, tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json: "):
        teach(digits, TEACH, out=tmp_path)
    assert (tmp_path / "manifest.json").read_text() == text


def test_out_must_be_a_folder(digits: DataSet, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        teach(digits, TEACH, out=tmp_path / "file")
