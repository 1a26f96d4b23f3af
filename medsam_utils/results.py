"""The store of rows: a folder of Parquet parts that only grows, safe to kill at any moment."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import time
import warnings
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .case import BadInputError
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


PART_TYPES = {**ROW_TYPES, "fingerprint": "string", "case_rows": "int64"}
"""Columns of a stored part: also the case's fingerprint, and how many rows the case has."""


def row_types(metrics: Sequence[str] = ()) -> dict[str, str]:
    """Return the columns of rows and their types: ROW_TYPES, and those of further metrics.

    metrics: of `metrics.further_names`; with them comes `unit`, what their lengths are in.
    """
    further = {"unit": "string", **dict.fromkeys(metrics, "float64")} if metrics else {}
    return {**ROW_TYPES, **further}


def as_rows(records: list[dict[str, Any]], metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Rows in the column order and types of `row_types`, also when there is none."""
    types = row_types(metrics)
    return pd.DataFrame(records, columns=list(types)).astype(types)


class Store:
    """Rows of one dataset, model and protocol, kept by case fingerprint below a folder.

    Rows are added inside `with store:` and are on disk at the latest FLUSH_SECONDS later, or when
    the block is left, also by an error. A part is named by the hash of its content, and is written
    under a temporary name and renamed, so a killed run or a loss of power leaves whole parts only,
    and one that was damaged later is known. Several processes may append at once; a case stored
    twice is read once.

    set_aside: names of the parts that `read` could not use.
    """

    def __init__(
        self,
        folder: str | Path,
        dataset: str,
        model: str,
        protocol: str,
        metrics: Sequence[str] = (),
    ) -> None:
        """folder: the store of all runs; this run is in folder/dataset/model/protocol.

        metrics: further ones that its rows have; such a run is beside those without.
        """
        run = " with ".join(filter(None, [protocol, " ".join(metrics)]))
        self.folder = Path(folder, *(quote(part, safe=" ,=()@") for part in (dataset, model, run)))
        self._types = {**row_types(metrics), **PART_TYPES}
        self.set_aside: list[str] = []
        self._pending: list[pd.DataFrame] = []
        self._flushed = time.monotonic()
        self._has_added = False

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self._flush()

    def read(self, fingerprints: Collection[str], clicks: int) -> pd.DataFrame:
        """Return the stored rows of some fingerprints, with their column `fingerprint`.

        clicks: how many rows each object has. A part that is damaged, has other columns than
        `PART_TYPES` and those of the metrics, or holds a case without some of its rows is set
        aside: it gets the ending ".aside" where the folder can be written, and its cases are
        missing from what is returned.
        """
        schema = _schema(tuple(self._types.items()))
        parts = {
            path: _read_part(path, schema) for path in sorted(self.folder.glob("part-*.parquet"))
        }
        readable = {path: part for path, part in parts.items() if part is not None}
        rows = pa.concat_tables([schema.empty_table(), *readable.values()]).to_pandas()
        rows["part"] = np.repeat(np.arange(len(readable)), [len(p) for p in readable.values()])
        rows = rows[rows["fingerprint"].isin(fingerprints)]
        incomplete = _incomplete_parts(rows, clicks)
        unusable = [path for path in parts if path not in readable]
        for path in [*unusable, *(list(readable)[i] for i in sorted(incomplete))]:
            self._set_aside(path)
        if incomplete:
            rows = rows[~rows["part"].isin(incomplete)]
        rows = rows.drop(columns=["case_rows", "part"])
        return rows.drop_duplicates(["fingerprint", "task", "click"])

    def read_newest(self) -> pd.DataFrame:
        """Return each case's rows as they were stored last, whatever they depend on.

        For an overview: a case that has been taken out of the dataset since still counts. A part
        that `read` could not use is left out, and left where it is.
        """
        schema = _schema(tuple(self._types.items()))
        found = [(path.stat().st_mtime, path) for path in self.folder.glob("part-*.parquet")]
        parts = [_read_part(path, schema) for _, path in sorted(found, reverse=True)]
        readable = [part for part in parts if part is not None]
        rows = pa.concat_tables([schema.empty_table(), *readable]).to_pandas()
        newest = rows.groupby(["level", "weights", "case_id"])["fingerprint"].transform("first")
        rows = rows[rows["fingerprint"] == newest]
        return rows.drop_duplicates(["fingerprint", "case_id", "task", "click"])

    def append(self, rows: pd.DataFrame) -> None:
        """Add all rows of finished cases, with their column `fingerprint`.

        Raises BadInputError if they cannot be written.
        """
        self._pending.append(rows)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush()

    def write_record(self, record: dict[str, Any]) -> None:
        """Keep what does not belong into rows: when, where, how long, with which versions.

        Raises BadInputError if it cannot be written, unless no row was added: whoever may only read
        a store gets its rows all the same.
        """
        started, text = re.sub("[:+]", "", record["started"]), json.dumps(record, indent=1)
        # Several shards may start within a second: each has a record of its own.
        name = f"run-{started}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
        try:
            with atomic_path(self.folder / name) as unfinished:
                unfinished.write_text(text, encoding="utf-8")
        except OSError as error:
            if self._has_added:
                raise self._not_written(error) from error

    def _flush(self) -> None:
        """Write what is pending as one new part, named by its content."""
        rows = pd.concat(self._pending, ignore_index=True) if self._pending else as_rows([])
        if len(rows):
            case_rows = rows.groupby("fingerprint")["click"].transform("size").astype("int64")
            content = rows.assign(case_rows=case_rows)[list(self._types)].to_parquet(index=False)
            try:
                with atomic_path(self.folder / _part_name(content)) as unfinished:
                    unfinished.write_bytes(content)
            except OSError as error:
                raise self._not_written(error) from error
            self._has_added = True
        self._pending, self._flushed = [], time.monotonic()

    def _not_written(self, error: OSError) -> BadInputError:
        return BadInputError(
            f"{self.folder}: the store cannot be written ({error.strerror or error}): make room or "
            "ask for the right to write there, or give another folder as `store`; what is in it is "
            "kept"
        )

    def _set_aside(self, path: Path) -> None:
        """Note a part that cannot be used, and take it out of the way."""
        self.set_aside.append(path.name)
        warnings.warn(
            f"{path}: damaged, or written by another version: set aside, and its cases are "
            "computed again",
            stacklevel=4,
        )
        with suppress(OSError):  # a store that may only be read; another process was quicker
            path.rename(path.with_suffix(".aside"))


def _part_name(content: bytes) -> str:
    return f"part-{hashlib.sha256(content).hexdigest()}.parquet"


@functools.cache
def _schema(types: tuple[tuple[str, str], ...] = tuple(PART_TYPES.items())) -> pa.Schema:
    """Return the columns of a part as Arrow has them, with what pandas needs to know of them."""
    return pa.Schema.from_pandas(pd.DataFrame(columns=list(dict(types))).astype(dict(types)))


def _read_part(path: Path, schema: pa.Schema | None = None) -> pa.Table | None:
    """Return the rows of a part; None if its content is not that of its name, or has other columns.

    A part that another process has taken away meanwhile has no rows.
    """
    schema = schema or _schema()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return schema.empty_table()
    except OSError:
        return None
    if path.name != _part_name(content):
        return None
    try:
        part = pq.read_table(pa.BufferReader(content), use_threads=False)
    except MemoryError:
        raise
    except Exception:  # pyarrow's own, of what was no Parquet when it was written
        return None
    return part if part.schema.equals(schema) else None


def _incomplete_parts(rows: pd.DataFrame, clicks: int) -> set[int]:
    """Return the parts in which a case lacks some of its rows, or an object one of its clicks."""
    keys = ["part", "fingerprint", "task", "click"]
    case_size = rows.groupby(keys[:2], sort=False)["click"].transform("size")
    clicks_of_object = rows.groupby(keys[:3], sort=False)["click"].transform("size")
    is_right = (case_size == rows["case_rows"]) & (clicks_of_object == clicks)
    is_right &= rows["click"].between(1, clicks) & ~rows.duplicated(keys)
    return set(rows.loc[~is_right, "part"])
