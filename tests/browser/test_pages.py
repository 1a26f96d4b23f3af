"""The built book in Chromium: nothing leaves the machine, nothing is broken, everything is
readable."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from bs4 import BeautifulSoup
from chromium import Quiet, watched

HTML = Path(__file__).resolve().parents[2] / "_build/html"
MOST_PIXELS = 12_000  # of a page on a phone
pytestmark = pytest.mark.skipif(
    not (HTML / "index.html").is_file(), reason="the book is not built: make book"
)
PAGES = sorted(
    p.relative_to(HTML).as_posix() for p in HTML.rglob("*.html") if "_static" not in p.parts
)
PAGES = [page for page in PAGES if page != "index.html"]  # it only sends the reader on


@pytest.fixture(scope="session")
def server():
    """The built book over http, at a free port of this machine."""
    handler = functools.partial(Quiet, directory=str(HTML))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()


@pytest.fixture(scope="class")
def view(browser, request):
    """A page of the browser, as wide and as bright as the class says."""
    width, scheme = request.cls.width, request.cls.scheme
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    yield watched(context)
    context.close()


def opened(view, address: str):
    view.complaints.clear()
    view.goto(address, wait_until="load")
    view.wait_for_timeout(150)  # scripts that run after loading
    return view


@pytest.fixture(params=PAGES, scope="class")
def shown(view, request):
    """Each page of the book in a view, loaded once for all tests of it."""
    return opened(view, f"{HTML.as_uri()}/{request.param}")


class Pages:
    """What holds of every page in one view. A class for each: one process runs it (see `make
    browser`)."""

    width: int
    scheme: str

    def test_a_page_logs_nothing_fits_and_its_pictures_and_texts_can_be_seen(self, shown):
        assert shown.complaints == []  # a request that leaves this machine is one
        assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        pictures = shown.evaluate(
            """() => [...document.querySelectorAll('article img, article svg[role=img]')]
              .map(picture => ({
                text: picture.getAttribute('alt') || picture.getAttribute('aria-label') || '',
                width: picture.naturalWidth ?? picture.getBoundingClientRect().width,
                loaded: picture.complete ?? true}))"""
        )
        assert [p for p in pictures if not (p["text"].strip() and p["width"] and p["loaded"])] == []
        if shown.locator("#what-an-iou-looks-like").count():
            assert len(pictures) >= 4  # a curve, and three examples
        # text against what is behind it, by the WCAG's contrast ratio; 4.5 is its limit for text of
        # this size
        contrasts = shown.evaluate(CONTRAST)
        assert [c for c in contrasts if c["ratio"] < 4.5] == []

    def test_a_page_is_no_scroll_and_no_table_is_cut(self, shown):
        if self.width < 500:
            assert shown.evaluate("document.documentElement.scrollHeight") <= MOST_PIXELS
        if self.width >= 1000:
            shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            cut = shown.evaluate(
                """() => [...document.querySelectorAll('.medsam-table')]
                  .filter(box => box.scrollWidth > box.clientWidth + 1)
                  .map(box => box.innerText.slice(0, 60))"""
            )
            shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = false)")
            assert cut == []

    def test_the_answer_is_seen_without_scrolling(self, shown):
        answers = shown.locator(".medsam-answer")
        if answers.count():
            assert answers.first.bounding_box()["y"] < 844 - 100

    def test_an_accessibility_checker_finds_no_serious_fault(self, shown):
        options = {
            "resultTypes": ["violations"],
            "preload": False,
        }  # else it asks again for the style sheets
        if self.scheme == "dark":  # differs from light by its colours alone
            options["runOnly"] = ["color-contrast", "link-in-text-block"]
        # what opens is open, at once; drawings, whose parts the checker only walks through, are
        # empty
        shown.add_style_tag(content="* { animation: none !important; transition: none !important }")
        shown.evaluate(
            "document.querySelectorAll('details').forEach(details => details.open = true)"
        )
        shown.evaluate(
            "document.querySelectorAll('.medsam-figure svg').forEach(svg => svg.replaceChildren())"
        )
        shown.evaluate(AXE_SCRIPT)
        faults = shown.evaluate(
            "options => axe.run(options).then(result => result.violations)", options
        )
        serious = [fault for fault in faults if fault["impact"] in ("serious", "critical")]
        assert [(fault["id"], node["html"]) for fault in serious for node in fault["nodes"]] == []

    def test_the_address_of_the_book_leads_to_its_first_page(self, view):
        shown = opened(view, f"{HTML.as_uri()}/index.html")
        shown.wait_for_url("**/book/pages/start.html", timeout=5000)

    def test_dark_is_dark(self, view, server):
        shown = opened(view, server + "book/pages/start.html")
        background = shown.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
        )
        assert (background < 60) == (self.scheme == "dark")


class TestWideLight(Pages):
    width, scheme = 1280, "light"


class TestWideDark(Pages):
    width, scheme = 1280, "dark"


class TestNarrowLight(Pages):
    width, scheme = 390, "light"


class TestNarrowDark(Pages):
    width, scheme = 390, "dark"
    test_an_accessibility_checker_finds_no_serious_fault = (
        None  # its colours are those of TestWideDark
    )


def test_over_http_nothing_is_asked_of_another_machine_either(browser, server):
    context = browser.new_context()
    shown = watched(context)
    complaints = {page: list(opened(shown, server + page).complaints) for page in PAGES}
    context.close()
    assert {page: found for page, found in complaints.items() if found} == {}


def test_a_link_to_a_closed_name_of_the_package_opens_it(browser):
    shown = browser.new_page()
    page = HTML / "book/api/evaluation.html"
    shown.goto(f"{page.as_uri()}#medsam_utils.evaluate.evaluate")
    name = shown.locator("[id='medsam_utils.evaluate.evaluate']")
    assert name.is_visible()
    assert not shown.locator("[id='medsam_utils.clicks.Click']").is_visible()
    shown.close()


def test_a_case_of_the_table_opens_in_the_explorer(browser):
    shown = browser.new_page()
    page = next(page for page in PAGES if "medsam-worst" in (HTML / page).read_text("utf-8"))
    shown.goto((HTML / page).as_uri())
    lines = shown.locator(".medsam-worst tbody tr")
    opened = lines.locator(".medsam-open:visible")
    assert 0 < opened.count() <= lines.count()
    button = opened.last
    case = button.get_attribute("data-case")
    button.click()
    chosen = shown.locator(".medsam-explorer select option:checked").all_inner_texts()
    assert any(case in text for text in chosen)
    shown.close()


def test_a_heading_sorts_its_table_and_the_next_click_turns_it_round(browser):
    page = next(
        p for p in PAGES if "book/pages/" in p and "medsam-table" in (HTML / p).read_text("utf-8")
    )
    shown = browser.new_page()
    shown.goto(f"{HTML.as_uri()}/{page}")
    shown.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    table = shown.locator(".medsam-table table", has=shown.locator(".medsam-sort")).first
    column = table.locator("thead th").count() - 1
    texts = f"rows => rows.map(row => row.cells[{column}].textContent.trim())"

    def cells():
        return table.locator("tbody tr").evaluate_all(texts)

    before = cells()
    for order in ("ascending", "descending"):
        table.locator(".medsam-sort").nth(column).click()
        assert table.locator("thead th").nth(column).get_attribute("aria-sort") == order
    descending = cells()
    assert sorted(descending) == sorted(before)
    table.locator(".medsam-sort").nth(column).click()
    known = [cell for cell in cells() if cell]
    assert known == [cell for cell in descending if cell][::-1] or len(set(known)) < len(known)
    shown.close()


CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = [r, g, b].map(v =>
      (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.5) return colour;
    }
    return [255, 255, 255];
  };
  const chosen = '.medsam-answer, .medsam-figure figcaption, .medsam-figure svg text, '
    + '.medsam-table td, .medsam-facts td';
  const said = [...document.querySelectorAll(chosen)].filter(node => node.textContent.trim());
  return said.map(node => {
    const style = getComputedStyle(node);
    const text = rgb(node.tagName === 'text' ? style.fill : style.color);
    const [a, b] = [light(text), light(behind(node))].sort((x, y) => y - x);
    // numbers written on a picture stand on the picture, not on the page
    const onPicture = node.closest('svg')?.querySelector('image');
    return {text: node.textContent.slice(0, 40), ratio: onPicture ? 21 : (a + 0.05) / (b + 0.05)};
  });
}"""


@functools.cache
def parsed(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


@functools.cache
def names_of(page: Path) -> set[str]:
    """Every id of a page: what a link can lead to."""
    return {tag["id"] for tag in parsed(page)(id=True)}


@pytest.mark.parametrize("page", PAGES)
def test_every_internal_link_leads_somewhere(page):
    dead = []
    for link in {a["href"] for a in parsed(HTML / page)("a", href=True)}:
        if urlsplit(link).scheme:
            continue
        address, fragment = urldefrag(link)
        target = (HTML / page).parent / unquote(address) if address else HTML / page
        found = target.is_file()
        if found and fragment and target.suffix == ".html":
            found = unquote(fragment) in names_of(target.resolve())
        if not found:
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.startswith("book/pages/")])
def test_a_page_with_demo_numbers_begins_with_its_banner(page):
    article = parsed(HTML / page)
    levels = [cell for cell in article.select(".medsam-table td") if "demo" in cell.text]
    shown = article.select(".medsam-demo, .medsam-answer, .medsam-figure, .medsam-table")
    banners = [tag for tag in shown if "medsam-demo" in tag["class"]]
    assert all("not medical images" in tag.text for tag in banners)
    assert bool(levels) <= bool(banners)
    if banners:
        assert shown[0] is banners[0]
