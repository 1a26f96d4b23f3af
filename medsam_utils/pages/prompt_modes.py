"""What the page about prompt modes shows: IoU by mode and choice, paired differences, the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from itertools import product

import numpy as np
import pandas as pd
from IPython.display import HTML

from .. import plots, published
from ..case import Case
from ..clicks import Protocol
from ..confidence import mask_choices
from ..models import WITHOUT_BOXES, Model
from ..prompts import PUBLISHED
from ..simulation import turns
from ..statistics import GROUP, mean_curves
from . import figures, switches
from .figures import LEVELS
from .runs import Runs

TITLES = {
    "clicks": "1 point, deepest in the object",
    "point_largest": "1 point, largest region",
    "points_3_largest": "a point in each of 3 regions",
    "box_largest": "box round the largest region",
    "boxes_3_largest": "box round each of 3 regions",
    "box_all": "one box round everything",
}
MODES = list(PUBLISHED.values())


def by_choice(runs: Mapping[str, Runs]) -> pd.DataFrame:
    """Mean IoU over the images of each task: columns task, model, level, choice, iou and mode.

    runs: by the name of the mode, of one turn. All three choices are of the same candidates.
    """
    tables = [mask_choices(run.rows).assign(mode=mode) for mode, run in runs.items()]
    return pd.concat(tables, ignore_index=True)[[*GROUP, "choice", "iou", "mode"]]


def _over_tasks(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over the tasks, every task weighing the same."""
    return table.groupby(["level", "model", "mode", "choice"], sort=False)["iou"].mean().reset_index()


def _study() -> pd.DataFrame:
    table = published.iou_by_prompt_mode().rename(columns={"mask_choice": "choice"})
    return table.assign(mode=table["mode"].map(PUBLISHED), model="SAM", level="published")


def _count(table: pd.DataFrame) -> str:
    tasks = table["task"].nunique()
    return f"{tasks} task{'s' if tasks > 1 else ''}"


def answer(table: pd.DataFrame) -> HTML:
    """Which mode has the highest mean IoU, in the study and here: one sentence; table: of `by_choice`."""
    parts = []
    for found, choice in ((_study(), "first"), (table, "most_confident")):
        means = _over_tasks(found[(found["choice"] == choice) & found["mode"].isin(MODES)])
        for (level, model), of_model in means.groupby(["level", "model"], sort=False):
            iou = of_model.set_index("mode")["iou"]
            parts.append(
                f"<strong>{escape(model)}</strong> does best with <strong>{TITLES[iou.idxmax()]}</strong> "
                f"(mean IoU <strong>{iou.max():.2f}</strong>) and worst with {TITLES[iou.idxmin()]} "
                f"({iou.min():.2f}) over {_count(found)} ({LEVELS.get(level, level)}"
                f"{', never trained with boxes' if model.startswith(WITHOUT_BOXES) else ''})"
            )
    return HTML(f'<p class="medsam-answer">{"; ".join(parts)}.</p>')


def points(table: pd.DataFrame) -> HTML:
    """The study's figure of five modes, and the same of each model: a point for each mode and choice."""
    panels = []
    for level, found in (("published", _study()), *table.groupby("level", sort=False)):
        for model, means in _over_tasks(found).groupby("model", sort=False):
            label = LEVELS.get(level, level)
            names = list(means["choice"].unique())
            shown = [mode for mode in TITLES if mode in set(means["mode"])]
            wide = means.pivot(index="mode", columns="choice", values="iou").loc[shown]
            drawing, axes = plots.new_figure(4.6, 1.2 + 0.3 * len(shown))
            flat = means.rename(columns={"mode": "task", "choice": "line"}).assign(low=np.nan, high=np.nan)
            plots.by_task(axes, flat, shown, names, hollow=level == "published")
            axes.set_yticklabels([TITLES[mode] for mode in shown])
            title = f"{model}, {_count(found)} · {label}"
            axes.set_title(title, loc="left", fontsize=10)
            text = "; ".join(
                f"{TITLES[mode]} "
                + ", ".join(f"{line[name]:.2f} ({name.replace('_', ' ')})" for name in names)
                for mode, line in wide.iterrows()
            )
            picture = plots.svg(drawing, f"Points of mean IoU for each prompt mode, {title}: {text}.")
            panels.append(figures.figure(picture, f"<strong>{escape(title)}.</strong> {escape(text)}.", 380))
    return HTML(figures.row(panels))


