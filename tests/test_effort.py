"""effort.py and its page: seconds worked out by hand for three objects of three patients."""

import re

import pandas as pd
import pytest
from medsam_utils.effort import Costs, effort

from medsam_utils.pages import effort as pages

COSTS = Costs(first=2, correction=5, drawing=80)


@pytest.fixture
def rows():
    ious = {"a": [0.9, 0.9, 0.9], "b": [0.5, 0.85, 0.7], "c": [0.1, 0.2, 0.3]}
    return pd.DataFrame(
        {"task": "T", "model": "m", "level": "demo", "case_id": case, "patient_id": case}
        | {"click": click, "iou": iou}
        for case, of_case in ious.items()
        for click, iou in enumerate(of_case, start=1)
    )


def test_seconds_are_those_of_the_clicks_and_of_the_drawing_where_clicks_do_not_suffice(rows):
    line = effort(rows, COSTS, targets=(0.8,)).iloc[0]
    # a: 2 s. b: 2 + 5 s. c: three clicks in vain, 12 s, then the outline.
    assert line["seconds"] == pytest.approx((2 + 7 + 92) / 3)
    assert line["clicks"] == 2 and line["missed"] == pytest.approx(1 / 3)
    assert line["saved"] == pytest.approx(1 - 101 / 3 / 80)
    assert line[["low", "high"]].isna().all()  # three patients are too few for an interval


def test_at_the_break_even_clicking_costs_what_drawing_does(rows):
    price = effort(rows, COSTS, targets=(0.8,)).iloc[0]["break_even"]
    assert effort(rows, Costs(price, price, 80), targets=(0.8,)).iloc[0]["seconds"] == pytest.approx(80)


def test_where_no_object_gets_there_clicking_costs_more_and_the_page_says_so(rows):
    line = effort(rows, COSTS, targets=(0.95,))
    assert line.iloc[0]["saved"] < 0 and line.iloc[0]["break_even"] == 0
    assert (
        "more" in pages.answer(line, COSTS).data and "100% of the objects" in pages.answer(line, COSTS).data
    )
    assert "on 0 of 1 tasks" in pages.seconds(line, COSTS).data


def test_the_table_of_other_prices_has_each_price_once_for_a_model(rows):
    html = pages.sensitivity(rows, COSTS, 0.8).data
    lines = [re.findall(r"<td>(.*?)</td>", line) for line in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)]
    prices = [tuple(line[:2]) for line in lines if line]
    assert len(prices) == 12 == len(set(prices))
