"""Figures that several pages show: drawn by `plots`, with captions that state the finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ... import plots, published
from ...case import Case
from ...clicks import Click
from ...datasets import DATASETS, Dataset
from ...metrics import iou
from ...models import Model
from ...simulation import replay, stored_clicks
from ...statistics import FEWEST, at_percentiles
from .. import show
from ..show import Figure, Shown

IN_SIGHT = 4
"""Figures of the same kind that stand in sight; more are closed until they are clicked."""
SILVER = "measured, masks made by a model"
LEVELS = show.LEVELS | {SILVER: SILVER}
BESIDE = {
    "demo": "Other models on other images: not to be compared with a demo.",
    "measured": "Other models, on images that were prepared in a way that was not published.",
}
BY_A_MODEL = {
    task
    for dataset in DATASETS.values()
    if dataset.passport.masks_by
    for task in dataset.tasks.values()
}
"""Tasks whose masks, which stand for the truth, a model made."""


def level_text(level: str, tasks: Iterable[str]) -> str:
    """Return a level in words, which say so where masks that a model made stand for the truth.

    >>> level_text("measured", ["US-Breast"]), level_text("measured", ["CT-Torso: liver"])
    ('measured on your data', 'measured, masks made by a model')
    >>> level_text("measured", ["US-Breast", "CT-Torso: liver"])
    'measured, some masks made by a model'
    """
    tasks = set(tasks)
    if level != "measured" or not tasks & BY_A_MODEL:
        return LEVELS[level]
    return SILVER if tasks <= BY_A_MODEL else "measured, some masks made by a model"


def apart(means: pd.DataFrame) -> pd.DataFrame:
    """Return means with a level of its own for tasks whose masks a model made, so that nothing is
    averaged over them and others."""
    made = means["task"].isin(BY_A_MODEL) & (means["level"] == "measured")
    return means.assign(level=means["level"].mask(made, SILVER))


def curves(means: pd.DataFrame) -> Shown:
    """Return mean IoU against clicks, a figure per task, the study's curve on axes beside it.

    means: of `statistics.mean_curves`.
    """
    shown = []
    for task, task_means in means.groupby("task", sort=False):
        shown.append(task_curves(task, task_means))
        if len(published.task_curves(task)):
            shown.append(study_curves(task, BESIDE[task_means["level"].iloc[0]]))
    return show.some(shown, IN_SIGHT, "figures")


def task_curves(task: str, means: pd.DataFrame) -> Figure:
    """Return the measured curves of one task, a line per model."""
    _, axes = plots.new_figure(3.6, 2.8)
    plots.curves(axes, means)
    bands = "bands: 95 % interval, patients resampled"
    if means["low"].isna().all():
        bands = f"no bands: fewer than {FEWEST} patients"
    title = f"{task} · {level_text(means['level'].iloc[0], [task])}"
    finding = f"Mean IoU at one click to {means['click'].max()}: {ends(means, 'model')}; {bands}"
    return show.panel(axes, title, "Line plot of mean IoU against clicks", finding)


def study_curves(task: str, note: str = "") -> Figure:
    """Return the study's curves of one of its tasks. note: what the caption adds."""
    study = published.task_curves(task)
    drawing, axes = plots.new_figure(3.6, 2.8)
    plots.published_curves(axes, study)
    axes.set_title(f"{task} · published", loc="left", fontsize=10)
    finding = ends(study[study["click"].isin([1, study["click"].max()])], "method")
    return show.figure(
        drawing,
        f"Dashed line plot of the study's IoU against clicks on {task}: {finding}.",
        f"**{task}, published.** The study's own values on its own images, one click to nine: "
        f"{finding}. {note}",
    )


def ends(table: pd.DataFrame, line: str = "line", value: str = "iou") -> str:
    """Return where every line of a plot begins and ends, in words.

    >>> ends(pd.DataFrame({"line": list("aab"), "iou": [0.5, 0.75, 1]}))
    'a 0.50 to 0.75; b 1.00 to 1.00'
    """
    by_line = table.groupby(line, sort=False)[value]
    parts = [f"{name} {curve.iloc[0]:.2f} to {curve.iloc[-1]:.2f}" for name, curve in by_line]
    return "; ".join(parts)


def picture(
    image: np.ndarray,
    caption: str,
    truth=None,
    prediction=None,
    alt: str = "",
    width: int = 200,
    **more,
) -> Figure:
    """Return an image with contours as `plots.example` draws them, which takes `more`.

    alt: what the caption does not tell a reader who does not see it.
    """
    drawing, axes = plots.new_picture(image)
    plots.example(axes, image, truth, prediction, **more)
    return show.figure(drawing, f"{alt}{caption}", caption, width)


