"""Your own images as a dataset."""

import pickle

import nibabel
import numpy as np
import pytest
from PIL import Image

from medsam_utils.case import BadCaseError, BadInputError
from medsam_utils.datasets import ANY_VALUE, load_folder
from medsam_utils.intensity import Window

GREY = np.array([[0, 60, 120], [180, 240, 255]], np.uint8)
BINARY = np.array([[0, 0, 255], [0, 255, 255]], np.uint8)
LABELS = np.array([[0, 0, 1], [2, 2, 4]], np.uint8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    return tmp_path


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values) if path.suffix == ".npy" else Image.fromarray(values).save(path)


def cases(dataset):
    return {reference.case_id: dataset.load(reference) for reference in dataset}


def test_equal_names_are_paired_whatever_their_suffix(folder):
    for image, mask in (
        ("a.png", "a.npy"),
        ("b.jpg", "b.PNG"),
        ("c.tif", "c.bmp"),
        ("d.v2.png", "d.v2.png"),
    ):
        save(folder / "images" / image, GREY), save(folder / "masks" / mask, BINARY)
    dataset = load_folder(folder)
    loaded = cases(dataset)
    assert list(loaded) == ["a", "b", "c", "d.v2"]
    for case in loaded.values():
        np.testing.assert_array_equal(case.masks["object"], BINARY > 0)
    assert (dataset.level, dataset.name, dataset.tasks) == (
        "measured",
        folder.name,
        {"object": folder.name},
    )


def test_images_in_subfolders_belong_to_the_patient_of_the_first_one(folder):
    for name in ("p1/a.png", "p1/b.png", "p2/a.png", "c.png"):
        save(folder / "images" / name, GREY), save(folder / "masks" / name, BINARY)
    references = load_folder(folder).list().references
    assert [(r.case_id, r.patient_id) for r in references] == [
        ("c", "c"),
        ("p1/a", "p1"),
        ("p1/b", "p1"),
        ("p2/a", "p2"),
    ]


def test_a_label_map_gives_one_class_per_value(folder):
    save(folder / "images/a.png", GREY), save(folder / "masks/a.png", LABELS)
    dataset = load_folder(folder, name="Knee")
    assert dataset.tasks == {f"label {n}": f"Knee: label {n}" for n in (1, 2, 4)}
    np.testing.assert_array_equal(cases(dataset)["a"].masks["label 2"], LABELS == 2)
    np.testing.assert_array_equal(cases(dataset)["a"].labelled, LABELS > 0)


def test_classes_may_be_named_and_left_out_and_merged(folder):
    save(folder / "images/a.png", GREY), save(folder / "masks/a.png", LABELS)
    masks = cases(load_folder(folder, classes={"femur": 1, "rest": (2, 4)}))["a"].masks
    np.testing.assert_array_equal(masks["femur"], LABELS == 1)
    np.testing.assert_array_equal(masks["rest"], LABELS >= 2)


def test_a_class_absent_from_an_image_is_empty(folder):
    for name, labels in (("a", LABELS), ("b", np.minimum(LABELS, 1))):
        save(folder / f"images/{name}.png", GREY), save(folder / f"masks/{name}.png", labels)
    assert not cases(load_folder(folder))["b"].masks["label 4"].any()


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 7)])
def test_masks_of_one_value_are_one_class(folder, values):
    save(folder / "images/a.png", GREY), save(folder / "masks/a.png", np.array([values], np.uint8))
    assert load_folder(folder).classes == {"object": ANY_VALUE}


