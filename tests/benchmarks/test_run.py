"""The benchmark run as a person runs it, on toy sizes: cut short, continued, refused."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from run import run_apart, warm
from speed.cases import Case
from speed.records import Records

from datm.errors import InputError

ENVIRONMENT = {
    "cpu": "Abacus",
    "gpus": [],
    "cores": 2,
    "threads": 2,
    "device": "cpu",
    "commit": "a",
    "versions": {"torch": "2.11"},
}
RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


def run(*arguments: str) -> str:
    command = [sys.executable, str(RUN), "--quick", "--seconds", "0", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_kind_runs_and_a_cut_run_continues(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    run("--out", str(out), "--cases", "match/tes*", "teach/ours*")
    header, *records = lines(out)
    assert [record["name"].split("/")[0] for record in records] == ["match", "teach"]
    assert all(record["peak_bytes"] > 0 for record in records)

    whole = out.read_text()
    out.write_text(whole[: whole.rindex('"case"')])  # killed while it wrote the last record
    run("--out", str(out), "--cases", "match/tes*", "teach/ours*")
    again = lines(out)
    assert again[:2] == [header, records[0]]
    assert [record["name"] for record in again[2:]] == [records[1]["name"]]
    page = out.with_suffix(".md").read_text()
    assert page.count("## ") == 2
    assert "failed" not in page


def test_other_kinds_run(tmp_path: Path) -> None:
    run("--out", str(tmp_path), "--cases", "ceil*", "error*", "evaluate/eager*", "iter*")
    (out,) = tmp_path.glob("matching_speed_quick_*.jsonl")
    _, ceilings, error, iteration, evaluation = lines(out)
    assert ceilings["float32"] > 0
    assert error["errors"]["ours-exact/float32"]["images"] < 1e-4
    assert error["errors"]["tesla/float32"]["images"] > 1e-3
    assert iteration["seconds_per_step"] > 0
    assert evaluation["seconds_per_step"] > 0


def test_what_several_cases_share_is_compiled_once_before_any_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An iteration and a gradient of other steps share functions; baselines compile nothing."""
    asked: list[tuple[str, float]] = []

    def apart(case: Case, options: argparse.Namespace, memory: float) -> dict[str, Any]:
        asked.append((case.name, options.seconds))
        return {}

    monkeypatch.setattr("run.run_apart", apart)
    sizes = {"batch": 10, "steps": 10}
    cases = [
        Case("match", "ours-exact", **sizes),
        Case("match", "ours-exact", batch=10, steps=80),
        Case("iteration", "ours-exact", **sizes),
        Case("match", "ours-exact", "bfloat16", **sizes),
        Case("match", "ours-exact", batch=100, steps=10),
        Case("match", "tesla", **sizes),
        Case("ceilings"),
        Case("teach", "ours", batch=256, steps=6),
    ]
    warm(cases, argparse.Namespace(warm=3, seconds=15.0, repeats=5), 1e9)
    names = sorted(name for name, _ in asked)
    assert names == [
        "iteration/ours-exact/float32/K10-B10-N10",
        "match/ours-exact/bfloat16/K10-B10-N10",
        "match/ours-exact/float32/K10-B100-N10",
        "teach/ours/float32/K10-B256-N6",
    ]
    assert {seconds for _, seconds in asked} == {0.0}


def test_a_case_that_breaks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('no such luck')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = argparse.Namespace(device="cpu", repeats=1, seconds=0, threads=1, timeout=60)
    record = run_apart(Case("ceilings", small=True), options, 1e9)
    assert record == {"failed": "ended with 1: no such luck"}
    options.timeout = 0.001
    record = run_apart(Case("ceilings", small=True), options, 1e9)
    assert record == {"failed": "did not end within 0 s"}


def test_only_figures_count_as_measured(tmp_path: Path) -> None:
    records = Records(tmp_path / "found.jsonl", {"environment": ENVIRONMENT})
    assert not records.measured("ceilings")
    for record in ({"skipped": "too long"}, {"failed": "ended with 1"}):
        records.append({"name": "ceilings", **record})
        assert not records.measured("ceilings")
    records.append({"name": "ceilings", "side": 3})
    again = Records(tmp_path / "found.jsonl", {"environment": ENVIRONMENT})
    assert again.measured("ceilings")
    assert again.by_name == {"ceilings": {"name": "ceilings", "side": 3}}


def test_another_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    Records(path, {"environment": ENVIRONMENT})
    changes: list[dict[str, Any]] = [
        {"cpu": "Slide rule"},
        {"commit": "b"},
        {"versions": {"torch": "2.13"}},
    ]
    for changed in changes:
        name = next(iter(changed)).replace("versions", "torch")
        with pytest.raises(InputError, match=f"other {name};"):
            Records(path, {"environment": {**ENVIRONMENT, **changed}})
