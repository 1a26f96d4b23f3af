"""Pages -> executed notebooks, several at a time."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import chdir, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import nbformat
import papermill
from IPython.core.profiledir import ProfileDir

from ...datasets import MissingDatasetError
from .kernels import kernel_options
from .pages import Page, record, source
from .state import code_state, fingerprint


def execute(page: Page, root: Path, key: str) -> str:
    """Execute one page in a kernel of its own; returns "" or what went wrong and in which cell.

    The page appears under its name only when it is complete. A page whose cell fails is written
    too, with the error where it happened, but without its key, so that it is executed again next
    time. One whose dataset cannot be had is no failure: it says so, and is executed again when the
    dataset is there.
    """
    target, failure, missing = page.path(root), "", ""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder, "page.ipynb")
        try:
            papermill.execute_notebook(
                source(page, root),
                executed,
                page.values,
                progress_bar=False,
                store_widget_state=False,
                **kernel_options(),
                extra_arguments=[
                    "--log-level=CRITICAL",  # else each kernel warns that it listens on localhost
                    "--HistoryManager.enabled=False",
                ],
            )
        except papermill.PapermillExecutionError as error:
            if error.ename == MissingDatasetError.__name__:
                missing = error.evalue
            else:
                first_line = error.source.strip().splitlines()[0]
                failure, key = (
                    f"cell {error.cell_index} (`{first_line}`): {error.ename}: {error.evalue}",
                    "",
                )
        notebook = nbformat.read(executed, as_version=4)
    if missing:
        notebook.cells = _without_data(page, root, missing)
    notebook.metadata.pop("papermill", None)
    notebook.metadata["medsam"] = {
        "key": key,
        "page": asdict(replace(page, everywhere={}, overrides={})),
    }
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
    tag_code(notebook)  # only now: papermill looks for the parameters cell by its tag
    answer_first(notebook)
    temporary = target.with_suffix(".tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, target)
    return failure


SHOWN_CELLS = 3
"""So many cells of a page can be opened to see their code; the notebook to download has all."""


def tag_code(notebook: nbformat.NotebookNode) -> None:
    """Tag cells so that a page offers the code of the SHOWN_CELLS longest, closed at first.

    A cell that only calls something is not worth opening; cells with parameters or styling, and
    those that were hidden and show nothing, are not on the page at all.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    lines = {id(cell): _statements(cell) for cell in cells if not _tags(cell)}
    worth = sorted(lines, key=lambda cell: -lines[cell])[:SHOWN_CELLS]
    for cell in cells:
        tags = cell.metadata.setdefault("tags", [])
        if {"parameters", "injected-parameters"} & set(tags):
            tags.append("remove-cell")
        elif id(cell) in worth and lines[id(cell)] > 1:
            tags.append("hide-input")
        elif cell.get("outputs"):
            cell.metadata["tags"] = [*(tag for tag in tags if tag != "hide-input"), "remove-input"]
        else:
            tags.append("remove-cell")


def answer_first(notebook: nbformat.NotebookNode) -> None:
    """Move code that shows nothing from before a page's answer to right behind it.

    The notebook was executed in its own order; the page's reader comes for the answer.
    """
    cells = notebook.cells
    answers = [i for i, cell in enumerate(cells) if "medsam-answer" in str(cell.get("outputs"))]
    if not answers:
        return
    before, rest = cells[: answers[0]], cells[answers[0] + 1 :]
    silent = [cell for cell in before if cell.cell_type == "code" and not cell.get("outputs")]
    said = [cell for cell in before if not any(cell is one for one in silent)]
    notebook.cells = [*said, cells[answers[0]], *silent, *rest]


def _tags(cell: nbformat.NotebookNode) -> set[str]:
    """Return the tags that a notebook gives a cell."""
    return set(cell.metadata.get("tags", []))


def _statements(cell: nbformat.NotebookNode) -> int:
    """Return the number of lines of a cell that are neither empty nor a comment."""
    texts = (line.strip() for line in cell.source.splitlines())
    return sum(bool(text) and not text.startswith("#") for text in texts)


def _without_data(page: Page, root: Path, reason: str) -> list[nbformat.NotebookNode]:
    """Return the cells of a page whose dataset is not there: its question, and why."""
    from .. import show  # only where it is needed: it imports all that draws

    cells = source(page, root).cells
    first_code = next(i for i, cell in enumerate(cells) if cell.cell_type == "code")
    text = " ".join(reason.split())  # a blank line would end the HTML
    note = show.box("attention", "The images of this chapter are not here", text)
    return [*cells[:first_code], nbformat.v4.new_markdown_cell(note.html)]


def execute_pages(pages: list[Page], root: Path, jobs: int) -> list[str]:
    """Execute the pages whose inputs changed, `jobs` at a time, a kernel each; returns the failed
    ones."""
    root = root.resolve()
    code = code_state(root)
    keys = {page.page: fingerprint(page, root, code) for page in pages}
    changed = [page for page in pages if record(page.path(root)).get("key") != keys[page.page]]
    jobs = max(1, min(jobs, len(changed)))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    failed, done = [], len(pages) - len(changed)
    print(
        f"{len(pages)} pages, {done} unchanged, {len(changed)} to execute, {jobs} at a time",
        flush=True,
    )
    with chdir(root), _kernel_environment(threads), ThreadPoolExecutor(jobs) as pool:
        clock = time.perf_counter()
        running = {pool.submit(execute, page, root, keys[page.page]): page for page in changed}
        for future in _completed(running, pool):
            # whatever stopped one page, such as a killed kernel, the others go on
            page, error = running[future].page, future.exception()
            failure = f"{type(error).__name__}: {error}" if error else future.result()
            done += 1
            outcome = f"FAILED, {failure}" if failure else "done"
            print(
                f"[{done}/{len(pages)}] {page} {outcome} ({time.perf_counter() - clock:.0f} s)",
                flush=True,
            )
            failed += [page] if failure else []
    return failed


@contextmanager
def _kernel_environment(threads: int) -> Iterator[None]:
    """Set what kernels inherit: the number of threads, and an IPython folder of their own.

    Kernels that start together would race to make one profile: it is made before.
    """
    before = dict(os.environ)
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)  # PyTorch follows OMP's
    try:
        with tempfile.TemporaryDirectory() as folder:
            ProfileDir.create_profile_dir_by_name(folder, "default")
            os.environ["IPYTHONDIR"] = folder
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _completed(futures: Iterable[Future], pool: ThreadPoolExecutor) -> Iterator[Future]:
    """Yield the futures as they end; when interrupted, end the kernels and start no further one."""
    try:
        yield from as_completed(futures)
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        for kernel in multiprocessing.active_children():
            kernel.kill()
        raise
