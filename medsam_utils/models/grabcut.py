"""GrabCut from clicks and boxes: what colour alone can do, a baseline without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..clicks import Click
from . import Model, Prediction, Recipe, as_prediction, load_model_once, refuse_prompts


@dataclass(frozen=True)
class GrabCutEmbedding:
    """The image at working size, uint8 h x w x 3, and its original (rows, cols)."""

    image: np.ndarray
    original: tuple[int, int]


@dataclass(frozen=True)
class GrabCut(Model):
    """OpenCV's GrabCut (Rother et al. 2004) seeded by the clicks, on a small copy of the image.

    side: longest side of that copy in pixels.

    Every click fixes a small disk round it. The object can only be in its box or, without one,
    within `reach` of the longest side of a positive click, so that it grows click by click and
    cannot flood the image. In a box an ellipse in its middle, `middle` of its height and width, is
    taken as object: without it, nothing tells object from background inside the box, and of 38
    objects in real images 26 were missed (IoU below 0.01).
    """

    name: str
    recipe: Recipe | None = None
    side: int = 128
    disk: int = 2
    reach: float = 0.2
    middle: float = 0.5
    iterations: int = 2
    weights: str = ""

    prompts = ("clicks", "boxes")
    forks = True

    def __reduce__(self) -> tuple:
        """Pickle the arguments of `load_model`."""
        return load_model_once, (self.recipe,)

    def settings(self) -> dict[str, Any]:
        """Working size, seeds and iterations."""
        return {
            "side": self.side,
            "disk": self.disk,
            "reach": self.reach,
            "middle": self.middle,
            "iterations": self.iterations,
        }

    def encode(self, image: np.ndarray) -> GrabCutEmbedding:
        """Shrink uint8 H x W x 3 to the working size; smaller images stay as they are."""
        rows, cols = image.shape[:2]
        scale = min(1.0, self.side / max(rows, cols))
        size = max(1, round(cols * scale)), max(1, round(rows * scale))
        return GrabCutEmbedding(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (rows, cols))

    def predict(
        self,
        embedding: GrabCutEmbedding,
        clicks: Sequence[Sequence[Click]],
        boxes: np.ndarray | None = None,
        logits: np.ndarray | None = None,
    ) -> Prediction:
        """One candidate for each of B objects, its logits +1 or -1; it estimates no IoU (NaN).

        Raises BadInputError for logits, which GrabCut does not take.
        """
        refuse_prompts(self.name, use="sam_small", logits=logits)
        each_box: Any = [None] * len(clicks) if boxes is None else boxes
        cuts = [self._cut(embedding, *prompt) for prompt in zip(clicks, each_box, strict=True)]
        return as_prediction(np.stack(cuts), embedding.original)

    def _cut(
        self, embedding: GrabCutEmbedding, clicks: Sequence[Click], box: np.ndarray | None
    ) -> np.ndarray:
        """+1 in the object, -1 outside, float32 h x w."""
        shape = embedding.image.shape[:2]
        scale = np.array(shape) / embedding.original
        centres = [
            tuple(int(i) for i in ((c.col + 0.5) * scale[1], (c.row + 0.5) * scale[0]))
            for c in clicks
        ]
        seeds = np.full(shape, cv2.GC_BGD, np.uint8)
        if box is not None:
            first = np.floor(box[:2] * scale).astype(int)
            last = np.ceil((box[2:] + 1) * scale).astype(int)
            seeds[first[0] : last[0], first[1] : last[1]] = cv2.GC_PR_FGD
            (row, col), (height, width) = (first + last) // 2, last - first
            axes = int(width * self.middle / 2), int(height * self.middle / 2)
            cv2.ellipse(seeds, (int(col), int(row)), axes, 0, 0, 360, cv2.GC_FGD, -1)
        for click, centre in zip(clicks, centres, strict=True):
            if click.positive and box is None:
                cv2.circle(seeds, centre, round(self.reach * max(shape)), cv2.GC_PR_FGD, -1)
        for click, centre in zip(clicks, centres, strict=True):
            cv2.circle(seeds, centre, self.disk, cv2.GC_FGD if click.positive else cv2.GC_BGD, -1)
        labelled = seeds & 1
        if (
            labelled.all() or not labelled.any()
        ):  # one side has no colour to learn from: a tiny image, say
            return np.where(labelled, np.float32(1), np.float32(-1))
        # Its k-means draws from a global generator: the answer must not depend on earlier calls.
        cv2.setRNGSeed(0)
        background, foreground = np.zeros((2, 1, 65))
        cv2.grabCut(
            embedding.image,
            seeds,
            None,
            background,
            foreground,
            self.iterations,
            cv2.GC_INIT_WITH_MASK,
        )
        return np.where(seeds & 1, np.float32(1), np.float32(-1))
