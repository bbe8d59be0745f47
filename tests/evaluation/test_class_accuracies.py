"""Accuracy class by class, and its mean where classes have unequal numbers of test images."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluations import CONFIG, made_up_set, spied

from datm.data import DataSet, Split
from datm.evaluation import evaluate
from datm.evaluation.trainer import Judge
from datm.networks import make_network
from datm.runtime.files import read_json, write_json
from small_jobs import Interrupt

FEW = replace(CONFIG, baselines=("full",), learning_rates=(0.1,))


def uneven(split: Split) -> Split:
    """No image of class 9, one of class 8, all of the others."""
    rows = [n for n, k in enumerate(split.labels.tolist()) if k < 8]
    one = int((split.labels == 8).nonzero()[0])
    return split.select(torch.tensor([*rows, one]))


@pytest.mark.parametrize("balanced", [True, False])
def test_means_over_networks_image_by_image(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch, balanced: bool
) -> None:
    data = digits if balanced else replace(digits, test=uneven(digits.test))
    spy = spied(monkeypatch)
    records = evaluate(made_up_set(data), data, config=FEW)
    network = make_network(records[0]["model"], data.shape, 10)
    trainings = iter(spy.trainings)
    for record in records:
        shares: list[list[float]] = [[] for _ in range(10)]
        for _ in range(3):
            scores = network(next(trainings)["params"], data.transform(data.test.images))
            for number in range(10):
                mine = [
                    float(int(row.argmax()) == number)
                    for row, label in zip(scores, data.test.labels, strict=True)
                    if label == number
                ]
                shares[number] += [statistics.fmean(mine)] if mine else []
        expected = [pytest.approx(statistics.fmean(s)) if s else None for s in shares]
        assert record["per_class"] == expected
        present = [share for share in record["per_class"] if share is not None]
        if balanced:
            assert "balanced" not in record
            assert record["mean"] == pytest.approx(statistics.fmean(present))
        else:
            assert record["per_class"][9] is None
            assert record["balanced"] == pytest.approx(statistics.fmean(present))
            assert record["balanced"] != pytest.approx(record["mean"])


def test_scores_in_closed_form(digits: DataSet) -> None:
    labels = torch.tensor([0, 0, 0, 2])
    data = replace(digits, classes=("a", "b", "c"))
    judge = Judge(data, Split(digits.test.images[:4], labels))
    scores = torch.eye(3)[[0, 0, 1, 2]]
    judged = judge(scores)
    assert judged.accuracy == 0.75
    assert judged.per_class == [2 / 3, None, 1.0]
    assert not judge.balanced
    assert Judge(data, Split(digits.test.images[:2], torch.tensor([0, 2]))).balanced


@pytest.mark.parametrize("tail", [True, False])
def test_rates_are_chosen_by_class_where_only_the_test_images_are_balanced(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch, tail: bool
) -> None:
    """What stands in the record is recomputed from the networks that were trained."""
    data = replace(digits, validation=uneven(digits.validation)) if tail else digits
    assert data.validates_by_class == tail
    spy = spied(monkeypatch)
    [*_, full] = evaluate(made_up_set(data), data, config=replace(FEW, learning_rates=(0.01, 0.1)))
    network = make_network(full["model"], data.shape, 10)
    images, labels = data.transform(data.validation.images), data.validation.labels
    expected = []
    for training in spy.trainings[3:5]:  # after the distilled set's three networks
        hits = (network(training["params"], images).argmax(1) == labels).double()
        shares = [float(hits[labels == k].mean()) for k in range(10) if (labels == k).any()]
        expected.append(statistics.fmean(shares) if tail else float(hits.mean()))
    chosen = full["protocol"]["learning_rates_on_validation"]
    assert list(chosen.values()) == pytest.approx(expected)


def test_continued_means_are_those_of_an_uninterrupted_evaluation(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spied(monkeypatch)
    path = tmp_path / "evaluation.json"
    with pytest.raises(KeyboardInterrupt):
        evaluate(made_up_set(digits), digits, config=FEW, out=path, console=Interrupt(2))
    found = evaluate(made_up_set(digits), digits, config=FEW, out=path)
    whole = evaluate(made_up_set(digits), digits, config=FEW)
    assert [r["per_class"] for r in found] == [r["per_class"] for r in whole]


def test_records_from_before_there_were_classes_are_read_and_continued(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spied(monkeypatch)
    path = tmp_path / "evaluation.json"
    evaluate(made_up_set(digits), digits, config=replace(FEW, seeds=2), out=path)
    old = [{k: v for k, v in r.items() if k != "per_class"} for r in read_json(path)]
    write_json(path, old)
    same = evaluate(made_up_set(digits), digits, config=replace(FEW, seeds=2), out=path)
    assert same == old
    longer = evaluate(made_up_set(digits), digits, config=FEW, out=path)
    # Of one network in three no mean could be told: there is none.
    assert all("per_class" not in record for record in longer)
    assert all(len(record["accuracies"]) == 3 for record in longer)
    json.dumps(longer)
