"""The protocol's rules switched one at a time: what each changes, in pairs of the same objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...clicks import PAPER, RELEASED_CODE, Protocol
from ...comparison import CHANGE
from ...datasets import Dataset
from .. import show
from ..runs import Runs, evaluate_models
from ..show import LEVELS, Shown


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


def answer(effects: pd.DataFrame) -> Shown:
    """Return which rule moves the IoU after the last click most, per model; the oracle is none.

    effects: of `comparison.run_differences`, with the column switch.
    """
    last, sentences = int(effects["click"].max()), []
    no_rule = effects["switch"].isin([RELEASED_CODE.name, "mask_choice=oracle"])
    final = effects[(effects["click"] == last) & ~no_rule]
    for level, level_effects in final.groupby("level", sort=False):
        parts = []
        for model, model_effects in level_effects.groupby("model", sort=False):
            means = model_effects.groupby("switch", sort=False)["difference"].mean()
            most, seed = means.abs().idxmax(), means.abs().get("seed=1", np.nan)
            parts.append(
                f"**{model}** by **{most}**, **{means[most]:+.3f}** "
                f"(another draw among ties: {seed:.3f})"
            )
        sentences.append(
            f"After {last} clicks the single rule that moves the mean IoU most ({LEVELS[level]}, "
            f"{level_effects['task'].nunique()} tasks, every task weighing the same) moves "
            f"{'; '.join(parts)}"
        )
    return show.answer(*sentences)


def effect_figures(effects: pd.DataFrame) -> Shown:
    """Return a figure per switch: the difference of each task after the last click, a point for
    each model.

    effects: of `comparison.run_differences`, with the column switch.
    """
    last = int(effects["click"].max())
    final = effects[effects["click"] == last]
    reach = float(np.nanmax(final[CHANGE].abs().to_numpy())) * 1.05 or 0.1
    models, tasks = final["model"].unique(), final["task"].unique()

    def draw(axes: Axes, switch_effects: pd.DataFrame) -> str:
        """Draw a point for each task and model."""
        plots.differences(axes, switch_effects, tasks, models, reach)
        means = switch_effects.groupby("model", sort=False)["difference"].mean()
        return "Mean over tasks: " + "; ".join(
            f"{model} {mean:+.3f}" for model, mean in means.items()
        )

    kind = f"Difference of IoU after {last} clicks against paper, by task"
    return show.panels(final, ["switch", "level"], kind, draw, (3.6, 1.5 + 0.3 * len(tasks)))
