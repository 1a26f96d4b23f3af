"""Images without masks as a dataset, to be annotated; also beside those that have masks."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from ..case import BadCaseError, BadInputError, Case, CaseReference, Exclusion, Listing
from ..intensity import EightBit, Percentile
from . import ANY_VALUE, Dataset, Passport, images
from .by_name import ByName
from .dataset import to_rgb
from .dicom import read_header, read_pixels, read_series
from .formats import find_format
from .pairs import natural, walk
from .reading import reading
from .volume_files import Cut, Grid, Volume, find_cut, read_grid, read_volume
from .volumes import file_stamps


@dataclass(frozen=True)
class Unlabelled:
    """Reader of images that have no masks.

    only: the one file that is read; empty: the whole folder.

    plane: how volumes are cut, "axial", "coronal" or "sagittal". A case is a flat image, or a slice
    of a volume or of a DICOM series, whose files lie in a folder of their own.
    """

    only: str = ""
    plane: str = "axial"

    def list(self, dataset: Dataset) -> Listing:
        """List the cases in natural order; opens volumes for their shape, but no flat image."""
        references, exclusions = [], []
        sources, unreadable = _find_sources(dataset.root, self.only, dataset.within)
        for name, files in sources:
            try:
                references += _references(dataset, name, files, self.plane)
            except BadCaseError as error:
                exclusions.append(dataset.exclusion(name, error, files[0], files))
        exclusions += [dataset.exclusion(name, error, name) for name, error in unreadable]
        return Listing(references, exclusions)

    def load(self, dataset: Dataset, reference: CaseReference) -> Case:
        """Read one case, without masks; raises BadCaseError."""
        return _load(dataset, reference, self.plane)

    def grid(self, reference: CaseReference) -> Grid:
        """Return the grid of a case's volume; raises BadCaseError."""
        return _read_grid(reference.images, self.plane)


@dataclass(frozen=True)
class PartlyLabelled:
    """Reader of an own folder in which not everything has a mask.

    reader: of the images that have one. Those without one are cases too, and so are all slices of
    a volume. An image whose mask marks nothing is one without a mask.
    """

    reader: Any

    def list(self, dataset: Dataset) -> Listing:
        """List the cases in natural order of their names; opens masks and headers."""
        listing = self.reader.list(replace(dataset, reader=self.reader))
        references: list[CaseReference] = []
        for _, slices in groupby(listing.references, key=lambda r: r.images):
            found = list(slices)
            if found[0].slice_index is not None:
                found = _all_slices(found[0], self.reader.grid(found[0]).count)
            references += found
        exclusions = []
        taken = {reference.case_id for reference in references}
        for left_out in listing.exclusions:
            try:
                found = _without_mask(self.reader, dataset, left_out, taken)
            except BadCaseError as error:
                exclusions.append(dataset.exclusion(left_out.case_id, error, left_out.path))
                continue
            exclusions += [] if found else [left_out]
            references += found
            taken |= {reference.case_id for reference in found}
        return Listing(sorted(references, key=lambda r: natural(r.case_id)), exclusions)

    def load(self, dataset: Dataset, reference: CaseReference) -> Case:
        """Read one case, with its masks if it has any; raises BadCaseError."""
        if reference.masks:
            try:
                return self.reader.load(dataset, reference)
            except BadCaseError as error:
                if error.kind != "no object":
                    raise
        plane = getattr(self.reader, "plane", "axial")
        return _load(dataset, replace(reference, masks=()), plane)

    def grid(self, reference: CaseReference) -> Grid:
        """Return the grid of a case's volume; raises BadCaseError."""
        return _read_grid(reference.images, getattr(self.reader, "plane", "axial"))


def _without_mask(
    reader: Any, dataset: Dataset, left_out: Exclusion, taken: set[str]
) -> list[CaseReference]:
    """Return the cases of what was left out for want of an object; raises BadCaseError."""
    pairs: ByName = reader.pairs
    names = dict.fromkeys((left_out.path, *left_out.files))
    found = [name for name in names if name.startswith(f"{pairs.images}/")]
    is_alone = left_out.kind == "pairs" and len(found) == len(names)
    if not is_alone and left_out.kind != "no object":
        return []
    paths = [dataset.root / name for name in found]
    plane = getattr(reader, "plane", "axial")
    if pairs.kind == "series":
        return _references(dataset, left_out.case_id, paths, plane)
    references = []
    for name, path in zip(found, paths, strict=True):
        clear = len(found) == 1 and left_out.case_id not in taken
        key = left_out.case_id if clear else name.removeprefix(f"{pairs.images}/")
        references += _references(dataset, key, [path], plane)
    return references


def with_unlabelled(dataset: Dataset) -> Dataset:
    """Return an own folder with the images that have no mask, see `PartlyLabelled`.

    Other datasets come back as they are.
    """
    if isinstance(getattr(dataset.reader, "pairs", None), ByName):
        return replace(dataset, reader=PartlyLabelled(dataset.reader))
    return dataset


