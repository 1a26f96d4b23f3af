"""The released numbers, and that demo rows are never held against them."""

from __future__ import annotations

import csv
import math

import pandas as pd
import pytest

from medsam_utils import published
from medsam_utils.datasets import DATASETS
from tests.test_statistics import rows_of


@pytest.mark.parametrize(
    ("method", "rounded"),
    [("SAM", [0.4595, 0.5669, 0.5969, 0.6112]), ("RITM", [0.1322, 0.4538, 0.5962, 0.6875])],
)
def test_the_mean_curves_are_those_of_the_released_tables(method, rounded):
    curve = published.mean_curve(method)
    assert curve.loc[[1, 3, 5, 9]].round(4).tolist() == rounded
    with (published.FOLDER / "iou_by_clicks.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["method"] == method.lower()]
    for click in range(1, 10):
        values = [float(line["iou"]) for line in lines if line["clicks"] == str(click)]
        assert len(values) == 28
        assert curve[click] == pytest.approx(math.fsum(values) / 28, abs=1e-9)


def test_sam_is_ahead_on_26_of_28_tasks_at_one_click_and_on_9_at_nine():
    ahead = published.tasks_ahead()
    assert published.click_table()["task"].nunique() == 28
    assert (ahead[1], ahead[9]) == (26, 9)


def test_the_prompt_modes_are_those_of_five_ways_and_28_tasks():
    table = published.prompt_mode_table()
    assert table.groupby(["mode", "mask_choice"])["task"].nunique().tolist() == [28] * 10


def test_every_published_task_is_one_that_a_dataset_of_ours_has():
    ours = {task for dataset in DATASETS.values() for task in dataset.tasks.values()}
    assert set(published.click_table()["task"]) <= ours


def measured(ious, model="sam_vit_h", task="US-Breast", level="measured") -> pd.DataFrame:
    """Rows of a task with six patients, the IoU at one click spread about `ious`."""
    spread = (-0.05, -0.03, -0.01, 0.01, 0.03, 0.05)
    cases = {
        f"{patient}1": [iou + x for iou in ious]
        for patient, x in zip("abcdef", spread, strict=True)
    }
    return rows_of(cases, model=model, task=task, level=level)


def test_the_gate_says_whether_the_published_value_lies_inside_our_interval():
    study = published.task_curves("US-Breast")
    study = study[study["method"] == "SAM"].set_index("click")["iou"]
    table = published.gate(measured([study[1] + 0.005, study[2] + 0.2]))
    assert table["verdict"].tolist() == ["inside", "outside"]
    assert table["published"].tolist() == [study[1], study[2]]
    assert table["difference"].tolist() == pytest.approx([0.005, 0.2])
    assert (table["low"] < table["iou"]).all() and (table["iou"] < table["high"]).all()


def test_the_gate_compares_no_demo_and_no_other_model_or_task():
    rows = pd.concat(
        [
            measured([0.5], level="demo"),
            measured([0.5], model="sam_small"),
            measured([0.5], task="own: lesion"),
            measured([0.5])[:4],
            measured([0.5], model="ritm_h32"),
        ]
    )
    table = published.gate(rows)
    assert table["verdict"].tolist() == [
        "demo",
        "not published",
        "not published",
        "no interval",
        "outside",
    ]
    assert table["published"].isna().tolist() == [True, True, True, False, False]
    assert table["difference"].isna().tolist() == [True, True, True, False, False]
