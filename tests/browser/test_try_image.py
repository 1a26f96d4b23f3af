"""The page "Try it on your image": pictures are encoded and answered as Python does."""

from __future__ import annotations

import io

import numpy as np
import pytest
from own_page import answered, ask, closed, explorer_of, features, give, opened, pixel_of
from PIL import Image

from medsam_utils import Click, load_model
from medsam_utils.book.explorer.own_image import RULES
from medsam_utils.book.explorer.responses import Responses
from medsam_utils.book.explorer.run_lengths import from_run_lengths
from medsam_utils.case import Case
from medsam_utils.metrics import iou


def drawing(rows: int, cols: int, seed: int = 0) -> np.ndarray:
    """A bright disc with a dark spot in noise, uint8 rows x cols x 3."""
    row, col = np.mgrid[:rows, :cols] / np.array([rows, cols]).reshape(2, 1, 1)
    values = (
        60
        + 120 * (np.hypot(row - 0.45, col - 0.4) < 0.25)
        - 70 * (np.hypot(row - 0.5, col - 0.45) < 0.08)
    )
    noise = np.random.default_rng(seed).integers(0, 40, (rows, cols, 3))
    return (values[..., None] + noise).astype(np.uint8)


def as_file(image: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("way", ["http", "file"])
@pytest.mark.parametrize("shape", [(60, 48), (300, 500), (256, 256)])
def test_the_page_encodes_as_python_does(browser, own_site, own_page, way, shape):
    page = own_page if way == "file" else opened(browser, own_site[way])
    image = drawing(*shape)
    give(page, ("disc.png", as_file(image)))
    found, picture = features(page)
    if way == "http":
        closed(page)
    assert (picture == image).all()
    expected = load_model("sam_small", device="cpu").encode(image).features.numpy()
    assert found.shape == expected.shape
    assert np.abs(found.astype(np.float32) - expected).max() < 0.02  # of values up to about 5


@pytest.mark.parametrize("rule", RULES)
def test_answers_to_clicks_and_boxes_are_those_of_python(own_page, rule):
    image, model = drawing(200, 260), load_model("sam_small", device="cpu")
    give(own_page, ("disc.png", as_file(image)))
    own_page.get_by_label("Mask that counts").select_option(rule)
    case = Case("own", "disc.png", "", None, image, {})
    python = Responses(case, None, "object", {"sam_small": model}, RULES[rule])
    rng, overlaps = np.random.default_rng(0), []
    for _ in range(6):
        clicks = [
            [int(rng.integers(200)), int(rng.integers(260)), int(rng.integers(2))] for _ in range(3)
        ]
        clicks = [[90, 100, 1], *clicks]
        for n in range(1, 5):
            answer = ask(own_page, clicks=clicks[:n])
            given = tuple(Click(r, c, bool(p), 0, 0) for r, c, p in clicks[:n])
            expected = python.respond("sam_small", given, None)
            assert answer["chosen"] == expected.chosen and answer["iou"] is None
            mask = expected.masks[expected.chosen].mask()
            shown = from_run_lengths(answer["mask"], mask.shape)
            overlaps.append(iou(shown, mask) if mask.any() else 1)
    own_page.get_by_label("Mask that counts").select_option(next(iter(RULES)))
    assert len(overlaps) == 24 and min(overlaps) >= 0.99


def test_nothing_is_requested_after_load_whatever_is_done(browser, own_site):
    page = opened(browser, own_site["http"])
    said = page.locator(".own-status").inner_text()
    assert "nothing is sent, stored or requested" in said
    asked = len(page.asked)
    give(page, ("disc.png", as_file(drawing(120, 160))))
    page.locator("canvas").first.click(position=pixel_of(page, 54, 64))
    assert answered(page)["mask"]
    page.get_by_role("button", name="Begin another object").click()
    page.locator("canvas").first.click(position=pixel_of(page, 60, 72))
    assert answered(page)["mask"]
    assert [url for url in page.asked[asked:] if not url.startswith(("blob:", "data:"))] == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    closed(page)


def test_objects_have_clicks_of_their_own_and_names_and_undo_takes_the_last_click(own_page):
    give(own_page, ("disc.png", as_file(drawing(120, 160))))
    canvas = own_page.locator("canvas").first
    canvas.click(position=pixel_of(own_page, 54, 50))
    first = answered(own_page)
    own_page.keyboard.press("o")
    assert explorer_of(own_page, "state")["clicks"] == []
    assert explorer_of(own_page, "objects")[0]["mask"] == first["mask"]
    canvas.click(position=pixel_of(own_page, 60, 72))
    answered(own_page)
    canvas.click(position=pixel_of(own_page, 10, 10), button="right")
    answered(own_page)
    own_page.keyboard.press("u")
    assert explorer_of(own_page, "state")["clicks"] == [[60, 72, 1]]
    name = own_page.get_by_label("Name of the object")
    name.fill("spot")
    name.press("Enter")
    own_page.get_by_role("button", name="Go on with object 1").click()
    assert explorer_of(own_page, "state")["clicks"] == first["clicks"]
    assert answered(own_page)["mask"] == first["mask"]
    own_page.get_by_role("button", name="Go on with spot").click()
    assert explorer_of(own_page, "state")["clicks"] == [[60, 72, 1]]


def test_another_candidate_can_count(own_page):
    give(own_page, ("disc.png", as_file(drawing(120, 160))))
    own_page.locator("canvas").first.click(position=pixel_of(own_page, 54, 50))
    before = answered(own_page)
    own_page.get_by_role("button", name="Let candidate 3 count").click()
    after = answered(own_page)
    assert (before["chosen"], after["chosen"]) == (0, 2)
    assert after["predicted"] == after["candidates"][2][0]


def test_jpeg_is_upright_as_it_says_and_webp_is_read(own_page):
    image = drawing(40, 60)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    give(own_page, ("turned.jpg", as_file(image, "JPEG", quality=95, exif=exif)))
    assert explorer_of(own_page, "scene")["shape"] == [60, 40]
    give(own_page, ("plain.webp", as_file(image, "WEBP", lossless=True)))
    _, picture = features(own_page)
    assert (picture == image).all()


@pytest.mark.parametrize("content", [b"", b"no image", as_file(drawing(30, 30))[:200]])
def test_what_is_no_image_is_said_and_the_page_goes_on(own_page, content):
    said = give(own_page, ("broken.png", content))
    assert said.startswith("broken.png") and ":" in said
    assert "PNG" in said or "copy it again" in said
    give(own_page, ("disc.png", as_file(drawing(30, 40))))
    own_page.locator("canvas").first.click(position=pixel_of(own_page, 13, 16))
    assert answered(own_page)["mask"]
