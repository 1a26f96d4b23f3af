"""Prompts of an object: clicks, boxes, and the mask that was predicted before.

Source of the five modes with points and boxes: Mazurowski et al., Medical Image Analysis 89 (2023)
102918, and the evaluation code that its authors released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from .boxed_mask import BoxedMask, largest_regions
from .clicks import Click, Protocol, next_click
from .models import Model, Prediction


@dataclass(eq=False)
class Prompt:
    """One prompt of one object: clicks, a box or none, logits of an earlier mask or none.

    box: int, (first row, first col, last row, last col), inclusive. logits: float32 h x w, as the
    model gave them.
    """

    clicks: list[Click] = field(default_factory=list)
    box: np.ndarray | None = None
    logits: np.ndarray | None = None


@dataclass(frozen=True)
class Candidates:
    """Candidate masks of one object; those of several prompts are united one by one.

    parts: for each prompt its prediction, and the object's index in it.
    """

    parts: Sequence[tuple[Prediction, int]]

    def masks(self) -> list[BoxedMask]:
        """Return every candidate on the image's grid."""
        count = self.parts[0][0].logits.shape[1]
        return [
            unite([p.boxed_mask(i, candidate) for p, i in self.parts]) for candidate in range(count)
        ]

    def predicted_iou(self) -> list[float]:
        """Return the model's own estimate for every candidate, NaN if it makes none.

        The mean over the prompts.
        """
        estimates = [prediction.predicted_iou[i] for prediction, i in self.parts]
        return np.mean(estimates, axis=0).tolist()

    def logits(self, candidate: int) -> np.ndarray:
        """Return a candidate's low-resolution logits, float32 h x w; of the first prompt."""
        prediction, i = self.parts[0]
        return prediction.logits[i, candidate]


MODES = {
    "clicks": (None, "point"),
    "point_largest": (1, "point"),
    "points_3_largest": (3, "point"),
    "box_largest": (1, "box"),
    "boxes_3_largest": (3, "box"),
    "box_all": (None, "box"),
}
"""Value of `Protocol.prompt` -> (count, prompt).

count: of the largest regions that are prompted one by one; None: the object as a whole. prompt: of
each of them.
"""

PUBLISHED = {
    1: "point_largest",
    2: "points_3_largest",
    3: "box_largest",
    4: "boxes_3_largest",
    5: "box_all",
}
"""Number of a mode in the study's released table -> value of `Protocol.prompt`."""


def first_prompts(
    truth: BoxedMask,
    protocol: Protocol,
    rng: np.random.Generator,
    labelled: np.ndarray | None = None,
) -> list[Prompt]:
    """Return the prompts with which an object begins: all points in one, each box in its own.

    rng: of the first click, see `clicks.click_rng`. labelled: as in `clicks.next_click`.
    """
    count, kind = MODES[protocol.prompt]
    parts = largest_regions(truth, count, protocol.equals) if count else [truth]
    if kind == "point":
        first = (next_click(part, None, protocol, rng, labelled) for part in parts)
        return [Prompt([click for click in first if click])]
    boxes = [bounding_box(part) for part in parts]
    if protocol.box_noise:
        boxes = [jitter_box(box, protocol.box_noise, rng, truth.shape) for box in boxes]
    return [Prompt(box=box) for box in boxes]


def predict_prompts(
    model: Model, objects: Sequence[tuple[Any, Sequence[Prompt]]], single: bool = False
) -> list[Candidates]:
    """Return the candidates of B objects, each with its image's embedding and its prompts.

    All prompts have boxes or none has, likewise logits. single: whether a model with several
    candidates gives its one mask of an unambiguous prompt. Prompts with equally many clicks are one
    call of the model, for each image, or for all images where the model takes several in a batch.
    """
    prompts = [(owner, prompt) for owner, (_, several) in enumerate(objects) for prompt in several]
    parts: list[list[tuple[Prediction, int]]] = [[] for _ in objects]

    def call_key(item: tuple[int, Prompt]) -> tuple[int, int]:
        owner, prompt = item
        return len(prompt.clicks), 0 if model.batched else id(objects[owner][0])

    for _, group in groupby(sorted(prompts, key=call_key), key=call_key):
        owners, group_prompts = zip(*group, strict=True)
        options: dict[str, Any] = {}
        if group_prompts[0].box is not None:
            options["boxes"] = np.stack([prompt.box for prompt in group_prompts])
        if group_prompts[0].logits is not None:
            options["logits"] = np.stack([prompt.logits for prompt in group_prompts])
        if single and model.candidates > 1:
            options["multimask"] = False
        clicks = [prompt.clicks for prompt in group_prompts]
        embeddings = [objects[owner][0] for owner in owners]
        if model.batched:
            predictions = model.predict_batch(embeddings, clicks, **options)
            found = [(prediction, 0) for prediction in predictions]
        else:
            prediction = model.predict(embeddings[0], clicks, **options)
            found = [(prediction, i) for i in range(len(owners))]
        for owner, part in zip(owners, found, strict=True):
            parts[owner].append(part)
    return [Candidates(predictions) for predictions in parts]


def bounding_box(mask: BoxedMask) -> np.ndarray:
    """Return the smallest box that holds a mask.

    Int (first row, first col, last row, last col), inclusive.
    """
    mask = mask.trimmed()
    corner = np.array([mask.row, mask.col])
    return np.concatenate([corner, corner + mask.inside.shape - 1])


def jitter_box(
    box: np.ndarray, noise: float, rng: np.random.Generator, shape: tuple[int, int]
) -> np.ndarray:
    """Return a box whose four sides were moved by normal noise, as in SAM's own training.

    noise: standard deviation as a share of the box's height (first and last row) or width (cols).
    shape: the image's (rows, cols); the box stays inside. Sides that pass each other change places.
    """
    lengths = np.tile(box[2:] - box[:2] + 1, 2)
    moved = np.rint(box + rng.normal(0, noise, 4) * lengths)
    moved = np.clip(moved, 0, np.tile(shape, 2) - 1).astype(int).reshape(2, 2)
    return np.sort(moved, axis=0).ravel()


def unite(masks: Sequence[BoxedMask]) -> BoxedMask:
    """Return the union of the masks."""
    if len(masks) == 1:
        return masks[0]
    return BoxedMask.from_mask(np.logical_or.reduce([mask.mask() for mask in masks]))
