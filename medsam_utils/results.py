"""The store of rows: a folder of Parquet parts that only grows, safe to kill at any moment."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from .files import atomic_path

FLUSH_SECONDS = 5.0  # how much finished work a killed run may lose

ROW_TYPES = {
    "dataset": "string",
    "task": "string",
    "case_id": "string",
    "patient_id": "string",
    "slice_index": "Int64",
    "model": "string",
    "weights": "string",
    "protocol": "string",
    "level": "string",
    "area_share": "float64",
    "components": "int64",
    "click": "int64",
    "row": "int64",
    "col": "int64",
    "positive": "bool",
    "distance": "float64",
    "ties": "int64",
    "mask_index": "int64",
    "predicted_iou": "float64",
    "iou": "float64",
    "dice": "float64",
    **{f"predicted_iou_{candidate}": "float64" for candidate in range(3)},
    **{f"iou_{candidate}": "float64" for candidate in range(3)},
}
"""Columns of the rows and their types, one row per (object, click).

area_share, components: of the true object: its part of the image's pixels, 0..1, and the number of
its regions (diagonal neighbours belong together). row, col: the click in pixels, -1 where there was
none because the mask was already perfect. distance, ties: as in `clicks.Click`. mask_index: the
candidate that counted. iou, dice: of that candidate against the truth. The columns with
0 to 2 at their end: every candidate's predicted and true IoU, NaN if it has fewer.
"""


def as_rows(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows in the column order and types of ROW_TYPES, also when there is none."""
    return pd.DataFrame(records, columns=list(ROW_TYPES)).astype(ROW_TYPES)


class Store:
    """Rows of one dataset, model and protocol, kept by case fingerprint below a folder.

    Rows are added inside `with store:` and are on disk at the latest FLUSH_SECONDS later, or when
    the block is left, also by an error. A part is written under a temporary name and renamed, so a
    killed run leaves whole parts only. Several processes may append at once; a case stored twice is
    read once.
    """

    def __init__(self, folder: str | Path, dataset: str, model: str, protocol: str) -> None:
        """folder: the store of all runs; this run is in folder/dataset/model/protocol."""
        self.folder = Path(
            folder, *(quote(part, safe=" ,=()") for part in (dataset, model, protocol))
        )
        self._pending: list[pd.DataFrame] = []
        self._flushed = time.monotonic()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self._flush()

    def read(self, fingerprints: Collection[str]) -> pd.DataFrame:
        """Return the stored rows of some fingerprints, with their column `fingerprint`."""
        parts = [pd.read_parquet(path) for path in sorted(self.folder.glob("part-*.parquet"))]
        if not parts:
            return as_rows([]).assign(fingerprint=pd.Series(dtype="string"))
        rows = pd.concat(parts, ignore_index=True)
        return rows[rows["fingerprint"].isin(fingerprints)].drop_duplicates(
            ["fingerprint", "task", "click"]
        )

    def append(self, rows: pd.DataFrame) -> None:
        """Add all rows of finished cases, with their column `fingerprint`."""
        self._pending.append(rows)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush()

    def write_record(self, record: dict[str, Any]) -> None:
        """Keep what does not belong into rows: when, where, how long, with which versions."""
        name = "run-" + record["started"].replace(":", "").replace("+", "_") + ".json"
        with atomic_path(self.folder / name) as unfinished:
            unfinished.write_text(json.dumps(record, indent=1))

    def _flush(self) -> None:
        """Write what is pending as one new part, named by the cases in it."""
        rows = pd.concat(self._pending, ignore_index=True) if self._pending else as_rows([])
        if len(rows):
            name = hashlib.sha256("\n".join(rows["fingerprint"].unique()).encode()).hexdigest()[:16]
            with atomic_path(self.folder / f"part-{name}.parquet") as unfinished:
                rows.to_parquet(unfinished, index=False)
        self._pending, self._flushed = [], time.monotonic()
