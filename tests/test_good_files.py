"""Files that are good and were written by other programs: read, not refused for a false reason."""

import dataclasses
import gzip
import shutil
import struct
from io import BytesIO
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
from cases import edit
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from medsam_utils import load_dataset
from medsam_utils.case import BadCaseError
from medsam_utils.datasets import DATASETS
from medsam_utils.datasets.dicom import is_dicom, read_header, read_pixels, read_series
from medsam_utils.datasets.nrrd_file import read_nrrd
from medsam_utils.datasets.scans import onto_grid
from medsam_utils.datasets.volume_files import read_grid, read_volume
from medsam_utils.demo.phantoms.dicom_files import save_series, save_structures

# Eight slices, six rows, seven columns, all values different.
VALUES = np.arange(8 * 6 * 7, dtype=np.uint16).reshape(8, 6, 7) * 100
SPACING = (4.0, 2.0, 1.5)
CORNER = np.array([-4.5, -5.0, 0.0])
NAMES = [f"{n}.dcm" for n in range(8)]
BOX = [(0.6, 0.6), (0.6, 4.4), (4.4, 4.4), (4.4, 0.6)]  # rows and columns 1 to 4
HOLE = [(1.6, 1.6), (1.6, 3.4), (3.4, 3.4), (3.4, 1.6)]  # rows and columns 2 and 3


def series(folder, names=NAMES, values=VALUES, **options):
    """A PET series; returns its files, and what each is called."""
    save_series(
        folder, names[: len(values)], values, SPACING, "1.2.3", modality="PT", frame="1.2.9",
        corner=tuple(CORNER), **options,
    )  # fmt: skip
    return [folder / name for name in names[: len(values)]]


def move(paths, positions):
    for path, position in zip(paths, positions, strict=True):
        edit(path, ImagePositionPatient=[f"{value:.6g}" for value in position])


# ---------------------------------------------------------------------------------------------
# Where slices lie


@pytest.mark.parametrize(
    ("step", "digits"), [(0.625, 1), (0.25, 1), (0.3, 1), (1.25, 1), (3.27, 1), (2.5, 0), (3.3, 0)]
)
def test_positions_that_are_rounded_are_an_even_series(tmp_path, step, digits):
    paths = series(tmp_path)
    move(paths, [(-4.5, -5, round(step * n, digits)) for n in range(8)])
    found = read_series(paths)
    assert list(found.paths) == paths
    assert found.affine[2, 0] == pytest.approx(step, rel=0.1)


def test_positions_that_waver_by_less_than_half_a_pixel_are_an_even_series(tmp_path):
    paths, noise = series(tmp_path), np.random.default_rng(0).uniform(-0.3, 0.3, (8, 2))
    move(paths, [(-4.5 + x, -5 + y, 0.5 * n) for n, (x, y) in enumerate(noise)])
    assert list(read_series(paths).paths) == paths


def test_a_slice_that_lies_aside_is_refused_by_name(tmp_path):
    paths = series(tmp_path)
    move(paths, [(-4.5 + 9 * (n == 3), -5, 4 * n) for n in range(8)])
    with pytest.raises(BadCaseError, match=r"3\.dcm: it lies 7\.\d\d mm beside the line"):
        read_series(paths)


@pytest.mark.parametrize("missing", [1, 3, 6])
@pytest.mark.parametrize("step", [4.0, 0.625])
def test_a_missing_slice_is_told_with_what_was_seen(tmp_path, step, missing):
    paths = series(tmp_path)
    move(paths, [(-4.5, -5, round(step * n, 1)) for n in range(8)])
    del paths[missing]
    fact = rf"{missing - 1}\.dcm: the next slice \({missing + 1}\.dcm\) is .* mm on, .* is usual"
    with pytest.raises(BadCaseError, match=fact):
        read_series(paths)


