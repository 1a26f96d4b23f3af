"""Executed notebooks and prose -> the book, as HTML."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ...case import BadInputError
from ..explorer.in_page import write_runtime
from .pages import PAGES


def build_book(root: Path) -> int:
    """Turn the executed pages and the prose into HTML; warnings are errors. Returns the exit
    status."""
    for page in (root / "_build/html" / PAGES / "own").glob("*.html"):
        if not (root / PAGES / "own" / f"{page.stem}.ipynb").is_file():
            page.unlink()  # Sphinx leaves the page of a chapter that is gone
    if (root / PAGES / "in_page").is_dir():
        try:
            write_runtime(root / "book/npm", root / PAGES / "in_page")
        except BadInputError as error:
            print(f"no page has a button that lets a reader click: {error}", flush=True)
    program = Path(sys.executable).with_name("jupyter-book")
    # --all takes a second more and repeats a warning until its cause is gone
    command = [
        program,
        "build",
        root,
        "--all",
        "--builder",
        "html",
        "-W",
        "-n",
        "--keep-going",
        "-q",
    ]
    built = subprocess.run(
        command, stdout=subprocess.PIPE, text=True
    )  # warnings and errors go to stderr
    if built.returncode:
        print(
            built.stdout,
            "the book was not built without fault: see above",
            sep="\n",
            file=sys.stderr,
        )
    else:
        print(f"the book: {(root / '_build/html/index.html').resolve()}")
    return built.returncode
