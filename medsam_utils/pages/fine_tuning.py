"""What the page on fine-tuning shows: what was gained on held-out patients, on the others, elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML

from .. import plots
from ..comparison import compare
from ..models import find_entry
from ..statistics import iou_by_click
from . import figures
from .figures import LEVELS
from .page import numbers_table

COLUMNS = ["of", "task", "level", "click", "objects", "patients", "before", "after"]
COLUMNS += ["difference", "low", "high"]


def first_sam(models: str) -> tuple[str, list[str]]:
    """The first SAM among the names of models, sam_small with a note if there is none."""
    sams = [name for name in models.split() if find_entry(name).adapter == "sam.Sam"]
    return (sams[0], []) if sams else ("sam_small", [f"{models} is no SAM: sam_small is tuned instead."])


def gains(
    before: pd.DataFrame, after: pd.DataFrame, dataset: str, held_out: Collection[str], clicks: Sequence[int]
) -> pd.DataFrame:
    """IoU before and after, and the paired difference, of held-out patients, of the others, and elsewhere.

    dataset: the one that was learnt from; held_out: its patients that were not. Columns: of, task, level,
    click, objects, patients, before, after, difference, low, high, as in `comparison.compare`.
    """
    parts = []
    here, out = before["dataset"] == dataset, before["patient_id"].isin(list(held_out))
    for of, chosen in (("held out", here & out), ("learnt from", here & ~out), ("elsewhere", ~here)):
        if chosen.any():
            cases = before.loc[chosen, ["dataset", "case_id"]].drop_duplicates()
            pair = [rows.merge(cases) for rows in (before, after)]
            part = compare(*pair).assign(of=of)
            for name, rows in zip(("before", "after"), pair, strict=True):
                means = iou_by_click(rows).groupby("task", sort=False).mean().stack().rename(name)
                part = part.merge(means.reset_index(), on=["task", "click"])
            parts.append(part[part["click"].isin(clicks)])
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def answer(table: pd.DataFrame) -> HTML:
    """The change after the first click, on held-out patients and elsewhere, as its interval allows to say."""
    parts = []
    first = table["click"] == table["click"].min()
    for line in table[first & (table["of"] != "learnt from")].itertuples():
        known, verb = np.isfinite(line.low), "changes by"
        if known and (line.low > 0 or line.high < 0):
            verb = "gains" if line.difference > 0 else "loses"
        elif known:
            verb = "changes by no more than chance may,"
        ends = f" (95 % interval {line.low:+.2f} to {line.high:+.2f})" if known else ""
        whose = "held-out patients" if line.of == "held out" else "patients of a dataset that it did not see"
        parts.append(
            f"{line.task} {verb} <strong>{line.difference:+.2f}</strong> IoU{ends} with {line.click} "
            f"click{'s' * (line.click > 1)}, from {line.before:.2f} to {line.after:.2f}, on {line.patients} "
            f"{whose}{'' if known else ', too few to tell'} ({LEVELS[line.level]})"
        )
    return HTML(f'<p class="medsam-answer">{"; ".join(parts)}.</p>')


def gains_table(table: pd.DataFrame) -> HTML:
    """`gains` as a table, each difference with its interval."""
    shown = table.drop(columns=["low", "high"])
    shown["difference"] = [
        f"{line.difference:+.3f}"
        + (f" ({line.low:+.3f} to {line.high:+.3f})" if np.isfinite(line.low) else "")
        for line in table.itertuples()
    ]
    return numbers_table(shown)


def learning(history: Sequence[tuple[float, ...]]) -> HTML:
    """Loss of every step, and the IoU on the objects it learnt from after the first and the last click."""
    loss, first, *_, last = (np.array(part) for part in zip(*history, strict=True))
    panels = []
    for name, lines in (("loss", {"loss": loss}), ("IoU", {"first click": first, "last click": last})):
        drawing, axes = plots.new_figure(3.6, 2.6)
        for i, (label, values) in enumerate(lines.items()):
            axes.plot(np.arange(1, len(values) + 1), values, color=plots.COLOURS[i], label=label)
        axes.set(xlabel="step", ylabel=name, ylim=(0, 1) if name == "IoU" else (0, None))
        axes.legend(frameon=False, labelcolor=plots.INK)
        ends = "; ".join(
            f"{label} from {v[:5].mean():.2f} to {v[-5:].mean():.2f}" for label, v in lines.items()
        )
        text = f"While learning, means of the first and the last five steps: {ends}."
        panels.append(figures.figure(plots.svg(drawing, f"Line plot of {name} by step. {text}"), text))
    return HTML(figures.row(panels))
