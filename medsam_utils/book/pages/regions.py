"""Objects of several regions: how clicks reach them, and where one more click hurts; each is
HTML."""

from __future__ import annotations

from html import escape

import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes

from ... import plots
from ...simulation import replay, stored_clicks
from ...statistics import GROUP, iou_by_click, mean_curves
from . import figures, page
from .figures import LEVELS
from .runs import Runs

HURT = 0.05
"""How far an object must end below its best IoU to count as hurt by its later clicks."""


def several(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of objects with two or more regions."""
    return rows[rows["components"] > 1]


def after_best(rows: pd.DataFrame) -> pd.DataFrame:
    """How each object's IoU runs: one line per object.

    Index as `statistics.iou_by_click`. Columns: first, best and last (IoU), best_click (the first
    click with the best IoU), gain (best minus first) and loss (best minus last).

    >>> same = {"task": "T", "model": "m", "level": "demo", "case_id": "a", "patient_id": "p"}
    >>> rows = pd.DataFrame({**same, "click": [1, 2, 3], "iou": [0.25, 0.75, 0.5]})
    >>> after_best(rows).values.tolist()
    [[0.25, 0.75, 0.5, 2, 0.5, 0.25]]
    """
    ious = iou_by_click(rows).dropna(how="all")
    best = ious.max(axis="columns")
    table = pd.DataFrame({"first": ious.iloc[:, 0], "best": best, "last": ious.iloc[:, -1]}).astype(
        object
    )
    table["best_click"] = ious.idxmax(axis="columns")
    return table.assign(gain=best - ious.iloc[:, 0], loss=best - ious.iloc[:, -1])


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Objects with several regions, per task and model: their number, IoU, and what later clicks
    cost.

    Columns: task, model, level, objects, regions (mean), IoU@1, IoU@N (mean after the last click),
    the mean loss since the best click, and hurt: the share of objects that end more than HURT below
    their best.
    """
    lines = []
    for key, of_task in several(rows).groupby(GROUP, sort=False):
        course = after_best(of_task)
        last = int(of_task["click"].max())
        line = dict(zip(GROUP, key, strict=True)) | {"objects": len(course)}
        line |= {"regions": of_task.groupby("case_id")["components"].first().mean()}
        line |= {"IoU@1": course["first"].mean(), f"IoU@{last}": course["last"].mean()}
        lines.append(
            line
            | {"loss since best": course["loss"].mean(), "hurt": (course["loss"] > HURT).mean()}
        )
    return pd.DataFrame(lines)


def answer(rows: pd.DataFrame) -> HTML:
    """One sentence: what one click and the last give on objects of several regions, and how many
    are hurt."""
    table = summary(rows)
    if table.empty:
        return page.sentence("No object of these datasets has more than one region")
    last, sentences = int(rows["click"].max()), []
    for level, of_level in table.groupby("level", sort=False):
        parts = []
        for model, of_model in of_level.groupby("model", sort=False):
            objects = of_model["objects"].sum()
            hurt = (of_model["hurt"] * of_model["objects"]).sum() / objects
            parts.append(
                f"<strong>{escape(model)}</strong> goes from a mean IoU of "
                f"<strong>{of_model['IoU@1'].mean():.2f}</strong> with one click to "
                f"<strong>{of_model[f'IoU@{last}'].mean():.2f}</strong> with {last}, and "
                f"<strong>{hurt:.0%}</strong> end more than {HURT} below their best"
            )
        sentences.append(
            f"On {objects} objects of several regions ({LEVELS[level]}, mean of "
            f"{of_model['task'].nunique()} tasks, every task weighing the same) {'; '.join(parts)}"
        )
    return page.sentence(". ".join(sentences))


def curves(rows: pd.DataFrame) -> HTML:
    """IoU against clicks of the objects with several regions: a figure per task, a line per
    model."""
    last = rows["click"].max()

    def draw(axes: Axes, means: pd.DataFrame) -> str:
        """A line for each model."""
        plots.curves(axes, means)
        objects, ends = means["objects"].max(), figures.ends(means, "model")
        return f"{objects} objects of several regions, mean IoU at one click to {last}: {ends}"

    kind = "Line plot of mean IoU against clicks, objects of several regions"
    return figures.panels(mean_curves(several(rows)), ["task", "level"], kind, draw, (3.6, 2.8))


def table(rows: pd.DataFrame) -> HTML:
    """`summary`, to sort."""
    numbers = summary(rows)
    numbers["hurt"] = [f"{share:.0%}" for share in numbers["hurt"]]
    numbers["regions"] = [f"{mean:.1f}" for mean in numbers["regions"]]
    return page.numbers_table(numbers)


def examples(runs: Runs, model: str) -> HTML:
    """The study's figure 5: per dataset the object that clicks help most, and the one that they
    hurt most.

    model: whose. Each is shown after one click, after its best click, and after the last one.
    """
    blocks = []
    for name, dataset in runs.datasets.items():
        rows = several(runs.tables[name, model]) if (name, model) in runs.tables else pd.DataFrame()
        if rows.empty:
            continue
        course = after_best(rows)
        gained = course["gain"].astype(float).idxmax()
        lost = course["loss"].astype(float).idxmax()
        shown = {"helped most": gained} | (
            {"hurt most": lost} if course.loc[lost, "loss"] > HURT else {}
        )
        for words, key in shown.items():
            of_object = dict(zip(course.index.names, key, strict=True))
            task, case_id, best = (
                of_object["task"],
                of_object["case_id"],
                int(course.loc[key, "best_click"]),
            )
            mine = rows[(rows["task"] == task) & (rows["case_id"] == case_id)]
            class_name = dataset.task_classes[task]
            case = dataset.load(case_id, class_name)
            steps = sorted({1, best, int(mine["click"].max())})
            pictures = [
                _after(case, class_name, runs.models[model], mine, click) for click in steps
            ]
            regions = mine["components"].iloc[0]
            level = LEVELS[of_object["level"]]
            title = f"{task}: {words} by clicks, {regions} regions, {model} ({level})"
            blocks.append(figures.group(title, pictures))
    return HTML("".join(blocks))


def _after(case, class_name: str, model, rows: pd.DataFrame, click: int) -> str:
    """One object with the mask after a click, and the clicks up to it."""
    clicks = stored_clicks(rows, click)
    value = rows.loc[rows["click"] == click, "iou"].iloc[0]
    drawing, axes = plots.new_picture(case.image)
    mask = replay(case, model, rows, click)
    plots.example(axes, case.image, case.masks[class_name], mask, clicks, numbered=True)
    words = page.plural(click, "click")
    alt = (
        f"{class_name} after {words}: IoU {value:.2f}; "
        "image with true contour, predicted contour and clicks."
    )
    return figures.figure(
        plots.svg(drawing, alt), f"<strong>{words}</strong><br>IoU {value:.2f}", width=200
    )
