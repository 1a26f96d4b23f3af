"""Everything mode: proposals, who names them, and that no patient is in training and test."""

import numpy as np
import pandas as pd
import pytest

from medsam_utils import everything, load_dataset, load_model
from medsam_utils.case import Case
from medsam_utils.everything import Proposals, classify, labels, oracle, scores, split, summary


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
        "made", f"{number}", patient, None, np.repeat(grey[..., None], 3, 2), {"b": bright, "d": dark}
    )
    masks = [bright, dark, square(16, 16, 8)]
    lines = [
        everything.features(case.image, mask) | {"predicted_iou": 0.9, "stability": 0.9} for mask in masks
    ]
    return Proposals(case, masks, pd.DataFrame(lines))


@pytest.fixture(scope="module")
def cases():
    """Two images of each of six patients."""
    return [made(f"patient {i // 2}", i) for i in range(12)]


def test_no_patient_is_in_training_and_test_and_every_case_is_tested_once(cases):
    tested = []
    for train, test in split(cases, folds=4):
        patients = [{cases[i].case.patient_id for i in part} for part in (train, test)]
        assert not patients[0] & patients[1] and all(patients)
        tested += list(test)
    assert sorted(tested) == list(range(12))


def test_the_classifier_reads_no_truth_of_the_patients_it_is_tested_on(cases, monkeypatch):
    fitted, forest = [], everything.RandomForestClassifier
    known = {tuple(line): one.case.patient_id for one in cases for line in one.features.to_numpy()}

    class Watched(forest):
        def fit(self, inputs, outputs):
            fitted.append({known[tuple(line)] for line in inputs})
            return super().fit(inputs, outputs)

        def predict(self, inputs):
            assert not {known[tuple(line)] for line in inputs} & fitted[-1]
            return super().predict(inputs)

    monkeypatch.setattr(everything, "RandomForestClassifier", Watched)
    classify(cases, folds=3)
    assert len(fitted) == 3 and all(len(patients) == 4 for patients in fitted)


def test_names_that_can_be_learned_are_learned(cases):
    for one, found in zip(cases, classify(cases), strict=True):
        assert all(np.array_equal(found[name], truth) for name, truth in one.case.masks.items())


def test_a_proposal_has_the_name_of_the_class_that_it_covers_and_else_none(cases):
    assert labels(cases[0]).tolist() == ["b", "d", ""]


def test_the_oracle_takes_what_raises_the_iou_and_leaves_the_rest():
    truth = square(10, 10, 10)
    left, right, much = truth.copy(), truth.copy(), square(0, 0, 40)
    left[:, 15:] = right[:, :15] = False
    case = Case("made", "a", "p", None, np.zeros((40, 40, 3), np.uint8), {"c": truth, "none": truth & False})
    found = oracle(Proposals(case, [much, left, right], pd.DataFrame()))
    assert np.array_equal(found["c"], truth) and not found["none"].any()
    assert np.array_equal(oracle(Proposals(case, [much], pd.DataFrame()))["c"], much)


def test_numbers_are_per_class_and_image_with_intervals_over_patients(cases):
    ways = {"oracle": [oracle(one) for one in cases], "classifier": [one.case.masks for one in cases]}
    empty = [{name: mask & False for name, mask in one.case.masks.items()} for one in cases]
    table = scores(cases, ways | {"classifier": empty}, {"b": "B", "d": "D"})
    assert len(table) == 2 * 2 * 12
    lines = summary(table).set_index(["task", "way"])
    assert lines.loc[("B", "oracle"), "iou"] == lines.loc[("B", "oracle"), "dice"] == "1.000 [1.000, 1.000]"
    assert lines.loc[("D", "classifier minus oracle"), "iou"] == "-1.000 [-1.000, -1.000]"
    assert (lines["patients"] == 6).all() and (lines["images"] == 12).all()


def test_sam_proposes_masks_of_a_phantom_without_doubles():
    dataset, sam = load_dataset("xray_hip"), load_model("sam_small", device="cpu")
    (case,), notes = everything.cases_of(dataset, 1)
    one = everything.propose(case, sam, points_per_side=6)
    assert len(one.masks) == len(one.features) >= 2 and not notes
    assert one.features.notna().all(axis=None) and (one.features["predicted_iou"] >= 0.4).all()
    boxes = {(*np.argwhere(mask).min(0), *np.argwhere(mask).max(0)) for mask in one.masks}
    assert len(boxes) == len(one.masks)
    found = scores([one], {"oracle": [oracle(one)]}, dataset.tasks)
    assert found["iou"].max() > 0.5
