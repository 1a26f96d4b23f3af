"""The study's 28 tasks in one table, to sort."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ... import published
from ...datasets import DATASETS
from .. import show
from ..show import Shown

CLICKS = (1, 3, 9)
CHAPTERS = {
    "MRI-Spine": "mri_spine",
    "MRI-Heart": "mri_heart",
    "MRI-Prostate": "mri_prostate",
    "MRI-Brain": "mri_brain",
    "Xray-Chest": "xray_chest",
    "Xray-Hip": "xray_hip",
    "US-Breast": "us_breast",
    "US-Kidney": "us_kidney",
    "CT-Liver": "ct_liver",
    "CT-Organ": "ct_organ",
}
"""Datasets of the study that have a chapter; the others are on the page of all datasets."""


def table() -> pd.DataFrame:
    """Return a line for each task of the study.

    Columns: task, modality, classes ("one", "several"), SAM@k and RITM@k for CLICKS, leads (with
    the last click), passes (the click from which on RITM stays ahead; infinite: none) and preprint.
    """
    ious = published.click_table().pivot(index="task", columns=["method", "click"], values="iou")
    modality = {dataset.title: dataset.modality for dataset in DATASETS.values()}
    several = ious.index.isin(published.SEVERAL_CLASSES)
    columns = {
        f"{method}@{click}": ious[method, click] for method in ("SAM", "RITM") for click in CLICKS
    }
    last = max(CLICKS)
    lines = pd.DataFrame(columns).assign(
        modality=[modality[task.split(":")[0]] for task in ious.index],
        classes=np.where(several, "several", "one"),
        leads=np.where(ious["SAM", last] > ious["RITM", last], "SAM", "RITM"),
        passes=ahead_from(ious["RITM"] - ious["SAM"]),
        preprint=~ious.index.isin(published.JOURNAL_ONLY),
    )
    first = ["modality", "classes"]
    return lines.rename_axis("task").reset_index()[["task", *first, *columns, *lines.columns[-3:]]]


def ahead_from(differences: pd.DataFrame) -> np.ndarray:
    """Return the click from which on a difference stays above 0, infinite if it does not at last.

    differences: a line per task, a column per click.

    >>> ahead_from(pd.DataFrame({1: [0.1, -0.1], 2: [-0.1, 0.1], 3: [0.1, -0.1]})).tolist()
    [3.0, inf]
    """
    behind = differences.to_numpy() <= 0
    last_behind = np.where(behind.any(axis=1), behind.shape[1] - behind[:, ::-1].argmax(axis=1), 0)
    return np.where(last_behind == behind.shape[1], np.inf, last_behind + 1.0)


def answer(lines: pd.DataFrame) -> Shown:
    """Return on how many tasks SAM leads after each of CLICKS. lines: of `table`."""
    counts = {click: (lines[f"SAM@{click}"] > lines[f"RITM@{click}"]).sum() for click in CLICKS}
    one = lines[lines["classes"] == "one"]
    several = lines[lines["classes"] == "several"]
    return show.answer(
        f"SAM leads on **{counts[1]}** of {len(lines)} tasks with one click, on **{counts[3]}** "
        f"with three and on **{counts[9]}** with nine; RITM leads with nine on "
        f"**{(one['leads'] == 'RITM').sum()} of {len(one)}** tasks of one class and on "
        f"**{(several['leads'] == 'RITM').sum()} of {len(several)}** of several (published)"
    )


def preprint(lines: pd.DataFrame) -> Shown:
    """Return what the preprint's tasks alone say with the last click. lines: of `table`."""
    early, last = lines[lines["preprint"]], max(CLICKS)
    means = {m: (early[f"{m}@{last}"].mean(), lines[f"{m}@{last}"].mean()) for m in ("SAM", "RITM")}
    return show.paragraphs(
        f"On the {len(early)} tasks of the preprint the mean IoU with {last} clicks is "
        f"{means['SAM'][0]:.3f} for SAM and {means['RITM'][0]:.3f} for RITM, which its authors "
        f"call similar; on all {len(lines)} it is {means['SAM'][1]:.3f} and "
        f"{means['RITM'][1]:.3f}, and RITM has passed."
    )


def shown(lines: pd.DataFrame) -> Shown:
    """Return the table to sort, with links to chapters. lines: of `table`."""
    pages = [CHAPTERS.get(task.split(":")[0], "datasets") for task in lines["task"]]
    names = [f"[{task}]({page}.html)" for task, page in zip(lines["task"], pages, strict=True)]
    marks = np.where(lines["preprint"], " p", "")
    passes = [
        "never"
        if np.isinf(click)
        else "from the start"
        if click == 1
        else f"from click {click:.0f}"
        for click in lines["passes"]
    ]
    short = {"Ultrasound": "US"}
    text = lines.assign(
        task=[name + mark for name, mark in zip(names, marks, strict=True)],
        modality=lines["modality"].replace(short),
        passes=passes,
    ).drop(columns="preprint")
    titles = {"task": "Task", "modality": "Kind", "classes": "Classes", "leads": "Leads at 9"}
    text = text.rename(columns=titles | {"passes": "RITM ahead"})
    return show.table(text, digits=2, fold=False)
