"""Training many steps at once, recorded or not, is training step by step."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from datm import batches
from datm.augment import OPERATIONS
from datm.data import DataSet
from datm.evaluation.train import Protocol, train_networks
from datm.matching import Student, student, student_loss
from datm.networks import make_network
from datm.runtime.device import Runtime
from datm.runtime.seeds import generator
from datm.teaching import teach
from recordings import record_with_a_stand_in
from small_jobs import TEACH

PROTOCOL = Protocol(learning_rate=0.05, epochs=7, batch=6, augmentation="_".join(OPERATIONS))
NETWORK = make_network("convnet-1,width=4", (3, 8, 8), 5)


def at_once(steps: int, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BLOCK", steps * numbers)


def uncompiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A compiled student is recorded by a stand-in, and nothing is compiled."""
    monkeypatch.setattr(student, "compiled", lambda function: function)
    return record_with_a_stand_in(monkeypatch)


def trained(learner: Student, seeds: list[int]) -> Tensor:
    draw = generator(0)
    sets = [
        (torch.randn(17, 3, 8, 8, generator=draw), torch.randn(17, 5, generator=draw))
        for _ in seeds
    ]
    return train_networks(NETWORK, learner, sets, PROTOCOL, seeds)


@pytest.mark.parametrize("seeds", [[3], [3, 4]])
@pytest.mark.parametrize("steps", [1, 4, 100])
def test_networks(steps: int, seeds: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """21 steps, the second half at a lower rate, which begins within a block."""
    at_once(1, 1, monkeypatch)
    expected = trained(Student(student_loss(NETWORK)), seeds)
    at_once(steps, len(seeds) * 6 * 3 * 8 * 8, monkeypatch)
    plain = trained(Student(student_loss(NETWORK)), seeds)
    torch.testing.assert_close(plain, expected)
    recorded = uncompiled(monkeypatch)
    learner = Student(student_loss(NETWORK), compile=True)
    for _ in range(2):  # the second time all is replayed
        torch.testing.assert_close(trained(learner, seeds), expected)
    assert recorded


@pytest.mark.parametrize("steps", [1, 3, 100])
def test_teachers(
    steps: int, digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TEACH, teachers=2, epochs=3)
    ways = {"one by one": 1, "in blocks": steps * config.batch * 64}
    found = {}
    for way, numbers in ways.items():
        at_once(1, numbers, monkeypatch)
        found[way] = teach(digits, config, out=tmp_path / way)
    recorded = uncompiled(monkeypatch)
    found["recorded"] = teach(
        digits, config, out=tmp_path / "recorded", runtime=Runtime(compile=True)
    )
    assert recorded
    for number in range(2):
        expected = found["one by one"].weights(number, 3)
        for way in ("in blocks", "recorded"):
            torch.testing.assert_close(found[way].weights(number, 3), expected)