def labelled_cases(dataset: Dataset) -> set[str]:
    """Return the ids of the cases that have an object, as far as their listing tells."""
    reader: Any = dataset.reader
    if isinstance(reader, Unlabelled):
        return set()
    if isinstance(reader, PartlyLabelled):
        dataset = replace(dataset, reader=reader.reader)
    return {reference.case_id for reference in dataset}


def load_images(path: str | Path, plane: str = "axial", within: str = "") -> Dataset:
    """Return an image file, or a folder's images, as a dataset with the class "object".

    PNG, JPEG, TIFF, BMP and npy are shown as `load_folder` shows them, or else volumes (NIfTI,
    NRRD, MetaImage, FreeSurfer) and DICOM series slice by slice; a folder holds one of the two
    kinds, a series has a folder of its own. plane: how volumes are cut. within: a subfolder to look
    into, and into no other. Raises BadInputError if there is no such image, or both kinds.
    """
    path = Path(path).expanduser().resolve()
    root, only = (path, "") if path.is_dir() else (path.parent, path.name)
    folders = (within,) if within else ()
    sources = _find_sources(root, only, folders)[0] if path.exists() else []
    kinds = {_is_flat(files) for _, files in sources}
    if len(kinds) != 1:
        fact = "it holds volumes and flat images" if kinds else "no image is there"
        raise BadInputError(
            f"{path}: {fact}: give PNG, JPEG, TIFF, BMP or npy, or else NIfTI, NRRD or DICOM series"
        )
    return Dataset(
        name=path.name,
        title=path.name,
        modality="",
        classes={"object": ANY_VALUE},
        reader=Unlabelled(only, plane),
        intensity=EightBit() if kinds == {True} else Percentile(),
        passport=Passport(
            path.name, layout="image files", count_rule="every image, every slice of a volume"
        ),
        root=root,
        within=folders,
    )


def _find_sources(
    root: Path, only: str, within: tuple[str, ...]
) -> tuple[list[tuple[str, list[Path]]], list[tuple[str, BadCaseError]]]:
    """Find the images below a folder, or the one: names with files, and DICOM files not read.

    A DICOM file that says where it lies is part of the series in its folder.
    """
    sources: dict[str, list[Path]] = {}
    unreadable = []
    for name in [only] if only else walk(root, within):
        path = root / name
        if not (kind := find_format(path)):
            continue
        key = name
        if kind == "dicom" and not only:
            try:
                is_slice = read_header(path).position is not None
            except BadCaseError as error:
                unreadable.append((name, error))
                continue
            if is_slice:
                key = path.parent.relative_to(root).as_posix()
                key = root.name if key == "." else key
        sources.setdefault(key, []).append(path)
    return sorted(sources.items(), key=lambda item: natural(item[0])), unreadable


def _is_flat(files: Sequence[Path]) -> bool:
    """Tell whether files hold a flat image, not a volume or a series."""
    kind = find_format(files[0])
    if kind == "dicom":
        return len(files) == 1 and read_header(files[0]).position is None
    return kind == "flat"


def _references(
    dataset: Dataset, key: str, files: Sequence[Path], plane: str
) -> list[CaseReference]:
    """Return the case of a flat image, or one for each slice; raises BadCaseError."""
    if _is_flat(files):
        return [CaseReference(dataset.name, key, key, None, tuple(files), ())]
    if find_format(files[0]) == "dicom":
        files = read_series(files).paths
    first = CaseReference(dataset.name, f"{key}_z000", key, 0, tuple(files), ())
    return _all_slices(first, _read_grid(files, plane).count)


def _all_slices(one: CaseReference, count: int) -> list[CaseReference]:
    """Return the references of all slices of a volume, made from that of one."""
    return [replace(one, case_id=f"{one.volume}_z{i:03d}", slice_index=i) for i in range(count)]


def _load(dataset: Dataset, reference: CaseReference, plane: str) -> Case:
    """Read one case, without masks; raises BadCaseError."""
    path = reference.images[0]
    if reference.slice_index is None:
        values = images.read_image(path)
    else:
        with reading(path):
            volume, cut = _read_cut(reference.images, plane, file_stamps(dataset.files(reference)))
        values = cut.slice(volume.values, reference.slice_index)
    return reference.case(to_rgb(values, dataset, path), {}, None, None)


def _read_grid(files: Sequence[Path], plane: str) -> Grid:
    """Return the grid of a volume file or of a series; raises BadCaseError."""
    if find_format(files[0]) != "dicom":
        with reading(files[0]):
            return read_grid(files[0], plane)
    series = read_series(files)
    cut = find_cut(series.shape, series.affine, plane, files[0])
    return Grid(series.shape, series.affine, cut)


@functools.lru_cache(maxsize=1)
def _read_cut(files: tuple[Path, ...], plane: str, stamps: tuple) -> tuple[Volume, Cut]:
    """Read a volume and how it is cut; the last one is kept. stamps: see `file_stamps`."""
    is_series = find_format(files[0]) == "dicom"
    volume = read_pixels(read_series(files)) if is_series else read_volume(files[0])
    return volume, find_cut(volume.values.shape, volume.affine, plane, files[0])
