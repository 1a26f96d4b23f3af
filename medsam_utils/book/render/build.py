"""Executed notebooks and prose -> the book, as HTML."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

from ...case import BadInputError
from ..explorer.in_page import write_runtime
from .pages import PAGES
from .state import code_state


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
    state, known = book_state(root), root / "_build/state"
    index = root / "_build/html/index.html"
    if index.is_file() and known.is_file() and known.read_text() == state:
        print(f"the book is as it was: {index.resolve()}")
        return 0
    known.unlink(missing_ok=True)
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
        known.write_text(state)
        print(f"the book: {index.resolve()}")
    return built.returncode


def book_state(root: Path) -> str:
    """Return a hash of all that the HTML depends on: text, executed pages, settings, programs."""
    digest = hashlib.sha256(code_state(root).encode())
    for name in ("jupyter-book", "sphinx", "sphinx-book-theme", "myst-nb"):
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    files = [path for path in (root / "book").rglob("*") if "__pycache__" not in path.parts]
    for path in sorted([*root.glob("*.md"), *root.glob("*.yml"), *files]):
        if path.is_file():
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()
