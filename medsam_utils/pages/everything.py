"""What the page about everything mode shows: both ways of naming, in one sentence and on one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from .. import plots
from ..everything import Proposals
from . import figures
from .figures import LEVELS


def answer(table: pd.DataFrame, level: str) -> HTML:
    """Mean IoU of each task under both ways, in one sentence; table: of `everything.scores`."""
    means = table.pivot_table(index="task", columns="way", values="iou", sort=False)
    parts = [
        f"<strong>{line.oracle:.2f}</strong> on {escape(task)} if the truth names the masks, "
        f"<strong>{line.classifier:.2f}</strong> if a classifier does"
        for task, line in means.iterrows()
    ]
    return HTML(f'<p class="medsam-answer">Mean IoU ({LEVELS[level]}): {"; ".join(parts)}.</p>')


def example(
    cases: Sequence[Proposals], ways: Mapping[str, Sequence[Mapping[str, np.ndarray]]], table: pd.DataFrame
) -> HTML:
    """The case of median IoU under the classifier: its proposals, and its first class under each way."""
    last = table[table["way"] == list(ways)[-1]].groupby("case_id")["iou"].mean().sort_values()
    i = next(i for i, one in enumerate(cases) if one.case.case_id == last.index[len(last) // 2])
    case, panels = cases[i].case, []
    drawing, axes = plots.new_picture(case.image)
    plots.example(axes, case.image)
    for number, mask in enumerate(cases[i].masks):
        axes.contour(mask, levels=[0.5], colors=plots.COLOURS[number % len(plots.COLOURS)], linewidths=1.2)
    caption = f"{len(cases[i].masks)} proposals on {case.case_id}"
    panels.append(figures.figure(plots.svg(drawing, caption), escape(caption), 200))
    name = next(name for name, mask in case.masks.items() if mask.any())
    for way, found in ways.items():
        drawing, axes = plots.new_picture(case.image)
        plots.example(axes, case.image, case.masks[name], found[i][name])
        panels.append(figures.figure(plots.svg(drawing, f"{way}: {name}"), escape(f"{way}: {name}"), 200))
    return HTML(figures.row(panels))
