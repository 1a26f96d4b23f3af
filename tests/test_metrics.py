"""NSD, HD95 and boundary IoU: by eye, against a count piece by piece, and as columns of rows."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from medsam_utils import evaluate, load_folder, load_model, replay
from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.case import BadInputError
from medsam_utils.metrics import boundary_iou, further_names, further_scores, hd95, iou, nsd
from medsam_utils.results import ROW_TYPES
from medsam_utils.statistics import area_and_end, mean_curves

EMPTY = np.zeros((6, 8), bool)
PIXEL = EMPTY.copy()
PIXEL[2, 3] = True


def blob(seed: int, threshold: float = 0.1) -> np.ndarray:
    """A random mask of several smooth pieces, some of which reach the image's edge."""
    noise = np.random.default_rng(seed).normal(size=(24, 31))
    return ndimage.gaussian_filter(noise, 2) > threshold


def outline(mask: np.ndarray, spacing: tuple[float, float]) -> list[tuple[tuple, float]]:
    """The corners of an outline and the length of the piece in each, one window after the other."""
    row, col = spacing
    padded = np.pad(mask, 1)
    pieces = []
    for i, j in itertools.product(range(padded.shape[0] - 1), range(padded.shape[1] - 1)):
        (a, b), (c, d) = padded[i : i + 2, j : j + 2]
        inside = int(a) + b + c + d
        if inside in (1, 3):
            length = math.hypot(row, col) / 2
        elif inside == 2 and a == d:
            length = math.hypot(row, col)
        elif inside == 2:
            length = col if a == b else row
        else:
            continue
        pieces.append(((i * row, j * col), length))
    return pieces


def distances(first: list, second: list) -> list[tuple[float, float]]:
    """Each piece's distance to the nearest piece of the other outline, and its length, sorted."""
    return sorted((min(math.dist(at, other) for other, _ in second), n) for at, n in first)


PAIRS = [(2 * i, 2 * i + 1, spacing) for i, spacing in enumerate([(1, 1), (0.7, 1.3), (3, 0.4)])]


@pytest.mark.parametrize(("first", "second", "spacing"), PAIRS)
def test_nsd_is_that_of_a_count_piece_by_piece(first, second, spacing):
    a, b = blob(first), blob(second, 0.15)
    pieces = outline(a, spacing), outline(b, spacing)
    sides = [distances(*pieces), distances(*pieces[::-1])]
    near = sum(n for side in sides for far, n in side if far <= 1.5)
    assert nsd(a, b, 1.5, spacing) == pytest.approx(near / sum(n for s in sides for _, n in s))


@pytest.mark.parametrize(("first", "second", "spacing"), PAIRS)
def test_hd95_is_the_percentile_over_all_pairs_of_surface_pixels(first, second, spacing):
    sides = []
    for mask in (blob(first), blob(second, 0.15)):
        padded = np.pad(mask, 1)
        beside = [np.roll(padded, step, axis) for step in (1, -1) for axis in (0, 1)]
        sides.append(np.argwhere(padded & ~np.all(beside, axis=0)) * spacing)
    apart = np.linalg.norm(sides[0][:, None] - sides[1][None], axis=2)
    far = max(np.percentile(apart.min(axis=axis), 95) for axis in (0, 1))
    assert hd95(blob(first), blob(second, 0.15), spacing) == pytest.approx(far)


@pytest.mark.parametrize("seed", range(3))
def test_boundary_iou_is_the_iou_of_what_erosion_takes_away(seed):
    a, b = blob(seed), blob(seed + 10)
    bands = []
    for mask in (a, b):
        core = ndimage.binary_erosion(np.pad(mask, 1), np.ones((3, 3)), iterations=1)[1:-1, 1:-1]
        bands.append(mask & ~core)
    assert boundary_iou(a, b) == iou(*bands)  # 2 % of this diagonal round to one pixel


def test_a_mask_agrees_with_itself_in_every_metric():
    mask = blob(0)
    assert (nsd(mask, mask, 0), hd95(mask, mask), boundary_iou(mask, mask)) == (1, 0, 1)


def test_two_empty_masks_have_no_metric():
    assert all(np.isnan(f(EMPTY, EMPTY)) for f in (hd95, boundary_iou, lambda a, b: nsd(a, b, 1)))


def test_one_empty_mask_is_as_wrong_as_can_be():
    for masks in ((EMPTY, PIXEL), (PIXEL, EMPTY)):
        assert (nsd(*masks, 100), boundary_iou(*masks)) == (0, 0)
        assert hd95(*masks, (2, 1)) == math.hypot(12, 8)


def test_a_pixel_in_one_corner_and_one_in_the_other_are_not_farther_apart_than_an_empty_mask():
    first, last = EMPTY.copy(), EMPTY.copy()
    first[0, 0] = last[-1, -1] = True
    assert hd95(first, last) < hd95(first, EMPTY)


def test_a_pixel_has_four_pieces_of_outline_and_is_all_band():
    beside = np.roll(PIXEL, 1, axis=1)
    assert nsd(PIXEL, beside, 0) == 0.5 and nsd(PIXEL, beside, 1) == 1
    assert hd95(PIXEL, beside, (5, 0.25)) == 0.25
    assert boundary_iou(PIXEL, PIXEL) == 1 and boundary_iou(PIXEL, beside) == 0


