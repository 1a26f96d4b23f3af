"""Reader of volumes, cut into upright slices one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np

from ..case import BadCaseError, BadInputError, Case, CaseReference, Listing
from .by_name import ByName
from .dataset import Dataset, to_rgb
from .mask_files import is_segmentation, read_segmentation
from .masks import Asked, Marks, check_labels, class_masks, interpret, overlap
from .pairs import Pair, Pairs
from .reading import reading
from .volume_files import (
    PLANES,
    Grid,
    Volume,
    check_same_grid,
    find_cut,
    is_identity,
    read_grid,
    read_volume,
)


@dataclass(frozen=True)
class Volumes:
    """Reader of volume files with mask files, slice by slice.

    plane: which slices to cut, "axial" (across the superior-inferior axis), "coronal" or
    "sagittal"; or "stored", for files that hold pictures: their axes are (row, column, slice),
    upright as they are. channels: the name of the image of each case that is read, or three names,
    shown as red, green and blue, each under the intensity rule for itself; see `Pairs.channels`.
    rater: whose masks count, one of `Pairs.raters`; "majority": what more than half of them mark;
    "any": all masks of a case are united. min_pixels: slices in which no class has so many pixels
    are left out; one_slice: of each volume only the slice with most pixels is kept, the sum over
    classes. trust_identity: whether an affine with neither direction nor spacing counts as what the
    scanner said. Where it does not, the axes are taken to run to the right, anterior and superior,
    the spacing is unknown, and masks have to agree with the image in shape alone.

    A case is a slice with at least one pixel of a class; its id is the volume's key and the slice
    index, counted from 0 along the slice axis of the file's own array. A volume whose key is empty
    is the dataset's only one, and has its name.
    """

    pairs: Pairs | ByName
    plane: str = "axial"
    channels: str | tuple[str, ...] = ()
    rater: str | int = "any"
    min_pixels: int = 1
    one_slice: bool = False
    trust_identity: bool = True

    def __post_init__(self) -> None:
        """Raise BadInputError for an option that does not exist."""
        names = [name for name, _ in self.pairs.channels]
        channels = (self.channels,) if isinstance(self.channels, str) else tuple(self.channels)
        raters = ("any", *(("majority", *self.pairs.raters) if self.pairs.raters else ()))
        if self.plane not in (*PLANES, "stored"):
            raise BadInputError(f"plane is {self.plane!r}: choose {', '.join(PLANES)} or stored")
        if len(channels) not in ((1, 3) if names else (0,)) or not set(channels) <= set(names):
            raise BadInputError(f"channels is {self.channels!r}: choose one or three of {names}")
        if str(self.rater) not in raters:
            raise BadInputError(f"rater is {self.rater!r}: choose {', '.join(raters)}")

    def list(self, dataset: Dataset) -> Listing:
        """List the slices that hold a class; reads the masks, opens no image."""
        channels = (self.channels,) if isinstance(self.channels, str) else tuple(self.channels)
        rater = str(self.rater)
        raters = {"any": (), "majority": self.pairs.raters}.get(rater, (rater,))
        pairs, exclusions = self.pairs.find(dataset.root, dataset.within, channels, raters)
        references = []
        for pair in pairs:
            path, key = relative_path(pair.masks[0], dataset), pair.key or dataset.name
            try:
                with reading(pair.masks[0]):
                    areas = self._areas(dataset, pair)
                kept = choose_slices(areas, self.min_pixels, self.one_slice, pair.masks[0])
            except BadCaseError as error:
                files = (*pair.images, *pair.masks)
                exclusions.append(dataset.exclusion(key, error, path, files))
                continue
            references += [
                CaseReference(
                    dataset.name,
                    f"{key}_z{i:03d}",
                    pair.patient or key,
                    i,
                    pair.images,
                    pair.masks,
                )
                for i in kept
            ]
        return Listing(references, exclusions)

    def load(self, dataset: Dataset, reference: CaseReference) -> Case:
        """Read one slice; the volume is kept until a slice of another one is asked for."""
        with reading(reference.images[0]):
            images, masks = _read_case(dataset, reference, self.trust_identity)
            image, index = images[0], reference.slice_index
            cut = find_cut(image.values.shape, image.affine, self.plane, reference.images[0])
        channels = [
            to_rgb(cut.slice(volume.values, index), dataset, path)
            for volume, path in zip(images, reference.images, strict=True)
        ]
        votes, labelled, ignored = [], [], []
        for path, marks in zip(reference.masks, masks, strict=True):
            here = replace(marks, values=cut.slice(marks.values, index))
            votes.append(class_masks(here, dataset.classes, dataset.mask_threshold, path))
            marked = [here.values > 0] if marks.meaning.kind != "soft" else []
            labelled.append(np.any([*marked, *votes[-1].values()], axis=0))
            if marks.ignored is not None:
                ignored.append(cut.slice(marks.ignored, index))
        sizes = nibabel.affines.voxel_sizes(image.affine)
        known = self.trust_identity or not is_identity(image.affine)
        return reference.case(
            image=channels[0] if len(channels) == 1 else np.dstack([c[..., 0] for c in channels]),
            masks={name: self._decide([vote[name] for vote in votes]) for name in dataset.classes},
            labelled=None if overlap(dataset.classes) else self._decide(labelled),
            # Headers hold them in single precision: 2.2 would come back as 2.200000047683716.
            spacing=(round(float(sizes[cut.row_axis]), 6), round(float(sizes[cut.column_axis]), 6))
            if known
            else None,
            ignored=np.any(ignored, axis=0) if ignored else None,
        )

    def grid(self, reference: CaseReference) -> Grid:
        """Return the grid of a case's volume; raises BadCaseError."""
        return read_grid(reference.images[0], self.plane)

    def slices(self, reference: CaseReference) -> tuple[int, float | None]:
        """Return the number of slices of a case's volume, and their distance in mm, if known."""
        grid = self.grid(reference)
        known = self.trust_identity or not is_identity(grid.affine)
        return grid.count, round(grid.apart, 6) if known else None

    def read_marks(self, dataset: Dataset, path: Path) -> Marks:
        """Read a mask file as what it means in a dataset; raises BadCaseError."""
        return read_marks(dataset, path)[1]

    def _decide(self, masks: Sequence[np.ndarray]) -> np.ndarray:
        """Return the pixels that enough of the masks mark."""
        needed = len(masks) // 2 + 1 if self.rater == "majority" else 1
        # One after the other: stacked, arrays in Fortran order would be copied, element by element.
        if len(masks) == 1:
            return masks[0]
        return (
            sum((mask.astype(np.uint8) for mask in masks[1:]), masks[0].astype(np.uint8)) >= needed
        )

    def _areas(self, dataset: Dataset, pair: Pair) -> np.ndarray:
        """Return how many pixels each class has in each slice, classes x slices.

        Where neither a smallest area nor the largest slice is asked for, 1 stands for any number.
        """
        parts = []
        for path in pair.masks:
            grid = read_grid(pair.images[0], self.plane) if is_segmentation(path) else None
            volume, marks = read_marks(dataset, path, grid)
            cut = find_cut(volume.values.shape, volume.affine, self.plane, path)
            check_labels(marks.values, dataset.classes, dataset.other_labels, path)
            masks = class_masks(marks, dataset.classes, dataset.mask_threshold, path)
            parts.append((masks, (cut.row_axis, cut.column_axis)))
        if len({mask.shape for masks, _ in parts for mask in masks.values()}) > 1:
            raise BadCaseError(
                "the masks of one image differ in shape: resample them to the image",
                path,
                kind="grid",
            )
        count = np.count_nonzero if self.one_slice or self.min_pixels > 1 else np.any
        across = parts[0][1]
        decided = [self._decide([masks[name] for masks, _ in parts]) for name in dataset.classes]
        return np.array([count(mask, axis=across) for mask in decided])


