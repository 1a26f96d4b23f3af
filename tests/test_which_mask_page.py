"""What the chapter on the choice among masks says, on curves that one can check by eye."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from medsam_utils.book.pages import which_mask
from medsam_utils.clicks import MASK_RULES

IOUS = {"oracle": 0.9, "first, then single, fed back": 0.8, "single, fed back": 0.7}


def curves_of(task: str, shift: float = 0.0) -> pd.DataFrame:
    """Curves of four clicks, for each rule a level line but for the single mask, fed back."""
    lines = [
        {"task": task, "model": "m", "level": "demo", "rule": rule, "click": click}
        | {"iou": IOUS.get(rule, 0.5) + shift, "low": 0.2, "high": 0.95}
        for rule in MASK_RULES
        for click in (1, 2, 3, 4)
    ]
    table = pd.DataFrame(lines)
    rises = (table["rule"] == "single, fed back") & (table["click"] < 4)
    return table.assign(iou=table["iou"].mask(rises, 0.4))


def test_the_answer_names_rule_and_feedback_in_words_and_leaves_the_oracle_out():
    text = re.sub("<.*?>", "", which_mask.answer(which_mask.over_tasks(curves_of("T"))).html)
    assert text == (
        "After 4 clicks first, then single, fed back is best: the first of three masks counts "
        "after one click and the single mask after every further one; SAM is given its last mask "
        "again with the next click. Its IoU is 0.80, against 0.50 for the first mask and 0.50 for "
        "the most confident one, neither given to SAM again (m, 1 task, demo). From click 3 to 4 "
        "the single mask gains +0.00 if it is not given to SAM again, and +0.30 if it is."
    )


@pytest.mark.parametrize("rule", [rule for rule in MASK_RULES if "oracle" not in rule])
def test_every_rule_has_words(rule):
    again = "is given its" if MASK_RULES[rule].feedback else "is not given its"
    assert which_mask.in_words(rule).count(again) == 1


def test_a_mean_over_tasks_has_no_interval_and_masks_by_a_model_are_apart():
    one = which_mask.over_tasks(curves_of("T"))
    assert one["low"].eq(0.2).all() and one["tasks"].eq(1).all()
    two = which_mask.over_tasks(pd.concat([curves_of("T"), curves_of("U", shift=-0.2)]))
    assert two["low"].isna().all() and two["tasks"].eq(2).all()
    first = two[(two["rule"] == "first") & (two["click"] == 1)]
    assert first["iou"].tolist() == pytest.approx([0.4])
    measured = [curves_of(task).assign(level="measured") for task in ("T", "CT-Torso: liver")]
    assert len(which_mask.over_tasks(pd.concat(measured))) == 2 * len(one)


def test_a_figure_without_feedback_and_one_with_it_have_every_rule_once():
    captions = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", panels_html())
    assert [caption.split("·")[0] for caption in captions] == [
        "<strong>without feedback ",
        "<strong>fed back ",
    ]
    assert [caption.count(" to 0.") for caption in captions] == [4, 6]


def panels_html() -> str:
    return which_mask.panels(which_mask.over_tasks(curves_of("T"))).html


def test_the_numbers_have_the_gain_of_the_later_clicks_and_the_study_s_lines():
    curves, study = which_mask.over_tasks(curves_of("T")), which_mask.study_curves()
    table = which_mask.numbers(pd.concat([curves, study])).set_index("rule")
    assert list(table) == ["level", "model", "IoU@1", "IoU@3", "gain from 3 to 4"]
    assert table.loc["single, fed back", "gain from 3 to 4"] == pytest.approx(0.3)
    assert table.loc["SAM", ["level", "model"]].tolist() == ["published", "28 tasks"]


def test_the_distance_to_a_published_curve_is_over_the_clicks_that_both_have():
    study = pd.Series({1: 0.4, 2: 0.6, 9: 0.9})
    table = which_mask.distances(which_mask.over_tasks(curves_of("T")), study).set_index("rule")
    assert table.loc["first", "difference"] == pytest.approx(0.1)
    assert table.loc["oracle", "difference"] == pytest.approx(0.4)


def test_candidates_are_told_after_one_click_and_the_last_with_how_often_each_was_chosen():
    rows = pd.DataFrame({"model": "m", "click": [1, 1, 2, 3, 3], "mask_index": [0, 2, 1, 1, 1]})
    for i in range(3):
        rows = rows.assign(**{f"predicted_iou_{i}": 0.5, f"iou_{i}": [0.2, 0.4, 0.9, 0.6, np.nan]})
    table = which_mask.candidates(rows).set_index(["click", "mask"])
    assert list(table.index) == [(1, 1), (1, 2), (1, 3), (3, 1), (3, 2), (3, 3)]
    assert table.loc[1, "share chosen"].tolist() == [0.5, 0, 0.5]
    assert table.loc[3, "share chosen"].tolist() == [0, 1, 0]
    assert table.loc[(1, 1), ["predicted IoU", "true IoU"]].tolist() == pytest.approx([0.5, 0.3])
