"""The label rule on tasks with several classes: do wrong labels explain why clicks stop helping?"""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from ... import plots, published
from ...comparison import paired_differences
from ...datasets import Dataset
from ...statistics import interval, iou_by_click, patient_ids
from . import figures
from .figures import LEVELS
from .runs import Runs

RULES = ("object", "foreground")
"""Values of `Protocol.label`: Algorithm 1's, and the released code's."""

MULTI_CLASS = (
    *("MRI-Brain: Core", "MRI-Brain: Edema", "MRI-Brain: GD", "Xray-Hip: Femur", "Xray-Hip: Ilium"),
    *(f"CT-Organ: {organ}" for organ in ("Liver", "Bladder", "Lung", "Kidney", "Bone")),
)
"""The published tasks whose label maps hold several classes, so that the released label rule can
matter."""


def wrong_labels(dataset: Dataset, rows: pd.DataFrame) -> pd.Series:
    """Which rows of a run with label=foreground have a click that Algorithm 1 would have labelled
    otherwise.

    Such a click is positive and lies outside its object, on another class. Index as the rows'.
    """
    task_classes = dataset.task_classes
    wrong = pd.Series(False, index=rows.index)
    for case_id, of_case in rows.groupby("case_id", sort=False):
        masks = dataset.load(case_id).masks
        clicked = of_case[of_case["positive"] & (of_case["row"] >= 0)]
        for index, row in clicked.iterrows():
            wrong[index] = not masks[task_classes[row["task"]]][row["row"], row["col"]]
    return wrong


def summary(paper: Runs, foreground: Runs) -> pd.DataFrame:
    """The label rule's effect per model, over the tasks of datasets with several classes.

    Columns: model, level, tasks, patients, wrong (share of clicks labelled otherwise), touched
    (share of objects with such a click), IoU@4 (with four clicks or fewer: IoU@1) and IoU@N under
    both rules (every task weighing the same), and the mean difference of IoU@N over objects, with
    its 95 % interval and over the touched objects alone.
    """
    lines = []
    several = [name for name, dataset in paper.datasets.items() if len(dataset.tasks) > 1]
    for model in paper.models:
        names = [
            name
            for name in several
            if (name, model) in paper.tables and (name, model) in foreground.tables
        ]
        if not names:
            continue
        by_rule = [
            pd.concat([runs.tables[name, model] for name in names]) for runs in (paper, foreground)
        ]
        rows = [foreground.tables[name, model] for name in names]
        wrong = [
            wrong_labels(foreground.datasets[n], of_n) for n, of_n in zip(names, rows, strict=True)
        ]
        marked = pd.concat(
            [r.assign(wrong=w) for r, w in zip(rows, wrong, strict=True)], ignore_index=True
        )
        objects = ["task", "level", "case_id", "patient_id"]
        touched = marked.groupby(objects, sort=False)["wrong"].any()
        differences = paired_differences(*by_rule)
        last = differences.columns[-1]
        final = differences[last]
        patients = (
            final.index.get_level_values("task").str.split(":").str[0]
            + "/"
            + patient_ids(differences)
        )
        low, high = interval(final.to_numpy()[:, None], patients.to_numpy(), within=(-1, 1))[:, 0]
        line = {"model": model, "level": marked["level"].iloc[0], "tasks": marked["task"].nunique()}
        line |= {
            "patients": patients.nunique(),
            "wrong": marked.loc[marked["row"] >= 0, "wrong"].mean(),
        }
        line["touched"] = touched.mean()
        for rule, of_rule in zip(RULES, by_rule, strict=True):
            means = iou_by_click(of_rule).groupby("task").mean().mean()
            line |= {f"IoU@{click}, {rule}": means[click] for click in (_middle(last), last)}
        line |= {"difference": final.mean(), "low": low, "high": high}
        line["difference, touched"] = final[touched.reindex(final.index).to_numpy()].mean()
        lines.append(line)
    return pd.DataFrame(lines)


def _middle(last: int) -> int:
    """The click after which the study's SAM falls on tasks with several classes, if more were
    made."""
    return 4 if last > 4 else 1


