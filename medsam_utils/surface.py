"""How far two surfaces in a volume are apart, in mm."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, voxel: tuple[float, float, float]
) -> tuple[float, float]:
    """95th percentile Hausdorff distance, and mean surface distance, both symmetric and in mm.

    prediction, truth: bool, slices x rows x cols. voxel: mm along these axes. Surface is every voxel of a
    mask with one outside among its six neighbours; beyond the volume is outside. From each voxel of one
    surface the way to the nearest of the other is measured, in both directions: HD95 is the larger of the two
    95th percentiles, the other number the mean of all (Taha and Hanbury, BMC Medical Imaging 15 (2015) 29).
    NaN if a mask is empty: nothing is then near or far.

    >>> truth = np.zeros((1, 4, 4), bool)
    >>> truth[0, 0] = True
    >>> surface_distances(np.roll(truth, 2, axis=1), truth, (5, 0.5, 1))
    (1.0, 1.0)
    """
    surfaces = [KDTree(np.argwhere(mask & ~binary_erosion(mask)) * voxel) for mask in (prediction, truth)]
    if not all(surface.n for surface in surfaces):
        return float("nan"), float("nan")
    first, second = surfaces
    ways = [second.query(first.data)[0], first.query(second.data)[0]]
    hd95 = max(np.percentile(of_one, 95) for of_one in ways)
    return float(hd95), float(np.concatenate(ways).mean())
