"""Examples of all datasets side by side: the study's figures 2 and 3."""

from __future__ import annotations

import pandas as pd

from ...statistics import at_percentiles
from .. import show
from ..runs import Runs
from ..show import Shown
from . import figures
from .figures import level_text
from .overview import FEWEST_OBJECTS
from .page import plural

IN_SIGHT = 12  # tasks; more are closed until they are clicked
SIDE = 220  # pixels of a picture's longest side: the page shows many


def quartiles(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the object at each quartile of IoU after one click, per task and model.

    Columns: level, model, task, percentile (25, 50 or 75), case_id, iou and objects, of which it is
    chosen.
    """
    lines = []
    for key, task_rows in rows.groupby(["level", "model", "task"], sort=False):
        line = dict(zip(("level", "model", "task"), key, strict=True))
        for percentile, (case_id, iou) in at_percentiles(task_rows).items():
            found = {"percentile": percentile, "case_id": case_id, "iou": iou}
            lines.append(line | found | {"objects": task_rows["case_id"].nunique()})
    return pd.DataFrame(lines)


def answer(chosen: pd.DataFrame) -> Shown:
    """Return between which tasks the median IoU after one click ranges, per model.

    chosen: of `quartiles`.
    """
    medians, sentences = (
        chosen[(chosen["percentile"] == 50) & (chosen["objects"] >= FEWEST_OBJECTS)],
        [],
    )
    for (level, model), model_medians in medians.groupby(["level", "model"], sort=False):
        by_task = model_medians.set_index("task")["iou"]
        low, high = by_task.idxmin(), by_task.idxmax()
        between = f"from **{by_task[low]:.2f}** ({low}) to **{by_task[high]:.2f}** ({high})"
        if len(by_task) == 1:
            between = f"is **{by_task[low]:.2f}** ({low})"
        verb = "" if len(by_task) == 1 else "ranges "
        text = (
            f"With one click the median IoU of **{model}** {verb}{between} over "
            f"{plural(len(by_task), 'task')} of {FEWEST_OBJECTS} objects or more"
        )
        sentences.append((text, [level_text(level, by_task.index)]))
    return show.answer(*(sentences or [f"No task here has {FEWEST_OBJECTS} objects"]))


def side_by_side(runs: Runs, chosen: pd.DataFrame) -> Shown:
    """Return a row of images per task, three of each model. chosen: of `quartiles`."""
    blocks = []
    for name, dataset in runs.datasets.items():
        for class_name, task in dataset.tasks.items():
            shown = []
            for model, rows in runs.dataset_tables(name).items():
                lines = chosen[(chosen["task"] == task) & (chosen["model"] == model)]
                pictures = []
                for line in lines.itertuples():
                    object_rows = rows[(rows["task"] == task) & (rows["case_id"] == line.case_id)]
                    case = dataset.load(line.case_id, class_name)
                    truth = case.masks[class_name]
                    title = f"{model} on {task}, {line.percentile}th percentile"
                    caption = f"**{model}, {line.percentile}th**\nIoU {line.iou:.2f}"
                    pictures.append(
                        figures.example(
                            case, truth, runs.models[model], object_rows, title, caption, SIDE, 90
                        )
                    )
                shown += [show.three(pictures)] if pictures else []
            if shown:  # few cases may hold no object of a class
                level = level_text(dataset.level, [task])
                blocks.append(show.group(f"{task} ({level})", shown))
    return show.folded(blocks, IN_SIGHT, "tasks")
