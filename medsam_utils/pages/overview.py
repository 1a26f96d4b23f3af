"""Several datasets together: their rows, and what a page that puts their tasks side by side shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd
from IPython.display import HTML

from .. import plots, published
from ..datasets import Dataset
from ..statistics import mean_curves
from . import figures, page
from .figures import LEVELS

ABOUT = {
    "MRI": "Brightness in MRI has no unit: the same tissue has other values in another sequence, on another "
    "scanner, and nearer to the coil. Each image is therefore stretched between percentiles of its own "
    "values before a model sees it. Soft tissues differ well from each other; where a tumour ends often does "
    "not show.",
    "X-ray": "An X-ray adds up all that lies along the beam. Outlines of bones and organs cross, and one "
    "object is seen through another. The objects here are large, and many come in pairs, left and right.",
    "Ultrasound": "Ultrasound shows echoes: speckle in place of even brightness, shadows behind bone and "
    "gas, outlines that fade where they run along the beam. What is seen depends on the hand that holds the "
    "probe.",
    "CT": "CT values are Hounsfield units and mean the same on every scanner, but there are thousands of "
    "them, and a model sees 256 grey values. The window of values that is shown decides what can be told "
    "apart; the study's windows are not published.",
    "PET": "PET shows how much of a tracer each place has taken up. Lesions are bright, blurred and only a "
    "few pixels wide; organs that collect or excrete the tracer are bright as well.",
}
"""What is special about the images of a modality."""


def about(datasets: Sequence[Dataset]) -> HTML:
    """What is special about the images of these datasets' modalities."""
    modalities = dict.fromkeys(dataset.modality for dataset in datasets)
    return HTML("".join(f"<p>{escape(ABOUT[modality])}</p>" for modality in modalities))


def answer(rows: pd.DataFrame) -> HTML:
    """Between which tasks each model's mean IoU ranges, after the first and the last click: one sentence."""
    means = mean_curves(rows)
    if means["task"].nunique() == 1:
        return page.answer(rows)
    sentences = []
    for level, of_level in means.groupby("level", sort=False):
        last, parts = int(of_level["click"].max()), []
        for model, curves in of_level.groupby("model", sort=False):
            ranges = [f"{_range(curves, click)} with {click} {_clicks(click)}" for click in (1, last)]
            parts.append(f"<strong>{escape(model)}</strong> ranges {' and '.join(ranges)}")
        tasks = of_level["task"].nunique()
        sentences.append(f"Over {tasks} tasks ({LEVELS[level]}) {'; '.join(parts)}.")
    return HTML(f'<p class="medsam-answer">{" ".join(sentences)}</p>')


def _clicks(count: int) -> str:
    return "click" if count == 1 else "clicks"


def _range(curves: pd.DataFrame, click: int) -> str:
    """The tasks with the lowest and the highest mean IoU after a click."""
    at = curves[curves["click"] == click].set_index("task")["iou"]
    ends = [
        f"<strong>{iou:.2f}</strong> ({escape(task)})"
        for task, iou in ((at.idxmin(), at.min()), (at.idxmax(), at.max()))
    ]
    return f"from {ends[0]} to {ends[1]}"


def curves(rows: pd.DataFrame) -> HTML:
    """IoU against clicks with a line per task: a figure per level and model, and the study's on their own."""
    means = mean_curves(rows)
    tasks = list(means["task"].unique())
    panels = [
        _panel(of_model.assign(line=of_model["task"]), tasks, f"{model} · {LEVELS[level]}")
        for (level, model), of_model in means.groupby(["level", "model"], sort=False)
    ]
    study = published.iou_by_click()
    study = study[study["task"].isin(tasks)]
    panels += [
        _panel(of_method.assign(line=of_method["task"]), tasks, f"{method} · published", dashed=True)
        for method, of_method in study.groupby("method", sort=False)
    ]
    return HTML(figures.row(panels))


def _panel(means: pd.DataFrame, tasks: list[str], title: str, dashed: bool = False) -> str:
    """One figure with a line per task; the same task looks the same in all of them."""
    drawing, axes = plots.new_figure(3.6, 2.8 + 0.2 * len(tasks))
    plots.lines(axes, means, tasks, dashed)
    axes.set_title(title, loc="left", fontsize=10)
    last = int(means["click"].max())
    gain = means.pivot(index="task", columns="click", values="iou")
    gain = (gain[last] - gain[1]).round(2).sort_values() + 0.0  # not -0.00
    finding = f"from one click to {last}, {gain.index[-1]} gains {gain.iloc[-1]:+.2f}"
    if len(gain) > 1:
        finding += f", {gain.index[0]} {gain.iloc[0]:+.2f}"
    ends = means[means["click"].isin([1, last])].groupby("task", sort=False)["iou"]
    values = "; ".join(f"{task} {iou.iloc[0]:.2f} to {iou.iloc[-1]:.2f}" for task, iou in ends)
    picture = plots.svg(drawing, f"Line plot of mean IoU against clicks, {title}: {values}.")
    return figures.figure(picture, f"<strong>{escape(title)}.</strong> Mean IoU: {escape(finding)}.")