def choose_slices(areas: np.ndarray, min_pixels: int, one_slice: bool, path: Path) -> list[int]:
    """Return the indices of the slices that are cases, see `Volumes`.

    areas: pixels of each class in each slice, classes x slices. Raises BadCaseError if there is
    none.
    """
    kept = np.flatnonzero(areas.max(axis=0) >= max(min_pixels, 1))
    if not kept.size:
        few = f"no class has {min_pixels} pixels in a slice"
        raise BadCaseError(
            few if areas.any() else "no labelled pixel in the volume", path, kind="no object"
        )
    return [int(kept[areas.sum(axis=0)[kept].argmax()])] if one_slice else kept.tolist()


# The volume read last, so that slices in a row cost one reading; never more than one, so that
# memory does not grow with the dataset.
_last: dict[tuple, tuple] = {}


def _read_case(
    dataset: Dataset, reference: CaseReference, trust_identity: bool
) -> tuple[list[Volume], list[Marks]]:
    """Read the volumes of a case and its masks, or return the last ones again.

    Raises BadCaseError unless all of them lie on one grid.
    """
    files = dataset.files(reference)
    # With time and size, so that a changed file is read again.
    key = (tuple(files), file_stamps(files), trust_identity, json.dumps(dataset.mask_settings()))
    kept = _last.get(key)
    if kept is None:
        _last.clear()
        kept = _last[key] = _read_anew(dataset, reference, trust_identity)
    return kept


def _read_anew(
    dataset: Dataset, reference: CaseReference, trust_identity: bool
) -> tuple[list[Volume], list[Marks]]:
    """Read volumes and masks, see `_read_case`."""
    images: list[Volume] = []
    masks = []
    for path in (*reference.images, *reference.masks):
        is_image = path in reference.images
        volume, marks = (
            (read_volume(path), None) if is_image else read_marks(dataset, path, images[0])
        )
        if images:
            what = "channel" if is_image else "mask"
            lost = not trust_identity and (
                is_identity(images[0].affine) or is_identity(volume.affine)
            )
            check_same_grid(images[0], volume, path, what, shape_only=lost)
        if is_image:
            images.append(volume)
        else:
            masks.append(marks)
    return images, masks


def read_marks(
    dataset: Dataset | Asked, path: Path, image: Volume | Grid | None = None
) -> tuple[Volume, Marks]:
    """Read a mask file: where it lies, and what it means in a dataset; raises BadCaseError.

    image: whose grid a segmentation that was cut to its segments is set into.
    """
    names = None
    if is_segmentation(path):
        volume, names = read_segmentation(path, image)
    else:
        volume = read_volume(path)
    return volume, interpret(volume.values, dataset, path, names=names)


def file_stamps(paths: Iterable[Path]) -> tuple:
    """Return time and size of each file; a missing file has none."""
    stats = [path.stat() if path.exists() else None for path in paths]
    return tuple((stat.st_mtime_ns, stat.st_size) if stat else None for stat in stats)


def relative_path(path: Path, dataset: Dataset) -> str:
    """Return a path as it stands below the dataset's folder."""
    return path.relative_to(dataset.root).as_posix()
