"""The page "Try it on your image" as tests use it."""

from __future__ import annotations

import numpy as np
from chromium import place_on_canvas, watched


def opened(browser, address, **options):
    """The page, ready to encode; `asked` notes its requests."""
    page = watched(browser.new_context(**({"viewport": {"width": 1000, "height": 900}} | options)))
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    page.get_by_text("sam_small is ready").wait_for(timeout=60_000)
    return page


def closed(page):
    page.context.close()
    assert page.complaints == []


def give(page, *files: tuple[str, bytes]) -> str:
    """Choose files as a reader does; what the page says then."""
    status = page.locator(".own-status")
    status.evaluate("node => { node.textContent = 'Reading'; }")
    kind = "application/octet-stream"
    page.locator("input[type=file]").first.set_input_files(
        [{"name": name, "mimeType": kind, "buffer": content} for name, content in files]
    )
    page.wait_for_function(
        "() => !document.querySelector('.own-status').innerText.startsWith('Reading')",
        timeout=60_000,
    )
    return status.inner_text()


def explorer_of(page, what: str):
    return page.locator("#medsam-own [role=group]").evaluate(
        f"root => root.parentElement.explorer.get('{what}')"
    )


def answered(page) -> dict:
    """The answer to the prompts, once it is there."""
    page.wait_for_function(
        "() => document.querySelector('#medsam-own [role=group]').parentElement"
        ".explorer.get('answers').every(a => !a.waiting)",
        timeout=60_000,
    )
    (answer,) = explorer_of(page, "answers")
    assert answer["problem"] == ""
    return answer


def ask(page, **state) -> dict:
    """The answer to a state that is set as the page's own controls set it."""
    page.locator("#medsam-own [role=group]").evaluate(
        """(root, state) => {
          const { explorer } = root.parentElement;
          explorer.set("state", { ...explorer.get("state"), ...state });
          explorer.save_changes();
        }""",
        state,
    )
    return answered(page)


def features(page) -> tuple[np.ndarray, np.ndarray]:
    """What the page encoded, float16 1 x C x h x w, and the picture, uint8 H x W x 3."""
    found = page.evaluate(
        """async () => {
          const { own } = document.getElementById("medsam-own");
          const { features, shape, picture } = await own.features();
          return { bits: [...features], shape: [...shape], bytes: [...picture.bytes],
            size: picture.shape };
        }"""
    )
    halves = np.array(found["bits"], np.uint16).view(np.float16).reshape(found["shape"])
    return halves, np.array(found["bytes"], np.uint8).reshape(*found["size"], 3)


def pixel_of(page, row, col):
    """Where a pixel of the image lies on the canvas."""
    return place_on_canvas(page, explorer_of(page, "scene")["shape"], row, col)
