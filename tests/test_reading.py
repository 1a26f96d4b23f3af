"""The boundary where a file becomes values: whole, in its folder, not too large; or why not."""

import gzip
import io
import os
import shutil
import zlib

import nibabel
import nrrd
import numpy as np
import pytest
from cases import read_all
from PIL import Image

from medsam_utils import load_folder
from medsam_utils.book.doctor.examine import examine
from medsam_utils.case import BadCaseError
from medsam_utils.datasets.images import read_image, read_mask
from medsam_utils.datasets.nrrd_file import read_segments
from medsam_utils.datasets.reading import inflate, reading
from medsam_utils.datasets.volume_files import read_volume
from medsam_utils.fingerprint import case_fingerprints

VALUES = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
AFFINE = np.diag([-1.5, -2.0, 4.0, 1.0])
NRRD = {
    "space": "left-posterior-superior",
    "space directions": np.diag([1.5, 2.0, 4.0]),
    "space origin": np.zeros(3),
    "kinds": ["domain"] * 3,
}
METAIMAGE = (
    "NDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    "Offset = 0 0 0\nElementSpacing = 1.5 2 4\nElementDataFile = {}\n"
)
on_linux = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on Unix alone")


def pairs(root, count=2):
    """Two pictures with masks."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            values = np.pad(np.full((4, 4 + n), 255, np.uint8), 3)
            Image.fromarray(values).save(root / part / f"a{n}.png")
    return root


# ---------------------------------------------------------------------------------------------
# Errors


@pytest.mark.parametrize("error", [RuntimeError("x"), StopIteration(), RecursionError(), Warning()])
def test_whatever_a_parser_raises_names_the_file_and_is_the_cause(tmp_path, error):
    (tmp_path / "a.x").touch()
    fact = rf"a\.x: cannot be read \({type(error).__name__}\)"
    with pytest.raises(BadCaseError, match=fact) as caught, reading(tmp_path / "a.x"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
def test_what_is_no_fault_of_the_file_passes(tmp_path, error):
    (tmp_path / "a.x").touch()
    with pytest.raises(error), reading(tmp_path / "a.x"):
        raise error


# ---------------------------------------------------------------------------------------------
# Checksums


def packed_files(folder):
    """Files of every packed kind, each with where what is packed begins."""
    plain = nibabel.Nifti1Image(VALUES, AFFINE).to_bytes()
    (folder / "a.nii.gz").write_bytes(gzip.compress(plain))
    (folder / "b.nii.gz").write_bytes(gzip.compress(plain[:400]) + gzip.compress(plain[400:]))
    (folder / "c.mgz").write_bytes(gzip.compress(nibabel.MGHImage(VALUES, AFFINE).to_bytes()))
    for encoding in ("gzip", "bzip2"):
        nrrd.write(str(folder / f"{encoding}.nrrd"), VALUES, {**NRRD, "encoding": encoding})
    header = METAIMAGE.format("LOCAL").replace("NDims", "CompressedData = True\nNDims")
    (folder / "d.mha").write_bytes(header.encode() + zlib.compress(VALUES.tobytes("F")))
    starts = {".nrrd": b"\n\n", ".mha": b"LOCAL\n"}
    for path in sorted(folder.iterdir()):
        mark = starts.get(path.suffix, b"")
        yield path, path.read_bytes().index(mark) + len(mark)


def test_no_bit_of_what_is_packed_can_change_or_be_missing_unnoticed(tmp_path):
    for path, start in packed_files(tmp_path):
        content = path.read_bytes()
        for at in range(start, len(content), 3):
            damaged = bytearray(content)
            damaged[at] ^= 1 << at % 8
            for other in (bytes(damaged), content[:at]):
                path.write_bytes(other)
                try:
                    np.testing.assert_array_equal(read_volume(path).values, VALUES)
                except BadCaseError as error:
                    assert path.name in str(error)
        path.write_bytes(content)
        np.testing.assert_array_equal(read_volume(path).values, VALUES)


def test_an_end_that_is_missing_is_said(tmp_path):
    for path, _ in packed_files(tmp_path):
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(BadCaseError, match="its end is missing"):
            read_volume(path)


def test_padding_behind_a_packed_file_is_no_fault():
    assert inflate(gzip.compress(b"abcdef") + bytes(512), 4) == b"abcd"


def flat_files():
    """Pictures of the formats that have checksums."""
    values = np.random.default_rng(0).integers(0, 256, (9, 11)).astype(np.uint8)
    picture = Image.fromarray(values)
    for kind, options in (
        ("PNG", {}),
        ("PNG", {"pnginfo": _text()}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ):
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        yield kind, values, buffer.getvalue()


def _text():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", "drawn")
    return info


def test_no_bit_of_a_png_or_of_a_packed_strip_can_change_unnoticed(tmp_path):
    for kind, values, content in flat_files():
        path = tmp_path / f"a.{kind.lower()}"
        path.write_bytes(content)
        np.testing.assert_array_equal(read_mask(path), values)
        strip = range(8, 8 + values.size)  # of a TIFF its tags have no checksum
        for at in strip if kind == "TIFF" else range(len(content)):
            damaged = bytearray(content)
            damaged[at] ^= 1 << at % 8
            path.write_bytes(bytes(damaged))
            try:
                np.testing.assert_array_equal(read_mask(path), values)
            except BadCaseError as error:
                assert path.name in str(error)
            else:  # nothing is in the last part of a PNG
                assert kind == "TIFF" or at >= len(content) - 12


@pytest.mark.parametrize("suffix", ["pgm", "tif", "bmp", "gif", "webp", "jpg"])
def test_a_picture_that_is_cut_short_is_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    values = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    Image.fromarray(values).save(path)
    content, whole = path.read_bytes(), read_image(path)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        try:
            np.testing.assert_array_equal(read_image(path), whole)
        except BadCaseError as error:
            assert path.name in str(error)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadCaseError):
        read_image(path)


# ---------------------------------------------------------------------------------------------
# Where values may lie


def detached(root, kind, place):
    """Write an image whose values are in a file of this name, and a mask beside it."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.uint8(VALUES > 50), AFFINE), root / "masks/a.nii.gz")
    path = root / "images" / f"a.{kind}"
    if kind in ("mhd", "mha"):
        path.write_text(METAIMAGE.format(place))
    else:
        path.write_text(
            "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 5 6\n"
            "space directions: (1.5,0,0) (0,2,0) (0,0,4)\nspace origin: (0,0,0)\n"
            f"encoding: raw\ndata file: {place}\n"
        )
    return load_folder(root)


