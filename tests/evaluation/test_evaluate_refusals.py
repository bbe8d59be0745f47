"""What cannot be evaluated is refused, in a sentence that says what does not fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluations import CONFIG, made_up_set, spied
from pydantic import ValidationError

from datm.data import DataSet
from datm.errors import InputError
from datm.evaluation import EvaluateConfig, evaluate
from small_jobs import NETWORK


@pytest.mark.parametrize("wrong", ["classes", "shape", "no test images", "seeds", "model"])
def test_what_does_not_fit_is_refused_before_any_training(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    spy = spied(monkeypatch)
    distilled = made_up_set(digits)
    data, seeds, models = digits, None, None
    if wrong == "classes":
        data = replace(digits, classes=(*digits.classes[:-1], "ten"))
        message = (
            r"^data: digits has 10 classes of \(1, 8, 8\) images, .* give the data it was made"
        )
    elif wrong == "shape":
        distilled.images = distilled.images[..., :7]
        message = r"^data: digits has .* the distilled set 10 of \(1, 8, 7\)"
    elif wrong == "no test images":
        data = replace(digits, test=digits.test.select(torch.arange(0)))
        message = "^data: digits has no test images"
    elif wrong == "seeds":
        seeds, message = 0, "^seeds: 0 "
    else:
        models, message = [NETWORK, "convnet-11"], r"^network: .*convnet-1 to -6"
    with pytest.raises(InputError, match=message):
        evaluate(distilled, data, models, seeds, config=CONFIG, out=tmp_path / "evaluation.json")
    assert not spy.trainings
    assert not (tmp_path / "evaluation.json").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rates": (0.1, 0.0)},
        {"learning_rates": ()},
        {"random_multiples": (1,)},
        {"augmentation": "blur"},
        {"baselines": ("herd",)},
        {"seeds": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((InputError, ValidationError), match=next(iter(changes))):
        EvaluateConfig(**changes)
