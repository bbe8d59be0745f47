"""The baselines compute what they are said to: the library's gradients, and its training steps."""

from dataclasses import replace

import pytest
import torch
from speed import baselines, training
from speed.baselines import Gradient
from speed.cases import Case
from speed.matching import drawn, make_matcher, make_segment
from torch import Tensor

from datm.matching import match_gradient, student_loss
from datm.networks import make_network

CASE = Case("match", batch=4, steps=5, classes=7, small=True)


def difference(ours: Tensor, theirs: Tensor) -> float:
    assert theirs.norm() > 0
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("method", ["unrolled", "tesla"])
@pytest.mark.parametrize("augmented", [False, True])
def test_gradients_are_the_librarys(method: str, augmented: bool) -> None:
    """The library's `unrolled` is tested on its own; here another network, written anew."""
    segment = make_segment(CASE, "cpu").double()
    augment = drawn(CASE, "cpu") if augmented else None
    ours = make_matcher(replace(CASE, how=method))(segment, augment)
    loss = student_loss(make_network("convnet-3,width=8", (3, 8, 8), CASE.classes))
    theirs = match_gradient(loss, *segment, method=method, augment=augment)
    expected = theirs.loss, theirs.images_grad, theirs.logits_grad, theirs.step_size_grad
    for name, found, true in zip(Gradient._fields, ours, expected, strict=True):
        assert difference(found, true) < 1e-10, name


def test_the_two_baselines_differ() -> None:
    """Else the test above could not tell one from the other."""
    segment = make_segment(CASE, "cpu").double()
    unrolled, tesla = (
        make_matcher(replace(CASE, how=how))(segment, None) for how in ("unrolled", "tesla")
    )
    assert difference(tesla.loss, unrolled.loss) < 1e-10
    for name in ("images", "logits", "step_size"):
        assert difference(getattr(tesla, name), getattr(unrolled, name)) > 1e-3, name


@pytest.mark.parametrize("how", ["ours-exact", "ours-exact-eager"])
def test_ours_is_the_exact_gradient(how: str) -> None:
    segment = make_segment(CASE, "cpu").double()
    ours, unrolled = (
        make_matcher(replace(CASE, how=name))(segment, None) for name in (how, "unrolled")
    )
    for name, found, true in zip(Gradient._fields, ours, unrolled, strict=True):
        assert difference(found, true) < 1e-10, name


@pytest.mark.parametrize("kind", ["teach", "evaluate"])
def test_both_sides_of_a_training_case_take_the_same_steps(kind: str) -> None:
    case = Case(kind, "ours", batch=6, steps=4, small=True)
    works = {"teach": training.teaching, "evaluate": training.evaluation}
    (_, ours), (_, eager) = (
        works[kind](replace(case, how=how), "cpu") for how in ("ours", "eager")
    )
    start = training._network(case, "cpu")[2]
    found, expected = ours(), eager()
    assert isinstance(found, Tensor)
    assert isinstance(expected, Tensor)
    assert difference(found - start, expected - start) < 1e-3


def test_parameters_stand_in_the_librarys_order() -> None:
    shapes = baselines.parameter_shapes(3, 128, 3, 32, 10)
    layout = make_network("convnet-3", (3, 32, 32), 10).layout
    assert tuple(shapes) == layout.shapes
    flat = torch.arange(layout.total)
    views = baselines.views(flat, shapes)
    assert all(torch.equal(a, b) for a, b in zip(views, layout.unflatten(flat), strict=True))
