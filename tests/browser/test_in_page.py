"""A network in a page: own clicks are answered in Chromium as Python does, without server or
kernel."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading

import numpy as np
import pytest
from chromium import HEAD, PACKAGES, Quiet, place_on_canvas, watched
from PIL import Image
from test_explorer import mask_of, stored, write_folder

from medsam_utils import PAPER, Click, Protocol, evaluate, load_folder, load_model
from medsam_utils.book import explorer
from medsam_utils.book.explorer.in_page import write_runtime
from medsam_utils.book.explorer.responses import Responses
from medsam_utils.case import BadInputError
from medsam_utils.clicks import SAM_ADVICE
from medsam_utils.metrics import iou

OFFER = "Click yourself"
RULES = {
    "first": Protocol(mask_choice="first"),
    "single": Protocol(mask_choice="single"),
    "oracle": Protocol(mask_choice="oracle"),
    "oracle-last": Protocol(mask_choice="oracle", equals="last"),
    "sam-advice": SAM_ADVICE,
    "first-then-single": Protocol(mask_choice="first", later_mask_choice="single", feedback=True),
}


def write_pages(root, folder, model, protocols):
    """Pages with two images of two classes, one of them larger than what is shown.

    protocols: by the name of the page. Returns the images, the HTML of each page and what announces
    the runtime.
    """
    try:
        size = write_runtime(PACKAGES, folder / "in_page")
    except BadInputError as error:
        pytest.skip(str(error))
    write_folder(root, ["small </script>"], (60, 48), (1, 2))
    write_folder(root, ["ünïcödé large"], (500, 700), (1, 2))
    large = root / "masks/ünïcödé large.png"
    values = np.array(Image.open(large))
    values[16:22, 5:27] = 255  # a band across the first object, which counts in no score
    Image.fromarray(values).save(large)
    subject, pages = load_folder(root, name="Two images"), {}
    announced = f"<script>window.medsamInPage={{root:'in_page/',bytes:{size}}}</script>"
    for name, protocol in protocols.items():
        rows = evaluate(subject, model, protocol, clicks=2)
        pages[name] = explorer.static(
            subject, {model.name: model}, rows, protocol, in_page=folder / "in_page"
        ).data
        (folder / f"{name}.html").write_text(HEAD + announced + pages[name], encoding="utf-8")
    return subject, pages, announced


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Pages of sam_small under every protocol, of an explorer in which one clicks at once, without
    and with a broken runtime; and their addresses."""
    root, folder = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("site")
    model = load_model("sam_small", device="cpu")
    subject, pages, announced = write_pages(root, folder, model, {"page": PAPER} | RULES)
    html = pages["page"]
    begun = explorer.at_once(
        subject,
        {"sam_small": model},
        subject.list().references,
        RULES["first-then-single"],
        in_page=folder / "in_page",
    ).data
    (folder / "at-once.html").write_text(HEAD + announced + begun, encoding="utf-8")
    (folder / "at-once-alone.html").write_text(HEAD + begun, encoding="utf-8")
    (folder / "alone.html").write_text(HEAD + html, encoding="utf-8")
    shutil.copytree(folder / "in_page", folder / "broken")
    (folder / "broken/runtime.js").unlink()
    broken = announced.replace("in_page/", "broken/")
    (folder / "broken.html").write_text(HEAD + broken + html, encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        ways = {"http": f"http://127.0.0.1:{httpd.server_port}/", "file": f"{folder.as_uri()}/"}
        yield subject, model, stored(html), ways
        httpd.shutdown()


def opened(browser, address, **options):
    page = watched(browser.new_context(**({"viewport": {"width": 1000, "height": 900}} | options)))
    page.goto(address)
    return page


def started(page):
    """Press the button and wait until the network answers."""
    page.get_by_role("button", name=OFFER).click()
    page.wait_for_function("() => document.querySelector('.medsam-explorer').parentElement.explorer"
                           ".get('choices').clickable", timeout=60_000)  # fmt: skip


def explorer_of(page, what: str):
    return page.locator(".medsam-explorer").evaluate(
        f"root => root.parentElement.explorer.get('{what}')"
    )


def answered(page) -> dict:
    """The network's answer to the clicks, once it is there."""
    page.wait_for_function("() => document.querySelector('.medsam-explorer').parentElement.explorer"
                           ".get('answers').every(answer => "
                           "!answer.waiting)", timeout=30_000)  # fmt: skip
    (answer,) = explorer_of(page, "answers")
    return answer


def pixel(page, row, col):
    """Where a pixel of the image lies on the canvas."""
    return place_on_canvas(page, explorer_of(page, "scene")["shape"], row, col)


def ask(page, **state) -> dict:
    """The network's answer to a state that is set as the page's own controls set it."""
    page.locator(".medsam-explorer").evaluate(
        """(root, state) => {
          const { explorer } = root.parentElement;
          explorer.set("state", { ...explorer.get("state"), ...state });
          explorer.save_changes();
        }""",
        state,
    )
    answer = answered(page)
    assert answer["problem"] == "" and answer["clicks"] == state["clicks"]
    return answer


def compare(page, site, count, draw, protocol=PAPER):
    """Let the page and Python answer the same prompts.

    Returns for each the IoU of the two masks, in how many pixels they differ, and how far predicted
    IoU and IoU with the truth differ, candidates of all prompts x 2.

    draw: random generator, truth -> prompts, each clicks [[row, col, positive], ...] and a box or
    None; `count` times for every case of every task.
    """
    subject, model, data, _ = site
    rng = np.random.default_rng(0)
    overlaps, pixels, differences = [], [], []
    for class_name, task in subject.tasks.items():
        for stored_case in data["tasks"][task]:
            case = subject.load(stored_case["case"], class_name)
            step = data["images"][stored_case["image"]]["step"]
            truth = case.masks[class_name]
            python = Responses(case, truth, task, {model.name: model}, protocol)
            for clicks, box in (prompt for _ in range(count) for prompt in draw(rng, truth)):
                answer = ask(page, task=task, case=case.case_id, clicks=clicks, box=box)
                given = tuple(Click(r, c, bool(p), 0, 0) for r, c, p in clicks)
                expected = python.respond(model.name, given, box and tuple(box))
                assert answer["chosen"] == expected.chosen
                mask = expected.masks[expected.chosen].mask()[::step, ::step]
                shown = mask_of(answer["mask"], mask.shape)
                pixels.append(np.count_nonzero(shown != mask))
                overlaps.append(iou(shown, mask) if pixels[-1] else 1)  # both may be empty
                scores = np.array([expected.predicted_iou, expected.iou]).T
                differences.append(np.abs(np.array(answer["candidates"]) - scores))
    return np.array(overlaps), np.array(pixels), np.concatenate(differences)


def some_clicks(rng, truth):
    """One click into the object, and up to four anywhere."""
    inside = np.argwhere(truth)
    anywhere = [[rng.integers(n) for n in truth.shape] for _ in range(rng.integers(0, 5))]
    return [
        [int(r), int(c), int(truth[r, c])]
        for r, c in (inside[rng.integers(len(inside))], *anywhere)
    ]


def clicks_alone(rng, truth):
    """One prompt of clicks."""
    return [(some_clicks(rng, truth), None)]


def a_box(rng, truth):
    """A box about as large as the object."""
    rows, cols = np.nonzero(truth)
    corners = np.array([rows.min(), cols.min(), rows.max(), cols.max()]) + rng.integers(-3, 4, 4)
    return np.clip(corners, 0, np.tile(truth.shape, 2) - 1).tolist()


def box_with_or_without_clicks(rng, truth):
    """One prompt of a box, half of the time with clicks."""
    box = a_box(rng, truth)
    return [(some_clicks(rng, truth) if rng.random() < 0.5 else [], box)]


def one_after_the_other(rng, truth):
    """Clicks that come one by one, now and then after a box, and what is left when two are
    undone."""
    clicks = some_clicks(rng, truth)
    box = a_box(rng, truth) if rng.random() < 0.3 else None
    counts = [*range(0 if box else 1, len(clicks) + 1)]
    return [(clicks[:n], box) for n in (*counts, *counts[-3:-2])]


@pytest.mark.parametrize("way", ["http", "file"])
def test_fifty_answers_to_clicks_are_those_of_python(browser, site, way):
    page = opened(browser, site[-1][way] + "page.html")
    started(page)
    overlaps, pixels, differences = compare(page, site, 15, clicks_alone)
    page.context.close()
    assert page.complaints == []
    # a small mask may differ by the pixels that half precision tips over, and so its IoU
    assert ((overlaps >= 0.995) | (pixels <= 2)).all() and sum(overlaps >= 0.995) >= 50
    assert differences[:, 0].max() < 0.005 and differences[:, 1].max() < 0.01


def test_answers_to_boxes_alone_and_with_clicks_are_those_of_python(browser, site):
    page = opened(browser, site[-1]["file"] + "page.html")
    started(page)
    overlaps, pixels, differences = compare(page, site, 8, box_with_or_without_clicks)
    page.context.close()
    assert page.complaints == []
    # a small mask may differ by the pixels that half precision tips over, and so its IoU
    assert ((overlaps >= 0.995) | (pixels <= 2)).all() and sum(overlaps >= 0.995) >= 30
    assert differences[:, 0].max() < 0.005 and differences[:, 1].max() < 0.01


@pytest.mark.parametrize("name", RULES)
def test_which_mask_counts_and_is_fed_back_is_as_in_python(browser, site, name):
    page = opened(browser, f"{site[-1]['file']}{name}.html")
    started(page)
    overlaps, pixels, _ = compare(page, site, 4, one_after_the_other, RULES[name])
    page.context.close()
    assert page.complaints == []
    # half precision tips some pixels of a small mask over, and they are fed back
    assert len(overlaps) >= 50 and ((overlaps >= 0.995) | (pixels <= 3)).all()
    assert sum(overlaps >= 0.995) >= 50


@pytest.mark.parametrize(("name", "counts"), [("oracle", 0), ("oracle-last", 2)])
def test_of_masks_that_all_miss_the_same_counts_as_in_python(browser, site, name, counts):
    subject, model, _, ways = site
    class_name, task = next(iter(subject.tasks.items()))
    case = subject.load("ünïcödé large", class_name)
    python = Responses(case, case.masks[class_name], task, {model.name: model}, RULES[name])
    expected = python.respond(model.name, (Click(480, 690, True, 0, 0),))
    assert set(expected.iou) == {0} and expected.chosen == counts
    page = opened(browser, f"{ways['file']}{name}.html")
    started(page)
    answer = ask(page, task=task, case=case.case_id, clicks=[[480, 690, 1]], box=None)
    page.context.close()
    assert page.complaints == [] and answer["chosen"] == counts


@pytest.fixture(scope="module")
def mobile_site(tmp_path_factory):
    """Pages of mobile_sam, and their addresses."""
    root, folder = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("mobile")
    try:
        model = load_model("mobile_sam", device="cpu")
        model.network  # noqa: B018  its weights are fetched here
    except BadInputError as error:
        pytest.skip(f"mobile_sam cannot be had: {error}")
    protocols = {"page": PAPER, "first-then-single": RULES["first-then-single"]}
    subject, pages, _ = write_pages(root, folder, model, protocols)
    return subject, model, stored(pages["page"]), {"file": f"{folder.as_uri()}/"}


@pytest.mark.parametrize("name", ["page", "first-then-single"])
def test_fifty_answers_of_mobile_sam_are_those_of_python(browser, mobile_site, name):
    page = opened(browser, f"{mobile_site[-1]['file']}{name}.html")
    started(page)
    protocol = RULES.get(name, PAPER)
    overlaps, pixels, _ = compare(page, mobile_site, 4, one_after_the_other, protocol)
    page.context.close()
    assert page.complaints == []
    assert len(overlaps) >= 50 and ((overlaps >= 0.995) | (pixels <= 1)).all()


def test_clicks_after_undo_or_at_once_get_the_same_answer_as_one_by_one(browser, site):
    subject, _, data, ways = site
    task = next(iter(subject.tasks.values()))
    where = {"task": task, "case": data["tasks"][task][0]["case"], "box": None}
    clicks = [[12, 13, 1], [40, 40, 0], [20, 18, 1], [50, 20, 0]]
    page = opened(browser, ways["file"] + "first-then-single.html")
    started(page)
    whole = ask(page, **where, clicks=clicks)  # nothing before it was asked
    page.reload()
    started(page)
    one_by_one = [ask(page, **where, clicks=clicks[: n + 1]) for n in range(4)]
    ask(page, **where, clicks=[*clicks[:2], [5, 40, 0]])  # two undone, another one made
    again = ask(page, **where, clicks=clicks)
    page.context.close()
    assert [len(answer["candidates"]) for answer in one_by_one] == [3, 1, 1, 1]
    assert whole["mask"] == one_by_one[-1]["mask"] == again["mask"]
    assert one_by_one[1]["mask"] != one_by_one[0]["mask"]


def test_a_box_is_drawn_by_drag_corrected_by_clicks_and_taken_back(browser, site):
    page = opened(browser, site[-1]["file"] + "page.html")
    tool = page.get_by_role("button", name="Draw a box")
    assert tool.count() == 0  # nothing to answer it yet
    started(page)
    said = page.locator(
        ".medsam-explorer .bar", has=page.get_by_text("answers. Left click")
    ).inner_text()
    assert "With box: drag round the object." in said
    tool.click()
    canvas = page.locator("canvas").first
    drag(page, (24, 28), (3, 5))
    assert (
        explorer_of(page, "state")["box"] == [3, 5, 24, 28]
        and explorer_of(page, "state")["clicks"] == []
    )
    alone = answered(page)
    assert alone["mask"] and alone["clicks"] == []
    canvas.click(position=pixel(page, 40, 30), button="right")
    assert explorer_of(page, "state")["box"] == [3, 5, 24, 28]
    assert answered(page)["clicks"] == [[40, 30, 0]]
    assert "Box: rows 3 to 24, columns 5 to 28" in page.locator(".spoken").inner_text()
    page.keyboard.press("u")
    assert answered(page)["mask"] == alone["mask"]
    page.keyboard.press("u")
    assert "box" not in explorer_of(page, "state") and not answered(page)["mask"]
    page.context.close()
    assert page.complaints == []


def drag(page, *corners):
    """Drag the mouse from one pixel of the image to another."""
    canvas = page.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    at = canvas.bounding_box()
    for place, act in zip(
        [pixel(page, *corner) for corner in corners], (page.mouse.down, page.mouse.up), strict=True
    ):
        page.mouse.move(at["x"] + place["x"], at["y"] + place["y"], steps=3)
        act()


def test_a_page_that_begins_with_clicks_loads_with_the_first_and_answers_it(browser, site):
    asked, page = [], opened(browser, "about:blank")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site[-1]["http"] + "at-once.html")
    assert len([url for url in asked if url.startswith("http")]) == 1  # the page itself
    bar = page.locator(".medsam-explorer .bar", has=page.get_by_text("The first loads"))
    assert "MB" in bar.inner_text() and "sam_small" in bar.inner_text()
    assert explorer_of(page, "state")["clicks"] == []
    canvas = page.locator("canvas").first
    canvas.click(position=pixel(page, 14, 15))
    page.wait_for_function("() => document.querySelector('.medsam-explorer').parentElement.explorer"
                           ".get('answers')[0].mask", timeout=60_000)  # fmt: skip
    answer = answered(page)
    assert answer["clicks"] == [[14, 15, 1]] and answer["problem"] == ""
    assert f"IoU {answer['iou']:.2f}" in page.locator("figcaption").first.inner_text()
    canvas.click(position=pixel(page, 40, 40), button="right")
    assert len(answered(page)["candidates"]) == 1  # the single mask, after two clicks
    page.get_by_role("button", name="Let Algorithm 1 click").click()
    assert explorer_of(page, "state")["clicks"] == 1 and explorer_of(page, "answers")[0]["mask"]
    page.context.close()
    assert page.complaints == []


