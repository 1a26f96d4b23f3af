"""Examples of all datasets side by side: the study's figures 2 and 3."""

from __future__ import annotations

from html import escape

import pandas as pd
from IPython.display import HTML

from ...statistics import at_percentiles
from . import figures
from .figures import level_text
from .runs import Runs

SIDE = 220  # pixels of a picture's longest side: the page shows many
THREE = "flex:1 1 270px;max-width:24rem;display:grid;grid-template-columns:repeat(3,1fr);gap:0.4rem"


def answer(rows: pd.DataFrame) -> HTML:
    """Between which tasks the median IoU after one click ranges, per model, in one sentence."""
    parts = []
    for (level, model), of_model in rows.groupby(["level", "model"], sort=False):
        medians = {
            task: at_percentiles(table)[50][1]
            for task, table in of_model.groupby("task", sort=False)
        }
        low, high = min(medians, key=medians.get), max(medians, key=medians.get)
        parts.append(
            f"after one click the median IoU of <strong>{escape(model)}</strong> ranges from "
            f"<strong>{medians[low]:.2f}</strong> ({escape(low)}) to "
            f"<strong>{medians[high]:.2f}</strong> ({escape(high)}) over {len(medians)} tasks "
            f"({level_text(level, medians)})"
        )
    text = "; ".join(parts)
    return HTML(f'<p class="medsam-answer">{text[:1].upper()}{text[1:]}.</p>')


def side_by_side(runs: Runs) -> HTML:
    """A row per task: the images at the quartiles of IoU after one click, of each model."""
    blocks = []
    for name, dataset in runs.datasets.items():
        for class_name, task in dataset.tasks.items():
            of_models = []
            for model, rows in runs.dataset_rows(name).items():
                of_task, pictures = rows[rows["task"] == task], []
                for percentile, (case_id, value) in at_percentiles(of_task).items():
                    of_object = of_task[of_task["case_id"] == case_id]
                    case = dataset.load(case_id, class_name)
                    title = f"{model} on {task}, {percentile}th percentile"
                    picture = figures.example(
                        case, case.masks[class_name], runs.models[model], of_object, title, SIDE
                    )
                    caption = f"<strong>{escape(model)}, {percentile}th</strong><br>IoU {value:.2f}"
                    pictures.append(figures.figure(picture, caption, width=90))
                of_models.append(f'<div style="{THREE}">{"".join(pictures)}</div>')
            if "<figure" in "".join(of_models):  # few cases may hold no object of a class
                blocks.append(
                    figures.group(f"{task} ({level_text(dataset.level, [task])})", of_models)
                )
    return HTML("".join(blocks))
