"""Predicted IoU against true IoU: calibration, and what choosing a mask by it costs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .statistics import GROUP, means

CHOICES = ("most_confident", "first", "oracle")


def calibration(rows: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """Mean true IoU of the masks of each bin of predicted IoU, per model: the reliability diagram.

    Columns: model, level, bin (1 to `bins`, equal parts of 0..1), iou and predicted_iou (means),
    low, high (95 % interval of the mean true IoU, patients resampled), masks and patients. A
    prediction outside 0..1 counts in the bin next to it. Masks of all tasks and clicks together;
    models that predict no IoU are left out.
    """
    answers = _answers(rows)
    answers["bin"] = np.ceil(answers["predicted_iou"] * bins).clip(1, bins).astype(int)
    table = means(answers.sort_values("bin"), ["model", "level", "bin"], beside=["predicted_iou"])
    return table.rename(columns={"objects": "masks"})


def calibration_error(rows: pd.DataFrame) -> pd.DataFrame:
    """How far the predicted IoU is from the true one, per model.

    Columns: model, level, bias (mean of predicted minus true: above 0 the model is too sure), low,
    high (95 % interval of the bias, patients resampled), masks, patients and error (mean absolute
    difference).
    """
    answers = _answers(rows)
    excess = answers["predicted_iou"] - answers["iou"]
    answers = answers.assign(bias=excess, error=excess.abs())
    table = means(answers, ["model", "level"], "bias", ["error"], within=(-np.inf, np.inf))
    return table.rename(columns={"objects": "masks"})


def _answers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose mask was predicted and whose IoUs are both known; patients per dataset."""
    answers = rows[(rows["row"] >= 0) & rows["predicted_iou"].notna() & rows["iou"].notna()]
    return answers.assign(patient_id=answers["dataset"] + "/" + answers["patient_id"])


def mask_choices(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU under each way to choose among the candidate masks, and its regret.

    Columns: task, model, level, click, choice (most_confident, first, oracle), iou, regret (means;
    how much the best candidate's IoU is above the chosen one's), low, high (95 % interval of the
    regret), objects, patients. The clicks are those of the run, which followed the choice of its
    own protocol: after the first click these are not the curves that a run under the other choice
    would give.
    """
    candidates = rows.filter(regex=r"^iou_\d$").to_numpy()
    confidences = rows.filter(regex=r"^predicted_iou_\d$").to_numpy()
    chosen = np.nan_to_num(confidences, nan=-np.inf).argmax(axis=1)
    values = {
        "most_confident": candidates[np.arange(len(rows)), chosen],
        "first": candidates[:, 0],
        "oracle": np.nanmax(candidates, axis=1),
    }
    keys, by = rows[[*GROUP, "click", "patient_id"]], [*GROUP, "click", "choice"]
    regrets = {choice: values["oracle"] - values[choice] for choice in CHOICES}
    table = pd.concat([keys.assign(choice=c, iou=values[c], regret=regrets[c]) for c in CHOICES])
    return means(table, by, "regret", ["iou"])