def test_masks_of_0_and_1_beside_masks_of_0_and_255_are_one_class(folder):
    for name, mask in (("a", BINARY), ("b", BINARY // 255)):
        save(folder / f"images/{name}.png", GREY), save(folder / f"masks/{name}.png", mask)
    for case in cases(load_folder(folder)).values():
        np.testing.assert_array_equal(case.masks["object"], BINARY > 0)


def test_soft_masks_are_one_class_cut_at_half(folder):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save(folder / "images/a.png", ramp), save(folder / "masks/a.png", ramp)
    dataset = load_folder(folder)
    assert dataset.classes == {"object": ANY_VALUE}
    np.testing.assert_array_equal(cases(dataset)["a"].masks["object"], ramp >= 128)


def test_values_that_may_be_labels_or_a_soft_edge_are_questioned(folder):
    mask = np.array([[0, 127, 255]], np.uint8)
    save(folder / "images/a.png", GREY[:1]), save(folder / "masks/a.png", mask)
    with pytest.raises(
        BadInputError, match=r"masks/a\.png: its values are 127, 255.*classes=.*thr"
    ):
        load_folder(folder)
    soft = load_folder(folder, threshold=128)
    np.testing.assert_array_equal(cases(soft)["a"].masks["object"], mask == 255)
    labels = cases(load_folder(folder, classes={"inner": 255, "edge": 127}))["a"].masks
    np.testing.assert_array_equal(labels["edge"], mask == 127)


def test_label_values_asked_of_a_jpeg_are_refused(folder):
    save(folder / "images/a.png", GREY), save(folder / "masks/a.jpg", BINARY)
    (reference,) = load_folder(folder, classes={"lesion": 255}).list().references
    with pytest.raises(BadCaseError, match=r"masks/a\.jpg: JPEG changes label values"):
        load_folder(folder, classes={"lesion": 255}).load(reference)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_volumes_are_cut_into_slices(folder, suffix):
    label = np.zeros((3, 4, 5), np.uint8)
    label[1, 2, 3] = 1
    for part, values in (("images", np.random.default_rng(0).random((3, 4, 5))), ("masks", label)):
        nibabel.Nifti1Image(values, np.diag([2.0, 3.0, 4.0, 1.0])).to_filename(
            folder / part / f"a{suffix}"
        )
    (case,) = cases(load_folder(folder)).values()
    assert (case.case_id, case.slice_index, case.spacing) == ("a_z003", 3, (3.0, 2.0))
    assert case.masks["object"].shape == (4, 3)
    (case,) = cases(load_folder(folder, plane="coronal")).values()
    assert (case.slice_index, case.spacing) == (2, (4.0, 2.0))


def test_the_intensity_rule_can_be_chosen(folder):
    hounsfield = np.array([[-1000, 40, 240]], np.int16)
    save(folder / "images/a.npy", hounsfield), save(folder / "masks/a.png", BINARY[:1])
    image = cases(load_folder(folder, intensity=Window(40, 400)))["a"].image
    np.testing.assert_array_equal(image[0, :, 0], [0, 128, 255])


def test_a_bad_mask_does_not_stop_the_others(folder):
    for name in "ab":
        save(folder / f"images/{name}.png", GREY), save(folder / f"masks/{name}.png", BINARY)
    (folder / "masks/a.png").write_bytes((folder / "masks/a.png").read_bytes()[:40])
    dataset = load_folder(folder)
    bad, good = dataset.list().references
    with pytest.raises(BadCaseError, match=r"masks/a\.png: cannot be read"):
        dataset.load(bad)
    assert dataset.load(good).masks["object"].any()


def test_a_dataset_has_a_length_and_its_cases_by_id_in_order(folder):
    for name in ("images/a.png", "masks/a.png", "images/b.png", "masks/b.png"):
        save(folder / name, BINARY)
    dataset = load_folder(folder)
    assert len(dataset) == 2 and [reference.case_id for reference in dataset] == ["a", "b"]
    assert dataset["b"].images[0].name == "b.png"
    assert dataset.load("b").case_id == "b"
    with pytest.raises(BadInputError, match=r"'B' is unknown: .*Known: a, b"):
        dataset["B"]


def test_a_copy_for_a_worker_holds_no_list_of_cases(folder):
    for name in ("images/a.png", "masks/a.png"):
        save(folder / name, BINARY)
    dataset = load_folder(folder)
    fresh = pickle.dumps(dataset)
    assert dataset["a"] and pickle.dumps(dataset) == fresh
    assert pickle.loads(fresh)["a"] == dataset["a"]


def test_files_without_a_partner_are_listed(folder):
    for name in ("images/a.png", "masks/a.png", "images/b.png", "masks/c.png"):
        save(folder / name, BINARY)
    assert [e.reason for e in load_folder(folder).list().exclusions] == [
        "images/b.png: image without mask",
        "masks/c.png: mask without image",
    ]


@pytest.mark.parametrize("missing", ["", "images", "masks"])
def test_a_missing_folder_is_named_and_the_layout_shown(folder, missing):
    if missing:
        (folder / missing).rmdir()
        path = folder
    else:
        path = folder / "nowhere"
    with pytest.raises(
        BadInputError, match=rf"{missing or 'nowhere'}: no such folder. Expected:\nyour folder/"
    ):
        load_folder(path)


def test_names_that_do_not_match_are_shown(folder):
    save(folder / "images/a.png", GREY), save(folder / "masks/b.png", BINARY)
    with pytest.raises(
        BadInputError, match=r"images/a\.png: image without mask; masks/b.*Rename them"
    ):
        load_folder(folder)


def test_an_empty_folder_is_an_error(folder):
    (folder / "images/a.xyz").touch()
    with pytest.raises(
        BadInputError, match=r"no image has a mask of its name \(both are empty, or of other"
    ):
        load_folder(folder)


def test_volumes_and_images_are_not_mixed(folder):
    for part in ("images", "masks"):
        save(folder / part / "a.png", BINARY)
        nibabel.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)).to_filename(
            folder / part / "b.nii.gz"
        )
    with pytest.raises(BadInputError, match="volumes and flat images"):
        load_folder(folder)
