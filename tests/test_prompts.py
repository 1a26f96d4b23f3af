"""Prompt modes: the same masks as a plain loop over SamPredictor, and what each mode is told."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from segment_anything import SamPredictor

from medsam_utils import PAPER, RELEASED_CODE, evaluate, load_dataset, load_model
from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.case import BadInputError, Case
from medsam_utils.clicks import click_rng
from medsam_utils.demo.drawings import draw
from medsam_utils.models.sam import SamEmbedding
from medsam_utils.prompts import MODES, PUBLISHED, first_prompts, jitter_box
from medsam_utils.simulation import replay, simulate_clicks

OBJECTS = 100


@pytest.fixture(scope="module")
def sam():
    return load_model("sam_small", device="cpu", exact=True)


@pytest.fixture(scope="module")
def cases():
    """Drawn images with 100 objects; every fifth object has several regions."""
    found, objects = [], 0
    while objects < OBJECTS:
        image, masks = draw(np.random.default_rng([11, len(found)]))
        masks = [mask for mask in masks if mask.any()][: OBJECTS - objects]
        masks = [
            in_pieces(mask) if (objects + i) % 5 == 0 else mask for i, mask in enumerate(masks)
        ]
        names = {f"object {i}": mask for i, mask in enumerate(masks)}
        found.append(
            Case("drawn", str(len(found)), "none", None, np.repeat(image[..., None], 3, 2), names)
        )
        objects += len(masks)
    return found


def in_pieces(mask):
    """The mask without some of its rows and columns, if anything is left."""
    cut = mask.copy()
    rows, cols = np.nonzero(mask)
    cut[int(np.median(rows))] = cut[:, int(np.median(cols))] = False
    return cut if cut.any() else mask


def plain_regions(mask):
    """Regions with diagonal neighbours, largest first, of equally large ones the first in reading
    order; written independently of the package."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    found = [labels == label for label in range(1, count)]
    return sorted(found, key=lambda region: (-region.sum(), np.flatnonzero(region)[0]))


