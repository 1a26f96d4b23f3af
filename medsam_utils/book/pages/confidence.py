"""What the page on size and confidence shows: IoU by object size, calibration, and the choice among
masks."""

from __future__ import annotations

from html import escape

import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes

from ... import plots
from ...confidence import CHOICES, calibration, calibration_error, mask_choices
from ...statistics import by_size
from . import figures
from .figures import LEVELS
from .page import numbers_table, sentence, with_interval


def answer(rows: pd.DataFrame) -> HTML:
    """How far each model's predicted IoU is off, and what choosing its mask by it costs after one
    click."""
    parts = []
    choice = _over_tasks(mask_choices(rows[rows["click"] == 1]).assign(objects=0), "choice")
    ious = choice.set_index(["model", "level", "choice"])["iou"]
    for error in calibration_error(rows).itertuples():
        best, chosen = (ious[error.model, error.level, way] for way in ("oracle", "most_confident"))
        parts.append(
            f"<strong>{escape(error.model)}</strong> predicts its IoU with a mean error of "
            f"<strong>{error.error:.2f}</strong>, {abs(error.bias):.2f} too "
            f"{'high' if error.bias > 0 else 'low'} on average; with one click the mask that it is "
            f"most sure of has a mean IoU of <strong>{chosen:.2f}</strong>, and its best one of "
            f"<strong>{best:.2f}</strong> ({LEVELS[error.level]})"
        )
    return sentence(*parts or ["No model here predicts an IoU"])


def by_object_size(rows: pd.DataFrame) -> HTML:
    """IoU against clicks, a line for each bin of the object's share of the image: a figure per
    model."""
    means = by_size(rows)
    return _panels(_over_tasks(means.assign(size=means["size"] + " of the image"), "size"), "size")


def choices(rows: pd.DataFrame) -> HTML:
    """IoU against clicks under each way to choose among the candidates: a figure per model with
    several."""
    rows = _with_candidates(rows)
    if rows.empty:
        return HTML("<p>No model of this page answers with several masks.</p>")
    table = mask_choices(rows).assign(objects=0)
    table["choice"] = table["choice"].str.replace("_", " ")
    return _panels(_over_tasks(table, "choice"), "choice")


def _with_candidates(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the models that answer with several masks."""
    return rows[rows.groupby("model", sort=False)["iou_1"].transform("count") > 0]


def _over_tasks(means: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean over the tasks that have such objects, every task weighing the same, and how many
    objects."""
    bins = means.groupby(["level", "model", column, "click"], sort=False)
    return bins.agg(iou=("iou", "mean"), objects=("objects", "sum")).reset_index()


def _panels(means: pd.DataFrame, column: str) -> HTML:
    names = list(means[column].unique())

    def draw(axes: Axes, of_model: pd.DataFrame) -> str:
        """A line for each bin or choice, with the number of its objects where that is known."""
        plots.lines(axes, of_model, names)
        counts = of_model["objects"].map(lambda count: f" ({count:.0f} objects)" if count else "")
        ends = figures.ends(of_model.assign(line=of_model["line"] + counts))
        return f"Mean IoU over tasks from one click to {of_model['click'].max()}: {ends}"

    means = means.assign(line=means[column].astype(str))
    size = (3.6, 2.8 + 0.2 * len(names))
    return figures.panels(means, ["model", "level"], "Line plot against clicks", draw, size)


def confidence(rows: pd.DataFrame) -> HTML:
    """Mean true IoU against predicted IoU, a figure per model that predicts one, and how far off it
    is."""
    errors = calibration_error(rows)
    if errors.empty:
        return HTML("<p>No model of this page predicts the IoU of its masks.</p>")
    errors = errors.set_index(["model", "level"])

    def draw(axes: Axes, bins: pd.DataFrame) -> str:
        """True against predicted IoU, and how far off that is."""
        plots.reliability(axes, bins)
        error = errors.loc[tuple(bins.iloc[0][["model", "level"]])]
        side = "too sure" if error["bias"] > 0 else "not sure enough"
        bias = with_interval(*error[["bias", "low", "high"]], "+.2f")
        return (
            f"{error.name[0]} is {side}: its predicted IoU is off by {bias} on average, and by "
            f"{error['error']:.2f} on a single mask, of {error['masks']:,}"
        )

    kind = "Mean true IoU against predicted IoU"
    return figures.panels(calibration(rows), ["model", "level"], kind, draw, (3.4, 3.2))


def regrets(rows: pd.DataFrame) -> HTML:
    """What each choice gives after one click, per task and model, and the regret of the confident
    one."""
    rows = _with_candidates(rows[rows["click"] == 1])
    if rows.empty:
        return HTML("")
    keys = ["task", "model", "level"]
    table = mask_choices(rows)
    confident = table[table["choice"] == "most_confident"].set_index(keys)
    wide = table.pivot(index=keys, columns="choice", values="iou").loc[
        confident.index, list(CHOICES)
    ]
    wide.columns = [choice.replace("_", " ") for choice in CHOICES]
    wide["regret"] = [
        with_interval(*line) for line in confident[["regret", "low", "high"]].to_numpy()
    ]
    return numbers_table(wide.reset_index())
