"""What the comparison of models shows: the study's figures 1 and 4 beside this run's, the gate, the
tests."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...comparison import compare, crossings
from .. import show
from ..show import Shown
from . import figures, page
from .figures import LEVELS

STUDY = ["SAM", "RITM"]


def answer(means: pd.DataFrame) -> Shown:
    """Return who is ahead on how many tasks, in the study and in this run, with one click and with
    the last.

    means: mean IoU per level, model, task and click, the study's (level "published") among them.
    """
    published = means["level"] == "published"
    parts = []
    if published.any():
        parts.append(f"In the study {_ahead(means[published], *STUDY)} (published)")
    for level, level_means in means[~published].groupby("level", sort=False):
        for pair in model_pairs(level_means):
            parts.append(f"here {_ahead(level_means, *pair)} ({LEVELS[level]})")
    return show.answer("; ".join(parts))


def model_pairs(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Return the first model with each other one with which it has a task of one level together."""
    tasks = {
        model: set(zip(model_rows["task"], model_rows["level"], strict=True))
        for model, model_rows in rows.groupby("model", sort=False)
    }
    first, *others = tasks
    return ((first, other) for other in others if tasks[first] & tasks[other])


def _ahead(means: pd.DataFrame, first: str, second: str) -> str:
    """Return on how many tasks the first model is ahead of the second, in words."""
    table = means.pivot(index=["task", "click"], columns="model", values="iou")[
        [first, second]
    ].dropna()
    ahead = (table[first] > table[second]).groupby("click").sum()
    last, tasks = ahead.index[-1], len(table) // len(ahead)
    return (
        f"{first} is ahead of {second} on **{ahead[1]} of {tasks}** tasks with "
        f"one click, and on **{ahead[last]}** with {last} clicks"
    )


def one_click(means: pd.DataFrame) -> Shown:
    """Return the study's figure 1, the IoU of each task after one click, and the same of this run.

    means: as for `answer`.
    """

    def draw(axes: Axes, table: pd.DataFrame) -> str:
        """Tasks from the best to the worst of the first model."""
        names = list(table["model"].unique())
        wide = table.pivot(index="task", columns="model", values="iou").sort_values(
            names[0], ascending=False
        )
        axes.figure.set_figheight(1.0 + 0.24 * len(wide))
        hollow = table["level"].iloc[0] == "published"
        plots.by_task(axes, table.assign(line=table["model"]), list(wide.index), names, hollow)
        first = wide[names[0]].dropna()
        ends = " to ".join(f"{first.iloc[i]:.2f} ({first.index[i]})" for i in (-1, 0))
        over_tasks = ", ".join(f"{name} {wide[name].mean():.2f}" for name in names)
        bars = "; bars: 95 % interval, patients resampled" if table["low"].notna().any() else ""
        return f"{names[0]} ranges from {ends}; mean over {len(wide)} tasks: {over_tasks}{bars}"

    first_click = means[means["click"] == 1].assign(clicks="one click")
    kind = "Points of IoU after one click for each task"
    return show.panels(first_click, ["clicks", "level"], kind, draw, (4.2, 1), 340)


def over_tasks(means: pd.DataFrame) -> pd.DataFrame:
    """Return the mean IoU over tasks, every task weighing the same.

    means: as for `answer`. Columns: level, model, click, iou and tasks, the number of the level's.
    """
    counted = means.assign(tasks=means.groupby("level")["task"].transform("nunique"))
    groups = counted.groupby(["level", "model", "click"], sort=False)
    return groups.agg(iou=("iou", "mean"), tasks=("tasks", "first")).reset_index()


def average(averages: pd.DataFrame) -> Shown:
    """Return the mean over tasks against clicks, a figure per level. averages: of `over_tasks`."""

    def draw(axes: Axes, curve: pd.DataFrame) -> str:
        """A line for each model, dashed for the study's."""
        if curve["level"].iloc[0] == "published":
            plots.published_curves(axes, curve.rename(columns={"model": "method"}))
        else:
            plots.curves(axes, curve.assign(low=np.nan, high=np.nan))
        return f"From one click to {curve['click'].max()}: {figures.ends(curve, 'model')}"

    scope = [f"mean of {page.plural(count, 'task')}" for count in averages["tasks"]]
    kind = "Line plot of mean IoU against clicks"
    return show.panels(averages.assign(scope=scope), ["scope", "level"], kind, draw, (3.6, 2.8))


