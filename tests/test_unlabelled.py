"""Images without masks in the explorer: beside those with one, in every kind of folder, and where a
volume opens."""

from __future__ import annotations

import shutil

import nibabel
import numpy as np
import pytest
from cases import edit
from PIL import Image
from test_explorer import write_folder

from medsam_utils import load_folder, load_images
from medsam_utils.book.explorer.live import Explorer
from medsam_utils.book.explorer.subjects import open_folder
from medsam_utils.case import BadInputError
from medsam_utils.demo.phantoms.dicom_files import save_series

VOLUME = np.zeros((24, 30, 7), np.uint8)  # columns, rows, slices
VOLUME[8:16, 10:20, 1:5] = 1
VOLUME[8:18, 10:22, 3] = 1  # the largest
AFFINE = np.diag([-2.0, -2.0, 5.0, 1.0])


def texts(explorer) -> dict[str, str]:
    return {case["case"]: case["text"] for case in explorer.choices["cases"]}


def write_volume(root, name, mask=None):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(VOLUME * 90, AFFINE), root / f"images/{name}.nii.gz")
    if mask is not None:
        nibabel.save(nibabel.Nifti1Image(mask, AFFINE), root / f"masks/{name}.nii.gz")


def write_scan(folder, uid):
    """A series of 5 slices, 30 x 24, with a bright box."""
    values = np.ascontiguousarray(VOLUME.T[:5].astype(np.uint16) * 400)
    names = [f"{i}.dcm" for i in range(5)]
    save_series(folder, names, values, (5.0, 2.0, 2.0), uid, modality="CT")


def test_images_without_a_mask_are_offered_beside_those_with_one(tmp_path):
    root = write_folder(tmp_path, ["a", "b", "c 10", "c 9"])
    for name in ("b", "c 10"):
        (root / f"masks/{name}.png").unlink()
    explorer = Explorer(root, ["grabcut"])
    assert texts(explorer) == {
        "a": "a",
        "b": "b · no mask",
        "c 9": "c 9",
        "c 10": "c 10 · no mask",
    }
    assert list(texts(explorer)) == ["a", "b", "c 9", "c 10"]
    explorer.state = {"case": "b", "clicks": [[12, 18, 1]]}
    assert explorer.scene["truth"] is None and explorer.answers[0]["mask"]
    explorer.state = {"case": "a"}
    assert explorer.scene["truth"]


def test_an_image_whose_mask_marks_nothing_is_one_without_a_mask(tmp_path):
    root = write_folder(tmp_path, ["a", "b"])
    Image.fromarray(np.zeros((60, 48), np.uint8)).save(root / "masks/b.png")
    explorer = Explorer(root, ["grabcut"], state={"case": "b", "clicks": [[12, 18, 1]]})
    assert explorer.scene["truth"] is None and explorer.answers[0]["mask"]


def test_a_dataset_given_by_name_of_its_folder_or_read_before_shows_the_same(tmp_path):
    root = write_folder(tmp_path, ["a", "b"])
    (root / "masks/b.png").unlink()
    assert texts(Explorer(load_folder(root), ["grabcut"])) == texts(Explorer(root, ["grabcut"]))


def test_an_evaluation_still_leaves_out_what_has_no_mask(tmp_path):
    root = write_folder(tmp_path, ["a", "b"])
    (root / "masks/b.png").unlink()
    assert [reference.case_id for reference in open_folder(root)] == ["a"]


def test_a_folder_of_masks_that_is_still_empty_is_as_none(tmp_path):
    root = write_folder(tmp_path, ["a", "b"])
    shutil.rmtree(root / "masks")
    (root / "masks").mkdir()
    assert list(texts(Explorer(root, ["grabcut"]))) == ["images/a.png", "images/b.png"]


def test_masks_of_other_names_are_told_not_taken_for_images(tmp_path):
    root = write_folder(tmp_path, ["a"])
    (root / "masks/a.png").rename(root / "masks/z.png")
    with pytest.raises(BadInputError, match="no image has a mask of its name"):
        open_folder(root)


def test_two_images_of_one_name_are_both_offered(tmp_path):
    root = write_folder(tmp_path, ["a", "b"])
    (root / "masks/b.png").unlink()
    Image.open(root / "images/b.png").save(root / "images/b.bmp")
    assert list(texts(Explorer(root, ["grabcut"]))) == ["a", "b.bmp", "b.png"]


def test_all_slices_are_offered_of_volumes_with_and_without_a_mask(tmp_path):
    write_volume(tmp_path, "v1", VOLUME)
    write_volume(tmp_path, "v2")
    write_volume(tmp_path, "v3", VOLUME * 0)
    explorer = Explorer(tmp_path, ["grabcut"])
    offered = texts(explorer)
    assert len(offered) == 21
    assert offered["v1_z000"] == "v1_z000 · nothing marked" and offered["v1_z001"] == "v1_z001"
    assert offered["v2_z003"] == "v2_z003 · no mask" and offered["v3_z003"].endswith("no mask")
    for case, has_truth in {
        "v1_z000": False,
        "v1_z002": True,
        "v2_z002": False,
        "v3_z002": False,
    }.items():
        explorer.state = {"case": case, "clicks": [[15, 12, 1]]}
        assert bool(explorer.scene["truth"]) == has_truth
        assert explorer.scene["shape"] == [30, 24] and not explorer.answers[0]["problem"]


