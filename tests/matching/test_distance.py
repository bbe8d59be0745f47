"""The outer loss: by hand, and with parts left out against autograd through all steps."""

from dataclasses import fields, replace

import pytest
import torch
from matching_problems import Segment, differences, random_segment

from datm.errors import InputError
from datm.matching import (
    Distance,
    MatchConfig,
    MatchGradient,
    Span,
    make_distance,
    match_gradient,
    matching_loss,
    student_loss,
)
from datm.networks import make_network
from datm.networks.functional import Layout

START, TARGET = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([3.0, 0.0, 0.0])
STUDENT = torch.tensor([3.0, 1.0, 1.0])
LAYOUT = Layout(("a", "b", "c"), ((4,), (2, 2), (2,)), classifier=2)


def test_matching_loss() -> None:
    """Worked by hand: 1 unmoved, 0 arrived, 1/4 half-way, 4 as far again on the other side."""
    for share, loss in ((0.0, 1.0), (1.0, 0.0), (0.5, 0.25), (-1.0, 4.0)):
        student = START + share * (TARGET - START)
        assert matching_loss(student, START, TARGET) == pytest.approx(loss)
    # |(3, 1, 1) - target|^2 / |start - target|^2 = (0 + 1 + 1) / (4 + 4 + 1)
    assert matching_loss(STUDENT, START, TARGET) == pytest.approx(2 / 9)


def test_the_plain_distance_is_the_matching_loss() -> None:
    assert Distance()(STUDENT, START, TARGET) == pytest.approx(2 / 9)


def test_each_span_is_relative_to_the_teachers_way_in_it() -> None:
    """2 * (0 + 1) / (4 + 4), and 3 * 4 / 1 more; the spans need not cover all."""
    first, last = Span(0, 2, 2.0), Span(2, 3, 3.0)
    assert Distance((first,))(STUDENT, START, TARGET) == pytest.approx(2 / 8)
    student = torch.tensor([3.0, 1.0, 2.0])
    assert Distance((first, last))(student, START, TARGET) == pytest.approx(2 / 8 + 12)
    stacked = torch.stack([student, START])
    found = Distance((first, last))(stacked, START.expand(2, -1), TARGET.expand(2, -1))
    torch.testing.assert_close(found, torch.tensor([12.25, 5.0]))


def test_the_nearest_parameters_are_left_out_above_the_line() -> None:
    student = torch.tensor([3.0, 1.0, 2.0])  # squared differences 0, 1, 4 of 9
    for lowest, loss in ((0, 5 / 9), (1, 5 / 9), (2, 4 / 9)):
        assert Distance(lowest=lowest)(student, START, TARGET) == pytest.approx(loss)


def test_of_two_spans_the_least_shares_are_left_out() -> None:
    """Shares 2 * (0, 1) / 8 and 3 * 1 / 1: without the two least of the three, 3 is left."""
    student = torch.tensor([3.0, 1.0, 1.0])
    spans = Span(0, 2, 2.0), Span(2, 3, 3.0)
    assert Distance(spans, lowest=2)(student, START, TARGET) == pytest.approx(3.0)


def test_nearest_is_by_the_sum_of_absolute_differences() -> None:
    """Of (0, 0) + each place, the target (1, 1): L1 finds the second, Euclid the third."""
    places = [torch.tensor(p) for p in ([1.0, 1.0], [1.0, 2.9], [2.0, 2.0], [5.0, 5.0])]
    target = torch.ones(2)
    assert Distance().ends(places, target) == [3]
    assert Distance(nearest=True).ends(places, target) == [1]
    stacked = [torch.stack([place, place.flip(0) + 4]) for place in places]
    targets = torch.stack([target, torch.tensor([6.0, 6.0])])
    assert Distance(nearest=True).ends(stacked, targets) == [1, 2]


@pytest.mark.parametrize(
    ("given", "spans", "lowest"),
    [
        ({}, None, 0),
        ({"skip_depth": 0.5}, (Span(5, 10),), 0),
        ({"skip_lowest": 0.3}, None, 3),
        ({"skip_depth": 0.5, "skip_lowest": 0.4}, (Span(5, 10),), 2),
        (
            {"backbone_weight": 0.1, "classifier_weight": 1},
            (Span(0, 8, 0.1), Span(8, 10, 1.0)),
            0,
        ),
        (
            {"backbone_weight": 1, "classifier_weight": 2, "skip_depth": 0.1},
            (Span(1, 8, 1.0), Span(8, 10, 2.0)),
            0,
        ),
        ({"backbone_weight": 0, "classifier_weight": 2, "skip_depth": 0.9}, (Span(9, 10, 2.0),), 0),
    ],
)
def test_the_settings_say_what_counts(given, spans, lowest) -> None:
    made = make_distance(MatchConfig(**given), LAYOUT)
    assert made == Distance(spans, lowest)
    assert make_distance(MatchConfig(nearest=True), LAYOUT).nearest


