"""A boxed mask answers as the whole mask does, and as SciPy and scikit-image do."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label, regionprops

from medsam_utils.boxed_mask import BoxedMask, largest_regions
from medsam_utils.metrics import components, dice, iou

SHAPE = (40, 50)


def random_mask(rng: np.random.Generator) -> np.ndarray:
    """Random pixels in a random box, which may be empty or the whole image."""
    mask = np.zeros(SHAPE, bool)
    (top, bottom), (left, right) = (np.sort(rng.integers(0, n + 1, 2)) for n in SHAPE)
    mask[top:bottom, left:right] = rng.random((bottom - top, right - left)) < rng.random()
    return mask


def with_margins(mask: np.ndarray, rng: np.random.Generator) -> BoxedMask:
    """The mask in a box larger than it needs."""
    boxed = BoxedMask.from_mask(mask)
    rows, cols = boxed.inside.shape
    top, left = int(rng.integers(0, boxed.row + 1)), int(rng.integers(0, boxed.col + 1))
    inside = mask[top : boxed.row + rows, left : boxed.col + cols]
    return BoxedMask(np.ascontiguousarray(inside).view(np.uint8), top, left, SHAPE)


def test_area_overlap_difference_and_pixels_are_those_of_the_whole_masks():
    rng = np.random.default_rng(0)
    for _ in range(300):
        a, b = random_mask(rng), random_mask(rng)
        boxed_a, boxed_b = with_margins(a, rng), BoxedMask.from_mask(b)
        assert np.array_equal(boxed_a.mask(), a) and np.array_equal(boxed_a.trimmed().mask(), a)
        assert (boxed_a.area, boxed_a.common(boxed_b)) == (a.sum(), (a & b).sum())
        assert np.array_equal((boxed_a ^ boxed_b).mask(), a ^ b)
        assert all(
            ((row, col) in boxed_a) == a[row, col] for row, col in rng.integers(0, 40, (20, 2))
        )
        np.testing.assert_equal(iou(boxed_a, boxed_b), iou(a, b))
        np.testing.assert_equal(dice(a, boxed_b), dice(a, b))


def test_box_and_area_are_those_of_scikit_image_and_scipy():
    rng = np.random.default_rng(1)
    for _ in range(300):
        mask = random_mask(rng)
        boxed = with_margins(mask, rng).trimmed()
        if not mask.any():
            assert boxed.inside.size == boxed.area == 0
            continue
        (region,) = regionprops(mask.astype(np.uint8))
        rows, cols = boxed.inside.shape
        assert (boxed.row, boxed.col, boxed.row + rows, boxed.col + cols) == region.bbox
        assert boxed.area == region.area
        assert np.array_equal(boxed.inside, region.image)
        (box,) = ndimage.find_objects(mask.astype(np.uint8))
        assert np.array_equal(boxed.inside, mask[box])


def test_components_are_as_many_as_scipy_and_scikit_image_count_with_diagonal_neighbours():
    rng = np.random.default_rng(2)
    counts = set()
    for _ in range(300):
        mask = random_mask(rng)
        expected = ndimage.label(mask, structure=np.ones((3, 3)))[1]
        assert components(mask) == components(with_margins(mask, rng)) == expected
        assert label(mask, connectivity=2).max() == expected
        counts.add(expected)
    assert 0 in counts and max(counts) > 20


def test_masks_of_different_images_are_refused():
    a, b = BoxedMask.from_mask(np.ones((2, 3), bool)), BoxedMask.from_mask(np.ones((3, 2), bool))
    with pytest.raises(ValueError, match="different shapes"):
        a ^ b
    with pytest.raises(ValueError, match="different shapes"):
        iou(a, b)


@pytest.mark.parametrize("equals", ["first", "last"])
def test_of_equally_large_regions_the_first_or_the_last_in_reading_order_comes_first(equals):
    rng = np.random.default_rng(6)
    for _ in range(100):
        mask = rng.random(SHAPE) < 0.2
        labels = label(mask, connectivity=2)
        places = {
            region.label: np.flatnonzero(labels == region.label) for region in regionprops(labels)
        }
        sign = 1 if equals == "first" else -1
        expected = sorted(places.values(), key=lambda place: (-len(place), sign * place[0]))
        found = largest_regions(BoxedMask.from_mask(mask), 5, equals)
        for region, place in zip(found, expected[:5], strict=True):
            assert np.array_equal(np.flatnonzero(region.mask()), place)
