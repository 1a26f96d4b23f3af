"""How well a predicted mask agrees with the true one: overlap, and distance of their outlines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

from .boxed_mask import BoxedMask
from .case import BadInputError, unknown_name

Spacing = tuple[float, float]
FURTHER = ("boundary_iou", "hd95", "nsd@<tolerance>", "union")
"""Further metrics that rows can have, see `evaluate`: `boundary_iou`, `hd95`, `nsd` at a tolerance
in mm, such as nsd@2, and `union`, the pixels in the prediction or the truth, of which
`statistics.by_volume` makes scores of volumes. Lengths are in pixels where a case has no
spacing."""


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


def nsd(
    prediction: np.ndarray | BoxedMask,
    truth: np.ndarray | BoxedMask,
    tolerance: float,
    spacing: Spacing = (1.0, 1.0),
) -> float:
    """Return the normalised surface Dice: the part of both outlines that is near the other, 0..1.

    tolerance: how near, in the unit of the spacing; a point at just that distance is near.
    spacing: (row, col) of a pixel.

    An outline consists of a piece round each corner that pixels of object and background share, as
    long as the cut through it (marching squares); its distance is that of the corner to the nearest
    such corner of the other mask. The image's edge is outline (Nikolov et al. 2018, and their
    code). Two empty masks have none: NaN; one empty mask: 0. An object of one pixel has four
    pieces.

    >>> pixel = np.pad(np.ones((1, 1), bool), 2)
    >>> [nsd(pixel, np.roll(pixel, 1, axis=1), tolerance) for tolerance in (0, 1)]
    [0.5, 1.0]
    >>> nsd(pixel, np.zeros((5, 5), bool), 1), nsd(pixel & False, pixel & False, 1)
    (0.0, nan)
    """
    sides = _outlines(*_boxed(prediction, truth), spacing)
    total = sum(lengths.sum() for _, lengths in sides)
    # Distances are sums of rounded squares: the allowance keeps 5 pixels of 0.4 mm within 2 mm.
    near = sum(lengths[distances <= tolerance * (1 + 1e-9)].sum() for distances, lengths in sides)
    return float(near / total) if total else float("nan")


def hd95(
    prediction: np.ndarray | BoxedMask,
    truth: np.ndarray | BoxedMask,
    spacing: Sequence[float] = (1.0, 1.0),
) -> float:
    """Return the Hausdorff distance without the farthest 5 % of the surfaces.

    It has the spacing's unit and is that of `surface_distances`. Two empty masks have none: NaN.
    One empty mask: the diagonal of the image, more than which no two masks are apart.

    >>> pixel = np.pad(np.ones((1, 1), bool), 2)
    >>> hd95(pixel, np.roll(pixel, 1, axis=1)), hd95(pixel, np.roll(pixel, 1, axis=1), (3.0, 0.5))
    (1.0, 0.5)
    >>> hd95(pixel, np.zeros((5, 5), bool)).__round__(3)
    7.071
    """
    first, second = _boxed(prediction, truth)
    if bool(first.area) != bool(second.area):
        return math.hypot(*np.multiply(truth.shape, spacing))
    return surface_distances(first, second, spacing)[0]


def surface_distances(
    prediction: np.ndarray | BoxedMask, truth: np.ndarray | BoxedMask, spacing: Sequence[float]
) -> tuple[float, float]:
    """Return the 95th percentile Hausdorff distance and the mean surface distance.

    prediction, truth: bool, of an image or a volume. spacing: along each axis; its unit is that of
    the distances. Surface is every pixel of a mask with one outside among its neighbours that share
    a side; beyond the image is outside. From each pixel of one surface the distance to the nearest
    of the other is taken, both ways: HD95 is the larger of the two 95th percentiles, the other
    number the mean of all (Taha and Hanbury, BMC Medical Imaging 15 (2015) 29). NaN if a mask is
    empty: nothing is then near or far.
    """
    first, second = (KDTree(_surface(mask) * spacing) for mask in (prediction, truth))
    if not first.n or not second.n:
        return float("nan"), float("nan")
    distances = [second.query(first.data)[0], first.query(second.data)[0]]
    far = max(np.percentile(one_way, 95) for one_way in distances)
    return float(far), float(np.concatenate(distances).mean())


def _surface(mask: np.ndarray | BoxedMask) -> np.ndarray:
    """Return the pixels of a mask's surface, N x axes."""
    if isinstance(mask, BoxedMask):
        inside, first = mask.inside.astype(bool), np.array([mask.row, mask.col])
    else:
        inside, first = mask, np.zeros(mask.ndim, int)
    return np.argwhere(inside & ~binary_erosion(inside)) + first