KINDS = pytest.mark.parametrize("kind", ["nhdr", "nrrd", "mhd", "mha"])


@KINDS
@pytest.mark.parametrize(
    "place", ["/etc/passwd", "../../secret.raw", "{root}/../secret.raw", "/dev/zero", "linked.raw"]
)
def test_values_outside_of_the_folder_are_not_read(tmp_path, kind, place):
    (tmp_path / "secret.raw").write_bytes(VALUES.tobytes("F"))
    root = tmp_path / "own"
    (root / "images").mkdir(parents=True)
    (root / "images/linked.raw").symlink_to(tmp_path / "secret.raw")
    cases, excluded = read_all(detached(root, kind, place.format(root=root)))
    assert not cases
    assert "in a file outside of the dataset's folder" in excluded[0]


@KINDS
@pytest.mark.parametrize("place", ["a.raw", "../values/a.raw", "{root}/values/a.raw", "linked.raw"])
def test_values_anywhere_in_the_folder_are_read(tmp_path, kind, place):
    for folder in (tmp_path / "images", tmp_path / "values"):
        folder.mkdir()
        (folder / "a.raw").write_bytes(VALUES.tobytes("F"))
    (tmp_path / "images/linked.raw").symlink_to(tmp_path / "values/a.raw")
    dataset = detached(tmp_path, kind, place.format(root=tmp_path))
    cases, excluded = read_all(dataset)
    assert cases and not excluded
    assert dataset.reader.grid(dataset.list().references[0]).shape == (4, 5, 6)
    assert examine(dataset).status in (0, 1)