def test_one_gap_among_many_slices_is_told(tmp_path):
    values = np.zeros((60, 2, 2), np.uint8)
    paths = series(tmp_path, [f"{n}.dcm" for n in range(60)], values)
    with pytest.raises(BadCaseError, match=r"29\.dcm: the next slice \(31\.dcm\)"):
        read_series(paths[:30] + paths[31:])


def test_steps_that_grow_are_not_an_even_series(tmp_path):
    paths = series(tmp_path)
    move(paths, [(-4.5, -5, 4 * n + 0.4 * n * n) for n in range(8)])
    with pytest.raises(BadCaseError, match="a series with uneven steps is not read"):
        read_series(paths)


@pytest.mark.parametrize("digits", [2, 3, 4])
def test_direction_cosines_that_are_rounded_are_directions(tmp_path, digits):
    paths = series(tmp_path, tilt=0.3)
    for path in paths:
        cosines = pydicom.dcmread(path).ImageOrientationPatient
        edit(path, ImageOrientationPatient=[round(float(c), digits) for c in cosines])
    assert list(read_series(paths).paths) == paths


def test_what_a_header_lacks_is_named(tmp_path):
    paths = series(tmp_path)
    edit(paths[2], PixelSpacing=None)
    with pytest.raises(BadCaseError, match=r"2\.dcm: it lacks PixelSpacing, so"):
        read_series(paths)


# ---------------------------------------------------------------------------------------------
# What files are called


@pytest.mark.parametrize(
    "name",
    [
        *("PT.1.2.826.0.1.{}", "IM{}", "IM_{}.DCM", "1.2.826.{}", "{}.dicom", "{}.IMA", "a.b-{}_c"),
        *("{}.img", "MR {}.v2", "{}.dcm.bak"),
    ],
)
def test_dicom_files_are_known_by_their_content_whatever_their_names(tmp_path, name):
    place = tmp_path / "pet_liver" / "one"
    series(place, [name.format(n) for n in range(8)])
    structures(place / "RS.1.2.3", [(2, BOX)])
    assert masks(tmp_path) == {"one_z002": 16}


@pytest.mark.parametrize("is_implicit", [True, False])
@pytest.mark.parametrize("preamble", [None, b"\0" * 128])
def test_files_without_a_preamble_or_without_file_meta_are_dicom(tmp_path, preamble, is_implicit):
    paths = series(tmp_path, [f"IM{n}" for n in range(8)])
    for path in paths:
        dataset = pydicom.dcmread(path)
        del dataset.file_meta
        dataset.preamble = preamble
        content = BytesIO()
        pydicom.dcmwrite(content, dataset, implicit_vr=is_implicit, little_endian=True)
        path.write_bytes(content.getvalue())
    assert all(map(is_dicom, paths))
    np.testing.assert_array_equal(read_pixels(read_series(paths)).values, VALUES)


@pytest.mark.parametrize("name", ["README", "DICOMDIR", "notes.txt", ".DS_Store", "thumb.png"])
def test_files_of_other_kinds_among_a_series_are_no_part_of_it(tmp_path, name):
    place = tmp_path / "GE" / "Patient 7"
    series(place / "T2W")
    series(place / "GT" / "prostate", values=(VALUES > 500).astype(np.uint8))
    mark = b"\0" * 128 + b"DICM" if name == "DICOMDIR" else b"no image"
    (place / "T2W" / name).write_bytes(mark)
    listing = dataclasses.replace(DATASETS["mri_prostate_i2cvb"], root=tmp_path).list()
    assert len(listing.references) == 8 and not listing.exclusions


def test_a_file_that_only_is_called_dicom_says_so(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"<html>" * 99)
    with pytest.raises(BadCaseError, match=r"a\.dcm: cannot be read as DICOM \(the mark DICM"):
        read_header(tmp_path / "a.dcm")


# ---------------------------------------------------------------------------------------------
# Structure sets