def boundary_iou(
    prediction: np.ndarray | BoxedMask, truth: np.ndarray | BoxedMask, share: float = 0.02
) -> float:
    """Return the IoU of the bands along the inner side of both outlines, 0..1.

    share: width of the band as a part of the image's diagonal, rounded to pixels, at least one; in
    chessboard distance, with the image's edge as outline (Cheng et al. 2021 and their code). An
    object that is no wider than two bands is all band: its boundary IoU is its IoU. Two empty masks
    have none: NaN; one empty mask: 0.

    >>> square = np.pad(np.ones((4, 4), bool), 2)
    >>> boundary_iou(square, square), boundary_iou(square, np.roll(square, 1, axis=0)).__round__(3)
    (1.0, 0.333)
    """
    width = max(1, round(share * math.hypot(*truth.shape)))
    return iou(*(_band(BoxedMask.from_mask(mask), width) for mask in (prediction, truth)))


def further_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of further metrics as rows have them: sorted, each once.

    Raises BadInputError for an unknown one, and for a tolerance that is no length.

    >>> further_names(["nsd@2.0", "hd95", "nsd@2"])
    ('hd95', 'nsd@2')
    """
    known = set()
    for name in [names] if isinstance(names, str) else names:
        kind, at, text = name.partition("@")
        if kind != "nsd" and name not in FURTHER:
            raise unknown_name("metric", name, FURTHER)
        try:
            tolerance = float(text) if at else math.nan
        except ValueError:
            tolerance = math.nan
        if kind == "nsd" and not 0 <= tolerance < math.inf:
            raise BadInputError(
                f"metric {name!r}: give a tolerance in mm, 0 or more, such as nsd@2 or nsd@0.5"
            )
        known.add(f"nsd@{tolerance:g}" if kind == "nsd" else name)
    return tuple(sorted(known))


def further_scores(
    names: Sequence[str], prediction: BoxedMask, truth: BoxedMask, spacing: Spacing | None
) -> dict[str, float | str]:
    """Return further metrics by name, and in `unit` what lengths are in: "mm" or "pixels".

    names: of `further_names`. spacing: (row, col) in mm, None where it is unknown.
    """
    scores: dict[str, float | str] = {"unit": "mm" if spacing else "pixels"} if names else {}
    lengths = spacing or (1.0, 1.0)
    for name in names:
        if name == "boundary_iou":
            scores[name] = boundary_iou(prediction, truth)
        elif name == "hd95":
            scores[name] = hd95(prediction, truth, lengths)
        elif name == "union":
            common, total = _areas(prediction, truth)
            scores[name] = float(total - common)
        else:
            scores[name] = nsd(prediction, truth, float(name.partition("@")[2]), lengths)
    return scores


def _outlines(
    prediction: BoxedMask, truth: BoxedMask, spacing: Spacing
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return for both masks their outline's pieces: distances to the other's, and lengths."""
    (first, first_lengths), (second, second_lengths) = (
        _outline(mask, spacing) for mask in (prediction, truth)
    )
    if not len(first) or not len(second):
        far = (np.full(len(points), np.inf) for points in (first, second))
    else:
        far = (KDTree(b).query(a)[0] for a, b in ((first, second), (second, first)))
    return (next(far), first_lengths), (next(far), second_lengths)


def _outline(mask: BoxedMask, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of pixels on a mask's outline, N x 2 in the spacing's unit, and lengths.

    A corner's piece of outline depends on which of its four pixels are foreground: one or three,
    half a diagonal; two beside each other, a side; two across, two half diagonals.
    """
    if not mask.area:
        return np.empty((0, 2)), np.empty(0)
    inside = cv2.copyMakeBorder(mask.inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    code = 8 * inside[:-1, :-1] + 4 * inside[:-1, 1:] + 2 * inside[1:, :-1] + inside[1:, 1:]
    corners = np.argwhere((code > 0) & (code < 15))
    row, col = spacing
    half = math.hypot(row, col) / 2
    upper = [0, half, half, col, half, row, 2 * half, half]  # codes of 0 to 7
    lengths = np.array([*upper, *upper[::-1]])[code[tuple(corners.T)]]
    return (corners + np.array([mask.row, mask.col])) * spacing, lengths


def _band(mask: BoxedMask, width: int) -> BoxedMask:
    """Return the pixels of a mask that are at most `width` from its outline, by chessboard."""
    if not mask.area:
        return mask
    inside = cv2.copyMakeBorder(mask.inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(inside, cv2.DIST_C, 3)[1:-1, 1:-1]
    band = ((depth > 0) & (depth <= width)).view(np.uint8)
    return BoxedMask(band, mask.row, mask.col, mask.shape)


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
    a, b = _boxed(prediction, truth)
    return a.common(b), a.area + b.area


def _boxed(
    prediction: np.ndarray | BoxedMask, truth: np.ndarray | BoxedMask
) -> tuple[BoxedMask, BoxedMask]:
    """Return two masks as boxes; raises ValueError for masks of different shapes."""
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of different shapes: {prediction.shape} and {truth.shape}")
    return BoxedMask.from_mask(prediction), BoxedMask.from_mask(truth)
