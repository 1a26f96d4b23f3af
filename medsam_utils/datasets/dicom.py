"""DICOM series as volumes.

Where a slice lies is decided by its position in the patient, never by file names or instance
numbers. Nothing is read that tells who is shown, or when and where: only the attributes of `TAGS`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ..case import BadCaseError
from ..machine import over_limit
from .reading import LARGEST_ITEM, check_limit, is_regular, reading
from .volume_files import Volume

# Its warnings about odd values quote them, and would stand on a page.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

FILE = r"[^/]+"
"""Names that DICOM files go by, as a regular expression: any; see `is_dicom`."""

SUFFIXES = (".dcm", ".ima", ".dicom")
"""Endings of names, in any case, by which files are known as DICOM without a look at them."""

PIXEL_TAGS = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PixelData",
)
"""What it takes to read the pixels of any file."""

TAGS = (
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesDescription",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "NumberOfFrames",
    *PIXEL_TAGS,
    "RescaleSlope",
    "RescaleIntercept",
    "FloatPixelData",
    "DoubleFloatPixelData",
)
"""All that is read of an image file."""

_LONGEST_META = 4096  # bytes in which a file says how it is stored

# Tags that a file without a preamble begins with: the length of group 2 or 8, and what may come
# first without it.
_FIRST_ELEMENTS = tuple(
    struct.pack("<HH", group, element)
    for group, element in ((2, 0), (2, 1), (2, 2), (8, 0), (8, 1), (8, 5), (8, 8), (8, 0x16))
)

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From DICOM's world (to the left, posterior, superior) to RAS+; the same matrix leads back."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself. Where it lies is None in files that are not slices.

    image, series, frame: SOPInstanceUID, SeriesInstanceUID and FrameOfReferenceUID; size: rows,
    columns; position, orientation, spacing as in DICOM: mm from the patient's left, posterior,
    superior.
    """

    path: Path
    image: str
    series: str
    frame: str
    modality: str
    description: str
    size: tuple[int, int]
    frames: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float


@dataclass(frozen=True, eq=False)
class Series:
    """A series without its pixels. paths: one per slice, sorted along the normal of the slices.

    shape: slices, rows, columns; affine: 4 x 4, (slice, row, column) to world in mm (RAS+).
    """

    paths: tuple[Path, ...]
    shape: tuple[int, int, int]
    affine: np.ndarray


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM: by its suffix, or by how it begins, whatever its name.

    Old programs left out the preamble, so that the file begins with its first group, 2 or 8. An
    index of a folder (DICOMDIR) holds no image and does not count.
    """
    if path.name.upper() == "DICOMDIR":
        return False
    return path.suffix.lower() in SUFFIXES or _begins_as_dicom(path)


def _begins_as_dicom(path: Path) -> bool:
    if not is_regular(path):
        return False
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or start[:4] in _FIRST_ELEMENTS


def read_header(path: Path) -> Header:
    """Read a file's header; raises BadCaseError if it is not DICOM, or damaged."""
    dataset = read_dicom(path, TAGS)
    with reading(path, "its header is damaged ({}): export it again", names_patients=True):
        return Header(
            path=path,
            image=str(dataset.get("SOPInstanceUID", "")),
            series=str(dataset.get("SeriesInstanceUID", "")),
            frame=str(dataset.get("FrameOfReferenceUID", "")),
            modality=str(dataset.get("Modality", "")),
            description=str(dataset.get("SeriesDescription", "")),
            size=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
            frames=int(dataset.get("NumberOfFrames") or 1),
            position=_numbers(dataset.get("ImagePositionPatient"), 3),
            orientation=_numbers(dataset.get("ImageOrientationPatient"), 6),
            spacing=_numbers(dataset.get("PixelSpacing"), 2),
            thickness=float(dataset.get("SliceThickness") or 1),
        )


