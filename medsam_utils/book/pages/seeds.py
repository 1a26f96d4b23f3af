"""Ties between equally deep pixels: how much another random choice among them changes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from .. import show
from ..show import LEVELS, Shown


def answer(spread: pd.DataFrame) -> Shown:
    """Return how many objects had a choice, and how far IoUs of objects and means differ after the
    last click.

    spread: of `comparison.seed_spread`.
    """
    last = spread[spread["click"] == spread["click"].max()]
    items = []
    for (model, level), tasks in last.groupby(["model", "level"], sort=False):
        reach = tasks["highest"] - tasks["lowest"]
        objects = tasks["objects"].sum()
        share = (tasks["tied"] * tasks["objects"]).sum() / objects
        items.append(
            f"**{model}** ({LEVELS[level]}): {share:.0%} of {objects} objects had a choice at some "
            "click. Between seeds the IoU of an object has a standard deviation of "
            f"**{tasks['object_sd'].mean():.3f}**; the mean of a task moves by "
            f"**{reach.mean():.3f}** on average, by {reach.max():.3f} at most "
            f"({tasks.loc[reach.idxmax(), 'task']})."
        )
    return show.bullets(items)


def by_task(spread: pd.DataFrame, clicks: Sequence[int] = (1, 3, 9)) -> pd.DataFrame:
    """Return a line per task and model: objects with a choice, and what it changed, after some
    clicks.

    spread: of `comparison.seed_spread`. Numbers are texts, as a page shows them.
    """
    lines = []
    for key, task_spread in spread.groupby(["task", "model", "level"], sort=False):
        line = dict(zip(["task", "model", "level"], key, strict=True))
        line["objects"] = task_spread["objects"].iloc[0]
        for point in task_spread[task_spread["click"].isin(clicks)].itertuples():
            line[f"tied by {point.click}"] = f"{point.tied:.0%}"
            line[f"object sd at {point.click}"] = f"{point.object_sd:.3f}"
            line[f"mean IoU at {point.click}"] = f"{point.lowest:.3f} to {point.highest:.3f}"
        lines.append(line)
    return pd.DataFrame(lines)
