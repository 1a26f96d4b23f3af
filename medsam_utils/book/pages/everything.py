"""What the page on everything mode shows: its answer, and all proposals on one image."""

from __future__ import annotations

import pandas as pd

from ... import plots
from ...workflows.everything import Proposals
from .. import show
from ..show import Figure, Shown
from . import figures


def answer(rows: pd.DataFrame) -> Shown:
    """Return the mean IoU of each task if the truth names the masks and if a classifier does.

    rows: of `comparison.scores`, of one level, with the ways "oracle" and "classifier".
    """
    means = rows.pivot_table(index="task", columns="way", values="iou", sort=False)
    parts = [
        f"**{line.oracle:.2f}** on {task} if the truth names the masks, "
        f"**{line.classifier:.2f}** if a classifier does"
        for task, line in means.iterrows()
    ]
    return show.answer(f"Mean IoU ({figures.LEVELS[rows['level'].iloc[0]]}): {'; '.join(parts)}")


def proposals_figure(proposals: Proposals) -> Figure:
    """Return an image with the outline of every mask that was proposed for it."""
    case = proposals.case
    drawing, axes = plots.new_picture(case.image)
    plots.example(axes, case.image)
    for number, mask in enumerate(proposals.masks):
        colour = plots.COLOURS[number % len(plots.COLOURS)]
        axes.contour(mask, levels=[0.5], colors=colour, linewidths=1.2)
    caption = f"{len(proposals.masks)} proposals on {case.case_id}"
    return show.figure(drawing, caption, caption, 200)
