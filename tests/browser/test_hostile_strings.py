"""Fifty strings as titles, names of cases, classes and segments: nothing of them runs, none fails.

Each page is loaded in Chromium, which counts scripts that ran, dialogs, requests and errors.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nrrd
import numpy as np
import pytest
from chromium import watched
from lab import ran, served
from PIL import Image

from medsam_utils import evaluate, load_folder, load_model
from medsam_utils.book import explorer
from medsam_utils.book.doctor.examine import examine
from medsam_utils.book.doctor.page import page as doctor_page
from medsam_utils.book.explorer.live import Explorer
from medsam_utils.book.render.pages import PAGES, copy_book

REPOSITORY = Path(__file__).parents[2]
RUN = "window.hacked=1"
STRINGS = [
    f"<img src=x onerror={RUN}>",
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"<svg onload={RUN}>",
    f'"><svg/onload={RUN}>',
    f"' onmouseover='{RUN}",
    f'" autofocus onfocus="{RUN}',
    f"<iframe srcdoc='<script>parent.{RUN}</script>'>",
    f"<a href=javascript:{RUN}>x</a>",
    f"[x](javascript:{RUN})",
    f"<details open ontoggle={RUN}>",
    f"<style>@import 'http://192.0.2.1/{RUN}'</style>",
    f"<!--><script>{RUN}</script>-->",
    f"<![CDATA[<script>{RUN}</script>]]>",
    f"<math><mtext><img src=x onerror={RUN}>",
    f"&lt;img src=x onerror={RUN}&gt;",
    f"&#60;script&#62;{RUN}&#60;/script&#62;",
    f"${{{RUN}}}",
    f"`{RUN}`",
    f"{{{{{RUN}}}}}",
    "{% raw %}",
    "{eval}`1`",
    "{ref}`nowhere`",
    "{{ cookiecutter }}",
    "![x](http://192.0.2.1/x.png)",
    "<http://192.0.2.1/>",
    "$x_1$ and $$y$$",
    "$ 5",
    r"\( a \) \[ b \]",
    "*a* **b** _c_ ~~d~~",
    "# heading",
    "- item",
    "1. one",
    "> quote",
    "| a | b |",
    "```python",
    "---",
    "'; DROP TABLE rows; --",
    "%s %n %d {0} {name}",
    "\u202egnp.exe",
    "\u200b\ufeffzero",
    "e\u0301 é ﬁ ß İ",
    "日本語 العربية 🫀",
    "a;b,c\td",
    "'\"`\\",
    "__proto__",
    "constructor",
    "CON",
    "~ & ; | $(id)",
]
TITLE = " ".join(STRINGS[:3]) + " $x$ & \"q\" 'a' `b` *c* [d](e) {f} | g"


def case_name(number: int) -> str:
    """Return a string as a file's name: what ends a folder's name is a folder."""
    return f"{number:02d}" + STRINGS[number].replace("\0", "")


def pair(number: int, side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Return an image, and a mask in which one square has this number and another the next."""
    mask = np.zeros((side, side), np.uint8)
    mask[8:20, 6:22], mask[28:40, 24:40] = number + 1, (number + 1) % len(STRINGS) + 1
    image = np.where(mask, 180, 60).astype(np.uint8)
    return image + np.random.default_rng(number).integers(0, 20, mask.shape, np.uint8), mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder called like a tag, with a case of each name and a class of each name."""
    root = tmp_path_factory.mktemp("secret place") / f"<img src=x onerror={RUN}>"
    for number in range(len(STRINGS)):
        for part, values in zip(("images", "masks"), pair(number), strict=True):
            path = root / part / f"{case_name(number)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    return root


@pytest.fixture(scope="module")
def dataset(folder):
    classes = {name: number for number, name in enumerate(STRINGS, 1)}
    return load_folder(folder, name=TITLE, classes=classes)


def checked(browser, address: str) -> str:
    """Open a page, and return its text, after nothing of the strings was found to have run."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = watched(context)
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(address)
    page.wait_for_timeout(500)
    nothing_ran(page)
    text = page.evaluate("() => document.body.textContent")
    assert dialogs == [] and page.complaints == []
    context.close()
    return text


def nothing_ran(page) -> None:
    assert page.evaluate("() => window.hacked") is None
    tags = "[onerror], [onload], [onfocus], [ontoggle], [onmouseover], iframe[srcdoc]"
    assert page.locator(f'{tags}, a[href^="javascript:"]').count() == 0


def test_the_doctor_s_page_shows_them_as_text(browser, dataset, tmp_path):
    report = examine(dataset)
    html = doctor_page(dataset, report, longest=60)
    (tmp_path / "doctor.html").write_text(html, encoding="utf-8")
    text = checked(browser, (tmp_path / "doctor.html").as_uri())
    assert all(name in text for name in STRINGS) and TITLE in text
    assert str(dataset.root.parent) not in html


@pytest.fixture(scope="module")
def site(dataset, tmp_path_factory):
    """An explorer of all classes as a page that needs no kernel."""
    models = {"grabcut": load_model("grabcut")}
    rows = evaluate(dataset, models["grabcut"], clicks=1)
    assert not rows.attrs["excluded"] and rows["case_id"].nunique() == len(STRINGS)
    html = explorer.static(dataset, models, rows, limit=10**7).data
    path = tmp_path_factory.mktemp("site") / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
    return path


