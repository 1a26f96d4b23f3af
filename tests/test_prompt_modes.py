"""The page on prompt modes: published and demo apart, choices and the gate computed from the same rows."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medsam_utils import DATASETS, PAPER, load_dataset, published
from medsam_utils.pages import prompt_modes
from medsam_utils.pages.runs import Runs, evaluate_subjects


@pytest.fixture(scope="module")
def runs():
    subjects = [load_dataset("us_breast")]
    return {
        mode: evaluate_subjects(
            subjects, "sam_small", protocol=replace(PAPER, prompt=mode), clicks=1, max_cases=2, device="cpu"
        )
        for mode in ("point_largest", "box_all")
    }


def test_the_study_s_means_are_never_mixed_with_the_demo_s(runs):
    table = prompt_modes.by_choice(runs)
    text = re.sub("<[^>]+>", "", prompt_modes.answer(table).data)
    released = published.iou_by_prompt_mode()
    best = released[released["mask_choice"] == "first"].groupby("mode")["iou"].mean().max()
    demo = table[table["choice"] == "most_confident"].groupby("mode")["iou"].mean().max()
    assert f"mean IoU {best:.2f}" in text.split(";")[0] and "(published)" in text.split(";")[0]
    assert f"mean IoU {demo:.2f}" in text.split(";")[1] and "(demo, never trained" in text.split(";")[1]


def test_first_and_oracle_are_of_the_candidates_of_the_rows(runs):
    table = prompt_modes.by_choice(runs).set_index(["mode", "choice"])["iou"]
    for mode, run in runs.items():
        candidates = run.rows[["iou_0", "iou_1", "iou_2"]]
        assert table[mode, "first"] == pytest.approx(candidates["iou_0"].mean())
        assert table[mode, "oracle"] == pytest.approx(candidates.max(axis=1).mean())


def test_demo_rows_are_held_against_nothing_and_measured_ones_against_their_mode(runs):
    assert set(prompt_modes.gate(runs)["verdict"]) == {"demo"}
    rows = pd.concat([runs["box_all"].rows.iloc[:1]] * 6, ignore_index=True)
    value = published.iou_by_prompt_mode().set_index(["task", "mode", "mask_choice"])["iou"]
    value = value["US-Breast", 5, "first"]
    rows = rows.assign(
        case_id=list("abcdef"), patient_id=list("abcdef"), level="measured", model="sam_vit_h"
    ).assign(iou_0=value + np.linspace(-0.05, 0.05, 6), iou_1=0.999, iou_2=0.1)
    held = prompt_modes.gate({"box_all": Runs({}, {}, {("us_breast", "sam_vit_h"): rows}, [])})
    held = held.set_index("choice")
    assert held.loc["first", "verdict"] == "inside" and held.loc["oracle", "verdict"] == "outside"
    assert held.loc["first", "published"] == value != held.loc["oracle", "published"]


def test_differences_leave_out_a_model_that_does_not_take_the_prompt(runs):
    both = evaluate_subjects([load_dataset("us_breast")], "sam_small grabcut", clicks=1, max_cases=2)
    text = prompt_modes.differences({"clicks": both, "box": runs["box_all"]}, "clicks").data
    assert "sam_small" in text and "grabcut" not in text


def test_every_task_of_the_released_modes_is_one_that_a_dataset_of_ours_has():
    ours = {task for dataset in DATASETS.values() for task in dataset.tasks.values()}
    assert set(published.iou_by_prompt_mode()["task"]) <= ours
