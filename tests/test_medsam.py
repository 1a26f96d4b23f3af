"""MedSAM's preprocessing: the pixels of its script, and prompts and masks on the squashed grid."""

import re
import shutil

import numpy as np
import pytest
import torch
from skimage.transform import resize

from medsam_utils import Click, Protocol, evaluate, load_dataset, load_model
from medsam_utils.book.pages import medsam
from medsam_utils.models import MODELS, sam
from medsam_utils.models.medsam_pixels import squashed
from medsam_utils.models.sam import Sam
from medsam_utils.models.sam_small import build_sam_small


@pytest.mark.parametrize("shape", [(3, 200), (90, 41), (64, 64), (1, 1)])
def test_the_pixels_are_those_of_medsams_script(shape):
    image = np.random.default_rng(0).integers(20, 200, (*shape, 3), dtype=np.uint8)
    whole = resize(image, (64, 64), order=3, preserve_range=True, anti_aliasing=True)
    whole = whole.astype(np.uint8).astype(float)
    expected = (whole - whole.min()) / np.clip(whole.max() - whole.min(), 1e-8, None)
    found = squashed(image, 64)
    assert found.dtype == np.float32 and found.min() == 0
    # Rounding to whole values may fall on the other side: one step of the range at most.
    step = 1 / max(np.ptp(whole), 1)
    assert np.abs(found - expected).max() <= step * 1.01
    assert (np.abs(found - expected) > 1e-6).mean() < 0.01


@pytest.fixture
def model():
    """The small SAM with MedSAM's preprocessing."""
    checkpoint = MODELS["sam_small"].checkpoint
    return Sam("x", checkpoint, "small", device="cpu", exact=True, preprocessing="medsam")


def test_a_click_goes_to_its_place_in_the_square_and_the_mask_comes_back(model):
    image = np.random.default_rng(0).integers(0, 256, (40, 160, 3), dtype=np.uint8)
    embedding = model.encode(image)
    assert torch.equal(model._pixels(image), torch.as_tensor(squashed(image, 256)).permute(2, 0, 1))
    clicks, box = [[Click(10, 80, True, 1.0, 1)]], np.array([[10, 80, 20, 120]])
    points, _, boxes, _ = model._prompts([embedding], clicks, box, None)
    assert points.tolist() == [[[80 * 256 / 160, 10 * 256 / 40]]]
    assert boxes.tolist() == [[128, 64, 192, 128]]
    prediction = model.predict(embedding, clicks, box)
    assert prediction.mask(0, 0).shape == (40, 160)
    low = torch.as_tensor(prediction.logits[0, :1])[None]
    whole = torch.nn.functional.interpolate(low, (256, 256), mode="bilinear")
    whole = torch.nn.functional.interpolate(whole, (40, 160), mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(prediction.upsample(prediction.logits[0, 0]), whole, atol=1e-4)


def test_the_fast_mode_gives_the_same_masks(model):
    fast = Sam("x", model.checkpoint, "small", device="cpu", preprocessing="medsam")
    image = np.random.default_rng(0).integers(0, 256, (50, 30, 3), dtype=np.uint8)
    clicks = [[Click(10, 8, True, 1.0, 1)]]
    one, other = (each.predict(each.encode(image), clicks) for each in (model, fast))
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-2)
    assert (one.mask(0, 0) != other.mask(0, 0)).sum() <= 2


def test_both_ways_are_models_of_one_file_whose_rows_differ(tmp_path):
    path = tmp_path / "medsam_vit_b.pth"
    path.write_bytes(b"not read before the first image")
    as_sam, as_trained = (
        load_model(name, checkpoint=path, device="cpu")
        for name in ("medsam_vit_b", "medsam_as_trained")
    )
    assert as_sam.weights == as_trained.weights and as_sam.name == "medsam_vit_b"
    assert as_sam.name != as_trained.name
    assert as_sam.settings() != as_trained.settings()


# The part of a page


COMPUTE = "device=cpu workers=0 store="


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """The small SAM's weights, which stand for MedSAM's."""
    monkeypatch.setitem(sam.ARCHITECTURES, "vit_b", build_sam_small)
    return shutil.copy(MODELS["sam_small"].checkpoint.location, tmp_path / "medsam_vit_b.pth")


@pytest.mark.slow
def test_the_part_measures_both_preparations_object_by_object(weights):
    dataset = load_dataset("us_breast")
    runs = medsam.evaluate_both([dataset], str(weights), max_cases=2, compute=COMPUTE)
    table = medsam.differences(runs).set_index(["prompt", "preparation"])
    assert len(table) == 4
    for prompt, mode in (("one click", "clicks"), ("a box", "box_all")):
        protocol = Protocol(prompt=mode, mask_choice="single")
        ious = {}
        for way, name in (("as SAM", "medsam_vit_b"), ("as trained", "medsam_as_trained")):
            model = load_model(name, checkpoint=weights, device="cpu")
            rows = evaluate(dataset, model, protocol, clicks=1, max_cases=2, executor=None)
            ious[way] = rows.set_index("case_id")["iou"]
            assert table.loc[(prompt, way), "iou"] == pytest.approx(ious[way].mean())
        change = (ious["as trained"] - ious["as SAM"]).mean()
        assert table.loc[(prompt, "as trained"), "difference"] == pytest.approx(change)
        assert change != 0 and table.loc[(prompt, "as SAM"), "difference"] == 0
        shown = re.sub("<.*?>", "", medsam.section(runs).html)
        ends = f"from {ious['as SAM'].mean():.2f} to {ious['as trained'].mean():.2f}"
        assert f"With {prompt} MedSAM as trained changes" in shown and ends in shown
    assert shown.startswith("MedSAM, as it was trained and as SAM")


def test_without_weights_of_medsam_a_page_has_no_such_part():
    assert medsam.section(medsam.evaluate_both([load_dataset("us_breast")], "")).html == ""


def test_weights_that_cannot_be_read_are_named_and_nothing_stands_in_for_them(tmp_path):
    path = tmp_path / "nowhere.pth"
    runs = medsam.evaluate_both([load_dataset("us_breast")], str(path), 1, COMPUTE)
    shown = re.sub("<.*?>", "", medsam.section(runs).html)
    assert "It could not be measured." in shown and "nowhere.pth is missing" in shown
    assert "sam_small" not in shown
