"""What every page shows: banner, answer, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ... import published
from ...comparison import CHANGE
from ...datasets import Dataset
from ...models import Model
from ...statistics import iou_by_click, mean_curves
from .. import show
from ..show import Shown
from .figures import BY_A_MODEL, level_text


def banner(datasets: Sequence[Dataset], models: Mapping[str, Model], notes: list[str]) -> Shown:
    """Return what the numbers of a page must not be taken for; empty if there is nothing to say.

    notes: what was asked for and could not be had, such as a model whose weights are missing.
    """
    boxes = []
    if drawn := [dataset.title for dataset in datasets if dataset.level == "demo"]:
        whose = "" if len(drawn) == len(datasets) else f" that stand for {', '.join(drawn)}"
        form = "each dataset's own file format"
        if len(drawn) == 1:
            form = f"the file format of {drawn[0]}"
        text = (
            f"The images of this page{whose} are **phantoms**: a program drew and wrote them in "
            f"{form}, so that every step runs as on real files. The numbers show that the method "
            "works, and nothing about patients. With the real files the same page measures them: "
            "`make book DATA=folder`."
        )
        boxes.append(show.box("warning", "Demo: these are not medical images", text))
    if made := [dataset for dataset in datasets if dataset.passport.masks_by]:
        by = "; ".join(f"{dataset.title}: {dataset.passport.masks_by}" for dataset in made)
        text = (
            "The images are real, but what counts as the truth here was not drawn by a person "
            f"({by}). It is a **silver standard**: where a model differs from it, either one "
            "may be wrong."
        )
        boxes.append(show.box("note", "Masks made by a model", text))
    if small := [name for name in models if name.startswith(("sam_small", "ritm_small"))]:
        names = " and ".join(f"`{name}`" for name in small)
        title = f"{' and '.join(small)}: stand-ins, not the released models"
        text = (
            f"This project trained {names} on drawings alone, small networks built as SAM and RITM "
            "are. Their numbers are not those of the released models; for these, "
            '`make book MODELS="sam_vit_h ritm_h32"`.'
        )
        boxes.append(show.box("note", title, text))
    boxes += [show.box("attention", "Not as asked", note) for note in notes]
    return show.joined(boxes)


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
    ends = f" ({low:{form}} to {high:{form}})" if np.isfinite(low) else ""
    return f"{mean:{form}}{ends}"


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


def answer(rows: pd.DataFrame) -> Shown:
    """The page's question answered in one sentence, with the numbers and their level."""
    means = mean_curves(rows)
    last = int(means["click"].max())
    parts = [_of_model(model, curve, last) for model, curve in means.groupby("model", sort=False)]
    counts = iou_by_click(rows).index.to_frame(index=False).groupby("model", sort=False).first()
    level = level_text(counts["level"].iloc[0], means["task"])
    of_tasks = means["task"].nunique()
    scope = (
        f"; each is the mean over {of_tasks} tasks, every task weighing the same"
        if of_tasks > 1
        else ""
    )
    return show.answer(f"{'; '.join(parts)} ({level}{scope})")


def _of_model(model: str, curve: pd.DataFrame, last: int) -> str:
    """One model's part of the answer."""
    mean = curve.groupby("click")["iou"].mean()
    text = f"**{model}** reaches a mean IoU of **{mean[1]:.2f}**"
    if curve["task"].nunique() == 1:
        text += _interval(curve[curve["click"] == 1].iloc[0])
    text += " with one click"
    if last > 1:
        text += f" and of **{mean[last]:.2f}**"
        if curve["task"].nunique() == 1:
            text += _interval(curve[curve["click"] == last].iloc[0])
        text += f" with {last}"
    return text


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
