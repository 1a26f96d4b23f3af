"""Examples of all datasets side by side: the study's figures 2 and 3."""

from __future__ import annotations

import pandas as pd

from ...statistics import at_percentiles
from .. import show
from ..runs import Runs
from ..show import Shown
from . import figures
from .figures import level_text

SIDE = 220  # pixels of a picture's longest side: the page shows many


def quartiles(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the object at each quartile of IoU after one click, per task and model.

    Columns: level, model, task, percentile (25, 50 or 75), case_id and iou.
    """
    lines = []
    for key, task_rows in rows.groupby(["level", "model", "task"], sort=False):
        line = dict(zip(("level", "model", "task"), key, strict=True))
        for percentile, (case_id, iou) in at_percentiles(task_rows).items():
            lines.append(line | {"percentile": percentile, "case_id": case_id, "iou": iou})
    return pd.DataFrame(lines)


def answer(chosen: pd.DataFrame) -> Shown:
    """Return between which tasks the median IoU after one click ranges, per model.

    chosen: of `quartiles`.
    """
    medians, parts = chosen[chosen["percentile"] == 50], []
    for (level, model), model_medians in medians.groupby(["level", "model"], sort=False):
        by_task = model_medians.set_index("task")["iou"]
        low, high = by_task.idxmin(), by_task.idxmax()
        parts.append(
            f"after one click the median IoU of **{model}** ranges from "
            f"**{by_task[low]:.2f}** ({low}) to **{by_task[high]:.2f}** "
            f"({high}) over {len(by_task)} tasks ({level_text(level, by_task.index)})"
        )
    text = "; ".join(parts)
    return show.answer(text[:1].upper() + text[1:])


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
    return show.joined(blocks)
