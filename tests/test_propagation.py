"""Through the volume: what is propagated, where it ends, and how far surfaces are apart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from medsam_utils import evaluate, load_dataset, load_model
from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.case import BadInputError
from medsam_utils.clicks import PAPER
from medsam_utils.metrics import surface_distances
from medsam_utils.models import Model, Prediction
from medsam_utils.workflows.propagation import (
    Propagation,
    click_slices,
    propagate,
    propagate_by_memory,
    volume_objects,
)


def block(size: int, at: int = 2) -> np.ndarray:
    """A square of size x size pixels in an image of 12 x 12."""
    mask = np.zeros((12, 12), bool)
    mask[at : at + size, at : at + size] = True
    return mask


class Knowing(Model):
    """A model that answers with the truth of its slice, wherever it is asked; its embedding is that
    truth."""

    name, weights = "knowing", ""

    def __init__(self, sure: float = 0.9) -> None:
        self.sure, self.asked = sure, []

    def predict(self, embedding, clicks, boxes=None, logits=None):
        self.asked.append((clicks, boxes, logits))
        answer = np.where(embedding, 1.0, -1.0).astype(np.float32)[None, None]
        return Prediction(answer, np.full((1, 1), self.sure, np.float32), lambda low: low)


def answer(truth: np.ndarray):
    return BoxedMask.from_mask(truth), np.where(truth, 1.0, -1.0).astype(np.float32)


def areas(masks) -> list[int]:
    return [mask.area for mask in masks]


def test_a_mask_is_carried_both_ways_until_nothing_is_left():
    truths = [block(n) for n in (3, 0, 2, 4, 3, 1, 0)]
    masks = propagate(Knowing(), truths, {3: answer(truths[3])}, Propagation("click"))
    assert areas(masks) == [0, 0, 4, 16, 9, 1, 0]  # slice 0 lies behind an empty one


def test_between_two_prompted_slices_each_goes_half_of_the_way():
    model, truths = Knowing(), [block(3)] * 6
    given = {1: answer(block(2)), 4: answer(block(5))}
    masks = propagate(model, truths, given, Propagation("mask"))
    assert areas(masks) == [9, 4, 9, 9, 25, 9]
    came_from = [int((logits > 0).sum()) for _, _, logits in model.asked]
    assert came_from == [4, 4, 25, 25]


def test_the_stop_rules_end_at_doubt_and_at_a_jump_of_the_area():
    truths, start = [block(4), block(3), block(1)], {0: answer(block(4))}
    assert areas(propagate(Knowing(), truths, start, Propagation("box", most_change=2))) == [
        16,
        9,
        0,
    ]
    assert areas(propagate(Knowing(0.4), truths, start, Propagation("box", least_iou=0.5))) == [
        16,
        0,
        0,
    ]
    assert areas(propagate(Knowing(np.nan), truths, start, Propagation("box", least_iou=0.5))) == [
        16,
        9,
        1,
    ]


class Remembering(Knowing):
    """A model with a memory: a small square wherever it goes on, a large one on the way back."""

    tracks = True

    def track(self, embeddings, masks, reverse=False):
        self.asked.append((sorted(masks), reverse))
        return [BoxedMask.from_mask(block(6 if reverse else 1))] * len(embeddings)


def test_a_memory_knows_all_prompted_slices_and_each_way_reaches_half_way():
    model, given = Remembering(), {1: answer(block(2)), 4: answer(block(5))}
    masks = propagate_by_memory(model, [block(3)] * 6, given)
    assert areas(masks) == [36, 4, 1, 36, 25, 1]  # the prompted slices keep their masks
    assert model.asked == [([1, 4], False), ([1, 4], True)]


def test_a_memory_is_told_no_empty_mask():
    model, empty = Remembering(), answer(block(0))
    assert areas(propagate_by_memory(model, [block(3)] * 2, {0: empty})) == [0, 0]
    assert areas(propagate_by_memory(model, [block(3)] * 3, {0: empty, 2: answer(block(2))})) == [
        0,
        36,
        4,
    ]
    assert model.asked == [([2], False), ([2], True)]


@pytest.mark.parametrize("way", ["mask", "box", "click", "box and click", "click and mask"])
def test_a_way_carries_its_parts_and_nothing_else(way):
    model = Knowing()
    propagate(model, [block(3), block(3)], {0: answer(block(3, at=5))}, Propagation(way))
    ((clicks, boxes, logits),) = model.asked
    assert [(click.row, click.col, click.positive) for click in clicks[0]] == [(6, 6, True)] * (
        "click" in way
    )
    assert boxes is None if "box" not in way else boxes.tolist() == [[5, 5, 7, 7]]
    assert logits is None if "mask" not in way else (logits[0] > 0).sum() == 9


def test_an_unknown_way_says_what_there_is():
    with pytest.raises(BadInputError, match="mask, box and click"):
        Propagation("memory").prompts(*answer(block(3)))


@pytest.fixture(scope="module")
def stack():
    return next(volume_objects(load_dataset("mri_prostate"), beyond=2))


def test_a_stack_is_in_order_and_goes_past_the_ends_of_the_object():
    dataset = load_dataset("mri_heart")
    for stack in volume_objects(dataset, beyond=2):
        indices = [case.slice_index for case in stack.cases]
        assert indices == list(range(indices[0], indices[0] + len(indices)))
        inside = [truth.area > 0 for truth in stack.truths]
        assert inside == [False] * 2 + [True] * (len(inside) - 4) + [False] * 2
        assert stack.voxel == (5.0, 2.2, 2.2)
        known = {r.case_id: r for r in dataset.list().references if r.slice_index == indices[3]}
        expected = dataset.load(known[stack.cases[3].case_id])
        assert np.array_equal(stack.cases[3].image, expected.image)


def test_slices_without_the_object_between_two_that_have_it_are_there_too():
    dataset = load_dataset("pet_wholebody")  # its lesions leave gaps
    gaps = [
        [truth.area > 0 for truth in stack.truths] for stack in volume_objects(dataset, beyond=0)
    ]
    assert all(inside[0] and inside[-1] for inside in gaps) and not all(map(all, gaps))


@pytest.mark.parametrize("name", ["mri_breast", "pet_liver"])
def test_dicom_volumes_tell_how_many_slices_they_have_and_how_far_apart(name):
    dataset = load_dataset(name)
    reference = dataset.list().references[0]
    count, apart = dataset.reader.slices(reference)
    assert count == len(reference.images) and 1 < apart < 20


def test_flat_images_are_no_volumes():
    with pytest.raises(BadInputError, match="no volume of xray_hip has 3 labelled slices"):
        next(volume_objects(load_dataset("xray_hip")))


def test_every_slice_is_clicked_as_in_an_evaluation_of_its_own(stack):
    model, dataset = load_model("sam_small", device="cpu"), load_dataset("mri_prostate")
    embeddings = [model.encode(case.image) for case in stack.cases]
    answers = click_slices(stack, model, embeddings, PAPER, clicks=2)
    rows = evaluate(dataset, model, clicks=2, max_cases=3)
    rows = rows[rows["case_id"].str.startswith(f"{stack.volume}_z") & (rows["click"] == 2)]
    assert len(rows)
    for row in rows.itertuples():
        i = next(i for i, case in enumerate(stack.cases) if case.case_id == row.case_id)
        mask, logits = answers[i][-1]
        truth = stack.truths[i]
        assert mask.common(truth) / (mask.area + truth.area - mask.common(truth)) == pytest.approx(
            row.iou
        )
        assert (logits > 0).any()


def test_a_perfect_volume_has_no_distance(stack):
    perfect = {"dice": 1.0, "slice_dice": 1.0, "hd95": 0.0, "surface": 0.0}
    assert stack.scores(stack.truths) == perfect


def test_without_a_spacing_there_is_dice_alone(stack):
    blind = dataclasses.replace(stack, voxel=None)
    found = blind.scores(stack.truths)
    assert found["dice"] == 1 and np.isnan(found["hd95"]) and np.isnan(found["surface"])


def surface_by_hand(mask):
    """Voxels of a mask with one outside among their six neighbours."""
    padded = np.pad(mask, 1)
    inner = np.logical_and.reduce(
        [np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1] for axis in range(3) for step in (-1, 1)]
    )
    return np.argwhere(mask & ~inner)


def test_surface_distances_are_those_of_all_pairs():
    rng, voxel = np.random.default_rng(0), (5.0, 0.5, 0.8)
    first, second = (rng.random((4, 9, 8)) < share for share in (0.6, 0.3))
    apart = cdist(*(surface_by_hand(mask) * voxel for mask in (first, second)))
    ways = apart.min(axis=1), apart.min(axis=0)
    expected = max(np.percentile(way, 95) for way in ways), np.concatenate(ways).mean()
    assert surface_distances(first, second, voxel) == pytest.approx(expected)
    assert surface_distances(second, first, voxel) == pytest.approx(expected)


def test_surface_distances_are_in_mm_along_each_axis():
    truth = np.zeros((8, 8, 8), bool)
    truth[2:5, 2:5, 2:5] = True
    for axis, mm in enumerate((5.0, 0.5, 2.0)):
        hd95, _ = surface_distances(np.roll(truth, 1, axis), truth, (5.0, 0.5, 2.0))
        assert hd95 == mm
    assert np.isnan(surface_distances(np.zeros_like(truth), truth, (1, 1, 1))).all()