def structures(path, contours, rois=("Tumor",), series_uid="1.2.3", frame="1.2.9", images=()):
    """Contours in voxels: (slice, [(row, column) ...]). images: UIDs, by slice."""
    points = [
        (
            CORNER + [[c * 1.5, r * 2, k * 4] for r, c in polygon],
            images[k % 8] if images else "1.2.4",
        )
        for k, polygon in contours
    ]
    regions = [(name, points) for name in rois]
    save_structures(path, "1.2.3.5", "1.2.3", frame, series_uid, regions)
    return path


def patient(root, contours=((2, BOX),), **options):
    """PET with a structure set; returns the paths of the images and of the set."""
    place = root / "pet_liver" / "one"
    paths = series(place)
    images = [pydicom.dcmread(path).SOPInstanceUID for path in paths]
    return paths, structures(place / "RS.dcm", contours, images=images, **options)


def masks(root):
    """Pixels of each case's tumour."""
    dataset = load_dataset("pet_liver", root)
    return {
        r.case_id: int(dataset.load(r).masks["tumour"].sum()) for r in dataset.list().references
    }


def reason(root):
    dataset = load_dataset("pet_liver", root)
    listing = dataset.reader.list(dataset)
    assert not listing.references
    (exclusion,) = listing.exclusions
    return exclusion.reason


def change(path, edit_set):
    """Edit a structure set in place."""
    dataset = pydicom.dcmread(path)
    edit_set(dataset)
    dataset.save_as(path)


def contours_of(dataset):
    return dataset.ROIContourSequence[0].ContourSequence


def forget_series(dataset):
    for frame in dataset.ReferencedFrameOfReferenceSequence:
        del frame.RTReferencedStudySequence


def forget_images(dataset):
    for contour in contours_of(dataset):
        del contour.ContourImageSequence


def test_structure_sets_that_are_called_by_their_uids_are_told_apart(tmp_path):
    series(tmp_path / "pet_liver" / "one" / "PT")
    for number in (1, 2):
        structures(tmp_path / "pet_liver" / "one" / f"RS.1.2.{number}", [(number, BOX)])
    assert masks(tmp_path) == {"RS.1.2.1_z001": 16, "RS.1.2.2_z002": 16}


def test_a_structure_set_may_name_its_images_alone(tmp_path):
    _, path = patient(tmp_path)
    change(path, forget_series)
    assert masks(tmp_path) == {"one_z002": 16}


def test_a_structure_set_may_name_its_frame_of_reference_alone(tmp_path):
    _, path = patient(tmp_path)
    change(path, forget_series)
    change(path, forget_images)
    assert masks(tmp_path) == {"one_z002": 16}


def test_images_that_are_named_decide_where_several_series_are(tmp_path):
    _, path = patient(tmp_path)
    save_series(
        tmp_path / "pet_liver" / "one" / "ct", [f"ct{n}.dcm" for n in range(8)], VALUES, SPACING,
        "1.2.7", modality="CT", frame="1.2.9", corner=tuple(CORNER), study="other",
    )  # fmt: skip
    change(path, forget_series)
    assert masks(tmp_path) == {"one_z002": 16}
    change(path, forget_images)
    assert "no series and no image, and its frame of reference is that of 2 series" in (
        reason(tmp_path)
    )


def test_a_structure_set_whose_images_are_elsewhere_says_so(tmp_path):
    place = tmp_path / "pet_liver" / "one"
    series(place)
    change(structures(place / "RS.dcm", [(2, BOX)], images=["1.2.77"] * 8), forget_series)
    assert "it refers to 1 images, of 0 series in this folder" in reason(tmp_path)


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"])
def test_a_contour_within_a_contour_is_a_hole_however_closed_is_written(tmp_path, kind):
    _, path = patient(tmp_path, [(2, BOX), (2, HOLE)])

    def rename(dataset):
        for contour in contours_of(dataset):
            contour.ContourGeometricType = kind

    change(path, rename)
    assert masks(tmp_path) == {"one_z002": 16 - 4}


