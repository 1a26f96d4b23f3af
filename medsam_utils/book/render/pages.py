"""runs.yml -> pages: which notebook runs with which parameters."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import yaml

from ...case import BadInputError, unknown_name
from ...datasets.folder import MASKS

PAGES = Path("book/pages")


@dataclass(frozen=True)
class Page:
    """One line of runs.yml: which notebook runs with which parameters, and the page that it
    becomes."""

    page: str
    notebook: str
    title: str
    parameters: dict[str, Any]
    everywhere: dict[str, Any] = field(default_factory=dict)
    """Of all pages: the page's own parameters win over them, and they are not remembered."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Of this call only, such as --models: they win over the parameters, and are not remembered."""

    @property
    def values(self) -> dict[str, Any]:
        """Return what papermill injects.

        What is said of `compute` is put together, so that an option of it overrides that option
        alone: of one that is given twice the last counts.
        """
        sources = (self.everywhere, self.parameters, self.overrides)
        values = {name: value for source in sources for name, value in source.items()}
        if compute := " ".join(source["compute"] for source in sources if source.get("compute")):
            values["compute"] = compute
        return values

    def path(self, root: Path) -> Path:
        """The executed notebook."""
        return root / PAGES / f"{self.page}.ipynb"


@functools.cache
def _parsed(path: Path, changed: int) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_runs(root: Path) -> dict[str, Any]:
    """Return the content of root/runs.yml: `pages`, and the parameters of all pages: `everywhere`,
    and `phantoms`, which hold where no folder of real datasets is given.

    Raises BadInputError if it has another form.
    """
    runs = copy.deepcopy(_parsed(*_as_it_is(root / "runs.yml")))
    if not isinstance(runs, dict) or not isinstance(runs.get("pages"), list):
        raise BadInputError(
            f"{root / 'runs.yml'} has no list `pages:`: see the one of the repository"
        )
    return {"everywhere": {}, "phantoms": {}, **runs}


def read_pages(root: Path, overrides: dict[str, str]) -> list[Page]:
    """Pages of root/runs.yml and the reader's own chapters, ready to execute.

    overrides: parameter values for every page whose notebook has that parameter.
    Raises BadInputError for a parameter that a notebook does not have; it lists those that it has.
    """
    pages = [Page(**{"parameters": {}, **run}) for run in read_runs(root)["pages"]]
    for path in sorted((root / PAGES / "own").glob("*.ipynb")):
        page = Page(**record(path)["page"])
        if Path(page.parameters["folder"]).is_dir():
            pages.append(page)
        else:
            print(f"{page.page} stays as it is: {page.parameters['folder']} is missing")
    return [checked(page, root, overrides) for page in pages]


def checked(page: Page, root: Path, overrides: dict[str, str]) -> Page:
    """The page with those parameters of all pages, and those overrides, that its notebook knows.

    Raises BadInputError for a missing notebook, and for an unknown parameter, with which papermill
    alone would go on with the default.
    """
    if not (root / page.notebook).is_file():
        raise BadInputError(
            f"page {page.page}: {page.notebook} is missing below {root.resolve()}: correct runs.yml"
        )
    known = _known_parameters(*_as_it_is(root / page.notebook))
    if unknown := sorted(set(page.parameters) - set(known)):
        meaning = "\n".join(
            f"  {name} = {known[name]['default']}  {known[name]['help']}" for name in known
        )
        fact = f"page {page.page}: {page.notebook} has no parameter {', '.join(unknown)}"
        raise BadInputError(f"{fact}; it has\n{meaning}")
    runs = read_runs(root)
    everywhere = runs["everywhere"]

    def texts(values: dict[str, Any]) -> dict[str, Any]:
        """Return parameters of the notebook, as texts where their defaults are: YAML reads 2024 as
        a number."""
        return {
            name: str(value) if known[name]["default"][:1] in ("'", '"') else value
            for name, value in values.items()
            if name in known
        }

    if not (
        overrides.get("data") or os.environ.get("MEDSAM_DATA") or page.parameters.get("folder")
    ):
        everywhere = everywhere | runs["phantoms"]
    return replace(
        page,
        title=str(page.title),
        parameters=texts(page.parameters),
        everywhere=texts(everywhere),
        overrides=texts(overrides),
    )


