"""What mobile_sam costs: an image encoded in torch, in onnxruntime and by SamPredictor, and a
click.

Interleaved in one process for each number of threads, medians of wall time; the peak of memory in
processes of their own:

    python benchmarks/mobile_sam.py [--threads 1 2] [--repeats 7]

The table is printed, and written to benchmarks/measured as Markdown and CSV.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
import torch
from report import write
from segment_anything import SamPredictor

from medsam_utils import Click, load_model
from medsam_utils.models.onnx_encoder import OnnxEncoder
from medsam_utils.models.onnx_weights import find_files
from medsam_utils.workers import keep_freed_memory

OBJECTS = 6
IMAGE = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
CLICKS = [[Click(40 + 70 * i, 60 + 60 * i, True, 1.0, 1)] for i in range(OBJECTS)]


def prepared(threads: int, encoder: str) -> tuple[object, SamPredictor]:
    """The fast model, its encoder computed in torch or in onnxruntime, and SAM's own predictor."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    model = load_model("mobile_sam", device="cpu")
    if encoder == "onnxruntime":
        model.network.image_encoder = OnnxEncoder(find_files(model.checkpoint.path())[0])
    return model, SamPredictor(model.network)


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def clicked(model, embedding, objects: int) -> None:
    """Masks of objects that get one click each."""
    prediction = model.predict(embedding, CLICKS[:objects])
    for i in range(objects):
        prediction.boxed_mask(i, 0)


def clicked_by_predictor(predictor: SamPredictor, objects: int) -> None:
    for (click,) in CLICKS[:objects]:
        predictor.predict(np.array([[click.col, click.row]]), np.array([1]))


def measure(threads: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of every step, one after another, so that all meet the same load."""
    (ours, predictor), (in_onnx, _) = (prepared(threads, e) for e in ("torch", "onnxruntime"))
    embedding = ours.encode(IMAGE)
    steps = {
        "encode": lambda: ours.encode(IMAGE),
        "encode, onnxruntime": lambda: in_onnx.encode(IMAGE),
        "encode, SamPredictor": lambda: predictor.set_image(IMAGE),
    }
    for n in (1, OBJECTS):
        steps[f"click, {n}"] = lambda n=n: clicked(ours, embedding, n)
        steps[f"click, {n}, SamPredictor"] = lambda n=n: clicked_by_predictor(predictor, n)
    for step in steps.values():
        step()
    found = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            found[name].append(seconds(step))
    return found


def peak(encoder: str) -> float:
    """MiB that a process holds at most, with everything imported, one image encoded and clicked."""
    model, _ = prepared(1, encoder)
    clicked(model, model.encode(IMAGE), OBJECTS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(function: Callable, *arguments: object) -> object:
    """Result of a function in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    lines = []
    for threads in options.threads:
        found = alone(measure, threads, options.repeats)
        of = {name: statistics.median(values) for name, values in found.items()}
        ours, onnx, theirs = (
            f"{of[f'encode{end}']:.2f}" for end in ("", ", onnxruntime", ", SamPredictor")
        )
        lines.append(["encode 512 x 512, s", threads, ours, theirs, onnx])
        for n in (1, OBJECTS):
            ours, theirs = (
                f"{1000 * of[f'click, {n}{end}']:.0f}" for end in ("", ", SamPredictor")
            )
            lines.append([f"a click on {n} object{'s' * (n > 1)}, ms", threads, ours, theirs, "–"])
    memory = {encoder: f"{alone(peak, encoder):.0f}" for encoder in ("torch", "onnxruntime")}
    lines.append(["memory at most, MiB", 1, memory["torch"], "–", memory["onnxruntime"]])
    columns = ["what", "threads", "mobile_sam", "SamPredictor, same network", "onnxruntime"]
    title = f"mobile_sam on the processor, median of {options.repeats} interleaved runs"
    write("mobile_sam", title, pd.DataFrame(lines, columns=columns))


if __name__ == "__main__":
    main()
