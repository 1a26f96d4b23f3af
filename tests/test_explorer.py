"""explorer.py: what a page stores of its cases, exact and small, whatever the files are called."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from medsam_utils import evaluate, load_folder, load_model
from medsam_utils.book import explorer
from medsam_utils.intensity import Window
from medsam_utils.metrics import iou
from medsam_utils.models.grabcut import GrabCut

# a case is called as its file below images/, so a name can have a slash in it
HOSTILE = ["quote\"'&amp;", "end</script><b>", "<!--<script>", "ünïcödé 🫀 \u2028"]


def write_folder(root, names, shape=(60, 48), values=(255,), spill=0):
    """Images with a bright square for each value, whose masks have that value there.

    spill: so many columns of a square are bright but outside the mask.
    """
    for i, name in enumerate(names):
        mask = np.zeros(shape, np.uint8)
        for k, value in enumerate(values):
            top, left, side = 6 + 26 * k, 9 + 5 * i, 14 + 2 * i
            mask[top : top + side, left : left + side] = value
        noise = np.random.default_rng(i).integers(0, 90, shape)
        bright = np.maximum(mask, np.roll(mask, spill, axis=1))
        image = np.where(bright > 0, 120 + 60 * (bright % 3 == 0), 0) + noise
        for folder, picture in (("images", image), ("masks", mask)):
            path = root / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(path)
    return root


def rows_of(dataset, clicks=4):
    models = {"grabcut": load_model("grabcut")}
    tables = [evaluate(dataset, model, clicks=clicks) for model in models.values()]
    return models, pd.concat(tables, ignore_index=True)


def stored(html: str) -> dict:
    """What the page holds, read as a browser reads it."""
    return json.loads(
        BeautifulSoup(html, "html.parser").find("script", type="application/json").text
    )


def mask_of(text: str, shape: tuple[int, int]) -> np.ndarray:
    """Decode COCO's compressed run lengths, written after their definition, not our encoder."""
    counts, i = [], 0
    while i < len(text):
        value, shift, more = 0, 0, True
        while more:
            c = ord(text[i]) - 48
            value |= (c & 0x1F) << (5 * shift)
            more, i, shift = bool(c & 0x20), i + 1, shift + 1
            if not more and c & 0x10:
                value |= -1 << (5 * shift)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(shape, order="F")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return load_folder(
        write_folder(tmp_path_factory.mktemp("own"), HOSTILE), name='</script>"My \' study"'
    )


@pytest.fixture(scope="module")
def evaluated(hostile):
    return rows_of(hostile)


@pytest.mark.parametrize("kind", ["noise", "empty", "full", "stripes", "first pixel", "last pixel"])
def test_run_lengths_decode_to_the_same_mask(kind):
    mask = np.zeros((37, 1300), bool)
    if kind == "noise":
        mask = np.random.default_rng(0).random(mask.shape) < 0.5
    elif kind == "full":
        mask[:] = True
    elif kind == "stripes":
        mask[:, ::70] = mask[5] = True
    elif kind != "empty":
        mask[(0, 0) if kind == "first pixel" else (-1, -1)] = True
    assert np.array_equal(mask_of(explorer.run_lengths(mask), mask.shape), mask)


def test_the_worst_after_the_last_click_are_held_too_where_they_are_asked_for(tmp_path):
    dataset = load_folder(write_folder(tmp_path, [f"c{i}" for i in range(7)], (80, 90), spill=3))
    models, rows = rows_of(dataset)
    last = rows[rows["click"] == 4].sort_values("iou", kind="stable")["case_id"].tolist()

    def held(**more) -> set[str]:
        (cases,) = stored(explorer.static(dataset, models, rows, **more).data)["tasks"].values()
        return {case["case"] for case in cases}

    assert len(held()) == 5
    assert held(at_last=3) == held() | set(last[:3]) and len(held(at_last=7)) == 7