@pytest.mark.parametrize("point", [[(2, 2)], [(2, 2), (3, 3), (2, 3)]])
def test_stray_points_beside_contours_are_passed_over(tmp_path, point):
    _, path = patient(tmp_path, [(2, BOX), (4, point)])
    change(path, lambda d: setattr(contours_of(d)[1], "ContourGeometricType", "POINT"))
    assert masks(tmp_path) == {"one_z002": 16}


def test_a_region_of_points_alone_says_so(tmp_path):
    _, path = patient(tmp_path, [(4, [(2, 2)])])
    change(path, lambda d: setattr(contours_of(d)[0], "ContourGeometricType", "POINT"))
    assert "a region has contours of POINT, which enclose no area" in reason(tmp_path)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("OPEN_PLANAR", "OPEN_PLANAR"),
        ("OPEN_NONPLANAR", "OPEN_NONPLANAR"),
        ("DOE^JOHN", "another type"),
    ],
)
def test_other_types_are_refused_by_the_names_that_dicom_knows(tmp_path, kind, told):
    _, path = patient(tmp_path, [(2, BOX), (3, BOX)])
    change(path, lambda d: setattr(contours_of(d)[1], "ContourGeometricType", kind))
    assert f"a region has contours of {told}, which enclose no area" in reason(tmp_path)


def test_an_open_contour_that_ends_where_it_began_is_closed(tmp_path):
    _, path = patient(tmp_path, [(2, [*BOX, BOX[0]])])
    change(path, lambda d: setattr(contours_of(d)[0], "ContourGeometricType", "OPEN_PLANAR"))
    assert masks(tmp_path) == {"one_z002": 16}


def test_a_region_in_two_items_is_read_whole(tmp_path):
    _, path = patient(tmp_path)
    second = [(3, BOX)]
    other = structures(tmp_path / "other.dcm", second)
    item = pydicom.dcmread(other).ROIContourSequence[0]
    change(path, lambda d: d.ROIContourSequence.append(item))
    assert masks(tmp_path) == {"one_z002": 16, "one_z003": 16}


@pytest.mark.parametrize(
    ("contour", "words"),
    [
        ((9, BOX), "a contour lies 2.0 slices outside the images"),
        ((2, [(0, 0), (0, 20), (3, 20)]), "a contour lies 14 pixels outside the border"),
    ],
)
def test_a_contour_outside_says_in_which_direction(tmp_path, contour, words):
    patient(tmp_path, [contour])
    assert words in reason(tmp_path)


def test_contours_on_rounded_positions_lie_on_their_slices(tmp_path):
    paths, _ = patient(tmp_path)
    heights = [round(0.625 * n, 1) for n in range(8)]
    move(paths, [(*CORNER[:2], height) for height in heights])
    regions = [(CORNER + [[c * 1.5, r * 2, heights[k]] for r, c in BOX], "1.2.4") for k in range(8)]
    save_structures(
        tmp_path / "pet_liver" / "one" / "RS.dcm", "1.2.3.5", "1.2.3", "1.2.9", "1.2.3",
        [("Tumor", regions)],
    )  # fmt: skip
    assert masks(tmp_path) == {f"one_z00{n}": 16 for n in range(8)}


# ---------------------------------------------------------------------------------------------
# Pixels


def lossless_jpeg(pixels):
    """Encode 16-bit values as JPEG lossless, each predicted by its left neighbour.

    All categories of differences have codes of five bits. Process 14, selection value 1.
    """
    values = pixels.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[0, 0], predicted[0, 1:] = 1 << 15, values[0, :-1]
    predicted[1:, 0], predicted[1:, 1:] = values[:-1, 0], values[1:, :-1]
    bits = ""
    for difference in (values - predicted).ravel().tolist():
        size = abs(difference).bit_length()
        shown = difference if difference > 0 else difference + (1 << size) - 1
        # Of category 16 there is one difference, which needs no further bits.
        bits += f"{size:05b}" + (f"{shown:0{size}b}" if 0 < size < 16 else "")
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker, body):
        return bytes([255, marker]) + struct.pack(">H", len(body) + 2) + body

    frame = struct.pack(">BHHBBBB", 16, *pixels.shape, 1, 1, 0x11, 0)
    table = bytes([0, *(0, 0, 0, 0, 17), *[0] * 11, *range(17)])
    start = bytes([1, 1, 0, 1, 0, 0])
    return (
        b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, table) + segment(0xDA, start) + scan
        + b"\xff\xd9"
    )  # fmt: skip


