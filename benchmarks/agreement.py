"""How often the fast loop clicks where the exact one does, and what stored embeddings save.

    python benchmarks/agreement.py [--objects 500] [--checkpoint vit_b.pth]

The exact mode is bit-equal to segment-anything's own predictor. A click sequence agrees if all of
an object's clicks lie on the same pixels with the same signs. checkpoint: a SAM of any size, for
the second table; without it sam_small's encoder is what is saved.
"""

import argparse
import tempfile
import time
from dataclasses import replace

import cv2
import pandas as pd
import torch
from report import write

from medsam_utils import DATASETS, PAPER, evaluate, load_dataset, load_model


def clicks_of(rows: pd.DataFrame) -> pd.Series:
    """Each object's clicks as one value."""
    click = list(zip(rows["click"], rows["row"], rows["col"], rows["positive"], strict=True))
    return pd.Series(click, rows.index).groupby([rows["task"], rows["case_id"]]).agg(tuple)


def agreement(objects: int, embeddings: str) -> pd.DataFrame:
    """Share of equal click sequences, and greatest shift of a click's mean IoU, against the exact
    mode."""
    models = {
        "exact": load_model("sam_small", device="cpu", exact=True),
        "fast": load_model("sam_small", device="cpu"),
        "fast, stored embeddings": load_model("sam_small", device="cpu", embeddings=embeddings),
    }
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in models}
    counted = 0
    for dataset in map(load_dataset, DATASETS):
        for name, model in models.items():
            tables[name].append(evaluate(dataset, model))
        counted += len(clicks_of(tables["exact"][-1]))
        if counted >= objects:
            break
    rows = {name: pd.concat(of_model, ignore_index=True) for name, of_model in tables.items()}
    exact, mean = clicks_of(rows["exact"]), rows["exact"].groupby("click")["iou"].mean()
    return pd.DataFrame(
        {
            "mode": name,
            "objects": len(exact),
            "equal click sequences": (clicks_of(of_model) == exact).mean(),
            "greatest shift of a click's mean IoU": (of_model.groupby("click")["iou"].mean() - mean)
            .abs()
            .max(),
        }
        for name, of_model in rows.items()
        if name != "exact"
    )


def second_protocol(checkpoint: str | None, embeddings: str, cases: int) -> pd.DataFrame:
    """Processor time of a first and of a second protocol on the same images, embeddings stored."""
    name = "sam" if checkpoint else "sam_small"
    model = load_model(name, checkpoint, device="cpu", embeddings=embeddings)
    dataset = load_dataset("us_breast")
    model.encode(dataset.load(dataset.list().references[0]).image[:8, :8])  # reads the weights
    seconds = []
    for protocol in (PAPER, replace(PAPER, mask_choice="first")):
        start = time.process_time()
        evaluate(dataset, model, protocol, max_cases=cases)
        seconds.append(time.process_time() - start)
    first, second = seconds
    return pd.DataFrame(
        [
            {
                "architecture": model.architecture,
                "cases": cases,
                "first, s a case": first / cases,
                "second, s a case": second / cases,
                "first / second": first / second,
            }
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--checkpoint")
    parser.add_argument("--cases", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        write(
            "agreement",
            "Fast loop against the exact mode, sam_small",
            agreement(options.objects, folder),
        )
    with tempfile.TemporaryDirectory() as folder:
        write(
            "embeddings",
            "A second protocol from stored embeddings, processor time",
            second_protocol(options.checkpoint, folder, options.cases),
        )


if __name__ == "__main__":
    main()
