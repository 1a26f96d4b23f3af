"""The explorer of a page in Chromium: what it draws, what it answers to, over http and from a
file."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import threading

import cv2
import numpy as np
import pandas as pd
import pytest
from chromium import Quiet, watched
from PIL import Image
from test_explorer import HOSTILE, mask_of, rows_of, stored, write_folder

from medsam_utils import load_folder
from medsam_utils.book import explorer

GREEN, RED, BLUE = (0, 200, 83), (255, 59, 48), (43, 140, 255)
SECOND = "<b>second</b>"  # a model's name is text too


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with one page, its data, and its address over http and as a file."""
    root = tmp_path_factory.mktemp("own")
    subject = load_folder(
        write_folder(root, [*HOSTILE, "last"], (60, 48), (1, 2), spill=5),
        name="My 'study' </script>",
    )
    models, rows = rows_of(subject, clicks=9)
    both = rows_of_two(models, rows)
    html = explorer.static(subject, *both).data
    folder = tmp_path_factory.mktemp("site")
    style = (
        ":root{color-scheme:light dark}"
        "body{color:CanvasText;background:Canvas;font-family:sans-serif}"
    )
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width'>"
    # what follows makes the page longer than the window
    page = f"<!doctype html>{head}<style>{style}</style>{html}<div style='height:2000px'></div>"
    (folder / "page.html").write_text(page, encoding="utf-8")
    (folder / "explorer.js").write_text(explorer.SCRIPT, encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{httpd.server_port}/page.html"
        yield stored(html), {"http": address, "file": (folder / "page.html").as_uri()}
        httpd.shutdown()


def rows_of_two(models, rows):
    """A second model that is the first by another name, one click behind."""
    second = rows.assign(model=SECOND, click=rows["click"] + 1)
    second = pd.concat([second[second["click"] == 2].assign(click=1), second[second["click"] <= 9]])
    return models | {SECOND: models["grabcut"]}, pd.concat([rows, second], ignore_index=True)


class Explorer:
    """The explorer of an open page, and what is stored for what it shows."""

    def __init__(self, page, data):
        self.page, self.data = page, data
        self.root = page.locator(".medsam-explorer")

    @property
    def state(self) -> dict:
        return self.root.evaluate("root => root.parentElement.explorer.get('state')")

    @property
    def case(self) -> dict:
        return next(
            c for c in self.data["tasks"][self.state["task"]] if c["case"] == self.state["case"]
        )

    def step(self, model: str = "grabcut") -> dict:
        return self.case["answers"][model][self.state["clicks"] - 1]

    def mask(self, text: str) -> np.ndarray:
        return mask_of(text, self.data["images"][self.case["image"]]["shape"])

    def press(self, *keys: str) -> None:
        self.root.focus()
        for key in keys:
            self.page.keyboard.press(key)
        self.drawn()

    def drawn(self) -> None:
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def pixels(self, panel: int = 0) -> tuple[np.ndarray, float, np.ndarray]:
        """Colours of a canvas, its pixels per pixel of the image, and where the image's corner lies
        in it."""
        self.drawn()
        address = self.page.locator("canvas").nth(panel).evaluate("canvas => canvas.toDataURL()")
        picture = np.asarray(
            Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB")
        )
        shape = np.array(self.data["images"][self.case["image"]]["shape"])
        size = min(np.array(picture.shape[:2]) / shape)
        return picture.astype(int), size, (np.array(picture.shape[:2]) - size * shape) / 2

    def near(self, colour, panel: int = 0, tolerance: int = 30) -> np.ndarray:
        return np.abs(self.pixels(panel)[0] - colour).max(axis=2) < tolerance


@pytest.fixture(params=["http", "file"])
def shown(browser, site, request):
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    yield from opened(context, site, request.param)


@pytest.fixture
def phone(browser, site):
    options = {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark", "has_touch": True}
    yield from opened(browser.new_context(**options), site, "file")


def opened(context, site, way):
    data, addresses = site
    page = watched(context)
    page.goto(addresses[way])
    yield Explorer(page, data)
    complaints = page.complaints
    context.close()
    assert complaints == []


def test_it_starts_at_the_median_and_offers_every_case_by_its_own_name(shown):
    assert shown.case["text"].startswith("median") and shown.state["clicks"] == 1
    offered = (
        shown.page.get_by_role("combobox", name="Case", exact=True)
        .locator("option")
        .all_inner_texts()
    )
    cases = shown.data["tasks"][shown.state["task"]]
    assert [text.split() for text in offered] == [case["text"].split() for case in cases]
    assert shown.page.locator("figcaption strong").all_inner_texts() == ["grabcut", SECOND]
    assert shown.page.locator("b").count() == 0


def test_slider_keys_and_selectors_lead_to_the_stored_numbers(shown):
    page = shown.page
    for keys, clicks in (
        (["4"], 4),
        (["ArrowRight", "ArrowRight"], 6),
        (["ArrowLeft"], 5),
        (["u"], 4),
        (["9"], 9),
    ):
        shown.press(*keys)
        assert shown.state["clicks"] == clicks
        for panel, model in enumerate(["grabcut", SECOND]):
            text = page.locator("figcaption").nth(panel).inner_text()
            assert f"IoU {shown.step(model)['iou']:.2f}" in text
    slider = page.get_by_label("Clicks shown")
    slider.fill("3")
    assert shown.state["clicks"] == 3 and "3 of 9" in page.locator(".made").inner_text()
    before = shown.state["case"]
    shown.press("ArrowDown")
    order = [case["case"] for case in shown.data["tasks"][shown.state["task"]]]
    assert order.index(shown.state["case"]) == order.index(before) + 1
    page.get_by_role("combobox", name="Task", exact=True).select_option(
        list(shown.data["tasks"])[1]
    )
    page.get_by_role("combobox", name="Case", exact=True).select_option(HOSTILE[1])
    assert shown.state["task"] == list(shown.data["tasks"])[1] and shown.case["case"] == HOSTILE[1]


def test_the_script_decodes_and_traces_every_mask_exactly(browser, site):
    _, addresses = site
    page = browser.new_page()
    page.goto(addresses["http"])
    rng = np.random.default_rng(0)
    masks = [rng.random((23, 31)) < share for share in (0.02, 0.5, 0.97, 1)]
    wrong = page.evaluate(
        """async given => {
          const { decode, contour } = await import('/explorer.js');
          const context = document.createElement('canvas').getContext('2d');
          return given.map(([text, rows, cols, expected]) => {
            const mask = decode(text, rows, cols), { path } = contour(mask, rows, cols);
            let wrong = 0;
            for (let i = 0; i < rows * cols; i++) {
              const [x, y] = [i % cols + 0.5, Math.floor(i / cols) + 0.5];
              const traced = context.isPointInPath(path, x, y, 'evenodd');
              wrong += (mask[i] !== expected[i]) + (traced !== !!mask[i]);
            }
            return wrong;
          });
        }""",
        [
            [explorer.run_lengths(mask), *mask.shape, mask.ravel().astype(int).tolist()]
            for mask in masks
        ],
    )
    page.close()
    assert wrong == [0] * len(masks)


def test_the_contours_drawn_lie_on_the_masks_edges(shown):
    shown.press("4")
    for name, colour in (("truth", GREEN), ("prediction", RED)):
        other = {"truth": "prediction", "prediction": "truth"}[name]
        shown.page.get_by_label(other).uncheck()
        mask = shown.mask(shown.case["truth"] if name == "truth" else shown.step()["mask"])
        _, size, corner = shown.pixels()
        found = np.argwhere(shown.near(colour)) + 0.5
        large = cv2.resize(mask.astype(np.uint8), None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
        edge = large != cv2.erode(large, np.ones((3, 3), np.uint8), borderValue=0)
        distance = cv2.distanceTransform(1 - edge.astype(np.uint8), cv2.DIST_L2, 5) / 8
        rows, cols = np.clip(
            ((found - corner) / size * 8).astype(int), 0, np.array(large.shape)[:, None].T - 1
        ).T
        assert len(found) > 0.4 * edge.sum() / 8 * size  # dashes leave gaps
        assert (
            distance[rows, cols].max() < 0.75
        )  # half a pixel where a corner is cut, and the line's width
        shown.page.get_by_label(other).check()


def test_the_clicks_are_dots_on_their_pixels(shown):
    shown.press("9")
    for box in ("truth", "prediction"):
        shown.page.get_by_label(box).uncheck()
    picture, size, corner = shown.pixels()
    clicks = [s["click"] for s in shown.case["answers"]["grabcut"] if s["click"]]
    assert clicks
    row, col, positive = clicks[-1]  # lies over the others
    y, x = np.rint(corner + (np.array([row, col]) + 0.5) * size).astype(int)
    disc = picture[y - 6 : y + 7, x - 6 : x + 7].reshape(-1, 3)
    assert np.median(disc, axis=0).argmax() == (1 if positive else 0)
    label = shown.page.locator("canvas").first.get_attribute("aria-label")
    for number, (row, col, positive) in enumerate(clicks, start=1):
        assert (
            f"{number} {'positive' if positive else 'negative'} at row {row}, column {col}" in label
        )


def test_the_error_view_paints_what_is_wrong_and_opacity_fades_it(shown):
    shown.press("1", "t", "p", "e")
    painted = {"missed": 0, "extra": 0}
    for task, cases in shown.data["tasks"].items():
        shown.page.get_by_role("combobox", name="Task", exact=True).select_option(task)
        for case in cases:
            shown.page.get_by_role("combobox", name="Case", exact=True).select_option(case["case"])
            truth, mask = shown.mask(shown.case["truth"]), shown.mask(shown.step()["mask"])
            for name, region in (("missed", truth & ~mask), ("extra", mask & ~truth)):
                rows, cols = np.argwhere(region).T
                if len(rows) < 5:  # the click's dot may lie on some
                    continue
                blue_less_red = []
                for opacity in ("1", "0.1"):
                    shown.page.get_by_label("opacity").fill(opacity)
                    picture, size, corner = shown.pixels()
                    y, x = (corner[:, None] + (np.array([rows, cols]) + 0.5) * size).astype(int)
                    blue_less_red.append(np.median(picture[y, x, 2] - picture[y, x, 0]))
                sign = 1 if name == "missed" else -1
                assert sign * blue_less_red[0] > 80 and sign * blue_less_red[1] < 35
                painted[name] += 1
    assert min(painted.values()) >= 1


def test_the_wheel_zooms_only_after_a_click_and_drag_moves(shown):
    page, canvas = shown.page, shown.page.locator("canvas").first
    canvas.hover()
    whole = shown.pixels()[0]
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    page.evaluate("scrollTo(0, 0)")
    assert np.array_equal(shown.pixels()[0], whole)  # the page scrolled, not the picture
    canvas.click()
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    near = shown.pixels()[0]
    assert page.evaluate("scrollY") == 0 and not np.array_equal(near, whole)
    assert not np.array_equal(shown.pixels(1)[0], whole)  # all panels show the same part
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 120, steps=4)
    page.mouse.up()
    moved = shown.pixels()[0]
    # what was there is 40 to the right and 20 down, but for what the first pixels of the drag wait
    # for
    best = min(
        np.abs(moved[60:300, 60:300] - near[60 - dy : 300 - dy, 60 - dx : 300 - dx]).mean()
        for dy in range(12, 24)
        for dx in range(28, 44)
    )
    assert best < 6 < np.abs(moved[60:300, 60:300] - near[60:300, 60:300]).mean()
    shown.press("f")
    assert np.array_equal(shown.pixels()[0], whole)


def test_the_state_is_a_line_of_code_that_can_be_copied_changed_and_set(shown):
    shown.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shown.press("5")
    shown.page.get_by_role("button", name="Copy the state").click()
    line = shown.page.locator(".code").input_value()
    assert shown.page.evaluate("navigator.clipboard.readText()") == line
    got = {}
    eval(line, {"Explorer": lambda subject, models, state: got.update(subject=subject, state=state),
                "load_folder": lambda path, name: name})  # fmt: skip
    assert got == {"subject": "My 'study' </script>", "state": shown.state}
    for case in HOSTILE:
        code = shown.page.locator(".code")
        code.fill(line.replace(json.dumps(shown.state, separators=(",", ":"), ensure_ascii=False),
                               json.dumps(shown.state | {"case": case, "clicks": 7})))  # fmt: skip
        code.press("Enter")
        assert (shown.state["case"], shown.state["clicks"]) == (case, 7)
        line = code.input_value()
    code.fill("no state")
    code.press("Enter")
    assert shown.state["clicks"] == 7
    shown.root.evaluate(
        "root => { const e = root.parentElement.explorer;"
        " e.set('state', {clicks: 2}); e.save_changes(); }"
    )
    assert shown.state["clicks"] == 2 and "2 of 9" in shown.page.locator(".made").inner_text()


def test_on_a_phone_it_fits_is_readable_in_the_dark_and_two_fingers_zoom(phone):
    page = phone.page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tops = [page.locator("canvas").nth(i).bounding_box()["y"] for i in range(2)]
    assert tops[1] > tops[0] + 200  # below each other
    ink, ground = page.evaluate(
        """() => [document.querySelector('.medsam-explorer td'), document.body].map((node, i) =>
          getComputedStyle(node)[i ? 'backgroundColor' : 'color']
            .match(/\\d+/g).slice(0, 3).map(Number))"""
    )
    assert min(ink) - max(ground) > 150
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('.medsam-explorer button')]"
        ".filter(b => b.offsetWidth).map(b => Math.min(b.offsetWidth, b.offsetHeight)))"
    )
    assert smallest >= 24  # WCAG's least size of a target
    whole = phone.pixels()[0]
    box = page.locator("canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)

    def fingers(kind, apart):
        points = (
            [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}] if apart else []
        )
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 20)
    for apart in (30, 45, 60):
        fingers("touchMove", apart)
    fingers("touchEnd", 0)
    page.wait_for_timeout(100)
    assert not np.array_equal(phone.pixels()[0], whole)
    assert page.evaluate("visualViewport.scale") == 1  # the picture grew, not the page


