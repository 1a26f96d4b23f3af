"""NRRD files: values and where they lie, as NIfTI tells it."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import nrrd
import numpy as np

from ..case import BadCaseError

# What each space of the format's definition calls its first two axes, as signs towards RAS+.
_TO_RAS = {
    "ras": (1, 1),
    "right-anterior-superior": (1, 1),
    "las": (-1, 1),
    "left-anterior-superior": (-1, 1),
    "lps": (-1, -1),
    "left-posterior-superior": (-1, -1),
}

# What pynrrd raises for files that are cut off, damaged or of another kind.
UNREADABLE = (
    nrrd.NRRDError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    StopIteration,  # of an empty file
    OverflowError,
    MemoryError,
    zlib.error,
)


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """Read an NRRD file: values as stored, affine, header.

    values: axes in the order of the file, fastest first, but those that are not in space (the
    layers of a segmentation) before the three that are. affine: 4 x 4, of these three, voxel to
    world in mm (RAS+). Raises BadCaseError for a file that cannot be read, declares more than it
    can hold, or does not say where its three axes lie.
    """
    try:
        header = nrrd.read_header(str(path))
        affine = _affine(header, path)
        encoding = str(header.get("encoding")).lower()
        # How much bzip2 can pack into a few bytes has no useful limit.
        if "data file" not in header and encoding not in ("bzip2", "bz2"):
            packed = encoding not in ("raw", "ascii", "text", "txt")
            check_size(tuple(map(int, header["sizes"])), 1, path.stat().st_size, packed, path)
        values, _ = nrrd.read(str(path))
    except BadCaseError:
        raise
    except UNREADABLE as error:
        raise unreadable(path, error) from None
    in_space = [_is_vector(vector) for vector in header["space directions"]]
    return values.transpose(np.argsort(in_space, kind="stable")), affine, header


def check_size(
    shape: tuple[int, ...], itemsize: int, stored: int, packed: bool, path: Path
) -> None:
    """Raise BadCaseError if a header declares more than the `stored` bytes of its file can hold.

    Deflate cannot compress by more than 1032 to 1: a larger claim is a damaged header, and
    believing it would fill the memory.
    """
    if float(np.prod(shape, dtype=float)) * itemsize > stored * (1032 if packed else 1):
        raise BadCaseError(
            f"the header declares {shape} voxels, the file is too small: copy it again",
            path,
            kind="unreadable",
        )


def unreadable(path: Path, error: Exception) -> BadCaseError:
    """Return the error for a file that a library cannot read.

    The library's text may hold a patient's name, so only its type is told.
    """
    return BadCaseError(
        f"cannot be read ({type(error).__name__}): copy or export it again", path, kind="unreadable"
    )


def read_segments(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read a segmentation of 3D Slicer (.seg.nrrd): segment name -> bool mask, and the affine.

    Which number means which segment is told by the header (`SegmentN_Name`, `SegmentN_LabelValue`),
    and which layer holds it by `SegmentN_Layer`; segments of different layers may overlap. Raises
    BadCaseError for a file that cannot be read or names no segment.
    """
    values, affine, header = read_nrrd(path)
    segments = {}
    for key in header:
        if not (match := re.fullmatch(r"Segment(\d+)_Name", key)):
            continue
        try:
            label = int(header[f"{match[0].removesuffix('Name')}LabelValue"])
            layer = int(header.get(f"Segment{match[1]}_Layer", 0))
            volume = values if values.ndim == 3 else values[layer]
        except (KeyError, ValueError, IndexError):
            raise BadCaseError(
                f"the label or layer of {header[key]!r} is not told: save it again",
                path,
                kind="mask",
            ) from None
        segments[header[key]] = volume == label
    if not segments or values.ndim not in (3, 4):
        raise BadCaseError(
            "the header names no segments: save it from 3D Slicer as a segmentation",
            path,
            kind="mask",
        )
    return segments, affine


def _affine(header: dict, path: Path) -> np.ndarray:
    """Return voxel to world in RAS+ of the axes in space; raises BadCaseError."""
    signs = _TO_RAS.get(str(header.get("space", "")).lower())
    directions, origin = header.get("space directions"), header.get("space origin")
    if signs is None or directions is None or origin is None:
        raise BadCaseError(
            "the header does not place the volume in the patient (space, space directions, space "
            "origin): export it with its orientation",
            path,
            kind="format",
        )
    vectors = [vector for vector in directions if _is_vector(vector)]
    if len(vectors) != 3 or len(directions) != len(header["sizes"]):
        raise BadCaseError(
            f"it has {len(vectors)} axes in space: save one volume of three axes",
            path,
            kind="format",
        )
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack(vectors)
    affine[:3, 3] = origin
    affine[:2] *= np.array(signs)[:, np.newaxis]
    return affine


def _is_vector(direction: Any) -> bool:
    """Return whether an axis is in space; else its direction is None or NaN."""
    return (
        direction is not None and np.shape(direction) == (3,) and bool(np.isfinite(direction).all())
    )
