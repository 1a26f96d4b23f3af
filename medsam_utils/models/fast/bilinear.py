"""SAM's mask of the image from low-resolution logits, computed only where it can be true."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn.functional import interpolate

from ...boxed_mask import BoxedMask

STRIP = 128  # image rows computed at a time: they depend on few rows of logits


@dataclass(frozen=True)
class Axis:
    """A resizing along one axis: weights, n x low, the same transposed, and what depends on what.

    first, last: of the inputs that each output depends on. starts, stops: the first output that
    depends on input i or a later one, and the one behind the last that depends on inputs before i.
    """

    weights: torch.Tensor
    transposed: torch.Tensor
    first: list[int]
    last: list[int]
    starts: list[int]
    stops: list[int]

    @classmethod
    def from_sizes(cls, low: int, padded: int, resized: int, original: int) -> Axis:
        """Return SAM's two steps: from `low` to `padded`, cut to `resized`, then to `original`.

        Both are linear and act along each axis by itself: their weights are what they make of unit
        vectors.
        """
        weights = torch.eye(low)[None, None]
        weights = interpolate(weights, (padded, low), mode="bilinear", align_corners=False)[
            :, :, :resized
        ]
        weights = interpolate(weights, (original, low), mode="bilinear", align_corners=False)[0, 0]
        nonzero = weights.numpy() != 0
        first, last = nonzero.argmax(1), low - 1 - nonzero[:, ::-1].argmax(1)
        starts, stops = (np.searchsorted(bound, np.arange(low + 1)) for bound in (last, first))
        return cls(
            weights,
            weights.T.contiguous(),
            *(part.tolist() for part in (first, last, starts, stops)),
        )


@functools.lru_cache(maxsize=64)
def axes(
    low: tuple[int, int], padded: int, resized: tuple[int, int], original: tuple[int, int]
) -> tuple[Axis, Axis]:
    """Return rows and columns of logits of shape `low`, for an image that SAM saw `resized`.

    original: the image's shape.
    """
    rows, cols = (
        Axis.from_sizes(n, padded, seen, final)
        for n, seen, final in zip(low, resized, original, strict=True)
    )
    return rows, cols


def upsampled_mask(logits: np.ndarray, padded: int, resized: tuple, original: tuple) -> BoxedMask:
    """Where the resized logits are > 0, from float32 low-resolution logits h x w.

    Equal to thresholding `Sam.postprocess_masks` but for rounding: a weighted mean can be positive
    only where one of its logits is, so the rest of the image is not computed.
    """
    x, y, width, height = cv2.boundingRect((logits > 0).view(np.uint8))
    rows, cols = axes(logits.shape, padded, resized, original)
    top, bottom = rows.starts[y], rows.stops[y + height]
    left, right = cols.starts[x], cols.stops[x + width]
    if not height or top >= bottom or left >= right:
        return BoxedMask(np.zeros((0, 0), np.uint8), 0, 0, original)
    low, high = cols.first[left], cols.last[right - 1] + 1
    above, below = rows.first[top], rows.last[bottom - 1] + 1
    wide = torch.from_numpy(logits[above:below, low:high]) @ cols.transposed[low:high, left:right]
    inside = np.empty((bottom - top, right - left), bool)
    for start in range(top, bottom, STRIP):
        stop = min(start + STRIP, bottom)
        low, high = rows.first[start], rows.last[stop - 1] + 1
        values = rows.weights[start:stop, low:high] @ wide[low - above : high - above]
        np.greater(values.numpy(), 0, out=inside[start - top : stop - top])
    return BoxedMask(inside.view(np.uint8), top, left, original)
