"""What the page on propagation through a volume shows: its answer, the curves, the slices."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...boxed_mask import BoxedMask
from ...comparison import CHANGE
from ...metrics import dice
from ...workflows.propagation import VolumeObject
from ...workflows.propagation_evaluation import EVERY_SLICE
from .. import show
from ..show import Shown
from . import figures, page

NAMES = {
    "dice": "Dice",
    "difference": "Dice, minus the best carried",
    "hd95": "HD95, mm",
    "surface": "surface, mm",
}


def answer(table: pd.DataFrame) -> Shown:
    """Return what the clicks of one slice give, and as many in every slice, for each model.

    table: of `propagation_evaluation.summary`.
    """
    parts = []
    for _, lines in table.groupby(["model", "level"], sort=False):
        best, every = lines[lines["best"]].iloc[0], lines[lines["way"] == EVERY_SLICE].iloc[-1]
        mean = page.with_interval(*best[["dice", "low", "high"]], ".2f")
        change = page.with_interval(*every[CHANGE], "+.2f")
        parts.append(
            f"With **{best['model']}**, {best['spent']:.0f} clicks in one slice, carried on as "
            f"{best['way']} (stop rule: {best['stop']}), give a mean Dice of **{mean}** (objects "
            f"through a volume: {best['objects']}); as many in every slice, {every['spent']:.0f} "
            f"clicks, **{every['dice']:.2f}**, a difference of {change} "
            f"({figures.LEVELS[best['level']]})"
        )
    return show.answer("; ".join(parts))


def dice_curves(table: pd.DataFrame, stop: str) -> Shown:
    """Return Dice against clicks spent, a line for each way; dashes where every slice is clicked.

    table: of `propagation_evaluation.summary`. stop: the rule whose rounds are shown.
    """

    def draw(axes: Axes, group: pd.DataFrame) -> str:
        for i, (way, line) in enumerate(group.groupby("way", sort=False)):
            style = {"color": plots.COLOURS[(i - 1) % 5], "marker": plots.MARKERS[i % 7], "ms": 5}
            style |= {"color": plots.INK, "linestyle": "--"} if way == EVERY_SLICE else {}
            axes.plot(line["spent"], line["dice"], label=way, **style)
        axes.set(ylim=(0, 1), xlim=(0, None))
        axes.set(xlabel="clicks in the whole volume", ylabel="Dice of the volume")
        axes.figure.legend(loc="outside lower left", ncols=3, frameon=False, labelcolor=plots.INK)
        texts = []
        for way, line in group.groupby("way", sort=False):
            points = [f"{y:.2f} with {x:.1f}" for x, y in line[["spent", "dice"]].to_numpy()]
            texts.append(f"{way} {', '.join(points)} clicks")
        return "; ".join(texts)

    frame = table[table["stop"].isin([stop, ""])]
    kind = "Line plot of Dice against clicks in the volume"
    return show.panels(frame, ["model", "level"], kind, draw, (5.2, 3.6), 420)


def ways_table(table: pd.DataFrame) -> Shown:
    """Return all ways and stop rules with one slice prompted, beside the clicks in every slice.

    table: of `propagation_evaluation.summary`.
    """
    lines = table[(table["round"] == 0) | (table["way"] == EVERY_SLICE)]
    lines = lines.assign(clicks=lines["spent"].map("{:.1f}".format))
    texts = page.with_intervals(lines, value="dice", form=".2f").rename(columns=NAMES)
    columns = ["model", "level", "way", "stop", "objects", "patients", "clicks", *NAMES.values()]
    return show.table(texts[columns], fold=False)


def slices(
    volume: VolumeObject, masks: Sequence[BoxedMask], prompted: int, title: str, overall: float
) -> Shown:
    """Return every slice of a volume with the true and the propagated contour.

    prompted: the slice that was clicked. overall: Dice of the whole volume.
    """
    pictures = []
    for i, (case, truth, mask) in enumerate(zip(volume.cases, volume.truths, masks, strict=True)):
        fit = "empty, as it should be"
        if truth.area or mask.area:
            fit = f"Dice {dice(mask, truth):.2f}"
        place = "clicked" if i == prompted else f"{abs(i - prompted)} away"
        alt = "Slice with the true and the carried contour, "
        contours = truth.mask(), mask.mask()
        pictures.append(
            figures.picture(case.image, f"{place}: {fit}", *contours, alt=alt, width=120)
        )
    return show.group(f"{title}: Dice of the volume {overall:.2f}", pictures)
