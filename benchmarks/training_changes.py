"""What each change of `sam_small`'s training gives: short runs that differ in one change.

    python benchmarks/training_changes.py --start-from sam_small.pt [--steps 300] [--drawings 60]

All runs begin with the same weights and have the same drawings, clicks and steps; all are scored on
the same drawings, which no training sees. start_from: weights file, random ones without; the book's
table began with those of step 6,176, which the history of the repository has.
"""

import argparse
from dataclasses import replace

import pandas as pd
import torch
from report import write

from medsam_utils.book.pages.training import means
from medsam_utils.demo.training_sam import RECIPE, TrainingRecipe, score_drawings, train

NONE = TrainingRecipe(boxes=0, edge_weight=0, detail=False, mix=False)
RUNS = {
    "none": NONE,
    "detail of the image": replace(NONE, detail=True),
    "cells are mixed": replace(NONE, mix=True),
    "outlines weigh more": replace(NONE, edge_weight=RECIPE.edge_weight),
    "boxes": replace(NONE, boxes=RECIPE.boxes),
    "all four": RECIPE,
}


def main() -> None:
    """Train and score the runs, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start-from", default="")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--drawings", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for name, recipe in RUNS.items():
        training = train(
            options.steps,
            fall=0.4,
            batch=3,
            objects=3,
            learning_rate=5e-4,
            seed=3,
            start_from=options.start_from,
            workers=0,
            recipe=recipe,
        )
        scores = score_drawings(training.average, options.drawings)
        lines.append({"change": name, **means(scores)})
        print(lines[-1], flush=True)
    write(
        "training_changes",
        f"`sam_small` after {options.steps} steps more, on {options.drawings} unseen drawings",
        pd.DataFrame(lines).round(3),
    )


if __name__ == "__main__":
    main()
