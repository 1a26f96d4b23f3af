"""What the chapter on the choice among masks shows: the rules, with feedback or without."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from ... import plots, published
from ...clicks import MASK_RULES
from .. import show
from ..show import Shown
from . import figures
from .page import plural

WORDS = {
    "most confident": "the most confident of SAM's three masks counts",
    "first": "the first of SAM's three masks counts",
    "single": "SAM makes a single mask, and it counts",
    "first, then single": "the first of three masks counts after one click and the single mask "
    "after every further one",
    "SAM's authors' advice": "the most confident of three masks counts after one click and the "
    "single mask after every further one",
}
"""Rules of MASK_RULES without the oracle, and without what they say of feedback, in words."""
FED_BACK = ", fed back"


def in_words(rule: str) -> str:
    """Return a rule of MASK_RULES as a sentence's part, with what is given to SAM.

    >>> in_words("single, fed back")
    'SAM makes a single mask, and it counts; SAM is given its last mask again with the next click'
    >>> in_words("first")
    "the first of SAM's three masks counts; SAM is not given its last mask again"
    """
    again = "is not given its last mask again"
    if fed_back(rule):
        again = "is given its last mask again with the next click"
    return f"{WORDS[rule.removesuffix(FED_BACK)]}; SAM {again}"


def fed_back(rule: str) -> bool:
    """Return whether a rule of MASK_RULES gives SAM its last mask again."""
    return MASK_RULES[rule].feedback


def over_tasks(means: pd.DataFrame) -> pd.DataFrame:
    """Return the mean IoU over tasks of each rule, every task weighing the same.

    means: of `statistics.mean_curves`, with a column rule. Columns: level, model, rule, click, iou,
    low, high (95 % interval; NaN for a mean over several tasks, which has no interval of patients)
    and tasks, their number. Tasks whose masks a model made have a level of their own.
    """
    groups = figures.apart(means).groupby(["level", "model", "rule", "click"], sort=False)
    table = groups[["iou", "low", "high"]].mean().assign(tasks=groups["task"].nunique())
    several = table["tasks"] > 1
    return table.assign(
        low=table["low"].mask(several), high=table["high"].mask(several)
    ).reset_index()


def answer(curves: pd.DataFrame) -> Shown:
    """Return which rule is best after the last click, and what the clicks after the third gain.

    curves: of `over_tasks`; those of the first level and model are told.
    """
    level, model, tasks = curves[["level", "model", "tasks"]].iloc[0]
    chosen = curves[(curves["level"] == level) & (curves["model"] == model)]
    table = chosen.pivot(index="rule", columns="click", values="iou")
    table = table.drop(index=[rule for rule in table.index if "oracle" in rule])
    last = table.columns[-1]
    third, best = min(3, last), table[last].idxmax()
    gain = table[last] - table[third]
    return show.answer(
        f"After {plural(last, 'click')} **{best}** is best: {in_words(best)}. Its IoU is "
        f"**{table.loc[best, last]:.2f}**, against {table.loc['first', last]:.2f} for the first "
        f"mask and {table.loc['most confident', last]:.2f} for the most confident one, neither "
        f"given to SAM again ({model}, {plural(tasks, 'task')}, {figures.LEVELS[level]})",
        f"From click {third} to {last} the single mask gains {gain['single']:+.2f} if it is not "
        f"given to SAM again, and {gain['single, fed back']:+.2f} if it is",
    )


def study_curves() -> pd.DataFrame:
    """Return the study's mean curves of SAM and RITM in the columns of `over_tasks`, the rule being
    the method."""
    curves = [
        published.mean_curve(method).rename("iou").reset_index().assign(rule=method)
        for method in published.METHODS.values()
    ]
    tasks = published.click_table()["task"].nunique()
    return pd.concat(curves).assign(level="published", model=plural(tasks, "task"), tasks=tasks)


def panels(curves: pd.DataFrame) -> Shown:
    """Return the curves of rules without and with feedback: figures of their own, per model."""
    orders = {again: [r for r in MASK_RULES if fed_back(r) is again] for again in (False, True)}

    def draw(axes: Axes, table: pd.DataFrame) -> str:
        """A line for each rule."""
        plots.lines(axes, table, orders[fed_back(table["rule"].iloc[0])])
        return _ends(table)

    given = curves["rule"].map(fed_back).map({False: "without feedback", True: "fed back"})
    drawn = curves.assign(line=curves["rule"], feedback=given)
    kind = "Line plot of mean IoU against clicks"
    return show.panels(drawn, ["feedback", "model", "level"], kind, draw, (3.8, 4.2))


def study_panels(study: pd.DataFrame) -> Shown:
    """Return the study's curves, dashed. study: of `study_curves`."""

    def draw(axes: Axes, table: pd.DataFrame) -> str:
        """A line for SAM and one for RITM."""
        plots.lines(axes, table, list(published.METHODS.values()), dashed=True)
        return _ends(table)

    kind = "Line plot of mean IoU against clicks"
    return show.panels(study.assign(line=study["rule"]), ["level", "model"], kind, draw, (3.8, 3.2))


def _ends(table: pd.DataFrame) -> str:
    """Return where each line begins and ends."""
    last = int(table["click"].max())
    ends = figures.ends(table[table["click"].isin([1, last])])
    return f"From 1 to {plural(last, 'click')}: {ends}"


def numbers(curves: pd.DataFrame, clicks: Sequence[int] = (1, 3, 5, 9)) -> pd.DataFrame:
    """Return IoU@k of each rule, and what the clicks after the third gain.

    curves: of `over_tasks`, the study's perhaps among them. Columns: level, model, rule, IoU@k for
    those of the clicks that were made, and the gain from click 3 to the last that all lines have.
    """
    table = curves.pivot_table(
        index=["level", "model", "rule"], columns="click", values="iou", sort=False
    )
    last = table.dropna(axis="columns").columns.max()
    third = min(3, last)
    shown = table[[click for click in clicks if click <= last]].rename(columns="IoU@{}".format)
    gain = {f"gain from {third} to {last}": table[last] - table[third]}
    return shown.assign(**gain).rename_axis(columns=None).reset_index()


def distances(curves: pd.DataFrame, study: pd.Series) -> pd.DataFrame:
    """Return the mean absolute difference of each rule's curve to a published one, over the clicks.

    curves: of `over_tasks`. study: IoU by click. Columns: level, model, rule, difference.
    """
    shared = curves[curves["click"].isin(study.index)]
    difference = (shared["iou"] - shared["click"].map(study)).abs()
    groups = shared.assign(difference=difference).groupby(["level", "model", "rule"], sort=False)
    return groups["difference"].mean().reset_index()


def candidates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean predicted and true IoU of each of three masks, after one click and the last.

    rows: of one rule. Columns: model, click, mask (1 to 3), predicted IoU, true IoU, share chosen.
    """
    ends = rows["click"].isin([1, rows["click"].max()])
    answered = rows[ends & rows["iou_1"].notna()]
    parts = []
    for i in range(3):
        columns = {f"predicted_iou_{i}": "predicted IoU", f"iou_{i}": "true IoU"}
        chosen = answered.assign(**{"share chosen": answered["mask_index"].eq(i)})
        groups = chosen.groupby(["model", "click"], sort=False)
        means = groups[[*columns, "share chosen"]].mean().rename(columns=columns)
        parts.append(means.assign(mask=i + 1).reset_index())
    table = pd.concat(parts)[["model", "click", "mask", *columns.values(), "share chosen"]]
    return table.sort_values(["model", "click", "mask"], ignore_index=True)
