"""What each change of `sam_small`'s training gives: short runs that differ in one change.

    python benchmarks/training_changes.py --start-from sam_small.pt [--kinds] [--drawings 60]

All runs begin with the same weights and have the same seed and number of steps; all are scored on
the same drawings, which no training sees. start_from: weights file, random ones without. kinds:
each kind of object in `HARD` left out of the drawings, instead of the other changes. The book's
table of changes began with the weights of step 6,176, when the drawings had fewer small, thin and
hollow objects; that of kinds with the weights of step 10,643. The history of the repository has
both.
"""

import argparse
from dataclasses import replace

import pandas as pd
import torch
from report import write

from medsam_utils.book.pages.training import by_kind, means
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
HARD = ("very small", "thin", "hollow", "several parts", "faint")


def scores(recipe: TrainingRecipe, options: argparse.Namespace) -> pd.DataFrame:
    """Train, and return what the result scores: see `training_sam.score_drawings`."""
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
    return score_drawings(training.average, options.drawings)


def changes(options: argparse.Namespace) -> None:
    """Write the table of `RUNS`."""
    lines = []
    for name, recipe in RUNS.items():
        lines.append({"change": name, **means(scores(recipe, options))})
        print(lines[-1], flush=True)
    write(
        "training_changes",
        f"`sam_small` after {options.steps} steps more, on {options.drawings} unseen drawings",
        pd.DataFrame(lines).round(3),
    )


def kinds(options: argparse.Namespace) -> None:
    """Write what objects of each kind in `HARD` score with and without such objects in training."""
    every, lines = by_kind(scores(RECIPE, options)).set_index("object"), []
    for kind in HARD:
        lacking = by_kind(scores(replace(RECIPE, without=(kind,)), options)).set_index("object")
        line = {"object": kind, "objects": every.at[kind, "objects"]}
        for column in ("IoU@1", "IoU@3", "box"):
            line[f"{column}, without"] = lacking.at[kind, column]
            line[f"{column}, with"] = every.at[kind, column]
        lines.append(line)
        print(line, flush=True)
    write(
        "training_kinds",
        f"`sam_small` after {options.steps} steps more with and without objects of a kind, on "
        f"those of {options.drawings} unseen drawings",
        pd.DataFrame(lines).round(3),
    )


def main() -> None:
    """Train and score the runs, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start-from", default="")
    parser.add_argument("--kinds", action="store_true")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--drawings", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.kinds:
        kinds(options)
    else:
        changes(options)


if __name__ == "__main__":
    main()