def test_a_distance_of_just_the_tolerance_is_within_it_in_any_spacing():
    for n, size in itertools.product(range(1, 6), (0.1, 0.3, 0.4, 0.7, 1.1)):
        mask = np.zeros((3, 12), bool)
        mask[1, 1] = True
        assert nsd(mask, np.roll(mask, n, axis=1), round(n * size, 6), (size, size)) == 1


def test_a_mask_kept_as_a_box_has_the_metrics_of_the_whole_one():
    a, b = blob(4, 0.3), blob(5, 0.3)
    boxed = BoxedMask.from_mask(a), BoxedMask.from_mask(b)
    names = further_names(["hd95", "boundary_iou", "nsd@1", "union"])
    scores = further_scores(names, *boxed, (0.5, 2.0))
    assert scores == {
        "unit": "mm",
        "boundary_iou": boundary_iou(a, b),
        "hd95": hd95(a, b, (0.5, 2.0)),
        "nsd@1": nsd(a, b, 1, (0.5, 2.0)),
        "union": (a | b).sum(),
    }


def test_masks_of_two_shapes_are_an_error():
    for metric in (hd95, boundary_iou):
        with pytest.raises(ValueError, match="different shapes"):
            metric(PIXEL, PIXEL.T)


@pytest.mark.parametrize("name", ["nsd", "nsd@", "nsd@x", "nsd@-1", "nsd@inf", "nsd@nan"])
def test_a_tolerance_that_is_no_length_is_refused(name):
    with pytest.raises(BadInputError, match="tolerance"):
        further_names([name])


def test_an_unknown_metric_is_refused_with_the_nearest_known_one():
    with pytest.raises(BadInputError, match="did you mean 'hd95'"):
        further_names(["hd59"])


@pytest.fixture
def dataset(tmp_path):
    """Two drawn images of 40 x 48 pixels, PNG, without spacing."""
    for name in ("a", "b"):
        mask = np.zeros((40, 48), np.uint8)
        mask[8 : 20 + 8 * (name == "b"), 10:30] = 255
        for folder, picture in (("images", mask // 2 + 40), ("masks", mask)):
            (tmp_path / "own" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "own" / folder / f"{name}.png")
    return load_folder(tmp_path / "own")


METRICS = ("nsd@2", "boundary_iou", "hd95")


def test_rows_without_further_metrics_are_the_same_beside_those_with_them(dataset, tmp_path):
    model = load_model("grabcut")
    plain = evaluate(dataset, model, clicks=2, store=tmp_path / "store", executor=None)
    further = evaluate(
        dataset, model, clicks=2, store=tmp_path / "store", executor=None, metrics=METRICS
    )
    again = evaluate(dataset, model, clicks=2, store=tmp_path / "store", executor=None)
    assert list(plain.columns) == list(ROW_TYPES)
    assert list(further.columns) == [*ROW_TYPES, "unit", *sorted(METRICS)]
    assert again.attrs["record"]["computed"] == 0
    for rows in (plain, further, again):
        rows.attrs = {}  # times, which Parquet would hold, too
    for rows in (further[list(ROW_TYPES)], again):
        assert rows.to_parquet() == plain.to_parquet()


def test_stored_metrics_are_read_and_those_of_the_masks(dataset, tmp_path):
    model = load_model("grabcut")
    runs = [
        evaluate(dataset, model, clicks=2, store=tmp_path, executor=None, metrics=names)
        for names in (METRICS, METRICS[::-1])
    ]
    assert runs[1].attrs["record"]["computed"] == 0
    pd.testing.assert_frame_equal(*runs)
    assert set(runs[0]["unit"]) == {"pixels"}
    row = runs[0].iloc[-1]
    case = dataset.load(row["case_id"])
    mask = replay(case, model, runs[0][runs[0]["case_id"] == row["case_id"]], 2)
    (truth,) = case.masks.values()
    assert row["hd95"] == hd95(mask, truth) and row["nsd@2"] == nsd(mask, truth, 2)
    assert row["boundary_iou"] == boundary_iou(mask, truth)


SAME = {"task": "T", "model": "m", "level": "demo", "patient_id": "p"}


def test_the_area_under_a_curve_is_its_mean_height_by_trapezoids():
    rows = pd.DataFrame({**SAME, "case_id": "a", "click": [1, 2, 3, 4], "dice": [0.8, 0.4, 0.2, 0]})
    line = area_and_end(rows, "dice").iloc[0]
    assert (line["auc"], line["final"]) == (pytest.approx((0.6 + 0.3 + 0.1) / 3), 0)
    assert area_and_end(rows, "dice", first=2)["auc"].iloc[0] == pytest.approx((0.3 + 0.1) / 2)


def test_with_one_click_the_area_is_the_value():
    rows = pd.DataFrame({**SAME, "case_id": list("ab"), "click": 1, "iou": [0.5, 0.25]})
    assert area_and_end(rows)["auc"].tolist() == [0.5, 0.25]


def test_lengths_in_mm_and_in_pixels_share_no_mean():
    rows = pd.DataFrame(
        {**SAME, "case_id": list("ab"), "click": 1, "hd95": [3.0, 5.0], "unit": ["mm", "pixels"]}
    )
    with pytest.raises(BadInputError, match="no spacing"):
        mean_curves(rows, "hd95")
    assert mean_curves(rows.assign(unit="mm"), "hd95")["hd95"].tolist() == [4.0]
