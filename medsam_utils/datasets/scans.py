"""Readers of DICOM images: what they have in common, and the one for masks as DICOM series."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np

from ..case import BadCaseError, BadInputError, Case, CaseReference, Exclusion, Listing
from .dataset import Dataset, to_rgb
from .dicom import Series, is_dicom, read_pixels, read_series
from .masks import Marks, class_masks, find_meaning, tidy_mask
from .pairs import natural, walk
from .reading import reading
from .volumes import (
    PLANES,
    Grid,
    Volume,
    check_same_grid,
    choose_slices,
    file_stamps,
    find_cut,
    relative_path,
)


@dataclass(frozen=True)
class Scan:
    """The files of one volume: images, one per slice, and whatever its masks are made of.

    key: names it in a listing. grid, source: the series of the images, and of what contours were
    drawn on, where it took reading their headers to find them.
    """

    key: str
    patient: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    grid: Series | None = None
    source: Series | None = None


@dataclass(frozen=True, kw_only=True)
class ScanReader(ABC):
    """What readers of DICOM images have in common: scans, cut into slices one at a time.

    plane, min_pixels, one_slice: as in `volumes.Volumes`. A case is a slice with at least one pixel
    of a class. Its id is the scan's key and the slice index, counted from 0 in the order of
    `dicom.arrange`: along the normal of the slices.
    """

    plane: str = "axial"
    min_pixels: int = 1
    one_slice: bool = False

    def __post_init__(self) -> None:
        """Raise BadInputError for a plane that does not exist."""
        if self.plane not in PLANES:
            raise BadInputError(f"plane is {self.plane!r}: choose {', '.join(PLANES)}")

    @abstractmethod
    def find(self, dataset: Dataset) -> tuple[list[Scan], list[Exclusion]]:
        """Return the scans, and what cannot be one, in natural order; reads no pixel."""

    @abstractmethod
    def read_masks(
        self, scan: Scan, grid: Series, classes: Mapping[str, tuple[int, ...]], threshold: int
    ) -> dict[str, np.ndarray]:
        """Return the bool mask of each class on the images' grid; raises BadCaseError."""

    def list(self, dataset: Dataset) -> Listing:
        """List the slices that hold a class; reads headers and masks, no pixel of an image."""
        scans, exclusions = self.find(dataset)
        references = []
        for scan in scans:
            path = relative_path(scan.masks[0], dataset)
            try:
                with reading(scan.masks[0]):
                    grid = scan.grid or read_series(scan.images)
                    masks = self.read_masks(scan, grid, dataset.classes, dataset.mask_threshold)
                    cut = find_cut(grid.shape, grid.affine, self.plane, scan.images[0])
                    across = (cut.row_axis, cut.column_axis)
                    areas = np.stack([np.count_nonzero(m, axis=across) for m in masks.values()])
                    kept = choose_slices(areas, self.min_pixels, self.one_slice, scan.masks[0])
            except BadCaseError as error:
                files = (*scan.images, *scan.masks)
                exclusions.append(dataset.exclusion(scan.key, error, path, files))
                continue
            references += [
                CaseReference(
                    dataset.name, f"{scan.key}_z{i:03d}", scan.patient, i, grid.paths, scan.masks
                )
                for i in kept
            ]
        return Listing(
            references, sorted(exclusions, key=lambda exclusion: natural(exclusion.case_id))
        )

    def load(self, dataset: Dataset, reference: CaseReference) -> Case:
        """Read one slice; the volume is kept until a slice of another one is asked for."""
        files = (*reference.images, *reference.masks)
        # Without a key, so that all slices of a volume ask for the same.
        scan = Scan("", reference.patient_id, reference.images, reference.masks)
        classes = tuple(dataset.classes.items())
        stamps, threshold = file_stamps(files), dataset.mask_threshold
        with reading(reference.masks[0]):
            image, masks = _read_scan(self, scan, classes, threshold, stamps)
            cut = find_cut(image.values.shape, image.affine, self.plane, reference.images[0])
        index = reference.slice_index
        here = {name: np.ascontiguousarray(cut.slice(mask, index)) for name, mask in masks.items()}
        sizes = nibabel.affines.voxel_sizes(image.affine)
        return reference.case(
            image=to_rgb(cut.slice(image.values, index), dataset, reference.images[0]),
            masks=here,
            # Several classes may overlap here, each annotated by itself.
            labelled=next(iter(here.values())).copy() if len(here) == 1 else None,
            spacing=(float(sizes[cut.row_axis]), float(sizes[cut.column_axis])),
        )

    def grid(self, reference: CaseReference) -> Grid:
        """Return the grid of a case's volume; raises BadCaseError."""
        with reading(reference.images[0]):
            series = read_series(reference.images)
            cut = find_cut(series.shape, series.affine, self.plane, reference.images[0])
        return Grid(series.shape, series.affine, cut)

    def slices(self, reference: CaseReference) -> tuple[int, float | None]:
        """Return the number of slices of a case's volume, and their distance in mm."""
        grid = self.grid(reference)
        return grid.count, grid.apart


