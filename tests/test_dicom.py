"""DICOM: series put in order by position, masks as series, contours and segmentations, every
awkward file."""

import dataclasses
import pickle
import shutil
import tracemalloc
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path

import nrrd
import numpy as np
import pydicom
import pytest
from cases import edit
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from medsam_utils.case import BadCaseError, BadInputError
from medsam_utils.datasets import dicom, rtstruct, scans
from medsam_utils.datasets.dicom import read_header, read_pixels, read_series
from medsam_utils.datasets.entries.dicom import ENTRIES as DICOM_ENTRIES
from medsam_utils.datasets.nrrd_file import read_nrrd, read_segments
from medsam_utils.datasets.rtstruct import fill, rasterise
from medsam_utils.datasets.volumes import find_cut
from medsam_utils.demo.phantoms import dicom as phantoms_dicom
from medsam_utils.demo.phantoms.dicom_files import save_segments, save_series, save_structures
from medsam_utils.demo.phantoms.scans import drawn_pet
from medsam_utils.intensity import EightBit

ENTRIES = {entry.name: entry for entry in DICOM_ENTRIES}

# Four slices, three rows, five columns; upright.
UPRIGHT = np.arange(60, dtype=np.uint8).reshape(4, 3, 5) * 4
MASK = np.zeros((4, 3, 5), np.uint8)
MASK[1, 0, 1] = MASK[2, 2, 4] = MASK[2, 1, 4] = 255
SPACING = (4.0, 2.0, 1.5)
NAMES = ["c.dcm", "a.dcm", "d.dcm", "b.dcm"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with the DICOM phantoms."""
    folder = tmp_path_factory.mktemp("dicom")
    for name in ENTRIES:
        (folder / name).mkdir()
        getattr(phantoms_dicom, f"write_{name}")(folder / name)
    return folder


def entry(name, root, **changes):
    """A dataset of `entries.dicom` on files, 8-bit values kept as they are."""
    return dataclasses.replace(ENTRIES[name], root=root, **{"intensity": EightBit(), **changes})


def phantom(name, data, *parts, to):
    """A private copy of a part of a phantom dataset."""
    for part in parts:
        shutil.copytree(data / name / part, to / part)
    return entry(name, to)


def save(folder, upright=UPRIGHT, uid="1.2.3", names=NAMES, **options):
    save_series(folder, names[: len(upright)], upright, SPACING, uid, **options)
    return sorted(folder.iterdir())


def upright_values(series):
    """Read a series and return all its slices as they are shown."""
    volume = read_pixels(series)
    cut = find_cut(volume.values.shape, volume.affine, "axial", series.paths[0])
    return np.stack([cut.slice(volume.values, index) for index in range(len(volume.values))])


def excluded(dataset):
    """List a dataset and return its exclusions as {key: reason}."""
    return {
        exclusion.case_id: exclusion.reason for exclusion in dataset.reader.list(dataset).exclusions
    }


def stretched(image, dataset):
    return np.stack([dataset.intensity(plane) for plane in image])


# ---------------------------------------------------------------------------------------------
# Phantoms come back as drawn


@pytest.mark.parametrize("name", ENTRIES)
def test_phantoms_come_back_as_drawn_voxel_for_voxel(name, data):
    dataset = dataclasses.replace(ENTRIES[name], root=data / name)
    drawn = {
        "mri_prostate_i2cvb": phantoms_dicom.mri_prostate_i2cvb_scans,
        "mri_breast": phantoms_dicom.mri_breast_scans,
        "pet_liver": lambda: {
            key: drawn_pet(patient) for key, patient in phantoms_dicom.pet_liver_patients().items()
        },
    }[name]()
    with pytest.warns() if name == "mri_prostate_i2cvb" else nullcontext():
        listing = dataset.list()
    seen = set()
    for reference in listing.references:
        case = dataset.load(reference)
        scan, index = drawn[reference.patient_id], reference.slice_index
        np.testing.assert_array_equal(case.image, dataset.intensity(scan.image[index]))
        for class_name in dataset.classes:
            np.testing.assert_array_equal(case.masks[class_name], scan.masks[class_name][index])
        assert case.spacing == pytest.approx(scan.spacing[1:], rel=1e-4)
        seen.add((reference.patient_id, index))
    labelled = {
        (key, index)
        for key, scan in drawn.items()
        for index in range(len(scan.image))
        if key != "Siemens/Patient 904" and any(scan.masks[c][index].any() for c in dataset.classes)
    }
    assert seen == labelled
    assert len(listing.exclusions) == (name == "mri_prostate_i2cvb")


@pytest.mark.parametrize("name", ENTRIES)
def test_phantoms_are_the_same_every_time(name, data, tmp_path):
    getattr(phantoms_dicom, f"write_{name}")(tmp_path)
    files = {
        path.relative_to(tmp_path): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert len(files) > 80
    assert sum(map(len, files.values())) < 3e6
    for path, content in files.items():
        # The NRRD writer dates its files in a comment.
        if path.suffix != ".nrrd":
            assert (data / name / path).read_bytes() == content, path


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_can_be_pickled_and_say_their_settings(name, data):
    dataset = entry(name, data / name)
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    assert dataset.settings()["reader"]["plane"] == "axial"


# ---------------------------------------------------------------------------------------------
# Series


def test_slices_are_sorted_by_position_whatever_their_names(tmp_path):
    series = read_series(save(tmp_path))
    assert [path.name for path in series.paths] == NAMES
    np.testing.assert_array_equal(upright_values(series), UPRIGHT)


@pytest.mark.parametrize("options", [{"prone": True}, {"upwards": False}, {"tilt": 0.3}])
def test_orientation_decides_what_is_upright(tmp_path, options):
    values = upright_values(read_series(save(tmp_path, **options)))
    np.testing.assert_array_equal(values, UPRIGHT[:: -1 if "upwards" in options else 1])


def test_a_series_lies_where_its_header_says(tmp_path):
    series = read_series(save(tmp_path, corner=(-10.0, -20.0, 30.0)))
    # To the right, anterior, superior: the first two are turned round from DICOM's left and
    # posterior.
    np.testing.assert_allclose(series.affine @ [0, 0, 0, 1], [10, 20, 30, 1])
    np.testing.assert_allclose(
        series.affine @ [3, 2, 4, 1], [10 - 4 * 1.5, 20 - 2 * 2, 30 + 3 * 4, 1]
    )


@pytest.mark.parametrize(
    "options", [{}, {"prone": True}, {"tilt": 0.3}, {"corner": (7.0, -8.0, 9.0)}]
)
def test_the_affine_agrees_with_nibabel(tmp_path, options):
    with warnings.catch_warnings(action="ignore"):
        # It calls itself experimental.
        from nibabel.nicom.dicomwrappers import wrapper_from_file
    series = read_series(save(tmp_path, **options))
    for index, path in enumerate(series.paths):
        # Its axes are rows and columns of one slice, its world is DICOM's.
        other = dicom.TO_RAS @ wrapper_from_file(path).affine
        np.testing.assert_allclose(series.affine[:, [1, 2]], other[:, [0, 1]], atol=1e-4)
        np.testing.assert_allclose(series.affine @ [index, 0, 0, 1], other[:, 3], atol=1e-4)


def test_a_scanner_s_own_file_is_read():
    """A CT slice that pydicom brings along."""
    path = Path(get_testdata_file("CT_small.dcm"))
    volume = read_pixels(read_series([path]))
    original = pydicom.dcmread(path)
    np.testing.assert_array_equal(volume.values[0], original.pixel_array.astype(int) - 1024)
    assert np.linalg.norm(volume.affine[:3], axis=0)[:3] == pytest.approx([5, 0.661468, 0.661468])


def test_sagittal_slices_are_cut_from_an_axial_series(tmp_path):
    volume = read_pixels(read_series(save(tmp_path)))
    cut = find_cut(volume.values.shape, volume.affine, "sagittal", tmp_path)
    # Rows from the head down, columns from the front to the back.
    np.testing.assert_array_equal(cut.slice(volume.values, 1), UPRIGHT[::-1, :, 1])


def test_slope_and_intercept_are_applied_per_slice(tmp_path):
    series = read_series(save(tmp_path, slopes=[0.5, 1, 2, 3]))
    values = read_pixels(series).values
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, UPRIGHT * np.array([0.5, 1, 2, 3])[:, None, None])


def test_a_whole_intercept_leaves_integers(tmp_path):
    values = read_pixels(read_series(save(tmp_path, intercept=-1024))).values
    assert values.dtype == np.int32
    np.testing.assert_array_equal(values, UPRIGHT.astype(int) - 1024)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda folder: (folder / "d.dcm").unlink(),
            r"a\.dcm: the next slice \(b\.dcm\) is 8\.00 mm on, ",
        ),
        (
            lambda folder: shutil.copy(folder / "a.dcm", folder / "e.dcm"),
            r"e\.dcm: it lies where a\.dcm lies",
        ),
        (lambda folder: edit(folder / "a.dcm", Rows=5, Columns=3), r"keep one series"),
        (
            lambda folder: edit(folder / "a.dcm", ImageOrientationPatient=[0, 1, 0, 1, 0, 0]),
            r"a\.dcm|c\.dcm: its orientation or spacing differs",
        ),
        (
            lambda folder: edit(folder / "a.dcm", PixelSpacing=[3, 3]),
            r"orientation or spacing differs",
        ),
        (lambda folder: edit(folder / "a.dcm", SeriesInstanceUID="9.9"), r"another series than"),
        (
            lambda folder: edit(folder / "a.dcm", ImagePositionPatient=None),
            r"a\.dcm: it lacks ImagePosition",
        ),
        (lambda folder: edit(folder / "a.dcm", NumberOfFrames=7), r"a\.dcm: it holds 7 frames"),
        (
            lambda folder: (folder / "a.dcm").write_bytes(b"no DICOM"),
            r"a\.dcm: cannot be read as DICOM",
        ),
        (lambda folder: (folder / "a.dcm").write_bytes(b""), r"a\.dcm: cannot be read as DICOM"),
    ],
)
def test_a_series_with_a_fault_is_refused_by_name(tmp_path, damage, words):
    save(tmp_path)
    damage(tmp_path)
    with pytest.raises(BadCaseError, match=words):
        read_series(tmp_path.iterdir())


@pytest.mark.parametrize("left", [0.99, 0.6, 0.3, 0.1])
def test_a_truncated_file_is_refused_by_name(tmp_path, left):
    save(tmp_path, np.zeros((4, 30, 30), np.uint16))
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[: int(len(content) * left)])
    with pytest.raises(BadCaseError, match=r"a\.dcm: .*(copy it again|export it again|it lacks)"):
        read_pixels(read_series(tmp_path.iterdir()))


def test_colour_is_refused(tmp_path):
    paths = save(tmp_path)
    edit(paths[0], PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(BadCaseError, match="not grey"):
        read_pixels(read_series(paths))


def test_headers_are_read_without_pixels(tmp_path, monkeypatch):
    read = []
    original = pydicom.dcmread
    monkeypatch.setattr(
        pydicom, "dcmread", lambda *a, **k: read.append(original(*a, **k)) or read[-1]
    )
    read_series(save(tmp_path))
    assert ["PixelData" in dataset for dataset in read] == [False] * 4


# ---------------------------------------------------------------------------------------------
# Privacy


def test_nothing_is_read_that_tells_who_when_or_where(tmp_path, monkeypatch):
    paths = save(tmp_path)
    for path in paths:
        edit(
            path,
            PatientName="Doe^Jane",
            PatientBirthDate="19500101",
            InstitutionName="St. Elsewhere",
        )
    read = []
    original = pydicom.dcmread
    monkeypatch.setattr(
        pydicom, "dcmread", lambda *a, **k: read.append(original(*a, **k)) or read[-1]
    )
    read_pixels(read_series(paths))
    allowed = {*dicom.TAGS, *rtstruct.TAGS, "SpecificCharacterSet"}
    assert {element.keyword for dataset in read for element in dataset} <= allowed
    assert len(read) == 8
    private = (
        "Patient",
        "Date",
        "Time",
        "Institution",
        "Physician",
        "Operator",
        "Address",
        "Comments",
        "ID",
    )
    # These place images in the patient; they do not tell which one.
    harmless = {"ImagePositionPatient", "ImageOrientationPatient"}
    assert not [
        tag for tag in allowed - harmless if any(tag.endswith(p) or p in tag for p in private[:-1])
    ]
    assert all(tag.endswith("UID") for tag in allowed if "ID" in tag)


def test_errors_do_not_quote_the_file(tmp_path):
    paths = save(tmp_path)
    content = paths[0].read_bytes()
    edit(paths[0], PatientName="Doe^Jane")
    spoilt = paths[0].read_bytes().replace(b"-3.00000", b"Doe^Jane")
    assert spoilt != content
    paths[0].write_bytes(spoilt)
    with pytest.raises(BadCaseError) as caught:
        read_pixels(read_series(paths))
    assert "Doe" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_odd_values_are_not_quoted_in_warnings(tmp_path, recwarn, caplog):
    paths = save(tmp_path)
    paths[0].write_bytes(paths[0].read_bytes().replace(b"1.2.3\0", b"Doe^J\0"))
    assert read_header(paths[0]).series == "Doe^J"
    assert not recwarn.list and not caplog.records


def test_phantoms_name_no_patient(data):
    for path in data.rglob("*"):
        if path.is_file() and (path.suffix == ".dcm" or path.name.startswith("IM")):
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            assert str(dataset.PatientName) == dataset.PatientBirthDate == dataset.StudyDate == ""
            assert dataset.PatientID == "PHANTOM"


# ---------------------------------------------------------------------------------------------
# Masks as series


def prostate(root, mask=MASK, **options):
    """An I2CVB dataset of one patient."""
    place = root / "GE" / "Patient 7"
    save(place / "T2W", uid=generate_uid(entropy_srcs=["t2w"]))
    save(place / "GT" / "prostate", mask, uid=generate_uid(entropy_srcs=["gt"]), **options)
    return entry("mri_prostate_i2cvb", root)


def loaded_masks(dataset):
    return {r.slice_index: dataset.load(r).masks["prostate"] for r in dataset.list().references}


def assert_is_mask(masks):
    assert sorted(masks) == [1, 2]
    for index, mask in masks.items():
        np.testing.assert_array_equal(mask, MASK[index] > 0)


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], ["1", "2", "3", "4"]])
def test_masks_are_paired_by_position_not_by_name(tmp_path, names):
    assert_is_mask(loaded_masks(prostate(tmp_path, names=names)))


def test_masks_may_have_a_uid_of_their_own_each_but_images_may_not(tmp_path):
    dataset = prostate(tmp_path)
    place = tmp_path / "GE" / "Patient 7"
    for number, path in enumerate(sorted((place / "GT" / "prostate").iterdir())):
        edit(path, SeriesInstanceUID=f"1.2.8.{number}")
    assert_is_mask(loaded_masks(dataset))
    edit(place / "T2W" / "a.dcm", SeriesInstanceUID="1.2.9")
    assert "another series" in excluded(dataset)["GE/Patient 7"]


def test_a_mask_stored_turned_round_is_turned_back(tmp_path):
    assert_is_mask(loaded_masks(prostate(tmp_path, prone=True)))


@pytest.mark.parametrize("end", ["first", "last"])
def test_masks_that_run_on_where_the_images_end_are_read_reversed_with_a_warning(tmp_path, end):
    # Written from the images' first slice downwards, or from their last one upwards.
    height = -6.0 if end == "first" else 6.0
    mask = MASK if end == "first" else MASK[::-1]
    dataset = prostate(tmp_path, mask, corner=(-3.0, -2.0, height), upwards=end == "last")
    with pytest.warns(UserWarning, match="GE/Patient 7: the masks' positions run on"):
        masks = loaded_masks(dataset)
    assert_is_mask(masks)


def test_masks_anywhere_else_exclude_the_patient(tmp_path):
    dataset = prostate(tmp_path, corner=(-3.0, -2.0, 40.0))
    assert "beside its image" in excluded(dataset)["GE/Patient 7"]


def test_masks_whose_positions_are_wrong_everywhere_can_be_flipped(tmp_path):
    dataset = prostate(tmp_path, MASK[::-1])
    assert_is_mask(loaded_masks(dataset.read_with(flip_masks=True)))


def test_a_patient_with_a_mask_slice_too_few_is_excluded_by_count(tmp_path):
    reason = excluded(prostate(tmp_path, MASK[:3]))["GE/Patient 7"]
    assert reason.startswith("GE/Patient 7/GT/prostate: 3 mask slices, 4 image slices")


def test_a_patient_without_masks_and_one_without_images_are_listed(tmp_path):
    dataset = prostate(tmp_path)
    save(tmp_path / "GE" / "Patient 10" / "T2W")
    save(tmp_path / "Siemens" / "Patient 9" / "GT" / "prostate")
    reasons = excluded(dataset)
    assert list(reasons) == ["GE/Patient 10", "Siemens/Patient 9"]
    assert "no mask" in reasons["GE/Patient 10"]
    assert "no image" in reasons["Siemens/Patient 9"]


def test_a_plane_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="choose sagittal, coronal, axial"):
        prostate(tmp_path).read_with(plane="oblique")


def test_small_areas_and_all_but_the_largest_slice_can_be_left_out(tmp_path):
    dataset = prostate(tmp_path)

    def indices(**options):
        return [
            reference.slice_index for reference in dataset.read_with(**options).list().references
        ]

    assert indices() == [1, 2]  # one pixel, two pixels
    assert indices(min_pixels=2) == indices(one_slice=True) == [2]
    assert (
        "no class has 3 pixels in a slice"
        in excluded(dataset.read_with(min_pixels=3))["GE/Patient 7"]
    )


def test_an_empty_mask_is_listed(tmp_path):
    assert "no labelled pixel" in excluded(prostate(tmp_path, MASK * 0))["GE/Patient 7"]


def test_a_truncated_mask_excludes_one_patient_and_no_other(tmp_path, data):
    dataset = phantom("mri_prostate_i2cvb", data, "GE", to=tmp_path)
    path = sorted((tmp_path / "GE" / "Patient 901" / "GT" / "prostate").iterdir())[3]
    path.write_bytes(path.read_bytes()[:-500])
    listing = dataset.list()
    assert {reference.patient_id for reference in listing.references} == {"GE/Patient 902"}
    assert [e.case_id for e in listing.exclusions] == ["GE/Patient 901"]
    assert listing.exclusions[0].reason.startswith("GE/Patient 901/GT/prostate/")


def test_listing_reads_no_pixel_of_an_image(tmp_path, data):
    dataset = phantom("mri_prostate_i2cvb", data, "GE/Patient 901", to=tmp_path)
    before = dataset.list().references
    for path in (tmp_path / "GE" / "Patient 901" / "T2W").iterdir():
        path.write_bytes(path.read_bytes()[:-9000])
    assert dataset.list().references == before
    with pytest.raises(BadCaseError, match=r"^GE/Patient 901/T2W/.*pixels cannot be read"):
        dataset.load(before[0])


def test_a_changed_file_is_read_again(tmp_path):
    dataset = prostate(tmp_path)
    reference = dataset.list().references[0]
    before = dataset.load(reference).image
    save(tmp_path / "GE" / "Patient 7" / "T2W", UPRIGHT + 1, uid=generate_uid(entropy_srcs=["t2w"]))
    np.testing.assert_array_equal(dataset.load(reference).image, before + 1)


def test_memory_does_not_grow_with_the_number_of_patients(tmp_path):
    """8 patients take no more at the peak than 2, within 15 %."""
    volume = np.zeros((4, 192, 192), np.uint16)
    mask = np.zeros((4, 192, 192), np.uint8)
    mask[2, 20:30, 20:30] = 255
    names = [f"{n:02d}.dcm" for n in range(4)]

    def peaks(count):
        for number in range(count):
            place = tmp_path / str(count) / "GE" / f"Patient {number}"
            save(place / "T2W", volume, names=names)
            save(place / "GT" / "prostate", mask, names=names)
        dataset = entry("mri_prostate_i2cvb", tmp_path / str(count))
        scans._read_scan.cache_clear()
        tracemalloc.start()
        references = dataset.list().references
        kept, listing = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for reference in references:
            dataset.load(reference)
        loading = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return listing - kept, loading - kept  # the list of the cases itself does grow

    peaks(2)  # what is imported and cached on first use
    few, many = peaks(2), peaks(8)
    assert many[0] < 1.15 * few[0]
    assert many[1] < 1.15 * few[1]


# ---------------------------------------------------------------------------------------------
# Contours


def test_filling_a_disk_agrees_with_the_distance_of_pixel_centres():
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    centre, radius = np.array([20.3, 24.7]), 13.2
    disk = centre + radius * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    rows, columns = np.mgrid[:40, :50]
    distance = np.hypot(rows - centre[0], columns - centre[1])
    mask = fill([disk], (40, 50))
    sure = np.abs(distance - radius) > 1e-4
    assert sure.sum() > 1990
    np.testing.assert_array_equal(mask[sure], (distance < radius)[sure])


def test_a_polygon_by_eye():
    # An L, its corners between pixel centres, drawn the other way round as well.
    shape = np.array([[0.5, 0.5], [3.5, 0.5], [3.5, 3.5], [2.5, 3.5], [2.5, 1.5], [0.5, 1.5]])
    expected = ["......", ".#....", ".#....", ".###..", "......"]
    for polygon in (shape, shape[::-1], np.roll(shape, 2, axis=0)):
        assert [
            "".join(".#"[pixel] for pixel in row) for row in fill([polygon], (5, 6)).astype(int)
        ] == expected


def test_a_contour_within_a_contour_is_a_hole_and_one_within_that_is_not():
    def square(half):
        return 4 + half * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])

    mask = fill([square(3.5), square(2.5), square(0.5)], (9, 9))
    assert mask.sum() == 49 - 25 + 1
    assert mask[4, 4] and not mask[4, 5] and mask[4, 7]


def test_a_hole_joined_to_its_outline_by_a_channel_is_a_hole():
    # One contour that goes in and out along the same line, as some programs write holes.
    outer = [[0.5, 0.5], [0.5, 6.5], [6.5, 6.5], [6.5, 0.5]]
    inner = [[2.5, 2.5], [4.5, 2.5], [4.5, 4.5], [2.5, 4.5]]
    polygon = np.array([*outer, outer[0], inner[0], *inner[1:], inner[0], outer[0]])
    assert fill([polygon], (8, 8)).sum() == 36 - 4


def test_adjacent_contours_share_no_pixel_and_leave_none_out():
    left = np.array([[1.0, 1], [1, 4], [5, 4], [5, 1]])
    right = left + np.array([0, 3])
    masks = [fill([part], (7, 9)) for part in (left, right)]
    assert not (masks[0] & masks[1]).any()
    assert (masks[0] | masks[1]).sum() == 4 * 6


def test_contours_beyond_the_border_of_the_image_are_cut_off():
    assert fill([np.array([[-9.0, -9], [-9, 99], [99, 99], [99, -9]])], (3, 4)).all()


def structured(root, contours, reference="CT", rois=("Tumor",), upright=UPRIGHT, **options):
    """A PET/CT of one patient with a structure set; contours in voxels: (slice, [(row, column)
    ...])."""
    place = root / "one"
    frame, uids = "1.2.9", {"CT": "1.2.3.1", "PT": "1.2.3.2"}
    for number, (modality, uid) in enumerate(uids.items()):
        names = [f"{modality}{n}" for n in range(len(upright))]
        save(
            place,
            upright,
            uid=uid,
            names=names,
            modality=modality,
            frame=frame,
            number=number,
            **options,
        )
    corner = np.array([-3.0, -2.0, -6.0])
    points = [
        (corner + [[c * 1.5, r * 2, k * 4] for r, c in polygon], "1.2.3.4")
        for k, polygon in contours
    ]
    regions = [(name, points) for name in rois]
    save_structures(
        place / "RS.dcm", "1.2.3.5", "1.2.3", frame, uids.get(reference, reference), regions
    )
    return entry("pet_liver", root)


SQUARE = [(-0.4, 0.6), (-0.4, 3.4), (1.4, 3.4), (1.4, 0.6)]  # rows 0 and 1, columns 1 to 3


@pytest.mark.parametrize("reference", ["CT", "PT"])
def test_contours_are_filled_on_the_series_that_they_were_drawn_on(tmp_path, reference):
    dataset = structured(tmp_path, [(1, SQUARE)], reference)
    (listed,) = dataset.list().references
    case = dataset.load(listed)
    assert (listed.slice_index, listed.patient_id, listed.case_id) == (1, "one", "one_z001")
    assert {pydicom.dcmread(path).Modality for path in listed.images} == {"PT"}
    np.testing.assert_array_equal(case.image[..., 0], UPRIGHT[1])
    np.testing.assert_array_equal(
        np.argwhere(case.masks["tumour"]), [(r, c) for r in (0, 1) for c in (1, 2, 3)]
    )
    # All that decides the mask counts as the case's files: the structure set, and the CT if drawn
    # there.
    assert len(dataset.files(listed)) == 5 + 4 * (reference == "CT")


def test_several_regions_of_a_class_are_united(tmp_path):
    dataset = structured(tmp_path, [(1, SQUARE)], rois=("Tumor 1", "TUMOUR2", "Liver minus tumor"))
    (reference,) = dataset.list().references
    assert dataset.load(reference).masks["tumour"].sum() == 6


@pytest.mark.parametrize("name", ["Liver", "Liver minus tumor", "normal liver (no lesion)", ""])
def test_a_structure_set_without_a_fitting_region_is_listed_without_their_names(tmp_path, name):
    reason = excluded(structured(tmp_path, [(1, SQUARE)], rois=(name,)))["one"]
    assert reason.startswith("one/RS.dcm: of 1 regions none fits ")
    assert not name or name not in reason  # which may be the patient's


def test_a_structure_set_that_refers_to_a_missing_series_is_listed(tmp_path):
    reason = excluded(structured(tmp_path, [(1, SQUARE)], reference="1.2.777"))["one"]
    assert reason.startswith("one/RS.dcm: it refers to 1 series, of which 0 are in this folder")


def test_a_patient_with_two_pet_series_of_one_frame_is_listed(tmp_path):
    dataset = structured(tmp_path, [(1, SQUARE)])
    save(tmp_path / "one" / "NAC", uid="1.2.3.8", modality="PT", frame="1.2.9")
    assert "2 PT series" in excluded(dataset)["one"]


@pytest.mark.parametrize(
    "contour",
    [
        (5, SQUARE),  # one slice above the last
        (4, SQUARE),
        (-1, SQUARE),
        (1, [(0, 0), (0, 9), (2, 9)]),  # to the left of the last column
        (1, [(-8, 0), (0, 2), (1, 2)]),
    ],
)
def test_a_contour_outside_the_series_is_listed(tmp_path, contour):
    assert "a contour lies" in excluded(structured(tmp_path, [contour]))["one"]


def test_a_contour_between_two_slices_belongs_to_the_nearest(tmp_path):
    series = read_series(save(tmp_path))
    polygon = np.array([[-3.0 + c * 1.5, -2 + r * 2, -6 + 1.4 * 4] for r, c in SQUARE])
    assert np.flatnonzero(rasterise([polygon], series, tmp_path).any(axis=(1, 2))).tolist() == [1]


def test_contours_of_two_planes_in_one_slice_do_not_cancel(tmp_path):
    series = read_series(save(tmp_path))
    planes = [
        np.array([[-3.0 + c * 1.5, -2 + r * 2, -6 + k * 4] for r, c in SQUARE]) for k in (0.8, 1.2)
    ]
    assert rasterise(planes, series, tmp_path)[1].sum() == 6
    # In one plane they would: the second is a hole that fills the first.
    assert rasterise([planes[0]] * 2, series, tmp_path).sum() == 0


def test_a_contour_across_slices_is_refused(tmp_path):
    series = read_series(save(tmp_path))
    with pytest.raises(BadCaseError, match="across the slices"):
        rasterise([np.array([[0.0, 0, -6], [1, 0, -6], [1, 1, 4]])], series, tmp_path)


def test_a_damaged_structure_set_is_listed(tmp_path):
    dataset = structured(tmp_path, [(1, SQUARE)])
    path = tmp_path / "one" / "RS.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    (reason,) = excluded(dataset).values()
    assert reason.startswith("one/RS.dcm: ")


def test_contours_of_less_than_three_points_enclose_nothing(tmp_path):
    dataset = structured(tmp_path, [(1, SQUARE), (2, SQUARE[:1]), (2, SQUARE[:2])])
    assert [reference.slice_index for reference in dataset.list().references] == [1]


@pytest.mark.parametrize("number", [b"nan   ", b"abcdef"])
def test_contours_of_other_than_numbers_are_listed(tmp_path, number):
    dataset = structured(tmp_path, [(1, SQUARE)])
    path = tmp_path / "one" / "RS.dcm"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"-2.1000", b"%-7s" % number.strip(), 1))
    assert path.read_bytes() != content
    assert "damaged structure set" in excluded(dataset)["one"]


@pytest.mark.parametrize("seed", range(4))
def test_a_file_with_any_byte_changed_raises_no_other_error(tmp_path, seed):
    rng = np.random.default_rng(seed)
    datasets = [
        structured(tmp_path / "s", [(1, SQUARE)]),
        breast(tmp_path / "b"),
        prostate(tmp_path / "p"),
    ]
    for turn in range(60):
        dataset = datasets[turn % 3]
        files = sorted(path for path in dataset.root.rglob("*") if path.suffix in (".dcm", ".nrrd"))
        path = files[rng.integers(len(files))]
        content = path.read_bytes()
        spoilt = bytearray(content)
        spoilt[rng.integers(min(len(spoilt), 1500))] = rng.integers(256)
        path.write_bytes(spoilt)
        for reference in dataset.reader.list(dataset).references:
            with suppress(BadCaseError):
                dataset.load(reference)
        path.write_bytes(content)


def test_several_structure_sets_of_a_patient_are_told_apart(tmp_path):
    dataset = structured(tmp_path, [(1, SQUARE)])
    shutil.copy(tmp_path / "one" / "RS.dcm", tmp_path / "one" / "RS2.dcm")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for path in (tmp_path / "two").iterdir():
        if path.name.startswith("RS"):
            path.unlink()
        else:
            edit(
                path,
                SeriesInstanceUID=pydicom.dcmread(path).SeriesInstanceUID + ".1",
                FrameOfReferenceUID="1.7",
            )
    structures = pydicom.dcmread(tmp_path / "one" / "RS.dcm")
    frame = structures.ReferencedFrameOfReferenceSequence[0]
    frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.1.1"
    structures.save_as(tmp_path / "two" / "RS.dcm")
    listed = [(r.case_id, r.patient_id) for r in dataset.list().references]
    assert listed == [("one/RS_z001", "one"), ("one/RS2_z001", "one"), ("two_z001", "two")]


def test_files_that_are_not_dicom_are_passed_over(tmp_path):
    dataset = structured(tmp_path, [(1, SQUARE)])
    (tmp_path / "one" / "README").write_text("no DICOM")
    (tmp_path / "one" / "notes.txt").write_text("no DICOM")
    assert len(dataset.list().references) == 1
    (tmp_path / "one" / "broken.dcm").write_bytes(b"no DICOM")
    assert "cannot be read as DICOM" in excluded(dataset)["one/broken.dcm"]
    assert "broken.dcm in its folder cannot be read" in excluded(dataset)["one"], "or it lacks one"


# ---------------------------------------------------------------------------------------------
# Segmentations of 3D Slicer

BREAST = np.zeros((4, 3, 5), np.uint8)
BREAST[1:3, 1:, 1:4] = 1
DENSE = np.zeros((4, 3, 5), bool)
DENSE[1, 1, 2] = DENSE[2, 2, 1:3] = True
VESSEL = np.zeros((4, 3, 5), bool)
VESSEL[2, 1, 3] = True


def breast(
    root, layers=None, names=("Vessels", "Dense"), values=(1, 2), in_layers=(0, 0), **options
):
    """A Duke dataset of one patient: a series called "pre" and one after contrast."""
    place = root / "Duke-Breast-Cancer-MRI" / "Breast_MRI_005" / "study"
    save(place / "1.2.3.1", uid="1.2.3.1", description="ax dyn pre", **options)
    save(place / "1.2.3.2", UPRIGHT // 2, uid="1.2.3.2", description="ax dyn 1st pass", **options)
    masks = root / "Segmentation_Masks_NRRD" / "Breast_MRI_005"
    header = {"Segment0_Name": "Breast", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
    save_segments(masks / "Segmentation_Breast_MRI_005_Breast.seg.nrrd", [BREAST], SPACING, header)
    header = {}
    for segment in range(2):
        header |= {
            f"Segment{segment}_Name": names[segment],
            f"Segment{segment}_LabelValue": str(values[segment]),
            f"Segment{segment}_Layer": str(in_layers[segment]),
        }
    layers = layers or [VESSEL * values[0] + DENSE * values[1]]
    save_segments(
        masks / "Segmentation_Breast_MRI_005_Dense_and_Vessels.seg.nrrd", layers, SPACING, header
    )
    return entry("mri_breast", root)


def assert_is_breast(dataset):
    cases = [dataset.load(reference) for reference in dataset.list().references]
    assert [case.slice_index for case in cases] == [1, 2]
    for case in cases:
        np.testing.assert_array_equal(case.image[..., 0], UPRIGHT[case.slice_index])
        np.testing.assert_array_equal(case.masks["Breast"], BREAST[case.slice_index] == 1)
        np.testing.assert_array_equal(case.masks["FGT"], DENSE[case.slice_index])
        assert case.labelled is None


@pytest.mark.parametrize("names", [("Vessels", "Dense"), ("vessels", "dense tissue")])
@pytest.mark.parametrize("values", [(1, 2), (2, 1), (7, 3)])
def test_names_in_the_header_decide_which_number_is_what(tmp_path, names, values):
    assert_is_breast(breast(tmp_path, names=names, values=values))


def test_segments_in_two_layers_are_read_and_may_overlap(tmp_path):
    overlapping = DENSE | VESSEL
    dataset = breast(tmp_path, [VESSEL * 1, DENSE * 1], values=(1, 1), in_layers=(0, 1))
    assert_is_breast(dataset)
    path = next(tmp_path.rglob("*Dense*"))
    header = {
        f"Segment0_{k}": v for k, v in {"Name": "Dense", "LabelValue": "1", "Layer": "1"}.items()
    }
    save_segments(path, [VESSEL * 1, overlapping * 1], SPACING, header)
    segments, _ = read_segments(path)
    np.testing.assert_array_equal(segments["Dense"], overlapping.transpose(2, 1, 0))


@pytest.mark.parametrize("options", [{"prone": True}, {"upwards": True, "names": NAMES[::-1]}])
def test_images_stored_turned_round_still_fit_the_segmentation(tmp_path, options):
    assert_is_breast(breast(tmp_path, **{k: v for k, v in options.items() if k != "names"}))


def test_the_mapping_table_decides_the_series_by_its_uid(tmp_path):
    dataset = breast(tmp_path)
    table = tmp_path / "Breast-Cancer-MRI-filepath_filename-mapping.csv"
    table.write_text(
        "original_path_and_filename,classic_path,descriptive_path\n"
        "DICOM_Images/Breast_MRI_005/pre/x_001.dcm,Duke-Breast-Cancer-MRI/Breast_MRI_005/s/1.2.3.2/1.dcm,d\n"
        "DICOM_Images/Breast_MRI_005/post_1/x_001.dcm,Duke-Breast-Cancer-MRI/Breast_MRI_005/s/1.2.3.1/1.dcm,d\n"
    )
    case = dataset.load(dataset.list().references[0])
    np.testing.assert_array_equal(case.image[..., 0], UPRIGHT[1] // 2)
    # Restricted to the distribution's own folders, the table beside them is still found.
    within = ("Duke-Breast-Cancer-MRI", "Segmentation_Masks_NRRD")
    assert (
        dataclasses.replace(dataset, within=within).list().references == dataset.list().references
    )


def test_no_or_several_series_before_contrast_are_listed(tmp_path):
    dataset = breast(tmp_path)
    place = tmp_path / "Duke-Breast-Cancer-MRI" / "Breast_MRI_005" / "study"
    for path in (place / "1.2.3.1").iterdir():
        edit(path, SeriesDescription="ax pressure")
    assert (
        "0 series have the word 'pre' in their description, of 2"
        in excluded(dataset)["Breast_MRI_005"]
    )
    for path in place.rglob("*.dcm"):
        edit(path, SeriesDescription="PRE ax")
    assert "2 series have the word 'pre'" in excluded(dataset)["Breast_MRI_005"]


def test_segments_under_other_names_are_listed_with_the_names_there_are(tmp_path):
    reason = excluded(breast(tmp_path, names=("Segment_1", "Segment_2")))["Breast_MRI_005"]
    assert "no segment of 'FGT' among 'Segment_1', 'Segment_2'" in reason


def test_a_missing_segmentation_file_is_listed(tmp_path):
    dataset = breast(tmp_path)
    next(tmp_path.rglob("*_Breast.seg.nrrd")).unlink()
    assert "no file of 'Breast'" in excluded(dataset)["Breast_MRI_005"]


def test_a_segmentation_on_another_grid_is_listed(tmp_path):
    dataset = breast(tmp_path)
    path = next(tmp_path.rglob("*_Breast.seg.nrrd"))
    header = {"Segment0_Name": "Breast", "Segment0_LabelValue": "1"}
    save_segments(path, [BREAST[:3]], SPACING, header)
    assert "resample it" in excluded(dataset)["Breast_MRI_005"]


def test_patients_known_to_be_annotated_wrongly_are_listed(tmp_path):
    dataset = breast(tmp_path)
    reasons = excluded(dataset.read_with(leave_out=("Breast_MRI_005", "Breast_MRI_006")))
    assert list(reasons) == ["Breast_MRI_005"]
    assert reasons["Breast_MRI_005"].endswith("Breast.seg.nrrd: it is known to be wrong")


def test_patients_without_a_segmentation_are_no_cases(tmp_path):
    dataset = breast(tmp_path)
    save(
        tmp_path / "Duke-Breast-Cancer-MRI" / "Breast_MRI_008" / "study" / "1.2.4.1", uid="1.2.4.1"
    )
    assert excluded(dataset) == {}


# ---------------------------------------------------------------------------------------------
# NRRD


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1)),
        ("LPS", (-1, -1)),
        ("right-anterior-superior", (1, 1)),
        ("left-anterior-superior", (-1, 1)),
    ],
)
def test_each_space_of_nrrd_is_turned_to_ras(tmp_path, space, signs):
    header = {
        "space": space,
        "space directions": np.diag([2.0, 3, 4]),
        "space origin": [10.0, 20, 30],
    }
    nrrd.write(str(tmp_path / "a.nrrd"), np.arange(24, dtype=np.int16).reshape(2, 3, 4), header)
    values, affine, _ = read_nrrd(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(values, np.arange(24).reshape(2, 3, 4))
    assert affine @ [1, 1, 1, 1] == pytest.approx([12 * signs[0], 23 * signs[1], 34, 1])


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_a_truncated_nrrd_file_is_refused(tmp_path, encoding):
    header = {
        "space": "LPS",
        "space directions": np.eye(3),
        "space origin": [0.0, 0, 0],
        "encoding": encoding,
    }
    values = np.random.default_rng(0).integers(0, 99, (9, 9, 9))
    nrrd.write(str(tmp_path / "a.nrrd"), values, header)
    content = (tmp_path / "a.nrrd").read_bytes()
    for left in (0.9, 0.5, 0.02):
        (tmp_path / "a.nrrd").write_bytes(content[: int(len(content) * left)])
        with pytest.raises(BadCaseError, match=r"a\.nrrd: .*(again|export it)"):
            read_nrrd(tmp_path / "a.nrrd")


def test_a_header_that_declares_more_than_the_file_can_hold_is_refused_at_once(tmp_path):
    header = {"space": "LPS", "space directions": np.eye(3), "space origin": [0.0, 0, 0]}
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((2, 3, 4), np.uint8), header)
    content = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "a.nrrd").write_bytes(content.replace(b"sizes: 2 3 4", b"sizes: 90000 90000 90000"))
    with pytest.raises(BadCaseError, match="too small"):
        read_nrrd(tmp_path / "a.nrrd")


def test_an_nrrd_file_without_orientation_is_refused(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((2, 3, 4), np.uint8), {"spacings": [1.0, 1, 1]})
    with pytest.raises(BadCaseError, match="does not place the volume"):
        read_nrrd(tmp_path / "a.nrrd")


def test_a_segmentation_is_the_same_bytes_whenever_it_is_written(tmp_path):
    save_segments(tmp_path / "a.seg.nrrd", [BREAST], SPACING, {"Segment0_Name": "Breast"})
    content = (tmp_path / "a.seg.nrrd").read_bytes()
    assert content.startswith(b"NRRD")
    assert b"#" not in content.partition(b"\n\n")[0]
    np.testing.assert_array_equal(
        nrrd.read(str(tmp_path / "a.seg.nrrd"))[0], BREAST.transpose(2, 1, 0)
    )


def test_a_segmentation_whose_header_names_nothing_is_refused(tmp_path):
    save_segments(tmp_path / "a.seg.nrrd", [BREAST], SPACING, {})
    with pytest.raises(BadCaseError, match="names no segments"):
        read_segments(tmp_path / "a.seg.nrrd")
