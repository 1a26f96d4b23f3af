"""NRRD files: values and where they lie, as NIfTI tells it."""

from __future__ import annotations

import bz2
import io
import math
import re
from pathlib import Path
from typing import Any, BinaryIO

import nrrd
import numpy as np

from ..case import BadCaseError
from .reading import BEYOND, LARGEST_ITEM, check_limit, data_file, first_bytes, inflate, reading

# What each space of the format's definition calls its first two axes, as signs towards RAS+.
_TO_RAS = {
    "ras": (1, 1),
    "right-anterior-superior": (1, 1),
    "las": (-1, 1),
    "left-anterior-superior": (-1, 1),
    "lps": (-1, -1),
    "left-posterior-superior": (-1, -1),
}


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """Read an NRRD file: values as stored, affine, header.

    values: axes in the order of the file, fastest first, but those that are not in space (the
    layers of a segmentation) before the three that are. affine: 4 x 4, of these three, voxel to
    world in mm (RAS+). Raises BadCaseError for a file that cannot be read, declares more than it
    can hold, or does not say where its three axes lie.
    """
    with reading(path), path.open("rb") as file:
        header = nrrd.read_header(file)
        affine = _affine(header, path)
        place = header.get("data file", header.get("datafile"))
        if place is None:
            values = _values(header, file, path)
        elif place.upper().startswith("LIST") or "%" in place:
            raise BadCaseError(
                "its values are in several files: save it as one", path, kind="format"
            )
        else:
            with data_file(path, place).open("rb") as other:
                values = _values(header, other, path)
        in_space = [_is_vector(vector) for vector in header["space directions"]]
        return values.transpose(np.argsort(in_space, kind="stable")), affine, header


def _values(header: dict, file: BinaryIO, path: Path) -> np.ndarray:
    """Return the values, axes fastest first, of an open file that is where they begin.

    pynrrd compares no checksum and notices no end that is missing, so it gets what is unpacked.
    """
    shape = tuple(map(int, header["sizes"]))
    encoding = str(header.get("encoding")).lower()
    unpacked = {name: value for name, value in header.items() if "file" not in name}
    here, end = file.tell(), file.seek(0, io.SEEK_END)
    file.seek(here)
    # How much bzip2 can pack into a few bytes has no useful limit.
    if encoding not in ("bzip2", "bz2"):
        packed = encoding in ("gzip", "gz")
        check_size(shape, 1, end - here, packed, path)
    if encoding not in ("bzip2", "bz2", "gzip", "gz"):
        return nrrd.read_data(unpacked, file)
    check_limit(math.prod(shape) * LARGEST_ITEM, path)
    skip = int(header.get("byte skip", header.get("byteskip", 0)))
    size = math.prod(shape) * LARGEST_ITEM + (skip if skip >= 0 else BEYOND)
    for _ in range(int(unpacked.pop("line skip", unpacked.pop("lineskip", 0)))):
        file.readline()
    if encoding in ("gzip", "gz"):
        content = inflate(file.read(), size)
    else:
        with bz2.open(file) as stream:
            content = first_bytes(stream, size)
    return nrrd.read_data({**unpacked, "encoding": "raw"}, io.BytesIO(content))


def check_size(
    shape: tuple[int, ...], itemsize: int, stored: int, packed: bool, path: Path
) -> None:
    """Raise BadCaseError if a header declares more than the `stored` bytes of its file can hold.

    Deflate cannot compress by more than 1032 to 1: a larger claim is a damaged header, and
    believing it would fill the memory.
    """
    needed = float(np.prod(shape, dtype=float))
    if min(shape, default=0) < 0 or needed * itemsize > stored * (1032 if packed else 1):
        raise BadCaseError(
            f"the header declares {shape} voxels, the file is too small: copy it again",
            path,
            kind="unreadable",
        )
    check_limit(needed * LARGEST_ITEM, path)


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
                f"the label or layer of segment {match[1]} is not told: save it again",
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
