"""The page "Try it on your image" by keyboard, by touch and by dragging; names of its controls."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from chromium import Quiet
from own_page import answered, closed, explorer_of, features, give, opened, pixel_of
from test_try_files import write_nifti
from test_try_image import as_file, drawing

from medsam_utils.book.explorer.run_lengths import from_run_lengths


def focused(page, what: str):
    return page.evaluate(f"document.activeElement.{what}")


def tab_to(page, what: str, expected: str) -> None:
    """Press Tab until the control that has the keyboard is the expected one."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if focused(page, what) == expected:
            return
    raise AssertionError(f"Tab does not reach {expected}")


def test_the_keyboard_alone_opens_clicks_chooses_takes_back_and_saves(own_page):
    own_page.evaluate("document.activeElement.blur()")
    # Chromium needs a moment before it hands file choosers over, which the Tabs give it.
    with own_page.expect_file_chooser() as chooser:
        tab_to(own_page, "textContent", "Choose an image")
        own_page.keyboard.press("Space")
    content = as_file(drawing(120, 160))
    chooser.value.set_files([{"name": "disc.png", "mimeType": "image/png", "buffer": content}])
    own_page.get_by_text("disc.png. Your image").wait_for()
    features(own_page)  # what is said of the encoded picture would come between the keys
    tab_to(own_page, "tagName", "CANVAS")
    for key in ("ArrowUp", "Shift+ArrowUp", "Shift+ArrowUp", "ArrowLeft", "ArrowLeft"):
        own_page.keyboard.press(key)
    assert own_page.locator("#medsam-own .spoken").inner_text() == "row 54, column 72"
    own_page.keyboard.press("Enter")
    assert explorer_of(own_page, "state")["clicks"] == [[54, 72, 1]]
    mask = from_run_lengths(answered(own_page)["mask"], (120, 160))
    own_page.keyboard.press("k")
    assert answered(own_page)["chosen"] == 1
    own_page.keyboard.press("Shift+Enter")
    assert explorer_of(own_page, "state")["clicks"] == [[54, 72, 1], [54, 72, 0]]
    own_page.keyboard.press("u")
    assert np.array_equal(from_run_lengths(answered(own_page)["mask"], (120, 160)), mask)
    tab_to(own_page, "textContent", "PNG")
    with own_page.expect_download() as download:
        own_page.keyboard.press("Space")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_two_corners_by_the_keyboard_are_a_box(own_page):
    give(own_page, ("disc.png", as_file(drawing(100, 140))))
    tab_to(own_page, "tagName", "CANVAS")
    own_page.keyboard.press("b")
    own_page.keyboard.press("Enter")
    for _ in range(5):
        own_page.keyboard.press("ArrowLeft")
        own_page.keyboard.press("ArrowUp")
    own_page.keyboard.press("Enter")
    assert explorer_of(own_page, "state")["box"] == [30, 50, 50, 70]
    assert answered(own_page)["mask"]


def test_a_mouse_leaves_the_arrow_keys_what_they_were(own_page, tmp_path):
    path = tmp_path / "a.nii.gz"
    write_nifti(path, "i2", shape=(40, 48, 5))
    give(own_page, (path.name, path.read_bytes()))
    own_page.locator("canvas").first.click(position=pixel_of(own_page, 20, 20))
    answered(own_page)
    own_page.keyboard.press("ArrowDown")
    assert own_page.evaluate("document.getElementById('medsam-own').own.shown.index") == 3


def test_the_line_of_keys_names_those_alone_that_do_something(own_page):
    give(own_page, ("disc.png", as_file(drawing(30, 40))))
    own_page.get_by_text("Keys", exact=True).click()
    said = own_page.locator("#medsam-own details", has_text="Keys").inner_text()
    assert "Algorithm 1" not in said and "accept" not in said
    assert "k next candidate, o new object" in said
    own_page.get_by_text("Keys", exact=True).click()


def test_every_control_has_a_name(own_page, tmp_path):
    path = tmp_path / "a.nii.gz"
    write_nifti(path, "i2", shape=(40, 48, 5))
    give(own_page, (path.name, path.read_bytes()))
    own_page.locator("canvas").first.click(position=pixel_of(own_page, 20, 20))
    answered(own_page)
    told = own_page.locator("#medsam-own").aria_snapshot()
    kinds = "button|checkbox|combobox|slider|spinbutton|textbox|application|img|table"
    found = re.findall(rf"^ *- ({kinds})(.*)$", told, re.MULTILINE)
    assert len(found) > 20
    assert [kind for kind, name in found if not name.startswith(' "')] == []


