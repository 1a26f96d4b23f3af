"""The explorer in a real JupyterLab with a real kernel: a click in the picture comes back as a
mask."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from lab import ran, served
from PIL import Image
from test_explorer import mask_of, write_folder

from medsam_utils import MODELS, load_folder
from medsam_utils.book.explorer.live import Explorer

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("jupyterlab"),
    reason="JupyterLab is not installed: pip install .[book]",
)
SHAPE = 60, 48
CODE = """import medsam_utils
from medsam_utils.book.explorer.live import Explorer
explorer = Explorer(medsam_utils.load_folder({folder!r}, name="Squares"), ["grabcut"])
explorer"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("own"), ["a", "b"], SHAPE, spill=4)


@pytest.fixture(scope="module")
def lab(tmp_path_factory, folder):
    """Address of a notebook of two cells in a JupyterLab of its own."""
    cells = CODE.format(folder=str(folder)), "print(explorer.state)"
    with served(tmp_path_factory.mktemp("home"), cells) as address:
        yield address


@pytest.fixture(scope="module")
def live(browser, lab):
    page = ran(browser.new_context(viewport={"width": 1280, "height": 1000}), lab)
    yield page
    page.context.close()


def of(page, name: str):
    return page.locator(".medsam-explorer").evaluate(
        "(root, name) => root.parentElement.explorer.get(name)", name
    )


def answered(page, clicks: int) -> dict:
    """The answer, as soon as there is one to so many clicks."""
    page.wait_for_function(
        """clicks => {
          const live = document.querySelector('.medsam-explorer').parentElement.explorer;
        return live.get('answers')[0].clicks.length === clicks && live.get('answers')[0].mask; }""",
        arg=clicks,
    )
    return of(page, "answers")[0]


def test_clicks_in_the_picture_reach_the_model_and_its_mask_comes_back(live, folder):
    root = live.locator(".medsam-explorer")
    canvas = root.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    size = min(box["height"] / 60, box["width"] / 48)

    def at(row: int, col: int) -> dict:
        return {
            "x": box["width"] / 2 + (col + 0.5 - 24) * size,
            "y": box["height"] / 2 + (row + 0.5 - 30) * size,
        }

    changes = root.evaluate_handle(
        """root => {
          const { explorer } = root.parentElement, changes = [];
          explorer.on("change:state", () => changes.push(explorer.get("state").clicks?.length));
          return changes;
        }"""
    )
    canvas.click(position=at(12, 15))
    answered(live, 1)
    canvas.click(position=at(40, 30), button="right")
    answered(live, 2)
    assert changes.json_value() == [
        1,
        2,
    ]  # Python sends none back, which might be older than a third click
    canvas.click(position=at(2, 3), modifiers=["Shift"])
    answer = answered(live, 3)
    clicks = [[12, 15, 1], [40, 30, 0], [2, 3, 0]]
    assert of(live, "state") == {
        "dataset": "Squares",
        "task": "Squares",
        "case": "a",
        "clicks": clicks,
    }
    here = Explorer(load_folder(folder, name="Squares"), ["grabcut"], state=of(live, "state"))
    assert answer == json.loads(json.dumps(here.answers[0]))
    assert np.array_equal(
        mask_of(answer["mask"], (60, 48)), mask_of(here.answers[0]["mask"], (60, 48))
    )
    assert f"IoU {answer['iou']:.2f}" in root.locator("figcaption").inner_text()
    # Algorithm 1 goes on from here, and undo takes it back
    root.get_by_role("button", name="Click where this model").click()
    answered(live, 4)
    here._receive(here, {"next": ["grabcut"]}, [])
    assert of(live, "state") == here.state
    root.focus()
    live.keyboard.press("u")
    answered(live, 3)
    assert of(live, "state")["clicks"] == clicks


