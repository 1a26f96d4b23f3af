"""What the page on size and confidence shows: IoU by object size, calibration, and the choice among
masks."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...confidence import CHOICES
from .. import show
from ..show import Shown
from . import figures
from .figures import LEVELS
from .page import with_interval


def answer(errors: pd.DataFrame, choices: pd.DataFrame) -> Shown:
    """Return how far each model's predicted IoU is off, and what choosing its mask by it costs
    after one click.

    errors: of `confidence.calibration_error`. choices: of `confidence.mask_choices`.
    """
    parts = []
    first_click = over_tasks(choices[choices["click"] == 1], "choice")
    ious = first_click.set_index(["model", "level", "choice"])["iou"]
    for error in errors.itertuples():
        best, chosen = (ious[error.model, error.level, way] for way in ("oracle", "most_confident"))
        parts.append(
            f"**{error.model}** predicts its IoU with a mean error of "
            f"**{error.error:.2f}**, {abs(error.bias):.2f} too "
            f"{'high' if error.bias > 0 else 'low'} on average; with one click the mask that it is "
            f"most sure of has a mean IoU of **{chosen:.2f}**, and its best one of "
            f"**{best:.2f}** ({LEVELS[error.level]})"
        )
    return show.answer("; ".join(parts) or "No model here predicts an IoU")


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
            lines = lines + model_means["objects"].map(" ({:.0f} objects)".format)
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
            f"{error['error']:.2f} on a single mask, of {error['masks']:,.0f}"
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
