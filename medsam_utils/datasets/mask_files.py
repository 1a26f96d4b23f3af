"""Segmentations of 3D Slicer as label maps with the names of their segments."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from ..case import BadCaseError
from .nrrd_file import read_segments
from .volume_files import Grid, Volume


def is_segmentation(path: Path) -> bool:
    """Tell by its name whether a file is a segmentation of 3D Slicer."""
    return path.name.lower().endswith((".seg.nrrd", ".seg.nhdr"))


def read_segmentation(
    path: Path, image: Volume | Grid | None = None
) -> tuple[Volume, dict[str, int]]:
    """Read a segmentation's values and where they lie, and its segments' names with their values.

    image: into whose grid a segmentation is set; it may be cut to its segments, and its axes may
    run otherwise. Raises BadCaseError for a file that cannot be read, and for segments that
    overlap.
    """
    segments, affine = read_segments(path)
    shape = next(iter(segments.values())).shape
    values = np.zeros(shape, np.uint8 if len(segments) < 256 else np.uint16)
    for number, (name, segment) in enumerate(segments.items(), 1):
        if (both := values[segment]).any():
            other = list(segments)[int(both.max()) - 1]
            raise BadCaseError(
                f"its segments {other!r} and {name!r} overlap: save each as a file of its own, in "
                "a folder for each image",
                path,
                kind="mask",
            )
        values[segment] = number
    volume = Volume(values, affine)
    names = {name: number for number, name in enumerate(segments, 1)}
    return (volume if image is None else set_into(volume, image)), names


def set_into(mask: Volume, image: Volume | Grid) -> Volume:
    """Return a mask on the grid of an image whose voxels it shares, 0 where it does not reach.

    Where it does not share them, or reaches beyond, the mask itself.
    """
    shape = image.shape if isinstance(image, Grid) else image.values.shape
    try:
        between = np.linalg.inv(image.affine) @ mask.affine
        turn = nibabel.io_orientation(between)
        values = nibabel.apply_orientation(mask.values, turn)
        between = between @ nibabel.orientations.inv_ornt_aff(turn, mask.values.shape)
    except (np.linalg.LinAlgError, nibabel.orientations.OrientationError, ValueError):
        return mask
    offset = np.rint(between[:3, 3]).astype(int)
    ends = offset + values.shape
    exact = np.allclose(between[:3, :3], np.eye(3), atol=0.5 / max(values.shape))
    if not exact or np.abs(between[:3, 3] - offset).max() > 0.25:
        return mask
    if offset.min() < 0 or (ends > shape).any():
        return mask
    whole = np.zeros(shape, values.dtype)
    whole[tuple(slice(a, b) for a, b in zip(offset, ends, strict=True))] = values
    return Volume(whole, image.affine)
