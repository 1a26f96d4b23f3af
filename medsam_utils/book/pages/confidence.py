"""What the page on size and confidence shows: IoU by object size, calibration, and the choice among
masks."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...confidence import CHOICES
from ...statistics import clicks_to_targets, size_bins
from .. import show
from ..show import Shown
from . import figures
from .figures import LEVELS
from .page import plural, with_interval

SURE = 0.05
"""Predicted and true IoU that differ by less on average count as equal."""


def answer(rows: pd.DataFrame, errors: pd.DataFrame, target: float = 0.8) -> Shown:
    """Return whether a model knows how good its masks are, and how many clicks small objects take.

    rows: of all models. errors: of `confidence.calibration_error`, over all masks of a model.
    """
    sentences = [_known(error) for error in errors.itertuples()]
    for (level, model), model_rows in rows.groupby(["level", "model"], sort=False):
        effort = clicks_by_size(model_rows, target)
        if len(effort) < 2:
            continue
        last = int(model_rows["click"].max())
        small, large = effort.iloc[0], effort.iloc[-1]
        text = (
            f"Small objects, {small['size']} of the image, take **{model}** "
            f"**{small['clicks']:.1f}** clicks to an IoU of {target:.2f} ({small['missed']:.0%} of "
            f"{small['objects']} never get there within {last}), those {large['size']} "
            f"**{large['clicks']:.1f}** ({large['missed']:.0%} of {large['objects']})"
        )
        sentences.append((text, [LEVELS[level], "every object weighing the same"]))
    return show.answer(*(sentences or ["No model here predicts an IoU"]))


def _known(error) -> tuple[str, list[str]]:
    """Return what one model knows of its masks, yes or no first, and what that holds for."""
    bias = with_interval(abs(error.bias), *sorted((abs(error.low), abs(error.high))), ".2f")
    if error.low <= 0 <= error.high:  # both ends are shown, with their signs
        bias = with_interval(error.bias, error.low, error.high, "+.2f")
    close = abs(error.bias) < SURE and error.error < 2 * SURE
    side = "too high" if error.bias > 0 else "too low"
    text = (
        f"{'Yes' if close else 'No'}: the IoU that **{error.model}** predicts is off by "
        f"**{error.error:.2f}** on a single mask, and on average {side} by **{bias}**"
    )
    return text, [LEVELS[error.level], f"{error.masks:,} masks"]


def clicks_by_size(rows: pd.DataFrame, target: float) -> pd.DataFrame:
    """Return the mean number of clicks to a target IoU by the object's share of the image.

    rows: of one model and level. Columns: size, clicks, missed (share of objects that never get
    there, which count all their clicks) and objects. Every object weighs the same.
    """
    keys = ["task", "case_id", "patient_id"]
    shares = rows.groupby(keys, sort=False)["area_share"].first().reset_index()
    objects = clicks_to_targets(rows, (target,)).merge(shares, on=keys)
    objects["size"] = size_bins(objects["area_share"])
    groups = objects.groupby("size", observed=True, sort=True)
    table = groups.agg(
        clicks=("clicks", "mean"), missed=("missed", "mean"), objects=("missed", "size")
    )
    return table.reset_index()


def over_tasks(means: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the mean over the tasks that have such objects, every task weighing the same.

    means: of `statistics.by_size` or `confidence.mask_choices`. column: what tells the lines apart,
    size or choice. Columns: level, model, that one, click, iou and objects, which are summed.
    """
    groups = means.groupby(["level", "model", column, "click"], sort=False)
    return groups.agg(iou=("iou", "mean"), objects=("objects", "sum")).reset_index()


def by_object_size(means: pd.DataFrame) -> Shown:
    """Return IoU against clicks, a line for each size with its number of objects: a figure per
    model.

    means: of `over_tasks` by size.
    """
    return _curves(means.assign(line=means["size"].astype(str) + " of the image"), counted=True)


def choice_curves(means: pd.DataFrame) -> Shown:
    """Return IoU against clicks under each way to choose among the candidates: a figure per model.

    means: of `over_tasks` by choice.
    """
    if means.empty:
        return show.paragraphs("No model of this page answers with several masks.")
    return _curves(means.assign(line=means["choice"].str.replace("_", " ")), counted=False)


def _curves(means: pd.DataFrame, counted: bool) -> Shown:
    """Return a figure for each model. counted: whether the caption says how many objects a line
    has."""
    names = list(means["line"].unique())

    def draw(axes: Axes, model_means: pd.DataFrame) -> str:
        plots.lines(axes, model_means, names)
        last, lines = model_means["click"].max(), model_means["line"]
        if counted:
            lines = lines + model_means["objects"].map(
                lambda count: f" ({plural(round(count), 'object')})"
            )
        ends = figures.ends(model_means.assign(line=lines))
        return f"Mean IoU over tasks from one click to {last}: {ends}"

    size = (3.6, 2.8 + 0.2 * len(names))
    return show.panels(means, ["model", "level"], "Line plot against clicks", draw, size)


def reliability(bins: pd.DataFrame, errors: pd.DataFrame) -> Shown:
    """Return mean true IoU against predicted IoU, a figure per model, and how far off it is.

    bins: of `confidence.calibration`. errors: of `confidence.calibration_error`.
    """
    if errors.empty:
        return show.paragraphs("No model of this page predicts the IoU of its masks.")
    by_model = errors.set_index(["model", "level"])

    def draw(axes: Axes, model_bins: pd.DataFrame) -> str:
        plots.reliability(axes, model_bins)
        error = by_model.loc[tuple(model_bins.iloc[0][["model", "level"]])]
        side = "too sure" if error["bias"] > 0 else "not sure enough"
        bias = with_interval(*error[["bias", "low", "high"]], "+.2f")
        return (
            f"{error.name[0]} is {side}: its predicted IoU is off by {bias} on average, and by "
            f"{error['error']:.2f} on a single mask; {error['masks']:,.0f} masks"
        )

    kind = "Mean true IoU against predicted IoU"
    return show.panels(bins, ["model", "level"], kind, draw, (3.4, 3.2))


def regrets(choices: pd.DataFrame) -> pd.DataFrame:
    """Return what each choice gives, per task and model, and the regret of the confident one.

    choices: of `confidence.mask_choices`, after one click. Columns: task, model, level, a mean IoU
    for each choice, and regret, a text with its 95 % interval.
    """
    keys = ["task", "model", "level"]
    confident = choices[choices["choice"] == "most_confident"].set_index(keys)
    table = choices.pivot(index=keys, columns="choice", values="iou").reindex(columns=CHOICES)
    table = table.loc[confident.index].rename(columns=lambda choice: choice.replace("_", " "))
    regret = [with_interval(*line) for line in confident[["regret", "low", "high"]].to_numpy()]
    return table.rename_axis(columns=None).assign(regret=regret).reset_index()
