"""A distillation that goes on from an earlier set, and what it leaves to readers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datm.data import DataSet
from datm.distillation import DistilledSet, distill, job
from datm.distillation.loop import initial_set
from datm.errors import InputError
from datm.runtime.files import load_tensors
from datm.teaching import Trajectories
from small_jobs import DISTILL, tree


@pytest.fixture
def earlier(digits: DataSet, teachers: Trajectories, tmp_path: Path) -> Path:
    distill(digits, teachers, DISTILL, out=tmp_path / "earlier")
    return tmp_path / "earlier" / "distilled"


def test_its_images_and_labels_are_gone_on_from(
    digits: DataSet, teachers: Trajectories, earlier: Path, tmp_path: Path
) -> None:
    """The step size is the settings'; what the earlier set is, the new one says."""
    config = replace(DISTILL, begin_with=str(earlier), step_size=0.07)
    found = distill(digits, teachers, config, out=tmp_path / "later")
    there, begun = DistilledSet.load(earlier), initial_set(found, tmp_path / "later" / "distilled")
    assert begun is not None
    assert torch.equal(begun.images, there.images)
    assert torch.equal(begun.logits, there.logits)
    assert begun.step_size == pytest.approx(0.07)
    said = found.meta["begun_with"]
    assert said["fingerprint"] == there.fingerprint()
    assert said["recipe"] == there.recipe
    assert said["iterations"] == DISTILL.iterations
    assert "begun_with" not in there.meta


def test_hard_labels_stay_hard(
    digits: DataSet, teachers: Trajectories, earlier: Path, tmp_path: Path
) -> None:
    config = replace(DISTILL, begin_with=str(earlier), labels="hard")
    found = distill(digits, teachers, config)
    assert torch.equal(found.logits.softmax(1), torch.eye(10))


def test_a_stopped_run_continues_from_its_own_checkpoint_wherever_the_set_lies(
    digits: DataSet, teachers: Trajectories, earlier: Path, tmp_path: Path
) -> None:
    """What counts is the set's content: moved it is the same, another one is another run."""
    config = replace(DISTILL, begin_with=str(earlier))
    distill(digits, teachers, config, out=tmp_path / "whole")
    distill(digits, teachers, replace(config, iterations=3), out=tmp_path / "halves")
    moved = earlier.rename(tmp_path / "moved")
    config = replace(config, begin_with=str(moved))
    distill(digits, teachers, config, out=tmp_path / "halves")
    name = "distilled/last.safetensors"
    assert tree(tmp_path / "whole")[name] == tree(tmp_path / "halves")[name]
    other = distill(digits, teachers, replace(DISTILL, iterations=1), out=tmp_path / "other")
    assert other.fingerprint() != DistilledSet.load(moved).fingerprint()
    config = replace(config, begin_with=str(tmp_path / "other" / "distilled"))
    with pytest.raises(InputError, match="belongs to another distillation"):
        distill(digits, teachers, config, out=tmp_path / "halves")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ipc": 2}, r"has 1 images per class, distill\.ipc is 2"),
        ({"begin_with": "nowhere"}, r"nowhere: holds no distilled\.json"),
    ],
)
def test_a_set_that_does_not_fit(
    digits: DataSet,
    teachers: Trajectories,
    earlier: Path,
    tmp_path: Path,
    changed: dict[str, object],
    words: str,
) -> None:
    config = replace(DISTILL, **{"begin_with": str(earlier), **changed})
    with pytest.raises(InputError, match=words):
        distill(digits, teachers, config, out=tmp_path / "later")
    assert not (tmp_path / "later").exists()


def test_a_set_of_other_data(
    digits: DataSet, teachers: Trajectories, earlier: Path, tmp_path: Path
) -> None:
    path = earlier / "distilled.json"
    path.write_text(path.read_text().replace(digits.fingerprint, "0" * 64))
    config = replace(DISTILL, begin_with=str(earlier))
    with pytest.raises(
        InputError, match=r"was distilled from other data \(fingerprint '0+\.\.\. there"
    ):
        distill(digits, teachers, config, out=tmp_path / "later")


def test_readers_may_have_another_rate_than_the_students(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The iterates are the same; validation and the set's own step size are the readers'."""
    rates = []
    train = job.train_network

    def recorded(*arguments: Any) -> torch.Tensor:
        rates.append(arguments[4].learning_rate)
        return train(*arguments)

    monkeypatch.setattr(job, "train_network", recorded)
    plain = distill(digits, teachers, DISTILL, out=tmp_path / "plain")
    learned = rates.copy()
    rates.clear()
    found = distill(digits, teachers, replace(DISTILL, reader_lr=0.03), out=tmp_path / "own")
    assert learned != [0.03] * len(learned)
    assert rates == [0.03] * len(learned)
    assert found.step_size == pytest.approx(0.03)
    assert found.step_size != plain.step_size
    plain_last, last, initial = (
        load_tensors(tmp_path / f"{name}.safetensors")
        for name in ("plain/distilled/last", "own/distilled/last", "own/distilled/initial")
    )
    assert torch.equal(last["images"], plain_last["images"])
    assert float(last["step_size"]) == float(initial["step_size"]) == pytest.approx(0.03)
