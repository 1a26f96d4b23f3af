"""What evaluating costs: the tables that `make bench` has measured, as a page shows them."""

from __future__ import annotations

from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from ... import plots
from ...case import BadInputError
from . import figures
from .page import box, scrolling


def measured(folder: str | Path, name: str) -> pd.DataFrame | None:
    """One table of the benchmarks, None if it was not measured."""
    path = Path(folder, f"{name}.csv")
    return pd.read_csv(path) if path.is_file() else None


def answer(folder: str | Path) -> HTML:
    """How much faster than the released loop, and what the model itself is of it, in one sentence.

    Raises BadInputError if nothing was measured.
    """
    table = measured(folder, "loop_by_size")
    if table is None:
        raise BadInputError(f"{folder} has no loop_by_size.csv: measure it with `make bench`")
    faster, model = table["released / ours"], table["ours / bare"]
    least, most = (table.loc[i] for i in (faster.idxmin(), faster.idxmax()))
    text = (
        f"With <code>sam_small</code>, nine clicks and one thread, the loop of this book is "
        f"<strong>{faster.min():.1f}</strong> ({_case(least)}) to "
        f"<strong>{faster.max():.0f}</strong> ({_case(most)}) times as fast as the released one, "
        f"and costs <strong>{model.min():.2f}</strong> to <strong>{model.max():.2f}</strong> times "
        "what the model alone costs in segment-anything's own code (processor time, measured as "
        "below)."
    )
    return HTML(f'<p class="medsam-answer">{text}</p>')


def _case(line: pd.Series) -> str:
    return f"{line['image']} pixels, {_objects(line['objects'])}"


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count} objects"


def ratios(folder: str | Path) -> HTML:
    """Two figures by image size, a line per number of objects: released loop to ours, and ours to
    bare."""
    table = measured(folder, "loop_by_size")
    sizes = list(table["image"].unique())
    panels = []
    for column, meaning in (
        ("released / ours", "How many times as fast as the released loop"),
        ("ours / bare", "Times the cost of the model alone"),
    ):
        drawing, axes = plots.new_figure(3.6, 2.8)
        for i, (objects, line) in enumerate(table.groupby("objects")):
            style = {"color": plots.COLOURS[i], "marker": plots.MARKERS[i], "ms": 5}
            places = [sizes.index(size) for size in line["image"]]
            axes.plot(places, line[column], label=_objects(objects), **style)
        axes.set(xticks=range(len(sizes)), ylabel=column, ylim=(0, None))
        axes.set_xticklabels([size.replace(" x ", "\n× ") for size in sizes])
        axes.legend(frameon=False, labelcolor=plots.INK)
        low, high = table[column].min(), table[column].max()
        text = f"{meaning}, by image size: {low:g} to {high:g}"
        picture = plots.svg(drawing, f"Line plot, a line per number of objects. {text}.")
        panels.append(
            figures.figure(picture, f"<strong>{escape(column)}.</strong> {escape(text)}.")
        )
    return HTML(figures.row(panels))


def tables(folder: str | Path, *names: str) -> HTML:
    """Tables of the benchmarks as they were measured, each with its title, date, processor and
    versions."""
    parts = []
    for name in names:
        table = measured(folder, name)
        if table is None:
            text = f"<code>{escape(name)}</code> was not measured: <code>make bench</code> does."
            parts.append(box("note", "Missing", text))
            continue
        title, _, facts = (
            Path(folder, f"{name}.md").read_text("utf-8").split("\n", 1)[0].partition(". ")
        )
        parts.append(f"<p><strong>{escape(title)}.</strong> {escape(facts)}</p>")
        shown = table.to_html(
            index=False, border=0, na_rep="", float_format="{:.4g}".format, classes="table"
        )
        parts.append(scrolling(shown).data)
    return HTML("".join(parts))
