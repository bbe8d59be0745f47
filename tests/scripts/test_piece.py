"""A run in pieces on one machine after another ends as one that was never stopped."""

import shutil
import signal
import sys
import time
from pathlib import Path

import piece
import pytest

from datm.runtime.files import load_tensors, read_json
from mini import mini_arguments


def go(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["piece.py", "digits", *arguments])
    with pytest.raises(SystemExit) as ended:
        piece.main()
    return ended.value.code


def test_pieces_on_new_machines_end_as_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is stopped while it distils, the second begins without its teachers."""
    more = mini_arguments(distill__iterations="60", distill__checkpoint_every="5")
    first, second, whole = tmp_path / "first", tmp_path / "second", tmp_path / "whole"
    state = tmp_path / "state"

    def until_distilling(seconds: float, arguments: list[str]) -> int:
        process = piece.start(arguments)
        while process.poll() is None and not (first / "checkpoint").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        return process.wait()

    with monkeypatch.context() as patch:
        patch.setattr(piece, "run_for", until_distilling)
        code = go(monkeypatch, "--state", str(state), "--run", str(first), "--part", "1", *more)
    assert code == piece.MORE_TO_DO
    assert not (first / "distilled" / "distilled.safetensors").exists()
    shutil.rmtree(first)

    assert go(monkeypatch, "--state", str(state), "--run", str(second), *more) == 0
    assert go(monkeypatch, "--state", str(tmp_path / "other"), "--run", str(whole), *more) == 0
    for name in ("distilled", "last"):
        ours, theirs = (
            load_tensors(run / "distilled" / f"{name}.safetensors") for run in (second, whole)
        )
        assert all((ours[key] == theirs[key]).all() for key in theirs)
    accuracies = [
        [record["accuracies"] for record in read_json(run / "evaluation.json")]
        for run in (second, whole)
    ]
    assert accuracies[0] == accuracies[1]


def test_time_is_kept_and_parts_are_small(tmp_path: Path) -> None:
    run, state, other = tmp_path / "run", tmp_path / "state", tmp_path / "other"
    (run / "checkpoint").mkdir(parents=True)
    (run / "trajectories").mkdir()
    (run / "trajectories" / "teacher").write_bytes(b"large")
    (run / "checkpoint" / "state").write_bytes(bytes(range(256)) * 100)
    piece.pack(run, state, 10_000)
    piece.pack(run, state, 12_000)  # a later piece replaces what was there
    assert [path.stat().st_size <= 12_000 for path in piece.parts(state)].count(True) >= 3
    piece.unpack(state, other)
    assert (other / "checkpoint" / "state").read_bytes() == bytes(range(256)) * 100
    assert not (other / "trajectories").exists()
    began = time.monotonic()
    assert piece.run_for(0.5, ["digits", "--out", str(tmp_path / "never")]) == piece.INTERRUPTED
    assert time.monotonic() - began < 60


def test_what_datm_refuses_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = "--state", str(tmp_path / "s"), "--run", str(tmp_path / "r"), "--no.such", "1"
    assert go(monkeypatch, *given) == 2
    assert not (tmp_path / "r").exists()