def test_on_a_small_screen_iou_and_choices_stand_above_a_picture_that_is_whole(browser, site):
    size = {"width": 1366, "height": 768}
    for shown in opened(browser.new_context(viewport=size), site, "file"):
        shown.press("4")
        shown.root.evaluate("root => root.scrollIntoView({ block: 'start' })")
        for panel, text in enumerate(shown.page.locator("figcaption").all()):
            picture = shown.page.locator("canvas").nth(panel).bounding_box()
            assert "IoU" in text.inner_text()
            needed = [text, *(shown.page.get_by_role("combobox", name=n) for n in ("Task", "Case"))]
            for box in (node.bounding_box() for node in needed):
                assert box["y"] >= 0 and box["y"] + box["height"] <= picture["y"]
            assert picture["height"] > 300 and picture["y"] + picture["height"] <= size["height"]


def test_what_is_shown_is_said(shown):
    shown.press("3")
    said = shown.page.get_by_role("status").inner_text()
    assert "3 of 9 clicks" in said and f"IoU {shown.step()['iou']:.2f}" in said
    unnamed = shown.page.evaluate(
        """() => [...document.querySelectorAll(
            '.medsam-explorer :is(button, input, select, canvas)')]
          .filter(node => !(node.getAttribute('aria-label')
            || node.closest('label')?.textContent.trim()))
          .map(node => node.outerHTML)"""
    )
    assert unnamed == []


