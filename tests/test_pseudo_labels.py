"""A U-Net and its pseudo-labels: who is in which part, what is learnt, what the page says of it."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medsam_utils import PAPER, load_model, unet
from medsam_utils.case import BadInputError, Case, CaseReference
from medsam_utils.pages import pseudo_labels


def square(case_id: str, row: int, col: int) -> Case:
    """A case whose object is a bright square of 16 pixels' side at (row, col)."""
    mask = np.zeros((48, 64), bool)
    mask[row : row + 16, col : col + 16] = True
    image = np.repeat(np.where(mask, 220, 40).astype(np.uint8)[..., None], 3, axis=2)
    return Case("squares", case_id, case_id, None, image, {"square": mask})


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_in_two_parts_and_no_case_is_lost(seed):
    references = [
        CaseReference("d", f"{patient}-{i}", patient, i, (Path("a"),), (Path("b"),))
        for patient in "abcdefgh"
        for i in range(3)
    ]
    parts = pseudo_labels.divided(references, held_out=0.4, labelled=0.4, seed=seed)
    patients = [{reference.patient_id for reference in part} for part in parts.values()]
    assert [len(part) for part in patients] == [2, 3, 3]
    assert len(set.union(*patients)) == 8  # so no two of them overlap
    assert sorted(chain(*parts.values()), key=references.index) == references


def test_too_few_patients_are_refused():
    reference = CaseReference("d", "a", "a", None, (Path("a"),), (Path("b"),))
    with pytest.raises(BadInputError, match="patients"):
        pseudo_labels.divided([reference], 0.4, 0.4, 0)


def test_the_network_learns_a_bright_square_and_finds_it_elsewhere_the_same_each_time():
    cases = [square(f"{i}", 4 * i, 8 * i) for i in range(6)]
    masks = [case.masks["square"] for case in cases]
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first, again = (unet.train(cases, masks, side=32, steps=40, seed=1) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's random numbers are touched
    new = square("new", 14, 30)
    found = unet.predict(first, new, side=32)
    assert found.shape == (48, 64)
    assert (found & new.masks["square"]).sum() / (found | new.masks["square"]).sum() > 0.7
    assert (unet.predict(again, new, side=32) == found).all()


def test_a_label_is_drawn_anew_without_a_look_at_the_truth_and_an_empty_one_stays():
    case, model = square("a", 16, 24), load_model("sam_small", device="cpu")
    label = np.zeros((48, 64), bool)
    label[20:28, 28:36] = True
    anew = unet.refined(case, label, model, PAPER)
    blind = Case("squares", "a", "a", None, case.image, {"square": ~case.masks["square"]})
    assert (unet.refined(blind, label, model, PAPER) == anew).all()
    assert anew[24, 32] and anew.sum() != label.sum()
    empty = np.zeros((48, 64), bool)
    assert unet.refined(case, empty, model, PAPER) is empty


def ious(**ways: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"task": "T", "model": way, "level": "demo", "click": 0, "case_id": str(i), "patient_id": str(i)}
        | {"iou": iou}
        for way, values in ways.items()
        for i, iou in enumerate(values)
    )


def text(html) -> str:
    return re.sub("<.*?>", "", html.data)


def test_the_difference_is_paired_and_the_sentence_follows_its_interval():
    base = [0.1, 0.3, 0.5, 0.6, 0.7, 0.8]
    up, down = [value + 0.1 for value in base], [value - 0.1 for value in base]
    both = [value + 0.1 * (-1) ** i for i, value in enumerate(base)]
    better = pseudo_labels.against(ious(own=base, sam=up), "own")
    assert better["difference"].tolist()[1] == pytest.approx(0.1)
    worse = pseudo_labels.against(ious(own=base, sam=down), "own")
    even = pseudo_labels.against(ious(own=base, sam=both), "own")
    assert "The pseudo-labels get better: +0.10 IoU" in text(pseudo_labels.answer(better, worse, "sam"))
    assert "held-out patients gets worse: -0.10 IoU" in text(pseudo_labels.answer(better, worse, "sam"))
    assert "no more than chance may" in text(pseudo_labels.answer(even, even, "sam"))
    few = pseudo_labels.against(ious(own=base[:3], sam=up[:3]), "own")
    assert "too few patients to tell" in text(pseudo_labels.answer(few, few, "sam"))


def test_a_model_that_cannot_be_had_is_named_and_sam_small_stands_in(tmp_path):
    case = square("a", 16, 24)
    model, notes = pseudo_labels.helper("sam", str(tmp_path / "none.pt"), "cpu", case)
    assert model.name == "sam_small" and "none.pt" in notes[0]
    model, notes = pseudo_labels.helper("grabcut sam_small", "", "cpu", case)
    assert model.name == "grabcut" and notes == []
