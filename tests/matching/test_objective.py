"""The student's loss: soft cross-entropy, label logits for class numbers, a prior taken off."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from matching_problems import CLASSES, SHAPE, SMALL

from datm.matching import soft_cross_entropy, student_loss
from datm.matching.objective import hard_logits
from datm.networks import make_network
from datm.runtime.seeds import generator

UNBIASED = """
from torch import nn
def make(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 7), nn.Tanh(), nn.Linear(7, classes, False))
"""


def normal(*size: int) -> torch.Tensor:
    return torch.randn(size, generator=generator(0, *size), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_hard_logits_are_one_hot_to_the_bit(dtype: torch.dtype, classes: int) -> None:
    labels = torch.tensor([0, classes - 1, 1, 1])
    probabilities = hard_logits(labels, classes).to(dtype).softmax(1)
    assert torch.equal(probabilities, F.one_hot(labels, classes).to(dtype))


def test_hard_logits_make_soft_cross_entropy_the_usual_one() -> None:
    scores, labels = normal(6, 5), torch.tensor([0, 4, 2, 2, 1, 3])
    ours = soft_cross_entropy(scores, hard_logits(labels, 5).double())
    torch.testing.assert_close(ours, F.cross_entropy(scores, labels))


def test_soft_cross_entropy_is_torchs_with_probabilities() -> None:
    scores, logits = 3 * normal(6, 5), 3 * normal(6, 5) + 7
    ours = soft_cross_entropy(scores, logits)
    torch.testing.assert_close(ours, F.cross_entropy(scores, logits.softmax(1)))


def test_soft_cross_entropy_of_certain_and_wrong_scores_is_finite() -> None:
    logits = hard_logits(torch.tensor([0]), 3)
    assert soft_cross_entropy(logits, logits) == 0
    assert soft_cross_entropy(logits.roll(1, 1), logits) == pytest.approx(1e4)


def test_student_loss_is_the_networks_soft_cross_entropy() -> None:
    network = make_network(SMALL, SHAPE, CLASSES)
    params = network.initial(generator(1)).double()
    images, logits = normal(5, *SHAPE), normal(5, CLASSES)
    expected = F.cross_entropy(network(params, images), logits.softmax(1))
    torch.testing.assert_close(student_loss(network)(params, images, logits), expected)


def test_the_corrected_loss_takes_the_log_prior_from_the_scores() -> None:
    network, prior = make_network(SMALL, SHAPE, CLASSES), torch.tensor([0.7, 0.1, 0.15, 0.05])
    params = network.initial(generator(1)).double()
    images, logits = normal(5, *SHAPE), normal(5, CLASSES)
    expected = F.cross_entropy(network(params, images) - prior.log(), logits.softmax(1))
    loss = student_loss(network, prior.log())
    torch.testing.assert_close(loss(params, images, logits), expected)
    even = student_loss(network, torch.full((CLASSES,), 1 / CLASSES).log())
    plain = student_loss(network)(params, images, logits)
    torch.testing.assert_close(even(params, images, logits), plain)


@pytest.mark.parametrize("spec", [SMALL, "unbiased:make"])
def test_a_decoupled_step_is_corrected_in_the_backbone_only(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backbone as with the prior taken off, last layer as without; a slope is along that step."""
    (tmp_path / "unbiased.py").write_text(UNBIASED)
    monkeypatch.syspath_prepend(tmp_path)
    network, prior = make_network(spec, SHAPE, CLASSES), torch.tensor([0.7, 0.1, 0.15, 0.05])
    params = network.initial(generator(1)).double()
    images, logits = normal(5, *SHAPE), normal(5, CLASSES)
    losses = [student_loss(network, *given) for given in ((prior.log(),), (), (prior.log(), True))]
    corrected, plain, ours = (loss.gradient(params, images, logits) for loss in losses)
    head = network.layout.classifier
    assert head % CLASSES == 0
    torch.testing.assert_close(ours[0], torch.cat([corrected[0][:-head], plain[0][-head:]]))
    assert ours[1] == corrected[1]
    direction = normal(len(params))
    slope = losses[-1].slope(params, images, logits, direction)
    torch.testing.assert_close(slope, ours[0] @ direction)