def answer(table: pd.DataFrame) -> HTML:
    """Whether wrong labels lower the IoU in this run, per model, in words that follow from the
    interval."""
    parts = []
    for line in table.to_dict("records"):
        first, last = sorted(
            {int(name[4:].split(",")[0]) for name in line if name.startswith("IoU@")}
        )
        gains = [line[f"IoU@{last}, {rule}"] - line[f"IoU@{first}, {rule}"] for rule in RULES]
        patients = "1 patient" if line["patients"] == 1 else f"{line['patients']} patients"
        ends = f"95 % interval {line['low']:+.3f} to {line['high']:+.3f}, {patients}"
        if line["touched"] == 0:
            verdict, ends = "no click lay on another class, so the rule changed nothing", patients
        elif not np.isfinite(line["low"]):
            verdict, ends = "too few patients to tell", patients
        elif line["high"] < 0:
            verdict = "wrong labels do lower the IoU"
        elif line["low"] > 0:
            verdict = "wrong labels raise the IoU"
        else:
            verdict = "no effect that these images can show"
        touched = f", that of the objects with such a click by {line['difference, touched']:+.3f}"
        parts.append(
            f"<li><strong>{escape(line['model'])}</strong> ({LEVELS[line['level']]}): {verdict}. "
            f"{line['wrong']:.0%} of the clicks get another label, {line['touched']:.0%} of the "
            f"objects at least one such click. The mean IoU after {last} clicks changes by "
            f"{line['difference']:+.3f} ({ends}){touched if line['touched'] else ''}. From click "
            f"{first} to {last} the mean over tasks moves by {gains[0]:+.3f} under the algorithm's "
            f"rule and by {gains[1]:+.3f} under the code's.</li>"
        )
    return HTML(
        f"<ul>{''.join(parts)}</ul>" if parts else "<p>No dataset here has several classes.</p>"
    )


def curves(paper: Runs, foreground: Runs) -> HTML:
    """Mean IoU against clicks under both label rules, per model; beside them the study's tasks by
    kind."""
    several = [name for name, dataset in paper.datasets.items() if len(dataset.tasks) > 1]
    panels = []
    for model in paper.models:
        lines = []
        for name, runs in (("this object", paper), ("any labelled pixel", foreground)):
            rows = pd.concat(
                [
                    runs.tables[dataset, model]
                    for dataset in several
                    if (dataset, model) in runs.tables
                ]
            )
            mean = iou_by_click(rows).groupby("task").mean().mean()
            lines.append(pd.DataFrame({"line": name, "click": mean.index, "iou": mean.to_numpy()}))
        level = LEVELS[rows["level"].iloc[0]]
        title = f"{model}, {rows['task'].nunique()} tasks · {level}"
        panels.append(_mean_panel(pd.concat(lines), title, "positive inside: "))
    study = published.click_table()
    kinds = np.where(study["task"].isin(MULTI_CLASS), "10 multi-class tasks", "18 binary tasks")
    for method, of_method in study.assign(line=kinds).groupby("method", sort=False):
        mean = of_method.groupby(["line", "click"], as_index=False)["iou"].mean()
        panels.append(_mean_panel(mean, f"{method} · published", "", dashed=True))
    return HTML(figures.row(panels))


def _mean_panel(curves: pd.DataFrame, title: str, prefix: str, dashed: bool = False) -> str:
    """Curves of means over tasks, one line each."""
    names = list(curves["line"].unique())
    drawing, axes = plots.new_figure(3.6, 3.2)
    plots.lines(
        axes, curves.assign(line=prefix + curves["line"]), [prefix + name for name in names], dashed
    )
    found = []
    for name, curve in curves.groupby("line", sort=False):
        iou = curve.set_index("click")["iou"]
        last = int(iou.index[-1])
        values = ", ".join(
            f"{iou[click]:.2f} at {click}" for click in sorted({1, _middle(last), last})
        )
        found.append(f"{name}: {values}")
    kind = "Line plot of the mean IoU over tasks against clicks"
    return figures.panel(drawing, axes, title, kind, "; ".join(found))