def test_a_box_is_drawn_by_drag_accepted_saved_and_resumed(live, folder, tmp_path):
    root = live.locator(".medsam-explorer")
    canvas = root.locator("canvas")
    cells = live.locator(".jp-Notebook .jp-Cell").count()
    root.get_by_label("Class", exact=True).fill("cyst <b>")
    root.get_by_label("Class", exact=True).press("Enter")
    live.wait_for_function(
        """() => { const live = document.querySelector('.medsam-explorer').parentElement.explorer;
        return live.get('state').class && live.get('state').clicks?.length === 0; }"""
    )
    root.focus()
    live.keyboard.press("b")
    assert root.get_by_role("button", name="Draw a box").get_attribute("aria-pressed") == "true"
    box = canvas.bounding_box()
    size = min(box["height"] / 60, box["width"] / 48)
    (x, y), (to_x, to_y) = (
        (
            box["x"] + box["width"] / 2 + (c - 23.5) * size,
            box["y"] + box["height"] / 2 + (r - 29.5) * size,
        )
        for r, c in ((24, 28), (3, 5))
    )
    live.mouse.move(x, y)
    live.mouse.down()
    live.mouse.move(to_x, to_y, steps=3)
    live.mouse.up()
    answered(live, 0)
    assert of(live, "state")["box"] == [3, 5, 24, 28]
    picture = canvas.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        ".filter((v, i, all) => i % 4 === 0 && v > 240 && all[i + 1] > 200 && all[i + 2] < "
        "60).length"
    )
    assert picture > 100  # the dashes
    here = Explorer(load_folder(folder, name="Squares"), ["grabcut"], state=of(live, "state"))
    assert of(live, "answers")[0] == json.loads(json.dumps(here.answers[0]))
    root.focus()
    live.keyboard.press("a")
    root.get_by_role("button", name="The mask of grabcut is accepted").wait_for()
    assert (
        live.locator(".jp-Notebook .jp-Cell").count() == cells
    )  # a and b are JupyterLab's keys for cells
    assert root.locator("b").count() == 0
    root.get_by_label("Folder", exact=True).fill(str(tmp_path / "out"))
    root.get_by_role("button", name="Save the session").click()
    root.get_by_text("saved: 4 files").wait_for()
    here.accept()
    expected = here.save(tmp_path / "here")
    for path in expected:
        written = (tmp_path / "out" / path.name).read_bytes()
        if path.name == "session.json":
            assert json.loads(written)["annotations"] == here.session["annotations"]
        else:
            assert written == path.read_bytes()
    live.keyboard.press("Escape")
    root.focus()
    live.keyboard.press("u")
    live.wait_for_function(
        "() => !document.querySelector('.medsam-explorer').parentElement.explorer.get('state').box"
    )
    root.get_by_role("button", name="Go on from the session").click()
    root.get_by_text("resumed:").wait_for()
    answered(live, 0)
    assert of(live, "state")["box"] == [3, 5, 24, 28] and of(live, "answers")[0]["accepted"]
    unnamed = live.evaluate(
        """() => [...document.querySelectorAll(
            '.medsam-explorer :is(button, input, select, canvas)')]
          .filter(node => !(node.getAttribute('aria-label')
            || node.closest('label')?.textContent.trim()))
          .map(node => node.outerHTML)"""
    )
    assert unnamed == []


def test_the_slider_shows_simulated_clicks_and_the_kernel_knows_the_state(live, folder):
    root = live.locator(".medsam-explorer")
    root.get_by_role("combobox", name="Case", exact=True).select_option("b")
    live.wait_for_function(
        """() => { const live = document.querySelector('.medsam-explorer').parentElement.explorer;
        return live.get('state').clicks?.length === 0; }"""
    )
    root.focus()
    live.keyboard.press("1")
    answered(live, 1)
    state = of(live, "state")
    here = Explorer(load_folder(folder, name="Squares"), ["grabcut"], state=state)
    assert state["case"] == "b" and state["clicks"] == 1
    assert of(live, "answers")[0] == json.loads(json.dumps(here.answers[0]))
    live.locator(".jp-Notebook .jp-Cell").last.click()
    live.evaluate("() => { jupyterapp.commands.execute('notebook:run-cell'); }")
    live.wait_for_function(
        "text => document.querySelector('.jp-Notebook').innerText.includes(text)", arg=repr(state)
    )


@pytest.fixture(scope="module")
def phone(browser, lab):
    options = {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}
    page = ran(browser.new_context(**options, has_touch=True, is_mobile=True), lab)
    page.evaluate(
        "() => jupyterapp.shell.collapseLeft()"
    )  # the list of files, which leaves 60 pixels
    page.evaluate(
        "() => { jupyterapp.commands.execute("
        "'apputils:change-theme', { theme: 'JupyterLab Dark' }); }"
    )
    page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    yield page
    page.context.close()


