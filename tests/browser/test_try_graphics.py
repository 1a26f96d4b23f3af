"""The graphics card encodes as the processor does, or not at all.

Chromium's software graphics card stands for one. It runs the same programs, but takes minutes, so
it is asked only with MEDSAM_GRAPHICS=1.
"""

import os

import numpy as np
import pytest
from chromium import CHROMIUM, FLAGS
from own_page import explorer_of, features, give, opened
from test_try_files import flat_files

from medsam_utils import load_model

SOFTWARE = [
    *(flag for flag in FLAGS if flag != "--disable-gpu"),
    *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"),
]


@pytest.fixture
def page(browser, own_site):
    with browser.browser_type.launch(executable_path=CHROMIUM, args=SOFTWARE) as other:
        page = opened(other, own_site["file"])
        if not page.evaluate("navigator.gpu?.requestAdapter().then(Boolean) ?? false"):
            pytest.skip("this Chromium has no software graphics card")
        page.set_default_timeout(900_000)
        yield page


def use_graphics(page) -> str:
    """Press the button; what the page says when it has compared."""
    page.get_by_role("button", name="Use the graphics card").click()
    page.wait_for_function(
        "() => !document.querySelector('.own-status').innerText.startsWith('Loading')"
    )
    return page.locator(".own-status").inner_text()


def test_without_a_graphics_card_the_processor_goes_on(own_page):
    give(own_page, ("grey.png", flat_files()["grey.png"]))
    assert "the browser finds no graphics card" in use_graphics(own_page)
    assert features(own_page)[0].shape == (1, 192, 32, 32)
    said = "No available adapters."  # by Chromium
    own_page.complaints[:] = [one for one in own_page.complaints if one != said]


@pytest.mark.skipif("MEDSAM_GRAPHICS" not in os.environ, reason="takes minutes: MEDSAM_GRAPHICS=1")
def test_the_graphics_card_encodes_where_it_agrees_with_the_processor(page):
    files = flat_files()
    give(page, ("grey.png", files["grey.png"]))
    page.evaluate(
        """() => {
          const { own } = document.getElementById("medsam-own"), { features } = own;
          own.features = async () => {
            own.features = features;
            const found = await own.features();
            return { ...found, features: found.features.map((bits) => bits ^ 0x8000) };
          };
        }"""
    )
    assert "encoded by the processor: the graphics card computes other values" in use_graphics(page)
    assert "its values are those of the processor within 0.0" in use_graphics(page)
    give(page, ("colour.png", files["colour.png"]))
    found, picture = features(page)
    expected = load_model("sam_small", device="cpu").encode(picture).features.numpy()
    assert np.abs(found - expected).max() < 0.02


def test_the_processor_takes_over_from_a_graphics_card_that_fails(own_page):
    files = flat_files()
    give(own_page, ("grey.png", files["grey.png"]))
    own_page.evaluate(  # a card that computes what the processor did, and fails the next time
        """async () => {
          const known = await document.getElementById("medsam-own").own.features();
          Object.defineProperty(navigator, "gpu", { value: { requestAdapter: async () => ({}) } });
          let encoded = 0;
          window.Worker = class {
            postMessage({ id, task }) {
              const works = task !== "encode" || encoded++ === 0;
              const said = works ? { id, result: known } : { id, problem: "device lost" };
              setTimeout(() => this.onmessage({ data: said }));
            }
            terminate() {}
          };
        }"""
    )
    assert "its values are those of the processor within 0 %" in use_graphics(own_page)
    give(own_page, ("colour.png", files["colour.png"]))
    found, picture = features(own_page)
    said = explorer_of(own_page, "choices")["offer"]["text"]
    assert said.endswith("The graphics card failed (device lost): the processor encodes again.")
    expected = load_model("sam_small", device="cpu").encode(picture).features.numpy()
    assert np.abs(found - expected).max() < 0.02
    assert own_page.get_by_role("button", name="Use the graphics card").is_visible()
