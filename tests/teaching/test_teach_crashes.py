"""Teaching whose process ends at any moment, and what it writes as it goes."""

import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from same_teachers import assert_same

from datm.data import DataSet
from datm.runtime.device import Runtime
from datm.runtime.logs import Console
from datm.teaching import TeachConfig, Trajectories, teach
from small_jobs import TEACH, Steps, kill_when


class Crash(BaseException):
    """Stands for the process's end."""


def crashed(
    digits: DataSet,
    config: TeachConfig,
    parent: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    runtime: Runtime | None = None,
) -> Iterator[tuple[Path, int]]:
    """Folders where teaching ended at the first call of os.`call`, at the second, and so on.

    With each, the epochs that it had shown as done.
    """
    real = getattr(os, call)
    for crash in itertools.count():
        left, progress = crash, Steps()

        def crashing(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                raise Crash
            return real(*arguments, **options)

        folder = parent / str(crash)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, crashing)
            try:
                teach(digits, config, out=folder, runtime=runtime, console=progress)
                assert crash >= 2
                return
            except Crash:
                pass
        yield folder, max(progress.steps, default=0)


@pytest.mark.parametrize("call", ["fsync", "replace", "truncate", "unlink"])
def test_continued_after_a_crash_at_any_write_equals_uninterrupted(
    digits: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    config = replace(TEACH, epochs=2)
    whole = teach(digits, config, out=tmp_path / "whole")
    for folder, shown in crashed(digits, config, tmp_path, monkeypatch, call):
        progress = Steps()
        assert_same(teach(digits, config, out=folder, console=progress).path, whole)
        assert not progress.steps or progress.steps[0] >= shown


@pytest.mark.parametrize("call", ["fsync", "replace", "unlink"])
def test_side_by_side_a_crash_at_any_write_loses_nothing(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Three teachers, two of them at once; continued one by one, to rounding."""
    config, two = replace(TEACH, epochs=2, teachers=3), Runtime(side_by_side=2)
    whole = teach(digits, config, out=tmp_path / "whole")
    for folder, shown in crashed(digits, config, tmp_path, monkeypatch, call, two):
        progress = Steps()
        taught = teach(digits, config, out=folder, console=progress)
        assert not progress.steps or progress.steps[0] >= shown
        for number, epoch in itertools.product(range(3), range(3)):
            found, expected = (own.weights(number, epoch) for own in (taught, whole))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_an_epoch_writes_as_much_with_one_teacher_finished_as_with_none(
    digits: DataSet, tmp_path: Path
) -> None:
    """A hundred teachers' manifest takes longer to write than an epoch of the next one."""

    class Sizes(Console):
        def __init__(self) -> None:
            super().__init__()
            self.written: list[int] = []
            self.manifests: set[int] = set()

        def advance(self, done: int, **figures: Any) -> None:
            self.written.append((tmp_path / "progress.json").stat().st_size)
            self.manifests.add((tmp_path / "manifest.json").stat().st_mtime_ns)

    sizes = Sizes()
    teach(digits, TEACH, out=tmp_path, console=sizes)
    assert sizes.written[4:] == pytest.approx(sizes.written[:4], rel=0.1)
    assert len(sizes.manifests) == 2
    assert not (tmp_path / "progress.json").exists()


def test_continued_after_a_kill_equals_uninterrupted(digits: DataSet, tmp_path: Path) -> None:
    config = replace(TEACH, epochs=25)
    whole = teach(digits, config, out=tmp_path / "whole")
    folder = tmp_path / "killed"
    script = """
import sys
from dataclasses import replace
from datm.teaching import teach
from small_jobs import Steps, TEACH, small_digits
teach(small_digits(), replace(TEACH, epochs=25), out=sys.argv[1])
"""
    partial = folder / f"teacher-00{random.randrange(2)}.partial"
    row = 4 * whole.manifest["parameters"]
    rows = random.randrange(2, 15)

    def ready() -> bool:
        try:
            return partial.stat().st_size >= rows * row
        except FileNotFoundError:
            return False

    kill_when(script, ready, folder)
    assert not Trajectories.open(folder).complete
    assert_same(teach(digits, config, out=folder).path, whole)
