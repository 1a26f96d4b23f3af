"""Damaged files that are read as cases: pictures, volumes, DICOM, tables, and what is no file."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import os
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import nibabel
import nrrd
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from medsam_utils.book.doctor.examine import examine
from medsam_utils.case import BadCaseError, BadInputError
from medsam_utils.datasets import ANY_VALUE, DATASETS, Dataset, load_folder
from medsam_utils.demo.phantoms.dicom_files import (
    middle_corner,
    save_segments,
    save_series,
    save_structures,
)
from medsam_utils.fingerprint import case_fingerprints

from .outcomes import Trial, damage

SHAPE = (12, 14)  # rows, columns of pictures
VOXELS = (6, 10, 9)  # slices, rows, columns of volumes
SPACING = (4.0, 2.0, 1.5)
BEGINNING = 0  # from here on a whole file is covered by checksums


class SilentError(Exception):
    """A file that is neither a case, nor left out, nor listed as not read."""


class StoppedError(Exception):
    """Good cases that are not read, or are read otherwise, because of another file."""


# ---------------------------------------------------------------------------------------------
# A folder is read as a user reads it


def contents(dataset: Dataset) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return what each case holds, and why files are left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        listing = dataset.list()
        case_fingerprints({}, dataset, listing.references)
        told = {name: e.fact for e in listing.exclusions for name in (e.path, *e.files)}
        told |= {e.path: e.fact for e in listing.not_read}
        cases = {}
        for reference in listing.references:
            try:
                views = list(dataset.views(reference))
            except BadCaseError as error:
                for path in dataset.files(reference):
                    told[dataset.relative(str(path))] = error.fact
                continue
            parts = [case.image.tobytes() for case in views]
            parts += [mask.tobytes() for case in views for mask in case.masks.values()]
            cases[reference.case_id] = repr(views[0].spacing).encode() + b"".join(parts)
    return cases, told


def read_beside(
    open_dataset: Callable[[], Dataset], whole: dict[str, bytes], name: str, cases: str
) -> dict[str, bytes]:
    """Return the cases of one file, after those of the others were found to be as they were.

    whole: all cases before the damage. name: of the damaged file; cases: how the ids of its cases
    begin. Raises BadInputError if it has none, and says why.
    """
    try:
        found, told = contents(open_dataset())
    except BadInputError as error:
        raise StoppedError(str(error)) from error
    for key, content in whole.items():
        if not key.startswith(cases) and found.get(key) != content:
            raise StoppedError(key)
    here = {key: content for key, content in found.items() if key.startswith(cases)}
    if not here:
        if not any(name.startswith(path) or path.startswith(name) for path in told):
            raise SilentError(name)
        raise BadInputError(told.get(name, ""))
    return here


def area(
    rng: np.random.Generator,
    folder: Path,
    make: Callable[[Path], tuple[Callable[[], Dataset], list[tuple[str, Path, str, str, int]]]],
    hostile: Callable[[np.random.Generator, str, bytes], bytes] | None = None,
) -> Iterator[Trial]:
    """Yield trials of a folder's files, one damaged at a time.

    make: writes the folder; returns what opens it, and of each file that is damaged its kind, path,
    name below the dataset's folder, how its cases begin, and from which byte on checksums cover it
    (-1: nowhere). hostile: another way to damage a file of a kind.
    """
    shutil.rmtree(folder, ignore_errors=True)
    open_dataset, files = make(folder)
    whole, told = contents(open_dataset())
    assert whole and not told, told
    for kind, path, _, cases, _ in files:
        assert any(key.startswith(cases) for key in whole), (kind, path, cases)
    while True:
        kind, path, name, cases, start = files[rng.integers(len(files))]
        content = path.read_bytes()
        if hostile and rng.random() < 0.3:
            how, damaged = "hostile", hostile(rng, kind, content)
        else:
            at = start if start > 0 and rng.random() < 0.8 else 0
            how, damaged = damage(content[at:], rng)
            damaged = content[:at] + damaged
            # What no checksum covers can change unnoticed, but for an end that is missing.
            is_covered = start >= 0 and at >= start
            how = "" if is_covered else "cut" if how == "cut" else "no checksum"
        expected = {key: value for key, value in whole.items() if key.startswith(cases)}

        def read(
            path: Path = path,
            damaged: bytes = damaged,
            content: bytes = content,
            name: str = name,
            cases: str = cases,
        ) -> dict[str, bytes]:
            path.write_bytes(damaged)
            try:
                return read_beside(open_dataset, whole, name, cases)
            finally:
                path.write_bytes(content)

        yield f"{kind} {how}".strip(), read, lambda found, expected=expected: found == expected


def in_turn(
    kinds: list, rng: np.random.Generator, folder: Path, make: Callable, hostile: Callable
) -> Iterator[Trial]:
    """Yield trials of several folders in turn, each of which holds a few kinds of files.

    make: as of `area`, with the kinds that the folder is to hold.
    """
    areas = [
        area(rng, folder / str(first), partial(make, chosen=kinds[first : first + 3]), hostile)
        for first in range(0, len(kinds), 3)
    ]
    while True:
        yield from map(next, areas)


# ---------------------------------------------------------------------------------------------
# Arrays


def arrays(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """Files of arrays: image and labels in one file, or in two."""

    def make(place: Path) -> tuple[Callable[[], Dataset], list]:
        files: list[tuple[str, Path, str, str, int]] = []
        for key, shape in (("flat", SHAPE), ("volume", VOXELS), ("two", SHAPE)):
            image, labels = _drawn(len(files), shape)
            values = {"imgs": image.astype(np.uint8), "gts": labels.astype(np.uint8)}
            parts = {f"{key}.npz": values}
            if key == "two":
                parts = {f"{name}/two.npz": {name: array} for name, array in values.items()}
            for name, written in parts.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (np.savez if key == "flat" else np.savez_compressed)(place / name, **written)
                files.append((f"npz {key}", place / name, name, key, BEGINNING))
        return lambda: load_folder(place), files

    return area(rng, folder / "arrays", make)


# ---------------------------------------------------------------------------------------------
# Pictures


def _drawn(seed: int, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Return noise, 0..255, and a block of ones."""
    values = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[(slice(2, -3),) * len(shape)] = 1
    return values, mask