def window_of(page) -> tuple[float, float]:
    """Centre and width that the page shows the slice with."""
    window = page.evaluate("document.getElementById('medsam-own').own.window")
    return window["centre"], window["width"]


def test_a_drag_with_the_right_button_changes_the_window_and_is_no_click(own_page, tmp_path):
    path = tmp_path / "a.nii.gz"
    write_nifti(path, "i2", shape=(40, 48, 5))
    give(own_page, (path.name, path.read_bytes()))
    own_page.get_by_label("Window", exact=True).select_option("soft tissue 40, 400")
    before = features(own_page)[1]
    box = own_page.locator("canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    own_page.mouse.move(x, y)
    own_page.mouse.down(button="right")
    for step in range(1, 11):
        own_page.mouse.move(x - 15 * step, y + 3 * step)
    own_page.mouse.up(button="right")
    assert window_of(own_page) == (80, 200)
    assert own_page.get_by_label("Width of the window").input_value() == "200"
    assert explorer_of(own_page, "state")["clicks"] == []
    assert not np.array_equal(features(own_page)[1], before)
    own_page.locator("canvas").first.click(position=pixel_of(own_page, 20, 20), button="right")
    assert explorer_of(own_page, "state")["clicks"] == [[20, 20, 0]]
    assert window_of(own_page) == (80, 200)


def touch(session, kind: str, *point: float) -> None:
    points = [{"x": point[0], "y": point[1]}] if point else []
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_a_finger_clicks_and_with_contrast_pressed_changes_the_window(browser, own_site, tmp_path):
    page = opened(browser, own_site["file"], viewport={"width": 390, "height": 800}, has_touch=True)
    path = tmp_path / "a.nii.gz"
    write_nifti(path, "i2", shape=(40, 48, 5))
    give(page, (path.name, path.read_bytes()))
    page.locator("canvas").first.tap(position=pixel_of(page, 20, 20))
    assert explorer_of(page, "state")["clicks"] == [[20, 20, 1]]
    answered(page)
    centre, width = window_of(page)
    page.get_by_role("button", name="Change the window by dragging").tap()
    page.locator("canvas").first.scroll_into_view_if_needed()
    box, session = page.locator("canvas").first.bounding_box(), page.context.new_cdp_session(page)
    x, y = box["x"] + 40, box["y"] + box["height"] / 2
    touch(session, "touchStart", x, y)
    for step in range(1, 11):
        touch(session, "touchMove", x + 15 * step, y)
    touch(session, "touchEnd")
    page.wait_for_function(
        "(width) => document.getElementById('medsam-own').own.window.width > 1.9 * width",
        arg=width,
    )
    assert window_of(page) == pytest.approx((centre, 2 * width))
    assert explorer_of(page, "state")["clicks"] == [[20, 20, 1]]
    closed(page)


def test_of_slices_passed_in_haste_the_last_one_is_answered(own_page, tmp_path):
    path = tmp_path / "a.nii.gz"
    write_nifti(path, "i2", shape=(40, 48, 30))
    give(own_page, (path.name, path.read_bytes()))
    own_page.evaluate(
        """() => {
          const { own } = document.getElementById("medsam-own");
          for (let i = 0; i < 30; i++) own.toSlice(i);
        }"""
    )
    own_page.locator("canvas").first.click(position=pixel_of(own_page, 20, 20))
    assert answered(own_page)["mask"]
    own_page.get_by_label("Slice", exact=True).fill("7")
    own_page.locator("canvas").first.click(position=pixel_of(own_page, 20, 20))
    assert answered(own_page)["mask"]


class Isolated(Quiet):
    """Serve a folder with the headers that let a page share memory among threads."""

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


def test_on_an_isolated_page_threads_encode_the_same_features(browser, own_site, own_page):
    content = as_file(drawing(60, 48))
    give(own_page, ("disc.png", content))
    expected, _ = features(own_page)
    folder = Path(urlsplit(own_site["file"]).path).parent
    handler = functools.partial(Isolated, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = opened(browser, f"http://127.0.0.1:{server.server_port}/own.html")
        assert page.evaluate("crossOriginIsolated")
        give(page, ("disc.png", content))
        found, _ = features(page)
        closed(page)
        server.shutdown()
    assert np.abs(found.astype(np.float32) - expected.astype(np.float32)).max() < 0.02
