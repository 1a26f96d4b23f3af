"""SAM's way from low-resolution logits to a mask of the image, computed only where it can be foreground."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn.functional import interpolate

from ..boxed_mask import BoxedMask

STRIP = 64  # image rows computed at a time: they depend on few rows of logits


@dataclass(frozen=True)
class Axis:
    """A resizing along one axis: weights, n x low, and first and last nonzero weight of each row."""

    weights: torch.Tensor
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, low: int, padded: int, resized: int, original: int) -> Axis:
        """From `low` to `padded`, the part behind `resized` cut off, to `original`: SAM's own two steps.

        Both are linear and act along each axis by itself: their weights are what they make of unit vectors.
        """
        weights = torch.eye(low)[None, None]
        weights = interpolate(weights, (padded, low), mode="bilinear", align_corners=False)[:, :, :resized]
        weights = interpolate(weights, (original, low), mode="bilinear", align_corners=False)[0, 0]
        nonzero = weights.numpy() != 0
        return cls(weights, nonzero.argmax(1), low - 1 - nonzero[:, ::-1].argmax(1))

    def reached(self, start: int, stop: int) -> slice:
        """Outputs that depend on any of the inputs start..stop - 1."""
        return slice(int(np.searchsorted(self.last, start)), int(np.searchsorted(self.first, stop)))

    def needed(self, outputs: slice) -> slice:
        """Inputs on which these outputs depend."""
        return slice(int(self.first[outputs.start]), int(self.last[outputs.stop - 1]) + 1)


@functools.lru_cache(maxsize=64)
def axes(
    low: tuple[int, int], padded: int, resized: tuple[int, int], original: tuple[int, int]
) -> tuple[Axis, Axis]:
    """Rows and columns of logits of shape `low`, for an image of shape `original` that SAM saw `resized`."""
    rows, cols = (
        Axis.of(n, padded, seen, final) for n, seen, final in zip(low, resized, original, strict=True)
    )
    return rows, cols


def upsampled_foreground(logits: np.ndarray, padded: int, resized: tuple, original: tuple) -> BoxedMask:
    """Where the resized logits are > 0, from float32 low-resolution logits h x w.

    Equal to thresholding `Sam.postprocess_masks` but for rounding: a weighted mean can be positive only where
    one of its logits is, so the rest of the image is not computed.
    """
    positive = (logits > 0).view(np.uint8)
    x, y, width, height = cv2.boundingRect(positive)
    by_row, by_col = axes(logits.shape, padded, tuple(resized), tuple(original))
    rows, cols = by_row.reached(y, y + height), by_col.reached(x, x + width)
    if not height or rows.start >= rows.stop or cols.start >= cols.stop:
        return BoxedMask(np.zeros((0, 0), np.uint8), 0, 0, tuple(original))
    needed = by_col.needed(cols)
    wide = torch.from_numpy(logits)[:, needed] @ by_col.weights[cols, needed].T
    inside = np.empty((rows.stop - rows.start, cols.stop - cols.start), bool)
    for start in range(rows.start, rows.stop, STRIP):
        strip = slice(start, min(start + STRIP, rows.stop))
        needed = by_row.needed(strip)
        values = by_row.weights[strip, needed] @ wide[needed]
        np.greater(values.numpy(), 0, out=inside[strip.start - rows.start : strip.stop - rows.start])
    return BoxedMask(inside.view(np.uint8), rows.start, cols.start, tuple(original))
