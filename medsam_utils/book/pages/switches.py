"""The protocol's rules switched one at a time: what each changes, in pairs of the same objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...clicks import PAPER, RELEASED_CODE, Protocol
from ...comparison import CHANGE, paired_differences
from ...datasets import Dataset
from ...statistics import mean_over_tasks
from .. import show
from ..runs import Runs, evaluate_models
from ..show import LEVELS, Shown
from .page import mean_of_tasks, plural, signed, with_interval


def switches() -> dict[str, Protocol]:
    """Return what differs from PAPER -> the protocol: each rule of the released code alone, two
    more, and all of it.

    >>> list(switches())[:3]
    ['label=foreground', 'mask_choice=first', 'mask_choice=oracle']
    """
    single = [
        replace(PAPER, **{field.name: value})
        for field in fields(Protocol)
        if field.name != "equals"  # it decides nothing where clicks alone prompt
        for value in _alternatives(field.name)
    ]
    named = {protocol.name.removeprefix("paper, "): protocol for protocol in single}
    return named | {RELEASED_CODE.name: RELEASED_CODE}


def _alternatives(field: str) -> list:
    """Return the values of a field that are compared with PAPER's."""
    released = getattr(RELEASED_CODE, field)
    more = {"mask_choice": ["oracle"], "ties": ["first"], "seed": [1]}.get(field, [])
    return ([released] if released != getattr(PAPER, field) else []) + more


def evaluate_protocols(
    datasets: Sequence[Dataset],
    models: str,
    protocols: Mapping[str, Protocol],
    clicks: int = 9,
    max_cases: int = 0,
    compute: str = "",
) -> dict[str, Runs]:
    """Return the runs under PAPER, called "paper" in the result, and under each protocol, by name.

    Parameters are those of `evaluate_models`. Models that answer with one mask are not run again
    under another choice among masks: it cannot change anything.
    """
    settings = {"clicks": clicks, "max_cases": max_cases, "compute": compute}
    runs = {"paper": evaluate_models(datasets, models, protocol=PAPER, **settings)}
    rows = runs["paper"].rows
    choosing = {name.split(" (")[0] for name in rows.loc[rows["iou_1"].notna(), "model"].unique()}
    for name, protocol in protocols.items():
        names = models.split()
        if protocol == replace(PAPER, mask_choice=protocol.mask_choice):
            names = [model for model in names if model in choosing]
        if names:
            runs[name] = evaluate_models(datasets, " ".join(names), protocol=protocol, **settings)
    return runs


WORDS = {
    "label=foreground": "calling a click on any labelled pixel positive",
    "mask_choice=first": "taking the first mask instead of the most confident one",
    "ties=first": "taking the first of equally deep pixels",
    "seed=1": "another draw among equally deep pixels",
}
"""Switches in words; others are called by their field."""


def mean_effects(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return each switch's mean paired difference of IoU after the last click.

    rows: by switch, Algorithm 1's as "paper". Columns: level, model, switch, difference with its
    95 % interval low and high, objects, patients and tasks; every task weighs the same.
    """
    lines = []
    for name, switched in rows.items():
        for (level, model), model_rows in switched.groupby(["level", "model"], sort=False):
            paper = rows["paper"]
            paper = paper[(paper["model"] == model) & (paper["level"] == level)]
            if name == "paper" or paper.empty:
                continue
            changes = paired_differences(paper, model_rows)
            final = changes[changes.columns[-1]].rename("difference").reset_index()
            effect = mean_over_tasks(final, "difference", within=(-1, 1))
            lines.append({"level": level, "model": model, "switch": name} | effect.to_dict())
    return pd.DataFrame(lines)


def answer(effects: pd.DataFrame) -> Shown:
    """Return which rule moves the IoU after the last click most, per model; the oracle, the draw
    and all rules together are none.

    effects: of `mean_effects`.
    """
    no_rule = effects["switch"].isin([RELEASED_CODE.name, "mask_choice=oracle", "seed=1"])
    sentences = []
    for (level, model), found in effects[~no_rule].groupby(["level", "model"], sort=False):
        most = found.loc[found["difference"].abs().idxmax()]
        of_model = effects[(effects["level"] == level) & (effects["model"] == model)]
        draw = of_model.loc[of_model["switch"] == "seed=1", "difference"]
        beside = (
            f"; another draw among ties moves it by {signed(draw.iloc[0])}" if len(draw) else ""
        )
        change = with_interval(most["difference"], most["low"], most["high"], "+.2f")
        words = WORDS.get(most["switch"], f"`{most['switch']}`")
        text = f"For **{model}** it is {words}: IoU **{change}** after the last click{beside}"
        counts = f"{plural(int(most['objects']), 'object')} of "
        counts += plural(int(most["patients"]), "patient")
        sentences.append((text, [LEVELS[level], counts, mean_of_tasks(int(most["tasks"]))]))
    return show.answer(*sentences)


def effect_figures(effects: pd.DataFrame) -> Shown:
    """Return a figure per switch: the difference of each task after the last click, a point for
    each model.

    effects: of `comparison.run_differences`, with the column switch.
    """
    last = int(effects["click"].max())
    final = effects[effects["click"] == last]
    models, tasks = final["model"].unique(), final["task"].unique()

    def draw(axes: Axes, switch_effects: pd.DataFrame) -> str:
        """Draw a point for each task and model, on an axis as long as these effects."""
        reach = max(float(np.nanmax(switch_effects[CHANGE].abs().to_numpy())) * 1.1, 0.01)
        plots.differences(axes, switch_effects, tasks, models, reach)
        means = switch_effects.groupby("model", sort=False)["difference"].mean()
        return "Mean over tasks: " + "; ".join(
            f"{model} {signed(mean)}" for model, mean in means.items()
        )

    kind = f"Difference of IoU after {last} clicks against paper, by task"
    return show.panels(final, ["switch", "level"], kind, draw, (3.6, 1.5 + 0.3 * len(tasks)))


def rankings(agreement: pd.DataFrame) -> Shown:
    """Return how the models rank under each switch, and how near that is to Algorithm 1's ranking.

    agreement: of `comparison.rank_agreement`, with the column switch and "paper" as its base.
    """
    if agreement.empty:
        return show.paragraphs("One model has no ranking: give several in `models`.")
    taus = [with_interval(*tau, ".2f") for tau in agreement[["tau", "low", "high"]].to_numpy()]
    columns = ["switch", "level", "ranking", "Kendall's tau", "patients", "objects"]
    is_empty = (agreement["switch"] == "paper") | agreement["tau"].isna()
    return show.table(agreement.assign(**{"Kendall's tau": np.where(is_empty, "", taus)})[columns])
