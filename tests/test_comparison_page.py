"""What the comparison page says, against rows small enough to count by eye."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from medsam_utils import published
from medsam_utils.book.pages import comparison, figures
from medsam_utils.book.runs import Runs
from medsam_utils.statistics import mean_curves
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


def means_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The study's means and those of rows, as the page has them."""
    return pd.concat([published.curves(), figures.apart(mean_curves(rows))])


def paired_tests_html(rows: pd.DataFrame) -> str:
    return comparison.tests_table(comparison.paired_tests(rows)).html


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<.*?>", "", html))


def test_the_answer_counts_each_level_by_itself(rows):
    text = plain(comparison.answer(means_of(rows)).html)
    assert "With one click SAM leads on 26 of 28 tasks; with 9 RITM leads on 17 of the 18" in text
    assert "SAM leads on 8 of the 10 tasks of several classes (mean IoU 0.57 against 0.48)" in text
    assert (
        "sam_vit_h is ahead of grabcut on 1 of 1 tasks with one click, "
        "and on 0 with 2 clicks (demo)" in text
    )
    assert text.count("of 1 tasks") == 2 and "(measured on your data)" in text


def test_a_model_alone_is_compared_with_nothing(rows):
    alone = rows[rows["model"] == "grabcut"]
    assert "Here" not in plain(comparison.answer(means_of(alone)).html)
    assert "no two models" in paired_tests_html(alone)


def test_models_without_a_task_together_are_not_compared(rows):
    rows = pd.concat(
        [rows[rows["model"] == "grabcut"], of_model("other", 0.5, 0.5, task="MRI-Heart")]
    )
    assert "no two models" in paired_tests_html(rows)


def test_published_measured_and_demo_stand_in_figures_of_their_own(rows):
    means = means_of(rows)
    averages = comparison.over_tasks(means)
    for shown in (comparison.one_click(means).html, comparison.average(averages).html):
        captions = [plain(str(f)) for f in BeautifulSoup(shown, "html.parser")("figcaption")]
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
    html = comparison.gate(published.gate(rows)).html
    assert "Of 2 values it lies inside for 0 and outside for 2" in plain(html)
    table = read_table(html).set_index(["task", "model"])
    study = published.task_curves("US-Breast").set_index(["method", "click"])["iou"]
    assert table.loc[("US-Breast", "sam_vit_h"), "1"].startswith(f"{0.5 - study['SAM', 1]:+.3f} ")
    assert len(table) == 1
    assert comparison.gate(published.gate(rows[rows["level"] == "demo"])).html == ""


def test_the_tests_show_difference_p_and_crossing(rows):
    html = paired_tests_html(rows)
    assert "grabcut minus sam_vit_h" in html
    line = read_table(html).set_index("task").loc["US-Breast"]
    assert line["difference at 1"] == "-0.10 (-0.10 to -0.10)"
    assert line["p at 1"] == f"{4 * 2 / 2**8:.3f}"  # two tasks, after one click and the last
    assert line["ahead"] == "sam_vit_h, grabcut from click 2"
    assert "p is corrected for the 4 tests of this table" in plain(html)
    never = paired_tests_html(pd.concat([of_model("one", 0.5, 0.6), of_model("two", 0.4, 0.5)]))
    assert read_table(never).iloc[0]["ahead"] == "one from the start"


def test_a_task_that_can_never_be_significant_is_not_tested_and_not_corrected_for(rows):
    few = rows[rows["patient_id"].isin(list("abcde")) | (rows["task"] == "US-Breast")]
    html = paired_tests_html(few)
    lines = read_table(html).set_index("task")
    assert lines.loc["CT-Liver", "p at 1"] == "not tested"
    assert lines.loc["US-Breast", "p at 1"] == f"{2 * 2 / 2**8:.3f}"
    assert "1 task with too few patients for any p below 0.05 is not tested" in plain(html)


def test_a_p_that_no_drawn_flip_reaches_is_a_bound():
    patients = [chr(65 + i) for i in range(26)]
    better = rows_of({p: [0.9] for p in patients}, model="two", task="T", level="demo")
    worse = rows_of({p: [0.1] for p in patients}, model="one", task="T", level="demo")
    line = comparison.paired_tests(pd.concat([worse, better])).iloc[0]
    assert line["below"] and comparison.p_text(line["p_holm"], line["below"]) == "<0.001"


def test_rows_of_another_origin_stand_beside_those_of_this_run_and_are_said_to(monkeypatch, rows):
    elsewhere = rows[rows["task"] == "US-Breast"].assign(dataset="us_breast", protocol="paper")
    elsewhere.attrs = {"record": {"started": "2026-11-28"}}
    other = elsewhere.assign(protocol="released-code")
    other.attrs = elsewhere.attrs
    tables = {("us_breast", "m (A)"): elsewhere, ("us_breast", "n (A)"): other}
    tables["ct_liver", "m (A)"] = elsewhere
    monkeypatch.setattr(comparison, "added_tables", lambda folder: dict(tables))
    dataset = SimpleNamespace(level="measured")
    runs = Runs({"us_breast": dataset}, {}, {}, [])
    shown = comparison.add_origins(runs, "results/added")
    assert list(runs.tables) == [("us_breast", "m (A)")]
    assert "when they were added: m (A) on us_breast, 2026-11-28." in plain(shown.html)
    assert runs.notes == [
        "n (A) on us_breast is not on this page: its rows are released-code, measured."
    ]
    assert comparison.add_origins(runs, "").html == ""
