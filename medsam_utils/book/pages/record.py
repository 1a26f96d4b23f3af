"""How a page was made: what was left out, the rows to download, the command, versions, settings."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import io
import json
import operator
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ...clicks import Protocol
from .. import show
from ..show import Shown

MOST_ROWS = 20_000  # with more, the page would be too heavy to hold them


def excluded_cases(tables: Mapping[Any, pd.DataFrame]) -> pd.DataFrame:
    """Return the cases that were left out of runs and the files not read, as `excluded_table`.

    tables: rows of each run, with `attrs["excluded"]` and `attrs["not_read"]`.
    """
    kinds = ("excluded", "not_read")
    entries = [rows.attrs.get(kind, []) for rows in tables.values() for kind in kinds]
    return excluded_table([entry for some in entries for entry in some])


def excluded_table(entries: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    """Return cases left out as a table, each once: case_id, kind, path, fact.

    entries: of `case.Exclusion`, as plain values.
    """
    table = pd.DataFrame(list(entries), columns=["case_id", "kind", "path", "fact"])
    return table.drop_duplicates(["case_id", "path"]).sort_values("case_id", ignore_index=True)


def excluded(table: pd.DataFrame) -> Shown:
    """Return cases left out and files not read, counted by fact, and each in a part that opens.

    table: of `excluded_cases`.
    """
    if table.empty:
        return show.paragraphs("No case was left out.")
    is_file = table["kind"] == "not read"
    cases, files = table[~is_file], table[is_file]
    parts = []
    if not cases.empty:
        count = "1 case is" if len(cases) == 1 else f"{len(cases)} cases are"
        parts.append(_counted(f"**{count}** left out of every number here:", cases))
    if not files.empty:
        count = (
            "1 file was not read, and belongs"
            if len(files) == 1
            else f"{len(files)} files were not read, and belong"
        )
        parts.append(_counted(f"**{count}** to no case:", files))
    return functools.reduce(operator.add, parts)


def _counted(text: str, table: pd.DataFrame) -> Shown:
    """Return a sentence, the facts with their counts, and the table in a part that opens."""
    facts = Counter(table["fact"])
    return (
        show.paragraphs(text)
        + show.bullets(f"{count} × {fact}" for fact, count in facts.most_common())
        + show.details("Every one of them", show.table(table, fold=False))
    )


def made_by(
    notebook: str,
    parameters: Mapping[str, Any],
    tables: Mapping[Any, pd.DataFrame],
    protocol: Protocol,
) -> Shown:
    """Return how the page was made: command, rows to download, versions, weights, protocol, runs.

    notebook: its name in notebooks/, without suffix. parameters: those that the command needs.
    tables: rows of each run, with its record.
    """
    records = [rows.attrs["record"] for rows in tables.values()]
    lines = []
    for rows, record in zip(tables.values(), records, strict=True):
        weights = rows["weights"].iloc[0]
        lines.append(
            {
                "dataset": rows["dataset"].iloc[0],
                "model": rows["model"].iloc[0],
                "protocol": rows["protocol"].iloc[0],
                "weights (sha256)": f"{weights[:16]}…" if weights else "none",  # whole below
                "device": record["device"],
                "cases": record["cases"],
                "computed now": record["computed"],
                "seconds": record["seconds"],
            }
        )
    runs = pd.DataFrame(lines)
    all_rows = pd.concat(tables.values(), ignore_index=True).drop_duplicates()
    versions = [f"{name} {version}" for name, version in records[0]["versions"].items()]
    settings = [record["settings"] for record in records]
    return (
        command(notebook, parameters)
        + downloads("_".join(dict.fromkeys(runs["dataset"])), all_rows)
        + show.table(runs)
        + show.details("Protocol", json.dumps(dataclasses.asdict(protocol), indent=1))
        + show.details("Versions", "\n".join(versions))
        + show.details("Settings of the runs", json.dumps(settings, indent=1))
    )


def command(notebook: str, parameters: Mapping[str, Any]) -> Shown:
    """Return the command that makes a page again, as a notebook; empty parameters are left out.

    Of a file or folder only its name is shown: where it lies on a machine is nobody's business.
    """
    filled = {name: value for name, value in parameters.items() if value not in ("", None)}
    for name, value in filled.items():
        if isinstance(value, str) and os.path.isabs(value):
            filled[name] = Path(value).name
    advice = show.NOTHING
    if "folder" in filled:
        filled.pop("dataset", None)  # the folder wins
        if notebook == "dataset":
            advice = _chapter(filled)
    values = [f"-p {name} {shlex.quote(str(value))}" for name, value in filled.items()]
    first = f"jupytext --to ipynb --output - notebooks/{notebook}.py | papermill - out.ipynb"
    text = " \\\n    ".join([first, *values])
    return advice + show.paragraphs("This page again, as a notebook:") + show.code(text)


CHAPTER = ("folder", "title", "models", "classes", "ignore", "threshold")
"""Parameters of a reader's own chapter that `make chapter` takes by their names in capitals."""


def _chapter(parameters: Mapping[str, Any]) -> Shown:
    """Return the command that makes a reader's own chapter with other models or classes."""
    said = [
        f"{name.upper()}={shlex.quote(str(parameters[name]))}"
        for name in CHAPTER
        if parameters.get(name)
    ]
    text = "This page alone again; change MODELS, CLASSES and the like, or add DEVICE, as you wish:"
    return show.paragraphs(text) + show.code(f"make chapter {' '.join(said)}")


def downloads(name: str, rows: pd.DataFrame) -> Shown:
    """Return links that save the rows behind a page; the page itself holds them.

    name: of the files, without suffix.
    """
    count = f"The {len(rows):,} rows behind this page, with the name of every case"
    if len(rows) > MOST_ROWS:
        return show.paragraphs(f"{count}, are in the folder `results/`.")
    parquet = io.BytesIO()
    rows.to_parquet(parquet, index=False, compression="zstd")
    table = gzip.compress(rows.to_csv(index=False, float_format="%.7g").encode(), mtime=0)
    return show.downloads(
        count,
        {
            "Parquet": (f"{name}.parquet", "application/vnd.apache.parquet", parquet.getvalue()),
            "CSV with seven digits, gzipped": (f"{name}.csv.gz", "application/gzip", table),
        },
    )
