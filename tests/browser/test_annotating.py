"""An annotator at a small screen: a half-annotated folder in JupyterLab, several objects, a
reload, an export."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from lab import ran, served
from test_explorer import mask_of, write_folder

from medsam_utils import load_folder

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("jupyterlab"),
    reason="JupyterLab is not installed: pip install .[book]",
)
SCREEN = {"width": 1366, "height": 768}
SHAPE = 60, 48
CODE = """from medsam_utils.book.explorer.live import Explorer
explorer = Explorer({folder!r}, ["grabcut"], autosave="kept")
explorer"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_folder(tmp_path_factory.mktemp("own"), ["a", "b", "c"], SHAPE, spill=4)
    for name in ("b", "c"):
        (root / f"masks/{name}.png").unlink()
    return root


@pytest.fixture(scope="module")
def lab(tmp_path_factory, folder):
    with served(tmp_path_factory.mktemp("home"), [CODE.format(folder=str(folder))]) as address:
        yield address


@pytest.fixture(scope="module")
def desk(browser, lab):
    page = ran(browser.new_context(viewport=SCREEN), lab)
    yield page
    page.context.close()


class Desk:
    """The explorer of an open notebook."""

    def __init__(self, page):
        self.page, self.root = page, page.locator(".medsam-explorer")
        self.canvas = self.root.locator("canvas")

    def get(self, name):
        return self.root.evaluate("(r, name) => r.parentElement.explorer.get(name)", name)

    def wait(self, condition, argument=None):
        """Until a condition of the model holds, such as "get('state').clicks?.length === 1"."""
        self.page.wait_for_function(
            "argument => { const root = document.querySelector('.medsam-explorer');"
            " if (!root) return false; const get = name => root.parentElement.explorer.get(name);"
            f" return {condition}; }}",
            arg=argument,
        )

    def click(self, row, col):
        """Click on a pixel of the image, and wait for the answer."""
        count = len(self.get("state")["clicks"]) + 1
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        size = min(box["height"] / SHAPE[0], box["width"] / SHAPE[1])
        x = box["width"] / 2 + (col + 0.5 - SHAPE[1] / 2) * size
        y = box["height"] / 2 + (row + 0.5 - SHAPE[0] / 2) * size
        self.canvas.click(position={"x": x, "y": y})
        self.wait("get('answers')[0].clicks.length === argument && get('answers')[0].mask", count)
        return self.get("answers")[0]

    def top(self):
        """Where the picture begins, below the top of the explorer."""
        self.page.wait_for_timeout(100)
        return round(self.canvas.bounding_box()["y"] - self.root.bounding_box()["y"])

    def choose(self, case):
        self.root.get_by_role("combobox", name="Case", exact=True).select_option(case)
        self.wait("get('state').case === argument && get('state').clicks", case)

    def cases(self):
        lists = self.root.get_by_role("combobox", name="Case", exact=True)
        return lists.locator("option").all_inner_texts()

    def accept(self):
        self.root.get_by_role("button", name="Accept the mask").click()
        self.root.get_by_role("button", name="The mask of grabcut is accepted").wait_for()

    def pixels(self, colour):
        """How many pixels of the picture have nearly a colour."""
        return self.canvas.evaluate(
            """(canvas, colour) => new Promise(done => requestAnimationFrame(() =>
              requestAnimationFrame(() => {
                const { data } = canvas.getContext("2d")
                  .getImageData(0, 0, canvas.width, canvas.height);
                let count = 0;
                for (let i = 0; i < data.length; i += 4)
                  count += colour.every((value, k) => Math.abs(data[i + k] - value) < 20);
                done(count);
              })))""",
            colour,
        )


def test_the_state_of_each_case_is_shown_and_those_without_a_mask_are_there(desk):
    here = Desk(desk)
    assert here.cases() == ["a", "b · no mask", "c · no mask"]
    assert here.root.get_by_text("0 done, 0 begun of 3").is_visible()
    here.choose("b")
    here.click(12, 18)
    here.wait("get('progress').b === 'begun'")
    assert here.cases() == ["a", "b · no mask · begun", "c · no mask"]
    here.accept()
    here.wait("get('progress').b === 'done'")
    assert here.cases() == ["a", "b · no mask · done", "c · no mask"]
    assert here.root.get_by_text("1 done, 0 begun of 3").is_visible()