def test_a_page_that_begins_with_clicks_takes_a_box_by_drag_without_its_button(browser, site):
    page = opened(browser, site[-1]["file"] + "at-once.html")
    drag(page, (24, 28), (3, 5))
    assert explorer_of(page, "state")["box"] == [3, 5, 24, 28]
    page.wait_for_function("() => document.querySelector('.medsam-explorer').parentElement.explorer"
                           ".get('answers')[0].mask", timeout=60_000)  # fmt: skip
    assert answered(page)["clicks"] == []
    page.locator("canvas").first.click(position=pixel(page, 40, 30), button="right")
    assert answered(page)["clicks"] == [[40, 30, 0]]
    assert explorer_of(page, "state")["box"] == [3, 5, 24, 28]
    page.context.close()
    assert page.complaints == []


def test_a_page_that_begins_with_clicks_shows_those_of_algorithm_1_without_the_runtime(
    browser, site
):
    page = opened(browser, site[-1]["file"] + "at-once-alone.html")
    assert explorer_of(page, "state")["clicks"] == 1 and explorer_of(page, "answers")[0]["mask"]
    assert not explorer_of(page, "choices")["clickable"]
    assert page.get_by_role("slider", name="Clicks shown").is_visible()
    page.context.close()
    assert page.complaints == []


