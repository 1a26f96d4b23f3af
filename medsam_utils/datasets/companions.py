"""Files that hold the values of another file, which is their header."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

from ..case import BadCaseError
from .reading import data_file, is_regular

_LONGEST_HEADER = 100_000


def companions(path: Path) -> list[Path]:
    """Return the files that hold the values of a header (.hdr, .mhd, .nhdr and the like); or none.

    Those that cannot be read or lie outside of the dataset's folder are left out.
    """
    suffix = path.suffix.lower()
    if suffix == ".hdr":
        names = [f"{path.stem}{end}" for end in (".img", ".IMG", ".img.gz")]
    elif suffix in (".mhd", ".nhdr", ".mha", ".nrrd"):
        try:
            state = os.stat(path)
        except OSError:
            return []
        names = list(_named(path, state.st_mtime_ns, state.st_size))
        if "%" in "".join(names[:1]):
            pattern = re.sub(r"%\d*d.*", "*", Path(names[0]).name)
            names = sorted(file.name for file in path.parent.glob(pattern))
    else:
        return []
    found = []
    for name in names:
        try:
            found.append(data_file(path, name))
        except (BadCaseError, ValueError):
            continue
    return found


@functools.lru_cache(1000)  # each slice of a volume asks for them
def _named(path: Path, changed: int, size: int) -> tuple[str, ...]:
    """Return the names of the files of values that a header of NRRD or MetaImage gives."""
    if not is_regular(path):
        return ()
    with path.open("rb") as file:
        text = file.read(_LONGEST_HEADER).decode("latin-1")
    if text.startswith("NRRD"):
        head, _, _ = text.replace("\r\n", "\n").partition("\n\n")
        match = re.search(r"^data ?file:[ \t]*(.*)", head, re.M | re.I)
    else:
        head, match = text, re.search(r"^\s*ElementDataFile\s*=[ \t]*(.*)", text, re.M | re.I)
    first = match[1].strip() if match else ""
    if first.upper().startswith("LIST") and match:
        return tuple(line.strip() for line in head[match.end() :].splitlines() if line.strip())
    return () if first.upper() in ("", "LOCAL") else (first,)