def test_what_is_needed_for_a_mask_stands_above_the_picture_on_a_small_screen(desk):
    here = Desk(desk)
    here.choose("a")
    here.click(12, 15)
    here.root.evaluate("root => root.scrollIntoView({ block: 'end' })")
    here.root.evaluate("root => root.scrollIntoView({ block: 'start' })")
    picture = here.canvas.bounding_box()
    notebook = desk.locator(".jp-NotebookPanel-notebook").bounding_box()
    needed = {
        "IoU": here.root.locator("figcaption", has_text="IoU"),
        "accept": here.root.get_by_role("button", name="Accept the mask"),
        "class": here.root.get_by_label("Class", exact=True),
        "object": here.root.get_by_role("button", name="Begin the next object"),
        "save": here.root.get_by_role("button", name="Save the session"),
        "case": here.root.get_by_role("combobox", name="Case", exact=True),
        "undo": here.root.get_by_role("button", name="Undo"),
    }
    for name, node in needed.items():
        box = node.bounding_box()
        assert box["y"] >= notebook["y"] - 1 and box["y"] + box["height"] <= picture["y"], name
        assert box["x"] + box["width"] <= SCREEN["width"], name
    assert picture["y"] + picture["height"] <= notebook["y"] + notebook["height"]
    assert picture["height"] > 300


@pytest.mark.parametrize("width", [1366, 390])
def test_clicks_do_not_move_the_picture(desk, width):
    here = Desk(desk)
    desk.set_viewport_size({**SCREEN, "width": width})
    if width < 500:
        desk.evaluate("() => jupyterapp.shell.collapseLeft()")  # which leaves 60 pixels
    here.choose("c")
    tops = {here.top()}
    for row, col in ((12, 22), (2, 3)):
        here.click(row, col)
        here.wait("get('progress').c === 'begun'")
        tops.add(here.top())
    here.root.focus()
    for left in (1, 0):
        desk.keyboard.press("u")
        here.wait("get('state').clicks?.length === argument", left)
        tops.add(here.top())
    desk.set_viewport_size(SCREEN)
    desk.evaluate("() => jupyterapp.shell.expandLeft()")
    assert len(tops) == 1


def test_the_next_object_has_another_colour_while_the_first_stays(desk):
    here = Desk(desk)
    here.choose("c")
    here.click(12, 22)
    here.accept()
    first = here.get("answers")[0]["mask"]
    here.root.focus()
    desk.keyboard.press("o")
    here.wait("get('state').object === 2 && get('state').clicks?.length === 0")
    red, violet = (255, 59, 48), (217, 107, 255)
    assert here.pixels(red) > 100 and here.pixels(violet) == 0
    here.click(45, 35)
    assert here.pixels(red) > 100 and here.pixels(violet) > 30
    assert [one["number"] for one in here.get("objects")] == [1, 2]
    assert here.get("objects")[0]["mask"] == first
    here.root.get_by_label("other objects").uncheck()
    assert here.pixels(red) == 0
    here.root.get_by_label("other objects").check()
    here.root.get_by_role("combobox", name="Object", exact=True).select_option("1")
    here.wait("!get('state').object && get('state').clicks?.length === 1")
    assert here.get("answers")[0]["mask"] == first
    here.root.get_by_role("button", name="Begin the next object").click()
    here.wait("get('state').object === 3")  # 2 is begun
    here.root.get_by_role("combobox", name="Object", exact=True).select_option("2")
    here.wait("get('state').object === 2 && get('state').clicks?.length === 1")


def test_after_a_reload_of_the_page_the_session_goes_on(desk):
    here = Desk(desk)
    before = {name: here.get(name) for name in ("state", "accepted", "progress", "objects")}
    desk.reload()
    desk.wait_for_selector(".jp-Notebook .jp-Cell")
    desk.wait_for_function("() => jupyterapp.shell.currentWidget?.context?.isReady")
    desk.evaluate(
        "() => jupyterapp.shell.currentWidget.context.sessionContext.ready.then(() => {})"
    )
    desk.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
    here.wait("get('notice').startsWith('recovered: ')")
    assert {name: here.get(name) for name in before} == before
    assert here.root.get_by_role("button", name="Put what was recovered aside").is_visible()
    here.root.focus()
    desk.keyboard.press("u")
    here.wait("get('state').clicks?.length === 0")


def test_what_was_annotated_is_exported_as_a_folder_that_is_read_equal(desk, tmp_path):
    here = Desk(desk)
    here.root.get_by_label("Folder", exact=True).fill(str(tmp_path / "out"))
    here.root.get_by_text("formats").click()
    here.root.get_by_label("images + masks").check()
    assert here.root.get_by_label("DICOM SEG").count() == 0 or (
        not here.root.get_by_label("DICOM SEG").is_visible()
    )
    here.root.get_by_role("button", name="Save the session").click()
    here.root.get_by_text("make chapter FOLDER").wait_for()
    session = here.root.evaluate("root => root.parentElement.explorer.get('objects')")
    dataset = load_folder(tmp_path / "out")
    assert [reference.case_id for reference in dataset] == ["b", "c"]
    (first,) = [one for one in session if one["accepted"]]
    np.testing.assert_array_equal(dataset.load("c").masks["object"], mask_of(first["mask"], SHAPE))


def test_nothing_was_asked_of_another_machine(desk):
    told = [text for text in desk.complaints if "another machine" in text or "medsam" in text]
    assert told == []
