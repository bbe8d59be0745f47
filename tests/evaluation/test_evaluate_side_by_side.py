"""Networks trained side by side: what one at a time gives, and no training set is kept for long."""

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from evaluations import CONFIG, SpyThatForgets, made_up_set, spied

from datm.data import DataSet
from datm.data.transform import Transform
from datm.evaluation import evaluate, trainer
from datm.evaluation.train import train_networks
from datm.networks import ConvNet
from datm.runtime.device import Runtime


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_the_sets_of_networks_before_are_gone_when_the_next_are_made(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch, side_by_side: int
) -> None:
    spied(monkeypatch, SpyThatForgets())
    made, alive = [], []
    transform = Transform.__call__

    def counted(self: Transform, images: torch.Tensor) -> torch.Tensor:
        found = transform(self, images)
        if len(images) == 130:  # all real images
            alive.append(sum(other() is not None for other in made))
            made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(Transform, "__call__", counted)
    config = replace(CONFIG, baselines=("full",), learning_rates=(0.1,), seeds=4)
    runtime = Runtime(side_by_side=side_by_side)
    evaluate(made_up_set(digits), digits, config=config, runtime=runtime)
    assert alive == [0, side_by_side - 1] * 2


def test_networks_side_by_side_are_those_trained_one_at_a_time(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(side_by_side: int) -> tuple[list[int], torch.Tensor]:
        groups = []

        def spying(network: ConvNet, *arguments: Any) -> torch.Tensor:
            groups.append(train_networks(network, *arguments))
            return groups[-1]

        monkeypatch.setattr(trainer, "train_networks", spying)
        runtime = Runtime(side_by_side=side_by_side)
        config = replace(CONFIG, learning_rates=(0.1,))
        evaluate(made_up_set(digits), digits, config=config, runtime=runtime)
        return [len(group) for group in groups], torch.cat(groups)

    (_, alone), (sizes, together) = weights(1), weights(2)
    assert sizes == [2, 1, 2, 1, 2, 2, 1]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
