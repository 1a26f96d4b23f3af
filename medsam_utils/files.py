"""Files that are there whole or not at all, under names that every file system takes."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path beside the target; it becomes the target when the block ends without an error.

    The folder is made if it is missing. After an error the target is as it was, and what was
    written is deleted. Several processes may write one target: the last one's file stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield unfinished
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


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
