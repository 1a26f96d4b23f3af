"""Ties between equally deep pixels: how much another random choice among them changes; each is
HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd
from IPython.display import HTML

from .figures import LEVELS
from .page import folded


def answer(spread: pd.DataFrame) -> HTML:
    """How many objects had a choice, and how far IoUs of objects and means differ after the last
    click.

    spread: of `comparison.seed_spread`.
    """
    last = spread[spread["click"] == spread["click"].max()]
    items = []
    for (model, level), of_model in last.groupby(["model", "level"], sort=False):
        reach = of_model["highest"] - of_model["lowest"]
        objects = of_model["objects"].sum()
        share = (of_model["tied"] * of_model["objects"]).sum() / objects
        items.append(
            f"<li><strong>{escape(model)}</strong> ({LEVELS[level]}): {share:.0%} of {objects} "
            "objects had a choice at some click. Between seeds the IoU of an object has a standard "
            f"deviation of <strong>{of_model['object_sd'].mean():.3f}</strong>; the mean of a task "
            f"moves by <strong>{reach.mean():.3f}</strong> on average, by {reach.max():.3f} at "
            f"most ({escape(of_model.loc[reach.idxmax(), 'task'])}).</li>"
        )
    return HTML(f"<ul>{''.join(items)}</ul>")


def table(spread: pd.DataFrame, clicks: Sequence[int] = (1, 3, 9)) -> HTML:
    """A line per task and model: objects with a choice, and what it changed, after some clicks."""
    lines = []
    for key, of_task in spread.groupby(["task", "model", "level"], sort=False):
        line = dict(zip(["task", "model", "level"], key, strict=True)) | {
            "objects": of_task["objects"].iloc[0]
        }
        for point in of_task[of_task["click"].isin(clicks)].itertuples():
            line[f"tied by {point.click}"] = f"{point.tied:.0%}"
            line[f"object sd at {point.click}"] = f"{point.object_sd:.3f}"
            line[f"mean IoU at {point.click}"] = f"{point.lowest:.3f} to {point.highest:.3f}"
        lines.append(line)
    return HTML(folded(pd.DataFrame(lines)))