class Fingers:
    """Touches on the picture, in pixels of the image."""

    def __init__(self, page):
        self.page, self.canvas = page, page.locator(".medsam-explorer canvas")
        self.session = page.context.new_cdp_session(page)

    def place(self, row, col):
        """Where a pixel lies in the window while the whole image is shown."""
        box = self.canvas.bounding_box()
        size = min(box["height"] / SHAPE[0], box["width"] / SHAPE[1])
        return {
            "x": box["x"] + box["width"] / 2 + (col + 0.5 - SHAPE[1] / 2) * size,
            "y": box["y"] + box["height"] / 2 + (row + 0.5 - SHAPE[0] / 2) * size,
        }

    def tap(self, row, col):
        self.show()
        self.page.touchscreen.tap(**self.place(row, col))

    def show(self):
        """Bring the picture into the window, and wait until nothing moves it any more."""
        before = None
        while before != (before := self.canvas.bounding_box()) or before["width"] < 200:
            self.canvas.evaluate("canvas => canvas.scrollIntoView({ block: 'center' })")
            self.page.wait_for_timeout(200)

    def move(self, *paths):
        """One path of pixels for each finger, all of one length."""
        self.show()
        places = [[self.place(*at) for at in path] for path in paths]
        for i, points in enumerate(zip(*places, strict=True)):
            touched = [{**point, "id": n} for n, point in enumerate(points)]
            kind = "touchMove" if i else "touchStart"
            self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
            self.page.wait_for_timeout(50)  # as a finger does, so that no move is lost
        self.session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        self.page.wait_for_timeout(200)

    def picture(self):
        return self.canvas.evaluate("canvas => canvas.toDataURL()")


def test_taps_are_clicks_and_two_fingers_zoom_without_one(phone, folder):
    fingers, root = Fingers(phone), phone.locator(".medsam-explorer")
    fingers.tap(12, 15)
    answered(phone, 1)
    root.get_by_role("button", name="Is the next click inside").tap()
    fingers.tap(40, 30)
    answered(phone, 2)
    root.get_by_role("button", name="Is the next click inside").tap()
    clicks = [[12, 15, 1], [40, 30, 0]]
    assert of(phone, "state")["clicks"] == clicks
    whole = fingers.picture()
    apart = range(4, 16, 2)
    fingers.move([(30, 24 - by) for by in apart], [(30, 24 + by) for by in apart])
    near = fingers.picture()
    assert (
        near != whole and phone.evaluate("visualViewport.scale") == 1
    )  # the picture grew, not the page
    top = fingers.canvas.bounding_box()["y"]
    fingers.move([(30, 24 - by) for by in range(0, 12, 2)])
    assert (
        fingers.picture() != near and fingers.canvas.bounding_box()["y"] == top
    )  # moved, and not the page
    root.get_by_role("button", name="Whole image").tap()
    phone.wait_for_timeout(200)
    assert fingers.picture() == whole and of(phone, "state")["clicks"] == clicks


def test_one_finger_scrolls_the_page_over_a_whole_image(phone):
    fingers = Fingers(phone)
    clicks, whole = of(phone, "state")["clicks"], fingers.picture()
    fingers.show()
    top = fingers.canvas.bounding_box()["y"]
    fingers.move([(50 - by, 24) for by in range(0, 30, 3)])
    assert abs(fingers.canvas.bounding_box()["y"] - top) > 50
    assert fingers.picture() == whole and of(phone, "state")["clicks"] == clicks


def test_everything_that_is_pressed_is_large_enough_and_nothing_is_wider_than_the_window(phone):
    root = phone.locator(".medsam-explorer")
    sizes = root.evaluate(
        """root => [...root.querySelectorAll("button, select, summary, input")].map(node => {
          const target = ["checkbox"].includes(node.type) ? node.closest("label") : node;
          const { width, height } = target.getBoundingClientRect();
          return [target.ariaLabel || target.textContent, width, height];
        }).filter(([, width]) => width)"""
    )
    assert len(sizes) > 15 and [one for one in sizes if min(one[1:]) < 40] == []
    assert root.evaluate("root => root.scrollWidth <= root.clientWidth")
    box = root.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    ink, ground = root.evaluate(
        """root => {
          const colour = text => text.match(/[\\d.]+/g).map(Number);
          let ground = root;
          while (colour(getComputedStyle(ground).backgroundColor)[3] === 0)
            ground = ground.parentElement;
          return [getComputedStyle(root).color, getComputedStyle(ground).backgroundColor]
            .map(colour);
        }"""
    )
    assert abs(np.mean(ink[:3]) - np.mean(ground[:3])) > 120


