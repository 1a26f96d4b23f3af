"""The .npz files of the CVPR challenges: images and volumes as cases, predictions as files."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from medsam_utils import BadInputError, evaluate, load_folder, load_model
from medsam_utils.export import export_npz
from medsam_utils.simulation import replay
from tests.cases import read_all

LABELS = np.zeros((3, 40, 48), np.uint8)
LABELS[1:, 5:20, 8:25] = 1
LABELS[1, 25:35, 30:45] = 3
IMAGE = (LABELS * 60 + 20).astype(np.uint8)
BOXES = np.array([{"z_min": 1}], dtype=object)  # of the challenge's files: a pickle, never opened


@pytest.fixture
def folder(tmp_path):
    """A volume of three slices, one of them empty, and a flat image in colour."""
    root = tmp_path / "cvpr"
    root.mkdir()
    np.savez(root / "CT_a.npz", imgs=IMAGE, gts=LABELS, spacing=[0.5, 0.75, 3.0], boxes=BOXES)
    np.savez(
        root / "US_b.npz", imgs=np.dstack([IMAGE[1]] * 3), gts=LABELS[1], boxes=[[8, 5, 24, 19]]
    )
    return root


def test_volumes_come_slice_by_slice_and_images_whole(folder):
    cases, excluded = read_all(load_folder(folder))
    assert list(cases) == ["CT_a_z001", "CT_a_z002", "US_b"] and excluded == []
    case = cases["CT_a_z001"]
    np.testing.assert_array_equal(case.image, np.dstack([IMAGE[1]] * 3))
    np.testing.assert_array_equal(case.masks["label 1"], LABELS[1] == 1)
    np.testing.assert_array_equal(case.masks["label 3"], LABELS[1] == 3)
    assert (case.patient_id, case.slice_index) == ("CT_a", 1)
    assert not cases["CT_a_z002"].masks["label 3"].any()
    np.testing.assert_array_equal(cases["US_b"].image, case.image)


def test_spacing_is_read_in_the_order_of_simpleitk_or_as_is_said(folder):
    dataset = load_folder(folder)
    assert dataset.load("CT_a_z001").spacing == (0.75, 0.5)
    assert dataset.load("US_b").spacing is None
    assert dataset.read_with(spacing_order="zyx").load("CT_a_z001").spacing == (0.75, 3.0)
    assert dataset.reader.slices(dataset["CT_a_z001"]) == (3, 3.0)


def test_labels_may_be_files_of_their_own(folder, tmp_path):
    root = tmp_path / "apart"
    for part in ("imgs", "gts"):
        (root / part).mkdir(parents=True)
    np.savez(root / "imgs/a.npz", imgs=IMAGE, spacing=[1, 1, 2])
    np.savez(root / "gts/a.npz", gts=LABELS)
    cases, _ = read_all(load_folder(root))
    np.testing.assert_array_equal(cases["a_z001"].masks["label 1"], LABELS[1] == 1)


def test_one_number_is_one_object(tmp_path):
    np.savez(tmp_path / "a.npz", imgs=IMAGE, gts=(LABELS == 3) * 7)
    assert dict(load_folder(tmp_path).classes) == {"object": (7,)}


BAD = {
    "two grids": ({"imgs": IMAGE[:2]}, "imgs is \\(2, 40, 48\\) and gts \\(3, 40, 48\\)"),
    "not windowed": ({"imgs": IMAGE.astype(np.int16) - 1000}, "outside 0 to 255"),
    "NaN": ({"imgs": np.full(IMAGE.shape, np.nan)}, "outside 0 to 255"),
    "fractions": ({"gts": LABELS / 2}, "gts is float64"),
    "negative": ({"gts": LABELS.astype(int) - 1}, "whole numbers are needed"),
    "no label": ({"gts": LABELS * 0}, "0 everywhere"),
    "a line": ({"gts": LABELS[0, 0]}, "gts has the shape"),
    "objects": ({"gts": np.arange(LABELS.size).reshape(LABELS.shape)}, "these are objects"),
    "a pickle": ({"gts": np.array([{}], dtype=object)}, "gts cannot be read"),
    "no spacing": ({"spacing": [1.0, 0.0, 1.0]}, "three lengths"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_left_out_by_name_and_the_good_ones_are_read(kind, folder):
    arrays, reason = BAD[kind]
    whole = {"imgs": IMAGE, "gts": LABELS, "spacing": [1.0, 1.0, 1.0]}
    np.savez(folder / "bad.npz", **whole | arrays)
    cases, excluded = read_all(load_folder(folder))
    assert list(cases) == ["CT_a_z001", "CT_a_z002", "US_b"]
    assert excluded and all(text.startswith("bad.npz: ") for text in excluded)
    assert all(re.search(reason, text) for text in excluded)


def test_an_array_that_is_longer_than_its_header_says_is_refused(folder):
    np.savez(folder / "bad.npz", imgs=IMAGE, gts=LABELS)
    content = (folder / "bad.npz").read_bytes()
    assert content.count(b"(3, 40, 48)") == 2
    (folder / "bad.npz").write_bytes(content.replace(b"(3, 40, 48)", b"(2, 40, 48)"))
    _, excluded = read_all(load_folder(folder))
    assert excluded == ["bad.npz: gts cannot be read (EOFError): write the file again"]


def test_a_cut_off_file_is_listed_as_not_read(folder):
    content = (folder / "CT_a.npz").read_bytes()
    (folder / "bad.npz").write_bytes(content[: len(content) // 2])
    assert [e.path for e in load_folder(folder).list().not_read] == ["bad.npz"]


def test_a_folder_without_labels_says_what_is_expected(tmp_path):
    np.savez(tmp_path / "a.npz", imgs=IMAGE)
    with pytest.raises(BadInputError, match="file has imgs and gts"):
        load_folder(tmp_path)


def test_an_npz_file_in_a_folder_of_images_and_masks_changes_nothing(folder):
    for part, values in (("images", IMAGE[1]), ("masks", LABELS[1])):
        (folder / part).mkdir()
        Image.fromarray(values).save(folder / part / "a.png")
    assert list(read_all(load_folder(folder))[0]) == ["a"]


def test_what_cannot_be_said_of_such_files_is_refused(folder):
    for said in ({"classes": "liver=1"}, {"ignore": 0}, {"threshold": 128}, {"plane": "sagittal"}):
        with pytest.raises(BadInputError, match="say themselves"):
            load_folder(folder, **said)


def test_predictions_have_the_shape_and_numbers_of_the_labels(folder, tmp_path):
    dataset, model = load_folder(folder), load_model("grabcut")
    rows = evaluate(dataset, model, clicks=2, executor=None)
    paths = export_npz(rows, dataset, model, tmp_path / "out")
    assert sorted(path.name for path in paths) == ["CT_a.npz", "US_b.npz"]
    with np.load(tmp_path / "out/CT_a.npz") as arrays:
        segs = arrays["segs"]
    assert segs.shape == LABELS.shape and set(np.unique(segs)) <= {0, 1, 3} and not segs[0].any()
    of_case = rows[(rows["case_id"] == "CT_a_z001") & rows["task"].str.endswith("3")]
    mask = replay(dataset.load("CT_a_z001"), model, of_case, 2)
    np.testing.assert_array_equal(segs[1] == 3, mask)


def test_other_datasets_are_refused(folder, tmp_path):
    dataset = load_folder(folder)
    rows = evaluate(dataset, load_model("grabcut"), clicks=1, executor=None)
    with pytest.raises(BadInputError, match="made the rows"):
        export_npz(rows, dataset, load_model("ritm_small"), tmp_path)


def test_two_files_of_one_name_are_not_written_over_each_other(folder, tmp_path):
    for place in ("one", "two"):
        (folder / place).mkdir()
        shutil.copyfile(folder / "US_b.npz", folder / place / "US_c.npz")
    dataset, model = load_folder(folder), load_model("grabcut")
    rows = evaluate(dataset, model, clicks=1, executor=None)
    with pytest.raises(BadInputError, match=r"US_c\.npz lies in several folders"):
        export_npz(rows, dataset, model, tmp_path)
