"""The adjoint recursion against autograd through all steps, in float64 on random data."""

from dataclasses import replace

import pytest
import torch
from matching_problems import STRATEGY, difference, differences, random_segment

from datm import batches
from datm.augment import OPERATIONS
from datm.matching import Distance, MatchGradient

TOLERANCE = 1e-10


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("batch", [1, 3, 7])
def test_exact_equals_unrolled(steps: int, batch: int) -> None:
    """S = 7: a batch of one, batches that S is no multiple of, and as many rows as images."""
    segment = random_segment(steps, steps, batch)
    found = differences(segment.match("exact"), segment.match("unrolled"))
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("operation", [*OPERATIONS, "none"])
@pytest.mark.parametrize("steps", [2, 20])
def test_exact_equals_unrolled_under_each_augmentation(operation: str, steps: int) -> None:
    segment = random_segment(3, steps, 3, strategy=operation)
    found = differences(segment.match("exact"), segment.match("unrolled"))
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("steps_at_once", [1, 3, 7])
@pytest.mark.parametrize("nearest", [False, True])
def test_how_many_steps_are_augmented_at_once_changes_nothing(
    steps_at_once: int, nearest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = random_segment(4, 7, 3)
    oracle = segment.match("unrolled", distance=Distance(nearest=nearest))
    numbers = 3 * segment.images[0].numel()
    monkeypatch.setattr(batches, "BLOCK", steps_at_once * numbers)
    found = differences(segment.match("exact", distance=Distance(nearest=nearest)), oracle)
    assert max(found.values()) < TOLERANCE, found
    plain = replace(segment, augment=lambda step, images: segment.augment(step, images))
    found = differences(plain.match("exact", distance=Distance(nearest=nearest)), oracle)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("convnet-2,width=8,norm=batch", (3, 8, 8)),
        ("convnet-2,width=8,norm=group", (3, 8, 8)),
        ("convnet-2,width=6,norm=layer", (3, 8, 8)),
        ("convnet-2,width=6,norm=none", (3, 8, 8)),
        ("convnet-2,width=6,pooling=max", (3, 8, 8)),
        ("convnet-2,width=6,pooling=none", (3, 8, 8)),
        ("convnet-1,width=4", (1, 28, 28)),
        ("convnet-2,width=6", (1, 6, 10)),
    ],
)
def test_exact_equals_unrolled_for_every_network(spec: str, shape: tuple[int, int, int]) -> None:
    segment = random_segment(5, 4, 3, spec=spec, shape=shape)
    found = differences(segment.match("exact"), segment.match("unrolled"))
    assert max(found.values()) < TOLERANCE, found


def test_gradients_of_a_permuted_problem_are_permuted() -> None:
    segment = random_segment(8, 3, 4, strategy="none")
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    place = torch.empty_like(order)
    place[order] = torch.arange(7)
    permuted = segment.match("exact")
    moved = type(segment)(
        segment.loss,
        segment.start,
        segment.target,
        segment.images[order],
        segment.logits[order],
        segment.step_size,
        place[segment.batches],
    ).match("exact")
    assert difference(moved.images_grad, permuted.images_grad[order]) < TOLERANCE
    assert difference(moved.logits_grad, permuted.logits_grad[order]) < TOLERANCE


def test_images_in_no_batch_have_no_gradient() -> None:
    segment = random_segment(9, 5, 2)
    seen = segment.batches.unique()
    unseen = torch.tensor([row for row in range(7) if row not in seen])
    assert 0 < len(unseen) < 7
    for method in ("exact", "tesla", "unrolled"):
        gradient = segment.match(method)
        for rows in (gradient.images_grad, gradient.logits_grad):
            assert (rows[unseen] == 0).all()
            assert (rows[seen].flatten(1).norm(dim=1) > 0).all()


def test_one_step_of_tesla_is_exact() -> None:
    for batch in (3, 7):
        segment = random_segment(batch, 1, batch)
        found = differences(segment.match("tesla"), segment.match("exact"))
        assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_more_steps_of_tesla_are_not(steps: int) -> None:
    """The loss and the student are the same, the three gradients are not."""
    segment = random_segment(steps, steps, 3)
    found = differences(segment.match("tesla"), segment.match("exact"))
    assert found["loss"] < TOLERANCE
    assert found["student"] < TOLERANCE
    for name in ("images_grad", "logits_grad", "step_size_grad"):
        assert found[name] > 1e-3, found


def test_float32_agrees_with_float64() -> None:
    """To 2e-5: one rounding is 6e-8, and over 20 steps they were seen to add up to 2e-6."""
    for seed in range(3):
        segment = random_segment(seed, 20, 3, strategy=STRATEGY)
        reference = segment.match("unrolled")
        for method in ("exact", "unrolled"):
            gradient = segment.to(torch.float32).match(method)
            assert gradient.images_grad.dtype == torch.float32
            in_double = MatchGradient(*(value.double() for value in vars(gradient).values()))
            found = differences(in_double, reference)
            assert max(found.values()) < 2e-5, (method, found)
