"""File formats of an own folder: pixels follow what the file says of itself."""

import struct
import zlib

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset as Tags
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medsam_utils import load_folder
from medsam_utils.case import BadCaseError
from medsam_utils.datasets.images import is_lossy, read_image, read_mask
from medsam_utils.datasets.volume_files import read_volume

GREY = np.array([[0, 60, 120], [180, 240, 255]], np.uint8)
LABELS = np.array([[0, 1, 2], [3, 3, 0]], np.uint8)


def write_tiff(path, values, photometric=1, samples=1, sample_format=1, orientation=1):
    """Write a TIFF of one strip, little-endian."""
    data = np.ascontiguousarray(values).tobytes()
    height, width = values.shape[:2]
    tags = {
        **{256: width, 257: height, 258: values.dtype.itemsize * 8, 259: 1, 262: photometric},
        **{273: 8, 274: orientation, 277: samples, 278: height, 279: len(data), 339: sample_format},
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)
    return path


def write_png(path, values, colour_type):
    """Write a PNG of 16 bits."""

    def chunk(kind, body):
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    height, width = values.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


# ---- flat images


@pytest.mark.parametrize(
    ("dtype", "sample_format"),
    [
        *(("<u1", 1), ("<u2", 1), ("<u4", 1), ("<i1", 2), ("<i2", 2), ("<i4", 2)),
        *(("<f4", 3), ("<f8", 3)),
    ],
)
def test_tiff_of_every_number_type_comes_back_as_stored(tmp_path, dtype, sample_format):
    values = (GREY.astype(float) - (100 if sample_format > 1 else 0)).astype(dtype)
    path = write_tiff(tmp_path / "a.tif", values, sample_format=sample_format)
    np.testing.assert_array_equal(read_image(path), values)


def test_numbers_beyond_31_bits_stay_positive(tmp_path):
    values = np.array([[0, 2**31 + 5]], "<u4")
    np.testing.assert_array_equal(read_image(write_tiff(tmp_path / "a.tif", values)), values)


@pytest.mark.parametrize("dtype", ["<u1", "<u2", "<u4"])
def test_white_is_zero_at_every_depth(tmp_path, dtype):
    values = GREY.astype(dtype)
    top = np.iinfo(dtype).max
    path = write_tiff(tmp_path / "a.tif", top - values, photometric=0)
    np.testing.assert_array_equal(read_image(path), values)


def test_fractions_where_white_is_zero_are_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", GREY.astype("<f4"), photometric=0, sample_format=3)
    with pytest.raises(BadCaseError, match=r"white is zero in it, and its values are float32"):
        read_image(path)


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_png_of_16_bits_keeps_them_in_every_colour_type(tmp_path, colour_type, channels):
    grey = GREY.astype(np.uint16) * 16  # 12 bits
    values = np.dstack([grey] * channels)
    if channels in (2, 4):
        values[..., -1] = 65535
    path = write_png(tmp_path / "a.png", values, colour_type)
    np.testing.assert_array_equal(read_image(path), grey)


