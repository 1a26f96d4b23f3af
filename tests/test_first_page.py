"""notebooks/first_page.py: the page opens on a real CT, and without it or the model on
stand-ins."""

from __future__ import annotations

import pytest
from notebook_cells import NOTEBOOKS, run_cells
from test_explorer import stored

from medsam_utils import published
from medsam_utils.book import explorer
from medsam_utils.case import BadInputError
from medsam_utils.clicks import Protocol
from medsam_utils.datasets import MissingDatasetError, load_dataset
from medsam_utils.models import load_model

RULE = Protocol(mask_choice="first", later_mask_choice="single", feedback=True)


def test_the_published_means_of_the_first_sentence_are_those_of_the_tables():
    curve = published.mean_curve("SAM")
    text = (NOTEBOOKS / "first_page.py").read_text(encoding="utf-8")
    sentence = text[text.index("medsam-answer") : text.index("</p>")]
    assert f"<strong>{curve[1]:.2f}</strong>" in sentence
    assert f"<strong>{curve[9]:.2f}</strong>" in sentence


def test_without_the_package_and_the_model_drawings_and_sam_small_stand_in(monkeypatch, tmp_path):
    def refuse(*arguments):
        raise BadInputError("the index cannot be reached")

    monkeypatch.setattr("medsam_utils.datasets.wheel_files", refuse)
    monkeypatch.delenv("MEDSAM_DATA", raising=False)
    names, text = run_cells(
        "first_page", models="medsam_vit_b", compute="device=cpu", in_page=str(tmp_path)
    )
    assert names["subject"].level == "demo" and list(names["shown"]) == ["sam_small"]
    for said in ("Demo: these are not", "cannot be reached", "stands in", "needs a weights file"):
        assert said in text
    assert {path.suffix for path in tmp_path.iterdir()} == {".js"}  # a decoder and its pictures


def test_large_objects_are_clicked_on_under_the_protocol_and_each_picture_is_stored_once():
    try:
        subject = load_dataset("ct_torso")
    except MissingDatasetError as error:
        pytest.skip(str(error))
    chosen = [subject["ct_torso_z036"]]
    model = load_model("sam_small", device="cpu")
    data = stored(explorer.at_once(subject, {"sam_small": model}, chosen, RULE, clicks=2).data)
    assert data["rule"] == {"first": "first", "later": "single", "feedback": True}
    assert "CT-Torso: liver" in data["tasks"] and "CT-Torso: vertebrae" not in data["tasks"]
    assert len(data["images"]) == 1
    for cases in data["tasks"].values():
        first, second = cases[0]["answers"]["sam_small"]
        assert len(first["candidates"]) == 3 and first["chosen"] == 0
        assert len(second["candidates"]) == 1


def test_objects_that_are_too_small_are_refused(tmp_path):
    from test_explorer import write_folder

    from medsam_utils import load_folder

    dataset = load_folder(write_folder(tmp_path, ["a"], (400, 400)))
    model = load_model("sam_small", device="cpu")
    with pytest.raises(BadInputError, match=r"no object in these cases covers 0\.2% of them"):
        explorer.at_once(dataset, {"sam_small": model}, dataset.list().references)