def _tiff(values: np.ndarray, compression: str | None) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", compression=compression)
    return buffer.getvalue()


def _pillow(kind: str, **options: Any) -> Callable[[np.ndarray], bytes]:
    def encode(values: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        picture = Image.fromarray(values)
        if options.get("palette"):
            picture = picture.convert("P")
        kept = {name: value for name, value in options.items() if name != "palette"}
        picture.save(buffer, kind, **kept)
        return buffer.getvalue()

    return encode


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def _opencv(suffix: str, values: np.ndarray) -> bytes:
    return cv2.imencode(suffix, values)[1].tobytes()


def _radiograph(values: np.ndarray, folder: Path) -> bytes:
    """A DICOM file of one picture."""
    save_series(folder, ["x.dcm"], values[np.newaxis], SPACING, "1.2.3")
    content = (folder / "x.dcm").read_bytes()
    shutil.rmtree(folder)
    return content


def pictures(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """Pictures and their masks in every flat format."""

    wide = {"png": lambda v: _opencv(".png", v.astype(np.uint16) * 100)}
    encoders: dict[str, tuple[str, Callable[[np.ndarray], bytes], int]] = {
        "png": ("png", _pillow("PNG"), BEGINNING),
        "png palette": ("png", _pillow("PNG", palette=True), BEGINNING),
        "png 16 bits": ("png", wide["png"], BEGINNING),
        "png colours 16 bits": (
            "png",
            lambda v: _opencv(".png", np.dstack([v, v[::-1], v]).astype(np.uint16) * 100),
            BEGINNING,
        ),
        "jpeg": ("jpg", _pillow("JPEG", quality=95), -1),
        "jpeg progressive": ("jpg", _pillow("JPEG", quality=95, progressive=True), -1),
        "bmp": ("bmp", _pillow("BMP"), -1),
        "gif": ("gif", _pillow("GIF"), -1),
        "webp": ("webp", _pillow("WEBP", lossless=True), -1),
        "webp lossy": ("webp", _pillow("WEBP"), -1),
        "pgm": ("pgm", _pillow("PPM"), -1),
        "pgm text": (
            "pgm",
            lambda v: (
                b"P2\n%d %d\n255\n" % v.shape[::-1]
                + b"\n".join(b" ".join(b"%d" % x for x in row) for row in v.tolist())
                + b"\n"
            ),
            -1,
        ),
        "npy": ("npy", _npy, -1),
        "npy floats": ("npy", lambda v: _npy(v.astype(np.float32)), -1),
        "tiff": ("tif", lambda v: _tiff(v, None), -1),
        "tiff lzw": ("tif", lambda v: _tiff(v, "tiff_lzw"), -1),
        "tiff deflate": ("tif", lambda v: _tiff(v, "tiff_adobe_deflate"), -1),
        "tiff 16 bits": ("tif", lambda v: _tiff(v.astype(np.uint16) * 100, None), -1),
        "tiff floats": ("tif", lambda v: _tiff(v.astype(np.float32), None), -1),
        "tiff doubles": ("tif", lambda v: _opencv(".tiff", v.astype(np.float64)), -1),
    }

    def make(folder: Path, chosen: list) -> tuple[Callable[[], Dataset], list]:
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        files = []
        for n, (kind, (suffix, encode, start)) in enumerate(chosen):
            values, mask = _drawn(n)
            key = f"a{n:02d}"
            image = folder / f"images/{key}.{suffix}"
            image.write_bytes(encode(values))
            is_exact = kind.split()[0] not in ("jpeg", "webp", "gif") and "colours" not in kind
            is_exact &= "16" not in kind and "palette" not in kind
            name = f"{key}.{suffix}" if is_exact else f"{key}.png"
            content = encode(mask) if is_exact else _pillow("PNG")(mask)
            (folder / "masks" / name).write_bytes(content)
            files.append((kind, image, f"images/{image.name}", key, start))
            if is_exact:
                mask_path = folder / "masks" / name
                files.append((f"{kind} mask", mask_path, f"masks/{name}", key, start))
        return lambda: load_folder(folder, classes={"thing": 1}), files

    return in_turn(list(encoders.items()), rng, folder, make, hostile_picture)


def radiographs(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """DICOM files of one picture each, with flat masks."""

    def make(folder: Path) -> tuple[Callable[[], Dataset], list]:
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        files = []
        for n in range(3):
            values, mask = _drawn(n)
            path = folder / f"images/r{n}.dcm"
            path.write_bytes(_radiograph(values, folder / "x"))
            (folder / f"masks/r{n}.png").write_bytes(_pillow("PNG")(mask))
            files.append(("dicom", path, f"images/{path.name}", f"r{n}", -1))
        return lambda: load_folder(folder, classes={"thing": 1}), files

    return area(rng, folder, make, hostile_picture)


def hostile_picture(rng: np.random.Generator, kind: str, content: bytes) -> bytes:
    """Return a picture with a header that no program writes."""
    big = int(rng.choice([0, 1, 20_000, 60_000, 2**31 - 1, 2**32 - 1]))
    if kind.startswith("png"):
        header = bytearray(content[12:29])
        place = int(rng.choice([4, 8, 12, 13, 14]))
        header[place : place + (4 if place < 12 else 1)] = (
            struct.pack(">I", big) if place < 12 else rng.bytes(1)
        )
        return content[:12] + bytes(header) + struct.pack(">I", zlib.crc32(header)) + content[33:]
    if kind.startswith("npy"):
        texts = [
            f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({big}, {big}), }}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (True, True), }",
            "{'descr': '|O', 'fortran_order': False, 'shape': (3, 3), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (-3, -3), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (3.5, 3), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1e400, 3), }",
            "{'descr': [('a', '<f4'), ('b', '<i2')], 'fortran_order': False, 'shape': (3, 3), }",
            "{'descr': '|S5', 'fortran_order': False, 'shape': (3, 3), }",
            "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (3, 3), }",
            "{'descr': '|u1', 'fortran_order': 7, 'shape': (3, 3), }",
            "{'descr': '|u1', 'shape': (3, 3), }",
            "{'shape': (" + "(" * 3000 + ")" * 3000 + ")}",
            "\x00'''",
            "(" * int(rng.integers(1, 9000)),
            "__import__('os').getpid()",
            "{'descr': '|u1', 'fortran_order': False, 'shape': " + "9" * 5000 + ", }",
        ]
        text = str(rng.choice(texts)).encode("latin-1")
        if rng.random() < 0.1:
            buffer = io.BytesIO()
            np.savez(buffer, a=np.zeros(3))
            return buffer.getvalue()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) % 65536) + text + content[-50:]
    if kind.startswith("tiff"):
        return hostile_tiff(rng, content)
    if kind.startswith("pgm"):
        sizes = f"{big} {big if rng.random() < 0.5 else 3}\n{rng.integers(-1, 70000)}\n"
        return content[:2] + b"\n" + sizes.encode() + content[20:]
    if kind.startswith("bmp"):
        place = int(rng.choice([10, 14, 18, 22, 28, 30, 34, 46]))
        return content[:place] + struct.pack("<I", big) + content[place + 4 :]
    if kind.startswith("dicom"):
        return hostile_dicom(rng, content)
    place = int(rng.integers(len(content)))
    return content[:place] + rng.bytes(8) + content[place + 8 :]