def read_dicom(path: Path, tags: Sequence[str], pixels: bool = False) -> pydicom.Dataset:
    """Read the named attributes of a file and no others; raises BadCaseError."""
    wanted: dict[str, Any] = {"specific_tags": list(tags), "stop_before_pixels": not pixels}
    # The error's text can quote the file, which may name a patient: only its type is told.
    fact = "cannot be read as DICOM ({}): copy it again"
    with reading(path, fact, names_patients=True), path.open("rb") as file:
        _check_deflated(file.read(_LONGEST_META), path)
        file.seek(0)
        try:
            dataset = pydicom.dcmread(file, **wanted)
        except pydicom.errors.InvalidDicomError:
            if not _begins_as_dicom(path):
                raise BadCaseError(
                    "cannot be read as DICOM (the mark DICM at byte 128 is missing): export it "
                    "again, or take it away",
                    path,
                    kind="unreadable",
                ) from None
            file.seek(0)
            dataset = pydicom.dcmread(file, **wanted, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            # Nothing says how the pixels are stored, so they are stored as the rest is.
            is_implicit, is_little = dataset.original_encoding
            explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = (
                ImplicitVRLittleEndian if is_implicit else explicit
            )
        return dataset


def _check_deflated(head: bytes, path: Path) -> None:
    """Raise BadCaseError if a file whose whole content is deflated would inflate beyond the limit.

    head: its beginning, with the whole file's kind.
    """
    if DeflatedExplicitVRLittleEndian.encode() not in head:
        return
    meta = pydicom.filereader.read_file_meta_info(path)
    packed = path.read_bytes()[144 + int(meta.FileMetaInformationGroupLength) :]
    stream, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while not (stream.eof or over_limit(size)) and (part := stream.decompress(packed, 1 << 24)):
        size, packed = size + len(part), stream.unconsumed_tail
    check_limit(size, path)


def arrange(headers: Sequence[Header]) -> Series:
    """Sort the slices of one series by their positions along the normal, and work out the affine.

    Raises BadCaseError for slices that differ in size or orientation, for two at one position, and
    for a gap; also for files of several frames and for ones that do not say where they lie.
    """
    first = headers[0]
    for header in headers:
        name = header.path
        if header.frames > 1:
            raise BadCaseError(
                f"it holds {header.frames} frames: export one file per slice", name, kind="format"
            )
        if not (
            header.position and header.orientation and header.spacing and min(header.spacing) > 0
        ):
            raise BadCaseError(
                f"it lacks {_missing_place(header)}, so that its place in the volume is unknown: "
                "export it again as an original image",
                name,
                kind="series",
            )
        if header.size != first.size:
            raise BadCaseError(
                f"{header.size} pixels, {first.path.name} has {first.size}: keep one series in "
                "this folder",
                name,
                kind="series",
            )
        same = np.allclose(header.orientation, first.orientation, atol=1e-3)
        if not same or not np.allclose(header.spacing, first.spacing, rtol=1e-3):
            raise BadCaseError(
                f"its orientation or spacing differs from {first.path.name}: keep one series in "
                "this folder",
                name,
                kind="series",
            )
    along_columns, along_rows = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(along_columns, along_rows)
    if abs(np.linalg.norm(normal) - 1) > 0.03:  # headers round them, some to two digits
        raise BadCaseError(
            "rows and columns are not perpendicular unit vectors: export it again",
            first.path,
            kind="series",
        )
    headers = sorted(headers, key=lambda header: (np.dot(header.position, normal), header.path))
    corners = np.array([header.position for header in headers])
    step = _even_step(headers, corners, normal) if len(headers) > 1 else normal * first.thickness
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack(
        [step, along_rows * first.spacing[0], along_columns * first.spacing[1]]
    )
    affine[:3, 3] = corners[0]
    paths = tuple(header.path for header in headers)
    return Series(paths, (len(paths), *first.size), TO_RAS @ affine)


def _missing_place(header: Header) -> str:
    """Return which of the attributes that place a slice are missing or cannot be used."""
    spacing = header.spacing if header.spacing and min(header.spacing) > 0 else None
    values = {
        "ImagePositionPatient": header.position,
        "ImageOrientationPatient": header.orientation,
        "PixelSpacing": spacing,
    }
    return " and ".join(name for name, value in values.items() if not value)


def _even_step(headers: Sequence[Header], corners: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return the mean step from slice to slice; raises BadCaseError if the steps are not even.

    Positions may be rounded, such as to 0.1 mm of a step of 0.625 mm, and waver within the slices'
    plane. So a step may differ from the usual one by six tenths, where a slice is missing by one
    or more; and no slice may lie more than a quarter of a step, or half a pixel within its plane,
    beside the even series that fits all of them best.
    """
    heights = corners @ normal
    steps = np.diff(heights)
    if (same := np.flatnonzero(steps < 0.01)).size:
        one, other = headers[same[0]].path, headers[same[0] + 1].path
        raise BadCaseError(
            f"it lies where {one.name} lies: keep one image per position", other, kind="series"
        )
    # The lower median: of two steps the shorter, as slices may be missing but not added.
    usual = np.sort(steps)[(len(steps) - 1) // 2]
    uneven = np.abs(steps - usual) / usual
    numbers = np.arange(len(heights))
    beside = corners - np.column_stack(
        [np.polyval(np.polyfit(numbers, along, 1), numbers) for along in corners.T]
    )
    along_normal = beside @ normal
    aside = np.linalg.norm(beside - np.outer(along_normal, normal), axis=1)
    if uneven.max() > 0.6 or np.abs(along_normal).max() > 0.25 * steps.mean():
        at = int(np.argmax(uneven))
        raise BadCaseError(
            f"the next slice ({headers[at + 1].path.name}) is {steps[at]:.2f} mm on, "
            f"{usual:.2f} mm is usual in this series: copy the slices that are missing; a series "
            "with uneven steps is not read",
            headers[at].path,
            kind="series",
        )
    if aside.max() > 0.5 * min(headers[0].spacing):
        at = int(np.argmax(aside))
        raise BadCaseError(
            f"it lies {aside[at]:.2f} mm beside the line on which the slices of its series lie: "
            "keep one series in this folder",
            headers[at].path,
            kind="series",
        )
    return (corners[-1] - corners[0]) / (len(corners) - 1)


def read_series(paths: Iterable[Path], one_uid: bool = True) -> Series:
    """Read the headers of a series' files, in any order; see `make_series`."""
    return make_series([read_header(path) for path in paths], one_uid)


def make_series(headers: Sequence[Header], one_uid: bool = True) -> Series:
    """Make a series of its files' headers, in any order; raises BadCaseError, see `arrange`.

    one_uid: whether all must have one SeriesInstanceUID; some programs write masks without it.
    """
    if nameless := [header for header in headers if not header.series]:
        raise BadCaseError(
            "it says of no series that it belongs to it: copy it again",
            nameless[0].path,
            kind="series",
        )
    if one_uid and (strange := [h for h in headers if h.series != headers[0].series]):
        raise BadCaseError(
            f"it belongs to another series than {headers[0].path.name} "
            "(SeriesInstanceUID): keep one series in this folder",
            strange[0].path,
            kind="series",
        )
    return arrange(headers)


def read_pixels(series: Series, is_mask: bool = False) -> Volume:
    """Read the pixels: slice, row, column; stored values times RescaleSlope plus RescaleIntercept.

    is_mask: whether an image in which zero is white is refused, as it does not tell which of its
    values is the object. Others are turned round, so that bright is high.

    The slope may differ from slice to slice, as it does in PET. Values stay integers where it is 1
    and the intercept whole, else they are float32. Raises BadCaseError.
    """
    check_limit(np.prod(series.shape, dtype=float) * LARGEST_ITEM, series.paths[0])
    slices = [_read_slice(path, series.shape[1:], is_mask) for path in series.paths]
    plain = all(slope == 1 and intercept == int(intercept) for _, slope, intercept in slices)
    dtype = slices[0][0].dtype
    if not plain:
        dtype = np.dtype(np.float32)
    elif any(intercept for *_, intercept in slices):
        dtype = np.dtype(np.int32)
    values = np.empty(series.shape, dtype)
    for index, (stored, slope, intercept) in enumerate(slices):
        values[index] = stored if plain and not intercept else stored * slope + intercept
        slices[index] = None  # not held twice
    return Volume(values, series.affine)


def _read_slice(
    path: Path, size: tuple[int, int], is_mask: bool
) -> tuple[np.ndarray, float, float]:
    """Return one file's stored values, slope and intercept, see `read_pixels`."""
    dataset = read_dicom(path, TAGS, pixels=True)
    with reading(path, "its pixels cannot be read ({}): copy it again", names_patients=True):
        meaning = str(dataset.get("PhotometricInterpretation", ""))
        if meaning not in ("MONOCHROME1", "MONOCHROME2"):
            raise BadCaseError(
                f"its pixels are {meaning or 'of no stated kind'}, not grey values (MONOCHROME1 "
                "or MONOCHROME2): export it as grey",
                path,
                kind="format",
            )
        if meaning == "MONOCHROME1" and is_mask:
            raise BadCaseError(
                "zero is white in this mask (MONOCHROME1), so that it is unknown which value is "
                "the object: export it as MONOCHROME2",
                path,
                kind="mask",
            )
        stored = _stored_pixels(dataset, path)
        slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
        slope, intercept = 1.0 if slope is None else float(slope), float(intercept or 0)
        if meaning == "MONOCHROME1":
            stored = _white_is_zero(stored, int(dataset.BitsStored))
    if stored.shape != size:
        raise BadCaseError(
            f"its pixels are {stored.shape}, expected {size}: export it again", path, kind="format"
        )
    if not (slope and np.isfinite([slope, intercept]).all()):
        raise BadCaseError(
            f"its RescaleSlope is {slope:g} and its RescaleIntercept {intercept:g}, which leaves "
            "no value: export it again",
            path,
            kind="format",
        )
    return stored, slope, intercept


def _stored_pixels(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """Return the pixels of a file as they are stored; raises BadCaseError."""
    try:
        return dataset.pixel_array
    except MemoryError:
        raise
    except Exception as error:
        raise BadCaseError(_why_no_pixels(dataset, error), path, kind="unreadable") from None


def _white_is_zero(stored: np.ndarray, bits: int) -> np.ndarray:
    """Return values turned round, so that the lowest one that can be stored becomes the highest."""
    if stored.dtype.kind == "f":
        return -stored
    # Of signed values -1 - v, of unsigned ones the greatest minus v; neither leaves the dtype.
    return ~stored if stored.dtype.kind == "i" else stored.dtype.type((1 << bits) - 1) - stored


def _why_no_pixels(dataset: pydicom.Dataset, error: Exception) -> str:
    """Return why a file's pixels cannot be had, and what helps."""
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None or not syntax.is_transfer_syntax or not syntax.is_compressed:
        return f"its pixels cannot be read ({type(error).__name__}): copy it again"
    kind = f"its pixels are compressed ({syntax.name})"
    remedy = "decompress the files with gdcmconv --raw"
    try:
        is_installed = pydicom.pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        return f"{kind}, which is not read: {remedy}"
    if not is_installed:
        return (
            f"{kind}, and no decoder is installed: pip install pylibjpeg pylibjpeg-libjpeg "
            f"pylibjpeg-openjpeg, or {remedy}"
        )
    return (
        f"{kind}, and the decoder fails on them ({type(error).__name__}): copy it again, as it may "
        f"be damaged, or {remedy}"
    )


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """Return an attribute's numbers, None if it is missing, empty or not finite."""
    numbers = tuple(float(value) for value in values) if values else ()
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None