@pytest.mark.parametrize(
    "given",
    [
        {"backbone_weight": 1, "classifier_weight": 0, "skip_depth": 0.8},
        {"backbone_weight": 1, "classifier_weight": 1, "skip_depth": 0.8},
        {"skip_depth": 0.96},
        {"skip_lowest": 0.96},
    ],
)
def test_a_part_of_which_nothing_is_left_is_refused(given) -> None:
    with pytest.raises(InputError, match="leaves nothing of a part that is to be matched"):
        make_distance(MatchConfig(**given), LAYOUT)


def test_weights_that_leave_nothing_or_stand_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing to match"):
        MatchConfig(backbone_weight=0, classifier_weight=0)
    with pytest.raises(ValueError, match="go together"):
        MatchConfig(classifier_weight=1)


def test_weights_of_a_classifier_that_is_not_there_are_refused() -> None:
    headless = Layout(("a",), ((4,),))
    with pytest.raises(InputError, match="classifier_weight: the network has no linear layer"):
        make_distance(MatchConfig(backbone_weight=1, classifier_weight=2), headless)
    assert make_distance(MatchConfig(skip_depth=0.5), headless).spans == (Span(2, 4),)


def passing_by(segment: Segment, steps: int) -> Segment:
    """The segment with a target beside the place where the student is after `steps`."""
    there = replace(segment, batches=segment.batches[:steps]).match("unrolled").student
    return replace(segment, target=there + 1e-3 * (segment.target - segment.start))


DISTANCES = [
    {"spans": (Span(30, 200, 0.3), Span(200, 240, 2.0))},
    {"lowest": 100},
    {"nearest": True},
    {"spans": (Span(30, 240),), "lowest": 50, "nearest": True},
]


@pytest.mark.parametrize("given", DISTANCES, ids=lambda given: "+".join(given))
def test_exact_equals_unrolled_for_every_distance(given) -> None:
    segment = passing_by(random_segment(0, 6, 3), 4)
    distance = Distance(**given)
    ours, oracle = (segment.match(method, distance=distance) for method in ("exact", "unrolled"))
    found = differences(ours, oracle)
    assert max(found.values()) < 1e-10, found
    assert not torch.allclose(ours.loss, segment.match("exact").loss)


def test_steps_after_the_nearest_have_no_effect() -> None:
    segment = passing_by(random_segment(1, 6, 3), 4)
    nearest = segment.match("exact", distance=Distance(nearest=True))
    shorter = replace(segment, batches=segment.batches[:4]).match("exact")
    assert max(differences(nearest, shorter).values()) < 1e-12
    tesla = segment.match("tesla", distance=Distance(nearest=True))
    assert max(differences(tesla, nearest).values()) > 1e-3


def test_side_by_side_each_student_has_its_own_nearest_step() -> None:
    first = random_segment(0, 5, 3)
    shared = {name: getattr(first, name) for name in ("images", "logits", "step_size", "augment")}
    segments = [
        passing_by(replace(random_segment(seed, 5, 3), **shared), seed + 2) for seed in (0, 1, 2)
    ]
    distance = Distance(nearest=True)

    def augment(step: int, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([first.augment(step, own) for own in images])

    whole = match_gradient(
        first.loss,
        torch.stack([segment.start for segment in segments]),
        torch.stack([segment.target for segment in segments]),
        first.images,
        first.logits,
        first.step_size,
        torch.stack([segment.batches for segment in segments]),
        augment=augment,
        distance=distance,
    )
    for number, segment in enumerate(segments):
        own = MatchGradient(*(getattr(whole, field.name)[number] for field in fields(whole)))
        found = differences(own, segment.match("exact", distance=distance))
        assert max(found.values()) < 1e-10, found


PRIOR = torch.tensor([0.7, 0.1, 0.15, 0.05]).log().double()


@pytest.mark.parametrize("decoupled", [False, True])
def test_exact_equals_unrolled_with_the_prior_taken_off(decoupled: bool) -> None:
    segment = random_segment(2, 5, 3)
    network = make_network("convnet-2,width=6", (3, 8, 8), 4)
    loss = student_loss(network, PRIOR, decoupled)
    ours, oracle = (segment.match(method, loss=loss) for method in ("exact", "unrolled"))
    assert max(differences(ours, oracle).values()) < 1e-10
    assert max(differences(ours, segment.match("exact")).values()) > 1e-3
    if decoupled:
        whole = segment.match("exact", loss=student_loss(network, PRIOR))
        assert max(differences(ours, whole).values()) > 1e-3