def examples(dataset: Dataset, models: Mapping[str, Model], rows: pd.DataFrame) -> Shown:
    """Return images at the quartiles of IoU after one click, per task and model.

    They are the study's figures 2 and 3.
    """
    blocks = []
    for (task, model), model_rows in rows.groupby(["task", "model"], sort=False):
        pictures = []
        for percentile, (case_id, value) in at_percentiles(model_rows).items():
            object_rows = model_rows[model_rows["case_id"] == case_id]
            class_name = dataset.task_classes[task]
            case = dataset.load(case_id, class_name)
            title = f"{model} on {task}, {percentile}th percentile"
            caption = f"**{percentile}th percentile**\nIoU {value:.2f} · {case_id}"
            truth = case.masks[class_name]
            pictures.append(example(case, truth, models[model], object_rows, title, caption))
        level = level_text(model_rows["level"].iloc[0], [task])
        blocks.append(show.pictures(f"{task}, {model} ({level})", pictures))
    return show.folded(blocks, IN_SIGHT - 1, "tasks and models")


def example(
    case: Case,
    truth: np.ndarray,
    model: Model,
    object_rows: pd.DataFrame,
    title: str,
    caption: str,
    side: int = 400,
    width: int = 200,
) -> Figure:
    """Return image, truth, prediction after one click and that click, cropped round the object.

    object_rows: the stored rows of the object under the model. side: as for `plots.example`.
    """
    first = object_rows[object_rows["click"] == 1].iloc[0]
    prediction = replay(case, model, object_rows, click=1)
    rows, cols = window(truth, prediction)
    clicks = [
        replace(click, row=click.row - rows.start, col=click.col - cols.start)
        for click in stored_clicks(object_rows, 1)
    ]
    shown = case.image[rows, cols]
    drawing, axes = plots.new_picture(shown)
    plots.example(axes, shown, truth[rows, cols], prediction[rows, cols], clicks, side=side)
    alt = f"{title}: IoU {first['iou']:.2f}; image with true and predicted contour and first click."
    return show.figure(drawing, alt, caption, width)


def window(truth: np.ndarray, prediction: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of a picture that shows an object and its prediction whole.

    truth, prediction: bool, H x W. The window has the image's proportions and lies in it; round
    what it shows there is room, and it is a quarter of the image's width at least.

    >>> truth = np.zeros((100, 200), bool)
    >>> truth[40:60, 90:110] = True
    >>> window(truth, truth)
    (slice(30, 70, None), slice(60, 140, None))
    """
    shape = np.array(truth.shape)
    places = np.argwhere(truth | prediction)
    low, high = (places.min(axis=0), places.max(axis=0) + 1) if len(places) else (0 * shape, shape)
    share = min(max(2 * ((high - low) / shape).max(), 0.25), 1)
    size = np.ceil(shape * share).astype(int)
    first = np.clip((low + high - size) // 2, 0, shape - size)
    rows, cols = (slice(int(a), int(a + n)) for a, n in zip(first, size, strict=True))
    return rows, cols


def steps(image: np.ndarray, truth: np.ndarray, steps: Sequence[tuple[Click, np.ndarray]]) -> Shown:
    """Return Algorithm 1 in pictures, one row per click: error region, distances, the new mask.

    image: uint8, H x W x 3. truth: bool, H x W. steps: each click with the mask predicted after it.
    """
    rows, clicks, before = [], [], np.zeros_like(truth)
    for number, (click, mask) in enumerate(steps, start=1):
        clicks.append(click)
        which = f"click {number}, {'positive' if click.positive else 'negative'}"
        region, distances, after = (plots.new_picture(image) for _ in range(3))
        plots.example(region[1], plots.with_error(image, truth, before))
        plots.distance_map(distances[1], truth ^ before, click)
        plots.example(after[1], image, truth, mask, clicks, numbered=True)
        captions = {
            "What is wrong": region,
            f"Distance to its boundary, {click.distance:.1f} pixels at {which}": distances,
            f"The mask after it, IoU {iou(mask, truth):.2f}": after,
        }
        pictures = [
            show.figure(drawing, f"{which}: {text}", text, 200)
            for text, (drawing, _) in captions.items()
        ]
        rows.append(show.group(f"Click {number}", pictures))
        before = mask
    return show.joined(rows)
