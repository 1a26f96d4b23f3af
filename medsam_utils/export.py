"""Masks of rows as files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from .case import BadInputError
from .datasets import Dataset
from .datasets.npz import NpzFiles, label_file, read_labels
from .files import atomic_path, file_name
from .models import Model
from .simulation import replay


def export_npz(
    rows: pd.DataFrame, dataset: Dataset, model: Model, folder: str | Path, click: int | None = None
) -> list[Path]:
    """Write predictions as the CVPR challenges want them, a file per image or volume; return paths.

    dataset: of `datasets.npz.load_npz`. folder: gets a file of the same name for each, with the
    array `segs`: the shape and numbers of `gts`; where masks overlap, the higher number is kept,
    and slices without a row are 0. rows and click: as for `export_masks`. Raises BadInputError as
    that does, and for files of one name in several folders.
    """
    if not isinstance(dataset.reader, NpzFiles):
        raise BadInputError(f"{dataset.name} is not of .npz files: take export_masks")
    rows = _model_rows(rows, model)
    last = int(rows["click"].max() if click is None else click)
    references = {reference.case_id: reference for reference in dataset}
    files = rows["case_id"].map(lambda case_id: references[case_id].images[0])
    names = Counter(file.name for file in files.unique())
    if twice := [name for name, count in names.items() if count > 1]:
        raise BadInputError(
            f"{twice[0]} lies in several folders, and predictions have one: export the rows of one "
            "folder at a time"
        )
    paths = []
    for file, file_rows in rows.groupby(files, sort=False):
        labels = read_labels(label_file(references[file_rows["case_id"].iloc[0]]))
        found = np.zeros(labels.shape, np.min_scalar_type(int(labels.max())))
        for case_id, case_rows in file_rows.groupby("case_id", sort=False):
            case, index = dataset.load(case_id), references[case_id].slice_index
            embedding = model.encode(case.image)
            plane = found if index is None else found[index]
            for task, object_rows in case_rows.groupby("task", sort=False):
                (label,) = dataset.classes[dataset.task_classes[task]]
                mask = replay(case, model, object_rows, last, embedding)
                plane[mask] = np.maximum(plane[mask], label)
        path = Path(folder).expanduser() / file.name
        with atomic_path(path) as unfinished, unfinished.open("wb") as stream:
            np.savez_compressed(stream, segs=found)
        paths.append(path)
    return paths


def _model_rows(rows: pd.DataFrame, model: Model) -> pd.DataFrame:
    """Return the rows of a model; raises BadInputError if there is none."""
    rows = rows[rows["model"] == model.name]
    if rows.empty:
        raise BadInputError(f"no row is of {model.name}: give the model that made the rows")
    return rows


def export_masks(
    rows: pd.DataFrame, dataset: Dataset, model: Model, folder: str | Path, click: int | None = None
) -> list[Path]:
    """Write the mask of each object as PNG, 0 and 255, on the image's grid; return the paths.

    rows: of one run; those of other models are left out. click: after which, None for the last one.
    folder: gets a file `<case>__<class>.png` for each object. Rows hold clicks and no masks, so
    every image is encoded again, see `replay`. Raises BadInputError if no row is of this model.
    """
    rows = _model_rows(rows, model)
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
