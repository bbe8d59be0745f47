"""The store of trajectories: reading ends of segments, and refusing what is no store.

Letters: P parameters, E epochs.
"""

import json
import resource
import shutil
import struct
from pathlib import Path

import pytest
import torch

from datm.errors import InputError
from datm.runtime.files import load_tensors, read_json, write_json
from datm.teaching import Trajectories
from datm.teaching.trajectories import FORMAT


def test_a_segment_is_two_rows_of_the_file(teachers: Trajectories) -> None:
    for number in range(2):
        weights = load_tensors(teachers.path / f"teacher-00{number}.safetensors")["weights"]
        for start, length in ((0, 1), (1, 3), (0, 4), (3, 1)):
            first, last = teachers.segment(number, start, length)
            assert torch.equal(first, weights[start])
            assert torch.equal(last, weights[start + length])


def test_reading_a_segment_does_not_read_the_file(tmp_path: Path) -> None:
    """Two rows of a sparse file of 2 GiB cost no more memory than a few megabytes."""
    rows, parameters = 2048, 2**18
    size = rows * parameters * 4
    header = {"weights": {"dtype": "F32", "shape": [rows, parameters], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    with (tmp_path / "teacher-000.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        begin = file.tell()
        file.truncate(begin + size)
        for row in (1000, 1003):
            file.seek(begin + row * parameters * 4)
            file.write(torch.full((parameters,), float(row)).numpy().tobytes())
    teacher = {"file": "teacher-000.safetensors", "complete": True}
    write_json(tmp_path / "manifest.json", {"format": FORMAT, "teachers": [teacher]})
    store = Trajectories.open(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first, last = store.segment(0, 1000, 3)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert torch.equal(first, torch.full((parameters,), 1000.0))
    assert torch.equal(last, torch.full((parameters,), 1003.0))
    assert grown < 100 * 1024  # KiB; the whole file is twenty times as much


def test_only_finished_teachers_count(teachers: Trajectories, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(teachers.path, tmp_path / "teachers"))
    manifest = read_json(folder / "manifest.json")
    manifest["teachers"][0]["complete"] = False
    write_json(folder / "manifest.json", manifest)
    found = Trajectories.open(folder)
    assert len(found) == 1
    assert not found.complete
    assert torch.equal(found.weights(0, 2), teachers.weights(1, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"holds no manifest\.json"),
        ("{", r"manifest\.json: is not valid JSON"),
        ("[1]", r"manifest\.json: format None is not"),
        ('{"format": "datm-trajectories-9"}', "format 'datm-trajectories-9' is not"),
    ],
)
def test_what_is_no_store_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=message):
        Trajectories.open(tmp_path)


@pytest.mark.parametrize("damage", ["gone", "cut", "other tensors", "fewer rows"])
def test_weights_that_cannot_be_read_are_named(
    teachers: Trajectories, tmp_path: Path, damage: str
) -> None:
    from safetensors.torch import save_file

    folder = Path(shutil.copytree(teachers.path, tmp_path / "teachers"))
    file = folder / "teacher-001.safetensors"
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "other tensors":
        save_file({"weight": torch.zeros(5, 3)}, file)
    else:
        save_file({"weights": teachers.weights(1, 0)[None]}, file)
    with pytest.raises(InputError, match=r"teacher-001\.safetensors: cannot be read .*teach"):
        Trajectories.open(folder).weights(1, 4)
