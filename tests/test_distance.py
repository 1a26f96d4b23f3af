"""The deepest pixels of a region: few exact distances find the same ones as the whole distance
transform."""

import cv2
import numpy as np
import pytest

from medsam_utils import distance
from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.distance import farthest


def blob(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """Smooth random region in its bounding box, with holes and islands."""
    noise = cv2.GaussianBlur(
        rng.normal(size=(rows, cols)), (0, 0), rng.uniform(0.5, max(rows, cols) / 15)
    )
    return BoxedMask.from_mask(noise > 0.02 * rng.normal()).inside


def by_all_ways(region: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """By the exact transform, by few exact distances, and so piece by piece."""
    found = []
    for small, large in ((region.size + 1, region.size + 1), (0, region.size + 1), (0, 0)):
        monkeypatch.setattr(distance, "SMALL", small)
        monkeypatch.setattr(distance, "LARGE", large)
        deepest, pixels = farthest(region)
        found.append((deepest, pixels.tolist()))
    return found


def test_pieces_and_few_exact_distances_have_the_pixels_of_the_whole_transform(monkeypatch):
    rng = np.random.default_rng(1)
    for size in [*rng.integers(20, 120, (150, 2)), (700, 900), (1500, 300)]:
        region = np.pad(blob(rng, *size), 3)
        region[rng.integers(len(region), size=5)] = 0  # into pieces
        if region.any():
            whole, few, pieces = by_all_ways(region, monkeypatch)
            assert whole == few == pieces


def test_thin_rings_and_round_objects_have_the_pixels_of_the_whole_transform(monkeypatch):
    rng = np.random.default_rng(0)
    for size in (40, 150, 600):
        centres = [(size // 2, size // 2 + shift) for shift in (0, int(rng.integers(1, 4)))]
        disks = [
            cv2.circle(np.zeros((size,) * 2, np.uint8), at, size // 2 - 4, 1, -1) for at in centres
        ]
        for region in (disks[0], disks[0] ^ disks[1]):
            whole, few, pieces = by_all_ways(region, monkeypatch)
            assert whole == few == pieces


@pytest.mark.parametrize(
    ("shape", "deepest", "ties"),
    [((4, 4), 2, 4), ((5, 8), 3, 4), ((64, 3), 2, 62), ((100, 101), 50, 6), ((1, 300), 1, 300)],
)
def test_few_exact_distances_find_all_ties_of_a_full_rectangle(monkeypatch, shape, deepest, ties):
    whole, few, pieces = by_all_ways(np.ones(shape, np.uint8), monkeypatch)
    assert whole == few == pieces
    assert (whole[0], len(whole[1])) == (deepest, ties)


def test_the_approximation_keeps_within_its_bounds_in_every_direction():
    around = np.ones((401, 401), np.uint8)
    around[200, 200] = 0
    approximate = cv2.distanceTransform(around, cv2.DIST_L2, cv2.DIST_MASK_5)
    rows, cols = np.mgrid[-200:201, -200:201]
    ratio = approximate[around > 0] / np.hypot(rows, cols)[around > 0]
    assert distance.LEAST < ratio.min() < distance.LEAST + 0.001
    assert distance.MOST - 0.001 < ratio.max() < distance.MOST
