"""The table of every object of a dataset: the worst first, with what stands out."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from medsam_utils import evaluate, load_folder, load_model
from medsam_utils.book.pages import page, worst_first

SIZES = {"a": 24, "b": 6, "c": 14}


@pytest.fixture
def study(tmp_path):
    """Three images of a bright square, of 6 to 24 pixels; the masks of b have two."""
    for name, size in SIZES.items():
        mask = np.zeros((64, 80), np.uint8)
        mask[10 : 10 + size, 12 : 12 + size] = 255
        if name == "b":
            mask[40:46, 60:66] = 255
        for folder, picture in (("images", mask // 2 + 30), ("masks", mask)):
            path = tmp_path / folder / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(picture).save(path)
    return load_folder(tmp_path)


def test_every_object_is_in_the_table_and_the_lowest_last_iou_comes_first(study):
    model = load_model("sam_small", device="cpu")
    rows = evaluate(study, model, clicks=3)
    last = rows[rows["click"] == 3].sort_values("iou", kind="stable")
    shown = BeautifulSoup(worst_first.table(study, model, rows, pictures=2).html, "html.parser")
    lines = [[cell.text.strip() for cell in line("td")] for line in shown.select("tbody tr")]
    assert [line[1].split()[0] for line in lines] == last["case_id"].tolist()
    assert [line[3] for line in lines] == [f"{iou:.2f}" for iou in last["iou"]]
    assert [line[4] for line in lines] == [f"{share:.1%}" for share in last["area_share"]]
    assert [len(line.select("img")) for line in shown.select("tbody tr")] == [1, 1, 0]
    assert "3 images, 3 objects" in shown.text and "a picture of the worst 2" in shown.text
    buttons = shown.select("button")
    assert [b["data-case"] for b in buttons] == last["case_id"].tolist()
    assert all(button.has_attr("hidden") for button in buttons)  # until the explorer has the case
    candidates = last[[f"iou_{i}" for i in range(3)]].to_numpy()
    assert [line[6] for line in lines] == [" ".join(f"{v:.2f}" for v in of) for of in candidates]


def test_a_model_with_one_mask_has_no_candidates(study):
    model = load_model("grabcut")
    shown = worst_first.table(study, model, evaluate(study, model, clicks=2), pictures=0)
    assert "candidates" not in shown.html and "<img" not in shown.html


def test_what_stands_out_is_told_by_its_facts():
    line = {"IoU@3": 0.5, "share": 0.1, "regions": 1, "candidates": [], "best": 0.5}
    assert worst_first.special(line, 3) == ""
    line |= {"share": 0.002, "regions": 2, "candidates": [0.5, 0.7, 0.1], "best": 0.62}
    assert worst_first.special(line, 3) == (
        "small; 2 regions; a better candidate was not chosen; was 0.62 before later clicks"
    )


def test_a_picture_shows_the_object_and_both_outlines(study):
    case = study.load("a")
    (truth,) = case.masks.values()
    shown = worst_first.picture(case, truth, np.roll(truth, 5, axis=1))
    assert re.search(r'alt="a: true and predicted outline" width="96" height="77"', shown.html)


def test_that_each_image_counts_as_a_patient_is_told_where_it_is_so(study):
    rows = evaluate(study, load_model("grabcut"), clicks=1)
    assert page.patients_note(rows).html == ""  # so few have no interval
    copies = [rows.assign(case_id=f"{i}" + rows["case_id"]) for i in range(3)]
    apart = [one.assign(patient_id=one["case_id"]) for one in copies]
    assert "Each of the 9 images counts as a patient" in page.patients_note(pd.concat(apart)).html
    assert page.patients_note(pd.concat(copies)).html == ""
    drawn = pd.concat(apart).assign(level="demo")
    assert page.patients_note(drawn).html == ""  # phantoms are no patients
