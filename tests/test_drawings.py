"""Drawings: what training and tests rely on."""

import numpy as np

from medsam_utils.demo import drawings
from medsam_utils.demo.drawings import (
    MIN_PIXELS,
    Drawings,
    _add_translucent,
    _label_map,
    _targets,
    _worth,
    draw,
    kind_of,
)


def test_the_same_seed_gives_the_same_drawing_and_another_seed_another():
    first, again, other = (draw(np.random.default_rng([seed, 5])) for seed in (1, 1, 2))
    assert np.array_equal(first[0], again[0])
    assert all(np.array_equal(a, b) for a, b in zip(first[1], again[1], strict=True))
    assert not (first[0].shape == other[0].shape and np.array_equal(first[0], other[0]))


def test_masks_fit_the_image_and_are_neither_tiny_nor_everything():
    shapes = set()
    for i in range(60):
        image, masks = draw(np.random.default_rng([3, i]), size=128)
        assert image.dtype == np.uint8 and max(image.shape) == 128
        assert 1 <= len(masks) <= 8
        for mask in masks:
            assert mask.dtype == bool and mask.shape == image.shape
            assert MIN_PIXELS <= mask.sum() < mask.size
        shapes.add(image.shape)
    assert len(shapes) > 10  # many aspect ratios


def test_objects_are_of_many_kinds():
    """Among 60 drawings are objects of several components, with holes, and of very different
    size."""
    import cv2

    sizes, components, holes = [], [], []
    for i in range(60):
        for mask in draw(np.random.default_rng([4, i]), size=128)[1]:
            outlines, levels = cv2.findContours(
                mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
            )
            outside = sum(levels[0, :, 3] < 0)
            sizes.append(mask.mean())
            components.append(outside)
            holes.append(len(outlines) - outside)
    assert np.mean(np.array(components) == 1) > 0.3 and np.mean(np.array(components) > 1) > 0.1
    assert np.mean(np.array(holes) > 0) > 0.1
    assert np.quantile(sizes, 0.9) > 20 * np.quantile(sizes, 0.1)


def test_kinds_of_objects_are_drawn_and_can_be_left_out():
    def kinds(without):
        series = (draw(np.random.default_rng([8, i]), without=without) for i in range(40))
        return {kind_of(image, mask) for image, masks in series for mask in masks}

    hard = {"very small", "thin", "hollow", "several parts", "faint"}
    assert kinds(()) == {"other"} | hard
    assert kinds(("thin", "hollow")) == {"other"} | hard - {"thin", "hollow"}


def test_a_body_with_a_part_is_an_object_more_often_than_what_is_left_without_it():
    labels = np.zeros((64, 64), int)
    labels[10:50, 10:50] = 1
    labels[20:40, 20:40] = 2  # a core of 1
    view, bodies = np.ones(labels.shape, bool), np.array([0, 1, 1])
    rng, areas = np.random.default_rng(0), []
    for _ in range(200):
        areas += [int(mask.sum()) for mask in _targets(rng, labels, bodies, view)]
    whole, part, rest = (areas.count(area) for area in (1600, 400, 1200))
    assert whole > 4 * part > 4 * rest > 0


def test_two_parts_are_an_object_more_often_than_three():
    def whole(parts):
        labels = np.zeros((64, 64), int)
        for i in range(parts):
            labels[10:30, 4 + 20 * i : 18 + 20 * i] = 1
        view, bodies = np.ones(labels.shape, bool), np.array([0, 1])
        rng, found = np.random.default_rng(0), []
        for _ in range(200):
            found += [int(mask.sum()) for mask in _targets(rng, labels, bodies, view)]
        return found.count(int((labels == 1).sum())) / found.count(20 * 14)

    assert whole(2) > 1 > 2 * whole(3) > 0


def test_translucent_objects_let_through_what_lies_behind_them_and_may_cross():
    behind = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    seen, crossed, brighter = [], 0, []
    for i in range(40):
        image, masks = _add_translucent(np.random.default_rng([6, i]), behind)
        assert 1 <= len(masks) <= 4 and image.shape == masks[0].shape == behind.shape
        crossed += any((a & b).any() for k, a in enumerate(masks) for b in masks[:k])
        covered = np.any(masks, axis=0)
        if covered.sum() > 100:
            seen.append(np.corrcoef(image[covered], behind[covered])[0, 1])
            brighter.append(abs(image[covered].mean() - image[~covered].mean()))
    assert np.min(seen) > 0.5 and crossed > 10
    assert np.median(brighter) > 0.1


def test_translucent_objects_are_among_the_targets(monkeypatch):
    translucent, kept, total = [], 0, 0

    def add_and_note(rng, image):
        image, masks = _add_translucent(rng, image)
        translucent.extend(masks)
        return image, masks

    monkeypatch.setattr(drawings, "_add_translucent", add_and_note)
    for i in range(60):
        translucent.clear()
        _, masks = draw(np.random.default_rng([9, i]), size=128)
        total += len(masks)
        whole = (t for t in translucent if t.shape == masks[0].shape)  # others are of a failed try
        kept += sum(np.array_equal(mask, t) for t in whole for mask in masks)
    assert kept > 0.05 * total


def test_parts_belong_to_a_body_that_is_its_own():
    found = 0
    for i in range(40):
        labels, bodies = _label_map(np.random.default_rng([5, i]), (64, 64))
        assert labels.max() < len(bodies) and np.array_equal(bodies[bodies], bodies)
        found += np.sum(bodies != np.arange(len(bodies)))
    assert found > 20


def test_the_dataset_leaves_out_kinds_too():
    drawings = Drawings(8, 2, 20, without=("very small",))
    inside = [drawings[i]["inside"].prod() for i in range(20)]
    assert all(drawings[i]["masks"].sum((1, 2)).min() >= 0.003 * inside[i] for i in range(20))


def test_thin_and_faint_targets_are_kept_less_often():
    thick, thin = np.zeros((2, 256, 256), bool)
    thick[30:90, 30:90] = thin[30:90, 30:31] = True
    grain = np.random.default_rng(0).normal(0, 5, thick.shape).astype(np.float32)
    clear, faint = (np.float32(contrast) * thick + grain for contrast in (60, 2))
    assert _worth(clear, thick) == 1
    assert _worth(faint, thick) < 0.4 and _worth(clear, thin) < 0.5


def test_the_dataset_pads_drawings_at_the_bottom_and_right():
    item = Drawings(seed=7, objects=3, length=10, size=96)[2]
    height, width = item["inside"]
    assert item["image"].shape == (96, 96) and item["masks"].shape == (3, 96, 96)
    assert not item["image"][height:].any() and not item["image"][:, width:].any()
    assert not item["masks"][:, height:].any() and not item["masks"][:, :, width:].any()
    assert all(mask.any() for mask in item["masks"])


def test_larger_objects_are_chosen_more_often():
    drawings, differences = Drawings(5, 1, 60), []
    for i in range(60):
        _, masks = draw(np.random.default_rng([5, i]))  # the drawing of item i
        chosen = drawings[i]["masks"].sum()
        differences.append(np.log(chosen) - np.mean([np.log(mask.sum()) for mask in masks]))
    assert np.mean(differences) > 0.3  # chosen alike: about 0
