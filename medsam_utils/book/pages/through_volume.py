"""What the page on propagation through a volume shows: its answer, the curves, the slices."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...boxed_mask import BoxedMask
from ...metrics import dice
from ...workflows.propagation import VolumeObject
from ...workflows.propagation_evaluation import EVERY_SLICE, MEMORY
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
    """Return how many clicks carrying a mask on saves for the best Dice that it gives, per model.

    table: of `propagation_evaluation.summary`.
    """
    sentences = []
    for _, lines in table.groupby(["model", "level"], sort=False):
        carried, every = at_best(lines)
        level = figures.LEVELS[carried["level"]]
        objects = page.plural(int(carried["objects"]), "object")
        mean = page.with_interval(*carried[["dice", "low", "high"]], ".2f")
        there = f"**{carried['model']}** {how(carried['way'])} reaches Dice **{mean}** with "
        there += f"**{carried['spent']:.1f}** clicks in the volume"
        scope = f"({objects} through a volume, {level})"
        if every is None:
            most = lines[lines["way"] == EVERY_SLICE].sort_values("dice").iloc[-1]
            sentences.append(
                f"More than were tried: {there}, and clicking in every slice only "
                f"**{most['dice']:.2f}** with {most['spent']:.1f} {scope}"
            )
            continue
        saved = every["spent"] - carried["spent"]
        other = f"clicking in every slice reaches **{every['dice']:.2f}** with "
        other += f"**{every['spent']:.1f}** {scope}"
        begin = f"It saves **{saved:.1f}** clicks" if saved > 0 else "It saves none"
        sentences.append(f"{begin}: {there}, {other}")
    return show.answer(*sentences)


def how(way: str) -> str:
    """Return in words how a mask goes on from slice to slice."""
    return "with its memory" if way == MEMORY else f"carried as {way}"


def at_best(lines: pd.DataFrame) -> tuple[pd.Series, pd.Series | None]:
    """Return the carried line of the highest Dice, and the fewest clicks in every slice that give
    at least that; None if no number of clicks that was tried does.

    lines: of one model and level. The way and the stop rule are those that are best with one slice
    prompted; each of its rounds is a line.
    """
    best = lines[lines["best"]].iloc[0]
    same = lines[(lines["way"] == best["way"]) & (lines["stop"] == best["stop"])]
    carried = same.loc[same["dice"].idxmax()]
    every = lines[(lines["way"] == EVERY_SLICE) & (lines["dice"] >= carried["dice"])]
    return carried, None if every.empty else every.loc[every["spent"].idxmin()]


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


def both_ways(table: pd.DataFrame) -> Shown:
    """Return Dice of whole volumes beside the mean Dice of their slices, clicked in every slice.

    table: of `propagation_evaluation.summary`.
    """
    lines = table[table["way"] == EVERY_SLICE]
    whole = [page.with_interval(*dice, ".2f") for dice in lines[["dice", "low", "high"]].to_numpy()]
    columns = {"per volume": whole, "per slice": lines["slice_dice"].map("{:.2f}".format)}
    columns = {"clicks in each slice": lines["round"] + 1, **columns}
    lines = lines.assign(**columns)
    return show.table(lines[["model", "level", *columns, "objects", "patients"]], fold=False)


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
