"""What every page shows: banner, answer, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ... import published
from ...comparison import CHANGE
from ...datasets import Dataset
from ...models import Model
from ...statistics import FEWEST, by_object, mean_curves, mean_over_tasks
from .. import show
from ..show import Shown
from .figures import BY_A_MODEL, level_text


def banner(datasets: Sequence[Dataset], models: Mapping[str, Model], notes: list[str]) -> Shown:
    """Return what the numbers of a page must not be taken for; empty if there is nothing to say.

    notes: what was asked for and could not be had, such as a model whose weights are missing.
    """
    said = []
    drawn = [dataset.title for dataset in datasets if dataset.level == "demo"]
    if drawn:
        some = "" if 1 < len(drawn) == len(datasets) else f" of {', '.join(drawn)}"
        said.append(
            f"**Demo, not medical images**: a program drew the images{some} (phantoms). Their "
            "numbers show that the method works, and nothing about patients."
        )
    if made := [dataset for dataset in datasets if dataset.passport.masks_by]:
        by = "; ".join(f"{dataset.title}: {dataset.passport.masks_by}" for dataset in made)
        said.append(
            f"**Real images, masks made by a model** ({by}): a silver standard. Where a model "
            "differs from it, either one may be wrong."
        )
    if small := [name for name in models if name.startswith(("sam_small", "ritm_small"))]:
        names = " and ".join(f"`{name}`" for name in small)
        said.append(f"{names}: trained on drawings alone, **not the released models**.")
    shown = [show.banner(*said, demo=bool(drawn))] if said else []
    return show.joined([*shown, *(show.box("attention", "Not as asked", note) for note in notes)])


def plural(count: int, noun: str) -> str:
    """A number of things in words.

    >>> plural(1, "task"), plural(2, "task")
    ('1 task', '2 tasks')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def with_interval(mean: float, low: float, high: float, form: str = ".3f") -> str:
    """A mean with its 95 % interval in brackets, if it has one.

    >>> with_interval(0.5, 0.25, 0.75, "+.2f"), with_interval(0.5, np.nan, np.nan)
    ('+0.50 (+0.25 to +0.75)', '0.500')
    """
    mean, low, high = (_unsigned_zero(value, form) for value in (mean, low, high))
    ends = f" ({low} to {high})" if low != "nan" else ""
    return f"{mean}{ends}"


def _unsigned_zero(value: float, form: str) -> str:
    """Return a number as text, without a sign where it rounds to nothing."""
    text = f"{value:{form}}".lstrip("+") if np.isnan(value) else f"{value:{form}}"
    return text.lstrip("+-") if not text.strip("+-0.%") else text


def signed(value: float, digits: int = 2) -> str:
    """Return a difference with its sign; what rounds to nothing has none.

    >>> signed(0.123), signed(-0.001)
    ('+0.12', '0.00')
    """
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"


def change(difference: float, low: float, high: float, measure: str = "IoU") -> str:
    """A mean paired difference in words that its 95 % interval allows.

    >>> change(0.1, 0.05, 0.2)
    'gains **+0.10** IoU (95 % interval +0.05 to +0.20)'
    >>> change(-0.1, -0.2, 0.05)
    'changes by no more than chance may, **-0.10** IoU (95 % interval -0.20 to +0.05)'
    >>> change(0.1, np.nan, np.nan)
    'changes, by too few patients to tell, by **+0.10** IoU'
    """
    mean = f"**{difference:+.2f}** {measure}"
    if not np.isfinite(low):
        return f"changes, by too few patients to tell, by {mean}"
    verb = "gains" if low > 0 else "loses" if high < 0 else "changes by no more than chance may,"
    return f"{verb} {mean} (95 % interval {low:+.2f} to {high:+.2f})"


def verdict(low: float, high: float) -> str:
    """Return whether a difference is above 0, as far as its 95 % interval tells.

    >>> verdict(0.1, 0.2), verdict(-0.2, -0.1), verdict(-0.1, 0.1), verdict(np.nan, np.nan)
    ('Yes', 'No', 'Not shown', 'Not shown')
    """
    if low > 0:
        return "Yes"
    return "No" if high < 0 else "Not shown"


def with_intervals(
    table: pd.DataFrame, base: str = "", value: str = "iou", form: str = ".3f", way: str = "way"
) -> pd.DataFrame:
    """A table of `comparison.compare_ways` with means and differences as texts, each with its
    interval.

    base: the way that all are compared with, and which has no difference. value, way: columns of
    the table.
    """
    means = [with_interval(*of, form) for of in table[[value, "low", "high"]].to_numpy()]
    changes = [with_interval(*of, f"+{form}") for of in table[CHANGE].to_numpy()]
    texts = {value: means, "difference": np.where(table[way] == base, "", changes)}
    return table.assign(**texts).drop(columns=["low", "high", *CHANGE[1:]])


