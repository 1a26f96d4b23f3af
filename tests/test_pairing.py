"""Which mask of an own folder belongs to which image, and what is not guessed."""

import numpy as np
import pytest
from PIL import Image

from medsam_utils import load_folder
from medsam_utils.case import BadInputError
from medsam_utils.datasets import ANY_VALUE
from medsam_utils.datasets.by_name import ByName

SQUARE = np.zeros((12, 16), np.uint8)
SQUARE[2:8, 3:10] = 255
OTHER = np.zeros((12, 16), np.uint8)
OTHER[9:11, 12:15] = 255


def pairs(tmp_path, *names):
    """Write empty files and return mask names by image name, and the reasons of what is left."""
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found, exclusions = ByName("flat").find(tmp_path)
    below = {
        pair.image.relative_to(tmp_path / "images").as_posix(): [
            path.relative_to(tmp_path / "masks").as_posix() for path in pair.masks
        ]
        for pair in found
    }
    return below, [exclusion.reason for exclusion in exclusions]


@pytest.mark.parametrize(
    "mask",
    [
        "case_1",
        "case_1_mask",
        "case_1_Mask",
        "case_1-mask",
        "case_1.mask",
        "case_1 mask",
        "case_1_masks",
        "case_1_seg",
        "case_1_SEG",
        "case_1_segmentation",
        "case_1_Segmentation",
        "case_1_label",
        "case_1_labels",
        "case_1_gt",
        "case_1_GT",
        "case_1_ground_truth",
        "case_1_groundtruth",
        "case_1_annotation",
        "mask_case_1",
        "seg-case_1",
        "CASE_1",
        "Case_1_Mask",
    ],
)
def test_a_word_and_capitals_make_no_difference(tmp_path, mask):
    assert pairs(tmp_path, "images/case_1.png", f"masks/{mask}.png") == (
        {"case_1.png": [f"{mask}.png"]},
        [],
    )


@pytest.mark.parametrize(
    "mask", ["case_2", "case", "case_10", "case_1_left", "case_1_cup", "xcase_1"]
)
def test_other_names_are_not_guessed(tmp_path, mask):
    found, left = pairs(tmp_path, "images/case_1.png", f"masks/{mask}.png")
    assert not found
    assert sorted(left) == sorted(
        ["images/case_1.png: image without mask", f"masks/{mask}.png: mask without image"]
    )


def test_the_image_may_carry_a_word_or_the_channel_of_nnunet(tmp_path):
    found, left = pairs(
        tmp_path,
        *("images/a_0000.png", "masks/a.png", "images/b_image.png", "masks/b_mask.png"),
        *("images/c_img.png", "masks/c.png"),
    )
    assert found == {"a_0000.png": ["a.png"], "b_image.png": ["b_mask.png"], "c_img.png": ["c.png"]}
    assert not left


def test_the_nearer_name_wins(tmp_path):
    found, left = pairs(tmp_path, "images/a.png", "images/a_1.png", "masks/a.png", "masks/a_1.png")
    assert (found, left) == ({"a.png": ["a.png"], "a_1.png": ["a_1.png"]}, [])


def test_one_name_in_two_unicode_forms_is_one(tmp_path):
    composed, decomposed = "Bein_m\u00fcller", "Bein_mu\u0308ller"
    found, left = pairs(tmp_path, f"images/{decomposed}.png", f"masks/{composed}.png")
    assert (found, left) == ({f"{decomposed}.png": [f"{composed}.png"]}, [])


@pytest.mark.parametrize(
    "masks",
    [
        ["a_1", "a_2"],
        ["a-1", "a-2", "a-10"],
        ["a (1)", "a (2)"],
        ["a_mask", "a_mask_1"],
        ["a_mask_1", "a_mask_2"],
        ["a_1_mask", "a_2_mask"],
        ["a/1", "a/2"],
        ["a/00f3", "a/9c1e"],
        ["a_masks/1", "a_masks/2"],
    ],
)
def test_numbered_masks_and_a_folder_of_masks_are_parts_of_one(tmp_path, masks):
    found, left = pairs(tmp_path, "images/a.png", *(f"masks/{mask}.png" for mask in masks))
    assert not left and sorted(found["a.png"]) == sorted(f"{mask}.png" for mask in masks)


def test_a_numbered_mask_is_no_part_where_images_are_numbered(tmp_path):
    found, left = pairs(
        tmp_path, "images/a.png", "images/a_1.png", "masks/a_1.png", "masks/a_2.png"
    )
    assert found == {"a_1.png": ["a_1.png"]}
    assert left == ["images/a.png: image without mask", "masks/a_2.png: mask without image"]