def test_every_stored_mask_has_the_iou_of_its_row(hostile, evaluated):
    models, rows = evaluated
    data = stored(explorer.static(hostile, models, rows).data)
    (cases,) = data["tasks"].values()
    for case in cases:
        image = data["images"][case["image"]]
        truth = mask_of(case["truth"], image["shape"])
        of_case = rows[rows["case_id"] == case["case"]].sort_values("click")
        steps = case["answers"]["grabcut"]
        assert len(steps) == len(of_case) == 4
        for step, row in zip(steps, of_case.itertuples(), strict=True):
            assert iou(mask_of(step["mask"], truth.shape), truth) == row.iou
            assert step["iou"] == step["candidates"][0][1] == pytest.approx(row.iou, abs=5e-5)
            assert (
                step["candidates"][0][0] is None
            )  # GrabCut estimates nothing: no NaN, which is no JSON
            assert step["click"] == (
                [row.row, row.col, int(row.positive)] if row.row >= 0 else None
            )


def test_cases_are_sorted_from_the_worst_to_the_best(hostile, evaluated):
    (cases,) = stored(explorer.static(hostile, *evaluated).data)["tasks"].values()
    first = [case["answers"]["grabcut"][0]["iou"] for case in cases]
    assert len(cases) == len(HOSTILE) and first == sorted(first)
    assert cases[0]["text"].startswith("worst · IoU") and cases[-1]["text"].startswith("best · IoU")


def test_hostile_names_stay_text(hostile, evaluated):
    html = explorer.static(hostile, *evaluated).data
    assert {case["case"] for cases in stored(html)["tasks"].values() for case in cases} == set(
        HOSTILE
    )
    assert html.count("</script>") == 2 == html.count("<script")  # ours, and none of a name
    assert "<!--" not in html


def test_the_picture_is_the_one_that_the_model_saw_of_that_class(tmp_path, monkeypatch):
    subject = load_folder(
        write_folder(tmp_path, ["a", "b"], (90, 90), values=(1, 2, 3)), name="Windows"
    )
    other = Window(0, 100)
    subject = replace(subject, class_intensity={"label 3": other})
    seen, encode = [], GrabCut.encode
    models, rows = rows_of(subject, clicks=2)
    monkeypatch.setattr(
        GrabCut, "encode", lambda self, image: seen.append(image) or encode(self, image)
    )
    data = stored(explorer.static(subject, models, rows).data)
    assert len(seen) == 4 == len(data["images"])  # two cases, each under two rules, for three tasks
    for class_name, task in subject.tasks.items():
        for case in data["tasks"][task]:
            reference = next(r for r in subject.list().references if r.case_id == case["case"])
            image = subject.load(reference, class_name).image
            address = data["images"][case["image"]]["image"]
            shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))
            assert (
                np.abs(shown.astype(int) - image).mean() < 12
            )  # noise does not survive WebP whole


def test_a_page_stays_below_its_limit(tmp_path):
    names = [f"case {i}" for i in range(5)]
    subject = load_folder(write_folder(tmp_path, names, (300, 400)), name="Large")
    models, rows = rows_of(subject, clicks=2)
    whole = explorer.static(subject, models, rows).data
    frame = len(explorer.page_html({}))
    small = explorer.static(subject, models, rows, limit=frame + (len(whole) - frame) // 6).data
    assert len(small.encode()) <= frame + (len(whole) - frame) // 6
    (cases,), image = stored(small)["tasks"].values(), next(iter(stored(small)["images"].values()))
    assert 0 < len(cases) < 5 and image["step"] > 1 and image["shape"] == [300, 400]


def test_masks_of_large_images_are_every_second_pixel_and_clicks_are_not(tmp_path):
    subject = load_folder(write_folder(tmp_path, ["a"], (1200, 900)), name="X-ray")
    models, rows = rows_of(subject, clicks=1)
    data = stored(explorer.static(subject, models, rows).data)
    (image,), ((case,),) = data["images"].values(), data["tasks"].values()
    assert image["shape"] == [1200, 900] and image["step"] == 2
    truth = mask_of(case["truth"], (600, 450))
    expected = subject.load(subject.list().references[0]).masks["object"][::2, ::2]
    assert np.array_equal(truth, expected) and cv2.countNonZero(truth.view(np.uint8))
    row, col, _ = case["answers"]["grabcut"][0]["click"]
    assert truth[row // 2, col // 2]


def test_the_line_of_code_gives_the_dataset_again(hostile):
    assert explorer.code_of(replace(hostile, name="us_breast")) == "load_dataset('us_breast')"
    again = eval(explorer.code_of(hostile), {"load_folder": load_folder})  # the text is the claim
    assert (again.root, again.name) == (hostile.root, hostile.name)
