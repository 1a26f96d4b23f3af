"""How a page was made: what was left out, the rows to download, the command, versions, settings."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import io
import json
import shlex
from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from ...clicks import Protocol
from ...datasets import Dataset
from .page import details, folded, numbers_table
from .runs import together


def excluded(dataset: Dataset, rows_of_models: Mapping[str, pd.DataFrame]) -> HTML:
    """Cases left out, counted by reason; each is listed with its file in a part that opens."""
    entries = [entry for rows in rows_of_models.values() for entry in rows.attrs["excluded"]]
    left_out = {(entry["case_id"], entry["path"]): entry for entry in entries}
    if not left_out:
        return HTML("<p>No case was left out.</p>")
    count = "1 case is" if len(left_out) == 1 else f"{len(left_out)} cases are"
    reasons = Counter(entry["fact"] for entry in left_out.values())
    lines = "".join(
        f"<li>{count} × {escape(reason)}</li>" for reason, count in reasons.most_common()
    )
    table = pd.DataFrame(left_out.values())[["case_id", "kind", "path", "fact"]].sort_values(
        "case_id"
    )
    return HTML(
        f"<p><strong>{count}</strong> left out of every number here:</p><ul>{lines}</ul>"
        f"<details><summary>Every one of them</summary>{numbers_table(table).data}</details>"
    )


def made_by(
    notebook: str,
    parameters: Mapping[str, Any],
    tables: Mapping[Any, pd.DataFrame],
    protocol: Protocol,
) -> HTML:
    """How the page was made: command, rows to download, versions, weights, protocol and run
    records.

    notebook: its name in notebooks/, without suffix. tables: rows of each run, with its record.
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
                "weights (sha256)": f"{weights[:16]}…"
                if weights
                else "none",  # whole below, in the settings
                "device": record["device"],
                "cases": record["cases"],
                "computed now": record["computed"],
                "seconds": record["seconds"],
            }
        )
    parts = [
        command(notebook, parameters),
        downloads(
            "_".join(dict.fromkeys(line["dataset"] for line in lines)),
            together(tables).drop_duplicates(),
        ),
        folded(pd.DataFrame(lines)),
        details("Protocol", json.dumps(dataclasses.asdict(protocol), indent=1)),
        details(
            "Versions",
            "\n".join(f"{name} {version}" for name, version in records[0]["versions"].items()),
        ),
        details(
            "Settings of the runs", json.dumps([record["settings"] for record in records], indent=1)
        ),
    ]
    return HTML("".join(parts))


def command(notebook: str, parameters: Mapping[str, Any]) -> str:
    """What makes a page again, as a notebook; parameters that are empty are left out."""
    given = {name: value for name, value in parameters.items() if value not in ("", None)}
    if "folder" in given:
        given.pop("dataset", None)  # the folder wins
    values = [f"-p {name} {shlex.quote(str(value))}" for name, value in given.items()]
    first = f"jupytext --to ipynb --output - notebooks/{notebook}.py | papermill - out.ipynb"
    lines = escape(" \\\n    ".join([first, *values]))
    return f'<p>This page again, as a notebook:</p><pre class="medsam-command">{lines}</pre>'


def downloads(name: str, rows: pd.DataFrame, most: int = 20_000) -> str:
    """Links that save the rows behind a page as Parquet and as CSV; the page itself holds them.

    name: of the files, without suffix. most: with more rows than that the page would be too heavy,
    and tells where they are instead.
    """
    count = f"The {len(rows):,} rows behind this page"
    if len(rows) > most:
        return f"<p>{count}, are in the folder <code>results/</code>.</p>"
    parquet = io.BytesIO()
    rows.to_parquet(parquet, index=False, compression="zstd")
    table = gzip.compress(rows.to_csv(index=False, float_format="%.7g").encode(), mtime=0)
    links = [
        f'<a download="{escape(name)}{suffix}" '
        f'href="data:{kind};base64,{base64.b64encode(content).decode()}">{title}</a>'
        for title, suffix, kind, content in (
            ("Parquet", ".parquet", "application/vnd.apache.parquet", parquet.getvalue()),
            ("CSV with seven digits, gzipped", ".csv.gz", "application/gzip", table),
        )
    ]
    return f"<p>{count}: {', '.join(links)}.</p>"
