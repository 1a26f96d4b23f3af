"""What evaluating costs: the tables that `make bench` has measured, as a page shows them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...case import BadInputError
from .. import show
from ..show import Figure, Shown
from .page import plural

TRUSTED = 1.3
"""A ratio of times that is nearer to 1 than this may be another machine's or another day's."""


def read(folder: str | Path, name: str) -> pd.DataFrame:
    """Return one table of the benchmarks. Raises BadInputError if it was not measured."""
    path = Path(folder, f"{name}.csv")
    if not path.is_file():
        raise BadInputError(f"{folder} has no {name}.csv: measure it with `make bench`")
    return pd.read_csv(path)


def answer(by_size: pd.DataFrame) -> Shown:
    """Return how much faster than the released loop, and what the model itself is of it.

    by_size: the table loop_by_size.
    """
    faster, model = by_size["released / ours"], by_size["ours / bare"]
    least, most = (by_size.loc[i] for i in (faster.idxmin(), faster.idxmax()))
    return show.answer(
        f"With `sam_small`, nine clicks and one thread, the loop of this book is "
        f"**{faster.min():.1f}** ({_case(least)}) to **{faster.max():.0f}** ({_case(most)}) times "
        f"as fast as the released one. It costs **{model.min():.2f}** to **{model.max():.2f}** "
        f"times what the model alone costs in segment-anything's own code; a ratio between "
        f"{1 / TRUSTED:.2f} and {TRUSTED:g} is no difference (processor time, single machine)"
    )


def _case(line: pd.Series) -> str:
    return f"{line['image']} pixels, {plural(line['objects'], 'object')}"


def ratio(by_size: pd.DataFrame, column: str, meaning: str) -> Figure:
    """Return a ratio against the image's size, a line per number of objects.

    by_size: the table loop_by_size. column: such as "released / ours". meaning: of it, in words.
    """
    _, axes = plots.new_figure(3.6, 2.8)
    draw_ratio(axes, by_size, column)
    low, high = by_size[column].min(), by_size[column].max()
    text = f"{meaning}, by image size: {low:g} to {high:g}"
    alt = f"Line plot, a line per number of objects. {text}."
    return show.figure(axes.figure, alt, f"**{column}.** {text}.")


def draw_ratio(axes: Axes, by_size: pd.DataFrame, column: str) -> None:
    """Draw a column against the image's size, a line per number of objects."""
    sizes = list(by_size["image"].unique())
    for i, (objects, lines) in enumerate(by_size.groupby("objects")):
        style = {"color": plots.COLOURS[i], "marker": plots.MARKERS[i], "ms": 5}
        places = [sizes.index(size) for size in lines["image"]]
        axes.plot(places, lines[column], label=plural(objects, "object"), **style)
    axes.set(xticks=range(len(sizes)), ylabel=column, ylim=(0, None))
    axes.set_xticklabels([size.replace(" x ", "\n× ") for size in sizes])
    axes.legend(frameon=False, labelcolor=plots.INK)


def _four_digits(value: float) -> str:
    """Return a number with four digits; a very small one only says that it is.

    >>> _four_digits(12.345), _four_digits(0.000000079)
    ('12.35', '<0.0001')
    """
    return "<0.0001" if 0 < value < 1e-4 else f"{value:.4g}"


def tables(folder: str | Path, *names: str) -> Shown:
    """Return tables of the benchmarks as they were measured, each with its title, date, processor
    and versions."""
    return show.joined(_measured(folder, name) for name in names)


def _measured(folder: str | Path, name: str) -> Shown:
    """Return one table, with four digits, or how to get it."""
    try:
        table = read(folder, name)
    except BadInputError:
        return show.box("note", "Missing", f"`{name}` was not measured: `make bench` does.")
    first_line = Path(folder, f"{name}.md").read_text("utf-8").split("\n", 1)[0]
    title, _, facts = first_line.partition(". ")
    digits = {
        column: table[column].map(_four_digits, na_action="ignore")
        for column in table.select_dtypes("float")
    }
    shown = table.assign(**digits)
    return show.paragraphs(f"**{title}.** {facts}") + show.table(shown, fold=False)
