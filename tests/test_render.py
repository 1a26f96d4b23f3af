"""The renderer: runs.yml to executed pages, with notebooks small enough to read."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from medsam_utils import load_folder
from medsam_utils.book.compute import Compute
from medsam_utils.book.render import __main__ as command
from medsam_utils.book.render import build, execute, state
from medsam_utils.book.render.execute import execute_pages
from medsam_utils.book.render.pages import (
    PAGES,
    Page,
    _known_parameters,
    checked,
    copy_book,
    own_chapter,
    read_pages,
    source,
)
from medsam_utils.case import BadInputError

REPOSITORY = Path(__file__).resolve().parents[1]
HEADER = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
"""
NOTEBOOK = (
    HEADER
    + """
# %% [markdown]
# # A template

# %% tags=["parameters"]
number = 1  # what is doubled
models = "a"  # names

# %%
with open("log.txt", "a") as log:  # pages run at the same time: append, do not rewrite
    log.write(f"{number} ")

# %% tags=["hide-input"]
twice = 2 * number

# %% tags=["hide-input"]
assert number != 13, "unlucky"
print(twice, models)
"""
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A book of one page, one cell of which notes every execution in log.txt."""
    package = (
        tmp_path / "package"
    )  # not the real one, which someone may be editing while the tests run
    package.mkdir()
    monkeypatch.setattr(state, "PACKAGE", package)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/double.py").write_text(NOTEBOOK)
    write_runs(tmp_path, one={"number": 3})
    return tmp_path


def write_runs(root: Path, everywhere: str = "{}", **pages: dict) -> None:
    lines = [
        f"- {{page: {name}, notebook: notebooks/double.py, title: Page {name}, "
        f"parameters: {parameters}}}"
        for name, parameters in pages.items()
    ]
    (root / "runs.yml").write_text("\n".join([f"everywhere: {everywhere}", "pages:", *lines]))


def run(root: Path, **overrides: str) -> tuple[list[str], list[str]]:
    """Execute what has to be; returns the failed pages, and the numbers that were executed."""
    (root / "log.txt").unlink(missing_ok=True)
    failed = execute_pages(read_pages(root, overrides), root, jobs=2)
    log = root / "log.txt"
    return failed, sorted(log.read_text().split()) if log.exists() else []


def key_of(root: Path) -> str:
    """Fingerprint of the first page."""
    return state.fingerprint(read_pages(root, {})[0], root, state.code_state(root))


def page(root: Path, name: str) -> nbformat.NotebookNode:
    return nbformat.read(root / PAGES / f"{name}.ipynb", as_version=4)


def test_only_the_page_whose_parameter_changed_is_executed_again(root):
    write_runs(root, one={"number": 3}, two={"number": 5})
    assert run(root) == ([], ["3", "5"])
    assert run(root) == ([], [])
    write_runs(root, one={"number": 3}, two={"number": 6})
    assert run(root) == ([], ["6"])
    assert page(root, "two").cells[-1].outputs[0].text == "12 a\n"


def test_a_changed_notebook_override_or_data_file_is_a_reason_to_execute_again(root):
    template = NOTEBOOK.replace("models =", 'folder = ""\nmodels =')
    (root / "notebooks/double.py").write_text(template)
    (root / "mine").mkdir()
    write_runs(root, one={"number": 3, "folder": str(root / "mine")})
    run(root)
    (root / "mine/a.txt").write_text("a")
    assert run(root) == ([], ["3"])
    (root / "notebooks/double.py").write_text(template.replace("2 * number", "3 * number"))
    overrides = {"models": "b", "compute": "device=cpu"}  # it has no parameter `compute`: left out
    assert run(root, **overrides)[1] == ["3"]
    assert page(root, "one").cells[-1].outputs[0].text == "9 b\n"
    changed = key_of(root)
    assert changed != page(root, "one").metadata["medsam"]["key"]  # an override is not remembered


def test_any_parameter_that_names_a_file_or_a_folder_names_data_but_for_what_the_page_writes(root):
    (root / "drawn.txt").write_text("a")
    (root / "stored").mkdir()

    def found(**parameters: str) -> list:
        return state.data_state({"title": "a text " * 99, "clicks": 9} | parameters, root)

    (before,) = found(outlines="drawn.txt")
    (root / "drawn.txt").write_text("ab")
    (after,) = found(outlines="drawn.txt")
    assert before[0] == after[0] and before[1:] != after[1:]
    (root / "stored/rows").write_text("r")
    assert found(compute="store=stored embeddings=stored", in_page="stored") == []
    assert [entry[0] for entry in found(masks="stored")] == [str(root / "stored/rows")]


def test_parameters_of_all_pages_reach_those_that_know_them_and_a_page_s_own_win(root):
    write_runs(
        root, '{models: "b c", device: cpu}', one={"number": 3}, two={"number": 5, "models": "own"}
    )
    assert run(root) == ([], ["3", "5"])
    assert page(root, "one").cells[-1].outputs[0].text == "6 b c\n"
    assert page(root, "two").cells[-1].outputs[0].text == "10 own\n"
    write_runs(root, '{models: "d"}', one={"number": 3}, two={"number": 5, "models": "own"})
    assert run(root) == ([], ["3"])
    assert run(root, models="e") == ([], ["3", "5"])  # those of the call win over both


def test_what_is_said_of_compute_is_put_together_and_the_call_s_option_wins(root):
    everywhere = {"compute": "embeddings=kept device=cpu"}
    one = Page("one", "n.py", "One", {"compute": "workers=2"}, everywhere)
    assert Compute.parse(one.values["compute"]) == Compute("cpu", workers="2", embeddings="kept")
    called = replace(one, overrides={"compute": "device=cuda"})
    assert Compute.parse(called.values["compute"]).device == "cuda"
    assert Compute.parse(called.values["compute"]).embeddings == "kept"
    assert "compute" not in Page("one", "n.py", "One", {"clicks": 3}).values


def test_the_device_of_the_command_line_is_an_option_of_compute(root, monkeypatch):
    template = NOTEBOOK.replace("models =", 'compute = ""\nmodels =')
    (root / "notebooks/double.py").write_text(template.replace("twice, models", "compute"))
    write_runs(root, "{compute: embeddings=kept}", one={"number": 3})
    monkeypatch.setattr(command, "build_book", lambda root: 0)
    assert command.main(["--root", str(root), "--device", "cuda:1", "--jobs", "1"]) == 0
    assert page(root, "one").cells[-1].outputs[0].text == "embeddings=kept device=cuda:1\n"


def test_a_list_of_runs_without_its_heading_is_refused(root):
    (root / "runs.yml").write_text("- {page: one}")
    with pytest.raises(BadInputError, match="has no list `pages:`"):
        run(root)


def test_a_changed_package_is_a_reason_to_execute_again(root):
    before = key_of(root)
    (root / "package/new.py").write_text("x = 1")
    assert key_of(root) != before


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("notebooks/*.py")), ids=lambda p: p.stem)
def test_papermill_reads_every_parameter_of_a_notebook(path):
    """It passes over a line whose comment has an equals sign in it."""
    cells = jupytext.read(path).cells
    sources = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    written = {node.targets[0].id for text in sources for node in ast.parse(text).body}
    assert set(_known_parameters(path, 0)) == written


def test_an_unknown_parameter_is_refused_and_the_known_ones_are_listed(root):
    write_runs(root, one={"numbr": 3})
    with pytest.raises(
        BadInputError,
        match=r"page one: .* no parameter numbr; it has\s+number = 1\s+what is doubled",
    ):
        run(root)
    assert not (root / "log.txt").exists()


def test_a_missing_notebook_is_named(root):
    (root / "notebooks/double.py").unlink()
    with pytest.raises(
        BadInputError, match=r"page one: notebooks/double.py is missing .*: correct runs.yml"
    ):
        run(root)


def test_a_failing_cell_fails_the_build_with_cell_and_error_and_the_others_are_done(
    root, capsys, monkeypatch
):
    monkeypatch.setattr(command, "build_book", lambda root: 0)
    write_runs(root, one={"number": 13}, two={"number": 5})
    assert command.main(["--root", str(root), "--jobs", "1"]) == 1
    output = capsys.readouterr().out
    assert (
        'one FAILED, cell 5 (`assert number != 13, "unlucky"`): AssertionError: unlucky' in output
    )
    assert "two done" in output
    assert (root / "log.txt").read_text().split() == ["13", "5"]
    assert page(root, "one").metadata["medsam"]["key"] == ""  # so it is tried again


def test_a_page_has_its_title_hides_parameters_and_definitions_and_no_trace_of_the_machine(
    root,
):
    run(root)
    notebook = page(root, "one")
    assert notebook.cells[0].source.startswith("# Page one")
    hidden = [c.source for c in notebook.cells if "remove-cell" in c.metadata.tags]
    assert len(hidden) == 3 and "number = 3" in hidden[1] and hidden[2] == "twice = 2 * number"
    assert "papermill" not in notebook.metadata
    assert not any("papermill" in cell.metadata for cell in notebook.cells)
    assert not list((root / PAGES).glob("*.tmp"))


def write_study(folder: Path) -> None:
    """One image with a bright square, and its mask."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        pixels = np.pad(np.full((4, 4), 255, np.uint8), 4)
        Image.fromarray(pixels).save(folder / part / "a.png")


def test_an_own_chapter_is_kept_and_outlives_its_folder(root, capsys):
    write_study(root / "mine")
    chapter = own_chapter(root / "mine", 'My "first" study', {"models": "b"}, root)
    assert chapter.page == "own/my-first-study"
    (root / "notebooks/dataset.py").write_text(
        NOTEBOOK.replace("models =", 'folder = ""\ntitle = ""\nmodels =')
    )
    assert execute_pages([checked(chapter, root, {})], root, 1) == []
    assert page(root, chapter.page).cells[-1].outputs[0].text == "2 b\n"
    assert [p.page for p in read_pages(root, {})] == ["one", "own/my-first-study"]
    shutil.rmtree(root / "mine")
    assert [p.page for p in read_pages(root, {})] == ["one"]
    assert "stays as it is" in capsys.readouterr().out


def test_a_title_is_text_and_not_markup(root):
    titled = Page("one", "notebooks/double.py", "<b>T1</b> [x] *y* \\1", {})
    heading = source(titled, root).cells[0].source.splitlines()[0]
    assert heading == r"# \<b\>T1\</b\> \[x\] \*y\* \\1"


def keep_chapter(root, folder, title):
    """Write the page of a chapter without executing it."""
    write_study(folder)
    chapter = own_chapter(folder, title, {}, root)
    notebook = nbformat.v4.new_notebook(metadata={"medsam": {"page": asdict(chapter)}})
    chapter.path(root).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, chapter.path(root))
    return chapter.page


