"""The study's released numbers, and the gate that compares our own with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from .statistics import mean_curves

FOLDER = Path(__file__).resolve().parent.parent / "book/published"
METHODS = {"sam": "SAM", "ritm": "RITM"}
"""Methods of the study's figures, as the released tables and as pages call them."""
ALL_METHODS = {
    "sam": "SAM",
    "sam_oracle": "SAM, oracle",
    "ritm": "RITM",
    "simpleclick": "SimpleClick",
    "focalclick": "FocalClick",
}
"""Every method of the released tables."""
SEVERAL_CLASSES = (
    *("MRI-Brain: Core", "MRI-Brain: Edema", "MRI-Brain: GD", "Xray-Hip: Femur", "Xray-Hip: Ilium"),
    *(f"CT-Organ: {organ}" for organ in ("Liver", "Bladder", "Lung", "Kidney", "Bone")),
)
"""Tasks whose label maps hold several classes: there the released code calls a click on any class
positive. MRI-Spine and MRI-Breast, whose masks are separate files, are not among them."""
JOURNAL_ONLY = (
    *("MRI-Breast: Breast", "MRI-Breast: FGT", "US-Nerve", "US-Muscle", "US-Variantumor"),
    *("CT-Spleen", "CT-Colon", "CT-Pancreas", "CT-Hepatovessel", "PET-Wholebody"),
)
"""Tasks of the journal version that the first preprint, of eleven datasets, does not have."""
COUNTERPARTS = {"sam_vit_h": "SAM", "ritm_h32": "RITM"}
"""Which model of the registry has the weights of which method."""


@cache
def _read_table(name: str) -> pd.DataFrame:
    path = FOLDER / name
    if not path.is_file():  # the package without its book
        return pd.DataFrame(
            columns=["method", "task", "clicks", "iou", "mode", "mask_choice", "prompt"]
        )
    return pd.read_csv(path)


def click_table() -> pd.DataFrame:
    """IoU of SAM and RITM on 28 tasks after 1 to 9 clicks: columns method, task, click, iou.

    Empty where the package stands without its book.
    """
    table = _read_table("iou_by_clicks.csv").rename(columns={"clicks": "click"})
    table = table[table["method"].isin(METHODS)]
    return table.assign(method=table["method"].map(METHODS))[["method", "task", "click", "iou"]]


def curves() -> pd.DataFrame:
    """Return IoU of SAM and RITM in the columns of `statistics.mean_curves`: level, model, task,
    ..."""
    return click_table().rename(columns={"method": "model"}).assign(level="published")


def prompt_mode_table() -> pd.DataFrame:
    """IoU of SAM in five ways of prompting: columns task, mode (1 to 5), mask_choice, prompt, iou.

    Tasks are spelled as in the table of clicks.
    """
    table = _read_table("iou_by_prompt_mode.csv")[["task", "mode", "mask_choice", "prompt", "iou"]]
    return table.replace(
        {"task": {"MRI-Spine: SP": "MRI-Spine: SC", "CT-Hepaticvessel": "CT-Hepatovessel"}}
    )


def task_curves(task: str) -> pd.DataFrame:
    """The study's values of one task: columns method, click, iou; empty if it has none."""
    table = click_table()
    return table.loc[table["task"] == task, ["method", "click", "iou"]]


def class_means() -> pd.DataFrame:
    """Return each method's mean IoU over tasks of one class, and over those of several classes.

    Columns: classes ("one class", "several classes"), tasks (how many), method, click, iou. The
    oracle's two MRI-Breast tasks equal plain SAM's in the released table, so they are missing: it
    has no mean over the tasks of one class.
    """
    table = _read_table("iou_by_clicks.csv").rename(columns={"clicks": "click"})
    several = table["task"].isin(SEVERAL_CLASSES)
    table = table.assign(
        method=table["method"].map(ALL_METHODS),
        classes=np.where(several, "several classes", "one class"),
    )
    oracle = table["method"] == ALL_METHODS["sam_oracle"]
    groups = table[several | ~oracle].groupby(["classes", "method", "click"], sort=False)
    return groups.agg(tasks=("task", "nunique"), iou=("iou", "mean")).reset_index()


def mean_curve(method: str) -> pd.Series:
    """Unweighted mean over the tasks, by click: the study's average curve of SAM or RITM."""
    table = click_table()
    return table[table["method"] == method].groupby("click")["iou"].mean()


def tasks_ahead(first: str = "SAM", second: str = "RITM") -> pd.Series:
    """On how many tasks the first method's IoU is above the second's, by click."""
    table = click_table().pivot(index=["task", "click"], columns="method", values="iou")
    return (table[first] > table[second]).groupby("click").sum()


def gate(rows: pd.DataFrame, study: pd.DataFrame | None = None) -> pd.DataFrame:
    """Compare our values with the published ones per task, model and click.

    rows: of one protocol. study: the published values, as `iou_by_click` has them, which are taken
    without it. Columns: those of `statistics.mean_curves`, published, difference (ours minus
    published) and verdict: "inside" or "outside" our 95 % interval, "no interval" with too few
    patients, "not published" for a task or a model that the study's tables do not have. Demo rows
    are compared with nothing: their verdict is "demo", published and difference are NaN.
    """
    means = mean_curves(rows)
    means["method"] = means["model"].map(COUNTERPARTS)
    study = (click_table() if study is None else study).rename(columns={"iou": "published"})
    table = means.merge(study, how="left", on=["method", "task", "click"]).drop(columns="method")
    table["published"] = table["published"].where(table["level"] == "measured")
    table["difference"] = table["iou"] - table["published"]
    verdicts = {
        "demo": table["level"] == "demo",
        "not published": table["published"].isna(),
        "no interval": table["low"].isna(),
        "inside": table["published"].between(table["low"], table["high"]),
    }
    return table.assign(verdict=np.select(list(verdicts.values()), list(verdicts), "outside"))
