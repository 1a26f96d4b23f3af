"""Figures as a page shows them: drawn by `plots`, set into HTML with captions that state the
finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import chain
from textwrap import fill

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes

from ... import plots, published
from ...case import Case
from ...clicks import Click
from ...datasets import DATASETS, Dataset
from ...metrics import iou
from ...models import Model
from ...simulation import replay, stored_clicks
from ...statistics import FEWEST, at_percentiles, mean_curves

SILVER = "measured, masks made by a model"
LEVELS = {
    "demo": "demo",
    "measured": "measured on your data",
    "published": "published",
    SILVER: SILVER,
}
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


def curves(rows: pd.DataFrame) -> HTML:
    """Mean IoU against clicks, a figure per task; the study's curve stands beside it, on axes of
    its own."""
    means = mean_curves(rows)
    panels = [_task_curves(task, of_task) for task, of_task in means.groupby("task", sort=False)]
    return HTML(row(list(chain.from_iterable(panels))))


def _task_curves(task: str, means: pd.DataFrame) -> list[str]:
    """Our curves of one task, and the study's if it has the task."""
    drawing, axes = plots.new_figure(3.6, 2.8)
    plots.curves(axes, means)
    level, ends_at = means["level"].iloc[0], ends(means, "model")
    few = means["low"].isna().all()
    bands = (
        f"no bands: fewer than {FEWEST} patients"
        if few
        else "bands: 95 % interval, patients resampled"
    )
    finding = f"Mean IoU at one click to {means['click'].max()}: {ends_at}; {bands}"
    kind = "Line plot of mean IoU against clicks"
    shown = [panel(drawing, axes, f"{task} · {level_text(level, [task])}", kind, finding)]
    return shown + ([study_curves(task, BESIDE[level])] if len(published.task_curves(task)) else [])


def study_curves(task: str, note: str = "") -> str:
    """The study's curves of one of its tasks; note: what the caption adds."""
    study = published.task_curves(task)
    drawing, axes = plots.new_figure(3.6, 2.8)
    plots.published_curves(axes, study)
    axes.set_title(f"{task} · published", loc="left", fontsize=10)
    finding = ends(study[study["click"].isin([1, study["click"].max()])], "method")
    return figure(
        plots.svg(
            drawing, f"Dashed line plot of the study's IoU against clicks on {task}: {finding}."
        ),
        f"<strong>{escape(task)}, published.</strong> The study's own values on its own images, "
        f"one click to nine: {finding}. {note}",
    )


def figure(picture: str, caption: str, width: int = 300) -> str:
    """A picture with its caption, `width` CSS pixels wide or as much as there is."""
    style = f"flex:1 1 {width}px;min-width:0;margin:0;padding:0"
    return (
        f'<figure class="medsam-figure" style="{style}">{picture}'
        f'<figcaption style="font-size:0.9em">{caption}</figcaption></figure>'
    )


def panel(drawing, axes, title: str, kind: str, finding: str, width: int = 300) -> str:
    """A plot with its title, and with the finding in its caption.

    drawing, axes: of `plots.new_figure`. kind: what a reader who does not see it must know first,
    such as "Line plot of IoU against clicks". title, kind, finding: text.
    """
    axes.set_title(fill(title, round(12 * axes.figure.get_figwidth())), loc="left", fontsize=10)
    picture = plots.svg(drawing, f"{kind}, {title}: {finding}.")
    return figure(picture, f"<strong>{escape(title)}.</strong> {escape(finding)}.", width)


def panels(
    table: pd.DataFrame,
    by: Sequence[str],
    kind: str,
    draw: Callable[[Axes, pd.DataFrame], str],
    size: tuple[float, float] = (3.6, 3.2),
    width: int = 300,
) -> HTML:
    """A `panel` for each group of a table, such as each model and level, side by side.

    by: columns that tell the groups apart, and that the title names. draw: (axes, lines of the
    group) -> the finding. size: of the drawing, in inches.
    """
    shown = []
    for key, of_group in table.groupby(list(by), sort=False):
        drawing, axes = plots.new_figure(*size)
        finding = draw(axes, of_group)
        title = " · ".join(LEVELS.get(part, str(part)) for part in key)
        shown.append(panel(drawing, axes, title, kind, finding, width))
    return HTML(row(shown))


