"""Command line of the renderer: `python -m medsam_utils.book.render`, which `make book` calls."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ...case import BadInputError
from ...datasets.folder import MASKS
from .build import build_book
from .execute import execute_pages
from .pages import PAGES, Page, checked, copy_book, own_chapter, read_pages, remove_chapter


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    options.add_argument(
        "--data", help="folder of real datasets; default: the environment's MEDSAM_DATA"
    )
    options.add_argument("--models", help='models of every page, such as "sam_vit_b grabcut"')
    options.add_argument("--device", help="cpu, cuda, cuda:1, mps")
    options.add_argument(
        "--jobs", type=int, help="notebooks executed at a time; default: one for each core"
    )
    options.add_argument("--root", type=Path, help="folder of runs.yml; default: this one")
    options.add_argument(
        "--out", type=Path, help="folder for the book and its pages; default: the root itself"
    )
    parser = argparse.ArgumentParser(
        "medsam_utils.book.render", parents=[options], description=__doc__
    )
    commands = parser.add_subparsers(dest="command")
    chapter = commands.add_parser(
        "chapter", parents=[options], help="a page of the book from your own folder"
    )
    chapter.add_argument("folder", type=Path, help="has images/ and masks/, see book/own.md")
    chapter.add_argument(
        "--title", default="", help="heading of the page; default: the folder's name"
    )
    remove = commands.add_parser("remove", parents=[options], help="take such a page away")
    remove.add_argument("page", help="its name, as its address ends, or its title")
    for name, text in MASKS.items():
        chapter.add_argument(f"--{name}", default="", help=text)
    given = parser.parse_args(arguments)
    # suppressed defaults: an option may stand before or after `chapter`, and neither overwrites the
    # other
    values = {name: value for name, value in vars(given).items() if value}
    root, jobs = values.get("root", Path()), values.get("jobs") or os.cpu_count() or 1
    overrides = {name: values[name] for name in ("data", "models") if name in values}
    if "device" in values:
        overrides["compute"] = f"device={values['device']}"
    if "data" in overrides:
        overrides["data"] = str(Path(overrides["data"]).expanduser().resolve())
    try:
        if "out" in values:
            root = copy_book(root, values["out"])
        if given.command == "remove":
            print(f"removed: {remove_chapter(given.page, root)}")
            failed = []
        elif given.command == "chapter":
            said = {name: values[name] for name in MASKS if name in values}
            page = own_chapter(given.folder, given.title, {**overrides, **said}, root)
            if not _make_chapter(checked(page, root, {}), root):
                return 1
            failed = []
        else:
            failed = execute_pages(read_pages(root, overrides), root, jobs)
    except BadInputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: pages that are done are kept, the others come next time")
        return 130
    status = build_book(root)
    if given.command == "chapter" and not status:
        print(f"your page: {(root / '_build/html' / PAGES / f'{page.page}.html').resolve()}")
    if failed:
        print(f"failed pages, each shows its error: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else status


def _make_chapter(page: Page, root: Path) -> bool:
    """Execute a reader's own chapter; a failed one leaves the page as it was."""
    path = page.path(root)
    before = path.read_bytes() if path.is_file() else None
    if not execute_pages([page], root, 1):
        return True
    if before is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(before)
        print(f"{page.page} stays as it was", file=sys.stderr)
    return False


if __name__ == "__main__":
    sys.exit(main())
