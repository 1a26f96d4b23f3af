"""Everything mode: masks proposed from a grid of points, then named by truth or classifier.

Source of the proposals: Kirillov et al., Segment Anything, ICCV 2023, section 5 and
segment-anything's own `SamAutomaticMaskGenerator`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from segment_anything import SamAutomaticMaskGenerator
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold

from ..case import Case
from ..metrics import iou
from ..models.sam import Sam

LEAST_IOU = 0.5  # with an object, from which on a proposal counts as one of its class in training


@dataclass(frozen=True)
class Proposals:
    """All masks proposed for one case, bool H x W each, and what is known without a truth.

    features: one line per mask, as `features` and the model's two own scores.
    """

    case: Case
    masks: Sequence[np.ndarray]
    features: pd.DataFrame


def propose(case: Case, model: Sam, **options: float) -> Proposals:
    """Masks from a grid of points over the case's image, de-duplicated by the boxes' overlap.

    options: of `SamAutomaticMaskGenerator`, which does all of it on the model's network.
    """
    found = SamAutomaticMaskGenerator(model.network, **options).generate(case.image)
    found = [one for one in found if one["segmentation"].any()]
    lines = [
        features(case.image, one["segmentation"])
        | {"predicted_iou": one["predicted_iou"], "stability": one["stability_score"]}
        for one in found
    ]
    return Proposals(case, [one["segmentation"] for one in found], pd.DataFrame(lines))


def features(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Compute what a mask is like in an image; no truth is needed.

    image: uint8 H x W x 3. mask: bool H x W, not empty.

    area_share 0..1; row, col: of the centre, 0..1 of the image; height, width: of its box, 0..1;
    mean, spread: of the grey values in it; contrast: to a ring round it; compactness: 1 for a disk,
    0 for a line.
    """
    grey, inside = image.mean(axis=2), mask.astype(np.uint8)
    places = np.argwhere(mask)
    side = 2 * max(3, round(len(places) ** 0.5 / 4)) + 1
    ring = (cv2.dilate(inside, np.ones((side, side), np.uint8)) > 0) & ~mask
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(contour, closed=True) for contour in contours)
    return {
        "area_share": mask.mean(),
        **dict(zip(("row", "col"), (places.mean(axis=0) + 0.5) / mask.shape, strict=True)),
        **dict(zip(("height", "width"), np.ptp(places, axis=0) / mask.shape, strict=True)),
        "mean": grey[mask].mean(),
        "spread": grey[mask].std(),
        "contrast": grey[mask].mean() - grey[ring].mean() if ring.any() else 0.0,
        "compactness": min(1.0, 4 * np.pi * len(places) / max(length, 1) ** 2),
    }


def oracle(proposals: Proposals) -> dict[str, np.ndarray]:
    """Return per class the union of proposals that covers it best, chosen with the truth in hand.

    Proposals are taken in the order of the share of them that lies in the class, and as many as
    give the highest IoU. For masks that do not overlap no other choice is better.
    """
    found = {}
    for name, truth in proposals.case.masks.items():
        unions = [np.zeros_like(truth)]
        for mask in sorted(proposals.masks, key=lambda mask: -truth[mask].mean()):
            if truth[mask].any():
                unions.append(unions[-1] | mask)
        found[name] = max(unions, key=lambda union: iou(union, truth) if union.any() else -1)
    return found


def labels(proposals: Proposals) -> list[str]:
    """Return the class name of each proposal, "" for none.

    The class that it overlaps most, with an IoU of at least LEAST_IOU.
    """
    found = []
    for mask in proposals.masks:
        overlaps = {name: iou(mask, truth) for name, truth in proposals.case.masks.items()}
        best = max(overlaps, key=overlaps.get)
        found.append(best if overlaps[best] >= LEAST_IOU else "")
    return found


def classify(cases: Sequence[Proposals], folds: int = 5) -> list[dict[str, np.ndarray]]:
    """Return masks by class, named by a classifier that never saw a case of the same patient.

    A random forest on the proposals' features is trained on the other folds' patients; each fold
    once. A class has the union of the proposals of its name. Raises ValueError with fewer than two
    patients.
    """
    found: list[dict[str, np.ndarray]] = [{}] * len(cases)
    patients = [one.case.patient_id for one in cases]
    for train, test in GroupKFold(min(folds, len(set(patients)))).split(patients, groups=patients):
        inputs = pd.concat([cases[i].features for i in train]).to_numpy()
        forest = RandomForestClassifier(200, class_weight="balanced", random_state=0, n_jobs=1)
        forest.fit(inputs, [label for i in train for label in labels(cases[i])])
        for i in test:
            names = forest.predict(cases[i].features.to_numpy()) if cases[i].masks else []
            masks = np.array(cases[i].masks)
            found[i] = {
                name: masks[names == name].any(axis=0) if len(masks) else np.zeros_like(truth)
                for name, truth in cases[i].case.masks.items()
            }
    return found
