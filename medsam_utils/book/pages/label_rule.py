"""The label rule on tasks with several classes: do wrong labels explain why clicks stop helping?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ... import plots, published
from ...comparison import paired_differences
from ...datasets import Dataset
from ...statistics import interval, iou_by_click, patient_ids
from .. import show
from ..runs import Runs
from ..show import LEVELS, Shown
from .page import plural

RULES = ("object", "foreground")
"""Values of `Protocol.label`: Algorithm 1's, and the released code's."""
POSITIVE = "positive inside: "
RULE_TEXT = {"object": "this object", "foreground": "any labelled pixel"}
"""Where a click is positive under each rule."""

MULTI_CLASS = (
    *("MRI-Brain: Core", "MRI-Brain: Edema", "MRI-Brain: GD", "Xray-Hip: Femur", "Xray-Hip: Ilium"),
    *(f"CT-Organ: {organ}" for organ in ("Liver", "Bladder", "Lung", "Kidney", "Bone")),
)
"""The published tasks whose label maps hold several classes, so that the released label rule can
matter."""


def wrong_labels(dataset: Dataset, rows: pd.DataFrame) -> pd.Series:
    """Return which rows of a run with label=foreground have a click that Algorithm 1 would have
    labelled otherwise.

    Such a click is positive and lies outside its object, on another class. Index as the rows'.
    """
    references = {reference.case_id: reference for reference in dataset.list().references}
    class_of = {task: name for name, task in dataset.tasks.items()}
    wrong = pd.Series(False, index=rows.index)
    for case_id, case_rows in rows.groupby("case_id", sort=False):
        masks = dataset.load(references[case_id]).masks
        clicked = case_rows[case_rows["positive"] & (case_rows["row"] >= 0)]
        for index, row in clicked.iterrows():
            wrong[index] = not masks[class_of[row["task"]]][row["row"], row["col"]]
    return wrong


def _several_classes(paper: Runs, foreground: Runs, model: str) -> list[str]:
    """Return the datasets of several classes on which a model was run under both rules."""
    return [
        name
        for name, dataset in paper.datasets.items()
        if len(dataset.tasks) > 1
        and (name, model) in paper.tables
        and (name, model) in foreground.tables
    ]


def _model_rows(runs: Runs, names: list[str], model: str) -> pd.DataFrame:
    """Return the rows of some datasets under a model."""
    return pd.concat([runs.tables[name, model] for name in names], ignore_index=True)


def summary(paper: Runs, foreground: Runs) -> pd.DataFrame:
    """Return the label rule's effect per model, over the tasks of datasets with several classes.

    Columns: model, level, tasks, patients, wrong (share of clicks labelled otherwise), touched
    (share of objects with such a click), IoU@4 (with four clicks or fewer: IoU@1) and IoU@N under
    both rules (every task weighing the same), and the mean difference of IoU@N over objects, with
    its 95 % interval and over the touched objects alone.
    """
    lines = []
    for model in paper.models:
        names = _several_classes(paper, foreground, model)
        if not names:
            continue
        rows = [_model_rows(runs, names, model) for runs in (paper, foreground)]
        wrong = [
            wrong_labels(foreground.datasets[name], foreground.tables[name, model])
            for name in names
        ]
        marked = rows[1].assign(wrong=pd.concat(wrong, ignore_index=True))
        objects = ["task", "level", "case_id", "patient_id"]
        touched = marked.groupby(objects, sort=False)["wrong"].any()
        differences = paired_differences(*rows)
        last = differences.columns[-1]
        final = differences[last]
        dataset_of_task = final.index.get_level_values("task").str.split(":").str[0]
        patients = dataset_of_task + "/" + patient_ids(differences)
        low, high = interval(final.to_numpy()[:, None], patients.to_numpy(), within=(-1, 1))[:, 0]
        line = {"model": model, "level": marked["level"].iloc[0], "tasks": marked["task"].nunique()}
        line["patients"] = patients.nunique()
        line["wrong"] = marked.loc[marked["row"] >= 0, "wrong"].mean()
        line["touched"] = touched.mean()
        for rule, rule_rows in zip(RULES, rows, strict=True):
            means = iou_by_click(rule_rows).groupby("task").mean().mean()
            line |= {f"IoU@{click}, {rule}": means[click] for click in (_middle(last), last)}
        line |= {"difference": final.mean(), "low": low, "high": high}
        line["difference, touched"] = final[touched.reindex(final.index).to_numpy()].mean()
        lines.append(line)
    return pd.DataFrame(lines)


def _middle(last: int) -> int:
    """Return the click after which the study's SAM falls on tasks with several classes, if more
    were made."""
    return 4 if last > 4 else 1


def answer(effect: pd.DataFrame) -> Shown:
    """Return whether wrong labels lower the IoU in this run, per model, in words that follow from
    the interval.

    effect: of `summary`.
    """
    if effect.empty:
        return show.paragraphs("No dataset here has several classes.")
    return show.bullets(_verdict(line) for line in effect.to_dict("records"))


def _verdict(line: dict) -> str:
    """Return what the summary says of one model."""
    first, last = sorted({int(name[4:].split(",")[0]) for name in line if name.startswith("IoU@")})
    gains = [line[f"IoU@{last}, {rule}"] - line[f"IoU@{first}, {rule}"] for rule in RULES]
    patients = plural(line["patients"], "patient")
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
    return (
        f"**{line['model']}** ({LEVELS[line['level']]}): {verdict}. {line['wrong']:.0%} of the "
        f"clicks get another label, {line['touched']:.0%} of the objects at least one such click. "
        f"The mean IoU after {last} clicks changes by {line['difference']:+.3f} "
        f"({ends}){touched if line['touched'] else ''}. From click {first} to {last} the mean over "
        f"tasks moves by {gains[0]:+.3f} under the algorithm's rule and by {gains[1]:+.3f} under "
        "the code's."
    )


def means(paper: Runs, foreground: Runs) -> pd.DataFrame:
    """Return the mean IoU over the tasks of datasets with several classes, every task weighing the
    same.

    Columns: model, level, tasks (how many), rule, click, iou.
    """
    parts = []
    for model in paper.models:
        names = _several_classes(paper, foreground, model)
        for rule, runs in zip(RULES, (paper, foreground), strict=True):
            if names:
                rows = _model_rows(runs, names, model)
                mean = iou_by_click(rows).groupby("task").mean().mean()
                part = pd.DataFrame({"click": mean.index, "iou": mean.to_numpy()})
                level, tasks = rows["level"].iloc[0], rows["task"].nunique()
                parts.append(part.assign(model=model, level=level, tasks=tasks, rule=rule))
    columns = ["model", "level", "tasks", "rule", "click", "iou"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def published_means() -> pd.DataFrame:
    """Return the study's mean IoU over its tasks with several classes, and over the others.

    Columns: model, level ("published"), line (which tasks), click, iou.
    """
    study = published.curves()
    kinds = np.where(study["task"].isin(MULTI_CLASS), "10 multi-class tasks", "18 binary tasks")
    by = ["model", "level", "line", "click"]
    table = study.assign(line=kinds).groupby(by, sort=False, as_index=False)["iou"].mean()
    return table.sort_values(["line", "click"], kind="stable")


def curves(means: pd.DataFrame) -> Shown:
    """Return mean IoU against clicks under both label rules, per model; beside them the study's
    tasks by kind.

    means: of `means`.
    """
    titles = [f"{m}, {n} tasks" for m, n in zip(means["model"], means["tasks"], strict=True)]
    ours = means.assign(title=titles, line=POSITIVE + means["rule"].map(RULE_TEXT))
    study = published_means()
    both = pd.concat([ours, study.assign(title=study["model"])])
    kind = "Line plot of the mean IoU over tasks against clicks"
    return show.panels(both, ["title", "level"], kind, _draw)


def _draw(axes: Axes, curves: pd.DataFrame) -> str:
    """Draw means over tasks, a line each; returns their values in words."""
    dashed = curves["level"].iloc[0] == "published"
    plots.lines(axes, curves, list(curves["line"].unique()), dashed)
    found = []
    for name, curve in curves.groupby("line", sort=False):
        iou = curve.set_index("click")["iou"]
        last = int(iou.index[-1])
        shown = sorted({1, _middle(last), last})
        values = ", ".join(f"{iou[click]:.2f} at {click}" for click in shown)
        found.append(f"{name.removeprefix(POSITIVE)}: {values}")
    return "; ".join(found)
