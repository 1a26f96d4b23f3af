"""What models answer to prompts on one case, each question computed once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ...boxed_mask import BoxedMask
from ...case import BadInputError, Case
from ...clicks import Click, Protocol, choose_mask, click_rng, next_click
from ...metrics import iou
from ...models import Model

Box = tuple[int, int, int, int]
"""(first row, first col, last row, last col), inclusive."""


@dataclass(frozen=True)
class Response:
    """Candidate masks of a model, their predicted and true IoU (NaN where there is none), and which
    counts.

    logits: of the mask that counts, float32 h x w at the model's own resolution. note: why a prompt
    was left out, or empty.
    """

    masks: list[BoxedMask]
    predicted_iou: list[float]
    iou: list[float]
    chosen: int
    logits: np.ndarray
    note: str = ""


class Responses:
    """Models before one case. truth: bool H x W, or None where it is not known; task: its name."""

    def __init__(
        self,
        case: Case,
        truth: np.ndarray | None,
        task: str,
        models: Mapping[str, Model],
        protocol: Protocol,
    ) -> None:
        """Encode nothing yet: a model does that when it is first asked."""
        self.case, self.task, self.models, self.protocol = case, task, models, protocol
        self.truth = None if truth is None else BoxedMask.from_mask(truth)
        self._embeddings: dict[str, Any] = {}
        self._responses: dict[tuple, Response] = {}
        self._regions: dict[int, Responses] = {}

    def nearest_region(self, row: float, col: float) -> Responses:
        """Return the same before the region of the truth that is nearest to a place alone.

        One object of several of a class is then judged, and clicked on, by itself. Without a truth,
        or with one region: as it is.
        """
        truth = self.truth
        if truth is None:
            return self
        found, labels = cv2.connectedComponents(truth.inside, connectivity=8)
        if found < 3:  # the first is the background
            return self
        rows, cols = np.nonzero(labels)
        nearest = np.hypot(rows + truth.row - row, cols + truth.col - col).argmin()
        label = int(labels[rows[nearest], cols[nearest]])
        if label not in self._regions:
            region = copy.copy(self)  # what is encoded is one for all
            inside = (labels == label).view(np.uint8)
            region.truth = BoxedMask(inside, truth.row, truth.col, truth.shape).trimmed()
            region._responses = {}
            self._regions[label] = region
        return self._regions[label]

    def respond(self, name: str, clicks: tuple[Click, ...], box: Box | None = None) -> Response:
        """Answer of a model to clicks, a box, or both; one that takes no box answers the clicks
        alone.

        Raises BadInputError for a model that cannot be had, or is given nothing that it takes.
        """
        key = name, clicks, box
        if key not in self._responses:
            try:
                self._responses[key] = self._respond(name, clicks, box)
            except BadInputError as error:
                if box is None or not clicks:
                    raise
                self._responses[key] = self._respond(
                    name, clicks, None, f"{error}; these are its clicks alone"
                )
        return self._responses[key]

    def _respond(
        self, name: str, clicks: tuple[Click, ...], box: Box | None, note: str = ""
    ) -> Response:
        """Let a model predict."""
        model = self.models[name]
        if name not in self._embeddings:
            self._embeddings[name] = model.encode(self.case.image)
        n = len(clicks) + (box is not None)  # a box counts as the first prompt
        choice = self.protocol.mask_choice_at(n)
        options: dict[str, Any] = {} if box is None else {"boxes": np.array([box])}
        if self.protocol.feedback and n > 1 and "logits" in model.prompts:
            options["logits"] = self.respond(name, clicks[:-1], box).logits[None]
        if choice == "single" and model.candidates > 1:
            options["multimask"] = False
        prediction = model.predict(self._embeddings[name], [clicks], **options)
        masks = [prediction.boxed_mask(0, i) for i in range(prediction.logits.shape[1])]
        counted = [mask.without(self.case.ignored) for mask in masks]
        true = [np.nan if self.truth is None else iou(mask, self.truth) for mask in counted]
        predicted_iou = prediction.predicted_iou[0].tolist()
        chosen = choose_mask(choice, predicted_iou, true, self.protocol.equals)
        return Response(masks, predicted_iou, true, chosen, prediction.logits[0, chosen], note)

    def next_click(self, clicks: tuple[Click, ...], mask: BoxedMask | None) -> Click | None:
        """Algorithm 1's next click after any clicks and the mask they gave, None where nothing is
        wrong."""
        case = self.case
        rng = click_rng(self.protocol, case.dataset, case.case_id, self.task, len(clicks) + 1)
        mask = mask and mask.without(case.ignored)
        return next_click(self.truth, mask, self.protocol, rng, case.labelled)

    def simulated(self, name: str, count: int) -> tuple[Click, ...]:
        """The first clicks of Algorithm 1 for a model, fewer if nothing is wrong any more."""
        clicks: tuple[Click, ...] = ()
        mask = None
        while len(clicks) < count and (click := self.next_click(clicks, mask)):
            clicks = (*clicks, click)
            response = self.respond(name, clicks)
            mask = response.masks[response.chosen]
        return clicks
