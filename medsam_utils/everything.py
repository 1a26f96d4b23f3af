"""Everything mode: masks proposed from a grid of points, then named by the truth or by a light classifier.

Source of the proposals: Kirillov et al., Segment Anything, ICCV 2023, section 5 and segment-anything's own
`SamAutomaticMaskGenerator`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from segment_anything import SamAutomaticMaskGenerator
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold

from .case import BadCaseError, Case
from .datasets import Dataset
from .metrics import dice, iou
from .models.sam import Sam
from .statistics import interval

LEAST_IOU = 0.5  # with an object, from which on a proposal counts as one of its class in training


@dataclass(frozen=True)
class Proposals:
    """All masks that were proposed for one case, bool H x W each, and what is known of them without a truth.

    features: one line per mask, as `features` and the model's two own scores.
    """

    case: Case
    masks: Sequence[np.ndarray]
    features: pd.DataFrame


def propose(
    case: Case,
    model: Sam,
    points_per_side: int = 12,
    pred_iou_thresh: float = 0.4,
    stability_score_thresh: float = 0.5,
    box_nms_thresh: float = 0.7,
) -> Proposals:
    """Masks from a grid of points over the case's image, de-duplicated by the boxes' overlap.

    The options are those of `SamAutomaticMaskGenerator`, which does all of it on the model's network; lower
    thresholds than its own, which are for the released SAM, leave the choice to what comes after.
    """
    generator = SamAutomaticMaskGenerator(
        model.network,
        points_per_side=points_per_side,
        pred_iou_thresh=pred_iou_thresh,
        stability_score_thresh=stability_score_thresh,
        box_nms_thresh=box_nms_thresh,
    )
    found = generator.generate(case.image)
    masks = [one["segmentation"] for one in found if one["segmentation"].any()]
    sure = [(one["predicted_iou"], one["stability_score"]) for one in found if one["segmentation"].any()]
    lines = [
        features(case.image, mask) | {"predicted_iou": predicted, "stability": stability}
        for mask, (predicted, stability) in zip(masks, sure, strict=True)
    ]
    return Proposals(case, masks, pd.DataFrame(lines))


def cases_of(dataset: Dataset, most: int = 0) -> tuple[list[Case], list[str]]:
    """Cases of a dataset, at most so many (0: all), spread evenly; a note for each that cannot be used."""
    references, cases, notes = dataset.list().references, [], []
    count = min(most or len(references), len(references))
    for i in np.linspace(0, len(references) - 1, count).round().astype(int):
        try:
            cases.append(dataset.load(references[i]))
        except BadCaseError as error:
            notes.append(f"Left out: {error}")
    return cases, notes


def features(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """What a mask, bool H x W and not empty, is like in an image, uint8 H x W x 3: no truth is needed.

    area_share 0..1; row, col: of the centre, 0..1 of the image; height, width: of its box, 0..1; mean,
    spread: of the grey values in it; contrast: to a ring round it; compactness: 1 for a disk, 0 for a line.

    >>> square = np.pad(np.ones((4, 4), bool), 4)
    >>> found = features(np.repeat(square[..., None] * np.uint8(200), 3, axis=2), square)
    >>> round(found["area_share"], 3), float(found["row"]), float(found["contrast"])
    (0.111, 0.5, 200.0)
    """
    grey = image.mean(axis=2)
    rows, cols = np.nonzero(mask)
    inside = mask.astype(np.uint8)
    side = max(3, round(len(rows) ** 0.5 / 4))
    ring = (cv2.dilate(inside, np.ones((2 * side + 1,) * 2, np.uint8)) > 0) & ~mask
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(contour, closed=True) for contour in contours)
    values = grey[mask]
    return {
        "area_share": len(rows) / mask.size,
        "row": (rows.mean() + 0.5) / mask.shape[0],
        "col": (cols.mean() + 0.5) / mask.shape[1],
        "height": np.ptp(rows) / mask.shape[0],
        "width": np.ptp(cols) / mask.shape[1],
        "mean": values.mean(),
        "spread": values.std(),
        "contrast": values.mean() - grey[ring].mean() if ring.any() else 0.0,
        "compactness": min(1.0, 4 * np.pi * len(rows) / max(length, 1) ** 2),
    }


def oracle(proposals: Proposals) -> dict[str, np.ndarray]:
    """Class name -> union of the proposals that best covers the class, chosen with the truth in hand.

    Proposals are taken in the order of the share of them that lies in the class, and as many as give the
    highest IoU. For masks that do not overlap no other choice is better.
    """
    found = {}
    for name, truth in proposals.case.masks.items():
        best, union = np.zeros_like(truth), np.zeros_like(truth)
        for mask in sorted(proposals.masks, key=lambda mask: -truth[mask].mean()):
            if not truth[mask].any():
                break
            union = union | mask
            if not best.any() or iou(union, truth) > iou(best, truth):
                best = union
        found[name] = best
    return found


def labels(proposals: Proposals) -> np.ndarray:
    """Class name of each proposal, "" for none: the class it overlaps most, with an IoU of LEAST_IOU."""
    names = list(proposals.case.masks)
    found = []
    for mask in proposals.masks:
        overlaps = [iou(mask, proposals.case.masks[name]) for name in names]
        found.append(names[int(np.argmax(overlaps))] if max(overlaps) >= LEAST_IOU else "")
    return np.array(found, dtype=object)


def named(proposals: Proposals, names: np.ndarray) -> dict[str, np.ndarray]:
    """Class name -> union of the proposals that were given this name."""
    found = {}
    for name, truth in proposals.case.masks.items():
        chosen = [mask for mask, given in zip(proposals.masks, names, strict=True) if given == name]
        found[name] = np.logical_or.reduce([np.zeros_like(truth), *chosen])
    return found


def classify(cases: Sequence[Proposals], folds: int = 5) -> list[dict[str, np.ndarray]]:
    """Masks by class of every case, named by a classifier that never saw a case of the same patient.

    A random forest on the proposals' features is trained on the other folds' patients; each fold once.
    """
    found: list[dict[str, np.ndarray]] = [{}] * len(cases)
    for train, test in split(cases, folds):
        inputs = pd.concat([cases[i].features for i in train])
        outputs = np.concatenate([labels(cases[i]) for i in train])
        forest = RandomForestClassifier(200, class_weight="balanced", random_state=0, n_jobs=1)
        forest.fit(inputs.to_numpy(), outputs.astype(str))
        for i in test:
            names = forest.predict(cases[i].features.to_numpy()) if cases[i].masks else np.array([])
            found[i] = named(cases[i], names)
    return found


def split(cases: Sequence[Proposals], folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices to train on and to test on, for each fold; a patient is on one side only.

    Raises ValueError with fewer than two patients.
    """
    patients = [one.case.patient_id for one in cases]
    return list(GroupKFold(min(folds, len(set(patients)))).split(patients, groups=patients))


