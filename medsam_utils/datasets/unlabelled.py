"""Images without masks as a dataset, to be clicked on and annotated."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..case import BadCaseError, BadInputError, Case, CaseReference
from ..intensity import EightBit, Percentile
from . import ANY_VALUE, Dataset, Listing, Passport, images
from .companions import companions
from .dataset import to_rgb
from .formats import FLAT, VOLUME
from .pairs import natural, walk
from .reading import reading
from .volume_files import Cut, Grid, Volume, find_cut, read_grid, read_volume
from .volumes import file_stamps


@dataclass(frozen=True)
class Unlabelled:
    """Reader of images that have no masks.

    only: the one file that is read; empty: the whole folder.

    plane: how volumes are cut, "axial", "coronal" or "sagittal". A case is a flat image or a slice.
    """

    only: str = ""
    plane: str = "axial"

    def list(self, dataset: Dataset) -> Listing:
        """List the cases in natural order; opens volumes for their shape, but no flat image."""
        references, exclusions = [], []
        for name in sorted(_names(dataset.root, self.only), key=natural):
            path = dataset.root / name
            indices: Iterable[int | None] = [None]
            if is_volume(name):
                try:
                    volume, cut = _read_cut(path, self.plane)
                except BadCaseError as error:
                    exclusions.append(dataset.exclusion(name, error, name))
                    continue
                indices = range(volume.values.shape[cut.slice_axis])
            ids = [(name if i is None else f"{name}_z{i:03d}", name, i) for i in indices]
            references += [CaseReference(dataset.name, *one, (path,), ()) for one in ids]
        return Listing(references, exclusions)

    def load(self, dataset: Dataset, reference: CaseReference) -> Case:
        """Read one case, without masks; raises BadCaseError."""
        (path,) = reference.images
        if reference.slice_index is None:
            values = images.read_image(path)
        else:
            volume, cut = _read_cut(path, self.plane)
            values = cut.slice(volume.values, reference.slice_index)
        return reference.case(to_rgb(values, dataset, path), {}, None, None)

    def grid(self, reference: CaseReference) -> Grid:
        """Return the grid of a case's volume; raises BadCaseError."""
        return read_grid(reference.images[0], self.plane)


def load_images(path: str | Path, plane: str = "axial") -> Dataset:
    """Return an image file, or a folder's images, as a dataset with the class "object".

    PNG, JPEG, TIFF, BMP and npy are shown as `load_folder` shows them, or else NIfTI and NRRD
    volumes slice by slice; a folder holds one of the two kinds. plane: how volumes are cut. Raises
    BadInputError if there is no such image, or both kinds.
    """
    path = Path(path).expanduser().resolve()
    root, only = (path, "") if path.is_dir() else (path.parent, path.name)
    kinds = {is_volume(name) for name in _names(root, only)} if path.exists() else set()
    if len(kinds) != 1:
        fact = "it holds volumes and flat images" if kinds else "no image is there"
        raise BadInputError(
            f"{path}: {fact}: give PNG, JPEG, TIFF, BMP or npy, or else NIfTI or NRRD"
        )
    return Dataset(
        name=path.name,
        title=path.name,
        modality="",
        classes={"object": ANY_VALUE},
        reader=Unlabelled(only, plane),
        intensity=Percentile() if kinds == {True} else EightBit(),
        passport=Passport(
            path.name, "", "", "", "", "image files", "every image, every slice of a volume"
        ),
        root=root,
    )


def is_volume(name: str) -> bool:
    """Tell by its name whether a file holds a volume."""
    return bool(re.search(f"{VOLUME}$", name, re.I))


def _names(root: Path, only: str) -> list[str]:
    """Names of the image files below a folder, or the one."""
    wanted = re.compile(f".*(?:{FLAT}|{VOLUME})", re.I)
    return [name for name in ([only] if only else walk(root, ())) if wanted.fullmatch(name)]


def _read_cut(path: Path, plane: str) -> tuple[Volume, Cut]:
    """Read a volume and how it is cut; the last one is kept."""
    with reading(path):
        return _read_once(path, plane, file_stamps([path, *companions(path)]))


@functools.lru_cache(maxsize=1)
def _read_once(path: Path, plane: str, stamps: tuple) -> tuple[Volume, Cut]:
    """Read a volume, see `_read_cut`."""
    volume = read_volume(path)
    return volume, find_cut(volume.values.shape, volume.affine, plane, path)
