"""Clicking against drawing: what the chapter on the work that is saved shows; each is HTML."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from .. import plots
from ..effort import Costs, effort
from . import figures
from .figures import LEVELS
from .page import folded


def answer(table: pd.DataFrame, costs: Costs) -> HTML:
    """One sentence for each level: seconds by clicks and by hand, and how often clicks do not suffice."""
    sentences = []
    for (level, target), of_target in table.groupby(["level", "target"], sort=False):
        parts = [
            f"<strong>{escape(model)}</strong> <strong>{lines['seconds'].mean():.0f} s</strong> an object "
            f"({_saved(lines['saved'].mean())}; {lines['missed'].mean():.0%} of the objects never get there "
            "and are drawn after all)"
            for model, lines in of_target.groupby("model", sort=False)
        ]
        tasks = of_target["task"].nunique()
        sentences.append(
            f"To an IoU of {target:.2f} ({LEVELS[level]}, mean of {tasks} tasks, every task weighing the "
            f"same), where an outline by hand is taken to cost {costs.drawing:g} s, clicking costs with "
            f"{'; with '.join(parts)}."
        )
        break  # the other targets are in the table
    return HTML(f'<p class="medsam-answer">{" ".join(sentences)}</p>')


def _saved(share: float) -> str:
    return f"{share:.0%} less" if share >= 0 else f"{-share:.0%} more"


def seconds(table: pd.DataFrame, costs: Costs) -> HTML:
    """Seconds of a mean object for each task and target, a point per model; the line is drawing by hand."""
    models, panels = list(table["model"].unique()), []
    for (level, target), points in table.groupby(["level", "target"], sort=False):
        tasks = list(points["task"].unique())
        drawing, axes = plots.new_figure(4.2, 1.2 + 0.3 * len(tasks))
        shown = points.rename(columns={"model": "line"}).assign(iou=points["seconds"])
        plots.by_task(axes, shown, tasks, models)
        axes.set_xlim(0, np.nanmax([*points["seconds"], *points["high"], costs.drawing]) * 1.05)
        axes.axvline(costs.drawing, color=plots.INK, linewidth=1, linestyle="--")
        axes.set_xlabel("seconds an object")
        title = f"IoU {target:.2f} · {LEVELS[level]}"
        axes.set_title(title, loc="left", fontsize=10)
        cheaper = points[points["seconds"] < costs.drawing].groupby("model", sort=False)["task"].nunique()
        finding = "; ".join(f"{model} on {cheaper.get(model, 0)} of {len(tasks)}" for model in models)
        text = f"Clicking is the cheaper way with {finding} tasks"
        picture = plots.svg(drawing, f"Points of seconds an object, task by task, {title}. {text}.")
        panels.append(figures.figure(picture, f"<strong>{escape(title)}.</strong> {escape(text)}.", 340))
    return HTML(figures.row(panels))


def table(numbers: pd.DataFrame) -> HTML:
    """`effort.effort`, to sort."""
    shown = numbers.rename(columns={"break_even": "break-even, s a click"})
    return HTML(folded(shown))


def sensitivity(rows: pd.DataFrame, costs: Costs, target: float) -> HTML:
    """On how many tasks clicking is cheaper, for each model, under other seconds a click and an outline."""
    lines = []
    for drawing in (costs.drawing / 4, costs.drawing / 2, costs.drawing, costs.drawing * 2):
        for correction in (costs.correction / 2, costs.correction, costs.correction * 2):
            other = effort(rows, Costs(costs.first, correction, drawing), (target,))
            for (level, model), of_model in other.groupby(["level", "model"], sort=False):
                lines.append(
                    {
                        "outline, s": drawing,
                        "correction, s": correction,
                        "model": model,
                        "level": level,
                        "cheaper on": f"{(of_model['saved'] > 0).sum()} of {len(of_model)} tasks",
                        "saved": of_model["saved"].mean(),
                    }
                )
    return HTML(folded(pd.DataFrame(lines), most=24))
