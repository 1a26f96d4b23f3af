"""What every page shows: banner, answer, tables; each is HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from ... import published
from ...comparison import CHANGE
from ...datasets import Dataset
from ...models import Model
from ...statistics import iou_by_click, mean_curves, summary
from .figures import BY_A_MODEL, level_text


def banner(datasets: Sequence[Dataset], models: Mapping[str, Model], notes: list[str]) -> HTML:
    """Says first what the numbers of this page must not be taken for; empty if there is nothing to
    say.

    notes: what was asked for and could not be had, such as a model whose weights are missing.
    """
    boxes = []
    if drawn := [escape(dataset.title) for dataset in datasets if dataset.level == "demo"]:
        whose = "" if len(drawn) == len(datasets) else f" that stand for {', '.join(drawn)}"
        form = (
            f"the file format of {drawn[0]}"
            if len(drawn) == 1
            else "each dataset's own file format"
        )
        boxes.append(
            box(
                "warning",
                "Demo: these are not medical images",
                f"The images of this page{whose} are <strong>phantoms</strong>: a program drew and "
                f"wrote them in {form}, so that every step runs as on the real "
                "files. The numbers show that the method works, and nothing about patients. With "
                "the real files the same page measures them: <code>make book DATA=folder</code>.",
            )
        )
    if made := [dataset for dataset in datasets if dataset.passport.masks_by]:
        by = "; ".join(f"{escape(d.title)}: {escape(d.passport.masks_by)}" for d in made)
        boxes.append(
            box(
                "note",
                "Masks made by a model",
                "The images are real, but what counts as the truth here was made by a model "
                f"({by}). It is a <strong>silver standard</strong>: where a model differs from it, "
                "either of the two may be wrong.",
            )
        )
    if small := [name for name in models if name.startswith(("sam_small", "ritm_small"))]:
        names = " and ".join(f"<code>{escape(name)}</code>" for name in small)
        boxes.append(
            box(
                "note",
                f"{' and '.join(map(escape, small))}: stand-ins, not the released models",
                f"This project trained {names} on drawings alone, small networks built as SAM and "
                "RITM are. Their numbers are not those of the released models; for these, "
                '<code>make book MODELS="sam_vit_h ritm_h32"</code>.',
            )
        )
    boxes += [box("attention", "Not as asked", escape(note)) for note in notes]
    return HTML("".join(boxes))


def box(kind: str, title: str, text: str) -> str:
    """An admonition as the theme shows them; text is HTML."""
    return (
        f'<div class="admonition {kind}"><p class="admonition-title">{title}</p><p>{text}</p></div>'
    )


def sentence(*parts: str) -> HTML:
    """The answer at the top of a page, of one or several parts; parts are HTML."""
    return HTML(f'<p class="medsam-answer">{"; ".join(parts)}.</p>')


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
    """A mean paired difference in words that its 95 % interval allows; HTML.

    >>> change(0.1, 0.05, 0.2)
    'gains <strong>+0.10</strong> IoU (95 % interval +0.05 to +0.20)'
    >>> change(-0.1, -0.2, 0.05)
    'changes by no more than chance may, <strong>-0.10</strong> IoU (95 % interval -0.20 to +0.05)'
    >>> change(0.1, np.nan, np.nan)
    'changes, by too few patients to tell, by <strong>+0.10</strong> IoU'
    """
    mean = f"<strong>{difference:+.2f}</strong> {measure}"
    if not np.isfinite(low):
        return f"changes, by too few patients to tell, by {mean}"
    verb = "gains" if low > 0 else "loses" if high < 0 else "changes by no more than chance may,"
    return f"{verb} {mean} (95 % interval {low:+.2f} to {high:+.2f})"


def with_intervals(
    table: pd.DataFrame, base: str = "", value: str = "iou", form: str = ".3f", way: str = "way"
) -> pd.DataFrame:
    """A table of `comparison.against` with means and differences as texts, each with its interval.

    base: the way that all are compared with, and which has no difference. value, way: columns of
    the table.
    """
    means = [with_interval(*of, form) for of in table[[value, "low", "high"]].to_numpy()]
    changes = [with_interval(*of, f"+{form}") for of in table[CHANGE].to_numpy()]
    texts = {value: means, "difference": np.where(table[way] == base, "", changes)}
    return table.assign(**texts).drop(columns=["low", "high", *CHANGE[1:]])


def differences_table(table: pd.DataFrame, way: str) -> HTML:
    """A line per way, task and model: differences after each click, with intervals where there are
    any.

    table: of `comparison.against` by task, model, level and click.
    """
    keys, lines = [way, "task", "model", "level"], []
    for key, of_one in table.groupby(keys, sort=False):
        line = dict(zip(keys, key, strict=True)) | of_one[["patients", "objects"]].iloc[0].to_dict()
        for click, *point in of_one[["click", *CHANGE]].itertuples(index=False):
            line[f"Δ IoU@{click}"] = with_interval(*point, "+.3f")
        lines.append(line)
    return HTML(folded(pd.DataFrame(lines)))


def answer(rows: pd.DataFrame) -> HTML:
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
    return sentence(f"{'; '.join(parts)} ({level}{scope})")


def _of_model(model: str, curve: pd.DataFrame, last: int) -> str:
    """One model's part of the answer."""
    mean = curve.groupby("click")["iou"].mean()
    text = f"<strong>{escape(model)}</strong> reaches a mean IoU of <strong>{mean[1]:.2f}</strong>"
    if curve["task"].nunique() == 1:
        text += _interval(curve[curve["click"] == 1].iloc[0])
    text += " with one click"
    if last > 1:
        text += f" and of <strong>{mean[last]:.2f}</strong>"
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


def results_table(rows: pd.DataFrame) -> HTML:
    """Task by model: cases, patients, objects, mean IoU at 1, 3, 5 and 9 clicks, NoC@80 with its
    misses."""
    table = summary(rows)
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
    return numbers_table(table)


def numbers_table(table: pd.DataFrame) -> HTML:
    """A table that scrolls by itself where the screen is narrow."""
    counts = {
        name: lambda value: f"{value:.0f}"
        for name in ("cases", "patients", "objects")
        if name in table
    }
    text = table.to_html(
        index=False, border=0, na_rep="", float_format="%.3f", formatters=counts, classes="table"
    )
    return scrolling(text)


def folded(table: pd.DataFrame, most: int = 12) -> str:
    """A table of numbers; one of more than `most` lines is closed until it is clicked."""
    text = numbers_table(table).data
    return (
        f"<details><summary>{len(table)} lines</summary>{text}</details>"
        if len(table) > most
        else text
    )


def scrolling(table: str, kind: str = "") -> HTML:
    """A table that scrolls by itself; kind: further CSS classes."""
    attributes = f'class="medsam-table {kind}" role="group" aria-label="table" tabindex="0"'
    return HTML(f'<div {attributes} style="overflow-x:auto">{table}</div>')


def details(title: str, text: str) -> str:
    """A plain text that is closed until it is clicked."""
    return f"<details><summary>{title}</summary><pre>{escape(text)}</pre></details>"
