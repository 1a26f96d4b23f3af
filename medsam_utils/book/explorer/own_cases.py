"""Cases of the book for the page "Try it on your image", and how its models did on the book's
datasets."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
from PIL import Image

from ...case import BadInputError, Case
from ...clicks import Protocol
from ...results import Store
from .in_page import write_by_content

CASES = {
    "ct_torso": "ct_torso_z036",
    "us_breast": "",
    "mri_spine": "",
    "xray_chest": "",
}
"""Datasets of which the page offers a case, and which one; empty: the middle one."""


def write_cases(folder: Path, names: Mapping[str, str] = CASES) -> dict[str, str]:
    """Write a case of each dataset as a file in `folder`; return the files by what the page calls
    them. A dataset that cannot be had is left out."""
    from ... import load_dataset

    files = {}
    for name, wanted in names.items():
        try:
            dataset = load_dataset(name)
            ids = [reference.case_id for reference in dataset]
            case = dataset.load(wanted or ids[len(ids) // 2])
        except BadInputError as error:
            print(f"{name} has no case in the page for own images: {error}", flush=True)
            continue
        file = write_by_content(folder, _files(case))
        kind = "" if dataset.level == "measured" else " (drawn)"
        files[f"{dataset.title}{kind}: {', '.join(_classes(case))}"] = file
    return files


def _classes(case: Case) -> list[str]:
    """Classes that are there, without those that overlap an earlier one: one file numbers them."""
    names, taken = [], np.zeros(case.image.shape[:2], bool)
    for name, mask in case.masks.items():
        if mask.any() and not (mask & taken).any():
            names.append(name)
            taken |= mask
    return names


def _files(case: Case) -> dict[str, str]:
    """Image and numbered masks of a case as PNG in base64, each under the name of its file."""
    labels = np.zeros(case.image.shape[:2], np.uint8)
    for number, name in enumerate(_classes(case), start=1):
        labels[case.masks[name]] = number
    grey = (case.image == case.image[..., :1]).all()
    pictures = {"": case.image[..., 0] if grey else case.image, "_mask": labels}
    return {f"{case.case_id}{end}.png": _png(values) for end, values in pictures.items()}


def _png(values: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def stored_curves(
    results: Path, weights: Mapping[str, str], rules: Mapping[str, Protocol]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return mean IoU after each click by model and rule, as stored rows say: a line {dataset,
    level, objects, iou} for each dataset.

    results: the folder of stored rows. weights: of each model; rows of others do not count.
    """
    folders = [folder for folder in sorted(results.glob("*")) if folder.is_dir()]
    return {
        model: {
            rule: [
                line
                for folder in folders
                for line in _lines(
                    Store(results, unquote(folder.name), model, protocol.name).read_newest(), digest
                )
            ]
            for rule, protocol in rules.items()
        }
        for model, digest in weights.items()
    }


def _lines(rows: pd.DataFrame, weights: str) -> Sequence[dict[str, Any]]:
    """Return lines of one run's rows, one for each level."""
    rows, lines = rows[rows["weights"] == weights], []
    for (dataset, level), group in rows.groupby(["dataset", "level"]):
        means = group.groupby("click")["iou"].mean()
        objects = len(group.drop_duplicates(["task", "case_id"]))
        line = {"dataset": dataset, "level": level, "objects": objects}
        lines.append(line | {"iou": [round(value, 4) for value in means]})
    return lines