def jpeg_2000(pixels):
    content = BytesIO()
    Image.fromarray(pixels).save(content, "JPEG2000", irreversible=False, no_jp2=True)
    return content.getvalue()


def compress(path, syntax, encode):
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([encode(dataset.pixel_array)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("syntax", "encode"), [(JPEGLosslessSV1, lossless_jpeg), (JPEG2000Lossless, jpeg_2000)]
)
def test_compressed_pixels_are_read(tmp_path, syntax, encode):
    pytest.importorskip("libjpeg", reason="no decoder: pip install the extra dicom")
    paths = series(tmp_path)
    for path in paths:
        compress(path, syntax, encode)
    np.testing.assert_array_equal(read_pixels(read_series(paths)).values, VALUES)


def test_run_lengths_are_read_without_a_decoder(tmp_path):
    paths = series(tmp_path)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_pixels(read_series(paths)).values, VALUES)


@pytest.mark.parametrize(
    "name", ["MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm", "MR_small_RLE.dcm"]
)
def test_every_usual_way_to_compress_gives_the_same_pixels(name):
    pytest.importorskip("libjpeg", reason="no decoder: pip install the extra dicom")
    plain, packed = (
        read_pixels(read_series([Path(get_testdata_file(file))])).values
        for file in ("MR_small.dcm", name)
    )
    np.testing.assert_array_equal(plain, packed)


def test_without_a_decoder_the_reason_says_what_to_install(tmp_path, monkeypatch):
    paths = series(tmp_path)
    compress(paths[0], JPEGLosslessSV1, lossless_jpeg)
    decoder = pydicom.pixels.get_decoder(JPEGLosslessSV1)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(BadCaseError, match=r"JPEG Lossless.*no decoder is installed.*pylibjpeg"):
        read_pixels(read_series(paths))


def test_with_a_decoder_the_reason_is_the_damage(tmp_path):
    paths = series(tmp_path)
    compress(paths[0], JPEG2000Lossless, lambda pixels: b"\xff\x4f\xff\x51 not really")
    with pytest.raises(BadCaseError, match=r"JPEG 2000.*the decoder fails on them.*copy it again"):
        read_pixels(read_series(paths))


