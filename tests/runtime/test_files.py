"""Atomic writes, JSON, safetensors, JSON lines and folders."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from datm.errors import InputError
from datm.runtime import files
from datm.runtime.files import (
    JsonLines,
    atomic_write,
    load_tensors,
    read_json,
    read_json_lines,
    save_tensors,
    writable_folder,
    write_json,
)


def test_atomic_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    atomic_write(path, "é")
    assert path.read_bytes() == "é".encode()
    atomic_write(path, b"\0")
    assert path.read_bytes() == b"\0"
    assert os.listdir(path.parent) == ["b.txt"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept"
    atomic_write(path, "old")

    def broken(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept"]


def test_what_a_kill_left_of_a_file_goes_when_it_is_written_again(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from datm.runtime import files
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
files.atomic_write(Path(sys.argv[1]), "half")
"""
    source = str(Path(files.__file__).parents[2])
    path = tmp_path / "a.json"
    environment = {**os.environ, "PYTHONPATH": source}
    subprocess.run([sys.executable, "-c", script, path], env=environment, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    other = tmp_path / ".aa.json.1.tmp"  # of another file, and so another's to remove
    other.touch()
    files.atomic_write(path, "whole")
    assert sorted(tmp_path.iterdir()) == [other, path]


def test_json_round_trip_without_what_json_cannot_say(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": (1, 2.5), "b": [math.nan, {"c": -math.inf}], "d": None, "e": "ü"})
    assert read_json(path) == {"a": [1, 2.5], "b": [None, {"c": None}], "d": None, "e": "ü"}


@pytest.mark.parametrize("content", [b'{"a": ', b"", b"\xff\xfe"])
def test_broken_json_is_one_sentence_with_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json: ") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    for read in (read_json, load_tensors):
        with pytest.raises(InputError, match="none: there is no such file"):
            read(tmp_path / "none")


def test_tensors_round_trip_with_views_and_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    whole = torch.arange(12, dtype=torch.float32).reshape(3, 4).requires_grad_()
    tensors = {
        "whole": whole,
        "again": whole,
        "row": whole[1],
        "turned": whole.T,
        "scalar": torch.tensor(0.5),
    }
    save_tensors(path, tensors, {"format": "test"})
    loaded = load_tensors(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor.detach())
    assert os.listdir(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize("kept", [0, 4, 60])
def test_cut_tensors_are_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"x\.safetensors: is not a readable safetensors file"):
        load_tensors(path)


def test_writable_folder_makes_the_folder_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    assert os.listdir(writable_folder(tmp_path / "a" / "b")) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match=r"cannot be a folder, because .*file is a file"):
            writable_folder(place)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="needs Linux's /proc, where nobody writes"
)
def test_a_place_where_even_root_cannot_write_is_refused() -> None:
    with pytest.raises(InputError, match=r"^/proc/datm/run: cannot be written \(.*\); choose"):
        writable_folder("/proc/datm/run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root passes all permission bits")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(InputError, match="Permission denied"):
        writable_folder(tmp_path)


def test_json_lines_resume_drops_what_comes_after(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = JsonLines(path)
    for i in range(5):
        lines.append({"iteration": i, "loss": math.nan if i == 3 else i / 2})
    lines.append({"note": "no iteration"})
    lines.close()
    assert read_json_lines(path)[3] == {"iteration": 3, "loss": None}

    lines = JsonLines(path, iteration=2)
    lines.append({"iteration": 3, "loss": 9.0})
    assert [r.get("iteration") for r in read_json_lines(path)] == [0, 1, 2, None, 3]  # at once
    lines.close()
    JsonLines(path).close()
    assert path.read_text() == ""


def test_a_line_cut_by_a_kill_is_skipped_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"iteration": 1}) + '\n{"iter')
    assert read_json_lines(path) == [{"iteration": 1}]
    path.write_text('{"iter\n{"iteration": 1}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl: line 1 is not valid JSON"):
        read_json_lines(path)
    assert read_json_lines(tmp_path / "none") == []


def test_tensor_files_get_the_mode_that_other_files_get(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save_tensors(tmp_path / "tensors", {"a": torch.zeros(2)})
    assert (tmp_path / "tensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
