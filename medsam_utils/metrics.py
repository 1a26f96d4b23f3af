"""Overlap of a predicted and a true mask, and what size and shape tell of an object."""

from __future__ import annotations

import cv2
import numpy as np

from .boxed_mask import BoxedMask


def iou(prediction: np.ndarray | BoxedMask, truth: np.ndarray | BoxedMask) -> float:
    """Intersection over union of two bool masks of one shape, in 0..1.

    Two empty masks have none: NaN, to be left out of means (the study's code does the same).

    >>> iou(np.array([[True, True, False]]), np.array([[False, True, True]])).__round__(3)
    0.333
    >>> iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool))
    nan
    """
    intersection, total = _areas(prediction, truth)
    union = total - intersection
    return intersection / union if union else float("nan")


def dice(prediction: np.ndarray | BoxedMask, truth: np.ndarray | BoxedMask) -> float:
    """Dice coefficient of two bool masks of one shape, in 0..1; NaN if both are empty.

    >>> dice(np.array([[True, True, False]]), np.array([[False, True, True]]))
    0.5
    """
    intersection, total = _areas(prediction, truth)
    return 2 * intersection / total if total else float("nan")


def components(mask: np.ndarray | BoxedMask) -> int:
    """Number of connected regions of a bool mask H x W; diagonal neighbours belong together.

    >>> components(np.array([[True, False, False], [False, True, False], [False, False, False]]))
    1
    >>> components(np.array([[True, False, True]]))
    2
    """
    inside = BoxedMask.from_mask(mask).inside
    return cv2.connectedComponents(inside, connectivity=8)[0] - 1 if inside.size else 0


def _areas(prediction: np.ndarray | BoxedMask, truth: np.ndarray | BoxedMask) -> tuple[int, int]:
    """Pixels in both masks, and the sum of the pixels of each."""
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of different shapes: {prediction.shape} and {truth.shape}")
    a, b = BoxedMask.from_mask(prediction), BoxedMask.from_mask(truth)
    return a.common(b), a.area + b.area