def differences_table(table: pd.DataFrame, way: str) -> Shown:
    """A line per way, task and model: differences after each click, with intervals where there are
    any.

    table: of `comparison.compare_ways` by task, model, level and click.
    """
    keys, lines = [way, "task", "model", "level"], []
    for key, of_one in table.groupby(keys, sort=False):
        line = dict(zip(keys, key, strict=True)) | of_one[["patients", "objects"]].iloc[0].to_dict()
        for click, *point in of_one[["click", *CHANGE]].itertuples(index=False):
            line[f"Δ IoU@{click}"] = with_interval(*point, "+.3f")
        lines.append(line)
    return show.table(pd.DataFrame(lines))


FEW_TASKS = 5
"""So many tasks have a value each in a sentence; of more the mean is told."""


def answer(rows: pd.DataFrame) -> Shown:
    """Return each model's mean IoU with one click and with the last, one sentence for each model.

    Tasks of one dataset are told one by one, because a mean over unlike objects, such as a spinal
    cord and its grey matter, is the IoU of neither; with three tasks or more only the first
    model's, because all would be a table. Of more than FEW_TASKS the mean is told.
    """
    means = mean_curves(rows)
    last = int(means["click"].max())
    if 2 < means["task"].nunique() <= FEW_TASKS:
        means = means[means["model"] == means["model"].iloc[0]]
    sentences = []
    for (level, model), curve in means.groupby(["level", "model"], sort=False):
        ends = [_values(rows, curve, model, click) for click in dict.fromkeys((1, last))]
        text = f"**{model}** reaches a mean IoU of {ends[0]} with one click"
        text += f" and of {ends[1]} with {last}" if last > 1 else ""
        scopes = [level_text(level, curve["task"])]
        if (tasks := curve["task"].nunique()) > FEW_TASKS:
            scopes.append(mean_of_tasks(tasks))
        sentences.append((text, scopes))
    return show.answer(*sentences)


def mean_of_tasks(tasks: int) -> str:
    """Return in words what a mean over tasks holds for.

    >>> mean_of_tasks(2)
    'mean of 2 tasks, every task weighing the same'
    """
    return f"mean of {plural(tasks, 'task')}, every task weighing the same"


def _values(rows: pd.DataFrame, curve: pd.DataFrame, model: str, click: int) -> str:
    """Return a model's mean IoU after a click, of each task, or over many, with intervals."""
    at = curve[curve["click"] == click]
    if len(at) > FEW_TASKS:
        of_model = rows[rows["model"] == model]
        mean = mean_over_tasks(by_object(of_model, [click]))
        return f"**{mean['iou']:.2f}**{_interval(mean)}"
    name = "" if len(at) == 1 else " ({})"
    values = [
        f"**{line['iou']:.2f}**{name.format(line['task'].split(': ')[-1])}{_interval(line)}"
        for _, line in at.iterrows()
    ]
    return in_a_row(values)


def patients_note(rows: pd.DataFrame) -> Shown:
    """Return that intervals may be too narrow, where every real image counts as a patient."""
    images = rows[["dataset", "case_id", "patient_id"]].drop_duplicates()
    counted = len(images[["dataset", "patient_id"]].drop_duplicates())
    if counted < len(images) or counted < FEWEST or set(rows["level"]) == {"demo"}:
        return show.NOTHING
    return show.paragraphs(
        f"**Each of the {counted} images counts as a patient.** If some are of one patient, the "
        "intervals are too narrow."
    )


def in_a_row(texts: Sequence[str]) -> str:
    """Join texts as a sentence does.

    >>> in_a_row(["a"]), in_a_row(["a", "b"]), in_a_row(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([*([", ".join(texts[:-1])] if texts[:-1] else []), *texts[-1:]])


def _interval(point: pd.Series) -> str:
    """The 95 % interval in words, nothing where there is none."""
    return (
        f" (95 % interval {point['low']:.2f} to {point['high']:.2f})"
        if point[["low", "high"]].notna().all()
        else ""
    )


def results_table(table: pd.DataFrame) -> Shown:
    """Return a summary as a table, with NoC@80 and its misses in one column, and the study's lines.

    table: of `statistics.summary`.
    """
    table = table.copy()
    levels = zip(table["level"], table["task"], strict=True)
    table["level"] = [
        level_text(level, [task]) if task in BY_A_MODEL else level for level, task in levels
    ]
    missed = table.pop("missed")
    table["NoC@80 (never)"] = [
        f"{n:.1f} ({m:.0%})" for n, m in zip(table.pop("NoC@80"), missed, strict=True)
    ]
    for task in table["task"].unique():
        for method, curve in published.task_curves(task).groupby("method", sort=False):
            values = {
                f"IoU@{click}": iou for click, iou in zip(curve["click"], curve["iou"], strict=True)
            }
            line = {"task": task, "model": method, "level": "published"}
            line |= {name: values.get(name) for name in table.columns if name.startswith("IoU@")}
            table = pd.concat([table, pd.DataFrame([line])], ignore_index=True)
    return show.table(table, fold=False)
