"""confidence.py: predicted against true IoU, and the choice among candidates, on a handful of
masks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medsam_utils.confidence import calibration, calibration_error, mask_choices

ROWS = pd.DataFrame(
    {
        "dataset": "d",
        "task": "T",
        "model": "m",
        "level": "demo",
        "case_id": list("aabc"),
        "patient_id": list("aabc"),
        "click": [1, 2, 1, 1],
        "row": [5, -1, 5, 5],
        "predicted_iou": [0.95, 0.95, 0.85, 1.02],
        "iou": [0.75, 0.75, 0.95, 0.88],
        "predicted_iou_0": [0.5, 0.5, 0.85, 1.02],
        "predicted_iou_1": [0.95, 0.95, 0.2, np.nan],
        "predicted_iou_2": [0.1, 0.1, 0.3, np.nan],
        "iou_0": [0.85, 0.85, 0.95, 0.88],
        "iou_1": [0.75, 0.75, 0.15, np.nan],
        "iou_2": [0.05, 0.05, 0.97, np.nan],
    }
)


def test_calibration_bins_by_predicted_iou_and_leaves_out_carried_masks():
    table = calibration(ROWS)
    assert table[["bin", "masks"]].values.tolist() == [[9, 1], [10, 2]]
    assert table["predicted_iou"].tolist() == pytest.approx([0.85, (0.95 + 1.02) / 2])
    assert table["iou"].tolist() == pytest.approx([0.95, (0.75 + 0.88) / 2])


def test_calibration_error_and_bias_by_hand():
    line = calibration_error(ROWS).iloc[0]
    assert line["error"] == pytest.approx((0.20 + 0.10 + 0.14) / 3)
    assert line["bias"] == pytest.approx((0.20 - 0.10 + 0.14) / 3)
    assert line["masks"] == 3 and np.isnan(line["low"])  # three patients


def test_equal_patient_names_of_two_datasets_are_two_patients():
    rows = pd.concat(ROWS.iloc[[0, 2]].assign(dataset=name) for name in "def")
    assert calibration_error(rows)[["low", "high"]].notna().all(axis=None)  # 6 patients, not 2


def test_a_model_that_predicts_no_iou_has_no_calibration():
    assert calibration(ROWS.assign(predicted_iou=np.nan)).empty
    assert calibration_error(ROWS.assign(predicted_iou=np.nan)).empty


def test_the_regret_of_each_choice_by_hand():
    table = mask_choices(ROWS).set_index(["choice", "click"])
    first = table.xs(1, level="click")
    assert first.loc["most_confident", "iou"] == pytest.approx((0.75 + 0.95 + 0.88) / 3)
    assert first.loc["first", "iou"] == pytest.approx((0.85 + 0.95 + 0.88) / 3)
    assert first.loc["oracle", "iou"] == pytest.approx((0.85 + 0.97 + 0.88) / 3)
    assert first["regret"].to_dict() == {
        "most_confident": pytest.approx((0.10 + 0.02) / 3),
        "first": pytest.approx(0.02 / 3),
        "oracle": 0,
    }
    assert table.loc[("most_confident", 2), "regret"] == pytest.approx(0.10)
