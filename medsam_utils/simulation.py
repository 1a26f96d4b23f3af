"""Algorithm 1: the objects of a case, or of several, are clicked together, and every click gives a
record."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .boxed_mask import BoxedMask
from .case import BadInputError, Case
from .clicks import PAPER, Click, MaskChoice, Protocol, choose_mask, click_rng, next_click
from .metrics import components, dice, iou
from .models import Model
from .prompts import Answer, Prompt, first_prompts, predict_prompts


@dataclass(eq=False)
class Object:
    """One object while its clicks are simulated.

    case, embedding: the image that it is in, and what the model made of it. prompts: what the model
    is told of the object, one or, for a mode that asks part by part, several. click: that of the
    last turn, if there was one (of several, the first). scores: what the rows say of the
    prediction; logits: its own, at low resolution.
    """

    task: str
    truth: BoxedMask
    case: Case
    embedding: Any = None
    prompts: list[Prompt] = field(default_factory=list)
    click: Click | None = None
    prediction: BoxedMask | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    logits: np.ndarray | None = None

    @functools.cached_property
    def size(self) -> dict[str, Any]:
        """What the rows say of the true object itself."""
        rows, cols = self.truth.shape
        return {"area_share": self.truth.area / (rows * cols), "components": components(self.truth)}

    def record(self, n: int) -> dict[str, Any]:
        """What the rows say of turn n, when it has just been."""
        click = asdict(self.click) if self.click else _NO_CLICK
        return {"task": self.task, **self.size, "click": n, **click, **self.scores}


def simulate(
    case: Case,
    tasks: dict[str, str],
    model: Model,
    protocol: Protocol,
    clicks: int,
    embedding: object | None = None,
) -> Iterator[dict]:
    """Algorithm 1 on one case, all its objects at once: yields one record per (object, click).

    tasks: class name -> task name. Objects smaller than the protocol's minimum yield nothing.
    embedding: what the model made of the image, None to let it encode the image now.
    """
    for n, target in turns(case, tasks, model, protocol, clicks, embedding):
        yield target.record(n)


def turns(
    case: Case,
    tasks: dict[str, str],
    model: Model,
    protocol: Protocol,
    clicks: int,
    embedding: object | None = None,
) -> Iterator[tuple[int, Object]]:
    """As `simulate`, but yields the number of the turn, from 1, and the object itself, as it is
    then."""
    refuse_further_clicks(protocol, clicks)
    objects = objects_of(case, tasks, protocol)
    if objects:
        embedding = model.encode(case.image) if embedding is None else embedding
        for target in objects:
            target.embedding = embedding
    return clicked(objects, model, protocol, clicks)


def refuse_further_clicks(protocol: Protocol, clicks: int) -> None:
    """Raise BadInputError for more than one click under a protocol that corrects nothing."""
    if clicks > 1 and protocol.prompt == "boxes_3_largest":
        raise BadInputError(
            "boxes_3_largest is predicted box by box, so no further click can correct it: "
            "take 1 click, or a mode with one box, such as box_all"
        )


def objects_of(case: Case, tasks: dict[str, str], protocol: Protocol) -> list[Object]:
    """The objects of a case that are not smaller than the protocol's minimum; no image is encoded
    yet."""
    truths = {name: BoxedMask.of(mask) for name, mask in case.masks.items()}
    large = (name for name, truth in truths.items() if truth.area >= protocol.min_object_pixels)
    return [Object(tasks[name], truths[name], case) for name in large]


def clicked(
    objects: Sequence[Object], model: Model, protocol: Protocol, clicks: int
) -> Iterator[tuple[int, Object]]:
    """Algorithm 1 on encoded objects, of one image or of several: as `turns`."""
    for n in range(1, clicks + 1):
        for target in objects:
            case = target.case
            rng = click_rng(protocol, case.dataset, case.case_id, target.task, n)
            if n == 1:
                target.prompts = first_prompts(target.truth, protocol, rng, case.foreground)
                target.click = next(iter(target.prompts[0].clicks), None)
            else:
                target.click = next_click(
                    target.truth, target.prediction, protocol, rng, case.foreground
                )
                target.prompts[0].clicks.extend([target.click] if target.click else [])
        prompted = [target for target in objects if n == 1 or target.click]
        choice = protocol.mask_choice_at(n)
        answers = predict_prompts(
            model,
            [(target.embedding, target.prompts) for target in prompted],
            single=choice == "single",
        )
        for target, answer in zip(prompted, answers, strict=True):
            target.prediction, target.scores = _chosen(answer, target.truth, choice)
            target.logits = answer.logits(target.scores["mask_index"])
            if protocol.feedback:
                target.prompts[0].logits = target.logits
        yield from ((n, target) for target in objects)


def replay(
    case: Case, model: Model, rows: pd.DataFrame, click: int, embedding: object | None = None
) -> np.ndarray:
    """Return the mask of a stored row again, bool H x W: one encode, then the stored clicks.

    rows: all rows of one object of the case under this model. click: which of them, from 1.
    embedding: what the model's `encode` gave for the case's image, to be spared encoding it again.
    Where the last mask was fed back, every click is decoded in turn, otherwise the last one alone.
    Raises ValueError for rows that began with another prompt than clicks: rows hold no boxes.
    """
    protocol = Protocol.parse(rows["protocol"].iloc[0]) if "protocol" in rows else PAPER
    if protocol.prompt != "clicks":
        raise ValueError("rows hold clicks, but no boxes: run `turns` on the case instead")
    rows = rows[(rows["click"] <= click) & (rows["row"] >= 0)].sort_values("click")
    clicks = [Click(*values) for values in rows[list(_NO_CLICK)].itertuples(index=False)]
    embedding = model.encode(case.image) if embedding is None else embedding
    logits = None
    for n in range(1, len(clicks) + 1) if protocol.feedback else [len(clicks)]:
        options: dict[str, Any] = {} if logits is None else {"logits": logits[None]}
        if protocol.mask_choice_at(n) == "single" and model.candidates > 1:
            options["multimask"] = False
        prediction = model.predict(embedding, [clicks[:n]], **options)
        candidate = int(rows["mask_index"].iloc[n - 1])
        logits = prediction.logits[0, candidate]
    return prediction.mask(0, candidate)


_NO_CLICK = {"row": -1, "col": -1, "positive": False, "distance": 0.0, "ties": 0}


def _chosen(answer: Answer, truth: BoxedMask, choice: MaskChoice) -> tuple[BoxedMask, dict]:
    """Return the mask that counts of one object, and the scores of all its candidates."""
    masks, predicted_iou = answer.masks(), answer.predicted_iou()
    true_iou = [iou(mask, truth) for mask in masks]
    index = choose_mask(choice, predicted_iou, true_iou)
    return masks[index], {
        "mask_index": index,
        "predicted_iou": predicted_iou[index],
        "iou": true_iou[index],
        "dice": dice(masks[index], truth),
        **{f"predicted_iou_{i}": value for i, value in enumerate(predicted_iou)},
        **{f"iou_{i}": value for i, value in enumerate(true_iou)},
    }
