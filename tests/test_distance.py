"""The deepest pixels of a region: bounds by cells find the same ones as the whole distance transform."""

import cv2
import numpy as np
import pytest

from medsam_utils import distance
from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.distance import farthest


def blob(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """Smooth random region in its bounding box, with holes and islands."""
    noise = cv2.GaussianBlur(rng.normal(size=(rows, cols)), (0, 0), rng.uniform(0.5, max(rows, cols) / 15))
    return BoxedMask.of(noise > 0.02 * rng.normal()).inside


def by_both_ways(region: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    found = []
    for large in (0, region.size):
        monkeypatch.setattr(distance, "LARGE", large)
        deepest, pixels = farthest(region)
        found.append((deepest, pixels.tolist()))
    return found


def test_pieces_one_by_one_have_the_pixels_of_the_whole_transform(monkeypatch):
    rng = np.random.default_rng(1)
    for size in rng.integers(20, 120, (150, 2)):
        region = np.pad(blob(rng, *size), 3)
        region[rng.integers(len(region), size=5)] = 0  # into pieces
        if not region.any():
            continue
        found = []
        for medium in (0, region.size + 1):
            monkeypatch.setattr(distance, "MEDIUM", medium)
            deepest, pixels = farthest(region)
            found.append((deepest, pixels.tolist()))
        assert found[0] == found[1]


def test_cells_find_the_pixels_of_the_whole_transform_on_random_regions(monkeypatch):
    rng = np.random.default_rng(0)
    sizes = [*rng.integers(1, 120, (150, 2)), (700, 900), (1500, 300)]
    for region in (blob(rng, *size) for size in sizes):
        if region.size:
            by_cells, whole = by_both_ways(region, monkeypatch)
            assert by_cells == whole


@pytest.mark.parametrize(
    ("shape", "deepest", "ties"),
    [((4, 4), 2, 4), ((5, 8), 3, 4), ((64, 3), 2, 62), ((100, 101), 50, 6), ((1, 300), 1, 300)],
)
def test_cells_find_all_ties_of_a_full_rectangle(monkeypatch, shape, deepest, ties):
    by_cells, whole = by_both_ways(np.ones(shape, np.uint8), monkeypatch)
    assert by_cells == whole
    assert (whole[0], len(whole[1])) == (deepest, ties)