def test_a_dicom_series_without_a_mask_is_offered_beside_one_with_a_mask(tmp_path):
    write_scan(tmp_path / "images/p1", "1.2.1")
    write_scan(tmp_path / "images/p2", "1.2.2")
    (tmp_path / "masks").mkdir()
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    labelled = load_images(tmp_path / "images/p1")
    affine = labelled.reader.grid(labelled["p1_z000"]).affine
    mask = np.ascontiguousarray(VOLUME.T[:5])
    nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "masks/p1.nii.gz")
    explorer = Explorer(tmp_path, ["grabcut"])
    assert len(texts(explorer)) == 10 and texts(explorer)["p2_z002"] == "p2_z002 · no mask"
    pictures = []
    for case in ("p1_z002", "p2_z002"):
        explorer.state = {"case": case, "clicks": [[15, 12, 1]]}
        pictures.append(explorer.scene["image"])
    assert pictures[0] == pictures[1] and not explorer.answers[0]["problem"]


def test_dicom_series_are_shown_without_any_mask(tmp_path):
    write_scan(tmp_path / "p1", "1.2.1")
    write_scan(tmp_path / "p2", "1.2.2")
    explorer = Explorer(tmp_path, ["grabcut"], state={"case": "p2_z004", "clicks": [[15, 12, 1]]})
    assert list(texts(explorer)) == [f"p{n}_z00{i}" for n in (1, 2) for i in range(5)]
    assert explorer.answers[0]["mask"]


def test_dicom_files_that_say_no_place_are_pictures_each(tmp_path):
    write_scan(tmp_path / "p1", "1.2.1")
    for path in (tmp_path / "p1").iterdir():
        edit(path, ImagePositionPatient=None)
    explorer = Explorer(tmp_path, ["grabcut"], state={"case": "p1/3.dcm", "clicks": [[15, 12, 1]]})
    assert list(texts(explorer)) == [f"p1/{i}.dcm" for i in range(5)]
    assert explorer.answers[0]["mask"] and set(explorer.files["formats"]) >= {"folder"}
    assert "seg" not in explorer.files["formats"]


def test_one_dicom_file_is_shown_alone(tmp_path):
    write_scan(tmp_path / "p1", "1.2.1")
    explorer = Explorer(tmp_path / "p1/3.dcm", ["grabcut"], state={"clicks": [[15, 12, 1]]})
    assert list(texts(explorer)) == ["3.dcm_z000"] and explorer.answers[0]["mask"]


def test_a_series_with_a_gap_is_left_out_and_the_others_are_shown(tmp_path):
    write_scan(tmp_path / "p1", "1.2.1")
    write_scan(tmp_path / "p2", "1.2.2")
    (tmp_path / "p1/2.dcm").unlink()
    dataset = load_images(tmp_path)
    assert {reference.case_id[:2] for reference in dataset} == {"p2"}
    (exclusion,) = dataset.list().exclusions
    assert exclusion.case_id == "p1" and "missing" in exclusion.fact


# ---- where a volume opens


def test_a_volume_opens_at_its_largest_object(tmp_path):
    write_volume(tmp_path, "v", VOLUME)
    assert Explorer(tmp_path, ["grabcut"]).state["case"] == "v_z003"


def test_a_volume_opens_at_the_largest_object_of_the_class_that_is_shown(tmp_path):
    labels = VOLUME.copy()
    labels[2:5, 2:5, 5] = 2
    write_volume(tmp_path, "v", labels)
    explorer = Explorer(tmp_path, ["grabcut"], state={"task": f"{tmp_path.name}: label 2"})
    assert explorer.state["case"] == "v_z005"


def test_a_volume_without_a_mask_opens_at_its_middle(tmp_path):
    write_volume(tmp_path, "v")
    assert Explorer(tmp_path / "images/v.nii.gz", ["grabcut"]).state["case"] == "v.nii.gz_z003"


def test_each_volume_of_a_folder_can_be_opened_there(tmp_path):
    write_volume(tmp_path, "v1", VOLUME)
    write_volume(tmp_path, "v2")
    explorer = Explorer(tmp_path, ["grabcut"], state={"case": "v1_z000", "object": 2})
    assert {case["volume"] for case in explorer.choices["cases"]} == {"v1", "v2"}
    explorer._receive(explorer, {"open": ["v2"]}, [])
    assert explorer.state["case"] == "v2_z003" and "object" not in explorer.state
    explorer._receive(explorer, {"open": ["v1"]}, [])
    assert explorer.state["case"] == "v1_z003"
    explorer._receive(explorer, {"open": ["v9"]}, [])
    assert "'v9'" in explorer.notice and explorer.state["case"] == "v1_z003"
