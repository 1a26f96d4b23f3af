"""Kept listings: read while nothing has changed, and only then."""

import dataclasses
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from PIL import Image

from medsam_utils.datasets import DATASETS, dicom, listings, load_folder, volumes
from medsam_utils.datasets.by_name import ByName
from medsam_utils.demo.phantoms.dicom_files import save_series, save_structures
from medsam_utils.demo.phantoms.drawing import save_nifti

LABEL = np.zeros((4, 3, 5), np.uint8)
LABEL[1, 0, 1] = LABEL[2, 1:, 4] = 1
SPACING = (4.0, 2.0, 1.5)
NAMES = ["a.dcm", "b.dcm", "c.dcm", "d.dcm"]


def write_heart(root, key):
    save_nifti(root / "imagesTr" / f"la_00{key}.nii.gz", LABEL * 9, SPACING)
    save_nifti(root / "labelsTr" / f"la_00{key}.nii.gz", LABEL, SPACING)


def write_prostate(root, key):
    place = root / "GE" / f"Patient {key}"
    save_series(place / "T2W", NAMES, LABEL * 9, SPACING, f"1.2.{key}")
    save_series(place / "GT" / "prostate", NAMES, LABEL * 255, SPACING, f"1.3.{key}")


def write_liver(root, key):
    place = root / f"P{key}"
    save_series(place, NAMES, LABEL * 9, SPACING, f"1.2.{key}", modality="PT", frame=f"1.4.{key}")
    square = np.array([[-3.0, -2, -2], [3, -2, -2], [3, 2, -2], [-3, 2, -2]])
    regions = [("Tumor", [(square, "1.2.5")])]
    save_structures(
        place / "RS.dcm", f"1.5.{key}", f"1.2.{key}", f"1.4.{key}", f"1.2.{key}", regions
    )