def test_a_box_is_drawn_by_a_finger_and_what_is_saved_is_what_was_shown(phone, folder, tmp_path):
    fingers, root = Fingers(phone), phone.locator(".medsam-explorer")
    for left in (1, 0):
        root.get_by_role("button", name="Undo").tap()
        phone.wait_for_function(
            "left => document.querySelector('.medsam-explorer').parentElement.explorer"
            ".get('state').clicks.length === left",
            arg=left,
        )
    root.get_by_role("button", name="Draw a box").tap()
    fingers.show()
    top = fingers.canvas.bounding_box()["y"]
    fingers.move([(3, 5), (10, 12), (20, 22), (24, 28)])
    assert fingers.canvas.bounding_box()["y"] == top
    answered(phone, 0)
    fingers.tap(12, 15)
    answer = answered(phone, 1)
    assert of(phone, "state")["box"] == [3, 5, 24, 28] and of(phone, "state")["clicks"] == [
        [12, 15, 1]
    ]
    here = Explorer(load_folder(folder, name="Squares"), ["grabcut"], state=of(phone, "state"))
    assert answer == json.loads(json.dumps(here.answers[0]))
    root.get_by_role("button", name="Accept the mask").tap()
    root.get_by_label("Folder", exact=True).fill(str(tmp_path))
    root.get_by_role("button", name="Save the session").tap()
    root.get_by_text("saved: 4 files").wait_for()
    (path,) = tmp_path.glob("*.png")
    assert np.array_equal(np.asarray(Image.open(path)) > 0, mask_of(answer["mask"], SHAPE))


FOUR = ["slimsam_50", "sam_small", "ritm_small", "grabcut"]


@pytest.fixture(scope="module")
def four(tmp_path_factory, folder):
    """Address of a notebook with four models at once, the first a small network by its name."""
    pytest.importorskip("transformers", reason='needs "medsam-utils[models]"')
    from test_transformers_sam import build

    cache = tmp_path_factory.mktemp("cache")
    own, place = build("SAM"), cache / "models" / MODELS[FOUR[0]].checkpoint.location
    own.model.save_pretrained(place)
    own.processor.save_pretrained(place)
    code = CODE.format(folder=str(folder)).replace('["grabcut"]', repr(FOUR))
    code = f"import os\nos.environ['MEDSAM_CACHE'] = {str(cache)!r}\n{code}"
    with served(tmp_path_factory.mktemp("home"), [code]) as address:
        yield address


@pytest.mark.parametrize(
    "window",
    [
        {"viewport": {"width": 1280, "height": 1000}},
        {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True},
    ],
    ids=["wide", "phone"],
)
def test_four_models_answer_one_click_side_by_side(browser, four, window):
    page = ran(browser.new_context(**window), four)
    page.evaluate("() => jupyterapp.shell.collapseLeft()")
    root = page.locator(".medsam-explorer")
    page.evaluate(
        """() => {
          const live = document.querySelector(".medsam-explorer").parentElement.explorer;
          live.set("state", { ...live.get("state"), clicks: [[12, 15, 1]] });
          live.save_changes();
        }"""
    )
    page.wait_for_function(
        """() => {
          const live = document.querySelector(".medsam-explorer").parentElement.explorer;
          return live.get("answers").every(one => one.clicks.length === 1 && one.mask);
        }"""
    )
    answers = of(page, "answers")
    assert [answer["model"] for answer in answers] == FOUR
    captions = root.locator("figcaption").all_inner_texts()
    for caption, answer in zip(captions, answers, strict=True):
        assert caption.startswith(f"{answer['model']} IoU {answer['iou']:.2f}")
    boxes = [canvas.bounding_box() for canvas in root.locator("canvas").all()]
    assert len(boxes) == 4 and all(box["width"] >= 200 for box in boxes)
    width = window["viewport"]["width"]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    assert root.evaluate("root => root.scrollWidth <= root.clientWidth")
    in_a_row = len({round(box["y"]) for box in boxes}) < 4
    assert in_a_row == (width > 1000)
    problems = [text for text in page.complaints if "another machine" in text or "medsam" in text]
    page.context.close()
    assert problems == []


def test_nothing_was_asked_of_another_machine(live, phone):
    complaints = live.complaints + phone.complaints
    assert [text for text in complaints if "another machine" in text or "medsam" in text] == []
