"""What a GPU gives: SAM's fast mode beside its own predictor, the bare encoder, the released loop.

    python benchmarks/gpu.py [--device cuda] [--minutes 8] [--side 512]

For mobile_sam, where its weights are in the cache, and for SAM ViT-B and ViT-H of random weights,
whose speed is that of trained ones; nothing is fetched. A first table has what is equal: the exact
mode's logits and SamPredictor's, and the clicks of the fast and of the exact mode. A second has
images a second: `evaluate` from image files to rows, two objects and nine clicks; the image encoder
alone at its best batch; the released code's loop. What the minutes do not suffice for is left out.
The tables are printed and, of a GPU, written to benchmarks/measured.

`--device cpu --small` shows in a minute that all of it runs; its figures mean nothing.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from agreement import clicks_of
from loop import ellipses, released, write_images
from report import write
from segment_anything import SamPredictor

from medsam_utils import evaluate, load_folder, load_model
from medsam_utils.case import BadInputError
from medsam_utils.clicks import Click
from medsam_utils.datasets import Dataset
from medsam_utils.models import Model
from medsam_utils.models.sam import ARCHITECTURES

AIMS = "Aims: evaluate / encoder at least 0.9, evaluate / released at least 5."
NEVER = (
    "benchmarks/gpu.py was not run: there is no GPU here. No figure of this project is one of it."
)


def recipes(small: bool, folder: Path) -> Iterator[tuple[str, str, str | None]]:
    """Title, name and weights file of each model; random weights are written to the folder."""
    yield ("sam_small", "sam_small", None) if small else ("mobile_sam", "mobile_sam", None)
    for architecture in () if small else ("vit_b", "vit_h"):
        torch.manual_seed(0)
        path = folder / f"{architecture}.pth"
        torch.save(ARCHITECTURES[architecture]().state_dict(), path)
        yield f"SAM {architecture}, random weights", f"sam_{architecture}", str(path)
        path.unlink()


def waited(device: str) -> float:
    """The time when all that the device was told to do is done."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@torch.inference_mode()
def encoder_rate(model: Model, batches: list[int], deadline: float) -> tuple[float, int]:
    """Images a second of the image encoder alone, and the batch with which it is fastest."""
    device, side = str(model.device), model.network.image_encoder.img_size
    best = 0.0, 0
    for size in batches:
        pixels = torch.zeros(size, 3, side, side, dtype=model.dtype, device=model.device)
        try:
            model.network.image_encoder(pixels)
            start, count = waited(device), 0
            while count < 2 or waited(device) - start < 2:
                model.network.image_encoder(pixels)
                count += 1
        except torch.cuda.OutOfMemoryError:
            break
        best = max(best, (size * count / (waited(device) - start), size))
        if time.perf_counter() > deadline:
            break
    return best


def is_predictor(exact: Model, dataset: Dataset) -> bool:
    """Whether the exact mode's logits and predicted IoU are SamPredictor's, bit by bit."""
    case = dataset.load(dataset.list().references[0])
    predictor = SamPredictor(exact.network)
    predictor.set_image(case.image)
    embedding = exact.encode(case.image)
    rows, cols = case.image.shape[:2]
    for row, col in ((rows // 3, cols // 4), (rows // 2, cols // 2)):
        answer = exact.predict(embedding, [[Click(row, col, True, 1.0, 1)]])
        _, confidence, logits = predictor.predict(np.array([[col, row]]), np.array([1]))
        if not (np.array_equal(answer.logits[0], logits) and len(confidence)):
            return False
        if not np.array_equal(answer.predicted_iou[0], confidence):
            return False
    return True


def equality(fast: Model, exact: Model, dataset: Dataset, cases: int) -> dict[str, object]:
    """What of the fast mode is the exact mode's, and of that SamPredictor's."""
    ours, theirs = (evaluate(dataset, model, max_cases=cases) for model in (fast, exact))
    same = clicks_of(ours) == clicks_of(theirs)
    return {
        "exact mode is SamPredictor": is_predictor(exact, dataset),
        "objects": len(same),
        "equal click sequences": round(same.mean(), 3),
        "greatest IoU difference": round((ours["iou"] - theirs["iou"]).abs().max(), 5),
    }


def speed(
    fast: Model, exact: Model, folder: Path, options: argparse.Namespace, deadline: float
) -> dict[str, object]:
    """Images a second of the three, and their ratios."""
    batches = [1, 2] if options.small else [1, 2, 4, 8, 16, 32]
    bare, batch = encoder_rate(fast, batches, deadline)
    cases = 6 if options.small else int(np.clip(15 * bare, 32, 512))
    case = ellipses(options.side, options.side, 2)
    dataset = load_folder(write_images(folder / "speed", case, cases), name="bench")
    evaluate(dataset, fast, max_cases=min(cases, 16), executor=None)  # a first run is not counted
    start = time.perf_counter()
    evaluate(dataset, fast, executor=None)
    ours = cases / (time.perf_counter() - start)
    released(exact, case, 9)
    start, count = waited(str(exact.device)), 0
    while count < 2 or (count < 16 and waited(str(exact.device)) - start < 15):
        released(exact, case, 9)
        count += 1
    theirs = count / (waited(str(exact.device)) - start)
    return {
        "images": cases,
        "evaluate, images/s": round(ours, 2),
        "encoder, images/s": round(bare, 2),
        "its batch": batch,
        "released, images/s": round(theirs, 2),
        "evaluate / encoder": round(ours / bare, 2),
        "evaluate / released": round(ours / theirs, 1),
    }


def show(name: str, title: str, lines: list[dict[str, object]], device: str) -> None:
    """Print a table; of a GPU, keep it."""
    table = pd.DataFrame(lines)
    if device == "cpu":
        print(f"{title}, on the processor\n{table.to_string(index=False)}\n", flush=True)
    else:
        write(name, f"{title}, {torch.cuda.get_device_name(device)}", table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--side", type=int, help="of the images, in pixels", default=512)
    parser.add_argument("--small", action="store_true", help="sam_small and few images")
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        print(NEVER)
        return
    os.environ["NPM_CONFIG_OFFLINE"] = "true"  # what is not in the cache is left out
    deadline = time.perf_counter() + 60 * options.minutes
    equal, speeds, left_out = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = 3 if options.small else 18
        case = ellipses(options.side, options.side, 2)
        dataset = load_folder(write_images(folder / "equal", case, few), name="bench")
        for title, registered, weights in recipes(options.small, folder):
            # a model takes up to three minutes
            if time.perf_counter() > deadline - (0 if options.small else 150):
                left_out.append(f"{title}: the minutes are over")
                continue
            try:
                fast, exact = (
                    load_model(registered, weights, options.device, exact=exact)
                    for exact in (False, True)
                )
                for model in (fast, exact):
                    model.load()
            except BadInputError as error:
                left_out.append(f"{title}: {error}")
                continue
            equal.append({"model": title, **equality(fast, exact, dataset, few)})
            of_model = folder / registered
            of_model.mkdir()
            speeds.append({"model": title, **speed(fast, exact, of_model, options, deadline)})
            del fast, exact, model
    show("gpu_equality", "Fast and exact mode", equal, options.device)
    show("gpu_speed", "Images a second", speeds, options.device)
    print(AIMS, *(f"Left out, {fact}" for fact in left_out), sep="\n")


if __name__ == "__main__":
    main()
