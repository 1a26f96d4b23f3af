"""Executed notebooks and prose -> the book, as HTML."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import yaml

from ...case import BadInputError
from ..explorer.in_page import write_runtime
from ..explorer.own_image import write_own_image
from .pages import PAGES, read_runs
from .state import code_state

PARAMETERS = {"parameters", "injected-parameters"}  # tags of cells that hold them
OWN = "book/own"  # the page below which a reader's own chapters stand


def build_book(root: Path) -> int:
    """Turn the executed pages and the prose into HTML; warnings are errors. Returns the exit
    status."""
    for page in (root / "_build/html" / PAGES / "own").glob("*.html"):
        if not (root / PAGES / "own" / f"{page.stem}.ipynb").is_file():
            page.unlink()  # Sphinx leaves the page of a chapter that is gone
    if (root / PAGES / "in_page").is_dir():
        own_image = functools.partial(write_own_image, results=root / "results")
        for write, fact in (
            (write_runtime, "no page has a button that lets a reader click"),
            (own_image, "the page for own images opens none"),
        ):
            try:
                write(root / "book/npm", root / PAGES / "in_page")
            except BadInputError as error:
                print(f"{fact}: {error}", flush=True)
    state, known = book_state(root), root / "_build/state"
    index = root / "_build/html/index.html"
    if index.is_file() and known.is_file() and known.read_text() == state:
        print(f"the book is as it was: {index.resolve()}")
        return 0
    known.unlink(missing_ok=True)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", root, "--all", "-q"]
    if missing := _missing_pages(root):
        print(f"{len(missing)} pages of the book are not made yet: make book", flush=True)
        contents = root / "_build/contents.yml"
        contents.parent.mkdir(exist_ok=True)
        contents.write_text(yaml.safe_dump(_contents(root), sort_keys=False), encoding="utf-8")
        command += ["--toc", contents]  # links to the missing pages are no faults
    else:
        command += ["-W", "-n", "--keep-going"]
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
        for path in (root / "_build/html/_sources").rglob("*.ipynb"):
            hide_folders(path)
        known.write_text(state)
        print(f"the book: {index.resolve()}")
    return built.returncode


def hide_folders(path: Path) -> None:
    """Name the files and folders that parameters of a notebook give without what is above them.

    path: the copy of an executed page that readers may download.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("medsam", None)
    cells = [cell for cell in notebook.cells if PARAMETERS & set(cell.metadata.get("tags", []))]
    sources = "\n".join(cell.source for cell in cells)
    values = dict(re.findall(r'^(\w+) = "(.+)"$', sources, re.MULTILINE))
    options = shlex.split(values.pop("compute", ""))
    ends = [*values.values(), *(option.partition("=")[2] for option in options)]
    named = {end for end in ends if end.startswith("/")}
    text = nbformat.writes(notebook)
    for name in sorted(named, key=len, reverse=True):
        text = text.replace(json.dumps(name, ensure_ascii=False)[1:-1], Path(name).name)
    path.write_text(text, encoding="utf-8")


def _missing_pages(root: Path) -> list[str]:
    """Return the pages of runs.yml that were not executed yet."""
    pages = read_runs(root)["pages"]
    return [page["page"] for page in pages if not (root / PAGES / f"{page['page']}.ipynb").exists()]


def _contents(root: Path) -> dict[str, Any]:
    """Return _toc.yml without the pages that are not there; the own chapters lead where the first
    page is missing."""

    def exists(name: str) -> bool:
        return any(root.glob(f"{name}.*"))

    def chapters(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for entry in entries:
            sections = chapters(entry.get("sections", []))
            if "file" in entry and (entry["file"] == first or not exists(entry["file"])):
                found += sections
            else:
                found.append(entry | ({"sections": sections} if sections else {}))
        return found

    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    first = toc["root"] if exists(toc["root"]) else OWN
    parts = [part | {"chapters": chapters(part["chapters"])} for part in toc["parts"]]
    return toc | {"root": first, "parts": [part for part in parts if part["chapters"]]}


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