@pytest.mark.parametrize(
    "chapters",
    [[("clinic1/study", ""), ("clinic2/study", "")], [("mine", "A, b"), ("mine", "a-B")]],
    ids=["one title", "one name"],
)
def test_chapters_of_one_title_or_name_do_not_replace_each_other(root, chapters):
    first, second = (keep_chapter(root, root / folder, title) for folder, title in chapters)
    assert first != second
    # Made anew, each is its own page again.
    assert [keep_chapter(root, root / folder, title) for folder, title in chapters] == [
        first,
        second,
    ]


def test_a_folder_and_a_title_that_papermill_reads_as_numbers_are_texts(tmp_path, monkeypatch):
    write_study(tmp_path / "2024")
    monkeypatch.chdir(tmp_path)
    assert (load_folder(2024).title, load_folder(2024, name=1.5).title) == ("2024", "1.5")


def test_the_doctor_that_crashes_is_a_failure_of_make_and_one_that_finds_is_not(tmp_path):
    for name in ("requirements.lock", "pyproject.toml", "ready"):
        (tmp_path / name).touch()
    make = ["make", "-f", REPOSITORY / "Makefile", "doctor", "FOLDER=x", "BIN=.", "READY=ready"]
    for script, status in [("exit 0", 0), ("exit 1", 2), ("touch doctor.html; exit 1", 0)]:
        (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "python").chmod(0o755)
        (tmp_path / "doctor.html").touch()  # an earlier one
        assert subprocess.run(make, cwd=tmp_path, capture_output=True).returncode == status


