"""Command line: python -m medsam_utils.demo.phantoms FOLDER [name ...]."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...case import BadInputError
from . import WRITERS, write_phantoms


def main() -> None:
    """Write phantoms to a folder, to see what files are expected."""
    parser = argparse.ArgumentParser(
        prog="python -m medsam_utils.demo.phantoms", description=main.__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"which: {', '.join(WRITERS)}; all by default"
    )
    arguments = parser.parse_args()
    for name in arguments.names or WRITERS:
        if name not in WRITERS:
            raise BadInputError(f"no phantoms of {name!r}: choose from {', '.join(WRITERS)}")
        write_phantoms(name, arguments.folder / name)
        print(arguments.folder / name)


if __name__ == "__main__":
    main()
