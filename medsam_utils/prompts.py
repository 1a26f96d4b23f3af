"""What a model is told of an object first, and how it is asked: clicks, boxes, its own earlier
mask.

Source of the five modes with points and boxes: Mazurowski et al., Medical Image Analysis 89 (2023)
102918, and the evaluation code that its authors released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import cv2
import numpy as np

from .boxed_mask import BoxedMask
from .clicks import Click, Protocol, next_click
from .models import Model, Prediction


@dataclass(eq=False)
class Prompt:
    """What a model is told in one question: clicks, a box or none, an earlier answer's logits or
    none.

    box: int, (first row, first col, last row, last col), inclusive. logits: float32 h x w, as the
    model gave.
    """

    clicks: list[Click] = field(default_factory=list)
    box: np.ndarray | None = None
    logits: np.ndarray | None = None


@dataclass(frozen=True)
class Answer:
    """Candidate masks of one object; where several questions were asked, their candidates united
    one by one.

    parts: a prediction and the place in it, for each question.
    """

    parts: Sequence[tuple[Prediction, int]]

    def masks(self) -> list[BoxedMask]:
        """Every candidate on the image's grid."""
        candidates = range(self.parts[0][0].logits.shape[1])
        return [
            united([p.boxed_mask(i, candidate) for p, i in self.parts]) for candidate in candidates
        ]

    def predicted_iou(self) -> list[float]:
        """The model's own estimate for every candidate: the mean over the questions, NaN if it
        makes none."""
        return np.mean(
            [prediction.predicted_iou[i] for prediction, i in self.parts], axis=0
        ).tolist()

    def logits(self, candidate: int) -> np.ndarray:
        """A candidate's low-resolution logits, float32 h x w; of the first question."""
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
"""Value of `Protocol.prompt` -> how many of the largest regions, None for all as one; what each is
given."""

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
    foreground: np.ndarray | None = None,
) -> list[Prompt]:
    """The questions with which an object begins: all its points in one, a box in each.

    rng: of the first turn, see `clicks.click_rng`. foreground: as in `clicks.next_click`.
    """
    count, kind = MODES[protocol.prompt]
    parts = regions(truth, count) if count else [truth]
    if kind == "point":
        return [Prompt([next_click(part, None, protocol, rng, foreground) for part in parts])]
    boxes = [box_round(part) for part in parts]
    if protocol.box_noise:
        boxes = [jittered(box, protocol.box_noise, rng, truth.shape) for box in boxes]
    return [Prompt(box=box) for box in boxes]


def predict_prompts(
    model: Model, objects: Sequence[tuple[Any, Sequence[Prompt]]], single: bool = False
) -> list[Answer]:
    """Return the answers for B objects, each with its image's embedding and one or several prompts.

    All have boxes or none has, likewise logits. single: whether a model with several candidates is
    asked for the one mask of an unambiguous prompt. Prompts with equally many clicks are one call
    of the model, for each image, or for all images where the model takes several in a batch.
    """
    prompts = [(owner, prompt) for owner, (_, several) in enumerate(objects) for prompt in several]
    parts: list[list[tuple[Prediction, int]]] = [[] for _ in objects]

    def call_key(item: tuple[int, Prompt]) -> tuple[int, int]:
        owner, prompt = item
        return len(prompt.clicks), 0 if model.batched else id(objects[owner][0])

    for _, group in groupby(sorted(prompts, key=call_key), key=call_key):
        owners, of_call = zip(*group, strict=True)
        options: dict[str, Any] = {}
        if of_call[0].box is not None:
            options["boxes"] = np.stack([prompt.box for prompt in of_call])
        if of_call[0].logits is not None:
            options["logits"] = np.stack([prompt.logits for prompt in of_call])
        if single and model.candidates > 1:
            options["multimask"] = False
        clicks = [prompt.clicks for prompt in of_call]
        embeddings = [objects[owner][0] for owner in owners]
        if model.batched:
            predictions = model.predict_batch(embeddings, clicks, **options)
            answers = [(prediction, 0) for prediction in predictions]
        else:
            prediction = model.predict(embeddings[0], clicks, **options)
            answers = [(prediction, i) for i in range(len(owners))]
        for owner, answer in zip(owners, answers, strict=True):
            parts[owner].append(answer)
    return [Answer(predictions) for predictions in parts]


def regions(mask: BoxedMask, count: int) -> list[BoxedMask]:
    """The largest connected regions of a mask, at most `count`; diagonal neighbours belong
    together."""
    found, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.inside, connectivity=8)
    order = 1 + np.argsort(-statistics[1:found, cv2.CC_STAT_AREA], kind="stable")
    parts = [np.uint8(labels == label) for label in order[:count]]
    return [BoxedMask(part, mask.row, mask.col, mask.shape).trimmed() for part in parts]


def box_round(mask: BoxedMask) -> np.ndarray:
    """Smallest box that holds a mask: int (first row, first col, last row, last col), inclusive."""
    mask = mask.trimmed()
    corner = np.array([mask.row, mask.col])
    return np.concatenate([corner, corner + mask.inside.shape - 1])


def jittered(
    box: np.ndarray, noise: float, rng: np.random.Generator, shape: tuple[int, int]
) -> np.ndarray:
    """A box whose four sides were moved by normal noise, as SAM's own training did; inside the
    image.

    noise: standard deviation as a share of the box's height (first and last row) or width (cols).
    shape: the image's (rows, cols). Sides that pass each other change places.
    """
    lengths = np.tile(box[2:] - box[:2] + 1, 2)
    moved = np.rint(box + rng.normal(0, noise, 4) * lengths)
    moved = np.clip(moved, 0, np.tile(shape, 2) - 1).astype(int).reshape(2, 2)
    return np.sort(moved, axis=0).ravel()


def united(masks: Sequence[BoxedMask]) -> BoxedMask:
    """Pixels that are foreground in any of the masks."""
    return (
        masks[0]
        if len(masks) == 1
        else BoxedMask.of(np.logical_or.reduce([m.mask() for m in masks]))
    )
