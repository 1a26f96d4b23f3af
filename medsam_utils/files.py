"""Files that are there whole or not at all, under names that every file system takes."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(target: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a path beside the target; it becomes the target when the block ends without an error.

    The folder is made if it is missing. After an error the target is as it was, and what was
    written is deleted. Several processes may write one target: the last one's file stays. durable:
    it is on the disk, not only in the system's memory, before it has the target's name, so that a
    loss of power, too, leaves it whole or not at all; that takes some milliseconds.
    """
    make_folder(target.parent)
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield unfinished
        if durable:
            move_durably(unfinished, target)
        else:
            os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def move_durably(source: Path, target: Path) -> None:
    """Rename a file, so that a loss of power leaves its whole content under one of the names."""
    _sync(source, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    os.replace(source, target)
    _sync_folder(target.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, on the disk, where they are missing."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(missing):
        _sync_folder(path.parent)


def _sync(path: Path, flags: int) -> None:
    """Wait until what is written is on the disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can tell."""
    with suppress(OSError):
        _sync(folder, os.O_RDONLY)


def write_sealed(path: Path, content: bytes) -> None:
    """Write a file with its own hash in the first line, for `read_sealed`, which knows damage."""
    with atomic_path(path, durable=False) as unfinished:
        unfinished.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_sealed(path: Path) -> bytes | None:
    """Return the content that `write_sealed` wrote; None if there is none, or it is damaged."""
    try:
        seal, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return content if seal == hashlib.sha256(content).hexdigest().encode() else None


def file_name(*parts: str) -> str:
    """Return a name that every file system takes, different for different parts.

    >>> file_name("Squares", "a 1", "lesion"), file_name("Squares", "../a", "lesion")
    ('Squares__a-1-042a5f2e__lesion', 'Squares__a-61b4c98b__lesion')
    """
    safe = []
    for part in parts:
        plain = re.sub(r"[^A-Za-z0-9]+", "-", part).strip("-")[:60]
        kept = re.fullmatch(r"[A-Za-z0-9](?:[_.-]?[A-Za-z0-9])*", part) and len(part) <= 60
        safe.append(part if kept else f"{plain}-{hashlib.sha256(part.encode()).hexdigest()[:8]}")
    return "__".join(safe)


def tell_apart(files: Mapping[str, Any]) -> dict[str, Any]:
    """Return files under names that no file system takes for one; by a hash where capitals do.

    >>> list(tell_apart({"a.png": 1, "A.png": 2, "b.png": 3}))
    ['a-7f071235.png', 'A-28e6ae4e.png', 'b.png']
    """
    counts = Counter(name.casefold() for name in files)
    apart = {}
    for name, content in files.items():
        stem, dot, suffix = name.partition(".")
        mark = f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        apart[name if counts[name.casefold()] == 1 else f"{stem}{mark}{dot}{suffix}"] = content
    return apart
