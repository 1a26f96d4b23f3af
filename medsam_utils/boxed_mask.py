"""BoxedMask: a mask kept as the box that holds it, so that small objects cost little."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np


@dataclass(frozen=True, eq=False)
class BoxedMask:
    """A binary mask of an image, stored as one box of it.

    inside: uint8 h x w, 0 or 1. row, col: of the box's first pixel. shape: the image's (rows,
    cols). Outside the box nothing is foreground; within it there may be empty margins.

    >>> square = BoxedMask.from_mask(np.pad(np.ones((2, 2), bool), 3))
    >>> (square.row, square.col, square.inside.shape, square.shape, square.area)
    (3, 3, (2, 2), (8, 8), 4)
    """

    inside: np.ndarray
    row: int
    col: int
    shape: tuple[int, int]

    @classmethod
    def from_mask(cls, mask: np.ndarray | BoxedMask) -> BoxedMask:
        """Smallest box round a bool mask H x W; a boxed mask stays as it is."""
        if isinstance(mask, BoxedMask):
            return mask
        return cls(
            np.ascontiguousarray(mask, dtype=bool).view(np.uint8), 0, 0, mask.shape
        ).trimmed()

    def trimmed(self) -> BoxedMask:
        """The same mask in its smallest box; 0 x 0 if it is empty."""
        col, row, width, height = (
            cv2.boundingRect(self.inside) if self.inside.size else (0, 0, 0, 0)
        )
        inside = self.inside[row : row + height, col : col + width]
        return BoxedMask(inside, self.row + row, self.col + col, self.shape)

    @functools.cached_property
    def area(self) -> int:
        """Number of foreground pixels."""
        return cv2.countNonZero(self.inside) if self.inside.size else 0

    def mask(self) -> np.ndarray:
        """The whole mask: bool, H x W."""
        whole = np.zeros(self.shape, bool)
        _cut_box(whole.view(np.uint8), 0, 0, self._box)[:] = self.inside
        return whole

    def common(self, other: BoxedMask) -> int:
        """Number of pixels that are foreground in both masks."""
        (top, left, bottom, right), (row, col, end_row, end_col) = self._box, other._box
        box = max(top, row), max(left, col), min(bottom, end_row), min(right, end_col)
        if box[0] >= box[2] or box[1] >= box[3]:
            return 0
        a, b = (_cut_box(mask.inside, mask.row, mask.col, box) for mask in (self, other))
        return cv2.countNonZero(cv2.bitwise_and(a, b))

    def without(self, ignored: np.ndarray | None) -> BoxedMask:
        """The mask without some pixels, bool H x W; None: the mask itself."""
        if ignored is None or not self.inside.size:
            return self
        inside = self.inside & ~_cut_box(ignored, 0, 0, self._box)
        return BoxedMask(inside, self.row, self.col, self.shape).trimmed()

    def __contains__(self, pixel: tuple[int, int]) -> bool:
        """Whether the pixel (row, col) of the image is foreground."""
        row, col = pixel[0] - self.row, pixel[1] - self.col
        rows, cols = self.inside.shape
        return 0 <= row < rows and 0 <= col < cols and bool(self.inside[row, col])

    def __xor__(self, other: BoxedMask) -> BoxedMask:
        """Pixels that are foreground in one of the masks only.

        Raises ValueError if the images have different shapes.
        """
        if self.shape != other.shape:
            raise ValueError(f"masks of different shapes: {self.shape} and {other.shape}")
        boxes = [mask._box for mask in (self, other) if mask.inside.size]
        if not boxes:
            return self
        tops, lefts, bottoms, rights = zip(*boxes, strict=True)
        row, col = min(tops), min(lefts)
        inside = np.zeros((max(bottoms) - row, max(rights) - col), np.uint8)
        for mask in (self, other):
            if mask.inside.size:
                part = _cut_box(inside, row, col, mask._box)
                cv2.bitwise_xor(part, mask.inside, dst=part)
        return BoxedMask(inside, row, col, self.shape)

    @property
    def _box(self) -> tuple[int, int, int, int]:
        """(row, col) of the first pixel and of the one behind the last."""
        rows, cols = self.inside.shape
        return self.row, self.col, self.row + rows, self.col + cols


def _cut_box(array: np.ndarray, row: int, col: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """View of a box of the image in an array whose first pixel is the image's (row, col)."""
    return array[box[0] - row : box[2] - row, box[1] - col : box[3] - col]


def largest_regions(
    mask: BoxedMask, count: int, equals: Literal["first", "last"] = "first"
) -> list[BoxedMask]:
    """Return the largest connected regions of a mask, at most `count`.

    Diagonal neighbours belong together. equals: which of equally large ones comes first, the first
    or the last in reading order.
    """
    # OpenCV's other algorithms number regions by blocks of 2 x 2 pixels, not in reading order.
    found, labels, statistics, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask.inside, 8, cv2.CV_32S, cv2.CCL_SAUF
    )
    areas = statistics[1:found, cv2.CC_STAT_AREA]
    if equals == "last":
        order = 1 + np.argsort(areas, kind="stable")[::-1]
    else:
        order = 1 + np.argsort(-areas, kind="stable")
    parts = [(labels == label).view(np.uint8) for label in order[:count]]
    return [BoxedMask(part, mask.row, mask.col, mask.shape).trimmed() for part in parts]