def differences(runs: Mapping[str, Runs], base: str) -> HTML:
    """IoU of each mode minus that of `base`, paired by object, per task and model with 95 % intervals."""
    before, tables = runs[base].rows, []
    for mode, run in runs.items():
        if mode != base:  # a model that does not take such prompts is in `before` alone
            both = before[before["model"].isin(run.models)]
            tables.append(switches.effects(both, run.rows).assign(switch=mode))
    return switches.effect_table(pd.concat(tables, ignore_index=True))


def with_clicks(runs: Mapping[str, Runs]) -> HTML:
    """Mean IoU over tasks against clicks, a line for each way to begin and to go on: a figure per model."""
    tables = [mean_curves(run.rows).assign(line=name) for name, run in runs.items() if run.tables]
    means = pd.concat(tables).groupby(["level", "model", "line", "click"], sort=False)["iou"].mean()
    panels = []
    for (level, model), curves in means.reset_index().groupby(["level", "model"], sort=False):
        drawing, axes = plots.new_figure(3.6, 3.2)
        plots.lines(axes, curves, list(runs))
        title, last = f"{model} · {LEVELS[level]}", curves["click"].max()
        axes.set_title(title, loc="left", fontsize=10)
        ends = curves[curves["click"].isin([1, last])].groupby("line", sort=False)["iou"]
        text = f"From 1 to {last}: " + "; ".join(f"{n} {v.iloc[0]:.2f} to {v.iloc[-1]:.2f}" for n, v in ends)
        picture = plots.svg(drawing, f"Line plot of mean IoU against clicks, {title}. {text}.")
        panels.append(figures.figure(picture, f"<strong>{escape(title)}.</strong> {escape(text)}."))
    return HTML(figures.row(panels))


def gate(runs: Mapping[str, Runs]) -> pd.DataFrame:
    """`published.gate` of every published mode and choice, with both as first columns."""
    study = _study().rename(columns={"model": "method"}).assign(click=1)
    tables = []
    for mode, choice in product((mode for mode in MODES if mode in runs), ("first", "oracle")):
        rows = runs[mode].rows
        candidates = rows.filter(regex=r"^iou_\d$")
        iou = candidates["iou_0"] if choice == "first" else candidates.max(axis=1)
        values = study[(study["mode"] == mode) & (study["choice"] == choice)]
        held = published.gate(rows.assign(iou=iou), values[["method", "task", "click", "iou"]])
        tables.append(held.assign(mode=mode, choice=choice))
    table = pd.concat(tables, ignore_index=True)
    return table[["mode", "choice", *table.columns.drop(["mode", "choice", "click"])]]


def example(case: Case, name: str, task: str, model: Model, protocols: Mapping[str, Protocol]) -> HTML:
    """One object under each mode: truth and prompt in green, the mask that counts in red."""
    panels, alone = [], replace(case, masks={name: case.masks[name]})
    for mode, protocol in protocols.items():
        _, target = next(iter(turns(alone, {name: task}, model, protocol, 1)))
        drawing, axes = plots.new_picture(case.image)
        clicks = [click for prompt in target.prompts for click in prompt.clicks]
        plots.example(axes, case.image, case.masks[name], target.prediction.mask(), clicks)
        for top, left, bottom, right in (p.box for p in target.prompts if p.box is not None):
            axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color=plots.TRUTH)
        caption = f"{TITLES[mode]}: IoU {target.scores['iou']:.2f}"
        panels.append(figures.figure(plots.svg(drawing, f"{case.case_id}, {caption}"), escape(caption), 200))
    return HTML(figures.row(panels))
