"""What the page for own images says of the book: a case with its masks, means of stored rows."""

from __future__ import annotations

import base64
import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from medsam_utils import Protocol, load_dataset
from medsam_utils.book.explorer.own_cases import stored_curves, write_cases
from medsam_utils.results import Store, as_rows


def rows(case_id: str, iou: list[float], weights: str = "now") -> list[dict]:
    """One object's rows, as they are stored."""
    said = {"dataset": "us_breast", "task": "US-Breast", "case_id": case_id, "level": "demo"}
    counts = {"components": 1, "row": 0, "col": 0, "ties": 1, "mask_index": 0, "positive": True}
    return [
        said | counts | {"model": "sam_small", "weights": weights, "click": n, "iou": value}
        for n, value in enumerate(iou, start=1)
    ]


def test_a_case_is_its_image_and_its_masks_that_do_not_overlap(tmp_path):
    (text, file), *others = write_cases(tmp_path, {"mri_spine": ""}).items()
    assert text == "MRI-Spine (drawn): GM" and others == []
    written = (tmp_path / file).read_text("utf-8")
    content = json.loads(written[written.index("] = ") + 4 :].rstrip(";\n"))
    pictures = {
        name: np.array(Image.open(io.BytesIO(base64.b64decode(text))))
        for name, text in content.items()
    }
    (image, mask), dataset = pictures, load_dataset("mri_spine")
    case = dataset.load(image.removesuffix(".png"))
    assert mask == image.replace(".png", "_mask.png")
    assert np.array_equal(pictures[image], case.image[..., 0])
    assert np.array_equal(pictures[mask] == 1, case.masks["GM"])


def test_curves_are_means_of_stored_rows_of_these_weights_each_object_once(tmp_path):
    stored = as_rows([*rows("a", [0.2, 0.4]), *rows("b", [0.6, 1]), *rows("c", [0, 0], "older")])
    for _ in range(2):
        with Store(tmp_path, "us_breast", "sam_small", Protocol().name) as store:
            store.append(stored.assign(fingerprint="f", case_rows=2))
    curves = stored_curves(tmp_path, {"sam_small": "now"}, {"paper": Protocol(), "fed back": FED})
    (line,) = curves["sam_small"]["paper"]
    assert line["iou"] == pytest.approx([0.4, 0.7])
    assert (line["dataset"], line["level"], line["objects"]) == ("us_breast", "demo", 2)
    assert curves["sam_small"]["fed back"] == []


def test_an_object_counts_as_it_was_stored_last_and_damaged_parts_count_not(tmp_path):
    store = Store(tmp_path, "us_breast", "sam_small", Protocol().name)
    for seconds, iou in enumerate(([0.2, 0.4, 0.6], [0.5, 0.75])):
        before = set(store.folder.glob("*"))
        with store:
            store.append(
                as_rows(rows("a", iou)).assign(fingerprint=str(seconds), case_rows=len(iou))
            )
        (part,) = set(store.folder.glob("*")) - before
        os.utime(part, (seconds, seconds))
    (store.folder / f"part-{'0' * 64}.parquet").write_bytes(b"cut off")
    curves = stored_curves(tmp_path, {"sam_small": "now"}, {"paper": Protocol()})
    (line,) = curves["sam_small"]["paper"]
    assert line["iou"] == [0.5, 0.75] and line["objects"] == 1


FED = Protocol(feedback=True)
