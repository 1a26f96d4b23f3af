"""What clicking costs against drawing, in a sentence."""

from __future__ import annotations

import pandas as pd

from .. import show
from ..show import LEVELS, Shown
from .page import plural


def answer(effort: pd.DataFrame, drawing: float) -> Shown:
    """Return the seconds of an object to the lowest target, per model, a sentence for each level.

    effort: a line per task, model and target, with columns level, seconds, saved and missed.
    drawing: seconds of an outline by hand.
    """
    target = effort["target"].min()  # the others are in the table
    answers = []
    for level, level_effort in effort[effort["target"] == target].groupby("level", sort=False):
        parts = []
        for model, lines in level_effort.groupby("model", sort=False):
            saved = lines["saved"].mean()
            parts.append(
                f"**{model}** **{lines['seconds'].mean():.0f} s** an object "
                f"({abs(saved):.0%} {'less' if saved >= 0 else 'more'}; "
                f"{lines['missed'].mean():.0%} of the objects never get there and are drawn after "
                "all)"
            )
        tasks = plural(level_effort["task"].nunique(), "task")
        answers.append(
            show.answer(
                f"To an IoU of {target:.2f} ({LEVELS[level]}, mean of {tasks}, every task weighing "
                f"the same), where an outline by hand is taken to cost {drawing:g} s, clicking "
                f"costs with {'; with '.join(parts)}"
            )
        )
    return show.joined(answers)
