"""A U-Net and its pseudo-labels: who is in which part, what is learnt, what the page says of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from medsam_utils import PAPER, load_model
from medsam_utils.book.pages.runs import load_first
from medsam_utils.case import BadInputError, Case
from tests.notebook_cells import run_cells


def square(case_id: str, row: int, col: int) -> Case:
    """A case whose object is a bright square of 16 pixels' side at (row, col)."""
    mask = np.zeros((48, 64), bool)
    mask[row : row + 16, col : col + 16] = True
    image = np.repeat(np.where(mask, 220, 40).astype(np.uint8)[..., None], 3, axis=2)
    return Case("squares", case_id, case_id, None, image, {"square": mask})


@pytest.fixture(scope="module")
def functions():
    """What the page defines: train, predict, refined."""
    return run_cells("pseudo_labels", until="def refined", side=32, steps=40, seed=1)[0]


def test_the_network_learns_a_bright_square_and_finds_it_elsewhere_the_same_each_time(functions):
    cases = [square(f"{i}", 4 * i, 8 * i) for i in range(6)]
    masks = [case.masks["square"] for case in cases]
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first, again = (functions["train"](cases, masks) for _ in range(2))
    assert torch.equal(
        torch.random.get_rng_state(), state
    )  # nobody else's random numbers are touched
    new = square("new", 14, 30)
    found = functions["predict"](first, new)
    assert found.shape == (48, 64)
    assert (found & new.masks["square"]).sum() / (found | new.masks["square"]).sum() > 0.7
    assert (functions["predict"](again, new) == found).all()


def test_a_label_is_drawn_anew_without_a_look_at_the_truth_and_an_empty_one_stays(functions):
    case = square("a", 16, 24)
    functions |= {"model": load_model("sam_small", device="cpu"), "protocol": PAPER}
    refined = functions["refined"]
    label = np.zeros((48, 64), bool)
    label[20:28, 28:36] = True
    anew = refined(case, label)
    blind = Case("squares", "a", "a", None, case.image, {"square": ~case.masks["square"]})
    assert (refined(blind, label) == anew).all()
    assert anew[24, 32] and anew.sum() != label.sum()
    empty = np.zeros((48, 64), bool)
    assert refined(case, empty) is empty


@pytest.fixture(scope="module")
def page():
    tiny = {"steps": 2, "side": 16, "device": "cpu"}
    return run_cells("pseudo_labels", **tiny)


def test_no_patient_is_in_two_parts_and_every_case_is_used_or_listed(page):
    names, text = page
    patients = [{case.patient_id for case in of_part} for of_part in names["cases"].values()]
    assert len(patients) == 3 and all(patients)
    assert len(set.union(*patients)) == sum(map(len, patients))  # so no two of them overlap
    used = [case.case_id for of_part in names["cases"].values() for case in of_part]
    listed = [one["case_id"] for one in names["left_out"]]
    every = [reference.case_id for reference in names["listing"].references]
    assert sorted(used + listed) == sorted(every) and len(listed) == 3
    assert "3 cases are left out" in " ".join(text.split()) and all(
        case_id in text for case_id in listed
    )


def test_labels_are_of_the_unlabelled_and_networks_are_tested_on_the_held_out(page):
    names, text = page
    for whose, part in (("labels", "unlabelled"), ("networks", "test")):
        rows = names["rows"][whose]
        assert set(rows["case_id"]) == {case.case_id for case in names["cases"][part]}
        changes = names["tables"][whose]["difference"]
        means = rows.groupby("way")["iou"].mean()
        assert changes.tolist() == pytest.approx(
            (means[changes.index] - means[changes.index[0]]).tolist()
        )
    assert "labels · demo" in text and "networks · demo" in text and "Dice" in text
    assert len(names["tables"]["networks"]) == 4 and "true masks (oracle)" in text


def test_too_few_patients_are_refused(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.eye(20, dtype=np.uint8) * 255).save(tmp_path / name / "a.png")
    with pytest.raises(BadInputError, match="patients"):
        run_cells("pseudo_labels", folder=str(tmp_path))


def test_a_model_that_cannot_be_had_is_named_and_sam_small_stands_in(tmp_path):
    model, notes = load_first("sam", str(tmp_path / "none.pt"), "cpu")
    assert model.name == "sam_small" and "none.pt" in notes[0] and "sam_small stands in" in notes[1]
    assert load_first("grabcut sam_small", "", "cpu")[0].name == "grabcut"


def test_a_model_of_another_kind_is_passed_over():
    model, notes = load_first("ritm_small sam_small grabcut", "", "cpu", "sam.Sam")
    assert model.name == "sam_small" and notes == ["ritm_small is no SAM and is passed over."]
    model, notes = load_first("grabcut", "", "cpu", "sam.Sam")
    assert model.name == "sam_small" and "stands in" in notes[1]
