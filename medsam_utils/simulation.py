"""Algorithm 1 on one case or several: simulated clicks, masks, and a record of each click."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .boxed_mask import BoxedMask
from .case import BadInputError, Case
from .clicks import PAPER, Click, Protocol, choose_mask, click_rng, next_click
from .metrics import components, dice, iou
from .models import Model
from .prompts import Candidates, Prompt, first_prompts, predict_prompts


@dataclass(eq=False)
class Object:
    """One object while its clicks are simulated.

    case, embedding: the image that it is in, and what the model encoded of it. prompts: what the
    model gets; one, or several where each region has its own. click: the last one, None if nothing
    was wrong any more; of several first ones, the first. scores: what the rows hold of the
    prediction; logits: those of the prediction, at low resolution.
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
        """Return what the rows hold of the true object itself."""
        rows, cols = self.truth.shape
        return {"area_share": self.truth.area / (rows * cols), "components": components(self.truth)}

    def record(self, n: int) -> dict[str, Any]:
        """Return what the rows hold of the object after click n."""
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
    """Run Algorithm 1 on all objects of a case and yield a record per object and click.

    tasks: class name -> task name. Objects smaller than the protocol's minimum yield nothing.
    embedding: what the model encoded of the image; None encodes it now.
    """
    for n, target in simulate_clicks(case, tasks, model, protocol, clicks, embedding):
        yield target.record(n)


def simulate_clicks(
    case: Case,
    tasks: dict[str, str],
    model: Model,
    protocol: Protocol,
    clicks: int,
    embedding: object | None = None,
) -> Iterator[tuple[int, Object]]:
    """As `simulate`, but yield the number of the click, from 1, and the object as it is then."""
    refuse_further_clicks(protocol, clicks)
    objects = find_objects(case, tasks, protocol)
    if objects:
        embedding = model.encode(case.image) if embedding is None else embedding
        for target in objects:
            target.embedding = embedding
    return click_objects(objects, model, protocol, clicks)


def refuse_further_clicks(protocol: Protocol, clicks: int) -> None:
    """Raise BadInputError for more than one click under a protocol that corrects nothing."""
    if clicks > 1 and protocol.prompt == "boxes_3_largest":
        raise BadInputError(
            "boxes_3_largest is predicted box by box, so no further click can correct it: "
            "take 1 click, or a mode with one box, such as box_all"
        )


def find_objects(case: Case, tasks: dict[str, str], protocol: Protocol) -> list[Object]:
    """Return the objects of a case that reach the protocol's minimum size; encode nothing."""
    truths = {name: BoxedMask.from_mask(mask) for name, mask in case.masks.items()}
    large = (name for name, truth in truths.items() if truth.area >= protocol.min_object_pixels)
    return [Object(tasks[name], truths[name], case) for name in large]


def click_objects(
    objects: Sequence[Object], model: Model, protocol: Protocol, clicks: int
) -> Iterator[tuple[int, Object]]:
    """Run Algorithm 1 on encoded objects of one image or several; yield as `simulate_clicks`."""
    for n in range(1, clicks + 1):
        for target in objects:
            case = target.case
            rng = click_rng(protocol, case.dataset, case.case_id, target.task, n)
            if n == 1:
                target.prompts = first_prompts(target.truth, protocol, rng, case.labelled)
                target.click = next(iter(target.prompts[0].clicks), None)
            else:
                target.click = next_click(
                    target.truth, target.prediction, protocol, rng, case.labelled
                )
                if target.click:
                    target.prompts[0].clicks.append(target.click)
        prompted = [target for target in objects if n == 1 or target.click]
        choice = protocol.mask_choice_at(n)
        predicted = predict_prompts(
            model,
            [(target.embedding, target.prompts) for target in prompted],
            single=choice == "single",
        )
        for target, candidates in zip(prompted, predicted, strict=True):
            index = functools.partial(choose_mask, choice, equals=protocol.equals)
            target.prediction, target.scores = _score(
                candidates, target.truth, index, target.case.ignored
            )
            target.logits = candidates.logits(target.scores["mask_index"])
            if protocol.feedback:
                target.prompts[0].logits = target.logits
        for target in objects:
            yield n, target