@pytest.mark.parametrize("masks", [("a_mask", "a_seg"), ("a", "a_mask"), ("a_seg", "a/1")])
def test_two_different_masks_of_one_image_are_an_error_that_shows_them(tmp_path, masks):
    found, (reason,) = pairs(tmp_path, "images/a.png", *(f"masks/{mask}.png" for mask in masks))
    assert not found
    assert "several masks fit it" in reason
    assert all(f"masks/{mask}.png" in reason for mask in masks)


def test_one_mask_of_two_images_is_an_error_that_shows_them(tmp_path):
    found, (reason,) = pairs(tmp_path, "images/a_0000.png", "images/a_0001.png", "masks/a.png")
    assert not found
    assert reason.startswith("masks/a.png: several images fit it: images/a_0000.png, images/a_0001")


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def test_the_page_says_how_files_were_paired(tmp_path):
    for name in ("a", "b", "c_0000"):
        save(tmp_path / f"images/{name}.png", SQUARE)
    for name in ("a", "b_mask", "c_1", "c_2"):
        save(tmp_path / f"masks/{name}.png", SQUARE)
    _, paired = load_folder(tmp_path).passport.traps
    assert paired == (
        "images and masks were paired by equal names (1); names that are equal but for a word such "
        "as _mask or _0000 (1); several masks for one image, numbered: united (1)"
    )


def test_masks_of_single_objects_are_united(tmp_path):
    save(tmp_path / "images/a.png", SQUARE)
    save(tmp_path / "masks/a_1.png", SQUARE), save(tmp_path / "masks/a_2.png", OTHER)
    dataset = load_folder(tmp_path)
    assert dataset.classes == {"object": ANY_VALUE}
    np.testing.assert_array_equal(dataset.load("a").masks["object"], (SQUARE | OTHER) > 0)


def test_a_file_for_each_organ_is_a_class_by_its_name(tmp_path):
    for case in ("s0001", "s0002"):
        save(tmp_path / f"images/{case}.png", SQUARE)
        save(tmp_path / f"masks/{case}/liver.png", SQUARE)
        save(tmp_path / f"masks/{case}/spleen.png", OTHER)
    dataset = load_folder(tmp_path)
    assert list(dataset.classes) == ["liver", "spleen"]
    masks = dataset.load("s0002").masks
    np.testing.assert_array_equal(masks["liver"], SQUARE > 0)
    np.testing.assert_array_equal(masks["spleen"], OTHER > 0)


def test_files_that_count_objects_are_no_classes(tmp_path):
    for case in ("x", "y"):
        save(tmp_path / f"images/{case}.png", SQUARE)
        for name, mask in ((f"{case}00f3a1b2", SQUARE), (f"{case}9c1e77d0", OTHER)):
            save(tmp_path / f"masks/{case}/{name}.png", mask)
    assert load_folder(tmp_path).classes == {"object": ANY_VALUE}


def test_the_folders_may_have_the_names_of_nnunet(tmp_path):
    save(tmp_path / "imagesTr/a_0000.png", SQUARE), save(tmp_path / "labelsTr/a.png", SQUARE)
    assert [reference.case_id for reference in load_folder(tmp_path)] == ["a"]


def test_two_folders_that_may_be_meant_are_an_error_that_shows_them(tmp_path):
    for folder in ("imagesTr", "img", "labels"):
        save(tmp_path / folder / "a.png", SQUARE)
    with pytest.raises(BadInputError, match="which of imagesTr, img is meant"):
        load_folder(tmp_path)


def test_the_only_image_of_a_folder_has_its_name_from_the_folder(tmp_path):
    found, left = pairs(
        tmp_path,
        *("images/s1/ct.png", "masks/s1/segmentations/liver.png", "masks/s1/segmentations/gut.png"),
        *("images/s2/imaging.png", "masks/s2/segmentation.png"),
    )
    assert not left
    assert found == {
        "s1/ct.png": ["s1/segmentations/gut.png", "s1/segmentations/liver.png"],
        "s2/imaging.png": ["s2/segmentation.png"],
    }


def test_the_only_image_of_a_folder_is_not_guessed_by_another_name(tmp_path):
    found, left = pairs(tmp_path, "images/p1/a.png", "masks/p1/b.png")
    assert not found and len(left) == 2
