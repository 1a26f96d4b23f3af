"""What the page on fine-tuning shows: its answer, and the curves of learning."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...comparison import CHANGE
from .. import show
from ..show import Shown
from . import figures, page

PATIENTS = {
    "held out": "held-out patients",
    "elsewhere": "patients of a dataset that it did not see",
}


def answer(table: pd.DataFrame) -> Shown:
    """Return what one click gains on held-out patients and elsewhere, a part for each task.

    table: of `workflows.fine_tuning.gains`.
    """
    parts = []
    for _, line in table[(table["click"] == 1) & (table["of"] != "learnt from")].iterrows():
        verdict = f"{page.verdict(*line[CHANGE[1:]])}: "
        if line["of"] == "elsewhere":
            verdict = "Elsewhere "
        change = page.change(*line[CHANGE])
        numbers = f"from {line['before']:.2f} to {line['after']:.2f}"
        patients = f"on {line['patients']} {PATIENTS[line['of']]}"
        level = figures.LEVELS[line["level"]]
        parts.append(
            (f"{verdict}{line['task']} {change} with 1 click, {numbers}, {patients}", [level])
        )
    return show.answer(*parts)


def learning_curves(history: Sequence[tuple[float, ...]]) -> pd.DataFrame:
    """Return loss and IoU against steps: columns panel, line, step (from 1) and value.

    history: of `workflows.fine_tuning.fine_tune`; of its IoUs the first and the last click's.
    """
    steps = pd.DataFrame(history)
    lines = {"loss": steps[0], "first click": steps[1], "last click": steps[steps.columns[-1]]}
    parts = [
        pd.DataFrame(
            {
                "panel": "loss" if line == "loss" else "IoU on what it learns from",
                "line": line,
                "step": values.index + 1,
                "value": values,
            }
        )
        for line, values in lines.items()
    ]
    return pd.concat(parts, ignore_index=True)


def learning_figure(curves: pd.DataFrame, level: str) -> Shown:
    """Return the lines of learning, loss and IoU side by side.

    curves: of `learning_curves`. level: of the dataset that was learnt from.
    """

    def draw(axes: Axes, group: pd.DataFrame) -> str:
        for i, (line, curve) in enumerate(group.groupby("line", sort=False)):
            axes.plot(curve["step"], curve["value"], color=plots.COLOURS[i], label=line)
        top = None if group["panel"].iloc[0] == "loss" else 1
        axes.set(xlabel="step", ylim=(0, top))
        axes.legend(frameon=False, labelcolor=plots.INK)
        values = group.groupby("line", sort=False)["value"]
        found = [
            f"{line} from {curve[:5].mean():.2f} to {curve[-5:].mean():.2f}"
            for line, curve in values
        ]
        return f"Means of the first and the last five steps: {'; '.join(found)}"

    frame = curves.assign(level=level)
    return show.panels(frame, ["panel", "level"], "Line plot by step", draw, (3.6, 2.6))


def gains_table(table: pd.DataFrame) -> Shown:
    """Return the gains as a table, each difference with its interval.

    table: of `workflows.fine_tuning.gains`.
    """
    texts = [page.with_interval(*change, "+.3f") for change in table[CHANGE].to_numpy()]
    return show.table(table.drop(columns=CHANGE[1:]).assign(difference=texts), fold=False)
