"""Datasets: the study's, read as they are distributed; phantoms in the same formats; your own folder."""

from __future__ import annotations

import difflib
import os
from dataclasses import replace
from pathlib import Path

from medsam_utils.case import BadInputError
from medsam_utils.datasets.dataset import MARKER, Dataset, Listing, Passport
from medsam_utils.datasets.entries import ENTRIES as DATASETS
from medsam_utils.datasets.folder import load_folder
from medsam_utils.datasets.masks import FOREGROUND

__all__ = ["DATASETS", "FOREGROUND", "Dataset", "Listing", "Passport", "load_dataset", "load_folder"]


def load_dataset(name: str, data: str | Path | None = None) -> Dataset:
    """Return a dataset of `DATASETS` with its files: the real ones if they are there, else phantoms.

    data: the folder of real datasets, by default the environment variable MEDSAM_DATA. The files
    are looked for in `data/<name>`, unpacked to whatever depth, then in the distribution's own top
    folders directly below `data`. `data/<name>/images` and `data/<name>/masks` with equal names, the
    form that the study's released code reads, are taken too. Where files are found, the level is
    "measured"; otherwise phantoms are written to the cache in the dataset's own format, once, and
    the level is "demo".

    Raises BadInputError for an unknown name and for a `data` folder that does not exist.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise BadInputError(f"Unknown dataset {name!r}.{hint} Known: {', '.join(sorted(DATASETS))}.")
    entry = DATASETS[name]
    data = data or os.environ.get("MEDSAM_DATA")
    if data:
        data = Path(data).expanduser().resolve()
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
    # Imported here, so that phantoms.py can be run with `python -m`.
    from medsam_utils.datasets.phantoms import phantom_folder

    return replace(entry, root=phantom_folder(name), level="demo")


def _prepared(entry: Dataset, root: Path) -> Dataset:
    """Return an entry whose images have been prepared as the study's released code reads them.

    Binary masks are the class of an entry that has one; otherwise values are the entry's labels.
    """
    folder = load_folder(root, name=entry.name)
    binary = FOREGROUND in folder.classes.values()
    if binary and len(entry.classes) > 1:
        raise BadInputError(
            f"{root}: its masks are binary, {entry.name} has the classes {', '.join(entry.classes)}: "
            "give a folder per class to load_folder, or masks with the label values"
        )
    classes = dict.fromkeys(entry.classes, FOREGROUND) if binary else entry.classes
    shown = {"intensity": folder.intensity, "class_intensity": {}}
    return replace(entry, root=root, reader=folder.reader, classes=classes, **shown)
