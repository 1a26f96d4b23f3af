"""What clicking costs against drawing, in a sentence."""

from __future__ import annotations

import pandas as pd

from ...statistics import mean_over_tasks
from .. import show
from ..show import LEVELS, Shown
from .page import mean_of_tasks


def answer(timed: pd.DataFrame, drawing: float) -> Shown:
    """Return what part of the drawing's time clicks save to the lowest target, for each model.

    timed: a line per object, model and target, with columns task, level, patient_id, seconds and
    missed. drawing: seconds of an outline by hand. Every task weighs the same in every number.
    """
    target = timed["target"].min()  # the others are in the table
    sentences = []
    for (level, model), objects in timed[timed["target"] == target].groupby(
        ["level", "model"], sort=False
    ):
        saved = 1 - objects["seconds"] / drawing
        share = mean_over_tasks(objects.assign(saved=saved), "saved", (-float("inf"), 1))
        missed = mean_over_tasks(objects.assign(missed=objects["missed"].astype(float)), "missed")
        interval = ""
        if pd.notna(share["low"]):
            interval = f" (95 % interval {share['low']:.0%} to {share['high']:.0%})"
        worth = "Clicks save" if share["saved"] > 0 else "Clicks save nothing"
        amount = f"**{share['saved']:.0%}**{interval} of the time of an outline by hand"
        if share["saved"] <= 0:
            amount = f"they cost **{-share['saved']:.0%}** more than an outline by hand"
            if interval:
                amount += f" (95 % interval {-share['high']:.0%} to {-share['low']:.0%})"
        joined = " " if share["saved"] > 0 else ": "
        text = (
            f"{worth}{joined}{amount} with **{model}**, where an IoU of {target:.2f} is wanted and "
            f"an outline costs {drawing:g} s; in {missed['missed']:.0%} of a task's objects clicks "
            "never get there and they are drawn after all"
        )
        sentences.append((text, [LEVELS[level], mean_of_tasks(round(share["tasks"]))]))
    return show.answer(*sentences)
