"""Real images as the outer loss, and truncation: the same adjoint from another beginning."""

import math
from dataclasses import replace

import pytest
import torch
from matching_problems import CLASSES, SHAPE, SMALL, Segment, difference, random_segment
from torch import Tensor

from datm.matching import DataLoss, Distance, Student, match_gradient, student_loss
from datm.matching.objective import hard_logits
from datm.networks import make_network
from datm.runtime.seeds import generator

GRADIENTS = "images_grad", "logits_grad", "step_size_grad"


def real(seed: int, count: int = 5) -> tuple[Tensor, Tensor]:
    draw = generator(seed, "real")
    images = torch.randn(count, *SHAPE, generator=draw, dtype=torch.float64)
    return images, hard_logits(torch.randint(CLASSES, (count,), generator=draw), CLASSES).double()


def outer(segment: Segment) -> DataLoss:
    return DataLoss(Student(segment.loss), *real(0))


@pytest.mark.parametrize("first", [0, 1, 3])
def test_the_exact_gradient_is_the_unrolled_one(first: int) -> None:
    segment = random_segment(0, steps=4, batch=3)
    changed = {"target": outer(segment), "first": first}
    ours, theirs = (segment.match(method, **changed) for method in ("exact", "unrolled"))
    torch.testing.assert_close(ours.loss, theirs.loss)
    for name in GRADIENTS:
        assert difference(getattr(ours, name), getattr(theirs, name)) < 1e-10, name


def test_the_loss_is_the_cross_entropy_relative_to_chance() -> None:
    """By hand: minus the log of the probability of every image's class, over log K."""
    segment = random_segment(1, steps=2, batch=3)
    found = segment.match("exact", target=outer(segment))
    images, logits = real(0)
    scores = make_network(SMALL, SHAPE, CLASSES)(found.student, images)
    chosen = scores.log_softmax(1)[torch.arange(len(images)), logits.argmax(1)]
    torch.testing.assert_close(found.loss, -chosen.mean() / math.log(CLASSES))


def test_whoever_guesses_has_a_loss_of_one() -> None:
    """All parameters zero: every class is as likely, whatever the images."""
    segment = random_segment(3, steps=1, batch=3)
    network = make_network(SMALL, SHAPE, CLASSES)
    nothing = torch.zeros(network.layout.total, dtype=torch.float64)
    loss, _ = outer(segment).gradient(nothing)
    torch.testing.assert_close(loss, torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("block", [1, 2**20])
@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("method", ["exact", "tesla", "unrolled"])
def test_truncated_it_is_the_gradient_of_a_student_that_began_later(
    method: str, nearest: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of five steps by hand, then three whole; the distance is relative to the first start."""
    monkeypatch.setattr("datm.batches.BLOCK", block)
    segment = random_segment(4, steps=5, batch=3)
    loss = Student(segment.loss)
    theta, augment = segment.start, segment.augment
    assert augment is not None
    for step in range(2):
        rows = segment.batches[step]
        gradient, _ = loss.gradient(
            theta, augment(step, segment.images[rows]), segment.logits[rows]
        )
        theta = theta - segment.step_size * gradient
    later = replace(
        segment,
        start=theta,
        batches=segment.batches[2:],
        augment=lambda step, images: augment(step + 2, images),
    )
    distance = Distance(nearest=nearest)
    whole = segment.match(method, distance=distance, first=2)
    rest = later.match(method, distance=distance)
    scale = (theta - segment.target).square().sum() / (
        segment.start - segment.target
    ).square().sum()
    torch.testing.assert_close(whole.student, rest.student)
    for name in ("loss", *GRADIENTS):
        assert difference(getattr(whole, name), scale * getattr(rest, name)) < 1e-10, name
    assert difference(whole.images_grad, segment.match(method).images_grad) > 1e-3


@pytest.mark.parametrize("method", ["exact", "tesla"])
def test_side_by_side_each_student_has_its_own_real_images(method: str) -> None:
    alone = [random_segment(seed, steps=3, batch=3) for seed in (4, 5)]
    shared = alone[0]
    alone = [
        replace(own, images=shared.images, logits=shared.logits, augment=None) for own in alone
    ]
    loss = Student(student_loss(make_network(SMALL, SHAPE, CLASSES)))
    reals = [real(seed) for seed in (4, 5)]
    together = match_gradient(
        loss,
        torch.stack([own.start for own in alone]),
        DataLoss(loss, *(torch.stack(parts) for parts in zip(*reals, strict=True))),
        shared.images,
        shared.logits,
        shared.step_size,
        torch.stack([own.batches for own in alone]),
        method,
        first=1,
    )
    for side, (own, images) in enumerate(zip(alone, reals, strict=True)):
        expected = own.match(method, target=DataLoss(loss, *images), first=1)
        for name in ("loss", *GRADIENTS):
            torch.testing.assert_close(getattr(together, name)[side], getattr(expected, name))