def other_tasks(study: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """Return the study's tasks that a run does not have, which complete its figure 4."""
    return [task for task in study["task"].unique() if task not in set(rows["task"])]


def gate(verdicts: pd.DataFrame) -> Shown:
    """Return what the gate adds up to, and a line for each task and model that it compares.

    verdicts: of `published.gate`.
    """
    counts = verdicts["verdict"].value_counts()
    compared = verdicts[verdicts["published"].notna()]
    text = f"**{len(compared)}** of {len(verdicts)} values are compared with a published one"
    if len(compared):
        text += f": it lies inside our interval for {counts.get('inside', 0)}, outside for "
        text += f"{counts.get('outside', 0)}, and {counts.get('no interval', 0)} have no interval"
    if counts.get("demo"):
        text += f"; {counts['demo']} are demo, and the gate compares nothing with them"
    if compared.empty:
        return show.paragraphs(f"{text}.")
    cells = compared["difference"].map("{:+.3f} ".format) + compared["verdict"]
    keys = ["task", "model", "level"]
    wide = compared.assign(cell=cells).pivot(index=keys, columns="click", values="cell")
    wide = wide.loc[compared.set_index(keys).index.unique()].rename(columns=str).reset_index()
    return show.paragraphs(f"{text}.") + show.table(wide, fold=False)


def paired_tests(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the paired differences of the first model to each other one, and where curves cross.

    Columns: first, second (models), those of `comparison.compare` (difference: second minus first),
    and crossing, crossing low and crossing high (the click of `comparison.crossings`). Empty where
    no two models have a task together.
    """
    parts = []
    for first, second in model_pairs(rows):
        pair = [rows[rows["model"] == name] for name in (first, second)]
        names = {"click": "crossing", "low": "crossing low", "high": "crossing high"}
        changes = crossings(*pair)[["task", "level", *names]].rename(columns=names)
        table = compare(*pair).merge(changes, how="left", on=["task", "level"])
        parts.append(table.assign(first=first, second=second))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def tests_table(tests: pd.DataFrame) -> Shown:
    """Return the differences after one and after the last click, with p, and where curves cross.

    tests: of `paired_tests`.
    """
    if tests.empty:
        return show.paragraphs("There are no two models with a task together.")
    parts = []
    for (first, second), pair_tests in tests.groupby(["first", "second"], sort=False):
        last, lines = int(pair_tests["click"].max()), []
        for (task, level), curve in pair_tests.groupby(["task", "level"], sort=False):
            line = {"task": task, "level": level, "patients": curve["patients"].iloc[0]}
            for click in dict.fromkeys((1, last)):
                at = curve[curve["click"] == click].iloc[0]
                line[f"difference at {click}"] = f"{at['difference']:+.2f}{_within(at)}"
                line[f"p at {click}"] = "<0.001" if at["p_holm"] < 0.001 else f"{at['p_holm']:.3f}"
            line["curves cross at"] = _crossing(curve.iloc[0], last)
            lines.append(line)
        parts.append(show.paragraphs(f"**{second} minus {first}**"))
        parts.append(show.table(pd.DataFrame(lines), fold=False))
    return show.joined(parts)


def _within(line: pd.Series) -> str:
    """Return an interval of differences in brackets, nothing where there is none."""
    if line[["low", "high"]].isna().any():
        return ""
    low, high = line[["low", "high"]].astype(float).round(2) + 0.0  # -0.00 is 0.00
    return f" ({low:.2f} to {high:.2f})"


def _crossing(line: pd.Series, last: int) -> str:
    """Return the click of a crossing with its interval; ">9" if there is none up to click 9."""
    ends = line[["crossing", "crossing low", "crossing high"]]
    click, low, high = (f">{last}" if np.isinf(at) else f"{at:.0f}" for at in ends)
    return click if np.isnan(line["crossing low"]) else f"{click} ({low} to {high})"
