"""The first look at a GPU, tried on toy sizes on a CPU: every part, and that it finds a fault."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu import check as checking
from gpu.check import check
from gpu.problems import Place, random_problem
from gpu.waits import noted
from torch import Tensor

from datm import augment
from datm.matching import Student, student_loss
from datm.matching.objective import NetworkLoss

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu_profile.py"
PLACE = Place("cpu", quick=True)


def test_every_part_runs() -> None:
    parts = ["check", "syncs", "convs", "profile"]
    command = [sys.executable, str(PROGRAM), *parts, "--device", "cpu", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found = done.stdout
    assert "float32, 3 side by side, turn 4, step_size_grad: " in found
    assert "all right" in found
    assert "waits in distilling for 10 iterations:" in found
    assert "4->8 at 8, 2 groups, float32: nchw " in found
    assert "ms per inner step" in found


def test_a_result_of_other_data_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where an input is baked into a graph: from the third call on, the second's images."""

    class Stale(Student):
        def gradient(self, params: Tensor, images: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
            return super().gradient(params, self.stale("gradient", images), logits)

        def descend(self, params: Tensor, velocity: Tensor, images: Tensor, *others: Any) -> Any:
            return super().descend(params, velocity, self.stale("descend", images), *others)

        def stale(self, function: str, images: Tensor) -> Tensor:
            known = self.__dict__.setdefault("seen", {})
            seen = known.setdefault((function, images.shape), [])
            seen.append(images)
            return seen[min(len(seen), 2) - 1]

    def student(loss: NetworkLoss, compile: bool | None = None) -> Student:
        return Student(loss) if compile is None else Stale(loss)

    monkeypatch.setattr(checking, "Student", student)
    assert not check(PLACE)
    printed = capsys.readouterr().out
    assert "NOT right" in printed
    wrong = {line.partition(":")[0] for line in printed.splitlines() if "WRONG" in line}
    for sides in (1, 3):
        title = f"float32, {sides} side by side"
        for name in ("gradient", "trained"):
            assert {f"{title}, turn {turn}, {name}" for turn in range(2, 5)} <= wrong
            assert f"{title}, turn 1, {name}" not in wrong
    assert not any("adjoint" in title or "scores" in title for title in wrong)


def test_waits_are_counted_by_the_line_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch warns of them, here from within an augmentation."""

    def waiting(images: Tensor, _: Tensor) -> Tensor:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=2)
        return images

    monkeypatch.setattr(augment, "OPERATIONS", dict.fromkeys(augment.OPERATIONS, waiting))
    problem = random_problem(PLACE, PLACE.network("float32"), 4, 3)
    with noted(PLACE) as places:
        problem.match(Student(student_loss(PLACE.network("float32"))))
        warnings.warn("something else", stacklevel=1)
    places_of_waits = {where.partition(":")[0] for where in places if "else" not in where}
    assert places_of_waits == {"augment.py"}
    assert places[" (something else)"] == 1


def test_problems_are_the_same_for_the_same_seed_only() -> None:
    network = PLACE.network("float32")
    first, again, other = (
        random_problem(PLACE, network, 4, 2, 3, seed).segment for seed in (0, 0, 1)
    )
    assert first.start.shape == (3, network.layout.total)
    assert first.batches.shape == (3, 2, 4)
    assert torch.equal(first.start, again.start)
    assert not torch.equal(first.images, other.images)
