"""The protocol's rules switched one at a time: what each changes, in pairs of the same objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes

from ... import plots
from ...clicks import PAPER, RELEASED_CODE, Protocol
from ...comparison import CHANGE, compare_ways
from ...statistics import by_object
from . import figures, page
from .figures import LEVELS
from .runs import Runs, evaluate_datasets


def switches() -> dict[str, Protocol]:
    """What differs from PAPER -> the protocol: each rule of the released code alone, two more, and
    all of it.

    >>> list(switches())[:3]
    ['label=foreground', 'mask_choice=first', 'mask_choice=oracle']
    """
    single = [
        replace(PAPER, **{field.name: value})
        for field in fields(Protocol)
        for value in _alternatives(field.name)
    ]
    named = {protocol.name.removeprefix("paper, "): protocol for protocol in single}
    return named | {RELEASED_CODE.name: RELEASED_CODE}


def evaluate_protocols(
    parameters: Mapping[str, Any], protocols: Mapping[str, Protocol]
) -> dict[str, Runs]:
    """Runs under PAPER, called "paper" in the result, and under each protocol, by name.

    parameters: of `evaluate_datasets`, without a protocol. Models that answer with one mask are not
    run again under another choice among masks: it cannot change anything.
    """
    runs = {"paper": evaluate_datasets(**parameters, protocol=PAPER)}
    rows = runs["paper"].rows
    choosing = {name.split(" (")[0] for name in rows.loc[rows["iou_1"].notna(), "model"].unique()}
    models = parameters["models"].split()
    for name, protocol in protocols.items():
        asked = models
        if protocol == replace(PAPER, mask_choice=protocol.mask_choice):
            asked = [model for model in models if model in choosing]
        if asked:
            given = dict(parameters) | {"models": " ".join(asked), "protocol": protocol}
            runs[name] = evaluate_datasets(**given)
    return runs


def _alternatives(field: str) -> list:
    """Values of a field that are compared with PAPER's."""
    released = getattr(RELEASED_CODE, field)
    more = {"mask_choice": ["oracle"], "ties": ["first"], "seed": [1]}.get(field, [])
    return ([released] if released != getattr(PAPER, field) else []) + more


def together(runs: dict[str, Runs], clicks: tuple[int, ...] = (1, 3, 9)) -> pd.DataFrame:
    """IoU under every switch minus IoU under "paper", as `comparison.against` has it; runs: by
    name."""
    objects = [by_object(run.rows, clicks).assign(switch=name) for name, run in runs.items()]
    table = compare_ways(
        pd.concat(objects), "paper", ["task", "model", "level", "click"], way="switch"
    )
    return table[table["switch"] != "paper"]


def answer(table: pd.DataFrame) -> HTML:
    """Which rule moves the IoU after the last click most, per model, in one sentence; the oracle is
    none."""
    last, sentences = int(table["click"].max()), []
    final = table[
        (table["click"] == last) & ~table["switch"].isin([RELEASED_CODE.name, "mask_choice=oracle"])
    ]
    for level, of_level in final.groupby("level", sort=False):
        parts = []
        for model, of_model in of_level.groupby("model", sort=False):
            means = of_model.groupby("switch", sort=False)["difference"].mean()
            most, seed = means.abs().idxmax(), means.abs().get("seed=1", np.nan)
            parts.append(
                f"<strong>{escape(model)}</strong> by <strong>{escape(most)}</strong>, "
                f"<strong>{means[most]:+.3f}</strong> (another draw among ties: {seed:.3f})"
            )
        sentences.append(
            f"After {last} clicks the single rule that moves the mean IoU most ({LEVELS[level]}, "
            f"{of_level['task'].nunique()} tasks, every task weighing the same) moves "
            f"{'; '.join(parts)}"
        )
    return page.sentence(". ".join(sentences))


def effect_figures(table: pd.DataFrame) -> HTML:
    """A figure per switch: the difference of each task after the last click, a point for each
    model."""
    last = int(table["click"].max())
    final = table[table["click"] == last]
    reach = float(np.nanmax(final[CHANGE].abs().to_numpy())) * 1.05 or 0.1
    models, tasks = final["model"].unique(), final["task"].unique()

    def draw(axes: Axes, of_switch: pd.DataFrame) -> str:
        """A point for each task and model."""
        plots.differences(axes, of_switch, tasks, models, reach)
        means = of_switch.groupby("model", sort=False)["difference"].mean()
        return "Mean over tasks: " + "; ".join(
            f"{model} {mean:+.3f}" for model, mean in means.items()
        )

    kind, size = (
        f"Difference of IoU after {last} clicks against paper, by task",
        (3.6, 1.5 + 0.3 * len(tasks)),
    )
    return figures.panels(final, ["switch", "level"], kind, draw, size)
