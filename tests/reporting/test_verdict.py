"""Lossless or not, in closed form and against scipy's own Welch interval."""

import math

import pytest
from run_folders import MODEL, digits_records, record
from scipy import stats

from datm.reporting import verdict
from datm.reporting.verdict import (
    RealEquivalent,
    main_model,
    points,
    real_images_needed,
    signed,
    welch_interval,
)

FULL = record("full", 1000, [0.90, 0.92])


@pytest.mark.parametrize(
    ("accuracies", "lossless", "difference"),
    [
        ([0.90, 0.92], True, 0.0),  # at counts as lossless
        ([0.92, 0.93], True, 1.5),
        ([0.89, 0.92], False, -0.5),
    ],
)
def test_lossless_is_at_or_above_the_mean_of_all_real_data(accuracies, lossless, difference):
    decided = verdict([FULL, record("distilled", 10, accuracies, 1)])
    assert decided.lossless is lossless
    assert decided.difference == pytest.approx(difference)
    assert decided.headline == ("Lossless here" if lossless else "Not lossless here")


def test_sentence_carries_the_figures_behind_the_verdict():
    sentence = verdict(digits_records()).sentence
    assert f"{MODEL} trained on the 100 distilled images reaches 94.3 ± 0.4 %" in sentence
    assert "on all 1,257 real images 98.4 ± 0.2 % (5 networks)" in sentence
    assert "4.1 points below (95 % interval −4.5 to −3.7: more than the noise)" in sentence


def test_a_difference_within_the_noise_is_called_that_and_decides_all_the_same():
    decided = verdict([FULL, record("distilled", 10, [0.88, 0.93], 1)])
    assert decided.lossless is False
    assert decided.within_noise is True
    assert "within the noise of these networks" in decided.sentence


@pytest.mark.parametrize(
    ("records", "missing"),
    [
        ([], "on the distilled set and on all the real data"),
        ([FULL], "on the distilled set yet"),
        ([record("distilled", 10, [0.9], 1)], "on all the real data yet"),
        ([FULL, record("distilled", 10, [0.9], 1, "mlp")], "on all the real data yet"),
    ],
)
def test_a_missing_record_leaves_the_verdict_open_and_is_named(records, missing):
    decided = verdict(records, "mlp" if records[1:] else None)
    assert decided.lossless is None
    assert decided.interval is None
    assert missing in decided.sentence


def test_interval_in_closed_form():
    # two networks a side with equal spreads: 2 degrees of freedom, t = 4.3027
    first, second = record("distilled", 10, [0.80, 0.82], 1), record("full", 99, [0.90, 0.92])
    error = math.sqrt(2 * first["std"] ** 2 / 2)
    low, high = welch_interval(first, second)
    assert low == pytest.approx(-10 - 100 * 4.302652729911275 * error)
    assert high == pytest.approx(-10 + 100 * 4.302652729911275 * error)


def test_interval_agrees_with_scipy():
    first = record("distilled", 10, [0.71, 0.73, 0.70, 0.745, 0.72], 1)
    second = record("full", 99, [0.802, 0.81, 0.806])
    test = stats.ttest_ind(first["accuracies"], second["accuracies"], equal_var=False)
    expected = test.confidence_interval(0.95)
    assert welch_interval(first, second) == pytest.approx(
        (100 * expected.low, 100 * expected.high), rel=1e-9
    )


def test_a_single_network_gives_no_interval_and_says_so():
    decided = verdict([FULL, record("distilled", 10, [0.95], 1)])
    assert decided.lossless is True
    assert decided.interval is None
    assert decided.within_noise is None
    assert "95.0 % (1 network)" in decided.sentence
    assert "leaves the noise unknown" in decided.sentence


def test_networks_without_any_spread_give_an_interval_of_no_width():
    same = verdict([record("full", 9, [0.9, 0.9]), record("distilled", 1, [0.8, 0.8], 1)])
    assert same.interval == pytest.approx((-10, -10))


def curve(*pairs):
    return [record("random", images, [mean], 1) for images, mean in pairs]


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        (0.6, RealEquivalent(100, 1000, 316)),  # half-way in log(images)
        (0.7, RealEquivalent(1000, 1000, 1000)),
        (0.4, RealEquivalent(None, 100)),
        (0.75, RealEquivalent(1000, 50_000)),  # too far apart to interpolate
        (0.95, RealEquivalent(50_000, None)),
    ],
)
def test_real_images_for_the_same_accuracy(mean, expected):
    records = [*curve((1000, 0.7), (100, 0.5)), record("full", 50_000, [0.9])]
    assert real_images_needed(records, MODEL, mean) == expected


def test_every_kind_of_real_equivalent_reads_as_a_sentence():
    assert RealEquivalent(100, 1000, 316).sentence == (
        "It takes about 316 random real images to reach the same accuracy "
        "(interpolated between 100 and 1,000, which were measured)."
    )
    assert RealEquivalent(None, 100).sentence.startswith("Fewer than 100 random real images")
    assert "between 1,000 and 50,000" in RealEquivalent(1000, 50_000).sentence
    assert RealEquivalent(1000, 1000, 1000).sentence.startswith("1,000 random real images reach")
    assert RealEquivalent(50_000, None).sentence.startswith("No measured number of real images")


def test_without_random_records_nothing_is_said_of_real_images():
    assert real_images_needed([FULL], MODEL, 0.5) is None


def test_the_verdict_is_about_the_preferred_network_else_the_first_comparable():
    records = [
        record("distilled", 10, [0.5, 0.6], 1, "mlp"),
        record("distilled", 10, [0.7, 0.8], 1, "convnet-3"),
        record("full", 99, [0.8, 0.9], model="convnet-3"),
    ]
    assert main_model(records) == "convnet-3"
    assert main_model(records, "mlp") == "mlp"
    assert main_model(records, "never evaluated") == "convnet-3"
    assert main_model([]) is None


def test_small_differences_do_not_read_as_nought():
    assert [points(d) for d in (4.06, -0.05, 0.033, 0.004)] == ["4.1", "0.1", "0.03", "0.004"]
    assert [signed(d) for d in (1.0, -1.0, 0.0)] == ["+1.0", "−1.0", "0.0"]
