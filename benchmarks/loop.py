"""What the evaluation costs beside the released code's loop, a plain loop and the model alone.

Interleaved in one run, each loop in a process of its own and on one thread, medians of processor
time; and on the clock, `evaluate` as it is by default against the released code's loop with all
threads. Quote the ratios, not the times:

    python benchmarks/loop.py [--sizes 256x256 2048x2500] [--objects 1 2 6] [--clicks 1 3 9]
    [--repeats 3] [--clock sam_small mobile_sam]

The tables are printed, and written to benchmarks/measured as Markdown and CSV.
"""

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from report import write
from segment_anything import SamPredictor
from segment_anything.utils.transforms import ResizeLongestSide

from medsam_utils import PAPER, evaluate, load_folder, load_model, next_click
from medsam_utils.case import Case
from medsam_utils.clicks import click_rng
from medsam_utils.models import Model
from medsam_utils.simulation import simulate
from medsam_utils.workers import keep_freed_memory, single_threaded


def ellipses(rows: int, cols: int, objects: int) -> Case:
    """A noisy image of bright ellipses on a grid, none touching."""
    rng = np.random.default_rng(0)
    masks = {}
    image = rng.normal(70, 15, (rows, cols))
    for i in range(objects):
        mask = np.zeros((rows, cols), np.uint8)
        centre = cols // 6 + (i % 3) * cols // 3, rows // 4 + (i // 3) * rows // 2
        cv2.ellipse(mask, centre, (cols // 10, rows // 7), 20 * i, 0, 360, 1, -1)
        masks[f"object {i}"] = mask.astype(bool)
        image += 60 * mask
    rgb = np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return Case("bench", f"{rows} x {cols}", "none", None, rgb, masks)


def write_images(root: Path, case: Case, count: int) -> Path:
    """Write a folder of so many images of a case's objects, each with noise of its own."""
    labels = np.zeros(case.image.shape[:2], np.uint8)
    for value, mask in enumerate(case.masks.values(), start=1):
        labels[mask] = value
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for i in range(count):
        noise = np.random.default_rng(i).integers(-9, 10, labels.shape)
        image = (case.image[..., 0] + noise).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(root / "images" / f"{i:04}.png"), image)
        cv2.imwrite(str(root / "masks" / f"{i:04}.png"), labels)
    return root


def released(model: Model, case: Case, clicks: int) -> None:
    """The loop of the study's released code, as the book's protocol page describes it, in our
    words.

    One object at a time through SamPredictor, all three masks at full size as float32 and kept to
    the end; the first of them counts, as an integer array; approximate distance over the whole
    image; a click is positive on any object. After a perfect mask any pixel is clicked.
    """
    predictor = SamPredictor(model.network)
    predictor.set_image(case.image)
    rng = np.random.RandomState(1)
    any_object = np.any(list(case.masks.values()), axis=0).astype(int)
    for truth in case.masks.values():
        truth = truth.astype(np.uint8)
        mask, points, labels, kept = np.zeros(truth.shape, int), [], [], []
        for _ in range(clicks):
            error = np.pad(np.bitwise_xor(truth, mask).astype(np.uint8), 1)
            distance = cv2.distanceTransform(error, cv2.DIST_L2, 5)[1:-1, 1:-1]
            rows, cols = np.where(distance == distance.max())
            i = rng.randint(len(rows))
            points.append((cols[i], rows[i]))
            labels.append(int(any_object[rows[i], cols[i]] != 0))
            logits, _, _ = predictor.predict(np.array(points), np.array(labels), return_logits=True)
            logits[logits < 0] = 0
            mask = np.array(logits[0] > 0, dtype=int)
            common = np.sum(np.bitwise_and(mask, truth))
            kept.append(
                (common / (np.sum(mask) + np.sum(truth) - common), logits, truth, case.image)
            )


def plain(model: Model, case: Case, clicks: int) -> None:
    """Algorithm 1 as a first script would have it: one object at a time, all masks at full size."""
    predictor = SamPredictor(model.network)
    predictor.set_image(case.image)
    for name, truth in case.masks.items():
        given, prediction = [], None
        for n in range(1, clicks + 1):
            rng = click_rng(PAPER, case.dataset, case.case_id, name, n)
            click = next_click(truth, prediction, PAPER, rng)
            if click is None:
                break
            given.append(click)
            points = (
                np.array([[c.col, c.row] for c in given]),
                np.array([int(c.positive) for c in given]),
            )
            masks, confidences, _ = predictor.predict(*points)
            [np.logical_and(mask, truth).sum() / np.logical_or(mask, truth).sum() for mask in masks]
            prediction = masks[confidences.argmax()]


def ours(model: Model, case: Case, clicks: int) -> None:
    """The loop of `evaluate` on one case."""
    for _ in simulate(case, {name: name for name in case.masks}, model, PAPER, clicks):
        pass


@torch.inference_mode()
def encoder(model: Model, case: Case, clicks: int) -> torch.Tensor:
    """segment-anything's encoder once: what no loop can do without."""
    network = model.network
    resized = ResizeLongestSide(network.image_encoder.img_size).apply_image(case.image)
    pixels = torch.as_tensor(resized).permute(2, 0, 1).contiguous()[None]
    return network.image_encoder(network.preprocess(pixels))


@torch.inference_mode()
def bare(model: Model, case: Case, clicks: int) -> None:
    """segment-anything's encoder once and its decoder for all objects at every click, and nothing
    else."""
    network, features = model.network, encoder(model, case, clicks)
    for n in range(1, clicks + 1):
        points = (
            torch.full((len(case.masks), n, 2), 5.0),
            torch.ones((len(case.masks), n), dtype=torch.int),
        )
        sparse, dense = network.prompt_encoder(points=points, boxes=None, masks=None)
        network.mask_decoder(
            image_embeddings=features,
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )


LOOPS = {"released": released, "plain": plain, "ours": ours, "bare": bare, "encoder": encoder}


def started(name: str, model: str) -> None:
    """Prepare this process for one of LOOPS: all but ours use segment-anything's modules as they
    are."""
    global chosen
    single_threaded()
    if name == "ours":
        keep_freed_memory()  # as `evaluate` does
    chosen = LOOPS[name], load_model(model, device="cpu", exact=name != "ours")


def milliseconds(case: Case, clicks: int) -> float:
    loop, model = chosen
    start = time.process_time()
    loop(model, case, clicks)
    return 1000 * (time.process_time() - start)


def compare(
    processes: dict[str, ProcessPoolExecutor], case: Case, clicks: int, repeats: int
) -> dict[str, float]:
    """Median times of the loops, and their ratios; a first round is not counted."""
    times = {name: [] for name in LOOPS}
    for _ in range(repeats + 1):
        for name, process in processes.items():
            times[name].append(process.submit(milliseconds, case, clicks).result())
    median = {name: statistics.median(values[1:]) for name, values in times.items()}
    return {
        "image": case.case_id,
        "objects": len(case.masks),
        "clicks": clicks,
        **{f"{name}, ms": round(value) for name, value in median.items()},
        "released / ours": round(median["released"] / median["ours"], 1),
        "plain / ours": round(median["plain"] / median["ours"], 1),
        "ours / bare": round(median["ours"] / median["bare"], 2),
    }


def on_the_clock(name: str, shape: tuple[int, int], cases: int, repeats: int) -> dict[str, object]:
    """Median wall seconds of one run, two objects and nine clicks, from image files to rows.

    Raises ValueError if the default run and the one in this process alone give other bytes.
    """
    model = load_model(name, device="cpu")
    reference = load_model(name, device="cpu", exact=True)
    for one in (model, reference):
        one.load()
    times: dict[str, list[float]] = {"released": [], "default": [], "this process": []}
    contents, words = set(), ""
    with tempfile.TemporaryDirectory() as folder:
        root = write_images(Path(folder, "bench"), ellipses(*shape, 2), cases)
        dataset = load_folder(root, name="bench")
        for _ in range(repeats):
            torch.set_num_threads(os.cpu_count() or 1)
            start = time.perf_counter()
            for case in dataset.list().references:
                released(reference, dataset.load(case), 9)
            times["released"].append(time.perf_counter() - start)
            for way, executor in (("default", "auto"), ("this process", None)):
                start = time.perf_counter()
                rows = evaluate(dataset, model, executor=executor)
                times[way].append(time.perf_counter() - start)
                words = rows.attrs["record"]["computed_on"] if executor else words
                rows.attrs = {}  # the record of the run, which tells when
                contents.add(rows.to_parquet())
    if len(contents) > 1:
        raise ValueError(f"{len(contents)} different tables of rows from the same run")
    median = {way: statistics.median(values) for way, values in times.items()}
    return {
        "model": name,
        "image": f"{shape[0]} x {shape[1]}",
        "cases": cases,
        "default is": words,
        **{f"{way}, s": round(value, 2) for way, value in median.items()},
        "released / default": round(median["released"] / median["default"], 1),
        "released / this process": round(median["released"] / median["this process"], 1),
    }


def size(text: str) -> tuple[int, int]:
    rows, cols = text.split("x")
    return int(rows), int(cols)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    default = ["256x256", "512x512", "1024x1024", "2048x2500"]
    parser.add_argument("--sizes", type=size, nargs="+", default=[size(text) for text in default])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 2, 6])
    parser.add_argument("--clicks", type=int, nargs="+", default=[1, 3, 9, 20])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="sam_small")
    parser.add_argument("--clock", nargs="*", default=["sam_small", "mobile_sam"])
    options = parser.parse_args()
    clock = [
        on_the_clock(name, shape, 16 if name == "sam_small" else 6, options.repeats)
        for name in options.clock
        for shape in ((512, 512), (1024, 1024))
    ]
    if clock:
        title = "On the clock, two objects, nine clicks, released loop with all threads"
        write("loop_on_the_clock", title, pd.DataFrame(clock))
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(
                ProcessPoolExecutor(1, get_context("spawn"), started, (name, options.model))
            )
            for name in LOOPS
        }

        def table(cases: list[tuple[Case, int]]) -> pd.DataFrame:
            return pd.DataFrame([compare(processes, *case, options.repeats) for case in cases])

        cases = [(ellipses(*shape, n), 9) for shape in options.sizes for n in options.objects]
        write("loop_by_size", f"Nine clicks, {options.model}, one thread", table(cases))
        cases = [(ellipses(512, 512, 2), clicks) for clicks in options.clicks]
        write("loop_by_clicks", f"Number of clicks, {options.model}, one thread", table(cases))


if __name__ == "__main__":
    main()
