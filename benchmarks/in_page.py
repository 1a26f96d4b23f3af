"""What an own click costs in a page of the book: SAM's decoder in Chromium, in WebAssembly on one
thread.

A page with a picture of each size is made and opened, under two rules: clicks one by one that each
stand alone, and clicks one after the other, up to nine on an object, with the last mask fed back.
"Loaded" is all that a browser fetches for the first answer: ONNX Runtime Web, decoder and one
picture; "first" is the time from the press of the button to that answer. Then medians over the
clicks after the first, in wall time: of the networks, until the answer is there with the networks
in it, and until it is drawn (which waits for the screen's next turn; weights that were never
trained give ragged masks, which take longest to draw):

    python benchmarks/in_page.py [--checkpoint sam_vit_b_01ec64.pth] [--sides 512 1024] [--clicks
    30]

The table is printed, and written to benchmarks/measured as Markdown and CSV. Needs Chromium and
npm.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from loop import ellipses
from playwright.sync_api import Browser, sync_playwright
from report import write

from medsam_utils import PAPER, Protocol, load_model
from medsam_utils.book import explorer
from medsam_utils.book.explorer.in_page import write_files, write_runtime
from medsam_utils.case import BadInputError
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
  explorer.on("change:answers",
    () => explorer.get("answers").some((answer) => answer.waiting) || done());
  const times = [];
  for (const given of clicks) {
    network = 0;
    const start = performance.now(), answered = new Promise((then) => { done = then; });
    explorer.set("state", { case: name, clicks: given });
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


RULES = {
    "paper": PAPER,
    "first, then single, fed back": Protocol(
        mask_choice="first", later_mask_choice="single", feedback=True
    ),
}


def write_page(
    name: str, model: Model, protocol: Protocol, sides: list[int], folder: Path
) -> tuple[str, int]:
    """Write a page with a square picture of each size as a case, which answers clicks by a model.

    Returns its address, and how many bytes a browser loads for the first answer.
    """
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
        "rule": explorer.rule_of(protocol),
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
    picture_bytes = (folder / embedded[0]["embedded"][name]).stat().st_size
    return path.as_uri(), runtime + data["decoders"][name]["bytes"] + picture_bytes


def prompts_of(side: int, count: int, feedback: bool) -> list[list[list[int]]]:
    """Clicks one by one, or one after the other up to nine, in a picture of a size."""
    places = np.random.default_rng(0).integers(0, side, (count, 2)).tolist()
    clicks = [[*place, 1] for place in places]
    if not feedback:
        return [[click] for click in clicks]
    return [clicks[i - i % 9 : i + 1] for i in range(count)]


def measure(
    browser: Browser, address: str, sides: list[int], count: int, feedback: bool
) -> Iterator[dict]:
    """Time to the first answer, and median times of `count` clicks in each picture of a page."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    start = time.perf_counter()
    page.get_by_role("button", name="Click yourself").click()
    page.get_by_text("answers. Left click").wait_for()
    page.evaluate(CLICKS, [f"{sides[0]} x {sides[0]}", [[[0, 0, 0]]]])
    first = round(time.perf_counter() - start, 1)
    for side in sides:
        prompts = prompts_of(side, count + 1, feedback)
        times = page.evaluate(CLICKS, [f"{side} x {side}", prompts])[1:]
        columns = zip(
            ("network, ms", "answer, ms", "drawn, ms"), zip(*times, strict=True), strict=True
        )
        medians = {column: round(statistics.median(values)) for column, values in columns}
        yield {"first, s": first, "image": f"{side} x {side}", "clicks": count, **medians}
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--checkpoint", type=Path, help="weights of another SAM, measured as well")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--clicks", type=int, default=30)
    options = parser.parse_args()
    models = {"sam_small": load_model("sam_small", device="cpu")}
    try:
        models["mobile_sam"] = load_model("mobile_sam", device="cpu")
        models["mobile_sam"].network  # noqa: B018  its weights are fetched here
    except BadInputError as error:
        print(f"mobile_sam is left out: {error}")
        del models["mobile_sam"]
    if options.checkpoint:
        model = load_model("sam", checkpoint=options.checkpoint, device="cpu")
        models[f"sam {model.architecture}"] = model
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--headless", "--no-sandbox"]
        )
        lines = []
        for (name, model), (rule, protocol) in product(models.items(), RULES.items()):
            with tempfile.TemporaryDirectory() as folder:
                address, loaded = write_page(name, model, protocol, options.sides, Path(folder))
                facts = {"model": name, "rule": rule, "loaded, MB": round(loaded / 1e6, 1)}
                sides, feedback = options.sides, protocol.feedback
                lines += [
                    facts | line
                    for line in measure(browser, address, sides, options.clicks, feedback)
                ]
        version = browser.version.split(".")[0]
        title = f"An own click in a page, Chromium {version}, WebAssembly on one thread"
        browser.close()
    write("in_page", title, pd.DataFrame(lines))


if __name__ == "__main__":
    main()
