"""Algorithm 1: the click, its label, edges, ties, and when nothing is wrong any more."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.ndimage import distance_transform_edt

from medsam_utils import CVPR, PAPER, RELEASED_CODE, Click, Protocol, load_dataset, next_click
from medsam_utils.clicks import click_rng


def blobs(rng: np.random.Generator) -> np.ndarray:
    """A random bool mask of random shape, from one pixel to several irregular blobs."""
    shape = rng.integers(1, 90, 2)
    noise = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), rng.uniform(0.5, 6)).reshape(shape)
    return noise > rng.uniform(0, 0.5) * noise.max()


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_click_is_a_maximum_of_the_exact_distance_on_3000_random_masks():
    random = rng()
    for _ in range(3000):
        truth = blobs(random)
        prediction = np.roll(blobs(random), 3).astype(bool)
        prediction = np.resize(prediction, truth.shape)
        error = truth ^ prediction
        if not error.any():
            continue
        click = next_click(truth, prediction, PAPER, random)
        squared = np.rint(distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1] ** 2)
        assert squared[click.row, click.col] == squared.max()
        assert click.distance == pytest.approx(np.sqrt(squared.max()), abs=1e-9)
        assert click.ties == (squared == squared.max()).sum()
        assert click.positive == truth[click.row, click.col]


def test_the_image_edge_counts_as_boundary():
    everything = np.ones((5, 9), bool)
    click = next_click(everything, None, PAPER, rng())
    assert (click.row, click.distance) == (2, 3.0)
    assert 2 <= click.col <= 6 and click.ties == 5


def test_ties_are_broken_at_random_or_by_the_first_pixel():
    everything = np.ones((1, 50), bool)
    columns = {next_click(everything, None, PAPER, np.random.default_rng(i)).col for i in range(50)}
    assert len(columns) > 10
    assert next_click(everything, None, replace(PAPER, ties="first"), rng()) == Click(
        0, 0, True, 1.0, 50
    )


def test_a_false_positive_on_a_neighbour_is_negative_in_the_paper_positive_in_the_released_code():
    truth, neighbour = np.zeros((2, 20, 20), bool)
    truth[8:12, 2:6] = True
    neighbour[5:15, 10:20] = True
    prediction = truth | neighbour
    labelled = truth | neighbour
    in_paper = next_click(truth, prediction, PAPER, rng(), labelled)
    in_released_code = next_click(truth, prediction, RELEASED_CODE, rng(), labelled)
    assert (
        neighbour[in_paper.row, in_paper.col]
        and neighbour[in_released_code.row, in_released_code.col]
    )
    assert not in_paper.positive
    assert in_released_code.positive


def test_the_label_under_the_click_decides_on_random_label_maps():
    """Looked up in SciPy's label map of separate regions: this object, another one, background."""
    random, seen = rng(), set()
    for _ in range(200):
        label_map, regions = ndimage.label(blobs(random))
        if regions < 2:
            continue
        chosen = int(random.integers(1, regions + 1))
        prediction = np.isin(label_map, random.integers(0, regions + 1, regions))
        for rule in ("object", "foreground"):
            click = next_click(
                label_map == chosen, prediction, replace(PAPER, label=rule), random, label_map > 0
            )
            if click is None:
                assert np.array_equal(prediction, label_map == chosen)
                continue
            value = label_map[click.row, click.col]
            assert click.positive == (value == chosen if rule == "object" else value > 0)
            kind = "object" if value == chosen else "another" if value else "background"
            seen.add((rule, kind, click.positive))
    assert seen == {
        ("object", "object", True),
        ("object", "another", False),
        ("object", "background", False),
        ("foreground", "object", True),
        ("foreground", "another", True),
        ("foreground", "background", False),
    }


def test_without_a_foreground_both_label_rules_agree():
    truth = np.zeros((9, 9), bool)
    truth[:, :3] = True
    prediction = np.ones((9, 9), bool)
    assert not next_click(truth, prediction, RELEASED_CODE, rng()).positive


def test_a_perfect_mask_ends_the_clicks_in_the_paper_and_gets_any_pixel_in_the_released_code():
    truth = np.eye(7, dtype=bool)
    assert next_click(truth, truth, PAPER, rng()) is None
    pixels = [next_click(truth, truth, RELEASED_CODE, np.random.default_rng(i)) for i in range(40)]
    assert len({(click.row, click.col) for click in pixels}) > 20
    assert all(click.positive == truth[click.row, click.col] for click in pixels)


