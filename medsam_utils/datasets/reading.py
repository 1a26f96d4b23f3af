"""The boundary where a file becomes values: whole, not too large, in its folder; or why not."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ..case import BadCaseError, BadInputError
from ..machine import over_limit

BEYOND = 1 << 26
"""So many bytes may follow, in packed files, those that the header declares."""

LARGEST_ITEM = 8
"""Bytes that a number takes while it is worked on, however it is stored."""

_CUT = r"truncated|end of|ended before|smaller than|not enough|incomplete"
"""What libraries say of files that are cut short."""

_ROOT: ContextVar[Path | None] = ContextVar("root", default=None)
# Files of values that were found below a dataset's folder: who asks for the grid of a case, later,
# knows no folder.
_FOUND: set[str] = set()


@contextmanager
def inside(root: Path | None) -> Iterator[None]:
    """Let headers name files of values anywhere below a dataset's folder, see `data_file`."""
    token = _ROOT.set(root)
    try:
        yield
    finally:
        _ROOT.reset(token)


@contextmanager
def reading(
    path: Path,
    fact: str = "cannot be read ({}): copy or export it again",
    names_patients: bool = False,
) -> Iterator[None]:
    """Raise BadCaseError that names a file for whatever its parser raises.

    The parser's own error is the cause. Its text may hold what stands in the file, so that only its
    type is told, in place of {} in `fact`; names_patients: the file is of a kind that says who is
    shown, and no traceback is to quote it, so that the error has no cause. MemoryError passes: it
    is no fault of the file, whose declared size `check_limit` looks at before. What is no regular
    file is not opened.
    """
    try:
        if not is_regular(path):
            raise BadCaseError(why_irregular(path), path, kind="unreadable")
        yield
    except (BadInputError, MemoryError):
        raise
    except Exception as error:
        reason = "its end is missing" if re.search(_CUT, str(error)) else type(error).__name__
        cause = None if names_patients else error
        raise BadCaseError(fact.format(reason), path, kind="unreadable") from cause


def is_regular(path: Path) -> bool:
    """Tell whether a path leads to a regular file, which alone can be read to its end."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):  # a link to nothing, or to itself; a name that no file can have
        return False


def why_irregular(path: Path) -> str:
    """Return why a path is not read that leads to no regular file."""
    if path.is_symlink() and not os.path.exists(path):
        return "a link that leads to no file: copy the file there"
    if not os.path.lexists(path):
        return "no such file: copy it there"
    return "no regular file (a pipe, a device or a folder): copy the file there"


def check_limit(needed: float, path: Path) -> None:
    """Raise BadCaseError if a file declares more bytes than one file may take."""
    if fact := over_limit(needed):
        raise BadCaseError(fact, path, kind="unreadable")


def data_file(path: Path, name: str) -> Path:
    """Return the file that a header names as the one with its values.

    It is a regular file below the dataset's folder, see `inside`, or below the header's own.
    Raises BadCaseError if it is not.
    """
    part = path.parent / name
    roots = [root for root in (_ROOT.get(), path.parent) if root]
    places = [Path(os.path.realpath(root)) for root in roots]
    places.append(Path(os.path.realpath(path)).parent)
    real = os.path.realpath(part)
    if any(Path(real).is_relative_to(place) for place in places):
        _FOUND.add(real)
    elif real not in _FOUND:
        # The name is not quoted: what a header says may be anything.
        raise BadCaseError(
            "its values are in a file outside of the dataset's folder, which is not read: put the "
            "file beside it, and name it without a folder",
            path,
            kind="unreadable",
        )
    if not is_regular(part):
        what = "is no regular file" if os.path.exists(part) else "is missing: copy it there too"
        raise BadCaseError(f"its values are in {part.name}, which {what}", path, kind="unreadable")
    return part


def inflate(packed: bytes, size: int, wbits: int = 31) -> bytes:
    """Return the first bytes of what deflate has packed, after all checksums were compared.

    size: how many, more than 0. wbits: as of zlib; 31 for gzip, of which there may be several
    members. Raises zlib.error, EOFError or OSError for what is damaged, cut short, or holds over
    `BEYOND` bytes more.
    """
    stream = zlib.decompressobj(wbits)
    content = stream.decompress(packed, size)
    beyond = stream.decompress(stream.unconsumed_tail, BEYOND)
    if stream.eof and (len(content) == size or not stream.unused_data):
        return content
    if len(beyond) == BEYOND:
        raise EOFError("more values than declared")
    if packed[:2] != b"\x1f\x8b":
        raise EOFError("the stream is truncated")
    with gzip.open(io.BytesIO(packed)) as file:
        return first_bytes(file, size)


def first_bytes(file: io.BufferedIOBase | gzip.GzipFile, size: int) -> bytes:
    """Return the first bytes of a packed file that is read to its end, where its checksum is."""
    content, beyond = file.read(size), 0
    while part := file.read(1 << 20):
        beyond += len(part)
        if beyond > BEYOND:
            raise EOFError("more values than declared")
    return content
