"""DICOM series as volumes.

Where a slice lies is decided by its position in the patient, never by file names or instance
numbers. Nothing is read that tells who is shown, or when and where: only the attributes of `TAGS`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from ..case import BadCaseError
from .volumes import Volume

# Its warnings about odd values quote them, and would stand on a page.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

FILE = r"(?:[^/]+\.(?:dcm|ima)|[^/.]+|[\d.]+)"
"""Names that DICOM files go by, as a regular expression: with a suffix, without one, or a UID."""

TAGS = (
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesDescription",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelData",
)
"""All that is read of an image file."""

# What pydicom raises for files that are cut off, damaged or of another kind.
UNREADABLE = (
    pydicom.errors.InvalidDicomError,
    pydicom.errors.BytesLengthException,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
)

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From DICOM's world (to the left, posterior, superior) to RAS+; the same matrix leads back."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself. Where it lies is None in files that are not slices.

    series, frame: SeriesInstanceUID and FrameOfReferenceUID; size: rows, columns; position,
    orientation, spacing as in DICOM: mm from the patient's left, posterior, superior.
    """

    path: Path
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


def read_header(path: Path) -> Header:
    """Read a file's header; raises BadCaseError if it is not DICOM, or damaged."""
    dataset = read_dicom(path, TAGS)
    try:
        return Header(
            path=path,
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
    except UNREADABLE as error:
        raise BadCaseError(
            f"its header is damaged ({type(error).__name__}): export it again",
            path,
            kind="unreadable",
        ) from None


def read_dicom(path: Path, tags: Sequence[str], pixels: bool = False) -> pydicom.Dataset:
    """Read the named attributes of a file and no others; raises BadCaseError."""
    try:
        return pydicom.dcmread(path, specific_tags=list(tags), stop_before_pixels=not pixels)
    except UNREADABLE as error:
        # The error's text can quote the file, which may name a patient: only its type is told.
        raise BadCaseError(
            f"cannot be read as DICOM ({type(error).__name__}): copy it again",
            path,
            kind="unreadable",
        ) from None


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
                "it lacks ImagePositionPatient, ImageOrientationPatient or PixelSpacing, so that "
                "its place in the volume is unknown: export it again as an original image",
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
    if abs(np.linalg.norm(normal) - 1) > 0.01:
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


def _even_step(headers: Sequence[Header], corners: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return the mean step from slice to slice; raises BadCaseError if the steps are not even."""
    steps = np.diff(corners, axis=0)
    heights = steps @ normal
    if (same := np.flatnonzero(heights < 0.01)).size:
        one, other = headers[same[0]].path, headers[same[0] + 1].path
        raise BadCaseError(
            f"it lies where {one.name} lies: keep one image per position", other, kind="series"
        )
    # The lower median: of two steps the shorter, as slices may be missing but not added.
    usual = steps[np.argsort(heights)[(len(heights) - 1) // 2]]
    apart = np.linalg.norm(steps - usual, axis=1)
    if (uneven := np.flatnonzero(apart > 0.1 * np.linalg.norm(usual))).size:
        at = uneven[np.argmax(apart[uneven])]
        raise BadCaseError(
            f"the next slice ({headers[at + 1].path.name}) is {heights[at]:.2f} mm on, "
            f"{usual @ normal:.2f} mm is usual in this series: copy the missing slices",
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


def read_pixels(series: Series) -> Volume:
    """Read the pixels: slice, row, column; stored values times RescaleSlope plus RescaleIntercept.

    The slope may differ from slice to slice, as it does in PET. Values stay integers where it is 1
    and the intercept whole, else they are float32. Raises BadCaseError.
    """
    slices = [_read_slice(path, series.shape[1:]) for path in series.paths]
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


def _read_slice(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, float, float]:
    """Return one file's stored values, slope and intercept."""
    dataset = read_dicom(path, TAGS, pixels=True)
    try:
        if str(dataset.get("PhotometricInterpretation", "")) != "MONOCHROME2":
            raise BadCaseError(
                "its pixels are not grey values (MONOCHROME2): export it as grey",
                path,
                kind="format",
            )
        stored = dataset.pixel_array
        slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
        slope, intercept = 1.0 if slope is None else float(slope), float(intercept or 0)
    except BadCaseError:
        raise
    except UNREADABLE as error:
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        if syntax is not None and syntax.is_transfer_syntax and syntax.is_compressed:
            raise BadCaseError(
                f"its pixels are compressed ({syntax.name}): pip install pylibjpeg[all], or "
                "decompress the files with gdcmconv --raw",
                path,
                kind="unreadable",
            ) from None
        raise BadCaseError(
            f"its pixels cannot be read ({type(error).__name__}): copy it again",
            path,
            kind="unreadable",
        ) from None
    if stored.shape != size or not np.isfinite([slope, intercept]).all():
        raise BadCaseError(
            f"its pixels are {stored.shape}, expected {size}: export it again", path, kind="format"
        )
    return stored, slope, intercept


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """Return an attribute's numbers, None if it is missing, empty or not finite."""
    numbers = tuple(float(value) for value in values) if values else ()
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None
