"""Real images in the outer loss: the same adjoint from another beginning."""

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


def outer(segment: Segment, share: float, distance: Distance | None = None) -> DataLoss:
    return DataLoss(distance or Distance(), share, Student(segment.loss), *real(0))


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("nearest", [False, True])
def test_the_exact_gradient_is_the_unrolled_one(share: float, nearest: bool) -> None:
    segment = random_segment(0, steps=4, batch=3)
    loss = outer(segment, share, Distance(nearest=nearest))
    ours, theirs = (segment.match(method, distance=loss) for method in ("exact", "unrolled"))
    torch.testing.assert_close(ours.loss, theirs.loss)
    for name in GRADIENTS:
        assert difference(getattr(ours, name), getattr(theirs, name)) < 1e-10, name


def test_the_loss_is_the_mean_of_the_matching_loss_and_the_cross_entropy() -> None:
    """The latter by hand: minus the log of the probability of every image's class, over log K."""
    segment = random_segment(1, steps=2, batch=3)
    plain, found = segment.match("exact"), segment.match("exact", distance=outer(segment, 0.25))
    images, logits = real(0)
    scores = make_network(SMALL, SHAPE, CLASSES)(found.student, images)
    chosen = scores.log_softmax(1)[torch.arange(len(images)), logits.argmax(1)]
    expected = 0.75 * plain.loss - 0.25 * chosen.mean() / math.log(CLASSES)
    torch.testing.assert_close(found.loss, expected)


def test_a_share_of_zero_is_the_matching_loss() -> None:
    segment = random_segment(2, steps=2, batch=3)
    plain, found = segment.match("exact"), segment.match("exact", distance=outer(segment, 0))
    for name in ("loss", *GRADIENTS):
        torch.testing.assert_close(getattr(found, name), getattr(plain, name))


def test_whoever_guesses_has_a_loss_of_one() -> None:
    """All parameters zero: every class is as likely, whatever the images."""
    segment = random_segment(3, steps=1, batch=3)
    network = make_network(SMALL, SHAPE, CLASSES)
    nothing = torch.zeros(network.layout.total, dtype=torch.float64)
    loss, _ = outer(segment, 1).gradient(nothing, segment.start, segment.target)
    torch.testing.assert_close(loss, torch.ones((), dtype=torch.float64))


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
        torch.stack([own.target for own in alone]),
        shared.images,
        shared.logits,
        shared.step_size,
        torch.stack([own.batches for own in alone]),
        method,
        distance=DataLoss(
            Distance(), 0.5, loss, *(torch.stack(parts) for parts in zip(*reals, strict=True))
        ),
    )
    for side, (own, images) in enumerate(zip(alone, reals, strict=True)):
        expected = own.match(method, distance=DataLoss(Distance(), 0.5, loss, *images))
        for name in ("loss", *GRADIENTS):
            torch.testing.assert_close(getattr(together, name)[side], getattr(expected, name))
