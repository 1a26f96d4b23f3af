"""What the page on pseudo-labels shows: its answer, and IoU and Dice of labels and networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...case import Case
from ...comparison import CHANGE
from ...statistics import means
from .. import show
from ..show import Shown
from . import figures, page


def answer(labels: pd.DataFrame, networks: pd.DataFrame, way: str) -> Shown:
    """Return what drawing labels anew does to them, and to a network that learns from them.

    labels, networks: of `comparison.compare_ways` by task and level; in both the base are the
    labels as the first network drew them. way: the name of the labels that were drawn anew.
    """
    sentences = []
    subjects = ("A label drawn anew", "A network that learns from the labels drawn anew")
    for subject, table in zip(subjects, (labels, networks), strict=True):
        line = table[table["way"] == way].iloc[0]
        before = line["iou"] - line[CHANGE[0]]
        verdict = page.verdict(*line[CHANGE[1:]])
        numbers = f"from {before:.2f} to {line['iou']:.2f}, {line['patients']} patients"
        level = figures.LEVELS[line["level"]]
        own = (
            "the network's own label"
            if table is labels
            else "one that learns from the network's own labels"
        )
        text = f"{verdict}: {subject.lower()} {page.change(*line[CHANGE])} against {own}, {numbers}"
        sentences.append((text, [level]))
    return show.answer(*sentences)


def measures(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return mean IoU and Dice of each way, with 95 % intervals.

    rows: whose masks, such as "labels" -> rows of `comparison.scores`. Columns: whose, level, way,
    measure, value, low, high, objects and patients.
    """
    parts = []
    for whose, scores in rows.items():
        for column, measure in (("iou", "IoU"), ("dice", "Dice")):
            part = means(scores, ["level", "way"], column).rename(columns={column: "value"})
            parts.append(part.assign(whose=whose, measure=measure))
    return pd.concat(parts, ignore_index=True)


def measures_figure(table: pd.DataFrame) -> Shown:
    """Return a point for each way and measure, labels and networks side by side.

    table: of `measures`.
    """

    def draw(axes: Axes, group: pd.DataFrame) -> str:
        ways = list(group["way"].unique())
        points = group.rename(columns={"way": "task", "measure": "line", "value": "iou"})
        plots.by_task(axes, points, ways, ["IoU", "Dice"])
        axes.set_xlabel("IoU, Dice")
        wide = group.pivot(index="way", columns="measure", values="value").loc[ways]
        texts = [
            f"{way}: IoU {line.IoU:.2f}, Dice {line.Dice:.2f}" for way, line in wide.iterrows()
        ]
        return "; ".join(texts)

    kind = "Points of IoU and Dice by way"
    return show.panels(table, ["whose", "level"], kind, draw, (4.8, 2.4), 380)


def sizes(cases: Mapping[str, Sequence[Case]]) -> Shown:
    """Return how many cases and patients each part has. cases: part -> its cases."""
    texts = []
    for part, part_cases in cases.items():
        patients = {case.patient_id for case in part_cases}
        texts.append(f"{len(part_cases)} {part} cases of {len(patients)} patients")
    return show.paragraphs(f"{', '.join(texts)}; no patient is in two of these.")