def test_left_right_shift_and_the_sign_button_say_inside_or_outside_and_undo_takes_back(
    browser, site
):
    *_, ways = site
    page = opened(browser, ways["file"] + "page.html")
    assert explorer_of(page, "choices")["clickable"] is False
    page.locator("canvas").first.click(position=pixel(page, 9, 9))
    assert (
        explorer_of(page, "state")["clicks"] == 1
    )  # nothing to answer it yet: Algorithm 1's first click
    started(page)
    assert page.get_by_role("button", name=OFFER).count() == 0
    canvas = page.locator("canvas").first
    canvas.click(position=pixel(page, 14, 15))
    canvas.click(position=pixel(page, 40, 40), button="right")
    canvas.click(position=pixel(page, 2, 3), modifiers=["Shift"])
    page.keyboard.press("m")
    canvas.click(position=pixel(page, 50, 20))
    assert explorer_of(page, "state")["clicks"] == [
        [14, 15, 1],
        [40, 40, 0],
        [2, 3, 0],
        [50, 20, 0],
    ]
    answer = answered(page)
    assert (
        answer["mask"]
        and f"IoU {answer['iou']:.2f}" in page.locator("figcaption").first.inner_text()
    )
    page.get_by_role("button", name="Undo").click()
    assert len(explorer_of(page, "state")["clicks"]) == 3
    page.keyboard.press("r")
    assert (
        explorer_of(page, "state")["clicks"] == 1
        and "waiting" not in explorer_of(page, "answers")[0]
    )
    page.context.close()
    assert page.complaints == []


