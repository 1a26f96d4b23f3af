"""What a reader waits for on the page "Try it on your image": Chromium, WebAssembly on one thread.

The page is opened from a file, with each model. An image is dropped and clicked at once: "first" is
the time until its mask is drawn. Then come clicks inside and outside the object, nine on an image:
"answer" is the median time until the answer is there, "drawn" until it is drawn. "longest task" is
the longest time in which the page answered to no input, from the drop on. All are wall times;
"busy" is the processors' time in all of Chromium's processes, which other programs do not change:

    python benchmarks/own_image.py [--sides 256 512 1024] [--clicks 27]

The table is printed, and written to benchmarks/measured as Markdown and CSV. Needs Chromium and
npm.
"""

import argparse
import base64
import io
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from in_page import CHROMIUM, ROOT
from loop import ellipses
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from report import write

from medsam_utils.book.explorer.own_image import MODELS, write_own_image

PAGE = (
    "<!doctype html><meta charset=utf-8><script>window.medsamInPage={root:'in_page/',bytes:0}"
    "</script><div id=medsam-own></div><script src=in_page/own_image.js></script>"
)
WATCH = """() => {
  window.long = [];
  const noted = (list) => long.push(...list.getEntries().map((entry) => entry.duration));
  new PerformanceObserver(noted).observe({ entryTypes: ["longtask"] });
}"""
GIVE = """(text) => {
  window.given = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}"""
ANSWERED = """() => {
  const { own: { model } } = document.getElementById("medsam-own");
  return (model.get("answers") ?? []).every((answer) => !answer.waiting && answer.mask);
}"""
# From the drop of a file to the drawn answer to a click.
FIRST = """async ([name, click]) => {
  const el = document.getElementById("medsam-own"), { own: { model } } = el;
  const start = performance.now(), transfer = new DataTransfer();
  transfer.items.add(new File([given], name));
  el.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
  const until = async (test) => { while (!test()) await new Promise((then) => setTimeout(then)); };
  await until(() => model.get("state")?.dataset === name);
  model.set("state", { ...model.get("state"), clicks: [click] });
  model.save_changes();
  await until(() => model.get("answers").every((answer) => !answer.waiting && answer.mask));
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""
CLICKS = """async (clicks) => {
  const { model } = document.getElementById("medsam-own").own, times = [];
  let done = () => {};
  const answered = () => model.get("answers").some((answer) => answer.waiting) || done();
  model.on("change:answers", answered);
  for (const given of clicks) {
    const start = performance.now(), there = new Promise((then) => { done = then; });
    model.set("state", { ...model.get("state"), clicks: given });
    model.save_changes();
    await there;
    const answer = performance.now() - start;
    await new Promise(requestAnimationFrame);
    await new Promise((then) => {
      const channel = new MessageChannel();
      channel.port1.onmessage = then;
      channel.port2.postMessage(0);
    });
    times.push([answer, performance.now() - start]);
  }
  return times;
}"""


def busy(seconds: dict[int, float] | None = None) -> dict[int, float]:
    """Seconds of processor time of this process's children, or how many were added since."""
    now = {}
    for process in psutil.Process().children(recursive=True):
        if "chrom" in process.name():
            now[process.pid] = sum(process.cpu_times()[:2])
    return {pid: spent - (seconds or {}).get(pid, 0) for pid, spent in now.items()}


def prompts(truth: np.ndarray, count: int) -> list[list[list[int]]]:
    """Clicks one after the other, nine on an image, each right: inside the object or outside."""
    rng, clicks = np.random.default_rng(0), []
    for n in range(count):
        where = np.argwhere(truth if n % 9 == 0 or rng.random() < 0.5 else ~truth)
        row, col = where[rng.integers(len(where))].tolist()
        clicks.append([row, col, int(truth[row, col])])
    return [clicks[i - i % 9 : i + 1] for i in range(count)]


def measure(page: Page, model: str, sides: list[int], count: int) -> Iterator[dict]:
    """Times of a model that is ready, for a square image of each size."""
    for side in sides:
        case = ellipses(side, side, 2)
        truth, buffer = case.masks["object 0"], io.BytesIO()
        Image.fromarray(case.image).save(buffer, "PNG")
        page.evaluate(GIVE, base64.b64encode(buffer.getvalue()).decode())
        page.wait_for_timeout(500)
        page.evaluate("long.length = 0")
        click = prompts(truth, 1)[0][0]
        start = busy()
        first = page.evaluate(FIRST, [f"{model}{side}.png", click])
        first_busy = sum(busy(start).values())
        start = busy()
        times = page.evaluate(CLICKS, prompts(truth, count))
        click_busy = sum(busy(start).values()) / count
        answer, drawn = (round(statistics.median(column)) for column in zip(*times, strict=True))
        facts = {"model": model, "image": f"{side} x {side}"}
        yield facts | {
            "first, s": round(first / 1000, 2),
            "busy, s": round(first_busy, 2),
            "clicks": count,
            "answer, ms": answer,
            "drawn, ms": drawn,
            "busy, ms": round(1000 * click_busy),
            "longest task, ms": round(max(page.evaluate("long"), default=0)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--clicks", type=int, default=27)
    options = parser.parse_args()
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_own_image(ROOT / "book/npm", Path(folder) / "in_page", cases={})
        (Path(folder) / "own.html").write_text(PAGE, "utf-8")
        browser = playwright.chromium.launch(
            executable_path=found, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        page.goto((Path(folder) / "own.html").as_uri())
        page.evaluate(WATCH)
        lines = []
        for model in MODELS:
            if model != MODELS[0]:
                page.get_by_role("button", name=f"Load {model}").click()
            page.get_by_text(f"{model} is ready").wait_for()
            page.wait_for_function(ANSWERED)  # it encodes the image that is shown already
            lines += measure(page, model, options.sides, options.clicks)
        version = browser.version.split(".")[0]
        browser.close()
    title = f"An image of one's own in a page, Chromium {version}, WebAssembly on one thread"
    write("own_image", title, pd.DataFrame(lines))


if __name__ == "__main__":
    main()