@pytest.mark.parametrize("value", [2024, 1.5, True, None, "2024"])
def test_parameters_that_are_texts_are_texts_however_they_are_written(root, value):
    (root / "notebooks/dataset.py").write_text(
        NOTEBOOK.replace("models =", 'title = ""\nclicks = 3\nmodels =')
    )
    page = Page("own/x", "notebooks/dataset.py", value, {"title": value, "clicks": 2})
    parameters = checked(page, root, {}).values
    assert (parameters["title"], parameters["clicks"]) == (str(value), 2)


def test_an_own_chapter_of_a_missing_folder_is_refused(tmp_path, capsys):
    assert command.main(["--root", str(tmp_path), "chapter", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is missing: give a folder with images/ and masks/" in capsys.readouterr().err


def test_a_folder_without_a_case_is_refused_before_a_kernel_starts(root, capsys):
    (root / "empty/images").mkdir(parents=True)
    (root / "empty/masks").mkdir()
    assert command.main(["--root", str(root), "chapter", str(root / "empty")]) == 2
    assert "empty" in capsys.readouterr().err and not (root / PAGES).exists()


def test_a_failed_run_leaves_the_good_page_as_it_was(root, capsys, monkeypatch):
    monkeypatch.setattr(command, "build_book", lambda root: 0)
    notebook = NOTEBOOK.replace("models =", 'folder = ""\ntitle = ""\nmodels =')
    (root / "notebooks/dataset.py").write_text(notebook)
    write_study(root / "my study")
    call = ["--root", str(root), "chapter", str(root / "my study")]
    assert command.main(call) == 0
    path = root / PAGES / "own/my-study.ipynb"
    assert "_build/html/book/pages/own/my-study.html" in capsys.readouterr().out
    before = path.read_bytes()
    (root / "notebooks/dataset.py").write_text(notebook + "\n# %%\nraise ValueError('no')\n")
    assert command.main(call) == 1
    assert path.read_bytes() == before and "stays as it was" in capsys.readouterr().err


def test_a_chapter_is_removed_by_its_name_or_its_title(root, monkeypatch, capsys):
    monkeypatch.setattr(command, "build_book", lambda root: 0)
    keep_chapter(root, root / "a", "My data")
    keep_chapter(root, root / "b", "Other")
    assert command.main(["--root", str(root), "remove", "my-dat"]) == 2
    assert "did you mean 'my-data'" in capsys.readouterr().err
    assert command.main(["--root", str(root), "remove", "My data"]) == 0
    assert [path.stem for path in (root / PAGES / "own").iterdir()] == ["other"]


def test_a_copy_to_download_names_folders_without_what_is_above_them(root):
    secret = root / "of Jane/my study"
    parameters = f'folder = "{secret}"\ncompute = "store={root}/rows workers=2"\nclicks = 3'
    cell = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["injected-parameters"]})
    shown = nbformat.v4.new_output("stream", text=f"no file in {secret}/images")
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell(outputs=[shown])])
    notebook.metadata["medsam"] = {"page": {"parameters": {"folder": str(secret)}}}
    nbformat.write(notebook, root / "page.ipynb")
    build.hide_folders(root / "page.ipynb")
    copy = nbformat.read(root / "page.ipynb", as_version=4)
    assert (
        copy.cells[0].source == 'folder = "my study"\ncompute = "store=rows workers=2"\nclicks = 3'
    )
    assert copy.cells[1].outputs[0].text == "no file in my study/images"
    assert str(root) not in (root / "page.ipynb").read_text("utf-8")