def plain_point(region, rng):
    """(x, y) of one of the deepest pixels."""
    padded = cv2.distanceTransform(
        np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    squares = np.rint(padded[1:-1, 1:-1].astype(float) ** 2)
    pixels = np.argwhere(squares == squares.max())
    return pixels[rng.integers(len(pixels))][::-1]


def plain_box(region):
    rows, cols = np.nonzero(region)
    return np.array([cols.min(), rows.min(), cols.max(), rows.max()])


def plain_candidates(predictor, mask, mode, rng):
    """Three candidates and their confidences, as a plain loop over SamPredictor has them."""
    parts = plain_regions(mask)
    if mode in ("point_largest", "points_3_largest", "clicks"):
        asked = {"point_largest": parts[:1], "points_3_largest": parts[:3], "clicks": [mask]}[mode]
        points = np.array([plain_point(region, rng) for region in asked])
        return predictor.predict(points, np.ones(len(points), int))[:2]
    asked = {"box_largest": parts[:1], "boxes_3_largest": parts[:3], "box_all": [mask]}[mode]
    answers = [predictor.predict(box=plain_box(region))[:2] for region in asked]
    united = np.logical_or.reduce([masks for masks, _ in answers])
    return united, np.mean([confidences for _, confidences in answers], axis=0)


def best(masks, _, truth):
    return int(np.argmax([(mask & truth).sum() / (mask | truth).sum() for mask in masks]))


class Once:
    """A model or a SamPredictor that answers an equal question about an image once: modes often
    agree."""

    def __init__(self, asked):
        self.asked, self.answers = asked, {}
        self.candidates, self.batched = 3, False

    def once(self, verb, *given, **more):
        key = repr(
            (
                verb,
                [one for one in given if not isinstance(one, SamEmbedding)],
                sorted(more.items()),
            )
        )
        if key not in self.answers:
            self.answers[key] = getattr(self.asked, verb)(*given, **more)
        return self.answers[key]

    def encode(self, image):
        return self.once("encode", image)

    def predict(self, *given, **more):
        return self.once("predict", *given, **more)


CHOICES = {
    "most_confident": lambda masks, confidences, truth: int(np.argmax(confidences)),
    "first": lambda masks, confidences, truth: 0,
    "oracle": best,
}


def test_on_100_objects_every_mode_has_the_masks_of_a_plain_loop_over_sam_predictor(sam, cases):
    predictor, seen, several = SamPredictor(sam.network), 0, 0
    for number, case in enumerate(cases):
        predictor.set_image(case.image)
        plain, model = Once(predictor), Once(sam)
        choices = list(CHOICES)[: 3 if number < 3 else 1]
        for mode, mask_choice in itertools.product(MODES, choices):
            protocol = replace(PAPER, prompt=mode, mask_choice=mask_choice)
            for _, target in simulate_clicks(
                case, {name: name for name in case.masks}, model, protocol, 1
            ):
                truth = case.masks[target.task]
                rng = click_rng(protocol, case.dataset, case.case_id, target.task, 1)
                masks, confidences = plain_candidates(plain, truth, mode, rng)
                index = CHOICES[mask_choice](masks, confidences, truth)
                assert target.scores["mask_index"] == index
                assert np.array_equal(target.prediction.mask(), masks[index])
                assert target.scores["predicted_iou"] == confidences[index]
                seen, several = seen + 1, several + (target.size["components"] > 1)
    assert seen >= len(MODES) * OBJECTS and several >= len(MODES) * OBJECTS / 6


def test_a_box_with_clicks_and_the_mask_fed_back_is_a_plain_loop_over_sam_predictor(sam, cases):
    predictor, fed = SamPredictor(sam.network), 0
    for case in cases[:4]:
        predictor.set_image(case.image)
        names = {name: name for name in case.masks}
        protocol = replace(PAPER, prompt="box_all", feedback=True)
        points, labels, low = ({name: [] for name in names} for _ in range(3))
        for n, target in simulate_clicks(case, names, sam, protocol, 4):
            task = target.task
            if target.click is None and n > 1:
                continue
            if target.click:
                points[task].append((target.click.col, target.click.row))
                labels[task].append(int(target.click.positive))
            masks, confidences, logits = predictor.predict(
                np.array(points[task]) if n > 1 else None,
                np.array(labels[task]) if n > 1 else None,
                box=plain_box(case.masks[task]),
                mask_input=low[task] if n > 1 else None,
            )
            index = int(np.argmax(confidences))
            assert np.array_equal(target.prediction.mask(), masks[index])
            low[task] = logits[index : index + 1]
            fed += n > 1
    assert fed > 20


def squares():
    """A square of 4 x 4, two of 3 x 3 that touch by a corner, one of 2 x 2, and a single pixel."""
    mask = np.zeros((20, 20), bool)
    mask[1:5, 1:5] = mask[8:11, 8:11] = mask[11:14, 11:14] = mask[1:3, 16:18] = mask[17, 3] = True
    return BoxedMask.from_mask(mask)


def told(prompt, **more):
    protocol = replace(PAPER, prompt=prompt, **more)
    return first_prompts(squares(), protocol, np.random.default_rng(0))


def test_regions_touch_by_corners_and_the_largest_has_the_point_and_the_box():
    (points,) = told("points_3_largest")
    assert len(points.clicks) == 3 and points.box is None and all(c.positive for c in points.clicks)
    places = [(c.row, c.col) for c in points.clicks]
    assert places[0] in [(9, 9), (12, 12)] and places[1] in [(2, 2), (2, 3), (3, 2), (3, 3)]
    assert places[2] in [(1, 16), (1, 17), (2, 16), (2, 17)]
    (one,) = told("point_largest")
    assert [(c.row, c.col) for c in one.clicks] == places[:1]
    boxes = [(prompt.clicks, prompt.box.tolist()) for prompt in told("boxes_3_largest")]
    assert boxes == [([], [8, 8, 13, 13]), ([], [1, 1, 4, 4]), ([], [1, 16, 2, 17])]
    assert [prompt.box.tolist() for prompt in told("box_largest")] == [[8, 8, 13, 13]]
    assert [prompt.box.tolist() for prompt in told("box_all")] == [[1, 1, 17, 17]]


def test_of_equally_large_regions_the_released_code_takes_the_last():
    """Four squares of 2 x 2, in reading order."""
    mask = np.zeros((20, 20), bool)
    corners = [(1, 1), (1, 10), (8, 5), (15, 15)]
    for row, col in corners:
        mask[row : row + 2, col : col + 2] = True

    def boxes(prompt, preset):
        truth, rng = BoxedMask.from_mask(mask), np.random.default_rng(0)
        prompts = first_prompts(truth, replace(preset, prompt=prompt), rng)
        return [tuple(p.box[:2].tolist()) for p in prompts]

    assert boxes("box_largest", PAPER) == corners[:1]
    assert boxes("box_largest", RELEASED_CODE) == corners[-1:]
    assert boxes("boxes_3_largest", PAPER) == corners[:3]
    assert boxes("boxes_3_largest", RELEASED_CODE) == corners[:0:-1]


def test_a_larger_region_goes_before_a_later_one_under_both_presets():
    truth, rng = squares(), np.random.default_rng(0)
    for preset in (PAPER, RELEASED_CODE):
        (prompt,) = first_prompts(truth, replace(preset, prompt="box_largest"), rng)
        assert prompt.box.tolist() == [8, 8, 13, 13]


def test_jitter_is_seeded_stays_in_the_image_and_has_the_stated_spread():
    box, shape = np.array([40, 20, 59, 99]), (100, 120)
    assert jitter_box(box, 0.0, np.random.default_rng(0), shape).tolist() == box.tolist()
    draws = np.array([jitter_box(box, 0.1, np.random.default_rng(i), shape) for i in range(2000)])
    assert np.array_equal(draws[7], jitter_box(box, 0.1, np.random.default_rng(7), shape))
    np.testing.assert_allclose(draws.std(axis=0), [2, 8, 2, 8], rtol=0.06)
    wild = np.array([jitter_box(box, 3, np.random.default_rng(i), shape) for i in range(200)])
    assert (wild >= 0).all() and (wild[:, ::2] < 100).all() and (wild[:, 1::2] < 120).all()
    assert (wild[:, :2] <= wild[:, 2:]).all()


def test_boxes_off_by_chance_are_the_same_in_any_order_of_cases(sam, cases):
    protocol = replace(PAPER, prompt="box_all", box_noise=0.2)
    orders = [cases[:4], cases[3::-1]]
    found = [
        {
            (case.case_id, target.task): target.prompts[0].box.tolist()
            for case in order
            for _, target in simulate_clicks(case, {n: n for n in case.masks}, sam, protocol, 1)
        }
        for order in orders
    ]
    assert found[0] == found[1]
    exact = [
        list(map(int, plain_box(case.masks[n])[[1, 0, 3, 2]]))
        for case in cases[:4]
        for n in case.masks
    ]
    assert [list(box) for box in found[0].values()] != exact


def test_rows_of_a_mode_have_the_same_columns_are_stored_and_say_which_mode(tmp_path):
    dataset, grabcut = load_dataset("xray_hip"), load_model("grabcut")
    protocol = replace(PAPER, prompt="box_all")
    plain = evaluate(dataset, grabcut, PAPER, clicks=3, max_cases=2, store=tmp_path)
    rows = evaluate(dataset, grabcut, protocol, clicks=3, max_cases=2, store=tmp_path)
    assert rows.dtypes.equals(plain.dtypes) and set(rows["protocol"]) == {"paper, prompt=box_all"}
    assert (rows.loc[rows["click"] == 1, ["row", "col"]] == -1).all(axis=None)
    assert (rows.loc[rows["click"] == 2, ["row", "col"]] >= 0).all(axis=None)
    again = evaluate(dataset, grabcut, protocol, clicks=3, max_cases=2, store=tmp_path)
    assert again.attrs["record"]["computed"] == 0 and again.equals(rows)


def test_rows_that_do_not_tell_all_that_a_model_was_told_are_not_replayed(sam, cases):
    dataset = load_dataset("xray_hip")
    rows = evaluate(
        dataset, load_model("grabcut"), replace(PAPER, prompt="box_all"), clicks=1, max_cases=1
    )
    with pytest.raises(ValueError, match="no boxes"):
        replay(cases[0], sam, rows, 1)


def test_what_is_predicted_box_by_box_takes_no_further_click(sam, cases):
    with pytest.raises(BadInputError, match="box_all"):
        list(simulate_clicks(cases[0], {}, sam, replace(PAPER, prompt="boxes_3_largest"), 2))


def test_a_model_without_boxes_says_so_for_the_whole_run():
    protocol = replace(PAPER, prompt="box_all")
    with pytest.raises(BadInputError, match="ritm_small takes no boxes"):
        evaluate(
            load_dataset("xray_hip"), load_model("ritm_small"), protocol, clicks=1, max_cases=1
        )


def test_every_published_mode_has_a_way_to_run_it():
    assert list(PUBLISHED) == [1, 2, 3, 4, 5] and set(PUBLISHED.values()) == set(MODES) - {"clicks"}
