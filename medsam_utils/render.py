"""runs.yml -> executed notebooks -> book: `python -m medsam_utils.render`, which `make book` calls."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import yaml

from .case import BadInputError

PACKAGE = Path(__file__).resolve().parent
PAGES = Path("book/pages")


@dataclass(frozen=True)
class Page:
    """One line of runs.yml: which notebook runs with which parameters, and the page that it becomes."""

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
        """What papermill injects."""
        return self.everywhere | self.parameters | self.overrides

    def path(self, root: Path) -> Path:
        """The executed notebook."""
        return root / PAGES / f"{self.page}.ipynb"


def read_runs(root: Path) -> dict[str, Any]:
    """Content of root/runs.yml: `everywhere`, the parameters of all pages, and `pages`.

    Raises BadInputError if it has another form.
    """
    runs = yaml.safe_load((root / "runs.yml").read_text(encoding="utf-8"))
    if not isinstance(runs, dict) or not isinstance(runs.get("pages"), list):
        raise BadInputError(f"{root / 'runs.yml'} has no list `pages:`: see the one of the repository")
    return {"everywhere": {}, **runs}


def read_pages(root: Path, overrides: dict[str, str]) -> list[Page]:
    """Pages of root/runs.yml and the reader's own chapters, ready to execute.

    overrides: parameter values for every page whose notebook has that parameter.
    Raises BadInputError for a parameter that a notebook does not have; it lists those that it has.
    """
    pages = [Page(**{"parameters": {}, **run}) for run in read_runs(root)["pages"]]
    for path in sorted((root / PAGES / "own").glob("*.ipynb")):
        page = Page(**_record(path)["page"])
        if Path(page.parameters["folder"]).is_dir():
            pages.append(page)
        else:
            print(f"{page.page} stays as it is: {page.parameters['folder']} is missing")
    return [checked(page, root, overrides) for page in pages]


def checked(page: Page, root: Path, overrides: dict[str, str]) -> Page:
    """The page with those parameters of all pages, and those overrides, that its notebook knows.

    Raises BadInputError for a missing notebook, and for an unknown parameter, with which papermill alone
    would go on with the default.
    """
    if not (root / page.notebook).is_file():
        raise BadInputError(
            f"page {page.page}: {page.notebook} is missing below {root.resolve()}: correct runs.yml"
        )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "notebook.ipynb")
        nbformat.write(jupytext.read(root / page.notebook), copy)
        known = papermill.inspect_notebook(copy)
    if unknown := sorted(set(page.parameters) - set(known)):
        meaning = "\n".join(f"  {name} = {known[name]['default']}  {known[name]['help']}" for name in known)
        fact = f"page {page.page}: {page.notebook} has no parameter {', '.join(unknown)}"
        raise BadInputError(f"{fact}; it has\n{meaning}")
    everywhere = read_runs(root)["everywhere"]
    return replace(
        page,
        everywhere={name: value for name, value in everywhere.items() if name in known},
        overrides={name: value for name, value in overrides.items() if name in known},
    )


def source(page: Page, root: Path) -> nbformat.NotebookNode:
    """The notebook that is executed: its text, with the page's title as first heading."""
    notebook = jupytext.read(root / page.notebook)
    title = re.sub(r"([\\`*_{}\[\]<>#|$])", r"\\\1", page.title)  # a title is text, not Markdown
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"^# ", cell.source, re.MULTILINE):
            cell.source = re.sub(r"^# .*", lambda _: f"# {title}", cell.source, count=1, flags=re.MULTILINE)
            return notebook
    raise BadInputError(
        f"{page.notebook} has no heading `# ...` to carry the title of page {page.page}: add one"
    )


def fingerprint(page: Page, root: Path) -> str:
    """Hash of all that a page depends on.

    That is: notebook, package with its weights, parameters, data, published numbers, versions.
    """
    known = [page.page, page.notebook, page.title, page.values, _data_state(page.values)]
    digest = hashlib.sha256(json.dumps(known, default=str, sort_keys=True).encode())
    digest.update("\n".join(cell.source for cell in source(page, root).cells).encode())
    for folder in (PACKAGE, root / "book/published"):
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".pyc", ".md")):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    for name in ("torch", "numpy", "opencv-python-headless", "matplotlib"):
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    return digest.hexdigest()


