"""What the page on training sam_small shows: drawings, the network's parts, what the training came to."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML
from segment_anything.modeling import Sam

from .. import plots
from ..case import Case
from ..clicks import PAPER
from ..drawings import draw
from ..models import load_model
from ..models.sam_small import build_sam_small
from ..simulation import simulate
from ..training import Training
from . import figures
from .page import numbers_table

UNSEEN = 999  # seed of drawings on which nothing was trained
LOG = Path(__file__).parents[1] / "models/weights/sam_small.csv"
"""Weights kept on the way (sha256, first digits), and their mean `iou_on_drawings` with one to three clicks
on 200 of them; measured when the training was over."""


def iou_on_drawings(network: Sam, count: int, clicks: int = 3) -> np.ndarray:
    """Mean IoU after each of Algorithm 1's clicks on drawings that no training has seen; one object each."""
    model, values = load_model("sam_small", device=str(network.device)), []
    model.network = copy.deepcopy(network).eval()
    for i in range(count):
        image, masks = draw(np.random.default_rng([UNSEEN, i]))
        rgb = np.repeat(image[..., None], 3, axis=2)
        case = Case("drawings", str(i), str(i), None, rgb, {"object": masks[0]})
        records = simulate(case, {"object": "drawings"}, model, PAPER, clicks)
        values.append([record["iou"] for record in records])
    return np.mean(values, axis=0)


def answer(untrained: np.ndarray, shipped: np.ndarray, count: int) -> HTML:
    """What the weights in the repository can do on drawings, and random weights cannot."""
    millions = sum(parameter.numel() for parameter in build_sam_small().parameters()) / 1e6
    return HTML(
        '<p class="medsam-answer">A program that draws is enough for a start: on '
        f"{count} drawings that it never saw, the embedded network of {millions:.1f} million parameters has "
        f"a mean IoU of "
        f"<strong>{shipped[0]:.2f}</strong> with one click and of <strong>{shipped[-1]:.2f}</strong> with "
        f"{len(shipped)}, with random weights {untrained[0]:.2f} and {untrained[-1]:.2f} (demo).</p>"
    )


def drawings(seed: int, count: int = 6) -> HTML:
    """The first drawings of a training, each with the contour of one of its objects."""
    pictures = []
    for i in range(count):
        image, masks = draw(np.random.default_rng([seed, i]))
        image = np.repeat(image[..., None], 3, axis=2)
        drawing, axes = plots.new_picture(image, 1.8)
        plots.example(axes, image, masks[0])
        text = f"{len(masks)} object{'s' * (len(masks) > 1)}"
        pictures.append(figures.figure(plots.svg(drawing, f"Drawing {i} with a contour, {text}."), text, 130))
    return HTML(figures.row(pictures))


def parts(network: Sam) -> HTML:
    """Number of parameters of each part of a SAM."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    counts["together"] = sum(counts.values())
    table = pd.DataFrame({"part": counts.keys(), "parameters": [f"{n:,}" for n in counts.values()]})
    return numbers_table(table)


def result(training: Training, **ious: np.ndarray) -> HTML:
    """Loss of the last steps of a run, and what weights can do on unseen drawings.

    ious: name of the weights -> `iou_on_drawings`.
    """
    made = [f"{loss:.2f}" for loss, *_ in training.history[-12:]]
    steps = f"Steps: {training.start} before, {len(training.history)} now"
    text = f"<p>{steps}; loss of the last: {', '.join(made)}.</p>"
    lines = [{"weights": name.replace("_", " "), **_by_click(values)} for name, values in ious.items()]
    return HTML(text + numbers_table(pd.DataFrame(lines)).data)


def _by_click(values: np.ndarray) -> dict[str, float]:
    """IoU@1, IoU@2 and so on."""
    return {f"IoU@{click}": value for click, value in enumerate(values, start=1)}


def log() -> HTML:
    """How the weights in the repository got better, from `LOG`."""
    table = pd.read_csv(LOG)
    drawing, axes = plots.new_figure(4.4, 2.8)
    ends = []
    for i, click in enumerate((1, 3)):
        ious, label = table[f"iou_{click}"], f"{click} click{'s' * (click > 1)}"
        axes.plot(table["steps"], ious, color=plots.COLOURS[i], marker=plots.MARKERS[i], label=label)
        points = [f"{iou:.2f} after {step:,}" for step, iou in zip(table["steps"], ious, strict=True)]
        ends.append(f"with {label} {', '.join(points)} steps")
    axes.set(xlabel="steps", ylabel="IoU", ylim=(0, 1))
    axes.legend(frameon=False, labelcolor=plots.INK)
    text = f"Mean IoU on 200 unseen drawings, of the weights kept on the way: {'; '.join(ends)}."
    picture = plots.svg(drawing, f"Line plot of IoU against steps. {text}")
    return HTML(figures.row([figures.figure(picture, text, 380)]))
