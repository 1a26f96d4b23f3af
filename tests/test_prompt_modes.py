"""The page on prompt modes: published and demo apart, choices and the gate computed from the same
rows."""

import numpy as np
import pandas as pd
import pytest

from medsam_utils import DATASETS, published
from medsam_utils.book.pages import prompt_modes
from medsam_utils.comparison import run_differences
from tests.notebook_cells import run_cells


@pytest.fixture(scope="module")
def page():
    tiny = {"max_cases": 2, "clicks": 2, "noise": "0.2"}
    tiny["compute"] = "device=cpu workers=0 store="
    names, text = run_cells(
        "prompt_modes", datasets="us_breast", models="sam_small grabcut", **tiny
    )
    return names, " ".join(text.split())


def test_the_study_s_means_are_never_mixed_with_the_demo_s(page):
    names, text = page
    released = published.prompt_mode_table()
    best = released[released["mask_choice"] == "first"].groupby("mode")["iou"].mean().max()
    found = names["measured"]
    found = found[(found["model"] == "sam_small") & (found["choice"] == "most_confident")]
    demo = found[found["mode"] != "clicks"].groupby("mode")["iou"].mean().max()
    assert f"is worth most with SAM : mean IoU {best:.2f} , against" in text
    assert "mean of 28 tasks; published" in text and "All: every task weighing the same." in text
    assert f"is worth most with sam_small : mean IoU {demo:.2f} , against" in text
    assert "mean of 1 task; demo" in text


def test_first_and_oracle_are_of_the_candidates_of_the_rows(page):
    names, _ = page
    table = names["by_mode"].set_index(["model", "mode", "choice"])["iou"]
    for mode, run in names["modes"].items():
        candidates = run.tables["us_breast", "sam_small"][["iou_0", "iou_1", "iou_2"]]
        assert table["sam_small", mode, "first"] == pytest.approx(candidates["iou_0"].mean())
        assert table["sam_small", mode, "oracle"] == pytest.approx(candidates.max(axis=1).mean())


def test_demo_rows_are_held_against_nothing_and_measured_ones_against_their_mode(page):
    names, _ = page
    assert set(names["held"]["verdict"]) == {"demo"}
    row = names["modes"]["box_all"].tables["us_breast", "sam_small"].iloc[:1]
    rows = pd.concat([row] * 6, ignore_index=True)
    study = published.prompt_mode_table().set_index(["task", "mode", "mask_choice"])["iou"]
    value, patients = study["US-Breast", 5, "first"], list("abcdef")
    rows = rows.assign(case_id=patients, patient_id=patients, level="measured", model="sam_vit_h")
    rows = rows.assign(iou_0=value + np.linspace(-0.05, 0.05, 6), iou_1=0.999, iou_2=0.1)
    held = prompt_modes.gate(dict.fromkeys(names["modes"], rows), prompt_modes.published_modes())
    held = held.set_index(["mode", "choice"]).loc["box_all"]
    assert held.loc["first", "verdict"] == "inside" and held.loc["oracle", "verdict"] == "outside"
    assert held.loc["first", "published"] == value != held.loc["oracle", "published"]


def test_differences_leave_out_a_model_that_does_not_take_the_prompt(page):
    names, _ = page
    both = run_differences(names["mode_rows"], "clicks", way="mode")
    assert set(both["model"]) == {"sam_small", "grabcut"} and "clicks" not in set(both["mode"])
    fed = {way: names["way_rows"][way] for way in ("clicks", "clicks, mask fed back")}
    assert set(run_differences(fed, "clicks", way="mode")["model"]) == {"sam_small"}


def test_box_noise_has_a_point_for_the_tight_box_and_for_each_deviation(page):
    names, text = page
    curves = names["noise_means"].set_index(["model", "sd"])["iou"]
    for sd, run in ((0.0, names["modes"]["box_all"]), (0.2, names["noisy"]["noise 0.2"])):
        ious = run.rows.groupby("model")["iou"].mean()
        assert curves.xs(sd, level="sd")[ious.index].tolist() == pytest.approx(ious.tolist())
    assert "From a tight box to noise of 0.2: sam_small" in text


def test_every_task_of_the_released_modes_is_one_that_a_dataset_of_ours_has():
    ours = {task for dataset in DATASETS.values() for task in dataset.tasks.values()}
    assert set(published.prompt_mode_table()["task"]) <= ours
