"""The label rule on tasks with several classes: do wrong labels explain why clicks stop helping?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ... import plots, published
from ...comparison import paired_differences
from ...datasets import Dataset
from ...statistics import iou_by_click, mean_over_tasks
from .. import show
from ..runs import Runs
from ..show import LEVELS, Shown
from .page import mean_of_tasks, plural, signed, with_interval

RULES = ("object", "foreground")
"""Values of `Protocol.label`: Algorithm 1's, and the released code's."""
POSITIVE = "positive inside: "
RULE_TEXT = {"object": "this object", "foreground": "any labelled pixel"}
"""Where a click is positive under each rule."""


def wrong_labels(dataset: Dataset, rows: pd.DataFrame) -> pd.Series:
    """Return which rows of a run with label=foreground have a click that Algorithm 1 would have
    labelled otherwise.

    Such a click is positive and lies outside its object, on another class. Index as the rows'.
    """
    references = {reference.case_id: reference for reference in dataset.list().references}
    class_of = {task: name for name, task in dataset.tasks.items()}
    wrong = pd.Series(False, index=rows.index)
    for case_id, case_rows in rows.groupby("case_id", sort=False):
        masks = dataset.load(references[case_id]).masks
        clicked = case_rows[case_rows["positive"] & (case_rows["row"] >= 0)]
        for index, row in clicked.iterrows():
            wrong[index] = not masks[class_of[row["task"]]][row["row"], row["col"]]
    return wrong


def _several_classes(paper: Runs, foreground: Runs, model: str) -> list[str]:
    """Return the datasets of several classes on which a model was run under both rules."""
    return [
        name
        for name, dataset in paper.datasets.items()
        if len(dataset.tasks) > 1
        and (name, model) in paper.tables
        and (name, model) in foreground.tables
    ]


def _model_rows(runs: Runs, names: list[str], model: str) -> pd.DataFrame:
    """Return the rows of some datasets under a model."""
    return pd.concat([runs.tables[name, model] for name in names], ignore_index=True)


def summary(paper: Runs, foreground: Runs) -> pd.DataFrame:
    """Return the label rule's effect per model, over the tasks of datasets with several classes.

    Every task weighs the same in every number, so that they and the curves of `means` agree.
    Columns: model, level, tasks, objects, patients, wrong (share of clicks labelled otherwise),
    touched (share of objects with such a click), IoU@4 (with four clicks or fewer: IoU@1) and IoU@N
    under both rules, and the mean paired difference of IoU@N with its 95 % interval low and high.
    """
    lines = []
    for model in paper.models:
        names = _several_classes(paper, foreground, model)
        if not names:
            continue
        rows = [_model_rows(runs, names, model) for runs in (paper, foreground)]
        wrong = [
            wrong_labels(foreground.datasets[name], foreground.tables[name, model])
            for name in names
        ]
        marked = rows[1].assign(wrong=pd.concat(wrong, ignore_index=True).astype(float))
        made = marked[marked["row"] >= 0]
        objects = ["task", "level", "case_id", "patient_id"]
        touched = marked.groupby(objects, sort=False)["wrong"].max().reset_index()
        differences = paired_differences(*rows)
        last = int(differences.columns[-1])
        final = differences[last].rename("difference").reset_index()
        effect = mean_over_tasks(final, "difference", within=(-1, 1))
        line = {"model": model, "level": marked["level"].iloc[0]}
        line |= {name: int(effect[name]) for name in ("tasks", "objects", "patients")}
        line["wrong"] = mean_over_tasks(made, "wrong")["wrong"]
        line["touched"] = mean_over_tasks(touched, "wrong")["wrong"]
        for rule, rule_rows in zip(RULES, rows, strict=True):
            curve = iou_by_click(rule_rows).groupby("task").mean().mean()
            line |= {f"IoU@{click}, {rule}": curve[click] for click in (_middle(last), last)}
        lines.append(line | effect[["difference", "low", "high"]].to_dict())
    return pd.DataFrame(lines)


def _middle(last: int) -> int:
    """Return the click after which the study's SAM falls on tasks with several classes, if more
    were made."""
    return 4 if last > 4 else 1


def answer(effect: pd.DataFrame) -> Shown:
    """Return whether the released label rule lowers the IoU in this run, a sentence per model.

    effect: of `summary`.
    """
    if effect.empty:
        return show.answer("Not asked here: no dataset of this page has several classes")
    return show.answer(*(_verdict(line) for line in effect.to_dict("records")))


def _verdict(line: dict) -> tuple[str, list[str]]:
    """Return what the summary says of one model, yes or no first, and what that holds for."""
    last = max(int(name[4:].split(",")[0]) for name in line if name.startswith("IoU@"))
    ends = [line[f"IoU@{last}, {rule}"] for rule in RULES]
    counts = f"{plural(line['objects'], 'object')} of {plural(line['patients'], 'patient')}"
    scopes = [LEVELS[line["level"]], counts, mean_of_tasks(line["tasks"])]
    model = f"**{line['model']}**"
    if line["touched"] == 0:
        text = f"No click of {model} lies on another class, so the rule changes nothing"
        return text, scopes
    if not np.isfinite(line["low"]):
        verdict = "Too few patients to tell"
    elif line["high"] < 0:
        verdict = "Yes"
    elif line["low"] > 0:
        verdict = "No, the rule raises it"
    else:
        verdict = "No effect that these images can show"
    change = with_interval(line["difference"], line["low"], line["high"], "+.2f")
    text = (
        f"{verdict}: with the released rule the IoU of {model} after {last} clicks changes by "
        f"**{change}**, from **{ends[0]:.2f}** to **{ends[1]:.2f}**; {line['wrong']:.0%} of the "
        "clicks get another label"
    )
    return text, scopes


def course(effect: pd.DataFrame) -> Shown:
    """Return how the mean IoU goes on after click 4 under both rules, a line for each model.

    effect: of `summary`.
    """
    lines = []
    for line in effect.to_dict("records"):
        ends = sorted({int(name[4:].split(",")[0]) for name in line if name.startswith("IoU@")})
        gains = [line[f"IoU@{ends[-1]}, {rule}"] - line[f"IoU@{ends[0]}, {rule}"] for rule in RULES]
        lines.append(
            f"**{line['model']}**: from click {ends[0]} to {ends[-1]} the mean IoU moves by "
            f"{signed(gains[0])} under Algorithm 1's rule and by {signed(gains[1])} under the "
            f"released one; {line['touched']:.0%} of the objects have a click whose label differs"
        )
    return show.bullets(lines)


def means(paper: Runs, foreground: Runs) -> pd.DataFrame:
    """Return the mean IoU over the tasks of datasets with several classes, every task weighing the
    same.

    Columns: model, level, tasks (how many), rule, click, iou.
    """
    parts = []
    for model in paper.models:
        names = _several_classes(paper, foreground, model)
        for rule, runs in zip(RULES, (paper, foreground), strict=True):
            if names:
                rows = _model_rows(runs, names, model)
                mean = iou_by_click(rows).groupby("task").mean().mean()
                part = pd.DataFrame({"click": mean.index, "iou": mean.to_numpy()})
                level, tasks = rows["level"].iloc[0], rows["task"].nunique()
                parts.append(part.assign(model=model, level=level, tasks=tasks, rule=rule))
    columns = ["model", "level", "tasks", "rule", "click", "iou"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def published_means() -> pd.DataFrame:
    """Return SAM's and RITM's published mean IoU over tasks of several classes, and of one.

    Columns: model, level ("published"), line (which tasks), click, iou.
    """
    table = published.class_means().rename(columns={"method": "model"})
    table = table[table["model"].isin(published.METHODS.values())]
    names = table["tasks"].astype(str) + " tasks of " + table["classes"]
    return table.assign(level="published", line=names).drop(columns=["classes", "tasks"])


def curves(means: pd.DataFrame) -> Shown:
    """Return mean IoU against clicks under both label rules, per model; beside them the study's
    tasks by kind.

    means: of `means`.
    """
    titles = [f"{m}, {n} tasks" for m, n in zip(means["model"], means["tasks"], strict=True)]
    ours = means.assign(title=titles, line=POSITIVE + means["rule"].map(RULE_TEXT))
    study = published_means()
    both = pd.concat([ours, study.assign(title=study["model"])])
    kind = "Line plot of the mean IoU over tasks against clicks"
    return show.panels(both, ["title", "level"], kind, _draw)


def _draw(axes: Axes, curves: pd.DataFrame) -> str:
    """Draw means over tasks, a line each; returns their values in words."""
    dashed = curves["level"].iloc[0] == "published"
    plots.lines(axes, curves, list(curves["line"].unique()), dashed)
    found = []
    for name, curve in curves.groupby("line", sort=False):
        iou = curve.set_index("click")["iou"]
        last = int(iou.index[-1])
        shown = sorted({1, _middle(last), last})
        values = ", ".join(f"{iou[click]:.2f} at {click}" for click in shown)
        found.append(f"{name.removeprefix(POSITIVE)}: {values}")
    return "; ".join(found)
