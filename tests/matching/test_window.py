"""Which segments are matched: the expanding upper bound and uniform draws below it."""

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from datm.matching import MatchConfig, Segment, draw_segment, last_epoch, upper_epoch
from datm.runtime.seeds import generator


def test_upper_epoch_grows_linearly_from_first_to_last() -> None:
    config = MatchConfig(lower=2, first_upper=5, last_upper=25, expansion=100)
    # 20 epochs in 100 iterations: one more every five
    assert [upper_epoch(config, n) for n in (0, 4, 5, 9, 10, 50, 95, 99)] == [
        5, 5, 6, 6, 7, 15, 24, 24,
    ]  # fmt: skip
    assert {upper_epoch(config, n) for n in (100, 101, 10**6)} == {25}


@pytest.mark.parametrize(("first", "last", "expansion"), [(1, 20, 7), (3, 4, 1000), (5, 50, 33)])
def test_upper_epoch_is_the_floor_of_the_line(first: int, last: int, expansion: int) -> None:
    config = MatchConfig(lower=0, first_upper=first, last_upper=last, expansion=expansion)
    uppers = [upper_epoch(config, n) for n in range(expansion + 3)]
    for iteration, upper in enumerate(uppers):
        grown = (last - first) * min(iteration, expansion)
        assert upper - first <= grown / expansion < upper - first + 1
    assert uppers == sorted(uppers)
    assert uppers[0] == first
    assert uppers[expansion] == last


@pytest.mark.parametrize("settings", [{"first_upper": 4}, {"expansion": 50}, {}])
def test_without_first_bound_or_expansion_the_bound_is_the_last(settings: dict[str, int]) -> None:
    config = MatchConfig(last_upper=12, **settings)
    assert {upper_epoch(config, n) for n in (0, 1, 49, 50)} == {12}


def test_the_last_epoch_is_where_the_latest_segment_ends() -> None:
    assert last_epoch(MatchConfig(last_upper=5, teacher_epochs=1)) == 5
    assert last_epoch(MatchConfig(last_upper=5, teacher_epochs=3, data_share=0.9)) == 7


def test_without_segments_there_is_no_last_epoch() -> None:
    assert last_epoch(MatchConfig(data_share=1)) == 0
    assert last_epoch(MatchConfig(last_upper=5, data_share=1, data_from=1)) == 6


def test_segments_are_uniform_over_teachers_and_the_window() -> None:
    config = MatchConfig(lower=3, first_upper=5, last_upper=7, expansion=10)
    draws = 3000
    for iteration, starts in ((0, {3, 4}), (10, {3, 4, 5, 6})):
        drawn = Counter(
            draw_segment(config, iteration, 3, generator(number, iteration))
            for number in range(draws)
        )
        assert set(drawn) == {Segment(teacher, start) for teacher in range(3) for start in starts}
        expected = draws / len(drawn)
        # five standard deviations of a binomial count
        assert all(abs(count - expected) < 5 * expected**0.5 for count in drawn.values())


def test_a_window_of_one_epoch_has_one_segment() -> None:
    config = MatchConfig(lower=4, last_upper=5)
    assert draw_segment(config, 0, 1, generator(0)) == Segment(0, 4)


def test_the_same_generator_draws_the_same_segment() -> None:
    config = MatchConfig(last_upper=50)
    first, second = (draw_segment(config, 3, 100, generator(8, "a")) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "settings",
    [
        {"lower": 5, "last_upper": 5},
        {"lower": 5, "first_upper": 5, "last_upper": 9},
        {"lower": 0, "first_upper": 9, "last_upper": 8, "expansion": 10},
        {"lower": 20},
    ],
)
def test_bounds_out_of_order_are_refused(settings: dict[str, Any]) -> None:
    # pydantic hands the sentence on inside its own ValueError
    with pytest.raises(ValueError, match=r"match: lower .* give lower < first_upper <= last_upper"):
        MatchConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"inner_steps": 0},
        {"teacher_epochs": 0},
        {"batch": 0},
        {"segments": 0},
        {"lower": -1},
        {"expansion": -1},
        {"gradient": "magic"},
        {"inner_step": 3},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        MatchConfig(**settings)
    assert [error["loc"] for error in refused.value.errors()] == [tuple(settings)]
