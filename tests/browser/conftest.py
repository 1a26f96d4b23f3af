"""One Chromium for all browser tests, and one page "Try it on your image" for most that need it."""

import functools
import http.server
import threading

import pytest
from chromium import CHROMIUM, FLAGS, HEAD, PACKAGES, Quiet
from own_page import opened


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install .[dev]"
    )
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture(scope="session")
def own_site(tmp_path_factory):
    """Addresses of the page, from a server and from a file."""
    from medsam_utils.book.explorer.own_image import READERS, write_own_image
    from medsam_utils.case import BadInputError
    from medsam_utils.packages import npm_files

    drawn = {"us_breast": "", "mri_spine": ""}

    folder = tmp_path_factory.mktemp("site")
    try:
        npm_files(PACKAGES, READERS)
    except BadInputError as error:
        pytest.skip(str(error))
    write_own_image(PACKAGES, folder / "in_page", ["sam_small"], drawn)
    announced = "<script>window.medsamInPage={root:'in_page/',bytes:0}</script>"
    place = "<div id=medsam-own>waiting</div><script src=in_page/own_image.js></script>"
    (folder / "own.html").write_text(HEAD + announced + place, encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield {
            "http": f"http://127.0.0.1:{httpd.server_port}/own.html",
            "file": (folder / "own.html").as_uri(),
        }
        httpd.shutdown()


@pytest.fixture(scope="session")
def shared_page(browser, own_site):
    page = opened(browser, own_site["file"])
    yield page
    page.context.close()


@pytest.fixture
def own_page(shared_page):
    """The page, opened from a file, with sam_small ready; a test must leave no complaints."""
    yield shared_page
    complaints, shared_page.complaints[:] = list(shared_page.complaints), []
    assert complaints == []
