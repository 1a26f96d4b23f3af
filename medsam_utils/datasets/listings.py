"""Listings that are kept: while no file has changed, listing a dataset again opens none of them."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cache import cache_folder
from ..case import CaseReference, Exclusion, Listing
from ..files import read_sealed, write_sealed
from .companions import companions
from .pairs import walk
from .reading import inside

if TYPE_CHECKING:
    from .dataset import Dataset

LONGEST = 100
"""So many listings are kept, the newest."""

SETTLED = 2.0
"""Seconds that files must have been left alone for: within a clock tick a second change shows no
new time."""


def list_once(dataset: Dataset, list_cases: Callable[[], Listing]) -> Listing:
    """Return the listing of a dataset that is kept in the cache folder, else what is listed anew.

    It holds for the dataset's folder and settings, the names, sizes and times of all files in the
    folder and of those that headers name elsewhere, and this package's code; whatever differs, the
    cases are listed anew. One with a file that could not be read is not kept, nor one by a reader
    that is not part of this package, or of one file. Warnings are given again. A damaged entry, or
    a cache that cannot be written, costs time and nothing else.
    """
    if getattr(dataset.reader, "only", "") or not _is_ours(dataset.reader):
        return list_cases()
    now = time.time()  # Later changes have a later time.
    entry, paths = _entry(dataset), _file_paths(dataset)
    stamp, newest = _look_at(paths, _code())
    found: tuple[Listing, Sequence[Any]] | None = _read_entry(entry, stamp, dataset)
    if found is None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            listing = list_cases()
        found = listing, [warning.message for warning in caught]
        elsewhere = _paths_elsewhere(dataset, listing, paths)
        state, newest_there = _look_at(elsewhere)
        settled = max(newest, newest_there) < now - SETTLED
        # What is unreadable may be readable the next time: memory, a network, a new decoder.
        if settled and all(e.kind != "unreadable" for e in listing.exclusions):
            _write_entry(entry, (stamp, elsewhere, state), dataset, *found)
    listing, messages = found
    for message in messages:
        warnings.warn(message, stacklevel=2)
    return listing


def _is_ours(reader: object) -> bool:
    """Tell whether a reader's code is part of this package, whose changes `_code` knows."""
    return type(reader).__module__.split(".")[0] == __package__.split(".")[0]


def _entry(dataset: Dataset) -> Path:
    """Return where the listing of a dataset's folder with its settings is kept."""
    settings = {key: value for key, value in dataset.settings().items() if "intensity" not in key}
    key = json.dumps([str(dataset.root), dataset.within, settings])
    return cache_folder() / "listings" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _file_paths(dataset: Dataset) -> list[str]:
    """Return the files of a dataset, and those directly in its root: readers look for tables."""
    names = walk(dataset.root, dataset.within, hidden=True)
    if dataset.within:
        beside = (found.name for found in os.scandir(dataset.root) if found.is_file())
        names = sorted({*names, *beside})
    return [f"{dataset.root}/{name}" for name in names]


def _paths_elsewhere(dataset: Dataset, listing: Listing, paths: list[str]) -> list[str]:
    """Return the files that headers of a listing name and that are not among the dataset's."""
    headers = dict.fromkeys(path for r in listing.references for path in (*r.images, *r.masks))
    with inside(dataset.root):
        found = {str(part) for path in headers for part in companions(path)}
    found |= {
        str(dataset.root / name) for left_out in listing.exclusions for name in left_out.files
    }
    return sorted(found.difference(paths))


def _look_at(paths: Iterable[str], start: str = "") -> tuple[str, float]:
    """Return a hash of the names, sizes and times of files, and the newest time of all."""
    newest, states = -np.inf, [start]
    for path in paths:
        stat = _state(path)
        if stat:
            newest = max(newest, stat.st_mtime, stat.st_ctime)
            state = f"{path}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}\n"
        else:
            state = f"{path}\0\n"
        states.append(state)
    content = "".join(states).encode(errors="surrogateescape")
    return hashlib.sha256(content).hexdigest(), newest


def _state(path: str) -> os.stat_result | None:
    """Return what tells that a file was touched; of a link to nothing its own, of nothing None."""
    for follow in (True, False):
        try:
            return os.stat(path, follow_symlinks=follow)
        except OSError:
            continue
    return None


@functools.cache
def _code() -> str:
    """Return the hash of the code that lists, and of the time when a library was last installed."""
    digest = hashlib.sha256(str(Path(np.__file__).parents[1].stat().st_mtime_ns).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read_entry(entry: Path, stamp: str, dataset: Dataset) -> tuple[Listing, list[str]] | None:
    """Return a kept listing and its warnings; None if there is none that is valid."""
    content = read_sealed(entry)
    stored = json.loads(content) if content else {}
    if not stored or stored["stamp"][0] != stamp:
        return None
    _, paths, state = stored["stamp"]
    if _look_at(paths)[0] != state:
        return None
    folders: dict[str, Path] = {}

    def path_of(file: str) -> Path:
        above, _, name = file.rpartition("/")
        if above not in folders:
            folders[above] = dataset.root / above
        return folders[above] / name

    references = []
    for patient, images, masks, cases in stored["volumes"]:
        paths = [tuple(map(path_of, files)) for files in (images, masks)]
        references += [
            CaseReference(dataset.name, case, patient, index, *paths) for case, index in cases
        ]
    exclusions, not_read = (
        [Exclusion(case, kind, path, fact, tuple(files)) for case, kind, path, fact, files in many]
        for many in (stored["exclusions"], stored["not_read"])
    )
    return Listing(references, exclusions, not_read), stored["warnings"]


def _write_entry(
    entry: Path,
    stamp: tuple[str, list[str], str],
    dataset: Dataset,
    listing: Listing,
    messages: list[Warning],
) -> None:
    """Keep a listing, in place of one of another state, and the newest `LONGEST` in all.

    stamp: of the dataset's files, then the files elsewhere and theirs.
    """

    def names(paths: tuple[Path, ...]) -> list[str]:
        return [path.relative_to(dataset.root).as_posix() for path in paths]

    def plain(exclusions: Iterable[Exclusion]) -> list[list[Any]]:
        return [[e.case_id, e.kind, e.path, e.fact, e.files] for e in exclusions]

    stored = {
        "stamp": stamp,
        "volumes": [
            [patient, names(images), names(masks), [[r.case_id, r.slice_index] for r in cases]]
            for (patient, images, masks), cases in groupby(
                listing.references, key=lambda r: (r.patient_id, r.images, r.masks)
            )
        ],
        "exclusions": plain(listing.exclusions),
        "not_read": plain(listing.not_read),
        "warnings": [str(message) for message in messages if type(message) is UserWarning],
    }
    try:
        write_sealed(entry, json.dumps(stored).encode())
        for old in sorted(entry.parent.iterdir(), key=os.path.getmtime)[:-LONGEST]:
            old.unlink(missing_ok=True)
    except OSError:
        pass
