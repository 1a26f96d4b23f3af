"""What a page shows, piece by piece: banner, answer, tables, record; each is HTML."""

from __future__ import annotations

import ast
import base64
import dataclasses
import gzip
import inspect
import io
import json
import os
import shlex
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML

from . import published
from .case import BadInputError
from .clicks import Protocol
from .datasets import FOREGROUND, Dataset
from .datasets.sources import ARCHIVES, HOW
from .evaluate import evaluate
from .figures import LEVELS
from .models import Model, find_entry, load_model
from .models.devices import choose_device, choose_dtype
from .statistics import iou_by_click, mean_curves, summary
from .workers import executor_for

EMBEDDED = ("sam_small", "grabcut")


def usable_device(device: str) -> tuple[str | None, list[str]]:
    """The device to compute on, None for the best there is, and a note where it is not the one asked for."""
    try:
        choose_device(device)
    except BadInputError as error:
        return "cpu", [f"{error}. This page was computed on the CPU."]
    return device or None, []


def evaluate_models(
    dataset: Dataset,
    names: Sequence[str],
    checkpoint: str,
    device: str | None,
    workers: int,
    dtype: str = "float32",
    scheduler: str = "",
    embeddings: str = "",
    **options: Any,
) -> tuple[dict[str, Model], dict[str, pd.DataFrame], list[str]]:
    """Models and rows by the models' names in the rows, and a note for each model that could not be had.

    checkpoint: weights file of the first model, empty for the registry's. workers: processes, 0 for this
    one. dtype: of the models. scheduler: address of a Dask scheduler to compute on instead. embeddings:
    folder in which SAM keeps encoded images, empty for none. options: what else `evaluate` takes. If no
    model of `names` can be had, such as without a network, the embedded ones stand in, and a note says so.
    Raises BadInputError for an unknown model or dtype, and if the embedded ones cannot do it either.
    """
    choose_dtype(dtype)
    for name in names:
        find_entry(name)
    models: dict[str, Model] = {}
    tables: dict[str, pd.DataFrame] = {}
    notes: list[str] = []
    with executor_for(workers, scheduler) as pool:
        for name in names:
            try:
                given = checkpoint if name == names[0] else None
                model = load_model(name, given, device, dtype=dtype, embeddings=embeddings or None)
                tables[model.name] = evaluate(dataset, model, executor=pool, **options)
                models[model.name] = model
            except BadInputError as error:
                notes.append(f"{name} is not on this page: {error}")
        if not tables:
            models = {name: load_model(name, device=device) for name in EMBEDDED}
            tables = {name: evaluate(dataset, models[name], executor=pool, **options) for name in EMBEDDED}
            notes.append(f"No model that was asked for could be had: {' and '.join(EMBEDDED)} stand in.")
    return models, tables, notes


