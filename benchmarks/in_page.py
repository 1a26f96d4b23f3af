"""What an own click costs in a page of the book: SAM's decoder in Chromium, in WebAssembly on one
thread.

A page with a picture of each size is made and opened. Medians over the clicks after the first, in
wall time: of the network, until the answer is there with the network in it, and until it is drawn
(which waits for the screen's next turn; weights that were never trained give ragged masks, which
take longest to draw):

    python benchmarks/in_page.py [--checkpoint sam_vit_b_01ec64.pth] [--sides 512 1024] [--clicks
    30]

The table is printed, and written to benchmarks/measured as Markdown and CSV. Needs Chromium and
npm.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from loop import ellipses
from playwright.sync_api import Browser, sync_playwright
from report import write

from medsam_utils import PAPER, load_model
from medsam_utils.book import explorer
from medsam_utils.book.explorer.in_page import write_files, write_runtime
from medsam_utils.models import Model

ROOT = Path(__file__).parents[1]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Own clicks one after the other, each given when the answer to the one before has been drawn.
CLICKS = """async ([name, clicks]) => {
  const { explorer } = document.querySelector(".medsam-explorer").parentElement;
  const prototype = ort.InferenceSession.prototype, run = prototype.run;
  let network = 0, done = () => {};
  prototype.run = async function (...given) {
    const start = performance.now();
    try { return await run.apply(this, given); } finally { network += performance.now() - start; }
  };
  explorer.on("change:answers", () => explorer.get("answers").some((answer) => answer.waiting) || done());
  const times = [];
  for (const click of clicks) {
    network = 0;
    const start = performance.now(), answered = new Promise((then) => { done = then; });
    explorer.set("state", { case: name, clicks: [click] });
    explorer.save_changes();
    await answered;
    const answer = performance.now() - start;
    await new Promise(requestAnimationFrame);
    times.push([network, answer, performance.now() - start]);
  }
  prototype.run = run;
  const { problem } = explorer.get("answers")[0];
  if (problem) throw new Error(problem);
  return times;
}"""


def write_page(name: str, model: Model, sides: list[int], folder: Path) -> str:
    """A page with a square picture of each size as a case, which answers clicks by a model; its
    address."""
    runtime = write_runtime(ROOT / "book/npm", folder)
    cases = [ellipses(side, side, 2) for side in sides]
    truths = [case.masks["object 0"] for case in cases]
    embedded = [
        {"task": "object", "truth": truth, "embeddings": {name: model.encode(case.image)}}
        for case, truth in zip(cases, truths, strict=True)
    ]
    data = {
        "dataset": "bench",
        "code": "",
        "last": 1,
        "rule": explorer.rule_of(PAPER),
        "images": {},
        "tasks": {},
    }
    data |= write_files(folder, {name: model}, embedded, "demo")
    for case, truth, files in zip(cases, truths, embedded, strict=True):
        step = -(-max(truth.shape) // explorer.LONGEST)
        mask = explorer.run_lengths(truth[::step, ::step])
        shown = {"click": [0, 0, 1], "mask": mask, "iou": 1, "chosen": 0, "candidates": [[1, 1]]}
        picture = {
            "image": explorer.data_address(case.image, 512),
            "shape": truth.shape,
            "step": step,
        }
        data["images"][case.case_id] = picture
        data["tasks"].setdefault("object", []).append(
            {"case": case.case_id, "text": case.case_id, "image": case.case_id, "truth": mask}
            | {"answers": {name: [shown]}, "embedded": files["embedded"]}
        )
    announced = f"<script>window.medsamInPage = {{root: '', bytes: {runtime}}}</script>"
    path = folder / "page.html"
    path.write_text(
        f"<!doctype html><meta charset=utf-8>{announced}{explorer.page_html(data)}", "utf-8"
    )
    return path.as_uri()


def measure(browser: Browser, address: str, sides: list[int], count: int) -> Iterator[dict]:
    """Median times of `count` clicks in each picture of a page, after a first one."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    page.get_by_role("button", name="Click yourself").click()
    page.get_by_text("answers. Left click").wait_for()
    for side in sides:
        clicks = np.random.default_rng(0).integers(0, side, (count + 1, 2)).tolist()
        times = page.evaluate(CLICKS, [f"{side} x {side}", [[*click, 1] for click in clicks]])[1:]
        columns = zip(
            ("network, ms", "answer, ms", "drawn, ms"), zip(*times, strict=True), strict=True
        )
        medians = {column: round(statistics.median(values)) for column, values in columns}
        yield {"image": f"{side} x {side}", "clicks": count, **medians}
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--checkpoint", type=Path, help="weights of another SAM, measured as well")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--clicks", type=int, default=30)
    options = parser.parse_args()
    models = {"sam_small": load_model("sam_small", device="cpu")}
    if options.checkpoint:
        model = load_model("sam", checkpoint=options.checkpoint, device="cpu")
        models[f"sam {model.architecture}"] = model
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--headless", "--no-sandbox"]
        )
        lines = []
        for name, model in models.items():
            with tempfile.TemporaryDirectory() as folder:
                address = write_page(name, model, options.sides, Path(folder))
                lines += [
                    {"model": name} | line
                    for line in measure(browser, address, options.sides, options.clicks)
                ]
        title = f"An own click in a page, Chromium {browser.version.split('.')[0]}, WebAssembly on one thread"
        browser.close()
    write("in_page", title, pd.DataFrame(lines))


if __name__ == "__main__":
    main()
