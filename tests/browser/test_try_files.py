"""Files that a reader opens in the page have the values and the orientation that Python reads."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from own_page import answered, features, give, pixel_of
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from medsam_utils.datasets.dicom import read_pixels, read_series
from medsam_utils.datasets.images import read_image
from medsam_utils.datasets.volume_files import find_cut, read_volume
from medsam_utils.intensity import EightBit, Percentile

OBLIQUE = nibabel.affines.from_matvec(
    nibabel.eulerangles.euler2mat(0.3, -0.2, 0.15) @ np.diag([-0.7, 0.9, 2.5]), [10, -20, 30]
)
TURNED = np.array([[0, 0, -3.0, 5], [1.2, 0, 0, -7], [0, -0.8, 0, 9], [0, 0, 0, 1]])


def shown(page) -> dict:
    """Values, shape, affine and cuts of the volume or picture that the page shows."""
    return page.evaluate(
        """() => {
          const { own } = document.getElementById("medsam-own"), { image } = own.shown;
          const { values, shape, affine, channels } = image;
          const planes = ["axial", "coronal", "sagittal"];
          const cuts = affine && Object.fromEntries(planes.map((plane) => [plane, own.cut(plane)]));
          return { values: Array.from(values), shape, affine, channels, cuts };
        }"""
    )


def volume_values(seed: int = 0, shape=(7, 9, 5), low: int = 0, high: int = 120) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape)


def check_volume(page, path):
    """Compare what the page shows with what Python reads of a file."""
    found, volume = shown(page), read_volume(path)
    assert found["shape"] == list(volume.values.shape)
    values = np.array(found["values"]).reshape(found["shape"], order="F")
    assert np.allclose(values, volume.values, rtol=1e-6)
    assert np.allclose(found["affine"], volume.affine, atol=1e-4)
    for plane, cut in found["cuts"].items():
        expected = find_cut(volume.values.shape, volume.affine, plane, path)
        assert cut["axes"] == [expected.slice_axis, expected.row_axis, expected.column_axis]
        assert [cut["flipRows"], cut["flipCols"]] == [expected.flip_rows, expected.flip_columns]


NIFTI = {
    **{kind: {"dtype": kind} for kind in ("u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8")},
    "big-endian": {"dtype": ">i2"},
    "big-endian float": {"dtype": ">f4"},
    "scaled": {"dtype": "i2", "slope": 0.5, "inter": -3},
    "whole slope": {"dtype": "i2", "slope": 1, "inter": -1024},
    "second version": {"dtype": "i2", "second": True},
    "second version, big-endian": {"dtype": ">i2", "second": True},
    "oblique": {"dtype": "i2", "affine": OBLIQUE},
    "turned": {"dtype": "u1", "affine": TURNED},
    "placed by the quaternion": {"dtype": "u1", "affine": OBLIQUE, "codes": (1, 0)},
    "mirrored, by the quaternion": {"dtype": "u1", "affine": TURNED, "codes": (1, 0)},
    "placed by nothing": {"dtype": "u1", "codes": (0, 0)},
    "both, the sform counts": {"dtype": "u1", "affine": OBLIQUE, "codes": (4, 1)},
    "one slice": {"dtype": "i2", "shape": (7, 9, 1)},
    "two axes": {"dtype": "i2", "shape": (7, 9)},
    "a fourth axis of one": {"dtype": "i2", "shape": (7, 9, 5, 1)},
    "not packed": {"dtype": "i2", "name": "volume.nii"},
    "packed and not named so": {"dtype": "i2", "name": "volume.nii", "packed": True},
}


def write_nifti(
    path,
    dtype,
    affine=None,
    slope=None,
    inter=None,
    second=False,
    codes=None,
    shape=(7, 9, 5),
    name="",
    packed=None,
):
    kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    dtype = np.dtype(dtype)
    header = kind.header_class(endianness=">" if dtype.byteorder == ">" else "<")
    header.set_data_dtype(dtype)
    affine = np.diag([-0.8, 0.8, 2, 1]) if affine is None else affine
    image = kind(volume_values(shape=shape).astype(dtype), affine, header)
    if codes:
        image.header.set_qform(affine, codes[0])
        image.header["sform_code"] = codes[1]
        if not codes[0]:
            image.header["qform_code"] = 0
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    buffer = image.to_bytes()
    if slope is not None:  # stored as they are, and scaled by the header alone
        at = (176, "f8") if second else (112, "f4")
        array = bytearray(buffer)
        order = ">" if dtype.byteorder == ">" else "<"
        array[at[0] : at[0] + 2 * np.dtype(at[1]).itemsize] = np.array(
            [slope, inter], order + at[1]
        ).tobytes()
        buffer = bytes(array)
    path.write_bytes(gzip.compress(buffer) if packed or path.suffix == ".gz" else buffer)


def test_nifti_of_every_kind_has_the_voxels_and_the_orientation_of_nibabel(own_page, tmp_path):
    for what, options in NIFTI.items():
        path = tmp_path / (options.get("name") or f"{what}.nii.gz")
        write_nifti(path, **options)
        said = give(own_page, (path.name, path.read_bytes()))
        assert said.startswith(path.name + "."), (what, said)
        check_volume(own_page, path)


def test_slices_are_shown_as_python_shows_them(own_page, tmp_path):
    path = tmp_path / "turned.nii.gz"
    write_nifti(path, "i2", affine=TURNED, shape=(30, 40, 20))
    volume = read_volume(path)
    give(own_page, (path.name, path.read_bytes()))
    for plane in ("axial", "coronal", "sagittal"):
        own_page.get_by_label("Plane").select_option(plane)
        cut = find_cut(volume.values.shape, volume.affine, plane, path)
        own_page.get_by_label("Slice", exact=True).fill("3")
        _, picture = features(own_page)
        assert (picture == Percentile()(cut.slice(volume.values, 2))).all(), plane


def slice_dataset(values: np.ndarray, position: float, **attributes) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[str(position)]
    )
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    dataset.PatientName = "Nobody^Here"
    dataset.Modality = "CT"
    dataset.ImagePositionPatient = [-10, 5, position]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.8, 0.7]
    dataset.SliceThickness = 2
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    bits = values.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def write_slice(path, values, position, syntax=ExplicitVRLittleEndian, **attributes):
    dataset = slice_dataset(values, position, **attributes)
    big = syntax == ExplicitVRBigEndian
    stored = values.astype(values.dtype.newbyteorder(">" if big else "<"))
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax in (RLELossless, JPEG2000Lossless):
        dataset.compress(syntax)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer,
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=not big,
        enforce_file_format=True,
    )
    path.write_bytes(buffer.getvalue())


DICOM = {
    "explicit": {},
    "implicit": {"syntax": ImplicitVRLittleEndian},
    "big-endian": {"syntax": ExplicitVRBigEndian},
    "deflated": {"syntax": DeflatedExplicitVRLittleEndian},
    "run lengths": {"syntax": RLELossless},
    "signed": {"dtype": "i2", "low": -900},
    "signed, run lengths": {"dtype": "i2", "low": -900, "syntax": RLELossless},
    "8 bits": {"dtype": "u1", "high": 250},
    "Hounsfield": {"RescaleSlope": 1, "RescaleIntercept": -1024},
    "scaled": {"RescaleSlope": 0.25, "RescaleIntercept": 2},
    "white is zero": {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11},
    "12 bits, signed": {"dtype": "i2", "low": -900, "BitsStored": 12, "HighBit": 11},
    "coronal": {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
    "oblique": {"ImageOrientationPatient": [0.96, 0.28, 0, -0.28, 0.96, 0]},
}


def test_dicom_series_of_every_kind_have_the_voxels_and_the_place_of_pydicom(own_page, tmp_path):
    for what, options in DICOM.items():
        options = dict(options)
        dtype, low, high = (
            options.pop("dtype", "u2"),
            options.pop("low", 0),
            options.pop("high", 1500),
        )
        folder = tmp_path / what
        folder.mkdir()
        normal = np.cross(
            *np.reshape(options.get("ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), (2, 3))
        )
        for i, step in enumerate((2, 0, 1)):
            values = volume_values(step, (40, 32), low, high).astype(dtype)
            where = {"ImagePositionPatient": list(np.array([-10, 5, 0]) + 2.5 * step * normal)}
            write_slice(folder / f"{i}.dcm", values, step, **options, **where)
        paths = sorted(folder.iterdir())
        said = give(own_page, *[(path.name, path.read_bytes()) for path in paths])
        assert said.startswith("0.dcm and 2 more"), (what, said)
        assert "Nobody" not in own_page.content()
        volume = read_pixels(read_series(paths))
        found = shown(own_page)
        values = np.array(found["values"]).reshape(found["shape"], order="F").transpose(2, 1, 0)
        assert np.array_equal(values, volume.values), what
        affine = np.array(found["affine"])[:, [2, 1, 0, 3]]
        assert np.allclose(affine, volume.affine, atol=1e-5), what


PYDICOM = """
CT_small MR_small MR_small_RLE MR_small_bigendian MR_small_expb MR_small_implicit MR_small_padded
MR_small_jpeg_ls_lossless JPEGLSNearLossless_08 JPEGLSNearLossless_16 image_dfl
"""


def test_files_of_other_programs_that_come_with_pydicom_have_its_values(own_page):
    for name in PYDICOM.split():
        path = pydicom.data.get_testdata_file(f"{name}.dcm", download=False)
        dataset = pydicom.dcmread(path)
        said = give(own_page, (f"{name}.dcm", Path(path).read_bytes()))
        assert said.startswith(f"{name}.dcm."), said
        expected = dataset.pixel_array * float(dataset.get("RescaleSlope", 1))
        expected = expected + float(dataset.get("RescaleIntercept", 0))
        assert np.allclose(shown(own_page)["values"], expected.ravel(), atol=1e-3), name


def test_a_lossy_jpeg_in_dicom_differs_by_no_more_than_one_step(own_page, tmp_path):
    row, col = np.mgrid[:40, :32]
    values = (90 + 50 * np.sin(col / 5) + 40 * np.cos(row / 7)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG", quality=90)
    dataset = slice_dataset(values, 0)
    dataset.PixelData = pydicom.encaps.encapsulate([buffer.getvalue()])
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    pydicom.dcmwrite(tmp_path / "lossy.dcm", dataset, enforce_file_format=True)
    give(own_page, ("lossy.dcm", (tmp_path / "lossy.dcm").read_bytes()))
    decoded = np.array(Image.open(buffer)).ravel().astype(int)
    assert np.abs(np.array(shown(own_page)["values"]) - decoded).max() <= 1


def test_a_dicom_file_that_is_no_slice_is_a_flat_image(own_page, tmp_path):
    path = tmp_path / "chest"
    values = volume_values(0, (20, 16), 0, 4000).astype("u2")
    write_slice(path, values, 0, ImagePositionPatient=None, Modality="CR")
    assert give(own_page, (path.name, path.read_bytes())).startswith("chest.")
    found = shown(own_page)
    assert found["affine"] is None and found["shape"] == [20, 16]
    assert np.array_equal(np.reshape(found["values"], (20, 16)), read_image(path))


def flat_files() -> dict[str, bytes]:
    """Flat images of many kinds, by name."""
    grey, random = volume_values(1, (12, 10), 0, 255).astype(np.uint8), np.random.default_rng(2)
    colour = random.integers(0, 255, (12, 10, 3), dtype=np.uint8)
    deep = random.integers(0, 60000, (12, 10)).astype(np.uint16)
    real = random.normal(size=(12, 10)).astype(np.float32)
    alpha = np.dstack([colour, random.integers(0, 255, (12, 10), dtype=np.uint8)])
    files = {}

    def add(name, picture, **options):
        buffer = io.BytesIO()
        picture.save(
            buffer, name.rsplit(".", 1)[-1].replace("jpg", "jpeg").replace("tif", "tiff"), **options
        )
        files[name] = buffer.getvalue()

    for suffix in ("png", "tif"):
        add(f"grey.{suffix}", Image.fromarray(grey))
        add(f"colour.{suffix}", Image.fromarray(colour))
        add(f"deep.{suffix}", Image.fromarray(deep))
        add(f"alpha.{suffix}", Image.fromarray(alpha))
        add(f"palette.{suffix}", Image.fromarray(colour).quantize(16))
        add(f"one bit.{suffix}", Image.fromarray(grey > 120))
    add("grey alpha.png", Image.fromarray(np.dstack([grey, alpha[..., 3]]), "LA"))
    add("palette transparent.png", Image.fromarray(colour).quantize(16), transparency=3)
    add("real.tif", Image.fromarray(real))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        add(f"{compression}.tif", Image.fromarray(deep), compression=compression)
        add(f"{compression} colour.tif", Image.fromarray(colour), compression=compression)
        add(f"{compression} one bit.tif", Image.fromarray(grey > 120), compression=compression)
    add("one bit, white is zero.tif", Image.fromarray(grey > 120), tiffinfo={262: 0})
    add("predicted.tif", Image.fromarray(deep), compression="tiff_lzw", tiffinfo={317: 2})
    add("white is zero.tif", Image.fromarray(grey), tiffinfo={262: 0})
    for turn in range(2, 9):
        add(f"turned {turn}.tif", Image.fromarray(deep), tiffinfo={274: turn})
    add("lossless.webp", Image.fromarray(colour), lossless=True)
    return files


def test_flat_images_of_every_kind_are_seen_as_python_sees_them(own_page, tmp_path):
    for name, content in flat_files().items():
        (tmp_path / name).write_bytes(content)
        said = give(own_page, (name, content))
        assert said.startswith(f"{name}."), said
        _, picture = features(own_page)
        assert np.array_equal(picture, EightBit()(read_image(tmp_path / name))), name


def claims(content: bytes, size: int) -> bytes:
    """A NIfTI file whose header says that each axis is so long."""
    return content[:42] + np.array([size] * 3, "<i2").tobytes() + content[48:]


def png_of_size(side: int) -> bytes:
    """A small PNG whose header says that it is so wide and high."""
    content = bytearray(as_png(np.zeros((4, 4), np.uint8)))
    content[16:24] = np.array([side, side], ">u4").tobytes()
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def as_png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_packed_volume_with_endless_zeros_behind_it_is_read(own_page, tmp_path):
    path = tmp_path / "a.nii"
    write_nifti(path, "i2", name="a.nii")
    content = gzip.compress(path.read_bytes() + bytes(200_000_000), 9)
    assert len(content) < 1_000_000
    assert give(own_page, ("a.nii.gz", content)).startswith("a.nii.gz.")
    check_volume(own_page, path)


def several_pages() -> bytes:
    buffer = io.BytesIO()
    pages = [Image.new("L", (4, 4)), Image.new("L", (4, 4))]
    pages[0].save(buffer, "tiff", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


def test_what_is_not_read_is_refused_with_a_reason_and_the_page_goes_on(own_page, tmp_path):
    def nifti(name="a.nii.gz", **options) -> tuple[str, bytes]:
        path = tmp_path / name
        write_nifti(path, **({"dtype": "i2"} | options))
        return name, path.read_bytes()

    def dicom(name="a.dcm", position=0.0, **options) -> tuple[str, bytes]:
        write_slice(tmp_path / name, volume_values(0, (40, 32)).astype("u2"), position, **options)
        return name, (tmp_path / name).read_bytes()

    whole = nifti("a.nii")[1]
    reals = nibabel.Nifti1Image(np.full((3, 3, 3), np.nan, np.float32), np.eye(4)).to_bytes()
    cases = [
        ([("cut.nii", whole[:-10])], "cut off"),
        ([("cut.nii.gz", nifti()[1][:-10])], "cut off"),
        ([("short.nii", whole[:100])], "not NIfTI"),
        ([nifti("time.nii.gz", shape=(4, 4, 4, 3))], "three axes"),
        ([("nan.nii", reals)], "no numbers"),
        ([("huge.nii.gz", gzip.compress(claims(whole, 30000)))], "GB of voxels"),
        ([("more.nii.gz", gzip.compress(claims(whole, -1)))], "its shape is"),
        ([("huge.png", png_of_size(60000))], "60000 x 60000 pixels"),
        ([("pages.tif", several_pages())], "2 pages"),
        ([("noise.tif", b"II*\0" + bytes(range(100)))], "noise.tif"),
        ([("noise.dcm", bytes(300))], "cannot be read as a DICOM"),
        ([dicom("rgb.dcm", PhotometricInterpretation="RGB")], "not grey"),
        ([dicom("coded.dcm", syntax=JPEG2000Lossless)], "JPEG 2000 is not read"),
        ([dicom("frames.dcm", NumberOfFrames=3)], "3 frames"),
        ([dicom("0.dcm", 0), dicom("1.dcm", 2), dicom("2.dcm", 4), dicom("4.dcm", 9)], "missing"),
        ([dicom("0.dcm", 0), dicom("1.dcm", 0)], "lies where"),
        ([dicom("0.dcm", 0), dicom("1.dcm", 2, SeriesInstanceUID="1.2.3")], "another series"),
        ([dicom("0.dcm", 0), nifti()], "give one image"),
        ([("a.txt", b"hello"), ("b.txt", b"hello")], "give one image"),
    ]
    for files, expected in cases:
        said = give(own_page, *files)
        assert expected in said and ":" in said, (files[0][0], said)
        assert "Nobody" not in said
    give(own_page, nifti("after.nii.gz", shape=(30, 40, 5)))
    own_page.locator("canvas").first.click(position=pixel_of(own_page, 15, 15))
    assert answered(own_page)["mask"]


DAMAGED = int(os.environ.get("MEDSAM_DAMAGED", 60))


def test_damaged_files_are_opened_or_refused_in_words_and_the_page_goes_on(own_page, tmp_path):
    whole = list(flat_files().items())
    for name, options in (("a.nii", {"dtype": "i2"}), ("b.nii.gz", {"dtype": "f4"})):
        write_nifti(tmp_path / name, **options)
        whole.append((name, (tmp_path / name).read_bytes()))
    for syntax in (ExplicitVRLittleEndian, RLELossless, DeflatedExplicitVRLittleEndian):
        path = tmp_path / f"{syntax.name}.dcm"
        write_slice(path, volume_values(0, (40, 32)).astype("u2"), 0, syntax)
        whole.append((path.name, path.read_bytes()))
    rng, refused = np.random.default_rng(0), 0
    for _ in range(DAMAGED):
        name, content = whole[rng.integers(len(whole))]
        damaged = bytearray(content)
        if rng.random() < 0.4:
            damaged = damaged[: rng.integers(1, len(damaged))]
        for _ in range(rng.integers(1, 20)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        said = give(own_page, (name, bytes(damaged)))
        assert said.startswith(name), said
        refused += ":" in said or "cannot" in said
    assert refused > DAMAGED / 4
    give(own_page, ("after.png", flat_files()["grey.png"]))
    assert shown(own_page)["shape"] == [12, 10]


def test_files_cut_off_within_their_pixels_are_refused(own_page, tmp_path):
    whole = flat_files()
    for name in ("a.nii", "b.nii.gz"):
        write_nifti(tmp_path / name, "i2")
        whole[name] = (tmp_path / name).read_bytes()
    for syntax in (ExplicitVRLittleEndian, RLELossless, DeflatedExplicitVRLittleEndian):
        path = tmp_path / f"{syntax.name}.dcm"
        write_slice(path, volume_values(0, (40, 32)).astype("u2"), 0, syntax)
        whole[path.name] = path.read_bytes()
    smooth = Image.fromarray(volume_values(1, (12, 10), 0, 255).astype(np.uint8)).resize((90, 70))
    for kind in ("jpeg", "webp"):
        buffer = io.BytesIO()
        smooth.save(buffer, kind)
        whole[f"lossy.{kind}"] = buffer.getvalue()
    opened = []
    for name, content in whole.items():
        for share in (0.6, 0.9):
            said = give(own_page, (name, content[: int(share * len(content))]))
            opened += [(share, said)] if said.startswith(f"{name}.") else []
    assert opened == []


def test_a_changed_byte_among_the_pixels_of_a_png_is_noticed(own_page):
    for name, content in flat_files().items():
        if name.endswith(".png"):
            damaged = bytearray(content)
            damaged[content.index(b"IDAT") + 15] ^= 1
            assert "a checksum is wrong" in give(own_page, (name, bytes(damaged)))


def run_lengths(tmp_path, change) -> tuple[str, bytes]:
    """A DICOM file of two segments of run lengths, of which `change` makes others."""
    path = tmp_path / "runs.dcm"
    write_slice(path, volume_values(0, (40, 32), 0, 60000).astype("u2"), 0, RLELossless)
    dataset = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    starts = [*np.frombuffer(frame[4:12], "<u4"), len(frame)]
    segments = change([frame[start:end] for start, end in itertools.pairwise(starts)])
    header = [len(segments), *(64 + sum(map(len, segments[:i])) for i in range(len(segments)))]
    frame = np.array([*header, *[0] * (16 - len(header))], "<u4").tobytes() + b"".join(segments)
    dataset.PixelData = pydicom.encaps.encapsulate([frame])
    dataset.save_as(path)
    return path.name, path.read_bytes()


def test_run_lengths_of_another_size_than_the_picture_are_refused(own_page, tmp_path):
    for change in (
        lambda segments: [segments[0], segments[1][:-8]],
        lambda segments: [segments[0][:-8], segments[1]],  # would go on in the next segment
        lambda segments: [segments[0]],
    ):
        assert give(own_page, run_lengths(tmp_path, change)).startswith("runs.dcm:")


def test_a_byte_that_says_nothing_among_run_lengths_changes_nothing(own_page, tmp_path):
    name, content = run_lengths(tmp_path, lambda segments: [b"\x80\x80" + one for one in segments])
    assert give(own_page, (name, content)).startswith("runs.dcm.")
    expected = read_pixels(read_series([tmp_path / name])).values
    assert np.array_equal(shown(own_page)["values"], expected.ravel())
