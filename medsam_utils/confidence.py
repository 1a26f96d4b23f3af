"""How sure a model is, against how right it is: its predicted IoU, and what choosing a mask by it costs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .statistics import GROUP, interval

CHOICES = ("most_confident", "first", "oracle")


def calibration(rows: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """Mean true IoU of the masks of each bin of predicted IoU, per model: the reliability diagram.

    Columns: model, level, bin (1 to `bins`, equal parts of 0..1), masks, predicted_iou and iou (means),
    low, high (95 % interval of the mean true IoU, patients resampled). A prediction outside 0..1 counts in
    the bin next to it. Masks of all tasks and clicks together; models that predict no IoU are left out.
    """
    lines = []
    for (model, level), answers in _answers(rows).groupby(["model", "level"], sort=False):
        numbers = np.ceil(answers["predicted_iou"] * bins).clip(1, bins).astype(int)
        for number, masks in answers.groupby(numbers):
            low, high = interval(masks[["iou"]].to_numpy(), masks["patient"].to_numpy())[:, 0]
            line = {"model": model, "level": level, "bin": number, "masks": len(masks)}
            line |= masks[["predicted_iou", "iou"]].mean().to_dict()
            lines.append(line | {"low": low, "high": high})
    return pd.DataFrame(lines)


def calibration_error(rows: pd.DataFrame) -> pd.DataFrame:
    """How far the predicted IoU is from the true one, per model.

    Columns: model, level, masks, error (mean absolute difference), bias (mean of predicted minus true:
    above 0 the model is too sure), low, high (95 % interval of the bias, patients resampled).
    """
    lines = []
    for (model, level), masks in _answers(rows).groupby(["model", "level"], sort=False):
        excess = masks["predicted_iou"] - masks["iou"]
        patients = masks["patient"].to_numpy()
        low, high = interval(excess.to_numpy()[:, None], patients, within=(-np.inf, np.inf))[:, 0]
        line = {"model": model, "level": level, "masks": len(masks), "error": excess.abs().mean()}
        lines.append(line | {"bias": excess.mean(), "low": low, "high": high})
    return pd.DataFrame(lines)


def _answers(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of masks that were predicted, not carried forward, with both IoUs known; patients by dataset."""
    answers = rows[(rows["row"] >= 0) & rows["predicted_iou"].notna() & rows["iou"].notna()]
    return answers.assign(patient=answers["dataset"] + "/" + answers["patient_id"])


def mask_choices(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU under each way to choose among the candidate masks, and its regret.

    Columns: task, model, level, click, choice (most_confident, first, oracle), iou, regret (means; how much
    the best candidate's IoU is above the chosen one's), low, high (95 % interval of the regret). The clicks
    are those of the run, which followed the choice of its own protocol: after the first click these are not
    the curves that a run under the other choice would give.
    """
    candidates = rows.filter(regex=r"^iou_\d$").to_numpy()
    confidences = rows.filter(regex=r"^predicted_iou_\d$").to_numpy()
    chosen = np.nan_to_num(confidences, nan=-np.inf).argmax(axis=1)
    values = {
        "most_confident": candidates[np.arange(len(rows)), chosen],
        "first": candidates[:, 0],
        "oracle": np.nanmax(candidates, axis=1),
    }
    keys = rows[[*GROUP, "click", "patient_id"]]
    lines = []
    for choice in CHOICES:
        table = keys.assign(iou=values[choice], regret=values["oracle"] - values[choice])
        for key, of_click in table.groupby([*GROUP, "click"], sort=False):
            low, high = interval(of_click[["regret"]].to_numpy(), of_click["patient_id"].to_numpy())[:, 0]
            line = dict(zip([*GROUP, "click"], key, strict=True)) | {"choice": choice}
            lines.append(line | of_click[["iou", "regret"]].mean().to_dict() | {"low": low, "high": high})
    return pd.DataFrame(lines)
