"""NRRD files: values and where they lie, as NIfTI tells it."""

from __future__ import annotations

import zlib
from pathlib import Path

import nrrd
import numpy as np

from medsam_utils.case import BadCaseError

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
UNREADABLE = (nrrd.NRRDError, OSError, EOFError, ValueError, TypeError, KeyError, MemoryError, zlib.error)


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """Read an NRRD file: values as stored, affine, header.

    values: axes in the order of the file, fastest first, three in space and any number of others (a
    segmentation's layers). affine: 4 x 4, voxel to world in mm (RAS+), of the three axes in space.
    Raises BadCaseError for a file that cannot be read, declares more than it can hold, or does not
    say where its three axes lie.
    """
    try:
        header = nrrd.read_header(str(path))
        affine = _affine(header, path)
        packed = header.get("encoding") not in ("raw", "ascii", "text", "txt")
        declared = float(np.prod(np.asarray(header["sizes"], dtype=float)))
        # Deflate cannot compress by more than 1032 to 1: see volumes.read_volume.
        if "data file" not in header and declared > path.stat().st_size * (1032 if packed else 1):
            sizes = tuple(int(n) for n in header["sizes"])
            raise BadCaseError(
                f"{path}: the header declares {sizes} voxels, the file is too small: copy it again"
            )
        values, _ = nrrd.read(str(path))
    except BadCaseError:
        raise
    except UNREADABLE as error:
        # The error's text can quote the header: only its type is told.
        raise BadCaseError(
            f"{path}: cannot be read ({type(error).__name__}): copy or export it again"
        ) from None
    return values, affine, header


def _affine(header: dict, path: Path) -> np.ndarray:
    """Return voxel to world in RAS+ of the axes in space; raises BadCaseError."""
    signs = _TO_RAS.get(str(header.get("space", "")).lower())
    directions, origin = header.get("space directions"), header.get("space origin")
    if signs is None or directions is None or origin is None:
        raise BadCaseError(
            f"{path}: the header does not place the volume in the patient (space, space directions, space "
            "origin): export it with its orientation"
        )
    # An axis that is not in space has the direction "none", which pynrrd gives as None or NaN.
    vectors = [np.asarray(vector, dtype=float) for vector in directions if vector is not None]
    vectors = [vector for vector in vectors if np.isfinite(vector).all()]
    if len(vectors) != 3 or any(vector.shape != (3,) for vector in vectors):
        raise BadCaseError(f"{path}: it has {len(vectors)} axes in space: save one volume of three axes")
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack(vectors)
    affine[:3, 3] = origin
    affine[:2] *= np.array(signs)[:, np.newaxis]
    return affine