@lru_cache(maxsize=1)
def _read_scan(
    reader: ScanReader, scan: Scan, classes: tuple, threshold: int, stamps: tuple
) -> tuple[Volume, dict[str, np.ndarray]]:
    """Read a volume and its masks; the last ones are kept. stamps: see `volumes.file_stamps`."""
    grid = read_series(scan.images)
    masks = reader.read_masks(scan, grid, dict(classes), threshold)
    return read_pixels(grid), masks


def files_by_key(dataset: Dataset, pattern: str) -> dict[str, list[Path]]:
    """Group files by the groups `key...` of a pattern of their path's end, as `Pairs` does."""
    name = re.compile(f"(?:.*?/)??(?:{pattern})", re.I)
    found: dict[str, list[Path]] = {}
    for path in walk(dataset.root, dataset.within):
        if match := name.fullmatch(path):
            found.setdefault(match["key"], []).append(dataset.root / path)
    return found


def scans_by_key(dataset: Dataset, pattern: str) -> dict[str, list[Path]]:
    """Group DICOM files as `files_by_key` does; files of other kinds are passed over."""
    found = files_by_key(dataset, pattern)
    scans = {key: [path for path in paths if is_dicom(path)] for key, paths in found.items()}
    return {key: paths for key, paths in scans.items() if paths}


def pair_up(
    dataset: Dataset, images: dict[str, list[Path]], masks: dict[str, list[Path]]
) -> tuple[list[Scan], list[Exclusion]]:
    """Make scans of images and masks of one key; what lacks a partner is an exclusion."""
    scans, exclusions = [], []
    for key in sorted(images.keys() | masks.keys(), key=natural):
        path = relative_path((images.get(key) or masks[key])[0], dataset)
        if key not in masks or key not in images:
            missing = "mask" if key not in masks else "image"
            exclusions.append(Exclusion(key, "pairs", path, f"no {missing} belongs to it"))
        else:
            scans.append(Scan(key, key, tuple(images[key]), tuple(masks[key])))
    return scans, exclusions


def onto_grid(values: np.ndarray, affine: np.ndarray, grid: Series, path: Path) -> np.ndarray:
    """Reorder and flip the axes of a mask so that they run like the grid's.

    A mask that was cut to a part of the grid, as programs do that save no empty border, or that
    goes beyond it with empty voxels, is put where it lies. Raises BadCaseError if it then does not
    lie on the grid, within half a voxel.
    """
    try:
        turn = nibabel.io_orientation(np.linalg.inv(grid.affine) @ affine)
        values, affine = (
            nibabel.apply_orientation(values, turn),
            affine @ nibabel.orientations.inv_ornt_aff(turn, values.shape),
        )
    except (np.linalg.LinAlgError, nibabel.orientations.OrientationError):
        raise BadCaseError(
            "its affine does not place the three axes: export it again", path, kind="format"
        ) from None
    if values.shape != grid.shape:
        values, affine = _on_whole_grid(values, affine, grid, path)
    check_same_grid(
        Volume(np.broadcast_to(False, grid.shape), grid.affine), Volume(values, affine), path
    )
    return values


