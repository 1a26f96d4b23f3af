"""What a click costs in JupyterLab, and how fluently a large picture is zoomed and moved there.

Medians over the clicks after the first of each image, at which it is encoded, in wall time: until
the kernel's answer is in the page, and until it is drawn. Then, on the last image, how often the
picture is drawn while the wheel turns and while the mouse drags:

    python benchmarks/live.py [--sizes 512x512 2048x2500] [--clicks 30] [--model sam_small]

The tables are printed, and written to benchmarks/measured as Markdown and CSV. Needs Chromium.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from loop import ellipses, size
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from report import write

sys.path.append(str(Path(__file__).parents[1] / "tests/browser"))
from chromium import CHROMIUM, FLAGS
from lab import ran, served

CELL = """from medsam_utils.book.explorer.live import Explorer
explorer = Explorer({paths!r}, [{model!r}])
explorer"""
# Clicks one after the other, each given when the answer to the one before has been drawn.
CLICKS = """async ([dataset, clicks]) => {
  const { explorer } = document.querySelector(".medsam-explorer").parentElement;
  let done = () => {};
  explorer.on("change:answers", () => done());
  const times = [];
  for (const click of clicks) {
    const start = performance.now(), answered = new Promise((then) => { done = then; });
    explorer.set("state", { dataset, clicks: [click] });
    explorer.save_changes();
    await answered;
    const answer = performance.now() - start;
    await new Promise(requestAnimationFrame);
    times.push([answer, performance.now() - start]);
  }
  const { problem } = explorer.get("answers")[0];
  if (problem) throw new Error(problem);
  return times;
}"""
# Each drawing of the picture begins with an empty canvas.
WATCH = """() => {
  const prototype = CanvasRenderingContext2D.prototype;
  const clear = (window.clear ??= prototype.clearRect);
  window.drawn = [];
  prototype.clearRect = function (...given) {
    window.drawn.push(performance.now());
    clear.apply(this, given);
  };
}"""
# A turn of the wheel for each frame: the browser hands on those of a real one more seldom.
WHEEL = """async (canvas, [clientX, clientY]) => {
  for (let i = 0; i < 110; i++) {
    const deltaY = i % 40 < 20 ? -40 : 40;
    const place = { clientX, clientY, bubbles: true, cancelable: true };
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY, ...place }));
    await new Promise(requestAnimationFrame);
  }
}"""


def round_trips(page: Page, dataset: str, shape: tuple[int, int], count: int) -> dict[str, float]:
    """Median times of `count` clicks in an image, after a first one."""
    clicks = np.random.default_rng(0).integers(0, shape, (count + 1, 2)).tolist()
    times = page.evaluate(CLICKS, [dataset, [[*click, 1] for click in clicks]])[1:]
    columns = zip(("answer, ms", "drawn, ms"), zip(*times, strict=True), strict=True)
    return {column: round(statistics.median(values)) for column, values in columns}


def fluency(page: Page, gesture: str) -> dict[str, float]:
    """Frames per second while a gesture moves the picture, by the median, and the longest wait for
    one."""
    canvas = page.locator(".medsam-explorer canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.locator(".medsam-explorer").focus()
    page.mouse.wheel(0, -400)  # nearer, so that there is something to move
    page.wait_for_timeout(500)
    if gesture == "drag":
        page.mouse.down()
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.evaluate(WATCH)
    if gesture == "drag":
        for i in range(110):
            page.mouse.move(x + 100 * np.sin(i / 10), y + 60 * np.sin(i / 7))
        page.mouse.up()
    else:
        canvas.evaluate(WHEEL, [x, y])
    waits = np.diff(page.evaluate("window.drawn"))
    if canvas.evaluate("canvas => canvas.toDataURL()") == before:
        raise SystemExit(f"the {gesture} moved nothing")
    page.get_by_role("button", name="Whole image").click()
    return {
        "frames per second": round(1000 / np.median(waits)),
        "longest wait, ms": round(waits.max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    default = ["256x256", "512x512", "1024x1024", "2048x2500"]
    parser.add_argument("--sizes", type=size, nargs="+", default=[size(text) for text in default])
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--model", default="sam_small")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        paths = []
        for rows, cols in options.sizes:
            paths.append(Path(folder, f"{rows} x {cols}.png"))
            Image.fromarray(ellipses(rows, cols, 2).image).save(paths[-1])
        cell = CELL.format(paths=list(map(str, paths)), model=options.model)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with served(Path(folder), [cell]) as address:
            page = ran(browser.new_context(viewport={"width": 1280, "height": 1000}), address)
            titles = page.locator(".medsam-explorer").evaluate(
                "root => root.parentElement.explorer.get('choices').datasets"
            )
            clicks = [
                {"image": path.stem, "clicks": options.clicks}
                | round_trips(page, title, shape, options.clicks)
                for title, path, shape in zip(titles, paths, options.sizes, strict=True)
            ]
            moves = [
                {"image": paths[-1].stem, "gesture": gesture} | fluency(page, gesture)
                for gesture in ("wheel", "drag")
            ]
        version = browser.version.split(".")[0]
        browser.close()
    write(
        "live", f"A click in JupyterLab, {options.model}, Chromium {version}", pd.DataFrame(clicks)
    )
    write("fluency", f"A large picture in JupyterLab, Chromium {version}", pd.DataFrame(moves))


if __name__ == "__main__":
    main()
