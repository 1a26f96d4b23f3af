"""What the page saves is what it showed; on a mask it is given, Algorithm 1 clicks as in Python."""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from own_page import answered, ask, explorer_of, features, give, pixel_of
from PIL import Image
from test_try_files import TURNED, write_nifti, write_slice
from test_try_image import RULES, as_file, drawing

from medsam_utils import Protocol, load_model
from medsam_utils.book.explorer.responses import Responses
from medsam_utils.book.explorer.run_lengths import from_run_lengths
from medsam_utils.case import Case
from medsam_utils.clicks import Click, next_click
from medsam_utils.datasets.dicom import read_series
from medsam_utils.datasets.volume_files import find_cut, read_volume
from medsam_utils.demo.drawings import draw


def save(page, what: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("button", name=what).click()
    return Path(download.value.path()).read_bytes()


def click(page, row: int, col: int) -> np.ndarray:
    """Click on the picture; the mask of the answer."""
    page.locator("canvas").first.click(position=pixel_of(page, row, col))
    return from_run_lengths(answered(page)["mask"], tuple(explorer_of(page, "scene")["shape"]))


def slice_number(page, number: int) -> None:
    page.get_by_label("Slice", exact=True).fill(f"{number}")


@pytest.mark.parametrize("second", [False, True])
def test_nifti_is_saved_on_the_grid_of_its_source_with_the_masks_of_all_slices_and_objects(
    own_page, tmp_path, second
):
    path = tmp_path / "turned.nii.gz"
    write_nifti(path, ">i2" if second else "i2", affine=TURNED, shape=(32, 40, 36), second=second)
    give(own_page, (path.name, path.read_bytes()))
    volume = read_volume(path)
    expected = np.zeros(volume.values.shape, np.uint8)
    for number, plane, index in ((1, "axial", 10), (1, "axial", 11), (2, "coronal", 5)):
        own_page.get_by_label("Plane").select_option(plane)
        if number == 2:
            own_page.get_by_role("button", name="Begin another object").click()
        slice_number(own_page, index + 1)
        mask = click(own_page, 12, 14)
        cut = find_cut(volume.values.shape, volume.affine, plane, path)
        cut.slice(expected, index)[mask] = number
    own_page.get_by_label("Plane").select_option("axial")
    saved = nibabel.Nifti1Image.from_bytes if not second else nibabel.Nifti2Image.from_bytes
    image = saved(gzip.decompress(save(own_page, "Save all masks as NIfTI")))
    source = nibabel.load(path)
    assert expected.max() == 2
    assert np.array_equal(np.asarray(image.dataobj), expected)
    assert np.array_equal(image.affine, source.affine)
    assert image.get_data_dtype() == np.uint8
    assert image.header["sform_code"] == source.header["sform_code"]


def test_masks_of_a_dicom_series_are_saved_where_the_series_lies(own_page, tmp_path):
    y, x = np.mgrid[:40, :32]
    values = (np.hypot(y - 18, x - 14) < 8) * 800 + 100
    for i in range(3):
        write_slice(tmp_path / f"{i}.dcm", values.astype("u2"), 2 * i, PatientID="secret-7")
    paths = sorted(tmp_path.iterdir())
    give(own_page, *[(path.name, path.read_bytes()) for path in paths])
    slice_number(own_page, 2)
    mask = click(own_page, 18, 14)
    content = gzip.decompress(save(own_page, "Save all masks as NIfTI"))
    image = nibabel.Nifti1Image.from_bytes(content)
    assert b"secret" not in content
    labels = np.asarray(image.dataobj).transpose(2, 1, 0)
    assert mask.any() and np.array_equal(labels[1], mask) and labels.sum() == mask.sum()
    assert np.allclose(image.affine[:, [2, 1, 0, 3]], read_series(paths).affine)


def test_a_flat_mask_is_saved_as_png_nifti_and_coco(own_page):
    give(own_page, ("disc.png", as_file(drawing(120, 160))))
    mask = click(own_page, 54, 50)
    png = np.array(
        Image.open(io.BytesIO(save(own_page, "Save the shown mask as PNG"))).convert("L")
    )
    assert np.array_equal(png, 255 * mask)
    nifti = nibabel.Nifti1Image.from_bytes(
        gzip.decompress(save(own_page, "Save all masks as NIfTI"))
    )
    assert np.array_equal(np.asarray(nifti.dataobj)[..., 0].T, mask)
    coco = json.loads(save(own_page, "Save all masks as COCO"))
    (entry,) = coco["annotations"]
    rows, cols = np.nonzero(mask)
    assert coco["images"][0]["file_name"] == "disc.png"
    assert entry["area"] == mask.sum()
    assert entry["bbox"] == [
        cols.min(),
        rows.min(),
        np.ptp(cols) + 1,
        np.ptp(rows) + 1,
    ]
    assert np.array_equal(from_run_lengths(entry["segmentation"]["counts"], mask.shape), mask)
    assert entry["prompts"]["clicks"] == [[54, 50, 1]]


@pytest.mark.parametrize("name", ["disc.png", "turned.nii.gz"])
def test_a_session_is_taken_up_by_the_explorer_in_jupyter(own_page, tmp_path, name):
    live = pytest.importorskip("medsam_utils.book.explorer.live")
    path = tmp_path / name
    if name == "disc.png":
        path.write_bytes(as_file(drawing(120, 160)))
    else:
        write_nifti(path, "i2", affine=TURNED, shape=(32, 40, 36))
    give(own_page, (name, path.read_bytes()))
    mask = click(own_page, 12, 14)
    (tmp_path / "session.json").write_bytes(save(own_page, "Save a session"))
    explorer = live.Explorer(path, ["sam_small"])
    explorer.resume(tmp_path / "session.json")
    (annotation,) = explorer.session["annotations"]
    shape = tuple(annotation["size"])
    assert annotation["class_name"] == "object 1"
    assert np.array_equal(from_run_lengths(annotation["counts"], shape), mask)
    assert explorer.state["clicks"] == [[12, 14, 1]]


@pytest.mark.parametrize("rule", RULES)
def test_algorithm_1_clicks_on_a_mask_as_python_does(own_page, rule):
    image = drawing(150, 200)
    row, col = np.mgrid[:150, :200]
    truth = np.hypot(row / 150 - 0.45, col / 200 - 0.4) < 0.25
    give(own_page, ("disc.png", as_file(image)))
    compare(own_page, "mask.png", as_file(255 * truth.astype(np.uint8)))
    own_page.get_by_label("Mask that counts").select_option(rule)
    protocol = RULES[rule].__class__(**{**RULES[rule].__dict__, "ties": "first"})
    model = load_model("sam_small", device="cpu")
    case = Case("own", "disc.png", "", None, image, {"object": truth})
    python = Responses(case, truth, "object", {"sam_small": model}, protocol)
    answer = ask(own_page, clicks=9)
    own_page.get_by_label("Mask that counts").select_option(next(iter(RULES)))
    clicks, mask = tuple(Click(row, col, sign == 1) for row, col, sign in answer["clicks"]), None
    assert len(clicks) == 9
    for n, shown in enumerate(clicks):  # each click after the page's own clicks before it
        expected = python.next_click(clicks[:n], mask)
        far = max(abs(shown.row - expected.row), abs(shown.col - expected.col))
        # From the second on, a logit's last digits may move the edge of a mask by a pixel.
        assert shown.positive == expected.positive and far <= 2 * (n > 0)
        response = python.respond("sam_small", clicks[: n + 1])
        mask = response.masks[response.chosen]
    assert answer["iou"] == pytest.approx(response.iou[response.chosen], abs=1e-3)
    assert answer["dice"] == pytest.approx(2 * answer["iou"] / (1 + answer["iou"]))
    own_page.get_by_role("img", name="IoU (line)").wait_for()


DRAWINGS = int(os.environ.get("MEDSAM_DRAWINGS", 3))


def test_on_drawings_features_five_clicks_and_their_iou_are_those_of_python(own_page):
    model = load_model("sam_small", device="cpu")
    (rule, protocol), *_ = RULES.items()
    protocol = Protocol(**{**protocol.__dict__, "ties": "first"})
    for number in range(DRAWINGS):
        image, masks = draw(np.random.default_rng([11, number]))
        image, truth = np.dstack([image] * 3), max(masks, key=np.sum)
        give(own_page, ("drawing.png", as_file(image)))
        compare(own_page, "truth.png", as_file(255 * truth.astype(np.uint8)))
        own_page.get_by_label("Mask that counts").select_option(rule)
        found, picture = features(own_page)
        expected = model.encode(picture).features.numpy()
        case = Case("own", "drawing.png", "", None, image, {"object": truth})
        python = Responses(case, truth, "object", {"sam_small": model}, protocol)
        clicks = python.simulated("sam_small", 5)
        answer = ask(own_page, clicks=5)
        steps = [python.respond("sam_small", clicks[:n]) for n in range(1, 6)]
        ious = [step.iou[step.chosen] for step in steps]
        shown = [step["iou"] for step in explorer_of(own_page, "curve")[:5]]
        far = np.abs(found.astype(np.float32) - expected).max()
        apart = np.abs(np.array(shown) - ious).max()
        print(f"drawing {number}: features {far:.4f}, IoU {apart:.5f} apart")
        assert far < 0.02
        assert answer["clicks"] == [[c.row, c.col, int(c.positive)] for c in clicks], number
        assert apart <= 1e-3, number


def compare(page, name: str, content: bytes) -> str:
    """Choose a mask to compare with; what the page says then."""
    status = page.locator(".own-status")
    status.evaluate("node => { node.textContent = 'Reading'; }")
    kind = {"mimeType": "application/octet-stream", "buffer": content}
    page.get_by_label("A mask to compare with").set_input_files([{"name": name, **kind}])
    page.wait_for_function(
        "() => !document.querySelector('.own-status').innerText.startsWith('Reading')"
    )
    return status.inner_text()


def test_a_mask_of_another_image_is_refused_and_labels_can_be_chosen(own_page):
    give(own_page, ("disc.png", as_file(drawing(60, 80))))
    labels = np.zeros((60, 80), np.uint8)
    labels[5:20, 5:25], labels[30:50, 40:70] = 3, 7
    assert "its size is 60 x 70" in compare(own_page, "small.png", as_file(labels[:, :70]))
    assert "is empty" in compare(own_page, "none.png", as_file(0 * labels))
    assert "too many" in compare(own_page, "photo.png", as_file(drawing(60, 80)[..., 0]))
    compare(own_page, "labels.png", as_file(labels))
    assert ask(own_page, clicks=1)["clicks"][0][2] == 1
    own_page.get_by_label("Object of the mask").select_option("7")
    row, col, _ = answered(own_page)["clicks"][0]
    assert labels[row, col] == 7


def test_a_mask_is_carried_to_the_next_slice_as_a_click_on_its_deepest_pixel(own_page, tmp_path):
    path = tmp_path / "turned.nii.gz"
    write_nifti(path, "i2", affine=TURNED, shape=(32, 40, 36))
    give(own_page, (path.name, path.read_bytes()))
    slice_number(own_page, 10)
    slice_number(own_page, 11)  # upwards: so it is carried
    mask = click(own_page, 12, 14)
    own_page.get_by_role("button", name="Carry the mask").click()
    own_page.wait_for_function(
        "() => document.getElementById('medsam-own').own.shown.index === 11"
        " && document.getElementById('medsam-own').own.model.get('state').clicks.length"
    )
    (carried,) = explorer_of(own_page, "state")["clicks"]
    expected = next_click(mask, None, Protocol(ties="first"), np.random.default_rng(0))
    assert carried == [expected.row, expected.col, 1]
    assert answered(own_page)["mask"]
    slice_number(own_page, 11)
    assert explorer_of(own_page, "state")["clicks"] == [[12, 14, 1]]


def test_a_case_of_the_book_comes_with_its_masks(own_page):
    own_page.get_by_label("or take a case of the book").select_option("MRI-Spine (drawn): GM")
    own_page.get_by_text("is what the masks are compared with").wait_for()
    truth = own_page.evaluate("document.getElementById('medsam-own').own.truth.values")
    assert truth == [1]
    own_page.get_by_role("button", name="Let Algorithm 1 click (r)").click()
    assert answered(own_page)["iou"] > 0