def _on_whole_grid(
    values: np.ndarray, affine: np.ndarray, grid: Series, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Return a mask of another shape with the grid's, if its voxels are voxels of the grid.

    Others come back as they are. Raises BadCaseError if voxels of the mask lie beyond the grid.
    """
    if not np.allclose(affine[:3, :3], grid.affine[:3, :3], rtol=0.01, atol=1e-3):
        return values, affine
    start = np.linalg.solve(grid.affine, affine[:, 3])[:3]
    first = np.rint(start).astype(int)
    inside = [
        slice(max(-at, 0), max(min(size, count - at), 0))
        for at, size, count in zip(first, values.shape, grid.shape, strict=True)
    ]
    part = values[tuple(inside)]
    if np.count_nonzero(part) < np.count_nonzero(values):
        raise BadCaseError(
            f"{np.count_nonzero(values) - np.count_nonzero(part)} voxels of the mask lie beyond "
            "its image: resample it to its image",
            path,
            kind="grid",
        )
    whole = np.zeros(grid.shape, values.dtype)
    corner = [at + cut.start for at, cut in zip(first, inside, strict=True)]
    whole[tuple(slice(at, at + size) for at, size in zip(corner, part.shape, strict=True))] = part
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ first
    return whole, moved


@dataclass(frozen=True)
class DicomMasks(ScanReader):
    """Reader of image series with one mask series each, both DICOM.

    images, masks: regular expressions of the files, with a group `key`, see `files_by_key`. Masks
    are paired with images by position. A mask series that does not lie on the images' slices but
    continues them, as if its steps had the wrong sign (its last slice is the images' first or the
    other way round), is read reversed, with a warning; any other disagreement excludes the scan.
    flip_masks: reverse the masks along the slice axis after pairing: for series whose positions are
    consistent and wrong, which nothing but a look at the images can tell.
    """

    images: str
    masks: str
    flip_masks: bool = False

    def find(self, dataset: Dataset) -> tuple[list[Scan], list[Exclusion]]:
        """Return the scans by their folders; opens files of other names than DICOM's own."""
        return pair_up(
            dataset, scans_by_key(dataset, self.images), scans_by_key(dataset, self.masks)
        )

    def read_masks(
        self, scan: Scan, grid: Series, classes: Mapping[str, tuple[int, ...]], threshold: int
    ) -> dict[str, np.ndarray]:
        """Return the mask of each class on the images' grid; raises BadCaseError."""
        folder = scan.masks[0].parent
        if len(scan.masks) != len(scan.images):
            raise BadCaseError(
                f"{len(scan.masks)} mask slices, {len(scan.images)} image slices: copy the "
                "missing ones; without them it is unknown which slice was not annotated",
                folder,
                kind="pairs",
            )
        series = read_series(scan.masks, one_uid=False)
        mask = read_pixels(series, is_mask=True)
        values = tidy_mask(mask.values, folder)
        affine = mask.affine
        if _continues(grid, series):
            if scan.key:  # told once, when cases are listed
                warnings.warn(
                    f"{scan.key}: the masks' positions run on where the images' end: read in "
                    "reversed order. Look at some of its cases.",
                    stacklevel=2,
                )
            values, affine = values[::-1], grid.affine
        values = onto_grid(values, affine, grid, folder)
        if self.flip_masks:
            values = values[::-1]
        return class_masks(Marks(values, find_meaning(values)), classes, threshold, folder)


def _continues(grid: Series, mask: Series) -> bool:
    """Return whether a mask series has the images' grid with positions mirrored at an end."""
    if mask.shape != grid.shape or grid.shape[0] < 2:
        return False
    last = (grid.shape[0] - 1) * grid.affine[:3, 0]
    shifts = (mask.affine - grid.affine)[:3]
    same_directions = np.allclose(shifts[:, :3], 0, atol=0.1 * np.abs(grid.affine[:3, :3]).max())
    tolerance = 0.5 * nibabel.affines.voxel_sizes(grid.affine).min()
    return (
        same_directions
        and min(np.linalg.norm(shifts[:, 3] + s * last) for s in (1, -1)) <= tolerance
    )
