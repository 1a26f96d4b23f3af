"""Listings that are kept: while no file has changed, listing a dataset again opens none of them."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import cache_folder
from ..case import CaseReference, Exclusion
from ..files import atomic_path
from .dataset import Dataset, Listing
from .pairs import walk

LONGEST = 100
"""So many listings are kept, the newest."""

SETTLED = 2.0
"""Seconds that files must have been left alone for: within a clock tick a second change shows no
new time."""


def kept(list_cases: Callable[..., Listing]) -> Callable[..., Listing]:
    """Decorate a reader's `list`, so that its listing is kept in the cache folder.

    It holds for the dataset's folder and settings, the names, sizes and times of all files in the
    folder, and this package's code; whatever differs, the cases are listed anew. One with a file
    that could not be read is not kept. Warnings are given again. A damaged entry, or a cache that
    cannot be written, costs time and nothing else.
    """

    @functools.wraps(list_cases)
    def list_kept(reader: object, dataset: Dataset) -> Listing:
        entry, stamp, newest = _identify(dataset)
        found: tuple[Listing, Sequence[Any]] | None = _read_entry(entry, stamp, dataset)
        if found is None:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                listing = list_cases(reader, dataset)
            found = listing, [warning.message for warning in caught]
            # Judged by a time before the files were looked at: later changes have a later one.
            # What is unreadable may be readable the next time: memory, a network, a new decoder.
            settled = newest < -SETTLED
            if settled and all(e.kind != "unreadable" for e in listing.exclusions):
                _write_entry(entry, stamp, dataset, *found)
        listing, messages = found
        for message in messages:
            warnings.warn(message, stacklevel=2)
        return listing

    return list_kept


def _identify(dataset: Dataset) -> tuple[Path, str, float]:
    """Return the entry, a hash of what its content depends on, and minus the newest file's age."""
    settings = {key: value for key, value in dataset.settings().items() if "intensity" not in key}
    key = json.dumps([str(dataset.root), dataset.within, settings])
    entry = cache_folder() / "listings" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    # Readers look for tables beside the folders that a dataset is restricted to, too.
    beside = (
        (found.name for found in os.scandir(dataset.root) if found.is_file())
        if dataset.within
        else ()
    )
    newest, digest, now = -np.inf, hashlib.sha256(_code().encode()), time.time()
    for name in sorted({*walk(dataset.root, dataset.within), *beside}):
        try:
            stat = os.stat(f"{dataset.root}/{name}")
        except OSError:  # a link to nothing
            stat = os.lstat(f"{dataset.root}/{name}")
        newest = max(newest, stat.st_mtime, stat.st_ctime)
        state = f"{name}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}\n"
        digest.update(state.encode(errors="surrogateescape"))
    return entry, digest.hexdigest(), newest - now


@functools.cache
def _code() -> str:
    """Return the hash of the code that lists, and of the time when a library was last installed."""
    digest = hashlib.sha256(str(Path(np.__file__).parents[1].stat().st_mtime_ns).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read_entry(entry: Path, stamp: str, dataset: Dataset) -> tuple[Listing, list[str]] | None:
    """Return a kept listing and its warnings; None if there is none that is valid."""
    try:
        check, _, content = entry.read_bytes().partition(b"\n")
        if check.decode() != hashlib.sha256(content).hexdigest():
            return None
        stored = json.loads(content)
    except (OSError, ValueError):
        return None
    if stored.get("stamp") != stamp:
        return None
    references = []
    for patient, images, masks, cases in stored["volumes"]:
        paths = [tuple(dataset.root / name for name in names) for names in (images, masks)]
        references += [
            CaseReference(dataset.name, case, patient, index, *paths) for case, index in cases
        ]
    exclusions = [
        Exclusion(case, kind, path, fact, tuple(files))
        for case, kind, path, fact, files in stored["exclusions"]
    ]
    return Listing(references, exclusions), stored["warnings"]


def _write_entry(
    entry: Path, stamp: str, dataset: Dataset, listing: Listing, messages: list[Warning]
) -> None:
    """Keep a listing, in place of one of another state, and the newest `LONGEST` in all."""

    def names(paths: tuple[Path, ...]) -> list[str]:
        return [path.relative_to(dataset.root).as_posix() for path in paths]

    volumes = [
        [patient, names(images), names(masks), [[r.case_id, r.slice_index] for r in cases]]
        for (patient, images, masks), cases in groupby(
            listing.references, key=lambda r: (r.patient_id, r.images, r.masks)
        )
    ]
    exclusions = [[e.case_id, e.kind, e.path, e.fact, e.files] for e in listing.exclusions]
    texts = [str(message) for message in messages if type(message) is UserWarning]
    stored = {"stamp": stamp, "volumes": volumes, "exclusions": exclusions, "warnings": texts}
    content = json.dumps(stored).encode()
    try:
        with atomic_path(entry) as unfinished:
            unfinished.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        for old in sorted(entry.parent.iterdir(), key=os.path.getmtime)[:-LONGEST]:
            old.unlink(missing_ok=True)
    except OSError:
        pass
