"""Everything mode: proposals, who names them, and that no patient is in training and test."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medsam_utils import load_dataset, load_model
from medsam_utils.book.pages.everything import answer, proposals_figure
from medsam_utils.case import Case
from medsam_utils.comparison import score_masks
from medsam_utils.workflows import everything
from medsam_utils.workflows.everything import Proposals, classify, labels, oracle


def square(top, left, side=6, shape=(40, 40)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def made(patient, number):
    """A bright square on the left, a dark one on the right; a proposal for each, and one beside."""
    rng = np.random.default_rng(number)
    bright, dark = square(int(rng.integers(3, 30)), 5), square(int(rng.integers(3, 30)), 28)
    grey = np.full((40, 40), 100, np.uint8) + rng.integers(0, 9, (40, 40)).astype(np.uint8)
    grey[bright], grey[dark] = 220, 10
    case = Case(
        "made",
        f"{number}",
        patient,
        None,
        np.repeat(grey[..., None], 3, 2),
        {"b": bright, "d": dark},
    )
    masks = [bright, dark, square(16, 16, 8)]
    lines = [
        everything.features(case.image, mask) | {"predicted_iou": 0.9, "stability": 0.9}
        for mask in masks
    ]
    return Proposals(case, masks, pd.DataFrame(lines))


@pytest.fixture(scope="module")
def cases():
    """Two images of each of six patients."""
    return [made(f"patient {i // 2}", i) for i in range(12)]


def test_the_classifier_reads_no_truth_of_the_patients_it_is_tested_on(cases, monkeypatch):
    fitted, tested, forest = [], [], everything.RandomForestClassifier
    known = {tuple(line): one.case.patient_id for one in cases for line in one.features.to_numpy()}

    class Watched(forest):
        def fit(self, inputs, outputs):
            fitted.append({known[tuple(line)] for line in inputs})
            return super().fit(inputs, outputs)

        def predict(self, inputs):
            tested.append({known[tuple(line)] for line in inputs})
            assert not tested[-1] & fitted[-1]
            return super().predict(inputs)

    monkeypatch.setattr(everything, "RandomForestClassifier", Watched)
    classify(cases, folds=3)
    assert len(fitted) == 3 and all(len(patients) == 4 for patients in fitted)
    assert len(tested) == 12 and set.union(*tested) == set.union(*fitted)  # every case, once


def test_names_that_can_be_learned_are_learned(cases):
    for one, found in zip(cases, classify(cases), strict=True):
        assert all(np.array_equal(found[name], truth) for name, truth in one.case.masks.items())


def test_a_proposal_has_the_name_of_the_class_that_it_covers_and_else_none(cases):
    assert labels(cases[0]) == ["b", "d", ""]


def test_the_oracle_takes_what_raises_the_iou_and_leaves_the_rest():
    truth = square(10, 10, 10)
    left, right, much = truth.copy(), truth.copy(), square(0, 0, 40)
    left[:, 15:] = right[:, :15] = False
    case = Case(
        "made", "a", "p", None, np.zeros((40, 40, 3), np.uint8), {"c": truth, "none": truth & False}
    )
    found = oracle(Proposals(case, [much, left, right], pd.DataFrame()))
    assert np.array_equal(found["c"], truth) and not found["none"].any()
    assert np.array_equal(oracle(Proposals(case, [much], pd.DataFrame()))["c"], much)


def test_a_place_is_that_of_its_pixels_and_a_contrast_is_to_what_lies_round_it():
    mask = square(4, 4, 4, (12, 12))
    found = everything.features(np.repeat(mask[..., None] * np.uint8(200), 3, axis=2), mask)
    assert (found["area_share"], found["row"], found["col"]) == (16 / 144, 0.5, 0.5)
    assert (found["height"], found["mean"], found["contrast"], found["spread"]) == (
        3 / 12,
        200,
        200,
        0,
    )


def test_sam_proposes_masks_of_a_phantom_without_doubles():
    dataset, sam = load_dataset("xray_hip"), load_model("sam_small", device="cpu")
    case = dataset.load(dataset.list().references[0])
    one = everything.propose(
        case, sam, points_per_side=6, pred_iou_thresh=0.4, stability_score_thresh=0.5
    )
    assert len(one.masks) == len(one.features) >= 2
    assert one.features.notna().all(axis=None) and (one.features["predicted_iou"] >= 0.4).all()
    boxes = {(*np.argwhere(mask).min(0), *np.argwhere(mask).max(0)) for mask in one.masks}
    assert len(boxes) == len(one.masks)
    found = score_masks(dataset, [case], {"oracle": [oracle(one)]})
    assert found["iou"].max() > 0.5 and set(found["task"]) == set(dataset.tasks.values())


def test_the_answer_has_both_ways_on_every_task_and_the_figure_counts_the_proposals(cases):
    dataset = SimpleNamespace(tasks={"b": "bright", "d": "dark"}, level="demo")
    named = {"oracle": [oracle(one) for one in cases], "classifier": classify(cases)}
    # The classifier misses half of every dark square, so that its numbers are its own.
    for masks in named["classifier"]:
        masks["d"][:, 31:] = False
    rows = score_masks(dataset, [one.case for one in cases], named)
    shown = answer(rows).html
    assert "Mean IoU (demo): <strong>1.00</strong> on bright if the truth names the masks" in shown
    assert "<strong>1.00</strong> on dark if the truth names the masks" in shown
    assert "<strong>0.50</strong> if a classifier does" in shown
    figure = proposals_figure(cases[0])
    assert "3 proposals on 0" in figure.html and len(figure.drawing.axes[0].collections) == 3
