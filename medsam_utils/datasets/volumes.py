"""NIfTI and NRRD volumes, cut into upright slices one at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from medsam_utils.case import BadCaseError, Case, CaseReference, Exclusion
from medsam_utils.datasets.dataset import Dataset, Listing, to_rgb
from medsam_utils.datasets.masks import check_labels, class_masks, soft_scale, tidy_mask
from medsam_utils.datasets.nrrd_file import read_nrrd
from medsam_utils.datasets.pairs import Pairs

SUFFIXES = r"\.(?:nii(?:\.gz)?|nrrd)"
"""The file name endings that are read, as a regular expression."""

# For each plane the world axes (0 right, 1 anterior, 2 superior) of its slices, rows and columns.
# On the screen rows run to inferior or posterior, columns to the left or (sagittal) to posterior,
# so each in-plane axis runs against its world axis: the radiological convention.
PLANES = {"sagittal": (0, 2, 1), "coronal": (1, 2, 0), "axial": (2, 1, 0)}

# What nibabel raises for files that are cut off, damaged or of another kind.
UNREADABLE = (OSError, EOFError, ValueError, MemoryError, zlib.error, ImageFileError, HeaderDataError)


@dataclass(frozen=True)
class Volume:
    """A volume as it lies in its file. values: three axes; affine: 4 x 4, voxel to world in mm (RAS+)."""

    values: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Cut:
    """How to cut upright slices out of a file's array: which array axis is which, and what to flip."""

    slice_axis: int
    row_axis: int
    column_axis: int
    flip_rows: bool
    flip_columns: bool

    def slice(self, values: np.ndarray, index: int) -> np.ndarray:
        """Return one slice, (row, col), as a view; index counts along the file's own axis."""
        upright = values.transpose(self.slice_axis, self.row_axis, self.column_axis)[index]
        return upright[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def read_volume(path: Path) -> Volume:
    """Read a NIfTI or NRRD file: values of the dtype stored (float only where the header scales), three axes.

    Trailing axes of length 1 are dropped, and an image of two axes gets a third of length 1.
    Raises BadCaseError for a file that cannot be read, has more axes, or declares more than it can hold.
    """
    if path.suffix.lower() == ".nrrd":
        values, affine, _ = read_nrrd(path)
        if values.ndim != 3 or 0 in values.shape:
            raise BadCaseError(f"{path}: its shape is {values.shape}: save one volume of three axes")
        return Volume(values, affine)
    try:
        file = nibabel.load(path)
        shape = file.shape
        declared = float(np.prod(shape, dtype=float)) * file.get_data_dtype().itemsize
        # Deflate cannot compress by more than 1032 to 1: a larger claim is a damaged header, and
        # believing it would fill the memory.
        if declared > path.stat().st_size * (1032 if path.suffix == ".gz" else 1):
            raise BadCaseError(
                f"{path}: the header declares {shape} voxels, the file is too small: copy it again"
            )
        if 0 in shape or len([n for n in shape[3:] if n != 1]) or len(shape) < 2:
            raise BadCaseError(f"{path}: its shape is {shape}: save one volume of three axes")
        values = np.asarray(file.dataobj)
    except BadCaseError:
        raise
    except UNREADABLE as error:
        # The error's text can quote the header, which may name a patient: only its type is told.
        raise BadCaseError(
            f"{path}: cannot be read ({type(error).__name__}): copy or export it again"
        ) from None
    return Volume(values.reshape((*shape, 1)[:3] if len(shape) == 2 else shape[:3]), file.affine)


def find_cut(shape: tuple[int, ...], affine: np.ndarray, plane: str, path: Path) -> Cut:
    """Return how to cut slices of a plane ("axial", "coronal", "sagittal", "stored") out of an array.

    The affine says which array axis runs along which axis of the body; an oblique one counts as the
    nearest. An array with exactly one axis of length 1 is one image, whatever its plane. "stored"
    takes the axes as (row, column, slice) whatever the affine says.
    Raises BadCaseError for an affine that does not say it.
    """
    if plane == "stored":
        return Cut(slice_axis=2, row_axis=0, column_axis=1, flip_rows=False, flip_columns=False)
    orientation = nibabel.io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
    if np.isnan(orientation).any():
        raise BadCaseError(
            f"{path}: its affine does not place the three axes: set the orientation and save again"
        )
    world = orientation[:, 0].astype(int).tolist()
    single = [axis for axis in range(3) if shape[axis] == 1]
    slice_world = world[single[0]] if len(single) == 1 else PLANES[plane][0]
    axes = next([world.index(w) for w in axes] for axes in PLANES.values() if axes[0] == slice_world)
    flips = (orientation[axes[1:], 1] > 0).tolist()
    return Cut(*axes, *flips)


@dataclass(frozen=True)
class Volumes:
    """Reader of volume files with mask files, slice by slice; several masks are united per class.

    plane: which slices to cut, "axial" (across the superior-inferior axis), "coronal" or "sagittal"; or
    "stored", for files that hold pictures: their axes are (row, column, slice), upright as they are.
    A case is a slice with at least one pixel of a class; its id is the volume's key and the slice
    index, counted from 0 along the slice axis of the file's own array.
    """

    pairs: Pairs
    plane: str = "axial"

    def list(self, dataset: Dataset) -> Listing:
        """List the slices that hold a class; reads the masks, opens no image."""
        pairs, exclusions = self.pairs.find(dataset.root, dataset.within)
        references = []
        for pair in pairs:
            try:
                indices = self._labelled_slices(dataset, pair.masks)
            except BadCaseError as error:
                exclusions.append(
                    Exclusion(pair.key, dataset.relative(error), relative_path(pair.masks[0], dataset))
                )
                continue
            if not indices:
                path = relative_path(pair.masks[0], dataset)
                exclusions.append(Exclusion(pair.key, f"{path}: no labelled pixel in the volume", path))
            references += [
                CaseReference(
                    dataset.name, f"{pair.key}_z{i:03d}", pair.patient, i, (pair.image,), pair.masks
                )
                for i in indices
            ]
        return Listing(references, exclusions)

    def load(self, dataset: Dataset, reference: CaseReference) -> Case:
        """Read one slice; the volume is kept until a slice of another one is asked for."""
        (image_path,) = reference.images
        image, masks = _read_together(image_path, reference.masks)
        cut = find_cut(image.values.shape, image.affine, self.plane, image_path)
        picture = to_rgb(cut.slice(image.values, reference.slice_index), dataset, image_path)
        united = {name: np.zeros(picture.shape[:2], dtype=bool) for name in dataset.classes}
        foreground = np.zeros(picture.shape[:2], dtype=bool)
        for path, (mask, soft) in zip(reference.masks, masks, strict=True):
            values = cut.slice(mask, reference.slice_index)
            for name, part in class_masks(
                values, soft, dataset.classes, dataset.mask_threshold, path
            ).items():
                united[name] |= part
                foreground |= part
            if soft is None:
                foreground |= values > 0
        sizes = nibabel.affines.voxel_sizes(image.affine)
        return Case(
            dataset=dataset.name,
            case_id=reference.case_id,
            patient_id=reference.patient_id,
            slice_index=reference.slice_index,
            image=picture,
            masks=united,
            foreground=foreground,
            # Headers hold them in single precision: 2.2 would come back as 2.200000047683716.
            spacing=(round(float(sizes[cut.row_axis]), 6), round(float(sizes[cut.column_axis]), 6)),
            source=(*reference.images, *reference.masks),
        )

    def _labelled_slices(self, dataset: Dataset, paths: Iterable[Path]) -> list[int]:
        """Return the indices of the slices in which a class has a pixel."""
        labelled: set[int] = set()
        for path in paths:
            volume = read_volume(path)
            cut = find_cut(volume.values.shape, volume.affine, self.plane, path)
            values = tidy_mask(volume.values, path)
            check_labels(values, dataset.classes, dataset.other_labels, path)
            masks = class_masks(values, soft_scale(values), dataset.classes, dataset.mask_threshold, path)
            for mask in masks.values():
                labelled.update(np.flatnonzero(mask.any(axis=(cut.row_axis, cut.column_axis))).tolist())
        return sorted(labelled)


# The volume read last, so that slices in a row cost one reading; never more than one, so that memory
# does not grow with the dataset.
_last: dict[tuple, tuple] = {}


def _read_together(
    image_path: Path, mask_paths: tuple[Path, ...]
) -> tuple[Volume, list[tuple[np.ndarray, float | None]]]:
    """Read a volume and its masks, each mask with its `soft_scale`, or return the last ones again."""
    paths = (image_path, *mask_paths)
    # With time and size, so that a changed file is read again.
    key = (paths, stamps_of(paths))
    kept = _last.get(key)
    if kept is None:
        _last.clear()
        kept = _last[key] = _read_anew(image_path, mask_paths)
    return kept


def _read_anew(
    image_path: Path, mask_paths: tuple[Path, ...]
) -> tuple[Volume, list[tuple[np.ndarray, float | None]]]:
    """Read a volume and its masks; raises BadCaseError unless they lie on one grid."""
    image = read_volume(image_path)
    masks = []
    for path in mask_paths:
        mask = read_volume(path)
        check_same_grid(image, mask, path)
        values = tidy_mask(mask.values, path)
        masks.append((values, soft_scale(values)))
    return image, masks


def check_same_grid(image: Volume, mask: Volume, path: Path) -> None:
    """Raise BadCaseError unless both arrays have one shape and lie within half a voxel of each other."""
    shape = image.values.shape
    if mask.values.shape != shape:
        raise BadCaseError(
            f"{path}: the mask has {mask.values.shape} voxels, its image {shape}: resample it to its image"
        )
    corners = np.array(
        [[i, j, k, 1] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1) for k in (0, shape[2] - 1)]
    )
    apart = np.linalg.norm(corners @ (image.affine - mask.affine).T, axis=1).max()
    if not apart <= 0.5 * nibabel.affines.voxel_sizes(image.affine).min():
        raise BadCaseError(
            f"{path}: the mask lies up to {apart:.1f} mm beside its image: resample it to its image"
        )


def stamps_of(paths: Iterable[Path]) -> tuple:
    """Return time and size of each file; a missing file has none."""
    stats = [path.stat() if path.exists() else None for path in paths]
    return tuple((stat.st_mtime_ns, stat.st_size) if stat else None for stat in stats)


def relative_path(path: Path, dataset: Dataset) -> str:
    """Return a path as it stands below the dataset's folder."""
    return path.relative_to(dataset.root).as_posix()
