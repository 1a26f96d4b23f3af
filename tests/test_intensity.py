import dataclasses
import pickle

import numpy as np
import pytest

from medsam_utils.intensity import EightBit, MaxScaling, Percentile, Window

RULES = [EightBit(), MaxScaling(), Percentile(), Window(40, 400)]


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_rule_makes_8_bit_rgb_of_any_dtype(rule, dtype):
    image = rule(np.arange(6).reshape(2, 3).astype(dtype))
    assert image.shape == (2, 3, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_keeps_the_order_of_brightness(rule):
    grey = rule(np.array([[-200, 0, 10, 90, 300]], np.int16))[0, :, 0].astype(int)
    assert (np.diff(grey) >= 0).all()
    assert grey[0] < grey[-1]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_an_image_of_one_value_is_no_error(rule):
    for value in (0, 7):
        assert rule(np.full((2, 2), value, np.int16)).shape == (2, 2, 3)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rules_travel_to_workers_and_into_records(rule):
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert dataclasses.asdict(rule) == vars(rule)


def test_8_bit_images_are_kept_and_colours_too():
    colours = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(EightBit()(colours), colours)


def test_16_bit_images_use_their_whole_range():
    np.testing.assert_array_equal(EightBit()(np.array([[0, 65535]], np.uint16))[0, :, 0], [0, 255])
    np.testing.assert_array_equal(EightBit()(np.array([[40, 1040]], np.uint16))[0, :, 0], [0, 255])


def test_max_scaling_is_the_released_codes_formula():
    values = np.array([[0, 1, 99, 200]], np.uint8)
    np.testing.assert_array_equal(
        MaxScaling()(values)[..., 0], np.uint8(values / values.max() * 255)
    )


def test_max_scaling_does_not_wrap_negative_values_round():
    np.testing.assert_array_equal(
        MaxScaling()(np.array([[-1000, 0, 1000]], np.int16))[0, :, 0], [0, 127, 255]
    )


def test_the_empty_background_does_not_shift_the_percentiles():
    tissue = np.arange(1, 101, dtype=np.float32)[np.newaxis]
    framed = np.concatenate([np.zeros((1, 900), np.float32), tissue], axis=1)
    np.testing.assert_array_equal(Percentile(5, 95)(framed)[:, 900:], Percentile(5, 95)(tissue))


def test_a_window_clips_at_its_edges():
    hounsfield = np.array([[-1000, -160, 40, 240, 3000]], np.int16)
    np.testing.assert_array_equal(
        Window(centre=40, width=400)(hounsfield)[0, :, 0], [0, 0, 128, 255, 255]
    )