def test_a_way_to_compress_that_nobody_decodes_is_named(tmp_path):
    paths = series(tmp_path)
    compress(paths[0], UID("1.2.840.10008.1.2.4.100"), lambda pixels: b"film")
    with pytest.raises(BadCaseError, match=r"compressed \(MPEG2.*which is not read: decompress"):
        read_pixels(read_series(paths))


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_white_is_zero_is_turned_round_at_every_depth(tmp_path, bits):
    top = (1 << bits) - 1
    dtype = np.uint8 if bits == 8 else np.uint16
    shown = (VALUES[:, ::2] // (40 if bits < 12 else 10)).astype(dtype)
    shown[0, 0, 0] = top
    paths = series(tmp_path, values=(top - shown).astype(dtype))
    for path in paths:
        edit(path, PhotometricInterpretation="MONOCHROME1", BitsStored=bits, HighBit=bits - 1)
    values = read_pixels(read_series(paths)).values
    np.testing.assert_array_equal(values, shown)
    assert values.dtype == dtype


def test_a_mask_in_which_zero_is_white_is_refused(tmp_path):
    paths = series(tmp_path)
    edit(paths[1], PhotometricInterpretation="MONOCHROME1")
    with pytest.raises(BadCaseError, match=r"1\.dcm: zero is white in this mask \(MONOCHROME1\)"):
        read_pixels(read_series(paths), is_mask=True)


def test_bits_above_those_that_are_stored_do_not_count(tmp_path):
    # Old scanners kept drawings on the image there.
    paths = series(tmp_path, values=VALUES // 100 + 0x8000)
    for path in paths:
        edit(path, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_pixels(read_series(paths)).values, VALUES // 100)


@pytest.mark.parametrize("kind", ["RGB", "PALETTE COLOR", "YBR_FULL"])
def test_colours_are_refused_by_their_name(tmp_path, kind):
    paths = series(tmp_path)
    edit(paths[0], PhotometricInterpretation=kind)
    with pytest.raises(BadCaseError, match=rf"its pixels are {kind}, not grey values"):
        read_pixels(read_series(paths))


def test_a_slope_of_zero_is_refused(tmp_path):
    paths = series(tmp_path)
    edit(paths[3], RescaleSlope=0, RescaleIntercept=7)
    with pytest.raises(BadCaseError, match=r"3\.dcm: its RescaleSlope is 0 and"):
        read_pixels(read_series(paths))


# ---------------------------------------------------------------------------------------------
# NIfTI


def nifti(path, values=VALUES, kind=nibabel.Nifti1Image):
    image = kind(values, np.diag([-1.5, 2, 4, 1]))
    path.write_bytes(image.to_bytes())
    return path


def placed_by_quaternion(path, vector, kind=nibabel.Nifti1Image):
    """A file whose qform alone places it; the quaternion's parts b, c, d as written."""
    image = kind(VALUES, None)
    image.header.set_xyzt_units("mm")
    image.header["pixdim"][:4] = [1, 1.5, 2, 4]
    image.header["qform_code"], image.header["sform_code"] = 1, 0
    for name, value in zip("bcd", vector, strict=True):
        image.header[f"quatern_{name}"] = value
    header = image.header.copy()
    header.set_data_offset(352 if kind is nibabel.Nifti1Image else 544)
    content = BytesIO()
    header.write_to(content)
    content = content.getvalue().ljust(int(header.get_data_offset()), b"\0")
    path.write_bytes(content + VALUES.tobytes(order="F"))
    return path


@pytest.mark.parametrize("name", ["A.NII.GZ", "a.nii.gz", "a.Nii.Gz", "a.nii", "A.NII", "x.gz.nii"])
@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_nifti_is_read_by_content_whatever_the_case_or_the_end_of_its_name(
    tmp_path, name, is_packed, kind
):
    path = nifti(tmp_path / name, kind=kind)
    if is_packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.values, VALUES)
    np.testing.assert_array_equal(volume.affine, np.diag([-1.5, 2, 4, 1]))
    assert read_grid(path, "axial").shape == VALUES.shape


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("off", [0, 2e-7, 2e-6, 1e-4, 5e-3])
def test_a_quaternion_that_was_rounded_turns_as_the_exact_one(tmp_path, off, kind):
    exact = np.array([np.sqrt(0.5), np.sqrt(0.5), 0])
    path = placed_by_quaternion(tmp_path / "a.nii", exact * (1 + off), kind)
    turned = np.array([[0, 2, 0], [1.5, 0, 0], [0, 0, -4]])
    for affine in (read_volume(path).affine, read_grid(path, "axial").affine):
        np.testing.assert_allclose(affine[:3, :3], turned, atol=1e-3)


def test_a_quaternion_that_is_no_rotation_is_told(tmp_path):
    path = placed_by_quaternion(tmp_path / "a.nii", (0.9, 0.8, 0))
    for read in (read_volume, lambda path: read_grid(path, "axial")):
        with pytest.raises(BadCaseError, match=r"a\.nii: .*the quaternion of the qform has length"):
            read(path)


def test_a_quaternion_does_not_matter_where_an_affine_is_given(tmp_path):
    image = nibabel.Nifti1Image(VALUES, np.diag([-1.5, 2, 4, 1]))
    image.header["quatern_b"], image.header["qform_code"] = 1.2, 1
    content = image.to_bytes()
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").affine, np.diag([-1.5, 2, 4, 1]))


def test_a_file_of_one_axis_is_no_volume(tmp_path):
    path = nifti(tmp_path / "a.nii", np.zeros(9, np.uint8))
    for read in (read_volume, lambda path: read_grid(path, "axial")):
        with pytest.raises(BadCaseError, match=r"its shape is \(9,\): save one volume"):
            read(path)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("length", [1, 300, 400, 541, 700])
@pytest.mark.parametrize("is_packed", [True, False])
def test_a_cut_file_is_refused_by_name_in_every_format(tmp_path, kind, length, is_packed):
    path = nifti(tmp_path / "a.nii", kind=kind)
    content = path.read_bytes()[:length]
    path.write_bytes(gzip.compress(content) if is_packed else content)
    for read in (read_volume, lambda path: read_grid(path, "axial")):
        if read is read_volume or length < 348:  # the grid stands in the header alone
            with pytest.raises(BadCaseError, match=r"a\.nii: "):
                read(path)


# ---------------------------------------------------------------------------------------------
# NRRD


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
@pytest.mark.parametrize("name", ["a.nrrd", "A.NRRD"])
def test_a_nearly_empty_mask_is_read_however_well_it_is_packed(tmp_path, encoding, name):
    mask = np.zeros((64, 64, 64), np.uint8)
    mask[1, 2, 3] = 1
    place = {"space": "LPS", "space directions": np.eye(3), "space origin": [0.0, 0, 0]}
    nrrd.write(str(tmp_path / "a.nrrd"), mask, {**place, "encoding": encoding})
    path = shutil.move(tmp_path / "a.nrrd", tmp_path / name)
    np.testing.assert_array_equal(read_nrrd(path)[0], mask)
    np.testing.assert_array_equal(read_volume(path).values, mask)


# ---------------------------------------------------------------------------------------------
# Masks that were cut to their segment


def grid_of(tmp_path):
    return read_series(series(tmp_path / "images"))


@pytest.mark.parametrize(
    "part", [np.s_[2:5, 1:4, 3:6], np.s_[:, :, :], np.s_[0:1, 0:6, 0:1], np.s_[7:8, 5:6, 6:7]]
)
def test_a_mask_that_was_cut_to_a_part_of_its_image_is_put_where_it_lies(tmp_path, part):
    grid = grid_of(tmp_path)
    mask = np.zeros(grid.shape, bool)
    mask[part] = True
    first = [cut.start or 0 for cut in part]
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    np.testing.assert_array_equal(onto_grid(mask[part], affine, grid, tmp_path), mask)


@pytest.mark.parametrize("is_marked", [False, True])
def test_a_mask_that_goes_beyond_its_image_may_be_empty_there(tmp_path, is_marked):
    grid = grid_of(tmp_path)
    mask = np.zeros(grid.shape, bool)
    mask[3, 3, 3] = True
    wide = np.pad(mask, 2)
    wide[0, 0, 0] = is_marked
    affine = grid.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ [2, 2, 2]
    if is_marked:
        with pytest.raises(BadCaseError, match="1 voxels of the mask lie beyond its image"):
            onto_grid(wide, affine, grid, tmp_path)
    else:
        np.testing.assert_array_equal(onto_grid(wide, affine, grid, tmp_path), mask)


@pytest.mark.parametrize("change", [lambda a: a @ np.diag([1, 0.5, 1, 1]), lambda a: a + 0.9])
def test_a_part_that_lies_between_the_voxels_is_refused(tmp_path, change):
    grid = grid_of(tmp_path)
    with pytest.raises(BadCaseError, match="resample it to its image"):
        onto_grid(np.ones((2, 2, 2), bool), change(grid.affine), grid, tmp_path)
