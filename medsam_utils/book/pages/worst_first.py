"""Every object of a dataset in one table, the worst first: what it looks like, and what is special
about it."""

from __future__ import annotations

from html import escape
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb

from ... import plots
from ...case import Case
from ...datasets import Dataset
from ...models import Model
from ...simulation import replay
from ...statistics import iou_by_click
from .. import show
from ..explorer import data_address
from ..show import Shown
from . import figures
from .figures import level_text
from .page import plural

PICTURES = 200
"""So many objects have a picture on the page, the worst ones: each costs 5 kB and an answer."""
SIDE = 192  # pixels of a picture's longest side, shown at half of it
TRUTH, PREDICTION = (
    tuple(round(255 * part) for part in to_rgb(name)) for name in (plots.TRUTH, plots.PREDICTION)
)
DASH = 7  # pixels of a contour
SMALL = 0.003  # of an image
MUCH = 0.1  # of IoU
HURT = 0.05  # of IoU below the best


def lines(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return a line for each object under a model, that with the lowest last IoU first.

    Columns: task, case_id, IoU@k for one click, three, nine and the last, share (of the image),
    regions, candidates (IoU of each after the last click; empty with one), chosen (which of them
    counts), best (IoU after the best click). An object without a defined IoU stands last.
    """
    mine = rows[rows["model"] == model]
    ious = iou_by_click(mine)
    last = int(ious.columns[-1])
    told = [click for click in dict.fromkeys((1, 3, 9, last)) if click in ious]
    keys = ["task", "case_id"]
    ends = mine.sort_values("click").groupby(keys, sort=False).last()
    parts = [f"iou_{i}" for i in range(3) if f"iou_{i}" in ends]
    table = ious[told].rename(columns="IoU@{}".format).assign(best=ious.max(axis="columns"))
    table = table.reset_index().drop(columns=["model", "level", "patient_id"])
    facts = ends.loc[pd.MultiIndex.from_frame(table[keys])]
    candidates = [
        [value for value in line if np.isfinite(value)] for line in facts[parts].to_numpy(float)
    ]
    table["share"] = facts["area_share"].to_numpy()
    table["regions"] = facts["components"].to_numpy()
    table["candidates"] = [line if len(line) > 1 else [] for line in candidates]
    table["chosen"] = facts["mask_index"].to_numpy()
    return table.sort_values(f"IoU@{last}", kind="stable", ignore_index=True)


def special(line: dict[str, Any], last: int) -> str:
    """Return what may have made an object hard, in words; empty if nothing stands out.

    line: of `lines`. last: the number of the last click.
    """
    iou, found = line[f"IoU@{last}"], []
    if line["share"] < SMALL:
        found.append("small")
    if line["regions"] > 1:
        found.append(f"{line['regions']} regions")
    if line["candidates"] and max(line["candidates"]) - iou > MUCH:
        found.append("a better candidate was not chosen")
    if line["best"] - iou > HURT:
        found.append(f"was {line['best']:.2f} before later clicks")
    return "; ".join(found)


def table(dataset: Dataset, model: Model, rows: pd.DataFrame, pictures: int = PICTURES) -> Shown:
    """Return every object under a model as a table to sort, the worst first, with a picture of the
    first ones.

    rows: of that model, and perhaps of others. pictures: so many at most. A button in a line opens
    its case in the page's explorer, where that holds it.
    """
    objects = lines(rows, model.name)
    shown = objects.to_dict("records")
    last = int(rows.loc[rows["model"] == model.name, "click"].max())
    seen = _pictures(dataset, model, rows, objects.head(pictures))
    several = len(dataset.tasks) > 1
    frame = pd.DataFrame(
        {
            "": [seen.get((line["task"], line["case_id"]), "") for line in shown],
            "case": [_named(line["task"], line["case_id"], several) for line in shown],
            **{name: objects[name].map("{:.2f}".format) for name in objects if "IoU@" in name},
            "size": [f"{line['share']:.1%}" for line in shown],
            "regions": objects["regions"],
            "candidates": [_candidates(line) for line in shown],
            "what stands out": [special(line, last) for line in shown],
        }
    )
    if not any(line["candidates"] for line in shown):
        frame = frame.drop(columns="candidates")
    counts = f"{plural(objects['case_id'].nunique(), 'image')}, {plural(len(objects), 'object')}"
    level = level_text(rows["level"].iloc[0], objects["task"])
    pictured = f"the worst {len(seen)}" if len(seen) < len(objects) else "each"
    text = f"**{counts}** under **{model.name}** ({level}), with a picture of {pictured}"
    return show.paragraphs(f"{text}.") + show.table(
        frame, digits=2, fold=False, kind="medsam-worst medsam-prose"
    )


def _named(task: str, case_id: str, several: bool) -> Shown:
    """Return a case's name with its task, and a button that waits for the explorer."""
    names = [case_id, *([task.split(": ")[-1]] if several else [])]
    data = f'data-task="{escape(task)}" data-case="{escape(case_id)}"'
    button = f'<button type="button" class="medsam-open" {data} hidden>open</button>'
    return Shown(f"{'<br>'.join(map(escape, names))} {button}")


def _candidates(line: dict[str, Any]) -> str:
    """Return the IoU of each candidate, that of the one that counts in bold."""
    texts = [f"{value:.2f}" for value in line["candidates"]]
    if texts:
        texts[line["chosen"]] = f"**{texts[line['chosen']]}**"
    return " ".join(texts)


def _pictures(
    dataset: Dataset, model: Model, rows: pd.DataFrame, objects: pd.DataFrame
) -> dict[tuple[str, str], Shown]:
    """Return a picture of each object after its last click, by task and case; each image is encoded
    once, but for classes with an intensity rule of their own."""
    pictures = {}
    for case_id, of_case in objects.groupby("case_id", sort=False):
        mine = rows[(rows["model"] == model.name) & (rows["case_id"] == case_id)]
        encoded: dict[str, Any] = {}
        for task in of_case["task"]:
            class_name = dataset.task_classes[task]
            view = class_name if class_name in dataset.class_intensity else ""
            case = dataset.load(case_id, class_name)
            if view not in encoded:
                encoded[view] = model.encode(case.image)
            object_rows = mine[mine["task"] == task]
            last = int(object_rows["click"].max())
            mask = replay(case, model, object_rows, last, encoded[view])
            pictures[task, case_id] = picture(case, case.masks[class_name], mask)
    return pictures


def picture(case: Case, truth: np.ndarray, mask: np.ndarray) -> Shown:
    """Return a small picture round an object, with the true outline and the dashed predicted one.

    truth, mask: bool, H x W.
    """
    rows, cols = figures.window(truth, mask)
    crop = case.image[rows, cols]
    scale = SIDE / max(crop.shape[:2])
    size = tuple(max(1, round(n * scale)) for n in crop.shape[1::-1])
    drawn = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    for outlined, colour, dashed in ((truth, TRUTH, False), (mask, PREDICTION, True)):
        grey = outlined[rows, cols].astype(np.float32)
        large = (cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR) >= 0.5).astype(np.uint8)
        for contour in cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]:
            if dashed:
                dashes = [contour[i : i + DASH] for i in range(0, len(contour), 2 * DASH)]
                cv2.polylines(drawn, dashes, False, colour, 2)
            else:
                cv2.polylines(drawn, [contour], True, colour, 2)
    width, height = (round(n / 2) for n in size)
    alt = escape(f"{case.case_id}: true and predicted outline")
    source = data_address(drawn, SIDE, quality=60)
    return Shown(f'<img src="{source}" alt="{alt}" width="{width}" height="{height}">')
