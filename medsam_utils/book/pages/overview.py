"""What a page that puts the tasks of several datasets side by side shows."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from ... import plots, published
from ...datasets import Dataset
from ...statistics import mean_curves
from .. import show
from ..show import Shown
from . import figures, page
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
    "PET": "PET shows how much of a tracer each place has taken up. Lesions are bright, blurred "
    "and only a "
    "few pixels wide; organs that collect or excrete the tracer are bright as well.",
}
"""What is special about the images of a modality."""


def about(datasets: Sequence[Dataset]) -> Shown:
    """What is special about the images of these datasets' modalities."""
    modalities = dict.fromkeys(dataset.modality for dataset in datasets)
    return show.paragraphs(*(ABOUT[modality] for modality in modalities))


def answer(rows: pd.DataFrame) -> Shown:
    """Between which tasks each model's mean IoU ranges, after the first and the last click: one
    sentence."""
    means = mean_curves(rows)
    if means["task"].nunique() == 1:
        return page.answer(rows)
    sentences = []
    for level, level_means in means.groupby("level", sort=False):
        last, parts = int(level_means["click"].max()), []
        for model, curves in level_means.groupby("model", sort=False):
            ranges = [
                f"{_range(curves, click)} with {page.plural(click, 'click')}" for click in (1, last)
            ]
            parts.append(f"**{model}** ranges {' and '.join(ranges)}")
        tasks = level_means["task"].unique()
        words = level_text(level, tasks)
        sentences.append(f"Over {len(tasks)} tasks ({words}) {'; '.join(parts)}")
    return show.answer(*sentences)


def _range(curves: pd.DataFrame, click: int) -> str:
    """The tasks with the lowest and the highest mean IoU after a click."""
    at = curves[curves["click"] == click].set_index("task")["iou"]
    ends = [
        f"**{iou:.2f}** ({task})"
        for task, iou in ((at.idxmin(), at.min()), (at.idxmax(), at.max()))
    ]
    return f"from {ends[0]} to {ends[1]}"


def curves(means: pd.DataFrame) -> Shown:
    """Return IoU against clicks with a line per task: a figure per level and model, and the study's
    of the same tasks on their own.

    means: of `statistics.mean_curves`.
    """
    tasks = list(means["task"].unique())
    study = published.curves()
    both = pd.concat([means, study[study["task"].isin(tasks)]])

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
