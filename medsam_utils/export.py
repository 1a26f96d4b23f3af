"""Masks of rows as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from .case import BadInputError
from .datasets import Dataset
from .files import atomic_path, file_name
from .models import Model
from .simulation import replay


def export_masks(
    rows: pd.DataFrame, dataset: Dataset, model: Model, folder: str | Path, click: int | None = None
) -> list[Path]:
    """Write the mask of each object as PNG, 0 and 255, on the image's grid; return the paths.

    rows: of one run; those of other models are left out. click: after which, None for the last one.
    folder: gets a file `<case>__<class>.png` for each object. Rows hold clicks and no masks, so
    every image is encoded again, see `replay`. Raises BadInputError if no row is of this model.
    """
    rows = rows[rows["model"] == model.name]
    if rows.empty:
        raise BadInputError(f"no row is of {model.name}: give the model that made the rows")
    last = int(rows["click"].max() if click is None else click)
    paths = []
    for (case_id, task), object_rows in rows.groupby(["case_id", "task"], sort=False):
        class_name = dataset.task_classes[task]
        case = dataset.load(case_id, class_name)
        mask = replay(case, model, object_rows, last)
        path = Path(folder).expanduser() / f"{file_name(case_id, class_name)}.png"
        with atomic_path(path) as unfinished:
            Image.fromarray(mask.astype(np.uint8) * 255).save(unfinished, format="PNG")
        paths.append(path)
    return paths
