"""What a page that puts the tasks of several datasets side by side shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ... import plots, published
from ...datasets import Dataset
from ...statistics import mean_curves
from .. import show
from ..show import Shown
from . import figures
from .figures import level_text

ABOUT = {
    "MRI": "Brightness in MRI has no unit: the same tissue has other values in another sequence, "
    "on another "
    "scanner, and nearer to the coil. Each image is therefore stretched between percentiles of its "
    "own values before a model sees it. Soft tissues differ well from each other; where a tumour "
    "ends often does not show.",
    "X-ray": "An X-ray adds up all that lies along the beam. Outlines of bones and organs cross, "
    "and one "
    "object is seen through another. The objects here are large, and many come in pairs, left and "
    "right.",
    "Ultrasound": "Ultrasound shows echoes: speckle in place of even brightness, shadows behind "
    "bone and "
    "gas, outlines that fade where they run along the beam. What is seen depends on the hand that "
    "holds the probe.",
    "CT": "CT values are Hounsfield units and mean the same on every scanner, but there are "
    "thousands of "
    "them, and a model sees 256 grey values. The window of values that is shown decides what can "
    "be told apart; the study's windows are not published.",
}
"""What is special about the images of a modality that has a page."""


def about(datasets: Sequence[Dataset]) -> Shown:
    """What is special about the images of these datasets' modalities."""
    modalities = dict.fromkeys(dataset.modality for dataset in datasets)
    return show.paragraphs(*(ABOUT[modality] for modality in modalities if modality in ABOUT))


NOTES = {
    "us_kidney": "**US-Kidney** is no ultrasound of patients: a network made the images out of CT "
    "slices.",
    "xray_hip": "**Xray-Hip: Femur**: RITM's published IoU is 0.247 after each of the nine clicks. "
    "None of them changed anything, and why is not known.",
    "pet_liver": "PET shows how much of a tracer each place has taken up. Lesions are bright, "
    "blurred and only a few pixels wide; organs that collect or excrete the tracer are bright as "
    "well. "
    "**PET-Liver** has no published curve: it is a dataset of the preprint, and its authors "
    "released the numbers of the journal version alone, which has PET-Wholebody instead.",
}
"""What a reader must know of a dataset before reading its numbers."""


def notes(datasets: Sequence[Dataset]) -> Shown:
    """Return what must be known of some datasets; empty where there is nothing to say."""
    said = [NOTES[dataset.name] for dataset in datasets if dataset.name in NOTES]
    return show.bullets(said) if said else show.NOTHING


GOOD = 0.8
"""The mean IoU from which on a task counts as reached."""
FEWEST_OBJECTS = 5
"""With fewer objects a task's mean says too little to rank it."""


def answer(rows: pd.DataFrame) -> Shown:
    """Which tasks reach a mean IoU of GOOD with one click, which with the last, and which never:
    a sentence for the study's SAM and RITM, and for the first model of each level of this run."""
    ours = mean_curves(rows)
    study = published.curves()
    study = study[study["task"].isin(ours["task"])]
    firsts = ours[["level", "model"]].drop_duplicates("level")
    both = [study, ours.merge(firsts, on=["level", "model"])]
    sentences = []
    for means in both:
        for (level, model), curves in means.groupby(["level", "model"], sort=False):
            sentences.append(_reached(curves, model, level))
    return show.answer(*sentences)


def reach(curves: pd.DataFrame) -> pd.Series:
    """Return after which click each task's mean IoU first is GOOD or more; infinite if never.

    curves: of one model and level. Tasks of fewer than FEWEST_OBJECTS objects are left out.
    """
    if "objects" in curves:
        few = curves.groupby("task", sort=False)["objects"].transform("max") < FEWEST_OBJECTS
        curves = curves[~few | (curves["level"] == "published")]
    clicks = curves["click"].where(curves["iou"] >= GOOD, np.inf)
    return clicks.groupby(curves["task"], sort=False).min()


def _reached(curves: pd.DataFrame, model: str, level: str) -> str:
    """Return one model's tasks by the clicks that they take, in words."""
    clicks, last = reach(curves), int(curves["click"].max())
    if clicks.empty:
        few = f"no task here has {FEWEST_OBJECTS} objects, too few to say"
        return f"**{model}** ({level_text(level, curves['task'])}): {few}"
    groups = {
        "with one click on": clicks[clicks == 1],
        f"with two to {last} on": clicks[(clicks > 1) & np.isfinite(clicks)],
        "and never on": clicks[np.isinf(clicks)],
    }
    parts = [
        f"{words} **{', '.join(group.index) if len(group) else 'none'}**"
        for words, group in groups.items()
        if last > 1 or "two" not in words
    ]
    words = level_text(level, clicks.index)
    return f"**{model}** ({words}) reaches a mean IoU of {GOOD:.2f} {', '.join(parts)}"


def curves(means: pd.DataFrame) -> Shown:
    """Return IoU against clicks with a line per task: the first model of each level, and the
    study's SAM and RITM on the same tasks.

    means: of `statistics.mean_curves`.
    """
    tasks = list(means["task"].unique())
    study = published.curves()
    first = means.merge(means[["level", "model"]].drop_duplicates("level"), on=["level", "model"])
    both = pd.concat([study[study["task"].isin(tasks)], first])

    def draw(axes: Axes, model_means: pd.DataFrame) -> str:
        """A line per task, which looks the same in all figures."""
        dashed = model_means["level"].iloc[0] == "published"
        plots.lines(axes, model_means.assign(line=model_means["task"]), tasks, dashed)
        last = int(model_means["click"].max())
        gain = model_means.pivot(index="task", columns="click", values="iou")
        gain = (gain[last] - gain[1]).round(2).sort_values() + 0.0  # not -0.00
        gains = [f"{gain.index[-1]} gains {gain.iloc[-1]:+.2f}"]
        gains += [f"{gain.index[0]} {gain.iloc[0]:+.2f}"] if len(gain) > 1 else []
        ends = figures.ends(model_means[model_means["click"].isin([1, last])], "task")
        return f"Mean IoU from one click to {last}, {', '.join(gains)}: {ends}"

    size = (3.6, 2.8 + 0.2 * len(tasks))
    return show.panels(both, ["model", "level"], "Line plot of mean IoU against clicks", draw, size)
