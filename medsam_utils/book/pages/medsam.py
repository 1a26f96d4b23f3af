"""MedSAM with SAM's preprocessing and with its own: what the difference is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from ...clicks import PAPER
from ...comparison import compare_ways
from ...datasets import Dataset
from ...statistics import GROUP, by_object, mean_over_tasks
from .. import show
from ..runs import Runs, evaluate_models
from ..show import LEVELS, Shown
from . import page

PREPARATIONS = {"as SAM": "medsam_vit_b", "as trained": "medsam_as_trained"}
"""How an image is prepared -> the model of the registry that does it so."""
PROMPTS = {"one click": "clicks", "a box": "box_all"}
"""A first prompt in words -> `Protocol.prompt`."""


def evaluate_both(
    datasets: Sequence[Dataset], checkpoint: str, max_cases: int = 0, compute: str = ""
) -> dict[tuple[str, str], Runs]:
    """Return the runs of MedSAM's weights for every first prompt and preparation.

    checkpoint: its weights file; empty: there are none. The mask is SAM's single one, which MedSAM
    was trained to give.
    """
    if not checkpoint:
        return {}
    return {
        (prompt, preparation): evaluate_models(
            datasets,
            name,
            checkpoint,
            replace(PAPER, prompt=mode, mask_choice="single"),
            1,
            max_cases,
            compute,
        )
        for prompt, mode in PROMPTS.items()
        for preparation, name in PREPARATIONS.items()
    }


def differences(runs: dict[tuple[str, str], Runs]) -> pd.DataFrame:
    """Return the IoU of each preparation, and its difference to SAM's, object by object.

    runs: of `evaluate_both`. Columns: those of `comparison.compare_ways` by task, model, level and
    prompt, the way being the preparation. Empty where MedSAM could not be had.
    """
    objects = _objects(runs)
    if objects.empty:
        return objects
    return compare_ways(objects, "as SAM", [*GROUP, "prompt"], "preparation")


def _objects(runs: dict[tuple[str, str], Runs]) -> pd.DataFrame:
    """Return the IoU of every object under every prompt and preparation.

    Rows of models that stand in for MedSAM are none of these.
    """
    parts = []
    for (prompt, preparation), one in runs.items():
        rows = one.rows
        rows = rows[rows["model"].str.startswith(PREPARATIONS[preparation])]
        rows = rows.assign(model="MedSAM")  # its name tells the preparation, which is the way here
        if len(rows):
            parts.append(by_object(rows).assign(prompt=prompt, preparation=preparation))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def section(runs: dict[tuple[str, str], Runs]) -> Shown:
    """Return the part of a page on MedSAM's two preparations; nothing where no weights are given.

    runs: of `evaluate_both`.
    """
    if not runs:
        return show.NOTHING
    title = show.heading("MedSAM, as it was trained and as SAM")
    text = show.paragraphs(
        "SAM pads an image to a square and takes the pixels as they are. MedSAM was trained on "
        "images that are squashed to a square, whose darkest value is 0 and whose brightest is 1, "
        "with a box and one mask. The same weights, both ways, object by object, with 95 % "
        "intervals (patients resampled)."
    )
    table = differences(runs)
    if table.empty:
        notes = dict.fromkeys(note for one in runs.values() for note in one.notes)
        missing = show.paragraphs(*(note for note in notes if note.startswith("medsam")))
        return title + show.paragraphs("It could not be measured.") + missing
    shown = page.with_intervals(table, "as SAM", way="preparation")
    shown = shown.assign(level=shown["level"].map(LEVELS))
    return title + answer(runs) + text + show.table(shown.drop(columns="model"))


def answer(runs: dict[tuple[str, str], Runs]) -> Shown:
    """Return what preparing images as in MedSAM's training changes, a sentence for each prompt."""
    objects, sentences = _objects(runs), []
    for (level, prompt), of_prompt in objects.groupby(["level", "prompt"], sort=False):
        keys = ["task", "level", "case_id", "patient_id"]
        wide = of_prompt.pivot(index=keys, columns="preparation", values="iou").dropna()
        change = (wide["as trained"] - wide["as SAM"]).rename("difference").reset_index()
        mean = mean_over_tasks(change, "difference", within=(-1, 1))
        tasks = page.plural(int(mean["tasks"]), "task")
        told = page.change(*mean[["difference", "low", "high"]])
        means = wide.groupby("task").mean().mean()
        ends = f"from **{means['as SAM']:.2f}** to **{means['as trained']:.2f}**"
        scope = f"mean of {tasks}, every task weighing the same; {LEVELS[level]}"
        sentences.append(f"With {prompt} MedSAM as trained {told}, {ends} ({scope})")
    return show.answer(*sentences)