def test_an_empty_object_has_no_first_click():
    with pytest.raises(ValueError, match="empty object"):
        next_click(np.zeros((4, 4), bool), None, PAPER, rng())


def test_an_empty_object_that_was_predicted_gets_a_negative_click():
    prediction = np.zeros((7, 7), bool)
    prediction[1:4, 1:4] = True
    assert next_click(~prediction & False, prediction, PAPER, rng()) == Click(2, 2, False, 2.0, 1)


def test_the_approximate_distance_prefers_other_pixels_on_some_masks():
    random = rng()
    approximate = replace(PAPER, distance="approximate", ties="first")
    exact = replace(PAPER, ties="first")
    masks = [mask for mask in (blobs(random) for _ in range(300)) if mask.any()]
    moved = sum(
        (a.row, a.col) != (b.row, b.col)
        for a, b in (
            (next_click(m, None, approximate, rng()), next_click(m, None, exact, rng()))
            for m in masks
        )
    )
    assert 0 < moved < len(masks)


def test_a_click_depends_on_dataset_case_task_and_number_and_on_nothing_else():
    draws = {
        key: click_rng(PAPER, *key).integers(2**60)
        for key in [
            ("a", "c", "t", 1),
            ("b", "c", "t", 1),
            ("a", "d", "t", 1),
            ("a", "c", "u", 1),
            ("a", "c", "t", 2),
        ]
    }
    assert len(set(draws.values())) == 5
    assert click_rng(PAPER, "a", "c", "t", 1).integers(2**60) == draws["a", "c", "t", 1]
    assert (
        click_rng(replace(PAPER, seed=1), "a", "c", "t", 1).integers(2**60)
        != draws["a", "c", "t", 1]
    )


def test_a_protocol_is_named_by_what_it_changes():
    assert PAPER.name == "paper"
    assert RELEASED_CODE.name == "released-code"
    assert Protocol(label="foreground").name == "paper, label=foreground"


def test_classes_that_overlap_have_no_common_foreground_in_prepared_pictures_either(tmp_path):
    """A spine as PNG label map: grey matter (1) inside the cord (1 and 2)."""
    values = np.pad(np.pad(np.ones((4, 4), np.uint8), 3, constant_values=2), 5)
    for part, pixels in (("images", values * 100), ("masks", values)):
        (tmp_path / "mri_spine" / part).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "mri_spine" / part / "a.png")
    dataset = load_dataset("mri_spine", tmp_path)
    (reference,) = dataset.list().references
    case = dataset.load(reference)
    assert {name: int(mask.sum()) for name, mask in case.masks.items()} == {"GM": 16, "SC": 100}
    # What was taken too much of grey matter is all of the cord: the click there is negative.
    click = next_click(
        case.masks["GM"], case.masks["SC"], RELEASED_CODE, np.random.default_rng(0), case.labelled
    )
    assert case.labelled is None and not click.positive


def test_a_click_on_the_largest_region_of_the_error_is_not_the_deepest_of_all():
    truth = np.zeros((20, 40), bool)
    truth[2:9, 2:9] = True  # 49 pixels, depth 4
    truth[12:15, 2:38] = True  # 108 pixels, depth 2
    nothing = np.zeros_like(truth)
    clicks = [
        next_click(truth, nothing, protocol, np.random.default_rng(0))
        for protocol in (PAPER, replace(PAPER, error_region="largest"))
    ]
    assert [(click.row, click.distance) for click in clicks] == [(5, 4.0), (13, 2.0)]


def test_a_missed_and_an_extra_part_that_touch_are_one_region_of_the_error():
    truth, prediction = np.zeros((2, 12, 30), bool)
    truth[2:10, 2:12] = prediction[2:10, 12:22] = True  # side by side
    click = next_click(truth, prediction, CVPR, np.random.default_rng(0))
    assert click.row in (5, 6) and click.ties == 28  # columns 5 to 18


def test_help_explains_every_field_of_a_protocol():
    for field in fields(Protocol):
        assert f"\n    - {field.name}: " in Protocol.__doc__