def scores(
    cases: Sequence[Proposals],
    ways: Mapping[str, Sequence[Mapping[str, np.ndarray]]],
    tasks: Mapping[str, str],
) -> pd.DataFrame:
    """One row per way, case and class that is in the image: task, way, case_id, patient_id, iou and dice.

    ways: name -> masks by class of every case. tasks: class name -> task name.
    """
    return pd.DataFrame(
        {
            "task": tasks[name],
            "way": way,
            "case_id": one.case.case_id,
            "patient_id": one.case.patient_id,
            "iou": iou(masks[name], truth),
            "dice": dice(masks[name], truth),
        }
        for way, found in ways.items()
        for one, masks in zip(cases, found, strict=True)
        for name, truth in one.case.masks.items()
        if truth.any()
    )


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU and Dice by task and way with 95 % intervals, and the paired difference of both ways' IoU.

    Columns: task, way, images, patients, IoU and Dice with their intervals as text; patients are resampled.
    """
    wide = table.pivot(index=["task", "case_id", "patient_id"], columns="way", values="iou")
    paired = (wide["classifier"] - wide["oracle"]).rename("iou").reset_index()
    parts = [*table.groupby(["task", "way"], sort=False)]
    parts += [((task, "classifier minus oracle"), of) for task, of in paired.groupby("task", sort=False)]
    lines = []
    for (task, way), of_way in parts:
        line = {"task": task, "way": way, "images": len(of_way), "patients": of_way["patient_id"].nunique()}
        for measure in (name for name in ("iou", "dice") if name in of_way):
            values, within = of_way[[measure]].to_numpy(), (-1 if "minus" in way else 0, 1)
            low, high = interval(values, of_way["patient_id"].to_numpy(), within=within)[:, 0]
            ends = f" [{low:.3f}, {high:.3f}]" if np.isfinite(low) else ""
            line[measure] = f"{values.mean():.3f}{ends}"
        lines.append(line)
    return pd.DataFrame(lines).sort_values(["task"], kind="stable").fillna("")
