"""Unpacking of archives: nothing outside the folder, nothing larger than the disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, Any

from ..case import BadInputError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")

HEADER = 16 << 20  # bytes that a member's header may take; those of datasets take some hundred
BLOCK = 4096  # bytes that a file takes on the disk, however small it is


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a zip or tar file to `folder`, which must not exist yet, and return it.

    All or nothing: `folder` appears by a rename, when everything is in it. Refused are members that
    would lie outside it (absolute paths, "..", a drive), links and devices, archives that declare
    more than the disk can take, and what is cut off, damaged or empty.

    Raises BadInputError.
    """
    # Named with a dot, so that no reader looks into it; the same name again, so that what a killed
    # process has left is removed by the next.
    temporary = folder.with_name(f".unpacking-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    free = shutil.disk_usage(temporary).free
    try:
        for name, size, is_plain, extract in _members(archive, temporary):
            path = PureWindowsPath(name)  # It knows both kinds of slashes, and drives.
            if path.drive or path.root or ".." in path.parts:
                raise BadInputError(
                    f"{archive}: the member {name!r} would lie outside the folder: not unpacked"
                )
            # No dataset needs links, and they are how archives write elsewhere.
            if not is_plain:
                raise BadInputError(
                    f"{archive}: the member {name!r} is a link or a device: not unpacked"
                )
            free -= max(size, BLOCK)
            if free < 0 or size < 0:
                raise BadInputError(
                    f"{archive}: it unpacks to more than the disk has free: make room, or unpack "
                    "it elsewhere"
                )
            extract()
        if not any(temporary.iterdir()):  # a file of zeros is an empty tar
            raise BadInputError(f"{archive}: no file is in it: delete it and fetch it again")
        temporary.rename(folder)
    except (BadInputError, MemoryError):
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors have no common base
        raise BadInputError(
            f"{archive}: cannot be unpacked ({error}): if the disk is not full, delete it and "
            "fetch it again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _members(archive: Path, folder: Path) -> Iterator[tuple[str, int, bool, Callable[[], object]]]:
    """Yield each member's name, declared bytes, whether it is plain, and how to extract it."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                # As given in the archive: `filename` is cleaned already on some systems.
                extract = partial(file.extract, info, folder)
                yield info.orig_filename, info.file_size, is_plain, extract
    else:
        with _decompressed(archive) as stream, tarfile.open(None, "r:", fileobj=stream) as file:
            while member := file.next():  # One pass: a large tar.gz is not read twice.
                file.members = []  # type: ignore[attr-defined]  # it would keep them all
                stream.budget = None
                write = partial(_write_member, file, member, folder)
                yield member.name, member.size, member.isfile() or member.isdir(), write
                stream.budget = HEADER
            # tarfile takes a file that ends between two members for whole; a whole one ends in
            # zeros.
            if stream.tell() < file.offset + tarfile.BLOCKSIZE:
                raise tarfile.ReadError("it is cut off")
            while stream.read(1 << 16):  # to the end, where a compressed file has its checksum
                pass


class _Stream:
    """A decompressed archive.

    budget: bytes that may still be read, as long as a header is read; None while a member is.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell
        self.budget: int | None = HEADER

    def read(self, size: int) -> bytes:
        """Read so many bytes; raises tarfile.ReadError past the budget."""
        if self.budget is not None:
            self.budget -= size
            if self.budget < 0:
                raise tarfile.ReadError(f"a header, or its end, has more than {HEADER >> 20} MiB")
        return self.file.read(size)


@contextmanager
def _decompressed(archive: Path) -> Iterator[Any]:
    """Open a tar file, whatever it is compressed with."""
    with archive.open("rb") as file:
        start = file.read(6)
    kinds: dict[bytes, Callable] = {
        b"\x1f\x8b": gzip.open,
        b"BZh": bz2.open,
        b"\xfd7zXZ\0": lzma.open,
    }
    unpacked = [kind for magic, kind in kinds.items() if start.startswith(magic)] or [open]
    with unpacked[0](archive, "rb") as file:
        yield _Stream(file)


def _write_member(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write a plain file or folder without owner, mode and time.

    Python 3.11.2 has no filter for these.
    """
    path = folder / member.name
    (path if member.isdir() else path.parent).mkdir(parents=True, exist_ok=True)
    if member.isfile():
        with archive.extractfile(member) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
