"""What the page on volumes shows: Dice against clicks spent, ways to carry and rules to stop, one volume."""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from .. import plots
from ..case import BadInputError
from ..clicks import Protocol
from ..datasets import Dataset
from ..metrics import dice
from ..models import Model
from ..propagation import Carry, carried, clicked, evaluate_volume, stacks, starts
from ..run_record import versions
from ..statistics import interval
from . import figures
from .figures import LEVELS
from .page import numbers_table

EVERY = "every slice"
KEY = ["way", "stop", "round"]


def carries(ways: str, stop: str, least_iou: float, most_change: float) -> dict[tuple[str, str], Carry]:
    """Every way under every stop rule: (way, rule) -> `Carry`, those of the rule `stop` first.

    ways: with commas between. Raises BadInputError for an unknown rule.
    """
    iou, area = {"least_iou": least_iou}, {"most_change": most_change}
    rules = {"never": {}, "predicted IoU": iou, "area": area, "both": iou | area}
    if stop not in rules:
        raise BadInputError(f"stop {stop!r} is unknown: choose {', '.join(rules)}")
    order = sorted(rules, key=lambda rule: rule != stop)
    return {
        (way.strip(), rule): Carry(way.strip(), **rules[rule]) for rule in order for way in ways.split(",")
    }


def table_of(
    dataset: Dataset,
    model: Model,
    protocol: Protocol,
    carries: Mapping[tuple[str, str], Carry],
    clicks: int,
    rounds: int,
    beyond: int,
    max_volumes: int,
) -> pd.DataFrame:
    """Records of `propagation.evaluate_volume` for all volumes of a dataset, with the record of the run.

    rounds: of the first stop rule in `carries`; the others prompt in one slice alone.
    """
    started, records = time.perf_counter(), []
    first = next(stop for _, stop in carries)
    most = {stop: rounds if stop == first else 0 for _, stop in carries}
    for stack in stacks(dataset, beyond, max_volumes):
        constant = {
            "dataset": dataset.name,
            "task": stack.task,
            "volume": stack.volume,
            "level": dataset.level,
        }
        constant |= {"patient_id": stack.cases[0].patient_id, "protocol": protocol.name}
        constant |= {"model": model.name, "weights": model.weights}
        found = evaluate_volume(stack, model, protocol, clicks, carries, most)
        records += [constant | record for record in found]
    rows = pd.DataFrame(records)
    volumes = rows["volume"].nunique()
    settings = {"dataset": dataset.settings(), "model": model.settings(), "clicks": clicks, "beyond": beyond}
    settings |= {"rounds": most, "carries": list(map(repr, carries.values()))}
    record = {"device": str(getattr(model, "device", "cpu")), "cases": volumes, "computed": volumes}
    record |= {
        "seconds": round(time.perf_counter() - started, 3),
        "versions": versions(),
        "settings": settings,
    }
    rows.attrs["record"] = record
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over the volumes of one model and level: a line for every way, stop rule and round.

    Columns: way, stop, round, spent (clicks a volume), dice, hd95, surface, objects, patients; low and high,
    the 95 % interval of the mean Dice, patients resampled; behind, with its own interval: Dice minus that of
    the best way with one slice prompted, volume by volume. An empty mask has no surface distance, and is left
    out of its mean.
    """
    table = rows.groupby(KEY, sort=False)[["spent", "dice", "hd95", "surface"]].mean()
    carried = table[
        (table.index.get_level_values("round") == 0) & (table.index.get_level_values("way") != EVERY)
    ]
    volumes = rows.pivot(index=["dataset", "task", "volume", "patient_id"], columns=KEY, values="dice")[
        table.index
    ]
    patients = volumes.index.to_frame()[["dataset", "patient_id"]].agg("/".join, axis=1).to_numpy()
    behind = volumes.sub(volumes[carried["dice"].idxmax()], axis=0)
    table["low"], table["high"] = interval(volumes.to_numpy(), patients)
    table["behind"] = behind.mean()
    table["behind low"], table["behind high"] = interval(behind.to_numpy(), patients, within=(-1, 1))
    return table.assign(objects=len(volumes), patients=len(set(patients))).reset_index()


def best_way(rows: pd.DataFrame) -> pd.Series:
    """The line of `summary` with the highest Dice from prompts in one slice, of the first model and level."""
    first = (rows[["model", "level"]] == rows[["model", "level"]].iloc[0]).all(axis=1)
    table = summary(rows[first])
    return table[(table["way"] != EVERY) & (table["round"] == 0)].sort_values("dice").iloc[-1]


def _with_ends(mean: float, low: float, high: float, sign: str = "") -> str:
    """A mean with its 95 % interval in brackets, if it has one."""
    return f"{mean:{sign}.2f}" + (f" ({low:{sign}.2f} to {high:{sign}.2f})" if np.isfinite(low) else "")


def answer(rows: pd.DataFrame) -> HTML:
    """What one slice's clicks give, carried in the best way, and what as many in every slice give."""
    parts = []
    for (model, level), of_model in rows.groupby(["model", "level"], sort=False):
        best, table = best_way(of_model), summary(of_model)
        every = table[table["way"] == EVERY].iloc[-1]
        parts.append(
            f"With <strong>{escape(model)}</strong>, {best.spent:.0f} clicks in one slice, carried on as "
            f"{best.way} (stop rule: {best.stop}), give a mean Dice of "
            f"<strong>{_with_ends(*best[['dice', 'low', 'high']])}</strong> (objects through a volume: "
            f"{best.objects}); as many in every slice, {every.spent:.0f} clicks, "
            f"<strong>{every.dice:.2f}</strong>, a difference of "
            f"{_with_ends(*every[['behind', 'behind low', 'behind high']], sign='+')} ({LEVELS[level]})"
        )
    return HTML(f'<p class="medsam-answer">{"; ".join(parts)}.</p>')


