"""The record of what a run ran on."""

import json
import platform
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
import torch

from datm.runtime import environment
from datm.runtime.environment import describe_environment


def test_record_names_versions_hardware_time_and_seed() -> None:
    record = describe_environment(seed=7)
    assert json.loads(json.dumps(record)) == record
    assert record["seed"] == 7
    assert record["versions"]["python"] == platform.python_version()
    assert record["versions"]["torch"] == torch.__version__
    assert record["threads"] == torch.get_num_threads()
    assert datetime.fromisoformat(record["time"]).utcoffset().total_seconds() == 0
    assert len(record["gpus"]) == torch.cuda.device_count()


def test_commit_is_the_checkouts_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "datm"
    module = package / "runtime" / "environment.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    monkeypatch.setattr(environment, "__file__", str(module))
    assert environment._commit() is None

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    assert environment._commit() == git("rev-parse", "HEAD")
    module.write_text("changed")
    assert environment._commit() == git("rev-parse", "HEAD") + "+changes"

    elsewhere = tmp_path / "lib" / "datm" / "runtime" / "environment.py"
    elsewhere.parent.mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(elsewhere))
    assert environment._commit() is None
