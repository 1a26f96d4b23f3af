"""The doctor finds each planted fault, finds nothing in a clean folder, and changes nothing."""

import base64
import dataclasses
import hashlib
import re
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest
from PIL import Image

from medsam_utils.book.doctor import examine
from medsam_utils.book.doctor.__main__ import main
from medsam_utils.book.doctor.page import COLOURS, _overlay, page
from medsam_utils.datasets import load_folder

ROWS, COLUMNS = 48, 40
IDENTITY = "identity affines, perhaps no orientation in the header"


def picture(seed: int) -> np.ndarray:
    """Bright above, dark below, as all images of one kind resemble each other; noise makes each its
    own."""
    noise = np.random.default_rng(seed).integers(0, 30, (ROWS, COLUMNS))
    return (np.linspace(200, 20, ROWS)[:, None] + noise).astype(np.uint8)


def square(value: int = 255, side: int = 12, dtype: type = np.uint8) -> np.ndarray:
    mask = np.zeros((ROWS, COLUMNS), dtype)
    mask[10 : 10 + side, 8 : 8 + side] = value
    return mask


def put(root: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    for folder, values in (("images", image), ("masks", mask)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(root / folder / f"{name}.png")


def put_volume(
    root: Path, name: str, affine: np.ndarray, mask_affine: np.ndarray | None = None
) -> None:
    values = np.stack([picture(hash_of(name) + i).T for i in range(4)], axis=2).astype(np.int16)
    mask = np.stack([square(1).T] * 4, axis=2)
    for folder, array, where in (("images", values, affine), ("masks", mask, mask_affine)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        file = nibabel.Nifti1Image(array, affine if where is None else where)
        nibabel.save(file, root / folder / f"{name}.nii.gz")


def hash_of(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eight images with nothing odd about them."""
    for i in range(8):
        put(tmp_path / "own", f"p{i}", picture(i), square())
    return tmp_path / "own"


def kinds(folder: Path, **options) -> dict[str, list[str]]:
    """The kinds of findings, each with the places it names."""
    found = examine(load_folder(folder, **options)).kinds()
    return {kind: [finding.where for finding in findings] for kind, findings in found.items()}


def test_a_clean_folder_has_no_finding_and_its_counts_are_told(folder):
    report = examine(load_folder(folder))
    assert report.findings == []
    assert report.status == 0
    assert "8 cases listed, 8 read, 8 usable, of 8 patients" in report.text()
    assert "object: 8 objects, median 144 pixels" in report.text()
    assert "48 x 40 (8)" in report.text()
    assert report.text().endswith("Nothing found.")


def test_files_without_a_partner(folder):
    (folder / "masks/p3.png").unlink()
    (folder / "images/p4.png").unlink()
    assert kinds(folder) == {"files without a partner": ["images/p3.png", "masks/p4.png"]}


def test_a_mask_on_another_grid(folder):
    Image.fromarray(square()[:, :-1]).save(folder / "masks/p3.png")
    assert kinds(folder) == {"mask and image on different grids": ["p3"]}


def test_an_empty_mask(folder):
    put(folder, "p3", picture(3), square(0))
    assert kinds(folder) == {"empty masks": ["p3"]}


def test_a_tiny_object_is_listed_with_its_size(folder):
    put(folder, "p3", picture(3), square(side=4))
    report = examine(load_folder(folder))
    assert [(f.kind, f.where, f.detail) for f in report.findings] == [
        ("tiny objects", "p3", "object has 16 pixels")
    ]


def test_an_object_of_twenty_pixels_is_not_tiny(folder):
    mask = square(0)
    mask[10:14, 10:15] = 255
    put(folder, "p3", picture(3), mask)
    assert kinds(folder) == {}


@pytest.mark.filterwarnings("ignore:The masks hold the values")
def test_a_soft_mask(folder):
    put(folder, "p3", picture(3), cv2.GaussianBlur(square(), (5, 5), 1))
    assert kinds(folder) == {"soft masks": ["masks/p3.png"]}


@pytest.mark.filterwarnings("ignore:The masks hold the values")
def test_a_file_that_is_not_read_is_named_with_its_reason(folder):
    (folder / "images/notes.txt").write_text("text")
    (folder / "masks/.DS_Store").write_bytes(b"hidden")
    assert kinds(folder) == {
        "files that are not read": ["images/notes.txt"],
        "look at these: files that are not read": ["masks/.DS_Store"],
    }


def test_objects_of_one_image_are_no_doubles(tmp_path):
    numbers = np.zeros((ROWS, COLUMNS), np.uint8)
    for number in range(1, 10):
        numbers[4 * number : 4 * number + 3, 5:15] = number
    put(tmp_path, "a", picture(0), numbers)
    report = examine(load_folder(tmp_path))
    assert report.usable == 9 and not report.findings


def test_classes_ignore_and_threshold_can_be_said_on_the_command_line(folder, capsys):
    said = ["--classes", "lesion=255", "--ignore", "7", "--threshold", "100"]
    assert main([str(folder), *said]) == 0
    assert "lesion: 8 objects" in capsys.readouterr().out
    assert main([str(folder), "--classes", "lesion"]) == 2
    assert "write names with their label values" in capsys.readouterr().err


def test_a_16_bit_mask(folder):
    put(folder, "p3", picture(3), square(65535, dtype=np.uint16))
    assert kinds(folder) == {"16-bit masks": ["masks/p3.png"]}


def test_label_values_that_are_not_declared(folder):
    for i in range(8):
        put(folder, f"p{i}", picture(i), square(1))
    stray = square(1)
    stray[0, 0] = 7
    put(folder, "p3", picture(3), stray)
    kind = "label values that are not in the passport"
    assert kinds(folder, classes={"organ": 1}) == {kind: ["p3"]}
    strict = dataclasses.replace(load_folder(folder, classes={"organ": 1}), other_labels=())
    report = examine(strict)
    assert [(f.kind, f.where) for f in report.findings] == [(kind, "p3")]


def test_a_file_that_is_no_image(folder):
    (folder / "images/p3.png").write_bytes(b"not a picture")
    assert kinds(folder) == {"files that cannot be used": ["p3"]}


def test_the_same_image_twice(folder):
    put(folder, "p8", picture(3), square())
    assert kinds(folder) == {"duplicated images": ["p8"]}


def test_the_same_image_with_contradictory_masks(folder):
    put(folder, "p8", picture(3), square(side=9))
    assert kinds(folder) == {"duplicated images with contradictory masks": ["p8"]}


def test_an_image_upside_down_is_worth_a_look_but_no_error(folder):
    put(folder, "p3", picture(3)[::-1].copy(), square())
    report = examine(load_folder(folder))
    assert [(f.kind, f.where, f.look) for f in report.findings] == [
        ("perhaps upside down", "p3", True)
    ]
    assert report.status == 0


def test_images_that_do_not_resemble_each_other_are_not_called_upside_down(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        stripes = np.repeat(rng.integers(0, 255, ROWS, dtype=np.uint8)[:, None], COLUMNS, axis=1)
        put(tmp_path, f"p{i:02d}", stripes, square())
    assert kinds(tmp_path) == {}


def test_mixed_sizes_are_worth_a_look(folder):
    put(folder, "p3", np.tile(picture(3), (1, 2)), np.tile(square(), (1, 2)))
    assert list(kinds(folder)) == ["look at these: mixed image sizes (rows x columns)"]


def test_volumes_of_another_orientation_grid_spacing_or_without_any(tmp_path):
    usual = np.diag([-2.0, -2.0, 5.0, 1.0])
    for i in range(4):
        put_volume(tmp_path, f"v{i}", usual)
    assert kinds(tmp_path) == {}
    put_volume(tmp_path, "turned", np.diag([2.0, 2.0, 5.0, 1.0]))
    put_volume(tmp_path, "lost", np.eye(4))
    shifted = usual.copy()
    shifted[0, 3] = 10
    put_volume(tmp_path, "shifted", usual, shifted)
    found = kinds(tmp_path)
    assert found["look at these: volumes stored in another orientation"] == ["masks/turned.nii.gz"]
    assert found[f"look at these: {IDENTITY}"] == ["masks/lost.nii.gz"]
    assert found["mask and image on different grids"] == [
        "shifted_z000"
    ]  # once, not once per slice
    assert "look at these: mixed spacings (mm)" in found


def test_a_sample_reads_so_many_cases_spread_over_the_list(folder, monkeypatch):
    dataset = load_folder(folder)
    read, load = [], type(dataset).load
    monkeypatch.setattr(type(dataset), "load", lambda d, r: read.append(r.case_id) or load(d, r))
    report = examine(dataset, sample=3)
    assert read == ["p0", "p3", "p7"]
    assert "8 cases listed, 3 read" in report.text()


def test_long_lists_are_cut_in_the_text_and_whole_on_the_page(folder):
    for i in range(8):
        put(folder, f"p{i}", picture(i), square(side=3))
    dataset = load_folder(folder)
    report = examine(dataset)
    assert "... and 5 more" in report.text(longest=3)
    assert all(f"<li>p{i}: " in page(dataset, report) for i in range(8))


def test_the_page_shows_the_odd_and_the_typical_and_refers_to_nothing_outside(folder):
    put(folder, "p<b>3", picture(33), square(side=4))
    dataset = load_folder(folder)
    html = page(dataset, examine(dataset))
    sources = re.findall(r'src="([^"]*)"', html)
    assert len(sources) == 1 + 6
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(
        r"https?:|//|<link|<script|url\(|@import", re.sub(r'src="[^"]*"', "", html)
    )
    assert "p&lt;b&gt;3" in html
    assert "<b>3" not in html


def test_the_outline_lies_on_the_object(folder):
    dataset = load_folder(folder)
    case = dataset.load(dataset.list().references[0])
    png = np.frombuffer(base64.b64decode(_overlay(case, side=4 * ROWS)), np.uint8)
    overlay = cv2.imdecode(png, cv2.IMREAD_COLOR)[..., ::-1]
    assert overlay.shape == (4 * ROWS, 4 * COLUMNS, 3)
    rows, columns = np.nonzero((overlay == COLOURS[0]).all(axis=2))
    # The square covers rows 10..21 and columns 8..19; its outline runs through the outer pixels'
    # middle.
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == [42, 86, 34, 78]


def test_nothing_is_changed(folder):
    put(folder, "p3", picture(3), square(side=3))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*.png")}
    names = sorted(folder.rglob("*"))
    dataset = load_folder(folder)
    page(dataset, examine(dataset))
    assert sorted(folder.rglob("*")) == names
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before


def test_the_exit_status_is_0_1_or_2_and_the_page_is_written(folder, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main([str(folder), "--page", str(out)]) == 0
    assert "Nothing found." in capsys.readouterr().out
    assert out.read_text().startswith("<!doctype html>")
    (folder / "masks/p3.png").unlink()
    assert main([str(folder)]) == 1
    assert "images/p3.png" in capsys.readouterr().out
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    for path in folder.glob("images/*"):
        path.write_bytes(b"not a picture")
    assert main([str(folder)]) == 2
    assert "files that cannot be used (7)" in capsys.readouterr().out


def test_a_misspelt_dataset_is_named_with_the_nearest_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["us_brest"]) == 2
    told = capsys.readouterr().err
    assert "did you mean 'us_breast'" in told and "No folder has this name either" in told
