"""Ways to prompt: points, boxes, several of them, beside the study's released numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ... import plots, published
from ...case import Case
from ...clicks import Protocol
from ...models import Model
from ...prompts import PUBLISHED
from ...simulation import simulate_clicks
from .. import show
from ..show import LEVELS, Figure, Shown
from .page import plural

TITLES = {
    "clicks": "1 point, deepest in the object",
    "point_largest": "1 point, largest region",
    "points_3_largest": "a point in each of 3 regions",
    "box_largest": "box round the largest region",
    "boxes_3_largest": "box round each of 3 regions",
    "box_all": "one box round everything",
}
"""Value of `Protocol.prompt` in words."""


def published_modes() -> pd.DataFrame:
    """Return the study's IoU: columns task, mode (as `Protocol.prompt`), choice, prompt, iou, model
    and level."""
    table = published.prompt_mode_table().rename(columns={"mask_choice": "choice"})
    return table.assign(mode=table["mode"].map(PUBLISHED), model="SAM", level="published")


def mode_means(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean IoU over tasks, every task weighing the same, and how many tasks there are.

    table: a line per task, with columns level, model, mode, choice and iou.
    """
    groups = table.groupby(["level", "model", "mode", "choice"], sort=False)
    return groups.agg(iou=("iou", "mean"), tasks=("task", "nunique")).reset_index()


def answer(by_mode: pd.DataFrame) -> Shown:
    """Return with which of the study's modes each model does best and worst.

    by_mode: of `mode_means`.
    """
    published_level = by_mode["level"] == "published"
    counted = np.where(
        published_level, "first", "most_confident"
    )  # the choice that stands for each
    counted_means, parts = by_mode[by_mode["choice"] == counted], []
    for (level, model), means in counted_means.groupby(["level", "model"], sort=False):
        ious = means.set_index("mode")["iou"].reindex(PUBLISHED.values()).dropna()
        text = (
            f"{TITLES[ious.idxmax()].capitalize()} is worth most with **{model}**: mean IoU "
            f"**{ious.max():.2f}**, against **{ious.min():.2f}** with {TITLES[ious.idxmin()]}, the "
            "least"
        )
        tasks = f"mean of {plural(means['tasks'].iloc[0], 'task')}"
        scopes = [f"{tasks}; {LEVELS[level]}", "every task weighing the same"]
        parts.append((text, scopes))
    return show.answer(*parts)


def mode_figures(by_mode: pd.DataFrame) -> Shown:
    """Return a figure per model: a point for each mode and choice, hollow for the study's.

    by_mode: of `mode_means`.
    """
    counts = by_mode["tasks"].map(lambda count: plural(count, "task"))
    titled = by_mode.assign(model=by_mode["model"] + ", " + counts)
    kind = "Points of mean IoU for each prompt mode"
    return show.panels(titled, ["model", "level"], kind, _draw_modes, (4.6, 3), 380)


def several_regions(parts: Sequence[pd.DataFrame]) -> Shown:
    """Return `mode_figures` of objects of several regions, or that there is none.

    parts: of `confidence.mask_choices` of these objects, with their mode.
    """
    if not parts:
        return show.paragraphs("No object here has more than one region.")
    return mode_figures(mode_means(pd.concat(parts)))


def gate_table(held: pd.DataFrame) -> Shown:
    """Return our values beside the study's; nothing where none can be compared. held: of `gate`."""
    compared = held[held["published"].notna()]
    if compared.empty:
        return show.NOTHING
    text = (
        "**The gate.** Our values beside the study's, where this run has its model on real images."
    )
    return show.paragraphs(text) + show.table(compared)


def _draw_modes(axes: Axes, means: pd.DataFrame) -> str:
    """Draw a point for each mode and choice; returns the values in words."""
    choices = list(means["choice"].unique())
    modes = [mode for mode in TITLES if mode in set(means["mode"])]
    points = means.rename(columns={"mode": "task", "choice": "line"})
    points = points.assign(low=np.nan, high=np.nan)
    hollow = means["level"].iloc[0] == "published"
    plots.by_task(axes, points, modes, choices, hollow=hollow)
    axes.set_yticklabels([TITLES[mode] for mode in modes])
    wide = means.pivot(index="mode", columns="choice", values="iou").loc[modes, choices]
    return "; ".join(
        f"{TITLES[mode]} "
        + ", ".join(f"{iou:.2f} ({choice.replace('_', ' ')})" for choice, iou in line.items())
        for mode, line in wide.iterrows()
    )


def pictures(
    case: Case, class_name: str, task: str, model: Model, protocols: Mapping[str, Protocol]
) -> Shown:
    """Return one object under each mode: what the model is told, and what it answers.

    protocols: by mode.
    """
    shown = [picture(case, class_name, task, model, *mode) for mode in protocols.items()]
    return show.row(shown)


def picture(
    case: Case, class_name: str, task: str, model: Model, mode: str, protocol: Protocol
) -> Figure:
    """Return one object with its prompts, points or boxes, and the mask that the model answers."""
    alone = replace(case, masks={class_name: case.masks[class_name]})
    _, target = next(simulate_clicks(alone, {class_name: task}, model, protocol, 1))
    clicks = [click for prompt in target.prompts for click in prompt.clicks]
    drawing, axes = plots.new_picture(case.image)
    prediction = target.prediction.mask()
    plots.example(axes, case.image, case.masks[class_name], prediction, clicks)
    boxes = [prompt.box for prompt in target.prompts if prompt.box is not None]
    for top, left, bottom, right in boxes:
        cols, rows = [left, right, right, left, left], [top, top, bottom, bottom, top]
        axes.plot(cols, rows, color=plots.TRUTH)
    caption = f"{TITLES[mode]}: IoU {target.scores['iou']:.2f}"
    return show.figure(drawing, f"{case.case_id}, {caption}", caption, 200)


def gate(rows: Mapping[str, pd.DataFrame], study: pd.DataFrame) -> pd.DataFrame:
    """Return our values of each mode and choice held against the study's, see `published.gate`.

    rows: by mode. study: of `published_modes`.
    """
    study = study.rename(columns={"model": "method"}).assign(click=1)
    tables = []
    for mode, choice in product(PUBLISHED.values(), ("first", "oracle")):
        values = study[(study["mode"] == mode) & (study["choice"] == choice)]
        candidates = rows[mode].filter(regex=r"^iou_\d$")
        chosen = candidates["iou_0"] if choice == "first" else candidates.max(axis=1)
        ours = rows[mode].assign(iou=chosen)
        held = published.gate(ours, values[["method", "task", "click", "iou"]])
        tables.append(held.drop(columns="click").assign(mode=mode, choice=choice))
    table = pd.concat(tables, ignore_index=True)
    return table[["mode", "choice", *table.columns.drop(["mode", "choice"])]]