KINDS = {"mri_heart": write_heart, "mri_prostate_i2cvb": write_prostate, "pet_liver": write_liver}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, which keeps listings of files however young."""
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(listings, "SETTLED", -1)
    return tmp_path / "cache" / "listings"


@pytest.fixture(params=KINDS)
def dataset(request, tmp_path):
    """A dataset of two volumes, one entry of each reader."""
    root = tmp_path / "data"
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True)
    for key in (1, 2):
        KINDS[request.param](root, key)
    return dataclasses.replace(DATASETS[request.param], root=root)


@pytest.fixture
def opened(monkeypatch):
    """The names of files that listing the cases of volumes reads."""
    names = []
    for module, function in ((volumes, "read_volume"), (dicom, "read_dicom")):
        read = getattr(module, function)
        monkeypatch.setattr(
            module, function, lambda p, *a, _r=read, **k: names.append(p.name) or _r(p, *a, **k)
        )
    return names


def test_listing_again_opens_no_file_and_gives_the_same(dataset, opened, cache):
    first = dataset.list()
    assert opened
    opened.clear()
    assert dataset.list() == first
    assert not opened
    assert len(first.references) >= 2
    assert len(list(cache.iterdir())) == 1


def test_whatever_changes_the_cases_are_listed_anew(dataset, opened):
    def listed_anew(changed):
        opened.clear()
        listing = changed.list()
        assert opened
        opened.clear()
        assert changed.list() == listing
        assert not opened
        return listing

    first = listed_anew(dataset)
    KINDS[dataset.name](dataset.root, 3)
    longer = listed_anew(dataset)
    assert len(longer.references) == len(first.references) * 3 / 2
    mask = first.references[0].masks[0]
    stat = mask.stat()
    mask.write_bytes(mask.read_bytes())
    os.utime(
        mask, ns=(stat.st_atime_ns, stat.st_mtime_ns)
    )  # of one size and time: a copy by `cp -p`
    listed_anew(dataset)
    listed_anew(dataset.read_with(one_slice=True))
    listed_anew(dataclasses.replace(dataset, mask_threshold=64))
    mask.unlink()
    assert dataset.list() != longer


def test_intensities_have_no_part_in_it(dataset, opened):
    first = dataset.list()
    opened.clear()
    assert dataclasses.replace(dataset, intensity=DATASETS["us_breast"].intensity).list() == first
    assert not opened


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:-1], lambda b: b.replace(b"z001", b"z002", 1)]
)
def test_a_damaged_entry_is_replaced(dataset, opened, cache, damage):
    first = dataset.list()
    (entry,) = cache.iterdir()
    content = entry.read_bytes()
    entry.write_bytes(damage(content))
    opened.clear()
    assert dataset.list() == first
    assert opened
    assert [path.read_bytes() for path in cache.iterdir()] == [content]


def test_a_cache_that_cannot_be_written_is_done_without(dataset, cache):
    cache.parent.write_text("a file in its place")
    assert dataset.list() == dataset.list()


def test_a_listing_by_a_reader_of_one_s_own_is_not_kept(dataset, cache):
    class Reader:
        list = staticmethod(dataset.reader.list)

    dataclasses.replace(dataset, reader=Reader()).list()
    assert not cache.exists()


def test_a_listing_with_an_unreadable_file_is_not_kept(dataset, cache):
    mask = dataset.list().references[0].masks[0]
    (entry,) = cache.iterdir()
    kept = entry.read_bytes()
    mask.write_bytes(mask.read_bytes()[:-40])
    assert dataset.list().exclusions
    assert entry.read_bytes() == kept
    # What the files themselves tell is the same every time.
    mask.unlink()
    dataset.list()
    assert entry.read_bytes() != kept


def test_files_that_may_still_be_changing_are_looked_at_again(dataset, cache, monkeypatch):
    monkeypatch.setattr(listings, "SETTLED", 60)
    dataset.list()
    assert not cache.exists()


def test_warnings_are_given_again(tmp_path, opened):
    place = tmp_path / "data" / "GE" / "Patient 1"
    save_series(place / "T2W", NAMES, LABEL, SPACING, "1.2")
    last = (-3.0, -2.0, -6.0 + 3 * 4)
    save_series(place / "GT" / "prostate", NAMES, LABEL, SPACING, "1.3", corner=last)
    dataset = dataclasses.replace(DATASETS["mri_prostate_i2cvb"], root=tmp_path / "data")
    for _ in range(2):
        with pytest.warns(UserWarning, match="reversed order"):
            dataset.list()
    opened.clear()
    with pytest.warns(UserWarning, match="GE/Patient 1"):
        dataset.list()
    assert not opened


def test_the_newest_listings_are_kept(dataset, cache, monkeypatch):
    monkeypatch.setattr(listings, "LONGEST", 3)
    for number in range(5):
        dataclasses.replace(dataset, mask_threshold=100 + number).list()
        for age, path in enumerate(sorted(cache.iterdir(), key=os.path.getmtime, reverse=True)):
            os.utime(path, (1e9 - age, 1e9 - age))
    assert len(list(cache.iterdir())) == 3


def own_folder(root):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
        for key in ("a", "b"):
            Image.fromarray(LABEL[1] * 255).save(root / folder / f"{key}.png")
    return load_folder(root)


def test_flat_images_are_paired_once(tmp_path, cache, monkeypatch):
    dataset = own_folder(tmp_path / "data")
    (tmp_path / "data/masks/notes.txt").write_text("a table")
    first = dataset.list()
    monkeypatch.setattr(ByName, "find", None)
    assert dataset.list() == first
    assert [left_out.path for left_out in first.not_read] == ["masks/notes.txt"]


def test_a_hidden_file_that_is_new_is_told(tmp_path):
    dataset = own_folder(tmp_path / "data")
    assert not dataset.list().not_read
    (tmp_path / "data/images/.c.png").write_bytes(b"")
    assert [left_out.path for left_out in dataset.list().not_read] == ["images/.c.png"]


def test_values_outside_of_the_two_folders_count_as_the_dataset_s_files(tmp_path):
    root = tmp_path / "data"
    for folder in ("images", "masks", "values"):
        (root / folder).mkdir(parents=True)
    for folder, values in (("images", LABEL * 9), ("masks", LABEL)):
        (root / "values" / f"{folder}.raw").write_bytes(values.tobytes())
        (root / folder / "a.mhd").write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 5 3 4\nElementType = MET_UCHAR\n"
            "ElementSpacing = 1 1 2\nOffset = 0 0 0\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
            f"ElementDataFile = ../values/{folder}.raw\n"
        )
    dataset = load_folder(root)
    assert [reference.slice_index for reference in dataset] == [1, 2]
    (root / "values/masks.raw").write_bytes(np.roll(LABEL, 1, axis=0).tobytes())
    assert [reference.slice_index for reference in dataset] == [2, 3]


def test_several_processes_may_list_at_once(dataset, cache):
    with ProcessPoolExecutor(3) as executor:
        lists = [future.result() for future in [executor.submit(dataset.list) for _ in range(6)]]
    assert all(listing == lists[0] for listing in lists)
    assert len(list(cache.iterdir())) == 1