def against_clicks(rows: pd.DataFrame, stop: str) -> HTML:
    """Dice of the volume against the clicks spent on it: a line for each way, a figure per model."""
    panels = []
    for (model, level), of_model in rows.groupby(["model", "level"], sort=False):
        drawing, axes = plots.new_figure(5.2, 3.6)
        table, findings = summary(of_model), []
        for i, (way, line) in enumerate(table[table["stop"].isin([stop, ""])].groupby("way", sort=False)):
            style = {"color": plots.COLOURS[(i - 1) % 5], "marker": plots.MARKERS[i % 7], "ms": 5}
            style |= {"color": plots.INK, "linestyle": "--"} if way == EVERY else {}
            axes.plot(line["spent"], line["dice"], label=way, **style)
            points = [f"{y:.2f} with {x:.1f}" for x, y in zip(line["spent"], line["dice"], strict=True)]
            findings.append(f"{way} {', '.join(points)} clicks")
        axes.set(
            ylim=(0, 1), xlim=(0, None), xlabel="clicks in the whole volume", ylabel="Dice of the volume"
        )
        drawing.legend(loc="outside lower left", ncols=3, frameon=False, labelcolor=plots.INK)
        title, finding = f"{model} · {LEVELS[level]}", "; ".join(findings)
        axes.set_title(title, loc="left", fontsize=10)
        picture = plots.svg(drawing, f"Line plot of Dice against clicks in the volume, {title}: {finding}.")
        panels.append(figures.figure(picture, f"<strong>{escape(title)}.</strong> {escape(finding)}.", 420))
    return HTML(figures.row(panels))


def table(rows: pd.DataFrame) -> HTML:
    """Every way and stop rule with one slice prompted, and clicks in every slice."""
    parts = []
    for (model, level), of_model in rows.groupby(["model", "level"], sort=False):
        lines = summary(of_model)
        lines = lines[(lines["round"] == 0) | (lines["way"] == EVERY)]
        shown = lines[["way", "stop", "objects", "patients"]].assign(
            clicks=lines["spent"].map("{:.1f}".format)
        )
        for name, sign in (("dice", ""), ("behind", "+")):
            ends = ["low", "high"] if name == "dice" else ["behind low", "behind high"]
            shown[name] = [_with_ends(*line, sign=sign) for line in lines[[name, *ends]].to_numpy()]
        shown = shown.assign(**{"HD95, mm": lines["hd95"], "surface, mm": lines["surface"]})
        shown = shown.rename(columns={"dice": "Dice", "behind": "Dice, minus the best carried"})
        shown.insert(0, "model", model)
        shown.insert(1, "level", level)
        parts.append(shown)
    return numbers_table(pd.concat(parts))


def slices(
    dataset: Dataset,
    model: Model,
    record: pd.Series,
    carry: Carry,
    protocol: Protocol,
    clicks: int,
    beyond: int,
) -> HTML:
    """One volume, slice by slice: the truth, and what the clicks in one slice became when carried on.

    record: which volume and task, a row of `table_of`.
    """
    wanted = (record["volume"], record["task"])
    stack = next(s for s in stacks(dataset, beyond) if (s.volume, s.task) == wanted)
    embeddings = [model.encode(case.image) for case in stack.cases]
    (start,) = starts([truth.area for truth in stack.truths], rounds=0)
    given = {start: clicked(stack, model, embeddings, protocol, clicks)[start][-1]}
    pictures = []
    for i, mask in enumerate(carried(model, embeddings, given, carry)):
        image, truth = stack.cases[i].image, stack.truths[i]
        drawing, axes = plots.new_picture(image, 1.8)
        plots.example(axes, image, truth.mask(), mask.mask())
        found = f"Dice {dice(mask, truth):.2f}" if truth.area or mask.area else "empty, as it should be"
        text = f"{f'{abs(i - start)} away' if i != start else 'clicked'}: {found}"
        picture = plots.svg(drawing, f"Slice with the true and the carried contour, {text}.")
        pictures.append(figures.figure(picture, text, 120))
    title = f"{stack.task}, {stack.volume}, {model.name}, carried as {carry.way}, {LEVELS[dataset.level]}"
    return HTML(figures.group(f"{title}: Dice of the volume {record['dice']:.2f}", pictures))