def hostile_tiff(rng: np.random.Generator, content: bytes) -> bytes:
    """Return a TIFF in which one tag has another type, number or value."""
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack(order + "I", content[4:8])
    (count,) = struct.unpack(order + "H", content[start : start + 2])
    place = start + 2 + 12 * int(rng.integers(count))
    tag, kind, number, value = struct.unpack(order + "HHII", content[place : place + 12])
    which = rng.integers(5)
    if which == 0:
        kind = int(rng.integers(0, 19))
    elif which == 1:
        number = int(rng.choice([0, 2, 1000, 2**31, 2**32 - 1]))
    elif which == 2:
        value = int(rng.choice([0, 1, 2, 60_000, 2**31, 2**32 - 1]))
    elif which == 3:  # the list of directories runs in a circle
        return content[: start + 2 + 12 * count] + struct.pack(order + "I", start)
    else:
        tag = int(
            rng.choice([256, 257, 258, 259, 262, 273, 277, 278, 279, 317, 322, 324, 338, 339])
        )
    entry = struct.pack(order + "HHII", tag, kind, number, value)
    return content[:place] + entry + content[place + 12 :]


# ---------------------------------------------------------------------------------------------
# Volumes

_NRRD = {
    "space": "left-posterior-superior",
    "space directions": np.diag(SPACING[::-1]),
    "space origin": np.zeros(3),
    "kinds": ["domain"] * 3,
}


def _nifti(values: np.ndarray, kind: str, folder: Path) -> bytes:
    affine = np.diag([-1.5, -2.0, 4.0, 1.0])
    if kind == "nii2":
        return nibabel.Nifti2Image(values, affine).to_bytes()
    if kind == "mgz":
        return gzip.compress(nibabel.MGHImage(values, affine).to_bytes(), mtime=0)
    if kind == "mgh":
        return nibabel.MGHImage(values, affine).to_bytes()
    plain = nibabel.Nifti1Image(values, affine).to_bytes()
    if kind == "nii.gz":
        return gzip.compress(plain, mtime=0)
    if kind == "nii.gz members":
        return gzip.compress(plain[:500], mtime=0) + gzip.compress(plain[500:], mtime=0)
    return plain