def test_what_is_loaded_is_said_before_and_nothing_is_loaded_before(browser, site):
    *_, ways = site
    asked, page = [], opened(browser, "about:blank")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(ways["http"] + "page.html")
    assert len([url for url in asked if url.startswith("http")]) == 1  # the page itself
    offer = page.locator(
        ".medsam-explorer .bar", has=page.get_by_role("button", name=OFFER)
    ).inner_text()
    assert "sam_small" in offer and "your browser" in offer and "MB" in offer
    assert page.locator(".medsam-explorer table").count() == 1
    page.context.close()


@pytest.mark.parametrize("way", ["http", "file"])
def test_without_the_runtime_there_is_no_button(browser, site, way):
    *_, ways = site
    page = opened(browser, ways[way] + "alone.html")
    assert page.get_by_role("button", name=OFFER).count() == 0
    page.context.close()
    assert page.complaints == []


def test_a_runtime_that_does_not_load_is_said_and_can_be_tried_again(browser, site):
    *_, ways = site
    page = opened(browser, ways["file"] + "broken.html")
    page.get_by_role("button", name=OFFER).click()
    page.get_by_text("runtime.js could not be loaded").wait_for()
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("runtime.js could not be loaded").wait_for()
    assert (
        explorer_of(page, "state")["clicks"] == 1 and not explorer_of(page, "choices")["clickable"]
    )
    page.context.close()


