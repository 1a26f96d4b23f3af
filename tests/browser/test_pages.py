"""The built book in Chromium: nothing leaves the machine, nothing is broken, everything is readable."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from chromium import Quiet, watched

HTML = Path(__file__).resolve().parents[2] / "_build/html"
pytestmark = pytest.mark.skipif(
    not (HTML / "index.html").is_file(), reason="the book is not built: make book"
)
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.rglob("*.html") if "_static" not in p.parts)
PAGES = [page for page in PAGES if page != "index.html"]  # it only sends the reader on
VIEWS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]


@pytest.fixture(scope="session")
def server():
    """The built book over http, at a free port of this machine."""
    handler = functools.partial(Quiet, directory=str(HTML))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()


@pytest.fixture(params=VIEWS, ids=lambda view: f"{view[0]}-{view[1]}", scope="session")
def view(browser, request):
    """A page of the browser, wide or narrow, light or dark."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = watched(context)
    page.scheme = scheme
    yield page
    context.close()


def opened(view, address: str):
    view.complaints.clear()
    view.goto(address, wait_until="load")
    view.wait_for_timeout(150)  # scripts that run after loading
    return view


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("way", ["http", "file"])
def test_a_page_asks_no_other_machine_logs_nothing_and_does_not_scroll_sideways(view, server, page, way):
    shown = opened(view, (server if way == "http" else HTML.as_uri() + "/") + page)
    assert shown.complaints == []
    assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_loads_and_has_a_text_and_is_readable(view, page):
    shown = opened(view, f"{HTML.as_uri()}/{page}")
    pictures = shown.evaluate(
        """() => [...document.querySelectorAll('article img, article svg[role=img]')].map(picture => ({
            text: picture.getAttribute('alt') || picture.getAttribute('aria-label') || '',
            width: picture.naturalWidth ?? picture.getBoundingClientRect().width,
            loaded: picture.complete ?? true}))"""
    )
    assert [p for p in pictures if not (p["text"].strip() and p["width"] and p["loaded"])] == []
    if shown.locator("#what-an-iou-looks-like").count():
        assert len(pictures) >= 4  # a curve, and three examples
    # text against what is behind it, by the WCAG's contrast ratio; 4.5 is its limit for text of this size
    contrasts = shown.evaluate(CONTRAST)
    assert [c for c in contrasts if c["ratio"] < 4.5] == []


CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.5) return colour;
    }
    return [255, 255, 255];
  };
  const chosen = '.medsam-answer, .medsam-figure figcaption, .medsam-figure svg text, .medsam-table td, '
    + '.medsam-facts td';
  return [...document.querySelectorAll(chosen)].filter(node => node.textContent.trim()).map(node => {
    const style = getComputedStyle(node);
    const text = rgb(node.tagName === 'text' ? style.fill : style.color);
    const [a, b] = [light(text), light(behind(node))].sort((x, y) => y - x);
    // numbers written on a picture stand on the picture, not on the page
    const onPicture = node.closest('svg')?.querySelector('image');
    return {text: node.textContent.slice(0, 40), ratio: onPicture ? 21 : (a + 0.05) / (b + 0.05)};
  });
}"""


def test_the_address_of_the_book_leads_to_its_first_page(view):
    shown = opened(view, f"{HTML.as_uri()}/index.html")
    shown.wait_for_url("**/book/intro.html", timeout=5000)


def test_dark_is_dark(view, server):
    shown = opened(view, server + "book/intro.html")
    background = shown.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (background < 60) == (shown.scheme == "dark")


@pytest.mark.parametrize("page", PAGES)
def test_every_internal_link_leads_somewhere(browser, page):
    shown = browser.new_page(java_script_enabled=False)
    shown.goto(f"{HTML.as_uri()}/{page}")
    links = shown.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)")
    dead = []
    for link in {link for link in links if link.startswith("file:")}:
        address, fragment = urldefrag(link)
        target = Path(unquote(urlsplit(address).path))
        found = target.is_file()
        if found and fragment and target.suffix == ".html":
            text = target.read_text(encoding="utf-8")
            found = f'id="{unquote(fragment)}"' in text
        if not found:
            dead.append(link)
    shown.close()
    assert dead == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.startswith("book/pages/")])
def test_a_page_with_demo_numbers_begins_with_its_banner(browser, page):
    shown = browser.new_page()
    shown.goto(f"{HTML.as_uri()}/{page}")
    levels = shown.locator(".medsam-table td", has_text="demo").count()
    banner = shown.locator(".admonition.warning", has_text="not medical images")
    assert bool(levels) <= bool(banner.count())
    if banner.count():
        above = shown.evaluate(
            """() => { const banner = document.querySelector('.admonition.warning');
            return [...document.querySelectorAll('.medsam-answer, .medsam-figure, .medsam-table')]
              .filter(node => node.compareDocumentPosition(banner) & Node.DOCUMENT_POSITION_FOLLOWING)
              .length }"""
        )
        assert above == 0
    shown.close()
