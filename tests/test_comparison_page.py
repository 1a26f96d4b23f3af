"""What the comparison page says, against rows small enough to count by eye."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from medsam_utils import published
from medsam_utils.book.pages import comparison
from tests.test_page import read_table
from tests.test_statistics import rows_of

PATIENTS = "abcdefgh"


def of_model(model: str, first: float, last: float, task: str = "US-Breast", level: str = "demo"):
    return rows_of({f"{p}1": [first, last] for p in PATIENTS}, model=model, task=task, level=level)


@pytest.fixture
def rows():
    return pd.concat(
        [
            of_model("sam_vit_h", 0.5, 0.6, level="measured"),
            of_model("grabcut", 0.4, 0.7, level="measured"),
            of_model("sam_vit_h", 0.9, 0.9, task="CT-Liver"),
            of_model("grabcut", 0.8, 0.95, task="CT-Liver"),
        ]
    )


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<.*?>", "", html))


def test_the_answer_counts_each_level_by_itself(rows):
    text = plain(comparison.answer(rows).data)
    assert (
        "In the study SAM is ahead of RITM on 26 of 28 tasks with one click, and on 9 with 9"
        in text
    )
    assert (
        "sam_vit_h is ahead of grabcut on 1 of 1 tasks with one click, and on 0 with 2 clicks "
        "(demo)" in text
    )
    assert text.count("of 1 tasks") == 2 and "(measured on your data)" in text


def test_a_model_alone_is_compared_with_nothing(rows):
    alone = rows[rows["model"] == "grabcut"]
    assert "here" not in plain(comparison.answer(alone).data)
    assert "no two models" in comparison.paired_tests(alone).data


def test_models_without_a_task_together_are_not_compared(rows):
    rows = pd.concat(
        [rows[rows["model"] == "grabcut"], of_model("other", 0.5, 0.5, task="MRI-Heart")]
    )
    assert "no two models" in comparison.paired_tests(rows).data


def test_published_measured_and_demo_stand_in_figures_of_their_own(rows):
    for figures in (comparison.one_click(rows).data, comparison.average(rows).data):
        captions = [plain(str(f)) for f in BeautifulSoup(figures, "html.parser")("figcaption")]
        assert len(captions) == 3
        assert [
            sum(level in c for c in captions) for level in ("published", "measured", "demo")
        ] == [1, 1, 1]
    study, ours, _ = captions
    assert (
        "mean of 28 tasks · published. From one click to 9: SAM 0.46 to 0.61; RITM 0.13 to 0.69"
        in study
    )
    assert "mean of 1 task · measured on your data. From one click to 2:" in ours
    assert "sam_vit_h 0.50 to 0.60; grabcut 0.40 to 0.70" in ours


def test_the_gate_compares_what_the_study_ran_on_real_images_and_says_demo_else(rows):
    html = comparison.gate(rows).data
    assert "2 of 8 values are compared" in plain(html) and "4 are demo" in plain(html)
    table = read_table(html).set_index(["task", "model"])
    study = published.task_curves("US-Breast").set_index(["method", "click"])["iou"]
    assert table.loc[("US-Breast", "sam_vit_h"), "1"].startswith(f"{0.5 - study['SAM', 1]:+.3f} ")
    assert len(table) == 1
    demo = comparison.gate(rows[rows["level"] == "demo"]).data
    assert plain(demo).startswith(
        "0 of 4 values are compared with a published one; 4 are demo, and the gate compares nothing"
    )


def test_the_tests_show_difference_p_and_crossing(rows):
    html = comparison.paired_tests(rows).data
    assert "grabcut minus sam_vit_h" in html
    line = read_table(html).set_index("task").loc["US-Breast"]
    assert line["difference at 1"] == "-0.10 (-0.10 to -0.10)"
    assert line["p at 1"] == f"{4 * 2 / 2**8:.3f}"  # two tasks, two clicks
    assert line["curves cross at"] == "2 (2 to 2)"
    never = comparison.paired_tests(
        pd.concat([of_model("one", 0.5, 0.6), of_model("two", 0.4, 0.5)])
    ).data
    assert read_table(never).iloc[0]["curves cross at"] == ">2 (>2 to >2)"