def test_on_a_phone_in_the_dark_taps_are_clicks_and_the_sign_can_be_switched(browser, site):
    *_, ways = site
    options = {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark", "has_touch": True}
    page = opened(browser, ways["file"] + "page.html", **options)
    started(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    canvas = page.locator("canvas").first
    canvas.tap(position=pixel(page, 14, 15))
    page.get_by_role("button", name="Is the next click inside").tap()
    canvas.tap(position=pixel(page, 40, 40))
    assert explorer_of(page, "state")["clicks"] == [[14, 15, 1], [40, 40, 0]]
    assert answered(page)["mask"]
    ink, ground = page.evaluate(
        """() => [document.querySelector('.medsam-explorer .bar span'), document.body]
          .map((node, i) => getComputedStyle(node)[i ? 'backgroundColor' : 'color']
            .match(/\\d+/g).slice(0, 3).map(Number))"""
    )
    assert min(ink) - max(ground) > 150
    page.context.close()
    assert page.complaints == []


BUILT = [
    path
    for path in sorted((PACKAGES.parents[1] / "_build/html/book/pages").glob("*.html"))
    if '"decoders":' in path.read_text(encoding="utf-8")
]


@pytest.mark.skipif(not BUILT, reason="the book is not built: make book")
def test_a_page_of_the_built_book_answers_a_click(browser):
    page = opened(browser, BUILT[0].as_uri())
    runtime = BUILT[0].parents[2] / "_static/in_page/runtime.js"
    assert page.get_by_role("button", name=OFFER).count() == runtime.is_file()
    if runtime.is_file():
        started(page)
        page.locator("canvas").first.click()
        answer = answered(page)
        assert (
            answer["problem"] == "" and 0 <= answer["iou"] <= 1 and len(answer["candidates"]) == 3
        )
    page.context.close()
    assert page.complaints == []
