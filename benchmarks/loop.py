"""What the evaluation costs beside the model alone, and beside a plain loop round SamPredictor.

Interleaved in one run, threads pinned, medians; quote the ratios, not the times:

    python benchmarks/loop.py [--sizes 256 512 1024] [--objects 1 2 6] [--repeats 3]
"""

import argparse
import statistics
import time

import cv2
import numpy as np
import torch
from segment_anything import SamPredictor

from medsam_utils import PAPER, load_model, next_click
from medsam_utils.case import Case
from medsam_utils.clicks import Click, click_rng
from medsam_utils.evaluate import simulate

CLICKS = 9


def ellipses(side: int, objects: int) -> Case:
    """A noisy image of bright ellipses on a grid, none touching."""
    rng = np.random.default_rng(0)
    masks = {}
    image = rng.normal(70, 15, (side, side))
    for i in range(objects):
        mask = np.zeros((side, side), np.uint8)
        centre = side // 6 + (i % 3) * side // 3, side // 4 + (i // 3) * side // 2
        cv2.ellipse(mask, centre, (side // 10, side // 7), 20 * i, 0, 360, 1, -1)
        masks[f"object {i}"] = mask.astype(bool)
        image += 60 * mask
    rgb = np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return Case("bench", f"{side}", "none", None, rgb, masks)


def plain_loop(model, case: Case) -> None:
    """One object at a time through SamPredictor, all three masks at full size, as a first script would."""
    predictor = SamPredictor(model.network)
    predictor.set_image(case.image)
    for name, truth in case.masks.items():
        clicks, prediction = [], None
        for n in range(1, CLICKS + 1):
            rng = click_rng(PAPER, case.dataset, case.case_id, name, n)
            click = next_click(truth, prediction, PAPER, rng)
            if click is None:
                break
            clicks.append(click)
            points = np.array([[c.col, c.row] for c in clicks]), np.array([int(c.positive) for c in clicks])
            masks, confidences, _ = predictor.predict(*points)
            [np.logical_and(mask, truth).sum() / np.logical_or(mask, truth).sum() for mask in masks]
            prediction = masks[confidences.argmax()]


def ours(model, case: Case) -> None:
    """The loop of `evaluate` on one case."""
    for _ in simulate(case, {name: name for name in case.masks}, model, PAPER, CLICKS):
        pass


def bare(model, case: Case) -> None:
    """One encoding and nine decodings of all objects, and nothing else."""
    embedding = model.encode(case.image)
    click = Click(5, 5, True, 1.0, 1)
    for n in range(1, CLICKS + 1):
        model.predict(embedding, [[click] * n] * len(case.masks))


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 2, 6])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="sam_small")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    model = load_model(options.model, device="cpu")
    print("| image | objects | ours, ms | plain loop / ours | ours / bare |\n| --- | --- | --- | --- | --- |")
    for side in options.sizes:
        for objects in options.objects:
            case = ellipses(side, objects)
            ours(model, case)
            times = {function: [] for function in (plain_loop, ours, bare)}
            for _ in range(options.repeats):
                for function, measured in times.items():
                    measured.append(seconds(function, model, case))
            plain, mine, least = (statistics.median(measured) for measured in times.values())
            row = f"{side} x {side} | {objects} | {1000 * mine:.0f} | {plain / mine:.1f} | {mine / least:.2f}"
            print(f"| {row} |")


if __name__ == "__main__":
    main()
