"""A U-Net and its pseudo-labels: who is in which part, what is learnt, what the page says of it."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medsam_utils import PAPER, load_dataset, load_model
from medsam_utils.book.pages.pseudo_labels import answer, measures, measures_figure, sizes
from medsam_utils.book.pages.record import excluded_table
from medsam_utils.book.runs import load_cases, load_first_model
from medsam_utils.case import Case
from medsam_utils.comparison import compare_ways, score_masks
from medsam_utils.workflows.pseudo_labels import augment, predict, refine, train

CPU = "device=cpu"


def square(case_id: str, row: int, col: int) -> Case:
    """A case whose object is a bright square of 16 pixels' side at (row, col)."""
    mask = np.zeros((48, 64), bool)
    mask[row : row + 16, col : col + 16] = True
    image = np.repeat(np.where(mask, 220, 40).astype(np.uint8)[..., None], 3, axis=2)
    return Case("squares", case_id, case_id, None, image, {"square": mask})


def test_the_network_learns_a_bright_square_and_finds_it_elsewhere_the_same_each_time():
    cases = [square(f"{i}", 4 * i, 8 * i) for i in range(6)]
    masks = [case.masks["square"] for case in cases]
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first, again = (train(cases, masks, side=32, steps=40, seed=1) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's numbers are touched
    new = square("new", 14, 30)
    found = predict(first, new)
    assert found.shape == (48, 64)
    assert (found & new.masks["square"]).sum() / (found | new.masks["square"]).sum() > 0.7
    assert (predict(again, new) == found).all()


def test_augmentation_moves_image_and_target_alike():
    image = torch.zeros(6, 1, 32, 32)
    image[:, :, 10:20, 8:24] = 1
    torch.manual_seed(0)
    images, targets = augment(image, image.clone())
    assert not torch.equal(targets, image) and images.shape == image.shape
    for changed, target in zip(images, targets, strict=True):
        inside, outside = changed[target > 0.99], changed[target < 0.01]
        assert inside.min() > outside.max() and inside.std() < 1e-3  # one gain and one offset


def test_a_label_is_refined_without_a_look_at_the_truth_and_an_empty_one_stays():
    case, model = square("a", 16, 24), load_model("sam_small", device="cpu")
    label = np.zeros((48, 64), bool)
    label[20:28, 28:36] = True
    refined = refine(case, label, model, PAPER)
    blind = Case("squares", "a", "a", None, case.image, {"square": ~case.masks["square"]})
    assert (refine(blind, label, model, PAPER) == refined).all()
    assert refined[24, 32] and refined.sum() != label.sum()
    empty = np.zeros((48, 64), bool)
    assert refine(case, empty, model, PAPER) is empty


@pytest.fixture(scope="module")
def rows():
    """Six patients whose pseudo-labels cover half of the object, refined to all of it; networks
    whose masks are all of it, or for the oracle none."""
    dataset = SimpleNamespace(tasks={"square": "T"}, level="demo")
    cases = [square(f"{i}", 4 * i, 8 * i) for i in range(6)]
    halves = [case.masks["square"].copy() for case in cases]
    for half in halves:
        half[np.flatnonzero(half.any(1))[8:]] = False
    whole, nothing = (
        [{"square": case.masks["square"] & keep} for case in cases] for keep in (True, False)
    )
    labels = {"own": [{"square": half} for half in halves], "refined": whole}
    networks = {"alone": whole, "own": whole, "refined": whole, "oracle": nothing}
    return {
        "labels": score_masks(dataset, cases, labels),
        "networks": score_masks(dataset, cases, networks),
    }


def test_the_answer_says_what_refining_changes(rows):
    labels = compare_ways(rows["labels"], "own", ["task", "level"])
    networks = compare_ways(rows["networks"], "own", ["task", "level"])
    shown = answer(labels, networks, "refined").html
    assert "Yes: a label drawn anew gains <strong>+0.50</strong> IoU" in shown
    assert "against the network's own label" in shown
    assert "from 0.50 to 1.00, 6 patients. " in shown and shown.endswith("All: demo.</p>")
    assert (
        "Not shown: a network that learns from the labels drawn anew changes by no more than chance"
        in shown
    )
    assert "against one that learns from the network's own labels" in shown


def test_the_figure_has_iou_and_dice_of_every_way(rows):
    table = measures(rows)
    values = table.set_index(["whose", "way", "measure"])["value"]
    assert values["labels", "own", "IoU"] == pytest.approx(1 / 2)
    assert values["labels", "own", "Dice"] == pytest.approx(2 / 3)
    assert values["networks", "oracle", "Dice"] == 0 and len(values) == 12
    shown = measures_figure(table).html
    assert "labels · demo" in shown and "networks · demo" in shown
    assert "own: IoU 0.50, Dice 0.67; refined: IoU 1.00, Dice 1.00" in shown


def test_the_page_counts_cases_and_patients():
    parts = {"labelled": [square("a", 0, 0), square("a", 4, 4)], "test": [square("b", 0, 0)]}
    shown = sizes(parts).html
    assert "2 labelled cases of 1 patients, 1 test cases of 1 patients; no patient" in shown


def test_cases_without_the_object_and_unreadable_ones_are_listed():
    dataset = load_dataset("us_breast")
    listing, class_name = dataset.list(), next(iter(dataset.classes))
    cases, unusable = load_cases(dataset, listing.references, class_name)
    left_out = [*unusable, *(asdict(exclusion) for exclusion in listing.exclusions)]
    every = sorted(reference.case_id for reference in listing.references)
    assert sorted([case.case_id for case in cases] + [e["case_id"] for e in unusable]) == every
    table = excluded_table([*left_out, *left_out])  # listed twice, shown once
    assert sorted(table["case_id"]) == sorted(entry["case_id"] for entry in left_out)
    assert len(table) == 3 and not table["path"].str.startswith("/").any()


def test_a_model_that_cannot_be_had_is_named_and_sam_small_stands_in(tmp_path):
    model, notes = load_first_model("sam", str(tmp_path / "none.pt"), CPU)
    assert model.name == "sam_small" and "none.pt" in notes[0] and "sam_small stands in" in notes[1]
    assert load_first_model("grabcut sam_small", "", CPU)[0].name == "grabcut"


def test_a_model_of_another_kind_is_passed_over():
    model, notes = load_first_model("ritm_small sam_small grabcut", "", CPU, "sam.Sam")
    assert model.name == "sam_small" and notes == ["ritm_small is no SAM and is passed over."]
    model, notes = load_first_model("grabcut", "", CPU, "sam.Sam")
    assert model.name == "sam_small" and "stands in" in notes[1]
