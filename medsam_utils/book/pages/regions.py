"""Objects of several regions: how clicks reach them, and where one more click hurts."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...case import Case
from ...models import Model
from ...simulation import replay, stored_clicks
from ...statistics import GROUP, iou_by_click
from .. import show
from ..runs import Runs
from ..show import NOTHING, Figure, Shown, Table
from . import figures, page
from .figures import LEVELS

HURT = 0.05
"""How far an object must end below its best IoU to count as hurt by its later clicks."""


def several(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of objects with two or more regions."""
    return rows[rows["components"] > 1]


def after_best(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how each object's IoU runs: one line per object.

    Index as `statistics.iou_by_click`. Columns: first, best and last (IoU), best_click (the first
    click with the best IoU), gain (best minus first) and loss (best minus last).

    >>> rows = pd.DataFrame({"task": "T", "model": "m", "level": "demo", "case_id": "a",
    ...                      "patient_id": "p", "click": [1, 2, 3], "iou": [0.25, 0.75, 0.5]})
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
    """Return the numbers of objects per task and model: IoU, and what later clicks cost.

    rows: of objects with several regions. Columns: task, model, level, objects, regions (mean),
    IoU@1, IoU@N (mean after the last click), loss since best (mean), and hurt: the share of objects
    that end more than HURT below their best. Empty where there is no object.
    """
    lines = []
    for key, task_rows in rows.groupby(GROUP, sort=False):
        course = after_best(task_rows)
        last = int(task_rows["click"].max())
        line = dict(zip(GROUP, key, strict=True)) | {"objects": len(course)}
        line |= {"regions": task_rows.groupby("case_id")["components"].first().mean()}
        line |= {"IoU@1": course["first"].mean(), f"IoU@{last}": course["last"].mean()}
        line |= {"loss since best": course["loss"].mean(), "hurt": (course["loss"] > HURT).mean()}
        lines.append(line)
    return pd.DataFrame(lines)


def answer(rows: pd.DataFrame) -> Shown:
    """Return whether there can be too many clicks, and what one click and the last give.

    rows: of objects with several regions. Every number is over the same objects, each weighing the
    same.
    """
    if rows.empty:
        return show.answer("No object of these datasets has more than one region")
    last, sentences = int(rows["click"].max()), []
    for (level, model), model_rows in rows.groupby(["level", "model"], sort=False):
        course = after_best(model_rows)
        hurt = (course["loss"] > HURT).mean()
        found = "Yes" if hurt else "No, more clicks never hurt here"
        text = (
            f"{found}: with **{model}** **{hurt:.0%}** of {page.plural(len(course), 'object')} of "
            f"several regions end more than {HURT} below their best IoU. The mean IoU goes from "
            f"**{course['first'].mean():.2f}** with one click to **{course['last'].mean():.2f}** "
            f"with {last}"
        )
        sentences.append((text, [LEVELS[level], "every object weighing the same"]))
    return show.answer(*sentences)


def curves(means: pd.DataFrame) -> Shown:
    """Return IoU against clicks: a figure per task, a line per model.

    means: of `statistics.mean_curves`, of objects with several regions.
    """
    last = means["click"].max()

    def draw(axes: Axes, task_means: pd.DataFrame) -> str:
        plots.curves(axes, task_means)
        objects, ends = task_means["objects"].max(), figures.ends(task_means, "model")
        counted = page.plural(objects, "object")
        return f"{counted} of several regions, mean IoU at one click to {last}: {ends}"

    kind = "Line plot of mean IoU against clicks, objects of several regions"
    return show.panels(means, ["task", "level"], kind, draw, (3.6, 2.8))


def table(numbers: pd.DataFrame) -> Table:
    """Return `summary` to sort, with shares in per cent."""
    if numbers.empty:
        return show.table(numbers)
    hurt = [f"{share:.0%}" for share in numbers["hurt"]]
    regions = [f"{mean:.1f}" for mean in numbers["regions"]]
    return show.table(numbers.assign(hurt=hurt, regions=regions))


def extremes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the object that clicks help most, and the one that they hurt most, of each dataset.

    rows: of one model, of objects with several regions. Columns: dataset, level, task, case_id,
    best_click, gain, loss, and which: "helped most" or "hurt most", which must lose more than HURT.
    """
    lines = []
    for dataset, dataset_rows in rows.groupby("dataset", sort=False):
        course = after_best(dataset_rows)
        gained = course["gain"].astype(float).idxmax()
        lost = course["loss"].astype(float).idxmax()
        shown = {"helped most": gained}
        if course.loc[lost, "loss"] > HURT:
            shown["hurt most"] = lost
        for which, key in shown.items():
            line = {"dataset": dataset, "which": which}
            line |= dict(zip(course.index.names, key, strict=True))
            best = {"best_click": int(course.loc[key, "best_click"])}
            lines.append(line | best | course.loc[key, ["gain", "loss"]].to_dict())
    columns = ["dataset", "level", "task", "case_id", "which", "best_click", "gain", "loss"]
    return pd.DataFrame(lines, columns=columns)


def examples(runs: Runs, model: str, chosen: pd.DataFrame) -> Shown:
    """Return the study's figure 5: objects after one click, after their best click and the last.

    model: whose masks. chosen: of `extremes`, a line per object.
    """
    blocks = []
    for line in chosen.itertuples():
        dataset, rows = runs.datasets[line.dataset], runs.tables[line.dataset, model]
        object_rows = rows[(rows["task"] == line.task) & (rows["case_id"] == line.case_id)]
        class_of = {task: class_name for class_name, task in dataset.tasks.items()}
        class_name = class_of[line.task]
        case = dataset.load(line.case_id, class_name)
        steps = sorted({1, line.best_click, int(object_rows["click"].max())})
        pictures = [
            _after(case, class_name, runs.models[model], object_rows, click) for click in steps
        ]
        regions = object_rows["components"].iloc[0]
        title = f"{line.task}: {line.which} by clicks, {regions} regions, {model}"
        told = show.paragraphs(worst_click(object_rows)) if line.which == "hurt most" else NOTHING
        blocks.append(show.pictures(f"{title} ({LEVELS[line.level]})", pictures) + told)
    return show.joined(blocks)


def worst_click(rows: pd.DataFrame) -> str:
    """Return which click of an object cost most IoU, and what it said, in a sentence.

    rows: of one object, a line per click, one of which lowers the IoU.
    """
    course = rows.sort_values("click").set_index("click")
    change = course["iou"].diff()
    click = int(change.idxmin())
    said = "inside the object" if course.loc[click, "positive"] else "outside it"
    before = course["iou"].shift()[click]
    return (
        f"Click {click}, which says that its pixel lies {said}, makes it worse: IoU {before:.2f} "
        f"before it, {course.loc[click, 'iou']:.2f} after it. It corrects the deepest error, and "
        "the model answers with another mask of the whole object."
    )


def _after(case: Case, class_name: str, model: Model, rows: pd.DataFrame, click: int) -> Figure:
    """Return one object with the mask after a click, and the clicks up to it."""
    value = rows.loc[rows["click"] == click, "iou"].iloc[0]
    words = page.plural(click, "click")
    caption = f"**{words}**\nIoU {value:.2f}"
    alt = f"{class_name} after {words}: IoU {value:.2f}; image with true contour, predicted contour"
    drawing, axes = plots.new_picture(case.image)
    mask, clicks = replay(case, model, rows, click), stored_clicks(rows, click)
    plots.example(axes, case.image, case.masks[class_name], mask, clicks, numbered=True)
    return show.figure(drawing, f"{alt} and clicks.", caption, width=200)
