"""Hashes of what is in files: a file is read again only after it was touched."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from .cache import cache_folder
from .datasets import listings
from .files import read_sealed, write_sealed
from .machine import cores

State = list[int]  # size, time of change, of the last touch, number on its disk


def content_hashes(files: Iterable[Path], root: Path) -> dict[Path, str]:
    """Return the sha256 of each file's content.

    It is kept in the cache folder, an entry for each `root`, beside the file's size, times and
    inode, and holds while they are as they were: whoever changes a file and sets its time back
    changes the time of the last touch (ctime). What cannot be read, and what is no regular file,
    gets a hash that nothing else has, each time another one.
    """
    name = hashlib.sha256(str(root).encode(errors="surrogateescape")).hexdigest()[:32]
    entry, now = cache_folder() / "contents" / f"{name}.json", time.time()
    kept: dict[str, list] = json.loads(read_sealed(entry) or b"{}")
    hashes: dict[Path, str] = {}
    new: dict[str, list] = {}
    changed: dict[Path, State] = {}
    for path in files:
        state = _state(path)
        known = kept.get(str(path))
        if known and known[:-1] == state:
            hashes[path] = known[-1]
        else:
            changed[path] = state
    if not changed:
        return hashes
    try:
        with ThreadPoolExecutor(cores()) as threads:
            found = threads.map(_content_hash, changed)
            progress = tqdm(found, "contents of files", len(changed), unit="file", delay=5)
            for path, content in zip(changed, progress, strict=True):
                hashes[path] = content or uuid.uuid4().hex
                state = changed[path]
                # A second change within a clock tick shows no new time.
                if content and max(state[1:3], default=0) < (now - listings.SETTLED) * 1e9:
                    new[str(path)] = [*state, content]
    finally:  # also when it was interrupted
        if new:
            _keep(entry, kept | new)
    return hashes


def _state(path: Path) -> State:
    """Return what tells that a file was touched; nothing of what cannot be looked at."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _content_hash(path: Path) -> str:
    """Return the sha256 of a file, nothing of what cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _keep(entry: Path, hashes: dict[str, list]) -> None:
    """Keep the hashes of one folder's files, and the newest `LONGEST` entries in all."""
    try:
        write_sealed(entry, json.dumps(hashes).encode())
        for old in sorted(entry.parent.iterdir(), key=os.path.getmtime)[: -listings.LONGEST]:
            old.unlink(missing_ok=True)
    except OSError:  # a cache that cannot be written costs time and nothing else
        pass
