"""What the comparison of models shows: the study's figures 1 and 4 beside this run's, the gate, the
tests."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ... import plots, published
from ...comparison import compare, crossings
from .. import show
from ..runs import Runs
from ..sharing import added_tables
from ..show import Shown
from . import figures, page
from .figures import LEVELS
from .page import signed

STUDY = ["SAM", "RITM"]


def add_origins(runs: Runs, folder: str) -> Shown:
    """Add the rows that others have shared of a page's datasets, and return what they are.

    folder: of `sharing.added_tables`; empty: none. Rows of another protocol or level are left out,
    which becomes a note of the run.
    """
    said = []
    for (dataset, model), rows in (added_tables(folder) if folder else {}).items():
        if dataset not in runs.datasets:
            continue
        here = runs.protocol.name, runs.datasets[dataset].level
        there = tuple(rows[["protocol", "level"]].iloc[0])
        if here == there:
            runs.tables[dataset, model] = rows
            said.append(f"{model} on {dataset}, {rows.attrs['record']['started'][:10]}")
        else:
            runs.notes.append(
                f"{model} on {dataset} is not on this page: its rows are {', '.join(there)}."
            )
    text = f"These were computed elsewhere and checked when they were added: {'; '.join(said)}."
    return show.box("note", "Rows of others", text) if said else show.NOTHING


def answer(means: pd.DataFrame) -> Shown:
    """Return who is ahead, in the study and in this run: one sentence each.

    means: mean IoU per level, model, task and click, the study's (level "published") among them.
    The study's tasks of one class and of several are told apart.
    """
    published_level = means["level"] == "published"
    sentences = []
    if published_level.any():
        sentences.append(study_answer())
    for level, level_means in means[~published_level].groupby("level", sort=False):
        pairs = [_ahead(level_means, *pair) for pair in model_pairs(level_means)]
        sentences += [(f"Here {pair}", [LEVELS[level]]) for pair in pairs]
    return show.answer(*sentences)


def study_answer() -> str:
    """Return the study's finding in a sentence, from its released numbers."""
    table = published.click_table().pivot(index="task", columns=["method", "click"], values="iou")
    several = table.index.isin(published.SEVERAL_CLASSES)
    last = table.columns.get_level_values("click").max()
    parts = []
    for tasks, words in ((table[~several], "one class"), (table[several], "several classes")):
        ious = {method: tasks[method, last] for method in STUDY}
        first, second = sorted(STUDY, key=lambda method: -ious[method].mean())
        ahead = (ious[first] > ious[second]).sum()
        parts.append(
            f"{first} leads on **{ahead} of the {len(tasks)}** tasks of {words} "
            f"(mean IoU **{ious[first].mean():.2f}** against {ious[second].mean():.2f})"
        )
    once = (table["SAM", 1] > table["RITM", 1]).sum()
    return (
        f"With one click SAM leads on **{once} of {len(table)}** tasks; with {last} "
        f"{' and '.join(parts)} (published)"
    )


def study_figure() -> Shown:
    """Return IoU against clicks of the study's methods: tasks of one class and of several apart."""
    table = published.class_means()
    names = list(published.ALL_METHODS.values())

    def draw(axes: Axes, means: pd.DataFrame) -> str:
        """A line for each method, each with the same look in both panels."""
        plots.lines(axes, means.rename(columns={"method": "line"}), names, dashed=True)
        last = means["click"].max()
        ends = means[means["click"].isin([1, last])]
        return f"Mean IoU with one click and with {last}: {figures.ends(ends, 'method')}"

    scopes = table["tasks"].astype(str) + " tasks of " + table["classes"]
    order = table.assign(scope=scopes, level="published").sort_values(
        ["tasks", "click"], ascending=[False, True], kind="stable"
    )
    kind = "Line plot of mean IoU against clicks"
    return show.panels(order, ["scope", "level"], kind, draw, (3.8, 3.7), 330)


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
    """Return how our values lie to the published ones: nothing where none can be compared.

    verdicts: of `published.gate`.
    """
    counts = verdicts["verdict"].value_counts()
    compared = verdicts[verdicts["published"].notna()]
    if compared.empty:
        return show.NOTHING
    text = (
        "**The gate.** Where this run has a model of the study on real images (`sam_vit_h` is its "
        "SAM, `ritm_h32` its RITM), our IoU minus the study's, and whether the study's lies inside "
        f"our 95 % interval. Of {page.plural(len(compared), 'value')} it lies inside for "
        f"{counts.get('inside', 0)} and outside for {counts.get('outside', 0)}; "
        f"{counts.get('no interval', 0)} have no interval, with fewer than five patients."
    )
    cells = compared["difference"].map("{:+.3f} ".format) + compared["verdict"]
    keys = ["task", "model", "level"]
    wide = compared.assign(cell=cells).pivot(index=keys, columns="click", values="cell")
    wide = wide.loc[compared.set_index(keys).index.unique()].rename(columns=str).reset_index()
    return show.paragraphs(text) + show.table(wide)


