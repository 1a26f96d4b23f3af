"""Ways through a volume, evaluated: a row for each object and way, and the summary of the rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..boxed_mask import BoxedMask
from ..case import BadInputError
from ..clicks import Protocol
from ..comparison import compare_ways
from ..datasets import Dataset
from ..models import Model
from ..run_record import versions
from .propagation import (
    Propagation,
    SliceMask,
    VolumeObject,
    click_slices,
    prompted_slices,
    propagate,
    propagate_by_memory,
    volume_objects,
)

EVERY_SLICE = "every slice"  # the way that propagates nothing: Algorithm 1 in each slice
MEMORY = "memory"  # the way of a model that `tracks`, which says by itself where the object ends
STOP_RULES = ("never", "predicted IoU", "area", "both")
SETTING = ["way", "stop", "round"]
"""Columns that tell apart what was done in the same volume."""


@dataclass(frozen=True)
class Plan:
    """What is done in every volume, besides MEMORY by a model that has one.

    ways: of `Propagation`, what of a slice's mask prompts the next. stop: of STOP_RULES, the one
    under which further rounds are made; all four are tried with one slice prompted. least_iou,
    most_change: as for `Propagation`. clicks: in each slice that is prompted. rounds: of further
    prompts, each in the middle of every gap. beyond, max_volumes: as for `volume_objects`.

    Raises BadInputError for an unknown stop rule.
    """

    ways: tuple[str, ...]
    stop: str = "area"
    least_iou: float = 0.5
    most_change: float = 2.0
    clicks: int = 3
    rounds: int = 2
    beyond: int = 3
    max_volumes: int = 0

    def __post_init__(self) -> None:
        if self.stop not in STOP_RULES:
            raise BadInputError(f"stop {self.stop!r} is unknown: choose {', '.join(STOP_RULES)}")

    def propagation(self, way: str, stop: str) -> Propagation:
        """Return a way under a stop rule."""
        least_iou = self.least_iou if stop in ("predicted IoU", "both") else 0.0
        most_change = self.most_change if stop in ("area", "both") else np.inf
        return Propagation(way, least_iou, most_change)

    @property
    def settings(self) -> list[tuple[str, str]]:
        """Every way and stop rule, the rule that was asked for first."""
        rules = sorted(STOP_RULES, key=lambda rule: rule != self.stop)
        return [(way, rule) for rule in rules for way in self.ways]

    def masks(
        self,
        model: Model,
        embeddings: Sequence[Any],
        prompted: Mapping[int, SliceMask],
        way: str,
        stop: str,
    ) -> list[BoxedMask]:
        """Return the mask of every slice under a way and a stop rule.

        prompted: slice -> its mask.
        """
        if way == MEMORY:
            return propagate_by_memory(model, embeddings, prompted)
        return propagate(model, embeddings, prompted, self.propagation(way, stop))


def segment(
    volume: VolumeObject, model: Model, protocol: Protocol, plan: Plan
) -> Iterator[tuple[dict[str, Any], list[BoxedMask]]]:
    """Yield what was done in a volume, and the mask of every slice.

    What was done: way, stop, round, prompted (slices) and spent (clicks in all of them).
    """
    embeddings = [model.encode(case.image) for case in volume.cases]
    answers = click_slices(volume, model, embeddings, protocol, plan.clicks)
    areas = [truth.area for truth in volume.truths]
    empty = BoxedMask.from_mask(np.zeros(volume.cases[0].image.shape[:2], bool))
    for n in range(plan.clicks):  # the rounds of this way are clicks
        done = {"way": EVERY_SLICE, "stop": "", "round": n}
        done |= {"prompted": len(answers), "spent": len(answers) * (n + 1)}
        yield done, [answers[i][n][0] if i in answers else empty for i in range(len(areas))]
    for way, stop in [*plan.settings, *([(MEMORY, "")] if model.tracks else [])]:
        for n in range(1 + (plan.rounds if stop in (plan.stop, "") else 0)):
            places = prompted_slices(areas, n)
            done = {"way": way, "stop": stop, "round": n}
            done |= {"prompted": len(places), "spent": len(places) * plan.clicks}
            prompts = {i: answers[i][-1] for i in places}
            yield done, plan.masks(model, embeddings, prompts, way, stop)


def evaluate_volumes(
    dataset: Dataset, model: Model, protocol: Protocol, plan: Plan
) -> pd.DataFrame:
    """Return a row for every object of a volume, way, stop rule and round.

    Columns: dataset, level, protocol, model, weights, task, volume, patient_id, slices (with the
    object), those of `segment` and of `VolumeObject.scores`. The record of
    the run is in `attrs["record"]`.
    """
    began, lines = time.perf_counter(), []
    run = {"dataset": dataset.name, "level": dataset.level, "protocol": protocol.name}
    run |= {"model": model.name, "weights": model.weights}
    for volume in volume_objects(dataset, plan.beyond, plan.max_volumes):
        facts = {"task": volume.task, "volume": volume.volume}
        facts |= {"patient_id": volume.cases[0].patient_id}
        facts |= {"slices": sum(truth.area > 0 for truth in volume.truths)}
        for done, masks in segment(volume, model, protocol, plan):
            lines.append(run | facts | done | volume.scores(masks))
    rows = pd.DataFrame(lines)
    count = rows["volume"].nunique()
    settings = {"dataset": dataset.settings(), "model": model.settings(), "plan": asdict(plan)}
    rows.attrs["record"] = {
        "device": str(model.device),
        "cases": count,
        "computed": count,
        "seconds": round(time.perf_counter() - began, 3),
        "versions": versions(),
        "settings": settings,
    }
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice of every way, stop rule and round, for each model and level.

    rows: of `evaluate_volumes`. Columns: model, level, way, stop, round, objects, patients; dice
    with low and high; difference with its two ends, to the best way with one slice prompted; spent,
    slice_dice, hd95 and surface, means; and best, whether it is that way.
    """
    groups = rows.groupby(["model", "level"], sort=False)
    return pd.concat([_model_summary(group) for _, group in groups], ignore_index=True)


def _model_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the summary of one model and level."""
    rows = rows.assign(
        case_id=rows["dataset"] + "/" + rows["task"] + "/" + rows["volume"],
        patient_id=rows["dataset"] + "/" + rows["patient_id"],
        key=list(zip(*(rows[name] for name in SETTING), strict=True)),
    )
    single = rows[(rows["round"] == 0) & (rows["way"] != EVERY_SLICE)]
    best = single.groupby("key", sort=False)["dice"].mean().idxmax()
    table = compare_ways(rows, best, ["model", "level"], way="key", value="dice")
    others = rows.groupby("key", sort=False)[["spent", "slice_dice", "hd95", "surface"]].mean()
    table = table.merge(others, left_on="key", right_index=True)
    table[SETTING] = table["key"].tolist()
    return table.assign(best=table["key"] == best).drop(columns="key")


def median_row(rows: pd.DataFrame, line: pd.Series) -> pd.Series:
    """Return the row of median Dice among those that a line of the summary is the mean of."""
    keys = ["model", "level", *SETTING]
    same = (rows[keys] == line[keys]).all(axis=1)
    ordered = rows[same].sort_values("dice")
    return ordered.iloc[len(ordered) // 2]


def find_volume(dataset: Dataset, volume: str, task: str, beyond: int) -> VolumeObject:
    """Return an object of a volume. Raises StopIteration if the dataset does not have it."""
    return next(
        one for one in volume_objects(dataset, beyond) if (one.volume, one.task) == (volume, task)
    )