def test_contents_without_the_pages_that_are_not_made_yet(root):
    (root / "_toc.yml").write_text(
        """format: jb-book
root: book/pages/start
parts:
  - caption: Results
    chapters: [{file: book/pages/tasks}, {file: book/pages/mri, sections: [{file: book/sure}]}]
  - caption: Ways
    chapters: [{file: book/pages/everything}]
  - caption: Yours
    chapters: [{file: book/own, sections: [{glob: book/pages/own/*}]}, {file: book/run}]
"""
    )
    for name in ("own.md", "run.md", "sure.md", "pages/start.ipynb"):
        (root / "book" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "book" / name).touch()
    toc = build._contents(root)
    own = {"glob": "book/pages/own/*"}
    assert toc["root"] == "book/pages/start"
    assert [part["chapters"] for part in toc["parts"]] == [
        [{"file": "book/sure"}],
        [{"file": "book/own", "sections": [own]}, {"file": "book/run"}],
    ]
    (root / "book/pages/start.ipynb").unlink()
    toc = build._contents(root)
    assert toc["root"] == "book/own"
    assert toc["parts"][-1]["chapters"] == [own, {"file": "book/run"}]


@pytest.mark.slow
def test_a_chapter_is_made_where_no_book_was_made_in_a_folder_of_its_own(tmp_path):
    """As in a checkout that may not be written to; the path has a space."""
    write_study(tmp_path / "my study")
    checkout, out = tmp_path / "checkout", tmp_path / "the book"
    copy_book(REPOSITORY, checkout)
    shutil.rmtree(checkout / PAGES, ignore_errors=True)
    options = ["--out", str(out), "--models", "grabcut"]
    call = [*options, "chapter", str(tmp_path / "my study"), "--title", "A <b>study</b>"]
    call += ["--classes", "square=255"]
    run = subprocess.run(
        [sys.executable, "-m", "medsam_utils.book.render", *call],
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    page = out / "_build/html/book/pages/own/a-b-study-b.html"
    assert f"your page: {page}" in run.stdout and "not made yet" in run.stdout
    html = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;study" in html and not re.search(r"<h1>[^<]*<b>", html)  # in print too
    assert "my study" in html and "square" in html and str(tmp_path) not in html
    assert "own/a-b-study-b.html" in (out / "_build/html/book/own.html").read_text("utf-8")
    assert "own.html" in (out / "_build/html/index.html").read_text("utf-8")
    copied = out / "_build/html/_sources/book/pages/own/a-b-study-b.ipynb"
    assert str(tmp_path) not in copied.read_text("utf-8")
    for said in ("make chapter FOLDER='my study'", "MODELS=grabcut", "CLASSES=square=255"):
        assert said in BeautifulSoup(html, "html.parser").text


def test_the_documented_line_of_plain_papermill_works(tmp_path):
    (line,) = re.findall(
        r"^jupytext --to ipynb .*?mri_heart$", (REPOSITORY / "book/run.md").read_text(), re.M | re.S
    )
    line = (
        line.replace("out.ipynb", f"'{tmp_path}/out.ipynb'")
        + " -p models grabcut -p max_cases 2 -p clicks 2"
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [
        "bash",
        "-o",
        "pipefail",
        "-c",
        f"{line} -p compute 'workers=0 store={tmp_path}/results'",
    ]
    subprocess.run(
        command, cwd=REPOSITORY, check=True, capture_output=True, env=os.environ | {"PATH": path}
    )
    text = (tmp_path / "out.ipynb").read_text()
    assert "MRI-Heart" in text and "with one click" in text and 'dataset = \\"mri_heart\\"' in text


def test_a_page_whose_dataset_cannot_be_had_says_so_and_is_no_failure(root):
    raising = """
# %%
from medsam_utils.datasets import MissingDatasetError

raise MissingDatasetError("ct_x is not here: <no network>\\n\\nTry again")
"""
    (root / "notebooks/double.py").write_text(NOTEBOOK + raising)
    assert run(root) == ([], ["3"])
    cells = page(root, "one").cells
    assert [cell.cell_type for cell in cells] == ["markdown", "markdown"]
    assert cells[0].source == "# Page one"
    assert "ct_x is not here: &lt;no network&gt; Try again" in cells[1].source
    assert run(root) == ([], [])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kernels are forked on Linux")
def test_a_kernel_begins_with_all_imported_and_knows_nothing_of_the_renderer(root):
    cell = """
# %%
import multiprocessing, os, sys
imported = "torch" in sys.modules and "medsam_utils.book.pages.figures" in sys.modules
method = multiprocessing.get_start_method(allow_none=True)
__name__, imported, method, os.getpid() == os.getpgrp(), sys.argv[0]
"""
    (root / "notebooks/double.py").write_text(NOTEBOOK + cell)
    assert run(root) == ([], ["3"])
    shown = page(root, "one").cells[-1].outputs[0].data["text/plain"]
    assert shown == "('__main__', True, None, True, 'ipykernel_launcher')"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kernels are forked on Linux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_build_leaves_no_kernel_behind(root, number):
    waiting = """
# %%
import os, time
from pathlib import Path
Path("kernel.txt").write_text(str(os.getpid()))
time.sleep(600)
"""
    (root / "notebooks/double.py").write_text(NOTEBOOK + waiting)
    started = subprocess.Popen(
        [sys.executable, "-m", "medsam_utils.book.render", "--root", root], start_new_session=True
    )
    kernel = root / "kernel.txt"
    wait_until(lambda: kernel.exists() and kernel.read_text(), seconds=120)
    os.killpg(started.pid, number)  # as the terminal does
    assert started.wait(timeout=20) == (130 if number == signal.SIGINT else -number)
    wait_until(lambda: not Path("/proc", kernel.read_text()).exists(), seconds=20)


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def test_html_is_made_again_only_after_a_change_or_a_fault(root, monkeypatch):
    status, builds = [0], []

    def jupyter_book(command, **options):
        builds.append(command)
        index = root / "_build/html/index.html"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text("a book")
        return subprocess.CompletedProcess(command, status[0], stdout="")

    monkeypatch.setattr(build.subprocess, "run", jupyter_book)

    def built() -> tuple[int, int]:
        builds.clear()
        return build.build_book(root), len(builds)

    (root / "book/pages").mkdir(parents=True)
    (root / "book/pages/one.ipynb").write_text("{}")
    assert [built(), built()] == [(0, 1), (0, 0)]
    (root / "book/pages/one.ipynb").write_text("{ }")
    assert [built(), built()] == [(0, 1), (0, 0)]
    (root / "_config.yml").write_text("title: A book")
    status[0] = 1
    assert [built(), built()] == [(1, 1), (1, 1)]
    status[0] = 0
    assert [built(), built()] == [(0, 1), (0, 0)]
    (root / "_build/html/index.html").unlink()
    assert built() == (0, 1)


def test_a_notebook_is_parsed_once_for_all_its_pages_and_again_when_it_changed(root, monkeypatch):
    from medsam_utils.book.render import pages as module

    reads = []
    read = module.jupytext.read
    monkeypatch.setattr(module.jupytext, "read", lambda path: reads.append(path) or read(path))
    write_runs(root, one={"number": 3}, two={"number": 5})
    shown = [source(page, root) for page in read_pages(root, {})]
    assert len(reads) == 1
    assert [notebook.cells[0].source for notebook in shown] == ["# Page one", "# Page two"]
    changed = NOTEBOOK.replace("number = 1", "number = 1\nother = 2")
    (root / "notebooks/double.py").write_text(changed)
    write_runs(root, one={"other": 3})
    assert read_pages(root, {})[0].values["other"] == 3 and len(reads) == 2


def page_of(*cells: tuple[str, list[str], str]) -> nbformat.NotebookNode:
    """A notebook with code cells: source, tags, what it shows."""
    notebook = nbformat.v4.new_notebook()
    for text, tags, shown in cells:
        cell = nbformat.v4.new_code_cell(text, metadata={"tags": list(tags)})
        if shown:
            cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": shown})]
        notebook.cells.append(cell)
    return notebook


def test_a_page_offers_the_code_of_its_three_longest_cells():
    long = "a = 1\nb = 2\n# c"
    notebook = page_of(
        ("p = 1", ["parameters"], ""),
        ("import x", ["hide-input"], ""),
        ("a = 1\nb = 2\nc = 3", [], ""),
        (long, [], "table"),
        (f"{long}\nd = 1", [], "figure"),
        ("show(a)", [], "table"),
        ("e = 1\nf = 1", [], ""),
    )
    execute.tag_code(notebook)
    tags = [cell.metadata["tags"] for cell in notebook.cells]
    assert tags == [
        ["parameters", "remove-cell"],
        ["hide-input", "remove-cell"],
        ["hide-input"],
        ["hide-input"],
        ["hide-input"],
        ["remove-input"],
        ["remove-cell"],
    ]


def test_code_that_shows_nothing_stands_behind_the_answer():
    notebook = page_of(
        ("rows = 1", [], ""),
        ("banner", [], "a banner"),
        ("answer", [], '<p class="medsam-answer">'),
        ("figure", [], "a figure"),
    )
    execute.answer_first(notebook)
    assert [cell.source for cell in notebook.cells] == ["banner", "answer", "rows = 1", "figure"]