def ends(table: pd.DataFrame, line: str = "line", value: str = "iou") -> str:
    """Where every line of a plot begins and ends.

    >>> ends(pd.DataFrame({"line": list("aab"), "iou": [0.5, 0.75, 1]}))
    'a 0.50 to 0.75; b 1.00 to 1.00'
    """
    by_line = table.groupby(line, sort=False)[value]
    return "; ".join(f"{name} {of.iloc[0]:.2f} to {of.iloc[-1]:.2f}" for name, of in by_line)


def picture(
    image: np.ndarray,
    caption: str,
    truth=None,
    prediction=None,
    alt: str = "",
    width: int = 200,
    **more,
) -> str:
    """An image with contours as `plots.example` draws them, which takes `more`, and its caption,
    text.

    alt: what the caption does not tell a reader who does not see it.
    """
    drawing, axes = plots.new_picture(image)
    plots.example(axes, image, truth, prediction, **more)
    return figure(plots.svg(drawing, f"{alt}{caption}"), escape(caption), width)


def row(figures: list[str]) -> str:
    """Figures side by side, below each other where the screen is narrow."""
    style = "display:flex;flex-wrap:wrap;align-items:flex-start;gap:1rem 1.5rem;margin:1rem 0"
    return f'<div class="medsam-row" style="{style}">{"".join(figures)}</div>'


def group(title: str, figures: list[str]) -> str:
    """A row of figures under a title of their own; title is text."""
    return f'<p class="medsam-group">{escape(title)}</p>{row(figures)}'


def examples(dataset: Dataset, models: Mapping[str, Model], rows: pd.DataFrame) -> HTML:
    """Images at the quartiles of IoU after one click, per task and model: the study's figures 2 and
    3."""
    blocks = []
    for (task, model), of_model in rows.groupby(["task", "model"], sort=False):
        figures = []
        for percentile, (case_id, value) in at_percentiles(of_model).items():
            of_object = of_model[of_model["case_id"] == case_id]
            class_name = dataset.task_classes[task]
            case = dataset.load(case_id, class_name)
            title = f"{model} on {task}, {percentile}th percentile"
            picture = example(case, case.masks[class_name], models[model], of_object, title)
            caption = (
                f"<strong>{percentile}th percentile</strong><br>IoU {value:.2f} · {escape(case_id)}"
            )
            figures.append(figure(picture, caption, width=200))
        level = level_text(of_model["level"].iloc[0], [task])
        blocks.append(group(f"{task}, {model} ({level})", figures))
    return HTML("".join(blocks))


def example(
    case: Case,
    truth: np.ndarray,
    model: Model,
    of_object: pd.DataFrame,
    title: str,
    side: int = 400,
) -> str:
    """Image, truth, prediction after one click and that click, as SVG; side: as for
    `plots.example`."""
    first = of_object[of_object["click"] == 1].iloc[0]
    prediction = replay(case, model, of_object, click=1)
    drawing, axes = plots.new_picture(case.image)
    plots.example(axes, case.image, truth, prediction, stored_clicks(of_object, 1), side=side)
    return plots.svg(
        drawing,
        f"{title}: IoU {first['iou']:.2f}; image with true contour, predicted contour and first "
        "click.",
    )


def steps(image: np.ndarray, truth: np.ndarray, steps: Sequence[tuple[Click, np.ndarray]]) -> HTML:
    """Algorithm 1 in pictures, one row per click: error region, its distances with the click, the
    new mask.

    image: uint8, H x W x 3. truth: bool, H x W. steps: each click with the mask predicted after it.
    """
    rows, clicks, before = [], [], np.zeros_like(truth)
    for number, (click, mask) in enumerate(steps, start=1):
        clicks.append(click)
        of_step = f"click {number}, {'positive' if click.positive else 'negative'}"
        region, distances, after = (plots.new_picture(image) for _ in range(3))
        plots.example(region[1], plots.with_error(image, truth, before))
        plots.distance_map(distances[1], truth ^ before, click)
        plots.example(after[1], image, truth, mask, clicks, numbered=True)
        captions = {
            "What is wrong": region,
            f"Distance to its boundary, {click.distance:.1f} pixels at {of_step}": distances,
            f"The mask after it, IoU {iou(mask, truth):.2f}": after,
        }
        pictures = [
            figure(plots.svg(f, f"{of_step}: {text}"), text, 200)
            for text, (f, _) in captions.items()
        ]
        rows.append(group(f"Click {number}", pictures))
        before = mask
    return HTML("".join(rows))