def test_tiff_of_16_bits_keeps_its_colours(tmp_path):
    values = np.dstack([GREY, GREY // 2, 255 - GREY]).astype("<u2") * 16
    path = write_tiff(tmp_path / "a.tif", values, photometric=2, samples=3)
    np.testing.assert_array_equal(read_image(path), values)


@pytest.mark.parametrize("top", [3, 255, 4095])
def test_pgm_comes_back_as_stored_whatever_its_maximum(tmp_path, top):
    values = LABELS.astype(">u2" if top > 255 else "u1")
    head = f"P5\n3 2\n{top}\n".encode()
    (tmp_path / "m.pgm").write_bytes(head + values.tobytes())
    np.testing.assert_array_equal(read_mask(tmp_path / "m.pgm"), LABELS)


@pytest.mark.parametrize(
    ("name", "options", "lossy"),
    [
        ("a.webp", {"lossless": True}, False),
        ("a.webp", {"quality": 80}, True),
        ("a.jpg", {}, True),
        ("a.png", {}, False),
        ("a.tif", {"compression": "jpeg"}, True),
        ("a.tif", {"compression": "tiff_lzw"}, False),
        ("a.gif", {}, False),
    ],
)
def test_formats_that_change_values_are_known(tmp_path, name, options, lossy):
    Image.fromarray(np.dstack([GREY] * 3)).save(tmp_path / name, **options)
    assert is_lossy(tmp_path / name) == lossy


def test_a_jpeg_of_another_name_is_still_one(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    assert is_lossy(tmp_path / "a.png")


def test_the_drawing_of_a_mask_may_be_in_alpha_alone(tmp_path):
    for ground in (0, 128, 255):
        plain = np.full((2, 3), ground, np.uint8)
        Image.fromarray(np.dstack([plain, plain, plain, GREY])).save(tmp_path / "m.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), GREY)


def test_what_is_transparent_is_background(tmp_path):
    red_on_white = np.full((2, 3, 4), 255, np.uint8)
    red_on_white[0, :2] = (255, 0, 0, 255)
    red_on_white[1, :, 3] = red_on_white[0, 2, 3] = 0
    Image.fromarray(red_on_white).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), [[1, 1, 0], [0, 0, 0]])


def test_an_image_in_alpha_alone_is_refused(tmp_path):
    white = np.full((2, 3), 255, np.uint8)
    Image.fromarray(np.dstack([white, white, white, GREY])).save(tmp_path / "a.png")
    with pytest.raises(BadCaseError, match="in its alpha channel alone"):
        read_image(tmp_path / "a.png")


def write_palette(path, indices, colours):
    picture = Image.frombytes("P", indices.shape[::-1], indices.astype(np.uint8).tobytes())
    picture.putpalette(np.asarray(colours, np.uint8).ravel().tolist())
    picture.save(path)
    return path


RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def test_black_is_the_background_of_a_palette_wherever_it_stands(tmp_path):
    path = write_palette(tmp_path / "m.png", np.array([[0, 1], [1, 1]]), [RED, BLACK])
    np.testing.assert_array_equal(read_mask(path), [[1, 0], [0, 0]])


@pytest.mark.parametrize("colours", [[RED, BLACK, GREEN], [RED, GREEN, RED], [BLACK, BLACK, RED]])
def test_a_palette_that_does_not_tell_the_background_is_refused(tmp_path, colours):
    path = write_palette(tmp_path / "m.png", np.array([[0, 1], [2, 1]]), colours)
    with pytest.raises(BadCaseError, match=r"m\.png: its palette does not tell which index"):
        read_mask(path)


def test_channels_that_add_up_to_1_are_classes(tmp_path):
    np.save(tmp_path / "m.npy", np.dstack([value == LABELS for value in range(4)]))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.npy"), LABELS)


def test_two_channels_of_probabilities_are_a_soft_mask(tmp_path):
    inside = GREY / 255
    np.save(tmp_path / "m.npy", np.dstack([1 - inside, inside]))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.npy"), inside)


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_channels_that_do_not_add_up_to_1_are_refused(tmp_path, channels):
    np.save(tmp_path / "m.npy", np.dstack([LABELS * n for n in range(channels)]))
    with pytest.raises(BadCaseError, match=r"m\.npy: its shape is .*do not add up to 1"):
        read_mask(tmp_path / "m.npy")


@pytest.mark.parametrize("channels", [2, 5])
def test_an_image_of_other_channels_than_1_3_or_4_is_refused(tmp_path, channels):
    np.save(tmp_path / "a.npy", np.dstack([GREY] * channels))
    with pytest.raises(BadCaseError, match=r"a\.npy: its shape is"):
        read_image(tmp_path / "a.npy")


# ---- volumes

VALUES = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
AFFINE = np.array([[-1.5, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 3.0, 30], [0, 0, 0, 1]])


def write_metaimage(path, data, place="LOCAL", extra=""):
    header = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n{extra}"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -10 -20 30\nElementSpacing = 1.5 2 3\n"
        f"DimSize = 2 3 4\nElementType = MET_SHORT\nElementDataFile = {place}\n"
    )
    path.write_bytes(header.encode() + (data if place == "LOCAL" else b""))
    if place != "LOCAL":
        (path.parent / place).write_bytes(data)
    return path


STORED = VALUES.tobytes(order="F")


@pytest.mark.parametrize(
    ("name", "data", "place", "extra"),
    [
        ("a.mha", STORED, "LOCAL", "CompressedData = False\n"),
        ("a.mha", zlib.compress(STORED), "LOCAL", "CompressedData = True\n"),
        ("a.mhd", STORED, "a.raw", ""),
        ("a.mhd", zlib.compress(STORED), "a.zraw", "CompressedData = True\n"),
        ("a.mhd", b"head" + STORED, "a.raw", "HeaderSize = 4\n"),
        ("a.mhd", b"head" + STORED, "a.raw", "HeaderSize = -1\n"),
    ],
)
def test_metaimage(tmp_path, name, data, place, extra):
    volume = read_volume(write_metaimage(tmp_path / name, data, place, extra))
    np.testing.assert_array_equal(volume.values, VALUES)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_metaimage_whose_values_are_missing_says_so(tmp_path):
    path = write_metaimage(tmp_path / "a.mhd", STORED, "a.raw")
    (tmp_path / "a.raw").unlink()
    with pytest.raises(BadCaseError, match=r"a\.mhd: its values are in a\.raw, which is missing"):
        read_volume(path)


@pytest.mark.parametrize("kept", [0, 20, 200, 260])
def test_a_truncated_metaimage(tmp_path, kept):
    path = write_metaimage(tmp_path / "a.mha", STORED)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadCaseError, match=r"a\.mha: (cannot be read|the header declares)"):
        read_volume(path)