def paired_tests(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the paired differences of the first model to each other one, and where curves cross.

    Columns: first, second (models), those of `comparison.compare` (difference: second minus first)
    after one click and the last, ahead (who leads with one click), and crossing, crossing low and
    crossing high (the click of `comparison.crossings`). Empty where no two models have a task
    together.
    """
    parts = []
    for first, second in model_pairs(rows):
        pair = [rows[rows["model"] == name] for name in (first, second)]
        names = {"click": "crossing", "low": "crossing low", "high": "crossing high"}
        changes = crossings(*pair)[["task", "level", "ahead", *names]].rename(columns=names)
        ends = (1, int(rows["click"].max()))
        table = compare(*pair, clicks=ends).merge(changes, how="left", on=["task", "level"])
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
        made = pair_tests["p"].notna()  # `compare` corrects for these
        for (task, level), curve in pair_tests.groupby(["task", "level"], sort=False):
            line = {"task": task, "level": level, "patients": curve["patients"].iloc[0]}
            for click in dict.fromkeys((1, last)):
                at = curve[curve["click"] == click].iloc[0]
                line[f"difference at {click}"] = f"{signed(at['difference'])}{_within(at)}"
                line[f"p at {click}"] = p_text(at["p_holm"], at["below"])
            line["ahead"] = _lead(curve.iloc[0], first, second, last)
            lines.append(line)
        text = (
            f"**{second} minus {first}.** p is corrected for the {made.sum()} tests of this table"
        )
        few = pair_tests.loc[~made, "task"].nunique()
        if few:
            text += f"; {page.plural(few, 'task')} with too few patients for any p below 0.05 "
            text += f"{'is' if few == 1 else 'are'} not tested"
        parts.append(show.paragraphs(f"{text}."))
        parts.append(show.table(pd.DataFrame(lines)))
    return show.joined(parts)


def p_text(p: float, below: bool) -> str:
    """Return a p value, or that it is a bound, because no drawn flip was as extreme.

    >>> p_text(0.0321, False), p_text(0.0008, True), p_text(0.0004, False), p_text(np.nan, False)
    ('0.032', '<0.001', '<0.001', 'not tested')
    """
    if np.isnan(p):
        return "not tested"
    if p < 0.001:
        return "<0.001"
    return f"<{np.ceil(p * 1000) / 1000:.3f}" if below else f"{p:.3f}"


def _within(line: pd.Series) -> str:
    """Return an interval of differences in brackets, nothing where there is none."""
    if line[["low", "high"]].isna().any():
        return ""
    low, high = line[["low", "high"]].astype(float).round(2) + 0.0  # -0.00 is 0.00
    return f" ({low:+.2f} to {high:+.2f})".replace("+0.00", "0.00")


def _lead(line: pd.Series, first: str, second: str, last: int) -> str:
    """Return who leads, and from which click on the other does, with its interval."""
    ahead, other = (first, second) if line["ahead"] == "first" else (second, first)
    if np.isinf(line["crossing"]):
        return f"{ahead} from the start"
    ends = line[["crossing low", "crossing high"]]
    low, high = ("none" if np.isinf(at) else f"{at:.0f}" for at in ends)
    reach = "" if np.isnan(line["crossing low"]) or low == high else f" ({low} to {high})"
    return f"{ahead}, {other} from click {line['crossing']:.0f}{reach}"
