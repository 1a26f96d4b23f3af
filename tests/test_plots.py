"""plots.py and figures.py: what is drawn, and that it can stand in a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from medsam_utils import plots, published
from medsam_utils.book.pages import figures
from medsam_utils.clicks import Click
from medsam_utils.statistics import mean_curves


@pytest.fixture
def means():
    curve = pd.DataFrame(
        {"click": [1, 2], "iou": [0.25, 0.5], "low": [0.2, 0.4], "high": [0.3, 0.6]}
    )
    return pd.concat([curve.assign(task="T", level="demo", model=m) for m in ("one", "two")])


def test_every_model_has_a_line_at_its_means_and_a_band(means):
    _, axes = plots.new_figure(3, 2)
    plots.curves(axes, means)
    assert [line.get_label() for line in axes.lines] == ["one", "two"]
    assert axes.lines[0].get_ydata().tolist() == [0.25, 0.5]
    assert len(axes.collections) == 2
    assert axes.get_ylim() == (0, 1)
    assert axes.lines[0].get_color() != axes.lines[1].get_color()
    assert axes.lines[0].get_marker() != axes.lines[1].get_marker()  # told apart without colour too


def test_published_lines_are_dashed_and_ours_are_not(means):
    _, ours = plots.new_figure(3, 2)
    plots.curves(ours, means)
    _, theirs = plots.new_figure(3, 2)
    plots.published_curves(theirs, published.task_curves("US-Breast"))
    assert {line.get_linestyle() for line in ours.lines} == {"-"}
    assert {line.get_linestyle() for line in theirs.lines} == {"--"}
    assert [line.get_label() for line in theirs.lines] == ["SAM", "RITM"]


def test_an_effect_lies_on_the_grey_bar_of_where_it_should_if_its_claim_is_supported():
    lines = {"n": [1, 2], "line": ["supported", "refuted"], "effect": [0.3, 0.2]}
    ends = {"low": [0.2, 0.1], "high": [0.4, 0.3], "wanted_low": [0.1, -np.inf]}
    table = pd.DataFrame({**lines, **ends, "wanted_high": [np.inf, 0.05]})
    _, axes = plots.new_figure(3, 2)
    plots.regions(axes, table, ["supported", "refuted", "undetermined"])
    first, second = axes.patches
    assert first.get_x() == pytest.approx(0.1) and first.get_width() > 0.2
    assert second.get_x() + second.get_width() == pytest.approx(0.05)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1", "2"]


def test_an_example_has_both_contours_and_the_click():
    image = np.zeros((20, 30, 3), np.uint8)
    truth, prediction = np.zeros((2, 20, 30), bool)
    truth[5:10, 5:10] = prediction[6:12, 6:12] = True
    _, axes = plots.new_picture(image)
    plots.example(axes, image, truth, prediction, [Click(7, 8, True, 3.0, 1)])
    colours = {
        tuple(np.round(c.get_edgecolor()[0][:3] * 255).astype(int)) for c in axes.collections
    }
    assert {(0, 200, 83), (255, 59, 48)} <= colours
    (dot,) = axes.lines
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (8, 7)  # (x, y) of row 7, column 8
    assert axes.get_ylim() == (19.5, -0.5)  # row 0 on top


def test_an_object_that_touches_every_edge_still_has_a_contour():
    image = np.zeros((8, 8, 3), np.uint8)
    _, axes = plots.new_picture(image)
    plots.example(axes, image, np.ones((8, 8), bool))
    assert sum(len(path.vertices) for c in axes.collections for path in c.get_paths()) > 0


def test_the_error_region_is_blue_where_missed_and_orange_where_too_much():
    truth, prediction = (
        np.array([[True, True, False, False]]),
        np.array([[True, False, True, False]]),
    )
    right, missed, extra, outside = plots.with_error(
        np.zeros((1, 4, 3), np.uint8), truth, prediction
    )[0].astype(int)
    assert right.tolist() == outside.tolist() == [0, 0, 0]
    assert missed[2] > missed[0] and extra[0] > extra[2]


def test_the_svg_is_well_formed_named_and_takes_the_colour_of_the_page(means):
    figure, axes = plots.new_figure(3, 2)
    plots.curves(axes, means)
    text = plots.svg(figure, 'curve of "one" & two')
    root = ElementTree.fromstring(text)
    assert root.attrib["aria-label"] == 'curve of "one" & two'
    assert root.attrib["role"] == "img"
    assert "currentColor" in text and plots.INK not in text
    assert "<style" not in text and "<metadata" not in text
    assert text == plots.svg(figure, 'curve of "one" & two')  # the same bytes again


def test_nothing_in_the_svg_is_fetched():
    image = np.zeros((20, 30, 3), np.uint8)
    figure, axes = plots.new_picture(image)
    plots.example(axes, image)
    for link in re.findall(r'(?:href|src)="([^"]*)"', plots.svg(figure, "black")):
        assert link.startswith(("#", "data:image/jpeg"))


def test_a_figure_without_alternative_text_is_refused():
    figure, _ = plots.new_figure(3, 2)
    with pytest.raises(ValueError, match="alternative text"):
        plots.svg(figure, " ")


def test_a_large_image_is_embedded_small():
    image = np.random.default_rng(0).integers(0, 255, (2000, 2400, 3), np.uint8)
    figure, axes = plots.new_picture(image)
    plots.example(axes, image, np.ones((2000, 2400), bool))
    assert len(plots.svg(figure, "noise")) < 400_000


def test_a_task_of_the_study_is_shown_beside_its_published_curve_and_another_is_not():
    rows = pd.DataFrame(
        {
            "task": "US-Breast",
            "model": "m",
            "level": "demo",
            "case_id": ["a", "b"],
            "patient_id": ["a", "b"],
        }
    ).assign(click=1, iou=[0.25, 0.75])
    shown = figures.curves(mean_curves(rows)).html
    assert "published" in shown and "demo" in shown and "m 0.50 to 0.50" in shown
    own = mean_curves(rows.assign(task="My study", level="measured"))
    assert "published" not in figures.curves(own).html


def test_an_interval_that_differs_from_its_mean_in_the_last_digit_is_drawn():
    means = pd.DataFrame({"task": ["T"], "line": ["m"], "iou": [0.3]})
    _, axes = plots.new_figure(3, 2)
    plots.by_task(axes, means.assign(low=0.1 + 0.2, high=0.3), ["T"], ["m"])  # low is above 0.3
    assert len(axes.lines) > 0
