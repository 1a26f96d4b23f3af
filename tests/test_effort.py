"""The page on effort: seconds worked out by hand for three objects of three patients."""

from __future__ import annotations

import pandas as pd
import pytest

from medsam_utils.book import runs
from tests.notebook_cells import run_cells

PRICES = {"first_click": 2.0, "correction": 5.0, "drawing": 80.0, "clicks": 3}
A, B, C = [0.9, 0.9, 0.9], [0.5, 0.85, 0.7], [0.1, 0.2, 0.3]


@pytest.fixture
def page(monkeypatch):
    """Runs the page up to the table of other prices, on objects with these IoUs after each
    click."""

    def run(*ious: list[float], **prices: float):
        rows = pd.DataFrame(
            {"task": "T", "model": "m", "level": "demo", "case_id": str(i), "patient_id": str(i)}
            | {"click": click, "iou": iou}
            for i, of_object in enumerate(ious)
            for click, iou in enumerate(of_object, start=1)
        )
        done = runs.Runs({}, {}, {("d", "m"): rows}, [])
        monkeypatch.setattr(runs, "evaluate_models", lambda *_: done)
        names, text = run_cells("annotation_effort", until="in product(", **(PRICES | prices))
        return names, " ".join(text.split())

    return run


def test_seconds_are_those_of_the_clicks_and_of_the_drawing_where_clicks_do_not_suffice(page):
    names, text = page(A, B, C)
    line = names["table"].iloc[0]
    # 2 s; 2 + 5 s; three clicks in vain, 12 s, then the outline
    assert (line["target"], line["seconds"]) == (0.8, pytest.approx((2 + 7 + 92) / 3))
    assert line["clicks"] == 2 and line["missed"] == pytest.approx(1 / 3)
    assert line["saved"] == pytest.approx(1 - 101 / 3 / 80)
    assert line[["low", "high"]].isna().all()  # three patients are too few for an interval
    assert "Clicks save 58% of the time of an outline by hand with m" in text
    assert "in 33% of a task's objects clicks never get there" in text


def test_at_the_break_even_clicking_costs_what_drawing_does(page):
    price = float(page(A, B, C)[0]["table"].iloc[0]["break_even"])
    names, _ = page(A, B, C, first_click=price, correction=price)
    assert names["table"].iloc[0]["seconds"] == pytest.approx(80)


def test_where_no_object_gets_there_clicking_costs_more_and_the_page_says_so(page):
    names, text = page(C)
    assert names["table"].iloc[0]["saved"] < 0 and names["table"].iloc[0]["break_even"] == 0
    assert "Clicks save nothing: they cost 15% more than an outline by hand" in text
    assert "in 100% of a task's objects" in text and "on 0 of 1 tasks" in text


def test_the_table_of_other_prices_has_each_price_once_for_a_model(page):
    lines = page(A, B, C)[0]["lines"]
    assert len(lines) == 12 == len({(line["outline, s"], line["correction, s"]) for line in lines})
    usual = next(line for line in lines if (line["outline, s"], line["correction, s"]) == (80, 5))
    assert usual["saved"] == pytest.approx(1 - 101 / 3 / 80)
