"""The pixels of a region that are farthest from its boundary, by the distance transform."""

from __future__ import annotations

import math

import cv2
import numpy as np
from scipy.spatial import KDTree

SMALL = 1 << 14  # pixels of a box, up to which OpenCV's exact transform is the cheapest way
LARGE = (
    1 << 18
)  # pixels of a box, from which on its pieces are cheaper one by one, the widest first
LEAST, MOST = 0.982, 1.02
"""Bounds of OpenCV's 5 x 5 approximation over the exact distance. It adds up steps of (1, 0), (1,
1) and (2, 1) at 1, 1.4 and 2.1969: least along (2, 1), 2.1969 / 5 ** 0.5, and most along (1,
0.1969), the length of that vector."""


def farthest(region: np.ndarray, exact: bool = True) -> tuple[float, np.ndarray]:
    """Largest Euclidean distance to the boundary of a region, and the pixels that have it.

    region: uint8 h x w, 0 or 1, not empty; all round it is boundary, as is every zero pixel in it.
    exact: otherwise OpenCV's approximation by a 5 x 5 mask. Returns pixels N x 2 (row, col) in
    reading order.

    >>> distance, pixels = farthest(np.ones((3, 4), np.uint8))
    >>> distance, pixels.tolist()
    (2.0, [[1, 1], [1, 2]])
    """
    if not exact or region.size < LARGE:
        return _farthest_in_box(region, exact)
    outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = 0.0
    deepest: list[np.ndarray] = []
    for col, row, width, height in sorted(
        map(cv2.boundingRect, outlines), key=lambda box: -min(box[2:])
    ):
        if (min(width, height) + 1) / 2 < largest:
            break
        # What reaches in from other pieces is cut, so that it looks less deep than it is, never
        # deeper.
        distance, pixels = _farthest_in_box(region[row : row + height, col : col + width], exact)
        if distance >= largest:
            deepest = [*(deepest if distance == largest else []), pixels + np.array([row, col])]
            largest = distance
    return largest, np.unique(np.concatenate(deepest), axis=0)


def _farthest_in_box(region: np.ndarray, exact: bool) -> tuple[float, np.ndarray]:
    """As `farthest`, from all of the box at once."""
    box = cv2.copyMakeBorder(region, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    precise = exact and region.size < SMALL
    transform = cv2.distanceTransform(
        box, cv2.DIST_L2, cv2.DIST_MASK_PRECISE if precise else cv2.DIST_MASK_5
    )
    if exact and not precise:
        pixels, distances = _deepest(box, transform)
    else:
        pixels = _where(transform > transform.max() - 0.01)
        distances = transform[tuple(pixels.T)].astype(np.float64)
    if exact:  # squares of exact distances are integers: what float32 rounded apart ties again
        distances = np.sqrt(np.rint(distances**2))
    largest = distances.max()
    return float(largest), pixels[distances == largest] - 1


def _deepest(box: np.ndarray, approximate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the deepest pixels of a box, N x 2 in reading order, and their exact distances.

    Few pixels are deep enough by the approximation. Where they are many, one of each cell of k x k
    pixels is measured first: a distance changes by no more than the way one goes, so most cells
    need no second look.
    """
    most = float(approximate.max())
    pixels = _where(approximate > most * LEAST / MOST)
    reach = math.ceil(most / LEAST) + 1  # their nearest zeros are not farther away
    top, left = np.maximum(pixels.min(axis=0) - reach, 0)
    bottom, right = pixels.max(axis=0) + reach + 1
    near = box[top:bottom, left:right]
    # The nearest zero of a pixel of the region always touches the region.
    touching = cv2.dilate(near, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) != near
    outline = KDTree(
        _where(touching) + np.array([top, left]), balanced_tree=False, compact_nodes=False
    )
    for k in (16, 4):
        if len(pixels) > 64:
            cells = pixels[:, 0] // k * box.shape[1] + pixels[:, 1] // k
            _, first, cell = np.unique(cells, return_index=True, return_inverse=True)
            distances = outline.query(pixels[first])[0]
            pixels = pixels[distances[cell] > distances.max() - (k - 1) * 2**0.5 - 0.01]
    return pixels, outline.query(pixels)[0]


def _where(mask: np.ndarray) -> np.ndarray:
    """As `np.argwhere` of a bool array h x w, ten times as fast."""
    return np.stack(np.divmod(np.flatnonzero(mask), mask.shape[1]), axis=1)
