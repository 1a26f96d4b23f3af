"""Chromium as every browser test starts it, and what a page of it must not do."""

from __future__ import annotations

import http.server
import shutil
from pathlib import Path
from urllib.parse import urlsplit

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

PACKAGES = Path(__file__).resolve().parents[2] / "book/npm"
HEAD = (
    "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<style>:root{color-scheme:light dark}body{color:CanvasText;background:Canvas}</style>"
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve a folder and say nothing."""

    def log_message(self, *arguments):
        pass


def watched(context):
    """A new page that notes its complaints and refuses whatever is not on this machine."""
    page = context.new_page()
    page.complaints = []
    page.on(
        "console",
        lambda m: page.complaints.append(m.text) if m.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: page.complaints.append(str(error)))

    def failed(request):
        if (
            request.failure != "net::ERR_ABORTED"
        ):  # a picture still loading when the next page was opened
            page.complaints.append(f"{request.failure}: {request.url}")

    def local_only(route):
        if urlsplit(route.request.url).hostname in (None, "", "127.0.0.1"):
            route.continue_()
        else:
            page.complaints.append(f"asked another machine: {route.request.url}")
            route.abort()

    page.on("requestfailed", failed)
    page.route("**/*", local_only)
    return page


def place_on_canvas(page, shape: tuple[int, int], row: int, col: int) -> dict:
    """Where a pixel of an image of a shape lies on the first canvas that shows it whole."""
    box, (rows, cols) = page.locator("canvas").first.bounding_box(), shape
    size = min(box["height"] / rows, box["width"] / cols)
    return {
        "x": box["width"] / 2 + (col + 0.5 - cols / 2) * size,
        "y": box["height"] / 2 + (row + 0.5 - rows / 2) * size,
    }
