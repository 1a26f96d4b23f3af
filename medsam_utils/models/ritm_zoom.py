"""Zoom-in: after its first click, RITM sees only the object's surroundings, at one size.

Source: Sofiiuk et al. 2021 (arXiv 2102.06583) and its released code, whose rounding and order this
keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Point = tuple[int, int, bool]  # row, col, positive


class Box(NamedTuple):
    """First and last row, first and last column, all inside."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top + 1, self.right - self.left + 1

    def overlap(self, other: Box) -> float:
        """Return IoU of the row ranges times IoU of the column ranges, 0..1."""
        product = 1.0
        for a, b, c, d in ((*self[:2], *other[:2]), (*self[2:], *other[2:])):
            product *= max(0, min(b, d) - max(a, c) + 1) / (max(b, d) - min(a, c) + 1)
        return product

    def holds(self, points: Sequence[Point]) -> bool:
        """Whether every positive point is inside and not on the last row or column."""
        return all(
            self.top <= row < self.bottom and self.left <= col < self.right
            for row, col, positive in points
            if positive
        )


@dataclass(frozen=True)
class Zoom:
    """When and where to look closer.

    target_size: longest side of what the network then sees, in pixels, up or down; or its (rows,
    cols), whatever the shape of the box. skip_clicks: so many are answered from the whole image
    first; at 0 the first answer is refined at once if its object is small; at -1 the whole image is
    a box like any other. expansion: of the object's box in each direction. min_crop_size: of the
    box, in pixels of the image. min_overlap: the box stays as it is until the object's own overlaps
    with it less. threshold: on the probability, of what counts as the object here.
    """

    target_size: int | tuple[int, int] = 400
    skip_clicks: int = 1
    expansion: float = 1.4
    min_crop_size: int = 200
    min_overlap: float = 0.5
    threshold: float = 0.5

    def view(
        self, mask: np.ndarray, box: Box | None, points: Sequence[Point]
    ) -> tuple[Box | None, Box | None]:
        """Return the box that the mask belongs to, and the box that the network sees; None is all.

        mask: bool, H x W, the object so far. box: the box so far.
        """
        if len(points) <= self.skip_clicks or (self.skip_clicks >= 0 and not mask.any()):
            # An object lost after zooming: the released code then looks at everything but still
            # writes the answer, shrunk, into the old box. Its figures include that, so this does
            # the same.
            return box, None
        everything = Box(0, mask.shape[0] - 1, 0, mask.shape[1] - 1)
        new = self.around(mask, points) if mask.any() else everything
        if box is None or not box.holds(points) or new.overlap(box) < self.min_overlap:
            box = new
        return box, box

    def second_view(self, mask: np.ndarray, points: Sequence[Point]) -> Box | None:
        """Return the box for a second look after one at the whole image; None if `mask` is good."""
        if self.skip_clicks > 0 or not mask.any():
            return None
        everything = Box(0, mask.shape[0] - 1, 0, mask.shape[1] - 1)
        is_small = self.around(mask, []).overlap(everything) < 0.5
        return self.around(mask, points) if is_small else None

    def seen_shape(self, box: Box) -> list[int]:
        """Return the rows and columns to which what is in a box is resized."""
        if not isinstance(self.target_size, int):
            return list(self.target_size)
        return scaled_shape(box, self.target_size)

    def around(self, mask: np.ndarray, points: Sequence[Point]) -> Box:
        """Expanded box of mask and positive points, cut at the image's edge."""
        sides = []
        for axis, length in enumerate(mask.shape):
            inside = [*np.flatnonzero(mask.any(1 - axis))[[0, -1]]]
            inside += [point[axis] for point in points if point[2]]
            first, last = int(min(inside)), int(max(inside))
            reach = 0.5 * max(self.expansion * (last - first + 1), self.min_crop_size)
            centre = 0.5 * (first + last)
            sides += [max(0, round(centre - reach)), min(length - 1, round(centre + reach))]
        return Box(*sides)


def scaled_shape(box: Box, side: float) -> list[int]:
    """Return rows and columns of a box whose longest side becomes `side`."""
    scale = side / max(box.shape)
    return [max(1, round(length * scale)) for length in box.shape]
