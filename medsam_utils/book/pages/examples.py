"""Examples of all datasets side by side: the study's figures 2 and 3."""

from __future__ import annotations

import pandas as pd

from ...statistics import at_percentiles
from .. import show
from ..show import Shown
from . import figures
from .figures import level_text
from .runs import Runs

SIDE = 220  # pixels of a picture's longest side: the page shows many


def answer(rows: pd.DataFrame) -> Shown:
    """Between which tasks the median IoU after one click ranges, per model, in one sentence."""
    parts = []
    for (level, model), of_model in rows.groupby(["level", "model"], sort=False):
        medians = {
            task: at_percentiles(table)[50][1]
            for task, table in of_model.groupby("task", sort=False)
        }
        low, high = min(medians, key=medians.get), max(medians, key=medians.get)
        parts.append(
            f"after one click the median IoU of **{model}** ranges from "
            f"**{medians[low]:.2f}** ({low}) to **{medians[high]:.2f}** "
            f"({high}) over {len(medians)} tasks ({level_text(level, medians)})"
        )
    text = "; ".join(parts)
    return show.answer(text[:1].upper() + text[1:])


def side_by_side(runs: Runs) -> Shown:
    """A row per task: the images at the quartiles of IoU after one click, of each model."""
    blocks = []
    for name, dataset in runs.datasets.items():
        references = {reference.case_id: reference for reference in dataset.list().references}
        for class_name, task in dataset.tasks.items():
            shown = []
            for model, rows in runs.of(name).items():
                task_rows, pictures = rows[rows["task"] == task], []
                for percentile, (case_id, value) in at_percentiles(task_rows).items():
                    object_rows = task_rows[task_rows["case_id"] == case_id]
                    case = dataset.load(references[case_id], class_name)
                    truth = case.masks[class_name]
                    title = f"{model} on {task}, {percentile}th percentile"
                    caption = f"**{model}, {percentile}th**\nIoU {value:.2f}"
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
