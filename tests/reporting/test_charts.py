"""Charts: right places, well-formed, nothing from outside unescaped."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reporting import charts


def test_the_curve_shows_both_terms_with_labels():
    rows = [{"step": step, "loss": 1.0, "instance": 1 / step, "prior": 0.2} for step in range(1, 101)]
    chart = ElementTree.fromstring(charts.loss_curve(rows))
    words = " ".join(chart.itertext())
    assert all(word in words for word in ("instance loss", "prior loss", "training step", "100"))
    assert len(chart.findall("polyline")) == 4


def test_the_curve_falls_where_the_loss_falls_and_outliers_do_not_flatten_it():
    rows = [{"step": step, "instance": 2.0 - step / 100} for step in range(200)] + [
        {"step": 200, "instance": 1e6}
    ]
    chart = ElementTree.fromstring(charts.loss_curve(rows))
    heights = [float(pair.split(",")[1]) for pair in chart.findall("polyline")[0].get("points").split()]
    assert heights[0] < heights[100] < heights[199]  # y grows downwards
    assert heights[100] - heights[0] > 50


def test_a_methods_own_terms_are_drawn_by_their_names_and_held_out_values_as_dots():
    rows = [
        {"step": step, "loss": 1.0, "<style>": 0.5, "learning_rate": 1e-3, "grad_norm": 9.0}
        for step in (1, 2)
    ]
    rows[1]["held_<style>"] = 0.4
    chart = ElementTree.fromstring(charts.loss_curve(rows))
    words = " ".join(chart.itertext())
    assert "<style> loss" in words
    assert "grad_norm" not in words
    assert len(chart.findall("circle")) == 1


@pytest.mark.parametrize("rows", [[], [{"step": 1}], [{"step": 1, "loss": math.nan}], [{"loss": 3.0}]])
def test_nothing_to_draw_is_nothing(rows):
    assert charts.loss_curve(rows) == ""


def test_only_a_total_or_one_step_is_drawn_too():
    assert "loss loss" not in charts.loss_curve([{"step": 1, "instance": 0.5}])
    assert "<circle" in charts.loss_curve([{"step": 1, "loss": 0.5}])


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(-1, 1), st.floats(0, 1))
def test_a_scale_keeps_everything_inside_and_in_order(value, width, floor, length):
    svg = charts.scale_bar(value, (value - width, value + width), floor, floor + length, "<floor>", "ceiling")
    chart = ElementTree.fromstring(svg)
    assert "<floor>" in "".join(chart.itertext())
    places = [
        float(chart.find("circle").get("cx")),
        *(float(line.get("x1")) for line in chart.findall("line")),
    ]
    assert all(0 <= place <= 480 for place in places)
    bounds = [float(line.get("x1")) for line in chart.findall("line[@class='bound']")]
    assert bounds == sorted(bounds)


def test_ticks_are_round():
    assert charts.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert charts.ticks(1, 300, 6) == [50, 100, 150, 200, 250, 300]
    assert charts.ticks(2, 2) == [2]


def test_a_long_run_stays_a_small_page():
    rows = [{"step": step, "instance": 0.1, "prior": 0.1} for step in range(20_000)]
    svg = charts.loss_curve(rows)
    assert len(svg) < 60_000
    assert ">15000</text>" in svg


def test_the_running_mean_is_a_mean_over_a_window():
    points = [(float(x), float(x % 2)) for x in range(240)]
    assert charts.smoothed(points)[120][1] == pytest.approx(sum(y for _, y in points[110:131]) / 21)
    assert charts.smoothed(points[:5]) == points[:5]
