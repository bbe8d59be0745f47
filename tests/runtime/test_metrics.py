"""Metrics with TensorBoard events beside them, and without TensorBoard."""

import sys
import time
from pathlib import Path

import pytest

from datm.runtime import metrics
from datm.runtime.files import read_json_lines
from datm.runtime.logs import PlainConsole


def test_numbers_become_curves_and_a_resumed_run_replaces_them(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    log = metrics.Metrics(tmp_path / "metrics.jsonl")
    for i in range(4):
        log.append({"iteration": i, "loss": i / 4, "skipped": False, "segments": [[0, 1, 0.5]]})
    log.close()
    time.sleep(1.1)  # event files are read in the order of the whole second in their names
    log = metrics.Metrics(tmp_path / "metrics.jsonl", iteration=1)
    log.append({"iteration": 2, "loss": 8.0})
    log.close()
    assert [r["loss"] for r in read_json_lines(tmp_path / "metrics.jsonl")] == [0, 0.25, 8.0]
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(0, 0), (1, 0.25), (2, 8.0)]


def test_without_tensorboard_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setattr(metrics, "_said_missing", False)
    for name in ("a", "b"):
        log = metrics.Metrics(tmp_path / name / "m.jsonl", console=PlainConsole(sys.stdout))
        log.append({"iteration": 1, "loss": 0.5})
        log.close()
        assert read_json_lines(tmp_path / name / "m.jsonl") == [{"iteration": 1, "loss": 0.5}]
        assert not (tmp_path / name / "tensorboard").exists()
    out = capsys.readouterr().out
    assert out.count("TensorBoard is not installed") == 1
    assert "pip install 'datm[tensorboard]'" in out