def _nrrd(values: np.ndarray, encoding: str, path: Path, detached: bool = False) -> None:
    header = {**_NRRD, "encoding": encoding}
    nrrd.write(str(path), values, header, detached_header=detached)


def _metaimage(values: np.ndarray, path: Path, packed: bool) -> None:
    data = values.tobytes("F")
    data = zlib.compress(data) if packed else data
    place = "LOCAL" if path.suffix == ".mha" else f"{path.stem}.zraw"
    lines = {
        "ObjectType": "Image", "NDims": 3, "BinaryData": True, "BinaryDataByteOrderMSB": False,
        "CompressedData": packed, "CompressedDataSize": len(data),
        "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0",
        "ElementSpacing": "1.5 2 4", "DimSize": " ".join(map(str, values.shape)),
        "ElementType": {"u1": "MET_UCHAR", "i2": "MET_SHORT"}[values.dtype.str[1:]],
        "ElementDataFile": place,
    }  # fmt: skip
    text = "".join(f"{name} = {value}\n" for name, value in lines.items()).encode()
    path.write_bytes(text + (data if place == "LOCAL" else b""))
    if place != "LOCAL":
        path.with_name(place).write_bytes(data)


def volumes(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """Volumes and their masks in every format, detached ones too."""

    kinds = [
        *("nii", "nii2", "nii.gz", "nii.gz members", "mgz", "mgh", "hdr", "nrrd raw"),
        *(
            "nrrd gzip",
            "nrrd bzip2",
            "nrrd ascii",
            "nhdr gzip",
            "nhdr raw",
            "mha",
            "mha packed",
        ),
        *("mhd", "mhd packed", "seg.nrrd"),
    ]

    def make(folder: Path, chosen: list) -> tuple[Callable[[], Dataset], list]:
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        files = []
        for n, kind in enumerate(chosen):
            image, mask = _drawn(n, VOXELS[::-1])
            for where, values in (("images", image.astype(np.int16)), ("masks", mask)):
                key = f"v{n:02d}"
                made = _write_volume(folder / where, key, kind, values)
                is_mask = where == "masks"
                for path, start in made:
                    label = f"{kind} {path.suffix}{' mask' if is_mask else ''}"
                    files.append((label, path, f"{where}/{path.name}", key, start))
        return lambda: load_folder(folder, classes={"thing": 1}), files

    return in_turn(kinds, rng, folder, make, hostile_volume)


def _write_volume(place: Path, key: str, kind: str, values: np.ndarray) -> list[tuple[Path, int]]:
    """Write a volume; return its files, each with where checksums begin."""
    name, _, how = kind.partition(" ")
    if name in ("nii", "nii2", "nii.gz", "mgz", "mgh"):
        path = place / f"{key}.{'nii' if name == 'nii2' else name}"
        path.write_bytes(_nifti(values, kind, place))
        return [(path, 10 if name in ("nii.gz", "mgz") else -1)]
    if name == "hdr":
        path = place / f"{key}.hdr"
        nibabel.save(nibabel.Nifti1Pair(values, np.diag([-1.5, -2.0, 4.0, 1.0])), path)
        return [(path, -1), (path.with_suffix(".img"), -1)]
    if name == "seg.nrrd":
        if values.dtype == np.int16:
            return _write_volume(place, key, "nrrd gzip", values)
        path = place / f"{key}.seg.nrrd"
        header = {"Segment0_Name": "thing", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
        nrrd.write(str(path), values, {**_NRRD, "encoding": "gzip", **header})
        return [(path, path.read_bytes().index(b"\n\n") + 12)]
    if name in ("nrrd", "nhdr"):
        path = place / f"{key}.{name}"
        _nrrd(values, how, path, detached=name == "nhdr")
        is_packed = how in ("gzip", "bzip2")
        if name == "nhdr":
            (other,) = (p for p in place.glob(f"{key}.*") if p != path)
            return [(path, -1), (other, 10 if is_packed else -1)]
        after = path.read_bytes().index(b"\n\n") + (12 if how == "gzip" else 2)
        return [(path, after if is_packed else -1)]
    path = place / f"{key}.{name}"
    _metaimage(values, path, packed=how == "packed")
    if name == "mhd":
        return [(path, -1), (path.with_suffix(".zraw"), 0 if how else -1)]
    content = path.read_bytes()
    return [(path, content.index(b"LOCAL\n") + 6 if how else -1)]


def hostile_volume(rng: np.random.Generator, kind: str, content: bytes) -> bytes:
    """Return a volume with a header that no program writes."""
    odd = ["inf", "nan", "1e30", "-1", "0", "99999999999999999999", "", "x", "1" * 5000, "\0"]
    if kind.startswith(("nii", "mgz", "mgh", "hdr .hdr")):
        packed = content[:2] == b"\x1f\x8b"
        plain = bytearray(gzip.decompress(content) if packed else content)
        fields: list[tuple[int, str]]
        if kind.startswith("nii2"):
            fields = [
                (16, "q"),
                (24, "q"),
                (32, "q"),
                (168, "q"),
                (112, "d"),
                (104, "d"),
                (12, "h"),
            ]
        elif kind.startswith(("mgz", "mgh")):
            fields = [
                (0, ">i"),
                (4, ">i"),
                (8, ">i"),
                (16, ">i"),
                (20, ">i"),
                (30, ">f"),
                (42, ">f"),
            ]
        else:
            fields = [(40, "h"), (42, "h"), (44, "h"), (46, "h"), (108, "f"), (70, "h"), (72, "h")]
            fields += [(76, "f"), (80, "f"), (112, "f"), (116, "f"), (252, "h"), (254, "h")]
            fields += [(256, "f"), (260, "f"), (280, "f"), (344, "f"), (0, "i"), (38, "h")]
        place, code = fields[rng.integers(len(fields))]
        if code[-1] in "fd":
            value: Any = float(rng.choice([np.inf, -np.inf, np.nan, 1e30, -1, 0, 352.5, 1e9]))
        else:
            size = 8 * struct.calcsize("=" + code[-1]) - 1
            value = int(rng.choice([-(2**size), 2**size - 1, -1, 0, 1, 2, 7, 8, 1000, 32767]))
        struct.pack_into(code if code[0] == ">" else "<" + code, plain, place, value)
        return gzip.compress(bytes(plain), mtime=0) if packed else bytes(plain)
    head, separator, rest = content.partition(b"\n\n" if content[:4] == b"NRRD" else b"LOCAL\n")
    if any(f" {end}" in kind for end in (".raw", ".gz", ".bz2", ".zraw", ".img")):
        return rng.bytes(50)
    lines = head.split(b"\n")
    at = int(rng.integers(1, len(lines)))
    name, mark, _ = lines[at].partition(b"=" if b"=" in lines[at] else b":")
    places = [
        "/etc/passwd",
        "/dev/zero",
        "../../../../etc/passwd",
        "/dev/stdin",
        "LIST",
        "%d 1 9 1",
    ]
    if b"ile" in name or rng.random() < 0.2:
        lines[at] = (b"data file: " if separator == b"\n\n" else b"ElementDataFile = ") + str(
            rng.choice(places)
        ).encode()
    else:
        lines[at] = name + mark + b" " + " ".join(rng.choice(odd, rng.integers(1, 4))).encode()
    return b"\n".join(lines) + separator + rest


# ---------------------------------------------------------------------------------------------
# DICOM


def _series(place: Path, key: str, values: np.ndarray, how: str) -> list[Path]:
    """Write a series, plain, deflated or compressed."""
    names = [f"{n}.dcm" for n in range(len(values))]
    uid = f"1.2.3.{int(key.strip('s')) + 1}"
    save_series(place / key, names, values, SPACING, uid, frame=uid + ".9")
    paths = [place / key / name for name in names]
    for path in paths:
        dataset = pydicom.dcmread(path)
        if how == "deflated":
            dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        elif how in ("rle", "jpeg 2000"):
            with contextlib.suppress(RuntimeError, NotImplementedError):
                dataset.compress(RLELossless if how == "rle" else JPEG2000Lossless)
        elif how == "baseline":
            picture = _pillow("JPEG", quality=95)(dataset.pixel_array)
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
            dataset.PixelData = encapsulate([picture])
            dataset["PixelData"].VR = "OB"
        dataset.save_as(path, enforce_file_format=True)
    return paths


def save_seg(path: Path, paths: list[Path], mask: np.ndarray) -> None:
    """Write a DICOM segmentation of one segment on the slices of a series."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3.77"
    dataset.Modality, dataset.SegmentationType = "SEG", "BINARY"
    dataset.Rows, dataset.Columns = mask.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.NumberOfFrames = len(paths)
    segment = pydicom.Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "thing"
    dataset.SegmentSequence = [segment]
    groups = []
    for source in paths:
        header = pydicom.dcmread(source, stop_before_pixels=True)
        group, plane, turn, measure, segment_of = (pydicom.Dataset() for _ in range(5))
        plane.ImagePositionPatient = header.ImagePositionPatient
        turn.ImageOrientationPatient = header.ImageOrientationPatient
        measure.PixelSpacing = header.PixelSpacing
        segment_of.ReferencedSegmentNumber = 1
        group.PlanePositionSequence, group.PlaneOrientationSequence = [plane], [turn]
        group.PixelMeasuresSequence = [measure]
        group.SegmentIdentificationSequence = [segment_of]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.PixelData = np.packbits(mask.astype(bool).ravel(), bitorder="little").tobytes()
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)


def _contours(mask: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the corners of the block in each slice, in voxels: slice, N x (row, column)."""
    found = []
    for index, here in enumerate(mask):
        if here.any():
            rows, columns = np.nonzero(here)
            (top, left), (bottom, right) = (
                (rows.min() - 0.4, columns.min() - 0.4),
                (rows.max() + 0.4, columns.max() + 0.4),
            )
            corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
            found.append((index, np.array(corners)))
    return found


def save_contours(path: Path, paths: list[Path], mask: np.ndarray, name: str = "thing") -> None:
    """Write a structure set of one region on a series."""
    headers = [pydicom.dcmread(source, stop_before_pixels=True) for source in paths]
    corner = np.array(middle_corner(mask.shape, SPACING))
    contours = [
        (
            corner + np.column_stack([p[:, 1] * 1.5, p[:, 0] * 2, np.full(len(p), k * 4.0)]),
            headers[k].SOPInstanceUID,
        )
        for k, p in _contours(mask)
    ]
    first = headers[0]
    save_structures(
        path,
        "1.2.3.88",
        first.StudyInstanceUID,
        first.FrameOfReferenceUID,
        first.SeriesInstanceUID,
        [(name, contours)],
    )


def series(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """DICOM series, plain and compressed, with NIfTI, SEG and RTSTRUCT as masks."""

    hows = [
        "plain",
        "deflated",
        "rle",
        "jpeg 2000",
        "baseline",
        "plain",
        "deflated",
        "rle",
        "plain",
    ]
    kinds = [(how, ("seg", "rtstruct", "nii.gz")[n // 3]) for n, how in enumerate(hows)]

    def make(folder: Path, chosen: list) -> tuple[Callable[[], Dataset], list]:
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        files = []
        for n, (how, what) in enumerate(chosen):
            image, mask = _drawn(n, VOXELS)
            key = f"s{n}"
            paths = _series(folder / "images", key, image, how)
            target = folder / "masks" / f"{key}.dcm"
            if what == "seg":
                save_seg(target, paths, mask)
            elif what == "rtstruct":
                save_contours(target, paths, mask)
            else:
                target = target.with_suffix(".nii.gz")
                values = np.ascontiguousarray(mask.transpose(2, 1, 0))
                corner = middle_corner(VOXELS, SPACING) * np.array([-1, -1, 1])
                affine = np.diag([-1.5, -2.0, 4.0, 1.0])
                affine[:3, 3] = corner
                nibabel.save(nibabel.Nifti1Image(values, affine), target)
            start = 10 if what == "nii.gz" else -1
            files.append((f"{what} mask", target, f"masks/{target.name}", key, start))
            kind = f"dicom {how}"
            files += [(kind, path, f"images/{key}/{path.name}", key, -1) for path in paths[:2]]
        return lambda: load_folder(folder, classes={"thing": ANY_VALUE}), files

    return in_turn(kinds, rng, folder, make, hostile_dicom_of)


def hostile_dicom_of(rng: np.random.Generator, kind: str, content: bytes) -> bytes:
    """Return a file of a series with attributes that no program writes."""
    if kind.startswith("nii"):
        return hostile_volume(rng, "nii.gz .gz", content)
    return hostile_dicom(rng, content)


def hostile_dicom(rng: np.random.Generator, content: bytes) -> bytes:
    """Return a DICOM file in which one attribute has another value."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    elements = [e for e in dataset.iterall() if e.tag.group >= 8]
    element = elements[rng.integers(len(elements))]
    odd: list[Any] = [
        "inf",
        "nan",
        "1e400",
        "-1",
        "",
        "x",
        "9" * 60,
        "1\\2\\3\\4\\5\\6\\7",
        "\udce9",
    ]
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        if element.VR in ("US", "SS", "UL", "SL"):
            element.value = int(rng.choice([0, 1, 3, 12, 20_000, 65_535]))
        elif element.VR in ("DS", "IS"):
            text = str(rng.choice(odd[:-1])).encode()
            raw = content.replace(_packed(element), _packed(element, text), 1)
            if raw != content:
                return raw
        elif element.VR == "SQ":
            element.value = []
        elif element.VR in ("OB", "OW"):
            element.value = bytes(element.value)[: rng.integers(len(element.value))]
        else:
            element.value = str(rng.choice(odd[:-1]))
        if rng.random() < 0.2:
            del dataset[element.tag]
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=False)
        return buffer.getvalue()
    return content[: rng.integers(len(content))]


def _packed(element: pydicom.DataElement, text: bytes | None = None) -> bytes:
    """Return an element as it stands in a file of explicit kinds; text: in place of its value."""
    if text is None:
        values = element.value if element.VM > 1 else [element.value]
        text = "\\".join(str(getattr(v, "original_string", v)) for v in values).encode()
    text += b" " * (len(text) % 2)
    head = struct.pack("<HH", element.tag.group, element.tag.element) + element.VR.encode()
    return head + struct.pack("<H", len(text)) + text


# ---------------------------------------------------------------------------------------------
# Datasets of the study, whose readers list by themselves


def entries(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """Files of the entries that are read as DICOM, with structure sets, segments and a table."""

    def make_one(folder: Path, name: str) -> tuple[Callable[[], Dataset], list]:
        files = []
        for n in range(3):
            image, mask = _drawn(n, VOXELS)
            if name == "pet_liver":
                place, key = folder, f"p{n}"
                names = [f"{i}.dcm" for i in range(len(image))]
                uid = f"1.2.3.{n + 1}"
                save_series(
                    place / key, names, image, SPACING, uid, modality="PT", frame=uid + ".9"
                )
                paths = [place / key / x for x in names]
                target = place / key / "RS.dcm"
                save_contours(target, paths, mask, "tumor")
                chosen = [("rtstruct", target), ("series", paths[0])]
            elif name == "mri_prostate_i2cvb":
                key = f"GE/Patient {n + 1}"
                names = [f"{i}.dcm" for i in range(len(image))]
                save_series(folder / key / "T2W", names, image, SPACING, f"1.2.3.{n + 1}")
                place = folder / key / "GT" / "prostate"
                save_series(place, names, mask * np.uint8(255), SPACING, f"1.2.4.{n + 1}")
                chosen = [("mask series", place / "1.dcm"), ("series", folder / key / "T2W/1.dcm")]
            else:
                key = f"Breast_MRI_{n + 1:03d}"
                uid = f"1.2.3.{n + 1}"
                place = folder / "Duke-Breast-Cancer-MRI" / key / "study" / uid
                names = [f"1-{i:02d}.dcm" for i in range(len(image))]
                save_series(place, names, image, SPACING, uid, description="ax pre")
                masks = folder / "PKG - Duke-Breast-Cancer-MRI-Supplement-v3" / key
                made = []
                for what in ("Breast", "Dense_and_Vessels"):
                    path = masks / f"Segmentation_{key}_{what}.seg.nrrd"
                    segment = "dense" if what[0] == "D" else "breast"
                    header = {"Segment0_Name": segment, "Segment0_LabelValue": "1"}
                    save_segments(path, [mask], SPACING, header)
                    made.append(path)
                chosen = [("seg.nrrd", made[0]), ("series", place / "1-01.dcm")]
            prefix = key
            files += [
                (f"{name} {kind}", path, path.relative_to(folder).as_posix(), prefix, -1)
                for kind, path in chosen
            ]
        entry = DATASETS[name]
        within = tuple(f for f in entry.folders if (folder / f).is_dir())
        from dataclasses import replace

        return lambda: replace(entry, root=folder, within=within), files

    areas = [
        area(
            rng,
            folder / name,
            lambda place, name=name: make_one(place, name),
            lambda rng, kind, content: (
                hostile_volume(rng, "seg.nrrd .nrrd", content)
                if content[:4] == b"NRRD"
                else hostile_dicom(rng, content)
            ),
        )
        for name in ("pet_liver", "mri_prostate_i2cvb", "mri_breast")
    ]
    while True:
        yield from (next(one) for one in areas)


def tables(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """The table of the breast dataset: the series that it names, or an error that names it."""
    image, mask = _drawn(0, VOXELS)
    key, uid = "Breast_MRI_001", "1.2.3.1"
    place = folder / "Duke-Breast-Cancer-MRI" / key / "study" / uid
    names = [f"1-{i:02d}.dcm" for i in range(len(image))]
    save_series(place, names, image, SPACING, uid, description="ax pre")
    masks = folder / "PKG - Duke-Breast-Cancer-MRI-Supplement-v3" / key
    for what, segment in (("Breast", "breast"), ("Dense_and_Vessels", "dense")):
        header = {"Segment0_Name": segment, "Segment0_LabelValue": "1"}
        path = masks / f"Segmentation_{key}_{what}.seg.nrrd"
        save_segments(path, [mask], SPACING, header)
    text = "original_path_and_filename,classic_path\n" + "\n".join(
        f"DICOM_Images/{key}/pre/{n},Duke/{key}/study/{uid}/{n}" for n in names
    )
    table = folder / "Breast-Cancer-MRI-filepath_filename-mapping.csv"
    entry = DATASETS["mri_breast"]
    from dataclasses import replace

    dataset = replace(entry, root=folder, within=entry.folders)
    while True:
        content = damage(text.encode(), rng)[1]
        if rng.random() < 0.3:
            odd = [b"\xff\xfe", b'"', b"\0", b'"' + b"x" * 200_000, b"original_path_and_filename"]
            content = odd[rng.integers(len(odd))] + content

        def read(content: bytes = content) -> dict[str, bytes]:
            table.write_bytes(content)
            return contents(dataset)[0]

        yield "no checksum", read, lambda found: True


# ---------------------------------------------------------------------------------------------
# What is no file, or lies elsewhere; what the doctor says


def oddities(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """Pipes, devices, links in circles, folders, and names that are no text, beside good cases."""
    made = []
    for n in range(3):
        values, mask = _drawn(n)
        for where, content in (("images", values), ("masks", mask)):
            path = folder / where / f"a{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_pillow("PNG")(content))
            made.append(path)

    def open_dataset() -> Dataset:
        return load_folder(folder, classes={"thing": 1})

    whole = contents(open_dataset())[0]
    suffixes = ["png", "npy", "tif", "dcm", "nii.gz", "mhd", "", "jpg", "json", "csv"]
    while True:
        where = str(rng.choice(["images", "masks"]))
        stem = str(
            rng.choice(["b", "a1", "c d", "\udcff\udcfe", "x" * 200, "é", "\n", "a;b", "..x"])
        )
        name = f"{stem}.{rng.choice(suffixes)}".rstrip(".")
        odd = folder / where / name
        kind = str(
            rng.choice(["pipe", "device", "circle", "nothing", "outside", "folder", "json", "name"])
        )

        def read(odd: Path = odd, kind: str = kind, name: str = f"{where}/{name}") -> bool:
            kept = odd.read_bytes() if odd.exists() else None
            odd.unlink(missing_ok=True)
            try:
                if kind == "pipe":
                    os.mkfifo(odd)
                elif kind == "device":
                    odd.symlink_to("/dev/zero")
                elif kind == "circle":
                    odd.symlink_to(odd.name)
                elif kind == "nothing":
                    odd.symlink_to("nowhere.png")
                elif kind == "outside":
                    odd.symlink_to("/etc/passwd")
                elif kind == "folder":
                    odd.mkdir()
                    (odd / "inner.png").write_bytes(b"")
                elif kind == "json":
                    odd.write_text(json.dumps({"images": [{"file_name": "/etc/passwd"}]}))
                else:
                    odd.write_bytes(b"\x89PNG\r\n\x1a\n")
                try:
                    found, told = contents(open_dataset())
                except BadInputError as error:
                    raise StoppedError(str(error)) from error
                cases = {odd.stem.split(".")[0]}
                if any(found.get(k) != v for k, v in whole.items() if k not in cases):
                    raise StoppedError(str(told))
                shown = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
                if not any(path.startswith(shown) for path in told):
                    raise SilentError(shown)
            finally:
                if odd.is_dir() and not odd.is_symlink():
                    shutil.rmtree(odd)
                else:
                    odd.unlink(missing_ok=True)
                if kept is not None:
                    odd.write_bytes(kept)
            return True

        yield kind, read, lambda found: found is True


def doctor(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """The doctor over damaged files: findings that name each, never an exception."""
    for trial in zip(
        pictures(rng, folder / "pictures"), volumes(rng, folder / "volumes"), strict=True
    ):
        for (_, read, _), place in zip(trial, ("pictures", "volumes"), strict=True):
            path, damaged = read.__defaults__[:2]

            def look(path: Path = path, damaged: bytes = damaged, place: str = place) -> bool:
                content = path.read_bytes()
                path.write_bytes(damaged)
                try:
                    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                        warnings.simplefilter("ignore")
                        examine(load_folder(path.parents[1], classes={"thing": 1})).text().encode()
                finally:
                    path.write_bytes(content)
                return True

            yield place, look, lambda found: found is True


def bombs(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """Small files that hold gigabytes, or say so."""
    large = int(6e9)
    zeros = bytes(1 << 20)

    def deflated(wbits: int, head: bytes) -> bytes:
        """Return what inflates to gigabytes; its checksum is wrong."""
        packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
        start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
        block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
        return start + block * (large >> 20) + packer.flush()

    side = int(large**0.5)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((6, 10, 9))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    small = header.binaryblock + b"\0" * 4
    header.set_data_shape((1800, 1800, 1800))
    declared = header.binaryblock + b"\0" * 4
    text = "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: {}\n"
    text += "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nencoding: {}\n\n"
    body = deflated(31, b"")
    packed_bz2 = bz2.compress(bytes(45_000_000)) * (large // 45_000_000)
    chunk = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    idat = deflated(15, b"")

    def part(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    png = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", chunk) + part(b"IDAT", idat) + part(b"IEND", b"")
    save_series(folder, ["x.dcm"], np.zeros((1, 9, 9), np.uint8), SPACING, "1.2.3")
    dataset = pydicom.dcmread(folder / "x.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(folder / "x.dcm")
    plain = (folder / "x.dcm").read_bytes()
    meta = pydicom.filereader.read_file_meta_info(folder / "x.dcm")
    length = 144 + int(meta.FileMetaInformationGroupLength)
    inner = zlib.decompress(plain[length:], -15)[:-100]
    made = {
        "a.nii.gz": [gzip.compress(small) + body, deflated(31, declared), deflated(31, small)],
        "a.nrrd": [
            text.format("1800 1800 1800", "gzip").encode() + body,
            text.format("6 10 9", "gzip").encode() + body,
            text.format("1800 1800 1800", "bzip2").encode() + packed_bz2,
            text.format("6 10 9", "bzip2").encode() + packed_bz2,
        ],
        "a.png": [png],
        "a.dcm": [plain[:length] + deflated(-15, inner + b"\x09\x00\x10\x00OB\0\0\0\0\0\x7f")],
    }
    (folder / "x.dcm").unlink()
    for where in ("images", "masks"):
        (folder / where).mkdir()
    while True:
        name = str(rng.choice(list(made)))
        content = made[name][rng.integers(len(made[name]))]

        def read(name: str = name, content: bytes = content) -> dict[str, bytes]:
            for where in ("images", "masks"):
                for old in (folder / where).iterdir():
                    old.unlink()
                (folder / where / name).write_bytes(content)
            found, told = contents(load_folder(folder, classes={"thing": 1}))
            if not found:
                raise BadInputError(str(told))
            return found

        yield name, read, lambda found: False


_ALL = (arrays, pictures, radiographs, volumes, series, entries, tables, oddities, doctor, bombs)
READERS = {f.__name__: f for f in _ALL}