def _data_state(parameters: dict[str, Any]) -> list:
    """Name, size and time of change of every file of data or weights that the parameters name."""
    roots = [parameters.get("folder"), parameters.get("checkpoint")]
    data = parameters.get("data") or os.environ.get("MEDSAM_DATA")
    if data and (text := parameters.get("dataset") or parameters.get("datasets")):
        from .datasets import DATASETS, load_dataset  # only here: it brings NumPy's and nibabel's import time

        found = [load_dataset(name, data) for name in (DATASETS if text == "all" else text.split())]
        roots += sorted({dataset.root for dataset in found if dataset.level == "measured"})
    state = []
    for start in filter(None, roots):
        for folder, folders, files in os.walk(Path(start).expanduser()):
            folders.sort()
            stats = [(name, os.stat(os.path.join(folder, name))) for name in sorted(files)]
            state += [(folder, name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        if Path(start).is_file():
            state.append((str(start), Path(start).stat().st_size, Path(start).stat().st_mtime_ns))
    return state


def _record(path: Path) -> dict[str, Any]:
    """What `execute` left in the metadata of an executed page: its fingerprint and its line of runs.yml."""
    return nbformat.read(path, as_version=4).metadata.get("medsam", {}) if path.is_file() else {}


def execute(page: Page, root: Path, key: str, threads: int) -> str:
    """Execute one page in a kernel of its own; returns "" or what went wrong and in which cell.

    The page appears under its name only when it is complete. A page whose cell fails is written too, with
    the error where it happened, but without its key, so that it is executed again next time.
    """
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)  # PyTorch follows OMP's
    target, failure = page.path(root), ""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IPYTHONDIR"] = folder  # kernels that start together would race to make one profile
        executed = Path(folder, "page.ipynb")
        try:
            papermill.execute_notebook(
                source(page, root),
                executed,
                page.values,
                cwd=root,
                progress_bar=False,
                store_widget_state=False,
                extra_arguments=[
                    "--log-level=CRITICAL"
                ],  # else each kernel warns that it listens on localhost
            )
        except papermill.PapermillExecutionError as error:
            first_line = error.source.strip().splitlines()[0]
            failure, key = f"cell {error.cell_index} (`{first_line}`): {error.ename}: {error.evalue}", ""
        notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("papermill", None)
    notebook.metadata["medsam"] = {"key": key, "page": asdict(replace(page, everywhere={}, overrides={}))}
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        tags = cell.metadata.setdefault("tags", [])
        if {"parameters", "injected-parameters"} & set(tags):
            tags.append("remove-cell")  # only now: papermill looks for the parameters cell by its tag
    temporary = target.with_suffix(".tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, target)
    return failure


def execute_pages(pages: list[Page], root: Path, jobs: int) -> list[str]:
    """Execute the pages whose inputs changed, `jobs` at a time, one process each; returns the failed ones."""
    keys = {page.page: fingerprint(page, root) for page in pages}
    changed = [page for page in pages if _record(page.path(root)).get("key") != keys[page.page]]
    jobs = max(1, min(jobs, len(changed)))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    failed, done = [], len(pages) - len(changed)
    print(f"{len(pages)} pages, {done} unchanged, {len(changed)} to execute, {jobs} at a time", flush=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, max_tasks_per_child=1) as pool:
        clock = time.perf_counter()
        running = {pool.submit(execute, page, root, keys[page.page], threads): page for page in changed}
        for future in as_completed(running):
            # whatever stopped one page, such as a killed kernel, the others go on
            page, error = running[future].page, future.exception()
            failure = f"{type(error).__name__}: {error}" if error else future.result()
            done += 1
            outcome = f"FAILED, {failure}" if failure else "done"
            print(f"[{done}/{len(pages)}] {page} {outcome} ({time.perf_counter() - clock:.0f} s)", flush=True)
            failed += [page] if failure else []
    return failed


def build_book(root: Path) -> int:
    """Turn the executed pages and the prose into HTML; warnings are errors. Returns the exit status."""
    for page in (root / "_build/html" / PAGES / "own").glob("*.html"):
        if not (root / PAGES / "own" / f"{page.stem}.ipynb").is_file():
            page.unlink()  # Sphinx leaves the page of a chapter that is gone
    program = Path(sys.executable).with_name("jupyter-book")
    # --all takes a second more and repeats a warning until its cause is gone
    command = [program, "build", root, "--all", "--builder", "html", "-W", "-n", "--keep-going", "-q"]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True)  # warnings and errors go to stderr
    if built.returncode:
        print(built.stdout, "the book was not built without fault: see above", sep="\n", file=sys.stderr)
    else:
        print(f"the book: {(root / '_build/html/index.html').resolve()}")
    return built.returncode


def own_chapter(folder: Path, title: str, options: dict[str, str]) -> Page:
    """The page of a reader's own folder with images/ and masks/: notebooks/dataset.py with that folder.

    Raises BadInputError if the folder is missing.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is missing: give a folder with images/ and masks/, see book/run.md")
    title = title or folder.resolve().name
    slug = (
        re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or hashlib.sha256(title.encode()).hexdigest()[:8]
    )
    parameters = {"folder": str(folder.resolve()), "title": title, **options}
    return Page(f"own/{slug}", "notebooks/dataset.py", title, parameters)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    options.add_argument("--data", help="folder of real datasets; default: the environment's MEDSAM_DATA")
    options.add_argument("--models", help='models of every page, such as "sam_vit_b grabcut"')
    options.add_argument("--device", help="cpu, cuda, cuda:1, mps")
    options.add_argument("--jobs", type=int, help="notebooks executed at a time; default: one for each core")
    options.add_argument("--root", type=Path, help="folder of runs.yml; default: this one")
    parser = argparse.ArgumentParser("medsam_utils.render", parents=[options], description=__doc__)
    chapter = parser.add_subparsers(dest="command").add_parser(
        "chapter", parents=[options], help="a page of the book from your own folder"
    )
    chapter.add_argument("folder", type=Path, help="has images/ and masks/ with equal file names")
    chapter.add_argument("--title", default="", help="heading of the page; default: the folder's name")
    given = parser.parse_args(arguments)
    # suppressed defaults: an option may stand before or after `chapter`, and neither overwrites the other
    values = {name: value for name, value in vars(given).items() if value}
    root, jobs = values.get("root", Path()), values.get("jobs") or os.cpu_count() or 1
    overrides = {name: values[name] for name in ("data", "models", "device") if name in values}
    if "data" in overrides:
        overrides["data"] = str(Path(overrides["data"]).expanduser().resolve())
    try:
        if given.command == "chapter":
            page = own_chapter(given.folder, given.title, overrides)
            if execute_pages([checked(page, root, {})], root, 1):
                page.path(root).unlink(
                    missing_ok=True
                )  # nothing of it is worth keeping; the error is printed
                return 1
            failed = []
        else:
            failed = execute_pages(read_pages(root, overrides), root, jobs)
    except BadInputError as error:
        print(error, file=sys.stderr)
        return 2
    status = build_book(root)
    if failed:
        print(f"failed pages, each shows its error: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else status


if __name__ == "__main__":
    sys.exit(main())
