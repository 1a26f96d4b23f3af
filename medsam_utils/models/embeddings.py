"""Image embeddings kept on disk, so that what comes later costs the decoder alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np

from ..files import read_sealed, write_sealed

SCAN_EVERY = 0.01  # of the limit: so much is written between two looks at the folder's size
KEEP = 0.9  # of the limit: so much is left when the least recently used are deleted


@dataclass
class EmbeddingStore:
    """A folder of float16 arrays by key, of at most about `limit` bytes.

    Any number of processes may use one folder: a file appears whole or not at all, and one that is
    deleted or damaged meanwhile is computed again. Each process looks at the folder's size after
    every hundredth of the limit that it has written, so the limit can be passed by that much per
    writer.
    """

    folder: Path
    limit: int = 20 * 10**9
    _unseen: float = field(default=float("inf"), repr=False)

    def get(self, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array of a key, float16, of any shape: read, or computed, rounded and kept.

        What is computed comes back rounded too, so that an answer does not depend on whether it was
        stored.
        """
        path = self.folder / key[:2] / f"{key}.sealed"
        try:
            array = np.load(BytesIO(read_sealed(path) or b""), allow_pickle=False)
            os.utime(path)  # its time of change is the time of its last use
            return array
        except (OSError, ValueError, EOFError):  # missing, deleted under our hands, damaged
            array = compute().astype(np.float16)
        file = BytesIO()
        np.save(file, array, allow_pickle=False)
        write_sealed(path, file.getvalue())
        self._unseen += array.nbytes
        if self._unseen > SCAN_EVERY * self.limit:
            self._unseen = 0
            self._evict()
        return array

    def _evict(self) -> None:
        """Delete the least recently used arrays if the folder has grown past the limit."""
        files = []
        for path in self.folder.glob("*/*"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # another process was quicker
            files.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in files)
        if total <= self.limit:
            return
        for _, size, path in sorted(files):
            path.unlink(missing_ok=True)
            total -= size
            if total <= KEEP * self.limit:
                break