def together(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of all models in one table; what each run recorded stays with its own table."""
    return pd.concat(tables.values(), ignore_index=True)


def banner(datasets: Sequence[Dataset], models: Mapping[str, Model], notes: list[str]) -> HTML:
    """Says first what the numbers of this page must not be taken for; empty if there is nothing to say.

    notes: what was asked for and could not be had, such as a model whose weights are missing.
    """
    boxes = []
    if drawn := [escape(dataset.title) for dataset in datasets if dataset.level == "demo"]:
        whose = "" if len(drawn) == len(datasets) else f" that stand for {', '.join(drawn)}"
        form = f"the file format of {drawn[0]}" if len(drawn) == 1 else "each dataset's own file format"
        boxes.append(
            box(
                "warning",
                "Demo: these are not medical images",
                f"The images of this page{whose} are <strong>phantoms</strong>: a program drew and wrote "
                f"them in {form}, so that every step runs as on the real "
                "files. The numbers show that the method works, and nothing about patients. With the real "
                "files the same page measures them: <code>make book DATA=folder</code>.",
            )
        )
    if small := [name for name in models if name.startswith(("sam_small", "ritm_small"))]:
        names = " and ".join(f"<code>{escape(name)}</code>" for name in small)
        boxes.append(
            box(
                "note",
                f"{' and '.join(map(escape, small))}: stand-ins, not the released models",
                f"This project trained {names} on drawings alone, small networks built as SAM and RITM are. "
                "Their numbers are not those of the released models; for these, "
                '<code>make book MODELS="sam_vit_h ritm_h32"</code>.',
            )
        )
    boxes += [box("attention", "Not as asked", escape(note)) for note in notes]
    return HTML("".join(boxes))


def box(kind: str, title: str, text: str) -> str:
    """An admonition as the theme shows them; text is HTML."""
    return f'<div class="admonition {kind}"><p class="admonition-title">{title}</p><p>{text}</p></div>'


def passport(dataset: Dataset) -> HTML:
    """What the dataset is, closed until it is clicked: source, label values, licence, what counts, files."""
    card = dataset.passport
    home = f'<a href="{escape(card.home)}">{escape(card.home)}</a>' if card.home else ""
    facts = {
        "Full name": escape(card.full_name),
        "Modality": escape(dataset.modality),
        "Objects": escape("; ".join(_labels(dataset))),
        "Cite": escape(card.citation),
        "Home": home,
        "Licence": escape(card.licence),
        "Registration": escape(card.registration),
        "To get it": "".join(f"<div>{way}</div>" for way in _ways(dataset)),
        "Images in the study": f"{card.study_images:,}" if card.study_images else "",
        "What counts here": escape(card.count_rule),
        "Traps": "".join(f"<div>{escape(trap)}</div>" for trap in card.traps),
    }
    rows = "".join(f"<tr><th>{name}</th><td>{fact}</td></tr>" for name, fact in facts.items() if fact)
    title = f"<strong>{escape(dataset.title)}</strong>: {escape(card.full_name)}"
    table = f'<table class="table medsam-facts"><tbody>{rows}</tbody></table>'
    return HTML(f"<details><summary>{title}</summary>{table}{_details('Files', card.layout)}</details>")


def _labels(dataset: Dataset) -> list[str]:
    """Each class with the label values that mean it."""
    return [
        f"{name} ({', '.join(map(str, labels)) if labels != FOREGROUND else 'what the mask marks'})"
        for name, labels in dataset.classes.items()
    ]


def _ways(dataset: Dataset) -> list[str]:
    """How to get the files: by the command, by hand, or each for a part."""
    ways = []
    if dataset.name in ARCHIVES:
        ways.append(f"<code>make fetch NAME={escape(dataset.name)}</code>")
    if dataset.name in HOW:
        ways.append(escape(HOW[dataset.name]))
    return ways


def answer(rows: pd.DataFrame) -> HTML:
    """The page's question answered in one sentence, with the numbers and their level."""
    means = mean_curves(rows)
    last = int(means["click"].max())
    parts = [_of_model(model, curve, last) for model, curve in means.groupby("model", sort=False)]
    counts = iou_by_click(rows).index.to_frame(index=False).groupby("model", sort=False).first()
    level = LEVELS[counts["level"].iloc[0]]
    of_tasks = means["task"].nunique()
    scope = f"; each is the mean over {of_tasks} tasks, every task weighing the same" if of_tasks > 1 else ""
    return HTML(f'<p class="medsam-answer">{"; ".join(parts)} ({level}{scope}).</p>')


def _of_model(model: str, curve: pd.DataFrame, last: int) -> str:
    """One model's part of the answer."""
    mean = curve.groupby("click")["iou"].mean()
    text = f"<strong>{escape(model)}</strong> reaches a mean IoU of <strong>{mean[1]:.2f}</strong>"
    if curve["task"].nunique() == 1:
        text += _interval(curve[curve["click"] == 1].iloc[0])
    text += " with one click"
    if last > 1:
        text += f" and of <strong>{mean[last]:.2f}</strong>"
        if curve["task"].nunique() == 1:
            text += _interval(curve[curve["click"] == last].iloc[0])
        text += f" with {last}"
    return text


def _interval(point: pd.Series) -> str:
    """The 95 % interval in words, nothing where there is none."""
    return (
        f" (95 % interval {point['low']:.2f} to {point['high']:.2f})"
        if point[["low", "high"]].notna().all()
        else ""
    )


def results_table(rows: pd.DataFrame) -> HTML:
    """Task by model: cases, patients, objects, mean IoU at 1, 3, 5 and 9 clicks, NoC@80 with its misses."""
    table = summary(rows)
    missed = table.pop("missed")
    table["NoC@80 (never)"] = [f"{n:.1f} ({m:.0%})" for n, m in zip(table.pop("NoC@80"), missed, strict=True)]
    for task in table["task"].unique():
        for method, curve in published.of_task(task).groupby("method", sort=False):
            values = {f"IoU@{click}": iou for click, iou in zip(curve["click"], curve["iou"], strict=True)}
            line = {"task": task, "model": method, "level": "published"}
            line |= {name: values.get(name) for name in table.columns if name.startswith("IoU@")}
            table = pd.concat([table, pd.DataFrame([line])], ignore_index=True)
    return numbers_table(table)


def numbers_table(table: pd.DataFrame) -> HTML:
    """A table that scrolls by itself where the screen is narrow."""
    counts = {
        name: lambda value: f"{value:.0f}" for name in ("cases", "patients", "objects") if name in table
    }
    text = table.to_html(
        index=False, border=0, na_rep="", float_format="%.3f", formatters=counts, classes="table"
    )
    return scrolling(text)


def folded(table: pd.DataFrame, most: int = 12) -> str:
    """A table of numbers; one of more than `most` lines is closed until it is clicked."""
    text = numbers_table(table).data
    return f"<details><summary>{len(table)} lines</summary>{text}</details>" if len(table) > most else text


def scrolling(table: str, kind: str = "") -> HTML:
    """A table that scrolls by itself; kind: further CSS classes."""
    attributes = f'class="medsam-table {kind}" role="region" aria-label="table" tabindex="0"'
    return HTML(f'<div {attributes} style="overflow-x:auto">{table}</div>')


def excluded(dataset: Dataset, rows_of_models: Mapping[str, pd.DataFrame]) -> HTML:
    """Cases left out, counted by reason; each is listed with its file in a part that opens."""
    left_out = {entry["path"]: entry for rows in rows_of_models.values() for entry in rows.attrs["excluded"]}
    if not left_out:
        return HTML("<p>No case was left out.</p>")
    count = "1 case is" if len(left_out) == 1 else f"{len(left_out)} cases are"
    # a message begins with its case or file: the reason is what the messages have in common
    reasons = Counter(_reason(entry) for entry in left_out.values())
    lines = "".join(f"<li>{count} × {escape(reason)}</li>" for reason, count in reasons.most_common())
    table = pd.DataFrame(left_out.values())[["case_id", "reason", "path"]].sort_values("case_id")
    table["path"] = table["path"].str.removeprefix(f"{dataset.root}{os.sep}")
    return HTML(
        f"<p><strong>{count}</strong> left out of every number here:</p><ul>{lines}</ul>"
        f"<details><summary>Every one of them</summary>{numbers_table(table).data}</details>"
    )


def _reason(entry: Mapping[str, str]) -> str:
    """The reason without the parts that name the file or case, so that equal reasons count together."""
    names = (entry["case_id"], Path(entry["path"]).name)
    parts = [part for part in entry["reason"].split(": ") if not any(name in part for name in names)]
    return ": ".join(parts) or entry["reason"]


def made_by(
    notebook: str, parameters: Mapping[str, Any], tables: Mapping[Any, pd.DataFrame], protocol: Protocol
) -> HTML:
    """How the page was made: command, rows to download, versions, weights, protocol and run records.

    notebook: its name in notebooks/, without suffix. tables: rows of each run, with its record.
    """
    given = {name: value for name, value in parameters.items() if value not in ("", None)}
    if "folder" in given:
        given.pop("dataset", None)  # the folder wins
    values = [f"-p {name} {shlex.quote(str(value))}" for name, value in given.items()]
    first = f"jupytext --to ipynb --output - notebooks/{notebook}.py | papermill - out.ipynb"
    command = " \\\n    ".join([first, *values])
    records = [rows.attrs["record"] for rows in tables.values()]
    lines = []
    for rows, record in zip(tables.values(), records, strict=True):
        weights = rows["weights"].iloc[0]
        lines.append(
            {
                "dataset": rows["dataset"].iloc[0],
                "model": rows["model"].iloc[0],
                "protocol": rows["protocol"].iloc[0],
                "weights (sha256)": f"{weights[:16]}…" if weights else "none",  # whole below, in the settings
                "device": record["device"],
                "cases": record["cases"],
                "computed now": record["computed"],
                "seconds": record["seconds"],
            }
        )
    parts = [
        f'<p>This page again, as a notebook:</p><pre class="medsam-command">{escape(command)}</pre>',
        downloads(
            "_".join(dict.fromkeys(line["dataset"] for line in lines)), together(tables).drop_duplicates()
        ),
        folded(pd.DataFrame(lines)),
        _details("Protocol", json.dumps(dataclasses.asdict(protocol), indent=1)),
        _details(
            "Versions", "\n".join(f"{name} {version}" for name, version in records[0]["versions"].items())
        ),
        _details("Settings of the runs", json.dumps([record["settings"] for record in records], indent=1)),
    ]
    return HTML("".join(parts))


def downloads(name: str, rows: pd.DataFrame, most: int = 20_000) -> str:
    """Links that save the rows behind a page as Parquet and as CSV; the page itself holds them.

    name: of the files, without suffix. most: with more rows than that the page would be too heavy, and tells
    where they are instead.
    """
    count = f"The {len(rows):,} rows behind this page, one for each object and click"
    if len(rows) > most:
        return f"<p>{count}, are in the folder <code>results/</code>.</p>"
    parquet = io.BytesIO()
    rows.to_parquet(parquet, index=False, compression="zstd")
    table = gzip.compress(rows.to_csv(index=False).encode(), mtime=0)
    links = [
        f'<a download="{escape(name)}{suffix}" '
        f'href="data:{kind};base64,{base64.b64encode(content).decode()}">{title}</a>'
        for title, suffix, kind, content in (
            ("Parquet", ".parquet", "application/vnd.apache.parquet", parquet.getvalue()),
            ("CSV, gzipped", ".csv.gz", "application/gzip", table),
        )
    ]
    return f"<p>{count}: {', '.join(links)}.</p>"


def _details(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary><pre>{escape(text)}</pre></details>"


def protocol_table(presets: Mapping[str, Protocol]) -> HTML:
    """Every field of `Protocol`, what it means, and its value in each preset; differences stand out."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(Protocol))).body
    meanings = {
        field.target.id: note.value.value
        for field, note in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr)
    }
    lines = []
    for field in dataclasses.fields(Protocol):
        values = [str(getattr(preset, field.name)) for preset in presets.values()]
        differs = len(set(values)) > 1
        cells = "".join(f"<td><code>{escape(v)}</code></td>" for v in values)
        mark = ' class="medsam-differs"' if differs else ""
        meaning = escape(meanings[field.name])
        lines.append(f"<tr{mark}><th><code>{field.name}</code></th>{cells}<td>{meaning}</td></tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in ("field", *presets, "meaning"))
    table = f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return scrolling(table, "medsam-words")
