"""Where a region is deepest: the pixels farthest from its boundary, as the distance transform has them."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import KDTree

MEDIUM = 1 << 15  # pixels of a box, from which on its pieces are cheaper one by one, the widest first
LARGE = 1 << 18  # pixels of a box, from which on bounds by cells are cheaper than transforming all of it


def farthest(region: np.ndarray, exact: bool = True) -> tuple[float, np.ndarray]:
    """Largest Euclidean distance to the boundary of a region, and the pixels that have it.

    region: uint8 h x w, 0 or 1, not empty; all round it is boundary, as is every zero pixel in it. exact:
    otherwise OpenCV's approximation by a 5 x 5 mask. Returns pixels N x 2 (row, col) in reading order.

    >>> distance, pixels = farthest(np.ones((3, 4), np.uint8))
    >>> distance, pixels.tolist()
    (2.0, [[1, 1], [1, 2]])
    """
    if not exact or region.size < MEDIUM:
        return _of_box(region, exact)
    outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest, deepest = 0.0, []
    for col, row, width, height in sorted(map(cv2.boundingRect, outlines), key=lambda box: -min(box[2:])):
        if (min(width, height) + 1) / 2 < largest:
            break
        # What reaches in from other pieces is cut, so that it looks less deep than it is, never deeper.
        distance, pixels = _of_box(region[row : row + height, col : col + width], exact)
        if distance >= largest:
            deepest = [*(deepest if distance == largest else []), pixels + np.array([row, col])]
            largest = distance
    return largest, np.unique(np.concatenate(deepest), axis=0)


def _of_box(region: np.ndarray, exact: bool) -> tuple[float, np.ndarray]:
    """As `farthest`, from all of the box at once."""
    box = cv2.copyMakeBorder(region, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    if exact and region.size > LARGE:
        pixels, distances = _by_cells(box)
    else:
        transform = cv2.distanceTransform(
            box, cv2.DIST_L2, cv2.DIST_MASK_PRECISE if exact else cv2.DIST_MASK_5
        )
        pixels = _where(transform > transform.max() - 0.01)
        distances = transform[tuple(pixels.T)].astype(np.float64)
    if exact:  # squares of exact distances are integers: what float32 rounded apart ties again
        distances = np.sqrt(np.rint(distances**2))
    largest = distances.max()
    return float(largest), pixels[distances == largest] - 1


def _by_cells(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels N x 2 of a box, all of the deepest among them, in reading order, and their exact distances.

    The box is divided into cells of k x k pixels. A cell is full or has a zero, so the distance in cells to
    the nearest one that is not full bounds the distances of a cell's pixels from both sides. Of the cells
    that can hold the maximum the centres are measured; as a distance changes by no more than the way one
    goes, this leaves few cells, of which all pixels are measured.
    """
    k = max(4, round(box.size**0.5 / 250))
    full = cv2.erode(
        box, np.ones((k, k), np.uint8), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )[::k, ::k]
    bound = k * cv2.distanceTransform(np.ascontiguousarray(full), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    gap = 2 * (k - 1) * 2**0.5
    cells = k * np.argwhere(bound >= bound.max() - gap - 0.1)

    # The nearest zero of a pixel of the region always touches the region.
    touching = cv2.dilate(box, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) != box
    outline = KDTree(_where(touching), balanced_tree=False, compact_nodes=False)

    def measured(pixels: np.ndarray) -> np.ndarray:
        return np.where(box[tuple(pixels.T)], outline.query(pixels)[0], 0)

    centres = measured(np.minimum(cells + k // 2, np.array(box.shape) - 1))
    cells = cells[centres >= centres.max() - k // 2 * 2**0.5 - 0.1]
    pixels = (cells[:, None] + np.stack(np.divmod(np.arange(k * k), k), axis=1)).reshape(-1, 2)
    pixels = pixels[(pixels < box.shape).all(axis=1)]
    pixels = pixels[np.lexsort((pixels[:, 1], pixels[:, 0]))]
    return pixels, measured(pixels)


def _where(mask: np.ndarray) -> np.ndarray:
    """As `np.argwhere` of a bool array h x w, ten times as fast."""
    return np.stack(np.divmod(np.flatnonzero(mask), mask.shape[1]), axis=1)