@KINDS
def test_values_of_another_file_are_part_of_the_fingerprint(tmp_path, kind):
    for folder in (tmp_path / "images", tmp_path / "values"):
        folder.mkdir()
    values = tmp_path / "values/a.raw"
    values.write_bytes(VALUES.tobytes("F"))
    dataset = detached(tmp_path, kind, "../values/a.raw")
    (before,) = set(_fingerprints(dataset))
    state = values.stat()
    values.write_bytes(VALUES[::-1].tobytes("F"))
    os.utime(values, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert before not in _fingerprints(dataset)


def _fingerprints(dataset):
    references = dataset.list().references[:1]
    return list(case_fingerprints({}, dataset, references).values())


@on_linux
@KINDS
def test_values_in_a_pipe_are_not_waited_for(tmp_path, kind):
    (tmp_path / "images").mkdir()
    os.mkfifo(tmp_path / "images/a.raw")
    _, excluded = read_all(detached(tmp_path, kind, "a.raw"))
    assert "a.raw, which is no regular file" in excluded[0]


# ---------------------------------------------------------------------------------------------
# What is no regular file, and names that are no text


@on_linux
@pytest.mark.parametrize("part", ["images", "masks"])
@pytest.mark.parametrize("name", ["b.png", "b.dcm", "b.npy", "b", "a0.tif"])
@pytest.mark.parametrize("what", ["pipe", "device", "circle", "nothing"])
def test_what_is_no_file_is_told_and_the_others_are_read(tmp_path, part, name, what):
    odd = pairs(tmp_path) / part / name
    if what == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"device": "/dev/zero", "circle": name, "nothing": "no.png"}[what])
    dataset = load_folder(tmp_path)
    cases, _ = read_all(dataset)
    assert cases.keys() >= {"a1"}
    listing = dataset.list()
    told = {e.path for e in (*listing.exclusions, *listing.not_read)}
    told |= {file for e in listing.exclusions for file in e.files}
    assert f"{part}/{name}" in told


@on_linux
def test_a_pipe_in_a_case_is_the_reason(tmp_path):
    (pairs(tmp_path) / "images/a0.png").unlink()
    os.mkfifo(tmp_path / "images/a0.png")
    cases, excluded = read_all(load_folder(tmp_path))
    assert list(cases) == ["a1"]
    assert excluded == [
        "images/a0.png: no regular file (a pipe, a device or a folder): copy the file there"
    ]


@on_linux
def test_a_name_that_is_no_text_is_told_as_numbers(tmp_path):
    shutil.copy(pairs(tmp_path) / "images/a0.png", os.fsencode(tmp_path / "images") + b"/\xff.png")
    dataset = load_folder(tmp_path)
    assert len(read_all(dataset)[0]) == 2
    (left,) = dataset.list().not_read
    assert (left.path, left.fact) == ("images/\\xff.png", "its name is not UTF-8: rename it")
    left.reason.encode()


# ---------------------------------------------------------------------------------------------
# Memory


def _png_of(side):
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.nii.gz", "a.nrrd", "a.tif"])
def test_what_a_file_declares_is_held_against_a_limit_that_can_be_raised(
    tmp_path, name, monkeypatch
):
    monkeypatch.setattr("medsam_utils.machine.MAX_GIB", 1e-5)
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, np.ones((200, 200)))
    elif name == "a.nii.gz":
        nibabel.save(nibabel.Nifti1Image(np.ones((20, 20, 20), np.uint8), AFFINE), path)
    elif name == "a.nrrd":
        nrrd.write(str(path), np.ones((20, 20, 20), np.uint8), NRRD)
    else:
        Image.new("L", (200, 200)).save(path)
    read = read_volume if "n" in name[2:] and name not in ("a.npy", "a.png") else read_image
    with pytest.raises(BadCaseError, match=r"it declares .* GiB, .* set MEDSAM_MAX_GIB=1"):
        read(path)
    monkeypatch.setenv("MEDSAM_MAX_GIB", "1")
    read(path)


def test_inflating_stops_at_what_was_declared(tmp_path):
    plain = nibabel.Nifti1Image(VALUES, AFFINE).to_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(plain + bytes(80 << 20)))
    with pytest.raises(BadCaseError, match=r"a\.nii\.gz: cannot be read"):
        read_volume(path)


def test_a_reason_quotes_no_name_of_a_segment(tmp_path):
    header = {
        "space": "left-posterior-superior",
        "space directions": np.eye(3),
        "space origin": np.zeros(3),
        "kinds": ["domain"] * 3,
        "Segment0_Name": "DOE^JOHN",
    }
    path = tmp_path / "a.seg.nrrd"
    nrrd.write(str(path), np.ones((4, 4, 4), np.uint8), header)
    with pytest.raises(BadCaseError, match="segment 0 is not told") as caught:
        read_segments(path)
    assert "DOE" not in str(caught.value)
