"""Files that hold the values of another file, which is their header."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def companions(path: Path) -> list[Path]:
    """Return the files that hold the values of a header file (.hdr, .mhd, .nhdr); else none."""
    suffix = path.suffix.lower()
    if suffix == ".hdr":
        names: Iterable[str] = (f"{path.stem}{end}" for end in (".img", ".IMG", ".img.gz"))
    elif suffix in (".mhd", ".nhdr"):
        try:
            text = path.read_bytes()[:100_000].decode("latin-1")
        except OSError:
            return []
        match = re.search(r"^(?:ElementDataFile\s*=|data ?file:)[ \t]*(.*)", text, re.M | re.I)
        first = match[1].strip() if match else ""
        names = [line.strip() for line in text[match.end() :].splitlines()] if match else []
        names = names if first.upper().startswith("LIST") else [first]
        if "%" in first:
            names = (file.name for file in path.parent.glob(re.sub(r"%\d*d.*", "*", first)))
    else:
        return []
    return [path.parent / name for name in names if name and (path.parent / name).is_file()]
