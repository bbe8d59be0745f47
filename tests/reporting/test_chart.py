"""Axes and marks of the SVG charts."""

import math
import xml.etree.ElementTree as ET

import pytest

from datm.reporting.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Chart
from datm.reporting.plots import binned, mean_curve, running_median

UNIT = Axis("y", 0.0, 1.0)


def test_shares_of_an_axis():
    assert Axis("x", 10, 30).share(15) == pytest.approx(0.25)
    assert Axis("x", 1, 100, log=True).share(10) == pytest.approx(0.5)
    assert Axis("x", 1, 100, log=True).share(0) is None
    assert Axis("x", 0, 1).share(math.nan) is None


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([0, 1], False),
        ([0.4398, 0.9612], False),
        ([1e-7, 3e-7], False),
        ([-3, 12_345], False),
        ([5, 5], False),
        ([0.0100, 0.0105], True),
        ([0.3, 1.4], True),
        ([1e-5, 1e4], True),
        ([10, 50_000], True),
        ([7, 7], True),
        ([], False),
    ],
)
def test_ticks_are_few_inside_and_distinct_in_print(values, log):
    axis = Axis.around("x", values, log=log)
    assert all(axis.low < value < axis.high for value in values)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 9
    assert all(axis.low <= tick <= axis.high for tick in ticks)
    assert len({axis.text(tick) for tick in ticks}) == len(ticks)


def test_ticks_of_whole_numbers_are_whole():
    assert Axis.around("epoch", [0, 3], whole=True).ticks() == [0, 1, 2, 3]
    assert all(t == int(t) for t in Axis.around("epoch", [0, 1], whole=True).ticks())


def test_axis_ignores_what_it_cannot_show():
    axis = Axis.around("loss", [0.5, math.nan, math.inf, -1, 2.0], log=True)
    assert 0.4 < axis.low < 0.5
    assert 2.0 < axis.high < 2.5


def element(chart):
    return ET.fromstring(chart.svg().partition("</svg>")[0] + "</svg>")


def test_points_lie_where_the_axes_say():
    chart = Chart(Axis("x", 0, 10), UNIT, "a chart")
    chart.points([0, 10, 5], [0, 1, math.nan], "c1", ["a <b>", "c", "d"])
    dots = element(chart).findall("circle")
    assert [(float(d.get("cx")), float(d.get("cy"))) for d in dots] == [
        (LEFT, HEIGHT - BOTTOM),
        (WIDTH - RIGHT, TOP),
    ]
    assert [d.find("title").text for d in dots] == ["a <b>", "c"]


def test_a_line_has_a_gap_where_a_value_is_missing():
    chart = Chart(Axis("x", 0, 4), UNIT, "a chart")
    chart.line([0, 1, 2, 3, 4], [0.1, 0.2, math.nan, 0.4, 0.5], "c1", "name")
    path = element(chart).find("path[@class='line c1']").get("d")
    assert path.count("M") == 2
    assert path.count("L") == 2
    assert "<span>" in chart.svg()


def test_text_is_escaped_and_the_chart_is_described():
    chart = Chart(Axis("<x>", 0, 1), Axis("y & z", 0, 1), 'say "chart"')
    root = element(chart)
    assert root.get("aria-label") == 'say "chart"'
    assert {"<x>", "y & z"} <= {text.text for text in root.findall("text")}


def test_bins_keep_the_extremes_and_medians_ignore_an_outlier():
    xs, ys = list(range(1000)), [1.0] * 1000
    ys[503] = 9.0
    centre, low, high = binned(xs, ys, 10)
    assert centre == [49.5 + 100 * i for i in range(10)]
    assert low == [1.0] * 10
    assert high == [1.0] * 5 + [9.0] + [1.0] * 4
    at, medians = running_median(xs, ys, 100)
    assert len(at) == 100
    assert medians == [1.0] * 100


def test_mean_curve_leaves_out_epochs_that_few_teachers_reached():
    curves = [[(0, 10.0), (1, 20.0), (2, 90.0)], [(0, 20.0), (1, 40.0)], [(0, 30.0), (1, 60.0)]]
    assert mean_curve(curves) == [(0, 20.0), (1, 40.0)]
    assert mean_curve([]) == []
