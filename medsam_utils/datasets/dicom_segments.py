"""DICOM segmentations (SEG): a bool mask per segment on the grid of its images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..case import BadCaseError
from .dicom import PIXEL_TAGS, TO_RAS, Series, read_dicom
from .reading import LARGEST_ITEM, check_limit, reading

_TAGS = (
    "Modality",
    "NumberOfFrames",
    *PIXEL_TAGS,
    "SegmentationType",
    "MaximumFractionalValue",
    "SegmentSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)


def read_dicom_segments(path: Path, grid: Series | None = None) -> dict[str, np.ndarray]:
    """Return the mask of each segment by its label: bool, on the images' grid.

    grid: None returns the labels with empty masks. Raises BadCaseError for a file that cannot be
    read, or that does not lie on the images' slices.
    """
    dataset = read_dicom(path, _TAGS, pixels=grid is not None)
    if str(dataset.get("Modality", "")) != "SEG":
        raise BadCaseError(
            f"its modality is {dataset.get('Modality', 'not stated')}: give a segmentation (SEG), "
            "contours (RTSTRUCT) or a volume as mask",
            path,
            kind="mask",
        )
    fact = "its segments cannot be read ({}): export it again"
    with reading(path, fact, names_patients=True):
        labels = {int(s.SegmentNumber): str(s.SegmentLabel) for s in dataset.SegmentSequence}
        masks = {
            label: np.zeros(grid.shape if grid else (0, 0, 0), bool) for label in labels.values()
        }
        if grid is None:
            return masks
        size = int(dataset.Rows), int(dataset.Columns)
        count = float(np.prod(size, dtype=float)) * int(dataset.get("NumberOfFrames") or 1)
        check_limit(count * LARGEST_ITEM, path)
        frames = dataset.pixel_array.reshape(-1, *size)
        full = 1
        if str(dataset.get("SegmentationType", "BINARY")) == "FRACTIONAL":
            full = int(dataset.get("MaximumFractionalValue", 255))
        groups = dataset.PerFrameFunctionalGroupsSequence
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
        for frame, group in zip(frames, groups, strict=True):
            number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            index = _slice_of(group, shared, frame.shape, grid, path)
            masks[labels[int(number)]][index] |= frame * 2 >= full
        return masks


def _slice_of(group: Any, shared: Any, size: tuple[int, ...], grid: Series, path: Path) -> int:
    """Return the index of the slice on which a frame lies; raises BadCaseError if there is none."""

    def item(sequence: str) -> Any:
        return (group.get(sequence) or shared.get(sequence))[0]

    position = np.array(item("PlanePositionSequence").ImagePositionPatient, float)
    along = np.array(item("PlaneOrientationSequence").ImageOrientationPatient, float).reshape(2, 3)
    spacing = np.array(item("PixelMeasuresSequence").PixelSpacing, float)
    corners = [
        np.append(position + row * spacing[0] * along[1] + col * spacing[1] * along[0], 1)
        for row, col in ((0, 0), (size[0] - 1, 0), (0, size[1] - 1))
    ]
    voxels = (np.linalg.inv(grid.affine) @ TO_RAS @ np.array(corners).T)[:3].T
    index = int(np.rint(voxels[0, 0]))
    expected = [(index, 0, 0), (index, size[0] - 1, 0), (index, 0, size[1] - 1)]
    if (
        size != grid.shape[1:]
        or not 0 <= index < grid.shape[0]
        or np.abs(voxels - expected).max() > 0.5
    ):
        raise BadCaseError(
            "its frames do not lie on the slices of its images: resample it to them",
            path,
            kind="grid",
        )
    return index
