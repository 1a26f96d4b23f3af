"""NSD, HD95 and boundary IoU against other implementations, and what they cost.

    python benchmarks/metrics.py [--pairs 500]

The others are surface-distance 0.1 and MONAI, where they are installed; they are no requirement of
this project. A boundary IoU is compared with SciPy's erosion. MONAI's surface is that of `hd95`,
surface-distance's outline that of `nsd`, so that one is equal and the other near.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy import ndimage

from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.metrics import boundary_iou, dice, further_names, further_scores, hd95, iou, nsd

Pair = tuple[np.ndarray, np.ndarray, tuple[float, float]]


def pairs(count: int) -> Iterator[Pair]:
    """Yield random masks of several pieces and a spacing; a few are empty or of one pixel."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        shape = rng.integers(20, 90, 2)
        smooth = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(1, 4))
        other = smooth + rng.uniform(0.1, 1) * ndimage.gaussian_filter(rng.normal(size=shape), 2)
        level = rng.uniform(0.5, 1.5)
        masks = [values > level * values.std() for values in (smooth, other)]
        for mask in masks:
            if rng.random() < 0.03:
                mask[:] = False
                mask[tuple(rng.integers(0, shape))] = rng.random() < 0.7
        yield masks[0], masks[1], tuple(rng.uniform(0.3, 3, 2).round(2).tolist())


def eroded(mask: np.ndarray) -> np.ndarray:
    """Return the inner band of a mask by SciPy."""
    width = max(1, round(0.02 * float(np.hypot(*mask.shape))))
    core = ndimage.binary_erosion(np.pad(mask, 1), np.ones((3, 3)), iterations=width)
    return mask & ~core[1:-1, 1:-1]


def others() -> dict[str, Callable[[np.ndarray, np.ndarray, tuple[float, float]], float]]:
    """Return the other implementations that are installed, by metric and name."""
    found = {"boundary_iou, SciPy": lambda a, b, s: iou(eroded(a), eroded(b))}
    try:
        np.Inf = np.inf
        import surface_distance as sd

        def distances(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float]) -> dict:
            return sd.compute_surface_distances(b, a, spacing)

        found["nsd, surface-distance"] = lambda a, b, s: sd.compute_surface_dice_at_tolerance(
            distances(a, b, s), 2
        )
        found["hd95, surface-distance"] = lambda a, b, s: sd.compute_robust_hausdorff(
            distances(a, b, s), 95
        )
    except ImportError:
        print("surface-distance is not installed")
    try:
        import torch
        from monai.metrics import compute_hausdorff_distance, compute_surface_dice

        def tensors(*masks: np.ndarray) -> list:
            return [torch.from_numpy(np.stack([~mask, mask])[None].astype("f4")) for mask in masks]

        found["nsd, MONAI"] = lambda a, b, s: compute_surface_dice(
            *tensors(a, b), [2.0], spacing=s, use_subvoxels=True
        ).item()
        found["hd95, MONAI"] = lambda a, b, s: compute_hausdorff_distance(
            *tensors(a, b), percentile=95, spacing=s
        ).item()
    except ImportError:
        print("MONAI is not installed")
    return found


OURS = {
    "nsd": lambda a, b, s: nsd(a, b, 2, s),
    "hd95": hd95,
    "boundary_iou": lambda a, b, s: boundary_iou(a, b),
}


def main() -> None:
    """Print the largest differences and the costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=500)
    drawn = list(pairs(parser.parse_args().pairs))
    lines = []
    for name, other in others().items():
        ours = np.array([OURS[name.split(",")[0]](*pair) for pair in drawn])
        theirs = np.array([other(*pair) for pair in drawn])
        known = np.isfinite(theirs) & np.isfinite(ours)
        gap = np.abs(ours - theirs)[known]
        sides = np.array([max(pair[2]) for pair in drawn])[known]
        lines.append([name, known.sum(), gap.max(), np.median(gap), (gap / sides).max()])
    columns = ["metric, other", "pairs", "largest", "median", "largest, in pixels"]
    print(pd.DataFrame(lines, columns=columns).to_string(index=False))
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(512, 512)), 20)
    mask, truth = (BoxedMask.from_mask(smooth > at * smooth.std()) for at in (1.0, 1.1))
    for name in ("dice", "boundary_iou", "hd95", "nsd@2"):
        names, start = further_names([name]) if name != "dice" else (), time.perf_counter()
        for _ in range(50):
            further_scores(names, mask, truth, (1.0, 1.0)) if names else dice(mask, truth)
        print(f"{name}: {(time.perf_counter() - start) / 50 * 1e3:.2f} ms for 512 x 512 pixels")


if __name__ == "__main__":
    main()