def test_a_large_picture_is_moved_at_once_and_drawn_sharp_when_it_rests(browser, tmp_path):
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((1100, 1000)), (0, 0), 20)
    mask = noise > noise.mean()
    picture = np.repeat((mask * np.uint8(160))[..., None], 3, axis=2)
    step = {"click": [9, 9, 1], "iou": 1, "chosen": 0, "candidates": [[1, 1]]}
    step["mask"] = truth = explorer.run_lengths(mask)
    case = {"case": "c", "text": "c", "image": "i", "truth": truth, "answers": {"m": [step]}}
    image = {"image": explorer.data_address(picture, 1100), "shape": [1100, 1000], "step": 1}
    data = {"dataset": "d", "code": "", "last": 1, "images": {"i": image}, "tasks": {"t": [case]}}
    (tmp_path / "large.html").write_text(
        f"<meta charset=utf-8>{explorer.page_html(data)}", encoding="utf-8"
    )
    page = browser.new_page()
    page.goto((tmp_path / "large.html").as_uri())
    canvas = page.locator("canvas")
    canvas.click()
    page.wait_for_timeout(300)

    def after(*keys, wait):
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_timeout(wait)
        return canvas.evaluate("c => c.toDataURL()")

    whole, rest = after("f", wait=300), after("z", "z", wait=600)
    redrawn = after("t", "t", wait=300)  # the same place, drawn anew
    back = after("f", wait=300)
    page.close()
    assert rest == redrawn != whole == back
