from pathlib import Path

import numpy as np
import pytest

from medsam_utils.case import BadCaseError
from medsam_utils.datasets.masks import (
    ANY_VALUE,
    Marks,
    check_labels,
    class_masks,
    find_meaning,
    tidy_mask,
)

PATH = Path("masks/a.png")


def marked(values, threshold=128, lossy=False):
    """Read a row of values as one binary object."""
    values = tidy_mask(np.asarray(values), PATH)
    return masks_of(values, {"object": ANY_VALUE}, threshold, lossy)["object"].astype(int).tolist()


def masks_of(values, classes, threshold=128, lossy=False):
    """Return the masks of classes in a whole file."""
    return class_masks(Marks(values, find_meaning(values, lossy)), classes, threshold, PATH)


@pytest.mark.parametrize("inside", [1, 2, 127, 200, 255])
def test_a_mask_with_one_value_is_that_object_whatever_the_value(inside):
    assert marked(np.array([0, inside, 0], np.uint8)) == [0, 1, 0]


def test_a_1_bit_mask_is_its_true_pixels():
    assert marked([False, True]) == [0, 1]


def test_a_soft_mask_is_cut_at_half():
    assert marked(np.array([0, 1, 127, 128, 254, 255], np.uint8)) == [0, 0, 0, 1, 1, 1]


def test_threshold_255_is_the_released_codes_rule():
    values = np.array([0, 1, 127, 128, 254, 255], np.uint8)
    released = np.uint8(values / 255) > 0
    assert marked(values, threshold=255) == released.astype(int).tolist()


def test_a_16_bit_mask_is_cut_at_half_of_its_own_range():
    assert marked(np.array([0, 65535], np.uint16)) == [0, 1]
    assert marked(np.array([0, 32767, 32768, 65535], np.uint16)) == [0, 0, 1, 1]


def test_a_mask_of_fractions_is_cut_at_one_half():
    assert marked(np.array([0, 0.25, 0.5, 0.75, 1])) == [0, 0, 1, 1, 1]


def test_small_numbers_are_a_label_map_and_all_of_them_are_foreground():
    assert marked(np.array([0, 1, 2, 3], np.uint8)) == [0, 1, 1, 1]


def test_the_noise_of_an_empty_jpeg_is_no_object():
    assert marked(np.array([0, 1, 3, 2], np.uint8), lossy=True) == [0, 0, 0, 0]


def test_whole_numbers_stored_as_floats_are_labels():
    values = tidy_mask(np.array([0.0, 1.0, 1.9999]), PATH)
    assert values.dtype.kind == "i"
    assert values.tolist() == [0, 1, 2]


def test_classes_are_their_label_values_and_may_share_them():
    values = np.array([0, 1, 2, 4], np.uint8)
    masks = masks_of(values, {"core": (1,), "tumour": (1, 4)})
    assert masks["core"].tolist() == [False, True, False, False]
    assert masks["tumour"].tolist() == [False, True, False, True]


def test_given_label_values_are_never_thresholded():
    values = np.array([0, 127, 255], np.uint8)
    masks = masks_of(values, {"a": (127,), "b": (255,)})
    assert masks["a"].tolist() == [False, True, False]
    assert masks["b"].tolist() == [False, False, True]


def test_label_values_cannot_be_asked_of_fractions():
    with pytest.raises(BadCaseError, match=r"a\.png.*fractions.*round"):
        masks_of(np.array([0, 0.25, 0.5]), {"a": (1,)})


@pytest.mark.parametrize("values", [[0, np.nan], [0, np.inf], [0, -1], [1j]])
def test_values_that_no_mask_can_have_are_refused(values):
    with pytest.raises(BadCaseError, match=r"masks/a\.png"):
        tidy_mask(np.array(values), PATH)


def test_an_undeclared_label_is_refused_and_a_known_other_one_is_not():
    values = np.array([0, 1, 6], np.uint8)
    with pytest.raises(BadCaseError, match=r"a\.png.*\[6\]"):
        check_labels(values, {"liver": (1,)}, (), PATH)
    check_labels(values, {"liver": (1,)}, (6,), PATH)
    check_labels(values, {"liver": (1,)}, None, PATH)
