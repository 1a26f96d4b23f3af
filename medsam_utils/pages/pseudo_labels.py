"""What the page on pseudo-labels shows: a U-Net before and after, and the labels that it learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML

from ..case import BadCaseError, BadInputError, Case, CaseReference
from ..comparison import compare
from ..datasets import Dataset
from ..fine_tuning import split_by_patient
from ..metrics import iou
from ..models import Model, load_model
from .figures import LEVELS
from .page import numbers_table
from .runs import usable_device


def divided(
    references: Sequence[CaseReference], held_out: float, labelled: float, seed: int
) -> dict[str, list[CaseReference]]:
    """Cases with masks to learn from, cases without, and cases to test on; no patient is in two of them.

    held_out: share of the patients to test on. labelled: share of the others whose masks are used. Raises
    BadInputError unless each part has a patient.
    """
    learn, test = split_by_patient(references, held_out, seed)
    unlabelled, labelled_ones = split_by_patient(learn, labelled, seed)
    return {"labelled": labelled_ones, "unlabelled": unlabelled, "test": test}


def helper(models: str, checkpoint: str, device: str, case: Case) -> tuple[Model, list[str]]:
    """The first of the models, given by name with spaces between, and notes on what could not be had.

    case: what it is tried on. A model that cannot be had becomes a note, and sam_small stands in.
    """
    usable, notes = usable_device(device)
    name = models.split()[0]
    try:
        model = load_model(name, checkpoint or None, usable)
        model.encode(case.image)
    except BadInputError as error:
        notes.append(f"{name} is not on this page, sam_small stands in: {error}")
        model = load_model("sam_small", device=usable)
    return model, notes


def load(dataset: Dataset, class_name: str, references: Sequence[CaseReference]) -> list[Case]:
    """The cases of the references that can be used and have an object of the class."""
    cases = []
    for reference in references:
        try:
            case = dataset.load(reference, class_name)
        except BadCaseError:
            continue
        if case.masks[class_name].any():
            cases.append(case)
    return cases


def scores(
    dataset: Dataset, class_name: str, cases: Sequence[Case], masks: Mapping[str, Sequence[np.ndarray]]
) -> pd.DataFrame:
    """Rows of masks that no one prompted, click 0: one per case and way to get a mask.

    masks: way -> bool H x W of each case. Columns as `comparison.compare` reads them.
    """
    return pd.DataFrame(
        {"task": dataset.tasks[class_name], "model": way, "level": dataset.level, "click": 0}
        | {"case_id": case.case_id, "patient_id": case.patient_id, "iou": iou(mask, case.masks[class_name])}
        for way, of_way in masks.items()
        for case, mask in zip(cases, of_way, strict=True)
    )


def against(rows: pd.DataFrame, first: str) -> pd.DataFrame:
    """Mean IoU of each way, and its paired difference to the way `first` with the 95 % interval.

    Columns: way, level, objects, patients, IoU, difference, low, high.
    """
    before = rows[rows["model"] == first]
    lines = []
    for way, of_way in rows.groupby("model", sort=False):
        line = {"way": way, "level": of_way["level"].iloc[0], "objects": len(of_way)}
        line |= {"patients": of_way["patient_id"].nunique(), "IoU": of_way["iou"].mean()}
        if way != first:
            line |= compare(before, of_way).iloc[0][["difference", "low", "high"]].to_dict()
        lines.append(line)
    return pd.DataFrame(lines)


def answer(labels: pd.DataFrame, tested: pd.DataFrame, way: str) -> HTML:
    """Whether SAM made the labels better and the network that learns from them, each as its interval allows.

    labels, tested: as `against` gives them. way: the line of both that SAM has refined.
    """
    parts = []
    for whose, table in (("The pseudo-labels", labels), ("The network on held-out patients", tested)):
        line = table[table["way"] == way].iloc[0]
        known, verb = np.isfinite(line["low"]), "changes, by too few patients to tell,"
        if known:
            sides = {1: "gets better", -1: "gets worse", 0: "changes by no more than chance may"}
            verb = sides[int(line["low"] > 0) - int(line["high"] < 0)]
        verb = verb.replace("gets", "get").replace("changes", "change") if "labels" in whose else verb
        ends = f" (95 % interval {line['low']:+.2f} to {line['high']:+.2f})" if known else ""
        first = table["IoU"].iloc[0]
        parts.append(
            f"{whose} {verb}: <strong>{line['difference']:+.2f}</strong> IoU{ends}, from {first:.2f} to "
            f"{line['IoU']:.2f}, {line['patients']} patients ({LEVELS[line['level']]})"
        )
    return HTML(f'<p class="medsam-answer">{"; ".join(parts)}.</p>')


def table(lines: pd.DataFrame) -> HTML:
    """The ways and what each is worth."""
    return numbers_table(lines)
