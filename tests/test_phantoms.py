"""Phantoms: written in each dataset's own format and read back by its reader, voxel for voxel."""

import subprocess
import sys

import nibabel
import numpy as np
import pytest
from cases import read_all
from PIL import Image

from medsam_utils import DATASETS, load_dataset
from medsam_utils.cache import cache_folder
from medsam_utils.case import BadInputError
from medsam_utils.datasets.sources import PACKAGES
from medsam_utils.demo import phantoms
from medsam_utils.demo.phantoms import mri, ultrasound, xray

pytestmark = pytest.mark.slow  # the phantoms that all of them read are written first


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with all phantoms, as `python -m medsam_utils.demo.phantoms` writes it."""
    folder = tmp_path_factory.mktemp("data")
    for name in phantoms.WRITERS:
        phantoms.write_phantoms(name, folder / name)
    return folder


def read(name, data):
    """Read all cases of a phantom dataset: (by case id, the messages of what was left out)."""
    return read_all(load_dataset(name, data))


def test_there_are_phantoms_of_every_dataset_that_does_not_come_with_a_package():
    assert set(phantoms.WRITERS) == set(DATASETS) - set(PACKAGES)


def test_us_breast_comes_back_as_drawn(data):
    cases, excluded = read("us_breast", data)
    drawings = ultrasound.us_breast_drawings()
    assert sorted(cases) == sorted(name for name in drawings if not name.startswith("normal"))
    for name, case in cases.items():
        np.testing.assert_array_equal(case.image, np.stack([drawings[name].image] * 3, axis=2))
        np.testing.assert_array_equal(case.masks["lesion"], np.any(drawings[name].masks, axis=0))
    assert sum(len(drawing.masks) == 2 for drawing in drawings.values()) == 2
    assert len(excluded) == 3
    assert all("normal" in text and "no labelled pixel" in text for text in excluded)


def test_us_breast_masks_are_stored_in_several_modes(data):
    modes = {Image.open(path).mode for path in (data / "us_breast").rglob("*_mask*.png")}
    assert modes == {"1", "L", "RGB"}


def test_mri_heart_comes_back_as_drawn(data):
    cases, excluded = read("mri_heart", data)
    dataset = load_dataset("mri_heart", data)
    drawn = {
        f"{name}_z{index:03d}": (volume.image[index], volume.label[index], volume.spacing)
        for name, volume in mri.mri_heart_volumes().items()
        for index in range(len(volume.label))
        if volume.label[index].any()
    }
    assert sorted(cases) == sorted(drawn)
    assert not excluded
    for name, case in cases.items():
        image, label, spacing = drawn[name]
        np.testing.assert_array_equal(case.image, dataset.intensity(image.astype(np.float32)))
        np.testing.assert_array_equal(case.masks["left atrium"], label == 1)
        assert case.spacing == spacing[1:]
        assert case.patient_id == name[:6]


def test_mri_heart_files_are_as_distributed(data):
    root = data / "mri_heart" / "Task02_Heart"
    label = nibabel.load(root / "labelsTr" / "la_003.nii.gz")
    assert label.get_data_dtype() == np.uint8
    assert np.unique(np.asarray(label.dataobj)).tolist() == [0, 1]
    assert nibabel.aff2axcodes(label.affine) == ("R", "A", "S")
    assert (root / "imagesTr" / "._la_003.nii.gz").is_file()
    assert list((root / "imagesTs").glob("la_*.nii.gz"))


def test_xray_chest_comes_back_as_drawn(data):
    cases, excluded = read("xray_chest", data)
    drawings = xray.xray_chest_drawings()
    assert len(cases) + len(excluded) == len(drawings)
    for name, case in cases.items():
        np.testing.assert_array_equal(case.image, np.stack([drawings[name].image] * 3, axis=2))
        np.testing.assert_array_equal(
            case.masks["lungs"], drawings[name].masks[0] | drawings[name].masks[1]
        )
    assert {reason.split(": ")[1] for reason in excluded} == {"image without mask"}


def test_xray_chest_files_are_as_distributed(data):
    root = data / "xray_chest"
    images = {Image.open(path).mode for path in (root / "ChinaSet_AllFiles").rglob("*.png")}
    assert images == {"P", "RGB"}
    for path in (root / "MontgomerySet" / "ManualMask" / "leftMask").glob("*.png"):
        left, right = Image.open(path), Image.open(path.parents[1] / "rightMask" / path.name)
        assert left.mode == right.mode == "1"
        assert not (np.asarray(left) & np.asarray(right)).any()
        # leftMask is the lung on the left of the image.
        assert np.nonzero(left)[1].mean() < np.nonzero(right)[1].mean()


@pytest.mark.parametrize("name", sorted(phantoms.WRITERS))
def test_a_few_dozen_objects(data, name):
    cases, _ = read(name, data)
    assert 10 <= sum(mask.any() for case in cases.values() for mask in case.masks.values()) <= 120


def test_phantoms_are_a_demo_wherever_they_lie(data):
    assert load_dataset("us_breast", data).level == "demo"
    (data / "us_breast" / "PHANTOMS.txt").unlink()
    assert load_dataset("us_breast", data).level == "measured"
    (data / "us_breast" / "PHANTOMS.txt").touch()


# ---- the cache


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """An empty cache, and a writer that takes no time."""
    calls = []

    def writer(folder):
        calls.append(folder)
        (folder / "a").write_text("drawn")

    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MEDSAM_DATA", raising=False)
    monkeypatch.setitem(phantoms.WRITERS, "us_breast", writer)
    return calls


def test_phantoms_are_written_once_to_the_cache(quick, tmp_path):
    first, second = load_dataset("us_breast"), load_dataset("us_breast")
    assert first.root == second.root
    assert first.root.parent == tmp_path / "cache" / "phantoms"
    assert (first.root / "a").read_text() == "drawn"
    assert len(quick) == 1
    assert first.level == "demo"


def test_the_second_of_two_processes_takes_the_firsts_phantoms(quick, monkeypatch):
    def overtaken(folder):
        (folder / "a").write_text("second")
        monkeypatch.setitem(phantoms.WRITERS, "us_breast", lambda f: (f / "a").write_text("first"))
        phantoms.phantom_folder("us_breast")

    monkeypatch.setitem(phantoms.WRITERS, "us_breast", overtaken)
    folder = phantoms.phantom_folder("us_breast")
    assert (folder / "a").read_text() == "first"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_writer_that_fails_leaves_nothing_behind(quick, monkeypatch):
    def failing(folder):
        (folder / "half").touch()
        raise OSError("disk full")

    monkeypatch.setitem(phantoms.WRITERS, "us_breast", failing)
    with pytest.raises(OSError, match="disk full"):
        phantoms.phantom_folder("us_breast")
    assert not list((cache_folder() / "phantoms").iterdir())


def test_phantoms_can_be_written_anywhere_and_are_the_same_every_time(data, tmp_path):
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "medsam_utils.demo.phantoms",
        str(tmp_path),
        "mri_heart",
    ]
    subprocess.run(command, check=True)
    paths = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert {path.parts[0] for path in paths} == {"mri_heart"}
    assert len(paths) == len([path for path in (data / "mri_heart").rglob("*") if path.is_file()])
    for path in paths:
        assert (tmp_path / path).read_bytes() == (data / path).read_bytes()


# ---- which files a dataset is read from


def test_real_files_are_found_by_the_datasets_name_or_the_distributions(quick, tmp_path):
    for name in ("Task02_Heart", "MontgomerySet", "mask", "us_breast/any/depth"):
        (tmp_path / "data" / name).mkdir(parents=True)
    heart, chest, breast = (
        load_dataset(n, tmp_path / "data") for n in ("mri_heart", "xray_chest", "us_breast")
    )
    assert (heart.root, heart.within, heart.level) == (
        tmp_path / "data",
        ("Task02_Heart",),
        "measured",
    )
    assert (chest.root, chest.within) == (tmp_path / "data", ("MontgomerySet", "mask"))
    assert (breast.root, breast.within) == (tmp_path / "data" / "us_breast", ())


def test_a_folder_of_a_common_name_is_no_dataset(quick, tmp_path, monkeypatch):
    monkeypatch.setitem(phantoms.WRITERS, "xray_chest", lambda folder: None)
    (tmp_path / "data" / "mask").mkdir(parents=True)
    assert load_dataset("xray_chest", tmp_path / "data").level == "demo"


def test_the_environment_names_the_folder_of_real_data(quick, tmp_path, monkeypatch):
    (tmp_path / "us_breast").mkdir()
    monkeypatch.setenv("MEDSAM_DATA", str(tmp_path))
    assert load_dataset("us_breast").level == "measured"


def test_a_dataset_that_is_not_there_stays_a_phantom(quick, tmp_path):
    assert load_dataset("us_breast", tmp_path).level == "demo"


def test_prepared_images_and_masks_are_read_too(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "mri_heart" / part).mkdir(parents=True)
        Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(
            tmp_path / "mri_heart" / part / "la_003_z1.png"
        )
    dataset = load_dataset("mri_heart", tmp_path)
    (reference,) = dataset.list().references
    np.testing.assert_array_equal(dataset.load(reference).masks["left atrium"], np.eye(4))
    assert (dataset.title, dataset.level) == ("MRI-Heart", "measured")


def test_an_unknown_dataset_is_an_error_that_knows_better():
    with pytest.raises(
        BadInputError, match=r"'us_brest' is unknown: did you mean 'us_breast'\? Known: .*mri_heart"
    ):
        load_dataset("us_brest")


def test_a_missing_data_folder_is_an_error(tmp_path):
    with pytest.raises(BadInputError, match=r"nowhere: no such folder: set MEDSAM_DATA"):
        load_dataset("us_breast", tmp_path / "nowhere")


def test_an_entry_without_files_says_how_to_get_them():
    with pytest.raises(BadInputError, match=r"use load_dataset\('us_breast'\)"):
        DATASETS["us_breast"].list()


def test_listing_image_pairs_opens_no_file(data, monkeypatch):
    dataset = load_dataset("xray_chest", data)
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("a file was opened"))
    assert len(dataset.list().references) == 26


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_an_entry_says_what_a_page_needs(name):
    entry = DATASETS[name]
    assert entry.name == name
    for field in (
        "full_name",
        "citation",
        "home",
        "licence",
        "registration",
        "layout",
        "count_rule",
    ):
        assert getattr(entry.passport, field)
    assert entry.modality in ("MRI", "X-ray", "Ultrasound", "CT", "PET")
