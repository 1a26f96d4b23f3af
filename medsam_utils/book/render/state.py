"""What a page depends on, as a hash: only a page whose hash has changed is executed again."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

from ...datasets import DATASETS, MissingDatasetError
from ...datasets.sources import PACKAGES
from ...demo import load_dataset
from .pages import Page, source

PACKAGE = Path(__file__).resolve().parents[2]
WRITTEN = (
    "store",
    "embeddings",
    "in_page",
)  # parameters that name a folder for what the page itself writes


def code_state(root: Path) -> str:
    """Hash of what all pages depend on: package with its weights, published numbers, versions."""
    digest = hashlib.sha256()
    for folder in (PACKAGE, root / "book/published"):
        for path in sorted(
            p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".pyc", ".md")
        ):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    for name in ("torch", "numpy", "opencv-python-headless", "matplotlib"):
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    return digest.hexdigest()


def fingerprint(page: Page, root: Path, code: str) -> str:
    """Hash of all that a page depends on: notebook, parameters, data, and `code_state` as
    `code`."""
    known = [page.page, page.notebook, page.title, page.values, data_state(page.values, root), code]
    digest = hashlib.sha256(json.dumps(known, default=str, sort_keys=True).encode())
    digest.update("\n".join(cell.source for cell in source(page, root).cells).encode())
    return digest.hexdigest()


def data_state(parameters: dict[str, Any], root: Path) -> list:
    """Name, size and time of change of every file of data or weights that any of the parameters
    names.

    By path, relative to root as in the notebook, or as a dataset of the registry that is below
    `data` or comes with a package.
    """
    texts = {name: value for name, value in parameters.items() if isinstance(value, str) and value}
    data = texts.pop("data", "") or os.environ.get("MEDSAM_DATA")
    named = [root / os.path.expanduser(text) for name, text in texts.items() if name not in WRITTEN]
    starts = {path for path in named if os.path.exists(path)}  # Path.exists objects to a long text
    words = {word for text in texts.values() for word in text.split()}
    names = set(DATASETS) if texts.get("datasets") == "all" else words & set(DATASETS)
    found = [load_dataset(name, data) for name in names if data and name not in PACKAGES]
    starts |= {dataset.root for dataset in found if dataset.level == "measured"}
    starts |= {root for name in names if name in PACKAGES for root in _package_root(name, data)}
    state = []
    for start in sorted(starts):
        files = (
            [start] if start.is_file() else (path for path in start.rglob("*") if path.is_file())
        )
        state += sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return state


@functools.cache  # without network one attempt to fetch a package is enough for all pages
def _package_root(name: str, data: str | None) -> list[Path]:
    """Return the folder of a dataset that comes with a package, none if it cannot be fetched."""
    try:
        return [load_dataset(name, data).root]
    except MissingDatasetError:
        return []