def test_the_explorer_of_a_page_offers_them_as_text(browser, site, dataset):
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    page = watched(context)
    page.goto(site.as_uri())
    for task in dataset.tasks.values():
        page.evaluate(
            """task => { const live = document.querySelector('.medsam-explorer').parentElement;
            live.explorer.set('state', {...live.explorer.get('state'), task, case: null}); }""",
            task,
        )
    page.wait_for_timeout(300)
    nothing_ran(page)
    options = page.locator(".medsam-explorer option").all_text_contents()
    assert set(dataset.tasks.values()) <= set(options)
    assert page.complaints == []
    assert str(dataset.root.parent) not in site.read_text(encoding="utf-8")
    context.close()


def test_segments_of_these_names_are_classes(browser, tmp_path):
    names = [name for name in STRINGS if name.isascii() and "\t" not in name]
    values = np.zeros((12, 12, len(names)), np.uint8)
    for index in range(len(names)):
        values[3:9, 3:9, index] = index + 1
    header = {
        "space": "left-posterior-superior",
        "space directions": np.eye(3),
        "space origin": np.zeros(3),
        "kinds": ["domain"] * 3,
    }
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    nrrd.write(str(tmp_path / "images/a.nrrd"), values * 2, header)
    for index, name in enumerate(names):
        header |= {f"Segment{index}_Name": name, f"Segment{index}_LabelValue": str(index + 1)}
    nrrd.write(str(tmp_path / "masks/a.seg.nrrd"), values, header)
    dataset = load_folder(tmp_path, name="segments")
    assert list(dataset.classes) == names
    html = doctor_page(dataset, examine(dataset))
    (tmp_path / "doctor.html").write_text(html, encoding="utf-8")
    text = checked(browser, (tmp_path / "doctor.html").as_uri())
    assert all(name in text for name in names)


def test_a_session_of_all_of_them_is_saved_and_resumed(dataset, tmp_path):
    live = Explorer(dataset, ["grabcut"])
    for number, (name, task) in enumerate(dataset.tasks.items()):
        case = next(r.case_id for r in dataset if r.case_id.startswith(f"{number:02d}"))
        live.state = {"dataset": TITLE, "task": task, "case": case, "box": [8, 6, 19, 21]}
        assert live.answers[0]["problem"] == "", name
        live.accept()
    paths = live.save(tmp_path / "out")
    assert len(live.accepted) == len(STRINGS) and all(
        path.is_relative_to(tmp_path / "out") for path in paths
    )
    again = Explorer(dataset, ["grabcut"])
    again.resume(tmp_path / "out")
    assert again.session == live.session
    for path in paths:
        if path.suffix == ".json":
            assert str(dataset.root.parent) not in path.read_text(encoding="utf-8")


LIVE = """import json
from medsam_utils import load_folder
from medsam_utils.book.explorer.live import Explorer
strings = json.load(open({strings!r}))
title = json.load(open({title!r}))
own = load_folder({folder!r}, name=title, classes={{name: n for n, name in enumerate(strings, 1)}})
explorer = Explorer(own, ["grabcut"])
for task, case in list(zip(own.tasks.values(), own))[:20]:
    explorer.state = {{"dataset": title, "task": task, "case": case.case_id, "box": [8, 6, 19, 21],
                       "class": strings[0]}}
    if explorer.answers[0]["mask"]:
        explorer.accept()
explorer._receive(None, {{"resume": ["<img src=x onerror=window.hacked=1>"]}}, None)
explorer"""


@pytest.mark.slow
def test_the_live_explorer_shows_them_as_text(browser, folder, tmp_path):
    pytest.importorskip("jupyterlab")
    (tmp_path / "strings.json").write_text(json.dumps(STRINGS))
    (tmp_path / "title.json").write_text(json.dumps(TITLE))
    cell = LIVE.format(
        strings=str(tmp_path / "strings.json"),
        title=str(tmp_path / "title.json"),
        folder=str(folder),
    )
    (tmp_path / "home").mkdir()
    with served(tmp_path / "home", [cell]) as address:
        page = ran(browser.new_context(viewport={"width": 1280, "height": 1000}), address)
        page.wait_for_function(
            "() => document.querySelector('.medsam-explorer .notice').textContent.includes('img')"
        )
        page.wait_for_timeout(500)
        assert page.evaluate("() => window.hacked") is None
        accepted = page.locator(".medsam-explorer li").count()
        assert accepted >= 10
        page.context.close()


@pytest.mark.slow
def test_a_chapter_with_them_as_title_cases_and_classes_is_made(browser, folder, tmp_path):
    checkout, out = tmp_path / "checkout", tmp_path / "book"
    copy_book(REPOSITORY, checkout)
    shutil.rmtree(checkout / PAGES, ignore_errors=True)
    call = ["--out", str(out), "--models", "grabcut", "chapter", str(folder), "--title", TITLE]
    run = subprocess.run(
        [sys.executable, "-m", "medsam_utils.book.render", *call, "--classes", "thing=1,2,3,4"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    (path,) = (out / "_build/html/book/pages/own").glob("*.html")
    text = checked(browser, path.as_uri())
    assert TITLE in " ".join(text.split()) or TITLE.replace(" ", "") in text.replace(" ", "")
    assert str(folder.parent) not in path.read_text(encoding="utf-8")