def stored_clicks(rows: pd.DataFrame, last: int | None = None) -> list[Click]:
    """Return the clicks of an object's rows in their order.

    rows: all rows of one object under one model. last: the number of the last one, None for all.
    A row without a click (the mask was already perfect) gives none.
    """
    rows = rows[rows["row"] >= 0].sort_values("click")
    if last is not None:
        rows = rows[rows["click"] <= last]
    return [Click(*values) for values in rows[list(_NO_CLICK)].itertuples(index=False)]


def replay(
    case: Case, model: Model, rows: pd.DataFrame, click: int, embedding: object | None = None
) -> np.ndarray:
    """Return the mask of a stored row again, bool H x W: one encode, then the stored clicks.

    rows: all rows of one object of the case under this model. click: which of them, from 1.
    embedding: what the model's `encode` gave for the case's image; None encodes it now.
    Where the last mask was fed back, every click is decoded in its order, otherwise the last alone.
    Raises ValueError for rows that began with another prompt than clicks: rows hold no boxes.
    """
    clicks = len(stored_clicks(rows, click))
    first = 1 if _protocol(rows).feedback else clicks
    return list(replay_clicks(case, model, rows, range(first, clicks + 1), embedding))[-1]


def replay_clicks(
    case: Case,
    model: Model,
    rows: pd.DataFrame,
    clicks: Iterable[int],
    embedding: object | None = None,
) -> Iterator[np.ndarray]:
    """Yield the masks of several stored rows of an object, each decoded once, bool H x W.

    clicks: which of them, in their order; all from 1 where the last mask was fed back. The other
    parameters are those of `replay`.
    """
    protocol = _protocol(rows)
    if protocol.prompt != "clicks":
        raise ValueError(
            "rows hold clicks, but no boxes: run `simulate_clicks` on the case instead"
        )
    prompts = stored_clicks(rows)
    chosen = rows[rows["row"] >= 0].sort_values("click")["mask_index"]
    embedding = model.encode(case.image) if embedding is None else embedding
    logits = None
    for n in clicks:
        options: dict[str, Any] = {} if logits is None else {"logits": logits[None]}
        if protocol.mask_choice_at(n) == "single" and model.candidates > 1:
            options["multimask"] = False
        prediction = model.predict(embedding, [prompts[:n]], **options)
        candidate = int(chosen.iloc[n - 1])
        if protocol.feedback:
            logits = prediction.logits[0, candidate]
        yield prediction.mask(0, candidate)


def _protocol(rows: pd.DataFrame) -> Protocol:
    """Return the protocol of stored rows."""
    return Protocol.parse(rows["protocol"].iloc[0]) if "protocol" in rows else PAPER


_NO_CLICK = {"row": -1, "col": -1, "positive": False, "distance": 0.0, "ties": 0}


def _score(
    candidates: Candidates,
    truth: BoxedMask,
    choose: Callable[[list[float], list[float]], int],
    ignored: np.ndarray | None = None,
) -> tuple[BoxedMask, dict[str, Any]]:
    """Return the mask that counts of one object, and the scores of all its candidates.

    choose: index of the candidate that counts, by their predicted and true IoU. ignored: bool,
    H x W, pixels that count in none of them; where a mask covers them, it is cut.
    """
    masks = [mask.without(ignored) for mask in candidates.masks()]
    predicted_iou = candidates.predicted_iou()
    true_iou = [iou(mask, truth) for mask in masks]
    index = choose(predicted_iou, true_iou)
    return masks[index], {
        "mask_index": index,
        "predicted_iou": predicted_iou[index],
        "iou": true_iou[index],
        "dice": dice(masks[index], truth),
        **{f"predicted_iou_{i}": value for i, value in enumerate(predicted_iou)},
        **{f"iou_{i}": value for i, value in enumerate(true_iou)},
    }
