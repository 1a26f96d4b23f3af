"""What the comparison of models shows: the study's figures 1 and 4 beside this run's, the gate, the
tests."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes

from ... import plots, published
from ...comparison import compare, crossings
from ...statistics import mean_curves
from . import figures, page
from .figures import LEVELS

STUDY = ["SAM", "RITM"]


def answer(rows: pd.DataFrame) -> HTML:
    """Who is ahead on how many tasks, in the study and in this run, with one click and with the
    last."""
    study = published.click_table().rename(columns={"method": "model"})
    parts = [f"In the study {_ahead(study, *STUDY)} (published)"] if len(study) else []
    means = figures.apart(mean_curves(rows))
    for level, of_level in means.groupby("level", sort=False):
        parts += [f"here {_ahead(of_level, *pair)} ({LEVELS[level]})" for pair in _pairs(of_level)]
    return page.sentence(*parts)


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """The first model beside each other one with which it has a task of one level together."""
    tasks = {
        model: set(zip(of_model["task"], of_model["level"], strict=True))
        for model, of_model in rows.groupby("model", sort=False)
    }
    first, *others = tasks
    return ((first, other) for other in others if tasks[first] & tasks[other])


def _ahead(means: pd.DataFrame, first: str, second: str) -> str:
    table = means.pivot(index=["task", "click"], columns="model", values="iou")[
        [first, second]
    ].dropna()
    ahead = (table[first] > table[second]).groupby("click").sum()
    last, tasks = ahead.index[-1], len(table) // len(ahead)
    return (
        f"{escape(first)} is ahead of {escape(second)} on <strong>{ahead[1]} of {tasks}</strong> "
        f"tasks with one click, and on <strong>{ahead[last]}</strong> with {last} clicks"
    )


def _both(rows: pd.DataFrame) -> pd.DataFrame:
    """The study's mean curves, and this run's."""
    study = published.click_table().rename(columns={"method": "model"}).assign(level="published")
    return pd.concat([study, figures.apart(mean_curves(rows))])


def one_click(rows: pd.DataFrame, click: int = 1) -> HTML:
    """The study's figure 1, the IoU of each task after one click, and the same of this run beside
    it."""

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
        means = ", ".join(f"{name} {wide[name].mean():.2f}" for name in names)
        bars = "; bars: 95 % interval, patients resampled" if table["low"].notna().any() else ""
        return f"{names[0]} ranges from {ends}; mean over {len(wide)} tasks: {means}{bars}"

    table = _both(rows).assign(clicks="one click")
    kind = "Points of IoU after one click for each task"
    return figures.panels(
        table[table["click"] == click], ["clicks", "level"], kind, draw, (4.2, 1), 340
    )


def average(rows: pd.DataFrame) -> HTML:
    """The mean over tasks against clicks, every task weighing the same: the study's, and this
    run's."""
    both = _both(rows)
    tasks = both.groupby("level")["task"].nunique()
    means = both.groupby(["level", "model", "click"], sort=False)["iou"].mean().reset_index()
    means["of"] = [f"mean of {page.plural(tasks[level], 'task')}" for level in means["level"]]

    def draw(axes: Axes, curve: pd.DataFrame) -> str:
        """A line for each model, dashed for the study's."""
        if curve["level"].iloc[0] == "published":
            plots.published_curves(axes, curve.rename(columns={"model": "method"}))
        else:
            plots.curves(axes, curve.assign(low=np.nan, high=np.nan))
        return f"From one click to {curve['click'].max()}: {figures.ends(curve, 'model')}"

    kind = "Line plot of mean IoU against clicks"
    return figures.panels(means, ["of", "level"], kind, draw, (3.6, 2.8))


def other_tasks(rows: pd.DataFrame) -> HTML:
    """The study's curves of the tasks that this run does not have, which complete its figure 4."""
    here = set(rows["task"])
    tasks = [task for task in published.click_table()["task"].unique() if task not in here]
    return HTML(figures.row([figures.study_curves(task) for task in tasks]))


def gate(rows: pd.DataFrame) -> HTML:
    """The gate: what it compares adds up to, and a line for each task and model with what it
    compares."""
    table = published.gate(rows)
    counts = table["verdict"].value_counts()
    compared = table[table["published"].notna()]
    text = (
        f"<strong>{len(compared)}</strong> of {len(table)} values are compared with a published one"
    )
    if len(compared):
        text += f": it lies inside our interval for {counts.get('inside', 0)}, outside for "
        text += f"{counts.get('outside', 0)}, and {counts.get('no interval', 0)} have no interval"
    if counts.get("demo"):
        text += f"; {counts['demo']} are demo, and the gate compares nothing with them"
    if compared.empty:
        return HTML(f"<p>{text}.</p>")
    cells = compared["difference"].map("{:+.3f} ".format) + compared["verdict"]
    keys = ["task", "model", "level"]
    wide = compared.assign(cell=cells).pivot(index=keys, columns="click", values="cell")
    wide = wide.loc[compared.set_index(keys).index.unique()].rename(columns=str).reset_index()
    html = wide.to_html(index=False, border=0, na_rep="", classes="table")
    return HTML(f"<p>{text}.</p>{page.scrolling(html).data}")


def paired_tests(rows: pd.DataFrame) -> HTML:
    """Paired differences of the models after one and after the last click, with p, and where curves
    cross."""
    parts = []
    for first, second in _pairs(rows):
        pair = [rows[rows["model"] == name] for name in (first, second)]
        differences, changes = compare(*pair), crossings(*pair).set_index(["task", "level"])
        last = int(differences["click"].max())
        lines = []
        for (task, level), curve in differences.groupby(["task", "level"], sort=False):
            line = {"task": task, "level": level, "patients": curve["patients"].iloc[0]}
            for click in dict.fromkeys((1, last)):
                at = curve[curve["click"] == click].iloc[0]
                line[f"difference at {click}"] = f"{at['difference']:+.2f}{_within(at)}"
                line[f"p at {click}"] = "<0.001" if at["p_holm"] < 0.001 else f"{at['p_holm']:.3f}"
            line["curves cross at"] = _crossing(changes.loc[(task, level)], last)
            lines.append(line)
        html = pd.DataFrame(lines).to_html(index=False, border=0, classes="table")
        title = f"{escape(second)} minus {escape(first)}"
        parts.append(f'<p class="medsam-group">{title}</p>{page.scrolling(html).data}')
    return HTML("".join(parts) or "<p>There are no two models with a task together.</p>")


def _within(line: pd.Series) -> str:
    """An interval of differences in brackets, nothing where there is none."""
    if line[["low", "high"]].isna().any():
        return ""
    low, high = line[["low", "high"]].astype(float).round(2) + 0.0  # -0.00 is 0.00
    return f" ({low:.2f} to {high:.2f})"


def _crossing(change: pd.Series, last: int) -> str:
    """The click of a crossing with its interval; ">9" if there is none up to click 9."""
    click, low, high = (
        f">{last}" if np.isinf(at) else f"{at:.0f}" for at in change[["click", "low", "high"]]
    )
    return click if np.isnan(change["low"]) else f"{click} ({low} to {high})"