def _as_it_is(path: Path) -> tuple[Path, int]:
    """Return a file and its time of change: what was made of it before holds until it changes."""
    return path, path.stat().st_mtime_ns


@functools.cache  # several pages are made of one notebook, which is read for each of them twice
def _notebook(path: Path, changed: int) -> nbformat.NotebookNode:
    return jupytext.read(path)


@functools.cache
def _known_parameters(path: Path, changed: int) -> dict[str, Any]:
    """Return the parameters of a notebook with their defaults and comments, as papermill does."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "notebook.ipynb")
        nbformat.write(_notebook(path, changed), written)
        return papermill.inspect_notebook(written)


def source(page: Page, root: Path) -> nbformat.NotebookNode:
    """The notebook that is executed: its text, with the page's title as first heading."""
    notebook = copy.deepcopy(_notebook(*_as_it_is(root / page.notebook)))
    title = re.sub(r"([\\`*_{}\[\]<>#|$])", r"\\\1", page.title)  # a title is text, not Markdown
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"^# ", cell.source, re.MULTILINE):
            cell.source = re.sub(
                r"^# .*", lambda _: f"# {title}", cell.source, count=1, flags=re.MULTILINE
            )
            return notebook
    raise BadInputError(
        f"{page.notebook} has no heading `# ...` to carry the title of page {page.page}: add one"
    )


def record(path: Path) -> dict[str, Any]:
    """What `execute` left in the metadata of an executed page: its fingerprint and its line of
    runs.yml."""
    if not path.is_file():
        return {}
    return json.loads(path.read_text("utf-8"))["metadata"].get("medsam", {})


def own_chapter(folder: Path, title: str, options: dict[str, str], root: Path) -> Page:
    """The page of a reader's own folder with images/ and masks/: notebooks/dataset.py with that
    folder.

    It is called by its title; where a chapter of another folder or title below `root` has that name
    already, by title and folder. Raises BadInputError if the folder is missing or has no case that
    can be used.
    """
    if not folder.is_dir():
        raise BadInputError(
            f"{folder} is missing: give a folder with images/ and masks/, see book/run.md"
        )
    masks = {name: options[name] for name in MASKS if name in options}
    from ..runs import load_datasets  # here, as it takes seconds and most calls need it not

    load_datasets("", str(folder), **masks)[0].list()  # before a kernel starts
    title = title or folder.resolve().name
    slug = (
        re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        or hashlib.sha256(title.encode()).hexdigest()[:8]
    )
    own = {"folder": str(folder.resolve()), "title": title}
    taken = record(root / PAGES / "own" / f"{slug}.ipynb").get("page", {}).get("parameters", own)
    if any(taken.get(name) != value for name, value in own.items()):
        slug += "-" + hashlib.sha256("\0".join(own.values()).encode()).hexdigest()[:8]
    return Page(f"own/{slug}", "notebooks/dataset.py", title, own | options)


def remove_chapter(name: str, root: Path) -> str:
    """Delete a reader's own page by its name or title; return the name.

    Raises BadInputError if there is no such page, or if several have the title.
    """
    pages = {
        path.stem: record(path).get("page", {}).get("title", path.stem)
        for path in (root / PAGES / "own").glob("*.ipynb")
    }
    found = [page for page, title in pages.items() if name in (page, title)]
    if not found:
        raise unknown_name("page", name, pages)
    if len(found) > 1:
        raise BadInputError(f"several pages are called {name!r}: say which of {', '.join(found)}")
    (root / PAGES / "own" / f"{found[0]}.ipynb").unlink()
    return found[0]


def copy_book(root: Path, out: Path) -> Path:
    """Copy what a book is made of to another folder, which becomes the root; return it.

    For a checkout that must not be written to. Pages that were executed there before are kept.
    """
    out = out.expanduser().resolve()
    for name in ("book", "notebooks", "benchmarks/measured"):
        shutil.copytree(root / name, out / name, dirs_exist_ok=True, copy_function=shutil.copyfile)
    for path in [*root.glob("*.md"), *root.glob("*.yml")]:
        shutil.copyfile(path, out / path.name)
    return out
