"""What the pages on training the small models from nothing show."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...demo import training_sam
from .. import show
from ..show import Shown
from . import figures, page


def by_weights(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return a line for each kind of weights: mean IoU after each click and from a box, and more.

    scores: of `training_sam.score_drawings`. Columns: weights, IoU@1 and so on, box, edges on cell
    borders (share, after the last click) and confidence off by (mean absolute difference of
    predicted and true IoU).
    """
    return pd.DataFrame([{"weights": name, **means(table)} for name, table in scores.items()])


def means(scores: pd.DataFrame) -> dict[str, float]:
    """Return the means of `training_sam.score_drawings` as a line of `by_weights`."""
    clicks, box = (scores[scores["prompt"] == prompt] for prompt in ("clicks", "box"))
    last = clicks[clicks["click"] == clicks["click"].max()]
    return {
        **{f"IoU@{n}": iou for n, iou in clicks.groupby("click")["iou"].mean().items()},
        "box": box["iou"].mean(),
        "edges on cell borders": last["on_borders"].sum() / max(last["edges"].sum(), 1),
        "confidence off by": (clicks["predicted_iou"] - clicks["iou"]).abs().mean(),
    }


def by_kind(scores: pd.DataFrame) -> pd.DataFrame:
    """Return `means` for each kind of object, with the number of objects, most first."""
    lines = [
        {"object": kind, "objects": table["drawing"].nunique(), **means(table)}
        for kind, table in scores.groupby("kind")
    ]
    return pd.DataFrame(lines).sort_values("objects", ascending=False, ignore_index=True)


def answer(table: pd.DataFrame, parameters: int, drawings: int) -> Shown:
    """Return what the embedded network has learnt.

    table: of `by_weights`, with the weights "random" and "in the repository". parameters: of the
    network. drawings: on which it was measured.
    """
    scores = table.set_index("weights")
    ious = scores.filter(like="IoU@")
    shipped, untrained = ious.loc["in the repository"], ious.loc["random"]
    return show.answer(
        f"A program that draws is enough for a start: on {drawings} drawings that it never saw, "
        f"the embedded network of {parameters / 1e6:.1f} million parameters has a mean IoU of "
        f"**{shipped.iloc[0]:.2f}** with one click, of **{shipped.iloc[-1]:.2f}** with "
        f"{len(shipped)} and of **{scores.at['in the repository', 'box']:.2f}** from a box, with "
        f"random weights {untrained.iloc[0]:.2f}, {untrained.iloc[-1]:.2f} and "
        f"{scores.at['random', 'box']:.2f} (demo)"
    )


def drawings_row(seed: int, count: int) -> Shown:
    """Return the first drawings of a series, each with the contour of one of its objects."""
    pictures = []
    for number in range(count):
        image, masks = training_sam.drawing(seed, number)
        alt = f"Drawing {number} with a contour, "
        caption = page.plural(len(masks), "object")
        pictures.append(figures.picture(image, caption, masks[0], alt=alt, width=130))
    return show.row(pictures)


def source(function: Callable) -> Shown:
    """Return the code of a function or class of this package, closed until it is clicked."""
    name = f"{function.__module__}.{function.__qualname__}"
    return show.details(f"`{name}`, as code", inspect.getsource(function))


def log_figure(log: pd.DataFrame) -> Shown:
    """Return IoU against training steps. log: columns steps, iou_1 and iou_3."""
    names = {"iou_1": "1 click", "iou_3": "3 clicks"}
    curves = log.melt("steps", list(names), "line", "iou").replace({"line": names})

    def draw(axes: Axes, group: pd.DataFrame) -> str:
        plots.lines(axes, group, list(names.values()), x="steps")
        axes.set(xlabel="steps", ylabel="IoU", ylim=(0, 1))
        texts = []
        for clicks, line in group.groupby("line", sort=False):
            points = [f"{at.iou:.2f} after {at.steps:,}" for at in line.itertuples()]
            texts.append(f"With {clicks} {', '.join(points)}")
        return "; ".join(texts)

    frame, kind = curves.assign(of="sam_small"), "Line plot of IoU against steps"
    return show.panels(frame, ["of"], kind, draw, (4.4, 3.2), 380)