def test_freesurfer_and_pairs_of_files(tmp_path):
    nibabel.MGHImage(VALUES.astype(np.int32), AFFINE).to_filename(tmp_path / "a.mgz")
    nibabel.Nifti1Pair(VALUES, AFFINE).to_filename(tmp_path / "b.img")
    for name in ("a.mgz", "b.hdr"):
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.values, VALUES)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)


def test_analyze_is_refused(tmp_path):
    nibabel.AnalyzeImage(VALUES, np.eye(4)).to_filename(tmp_path / "a.img")
    with pytest.raises(BadCaseError, match="does not say where right and left are"):
        read_volume(tmp_path / "a.hdr")


LPS = {
    "space": "left-posterior-superior",
    "space directions": np.diag([1.5, 2.0, 3.0]),
    "space origin": [-10.0, -20.0, 30.0],
}


def test_a_detached_nrrd_and_what_belongs_to_it(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        nrrd.write(str(tmp_path / part / "a.nhdr"), VALUES, LPS, detached_header=True)
    volume = read_volume(tmp_path / "images/a.nhdr")
    np.testing.assert_array_equal(volume.values, VALUES)
    np.testing.assert_allclose(volume.affine, AFFINE)
    listing = load_folder(tmp_path, classes={"object": ()}).list()
    assert listing.references and not listing.not_read


def test_a_segmentation_that_is_cut_to_its_segment_lies_where_it_belongs(tmp_path):
    image, box = np.zeros((8, 9, 10), np.int16), np.zeros((3, 2, 4), np.uint8)
    box[1, 1, 1:3] = 1
    (tmp_path / "images").mkdir(), (tmp_path / "masks").mkdir()
    nrrd.write(str(tmp_path / "images/a.nrrd"), image, LPS)
    corner = np.array(LPS["space origin"]) + np.array([2, 3, 4]) * [1.5, 2.0, 3.0]
    names = {"Segment0_Name": "tumour", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
    header = {**LPS, "space origin": corner.tolist(), **names}
    nrrd.write(str(tmp_path / "masks/a.seg.nrrd"), box, header)
    dataset = load_folder(tmp_path)
    assert dataset.classes == {"tumour": ("tumour",)}
    assert [reference.slice_index for reference in dataset] == [5, 6]
    mask = dataset.load("a_z005").masks["tumour"]
    assert np.argwhere(mask).tolist() == [[4, 3]]  # rows are y, columns x of the array


# ---- DICOM


def write_dicom(path, pixels, position=None, **more):
    """Write one image; position: of its first pixel, in mm."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{position[2] if position else 0:.0f}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    tags = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    tags.SOPClassUID, tags.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    tags.Modality, tags.SeriesInstanceUID, tags.FrameOfReferenceUID = "CT", "1.2.3", "1.2.4"
    if position:
        tags.ImagePositionPatient = list(position)
        tags.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    tags.PixelSpacing = [2.0, 2.0]
    tags.Rows, tags.Columns = pixels.shape[-2:]
    tags.SamplesPerPixel, tags.PhotometricInterpretation = 1, "MONOCHROME2"
    tags.BitsAllocated, tags.BitsStored, tags.HighBit, tags.PixelRepresentation = 16, 16, 15, 0
    for name, value in more.items():
        setattr(tags, name, value)
    tags.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    tags.save_as(path, enforce_file_format=True)


ROWS, COLS = np.mgrid[:20, :24]
DISC = (ROWS - 8) ** 2 + (COLS - 10) ** 2 < 20
PIXELS = (100 + COLS + 400 * DISC).astype(np.uint16)


@pytest.mark.parametrize("name", ["a.dcm", "a", "a.ima", "a.IMA"])
def test_a_radiograph_with_a_png_mask(tmp_path, name):
    write_dicom(tmp_path / "images" / name, PIXELS)
    (tmp_path / "masks").mkdir()
    Image.fromarray(DISC).save(tmp_path / "masks/a.png")
    case = load_folder(tmp_path).load("a")
    np.testing.assert_array_equal(case.masks["object"], DISC)
    assert case.image[DISC].min() > case.image[~DISC].max()


@pytest.fixture
def series(tmp_path):
    """Five slices of one patient, whose files have the names that scanners write."""
    for k in range(5):
        write_dicom(tmp_path / f"images/p1/CT.1.2.{k}", PIXELS, (-20.0, -30.0, 3.0 * k))
    (tmp_path / "masks").mkdir()
    return tmp_path


def test_a_series_with_a_nifti_mask(series):
    mask = np.zeros((24, 20, 5), np.uint8)
    mask[:, :, 2] = DISC.T
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    affine[:3, 3] = 20, 30, 0
    nibabel.Nifti1Image(mask, affine).to_filename(series / "masks/p1.nii.gz")
    dataset = load_folder(series)
    assert [reference.case_id for reference in dataset] == ["p1_z002"]
    np.testing.assert_array_equal(dataset.load("p1_z002").masks["object"], DISC)
    assert not dataset.list().not_read


def test_one_series_and_one_mask_belong_together_without_a_folder(series):
    for path in list((series / "images/p1").iterdir()):
        path.rename(series / "images" / path.name)
    (series / "images/p1").rmdir()
    mask = np.repeat(DISC.T[:, :, np.newaxis], 5, axis=2).astype(np.uint8)
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    affine[:3, 3] = 20, 30, 0
    nibabel.Nifti1Image(mask, affine).to_filename(series / "masks/seg.nii.gz")
    dataset = load_folder(series)
    assert [reference.case_id for reference in dataset] == [f"seg_z00{k}" for k in range(5)]
    np.testing.assert_array_equal(dataset.load("seg_z003").masks["object"], DISC)


def test_a_series_with_a_dicom_segmentation(series):
    segments, groups = [], []
    for number, label in ((1, "liver"), (2, "spleen")):
        segment = Tags()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        segments.append(segment)
        group, place, of = Tags(), Tags(), Tags()
        place.ImagePositionPatient = [-20.0, -30.0, 3.0 * number]
        of.ReferencedSegmentNumber = number
        group.PlanePositionSequence, group.SegmentIdentificationSequence = [place], [of]
        groups.append(group)
    shared, plane, measures = Tags(), Tags(), Tags()
    plane.ImageOrientationPatient, measures.PixelSpacing = [1, 0, 0, 0, 1, 0], [2.0, 2.0]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    write_dicom(
        series / "masks/p1.dcm",
        np.stack([DISC, ~DISC]).astype(np.uint8),
        Modality="SEG",
        NumberOfFrames=2,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        SegmentationType="FRACTIONAL",
        MaximumFractionalValue=1,
        SegmentSequence=segments,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=groups,
    )
    dataset = load_folder(series)
    assert list(dataset.classes) == ["liver", "spleen"]
    np.testing.assert_array_equal(dataset.load("p1_z001").masks["liver"], DISC)
    np.testing.assert_array_equal(dataset.load("p1_z002").masks["spleen"], ~DISC)


def test_a_series_with_contours(series):
    corners = [(-10.0, -20.0), (10.0, -20.0), (10.0, -10.0), (-10.0, -10.0)]
    contour, of, region, frame = Tags(), Tags(), Tags(), Tags()
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
    contour.ContourData = [f"{n:.1f}" for corner in corners for n in (*corner, 6.0)]
    of.ReferencedROINumber, of.ContourSequence = 1, [contour]
    region.ROINumber, region.ROIName, region.ReferencedFrameOfReferenceUID = 1, "GTV", "1.2.4"
    frame.FrameOfReferenceUID = "1.2.4"
    write_dicom(
        series / "masks/p1/RS.1.2",
        np.zeros((1, 1), np.uint16),
        Modality="RTSTRUCT",
        ROIContourSequence=[of],
        StructureSetROISequence=[region],
        ReferencedFrameOfReferenceSequence=[frame],
    )
    dataset = load_folder(series)
    assert dataset.classes == {"GTV": ("GTV",)}
    (reference,) = dataset.list().references
    mask = dataset.load(reference).masks["GTV"]
    inside = np.argwhere(mask)
    assert (reference.slice_index, mask[8, 9], mask[2, 9]) == (2, True, False)
    assert abs(inside.min(axis=0) - [5, 5]).max() <= 1 and pydicom.__version__


# ---- what is not read


def test_every_file_that_is_not_read_has_a_true_reason(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        Image.fromarray(GREY).save(tmp_path / part / "a.png")
    texts = {
        "images/notes.txt": "text or a table, no image",
        "images/more.zip": "an archive: unpack it",
        "images/scan.jp2": "its format is not read: save it as PNG",
        "images/unknown": "not of a format that is read, by its name or by how it begins",
        "masks/.DS_Store": "a hidden file: its name, or that of its folder, begins with a dot",
        "masks/volume.nii.gz": "of a format that is read, but part of no case",
    }
    for name in texts:
        (tmp_path / name).write_bytes(b"text")
    listing = load_folder(tmp_path, classes={"object": ()}).list()
    assert {file.path: file.fact for file in listing.not_read} == texts
