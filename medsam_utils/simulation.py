"""Algorithm 1 on one case: all its objects are clicked together, and every click gives a record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .boxed_mask import BoxedMask
from .case import Case
from .clicks import Click, Protocol, click_rng, next_click
from .metrics import components, dice, iou
from .models import Model, Prediction


@dataclass(eq=False)
class _Object:
    """One object while its clicks are simulated."""

    task: str
    truth: BoxedMask
    size: dict[str, Any]
    clicks: list[Click] = field(default_factory=list)
    prediction: BoxedMask | None = None
    scores: dict[str, Any] = field(default_factory=dict)


def simulate(
    case: Case, tasks: dict[str, str], model: Model, protocol: Protocol, clicks: int
) -> Iterator[dict]:
    """Algorithm 1 on one case, all its objects at once: yields one record per (object, click).

    tasks: class name -> task name. Objects smaller than the protocol's minimum yield nothing.
    """
    truths = {name: BoxedMask.of(mask) for name, mask in case.masks.items()}
    objects = [
        _Object(tasks[name], truth, _size(truth))
        for name, truth in truths.items()
        if truth.area >= protocol.min_object_pixels
    ]
    if not objects:
        return
    embedding = model.encode(case.image)
    for n in range(1, clicks + 1):
        clicked = []
        for target in objects:
            rng = click_rng(protocol, case.dataset, case.case_id, target.task, n)
            click = next_click(target.truth, target.prediction, protocol, rng, case.foreground)
            if click is not None:
                target.clicks.append(click)
                clicked.append(target)
        if clicked:
            prediction = model.predict(embedding, [target.clicks for target in clicked])
            for i, target in enumerate(clicked):
                target.prediction, target.scores = _chosen(prediction, i, target.truth, protocol)
        for target in objects:
            click = asdict(target.clicks[-1]) if target in clicked else _NO_CLICK
            yield {"task": target.task, **target.size, "click": n, **click, **target.scores}


def replay(
    case: Case, model: Model, rows: pd.DataFrame, click: int, embedding: object | None = None
) -> np.ndarray:
    """Mask of a stored row again, bool H x W: one encode, and one decode of the stored clicks.

    rows: all rows of one object of the case under this model. click: which of them, from 1.
    embedding: what the model's `encode` gave for the case's image, to be spared encoding it again.
    """
    given = rows[(rows["click"] <= click) & (rows["row"] >= 0)].sort_values("click")
    prompts = [Click(*values) for values in given[list(_NO_CLICK)].itertuples(index=False)]
    encoded = model.encode(case.image) if embedding is None else embedding
    prediction = model.predict(encoded, [prompts])
    return prediction.mask(0, int(rows.loc[rows["click"] == click, "mask_index"].iloc[0]))


_NO_CLICK = {"row": -1, "col": -1, "positive": False, "distance": 0.0, "ties": 0}


def _size(truth: BoxedMask) -> dict[str, Any]:
    """What the rows say of the true object itself."""
    rows, cols = truth.shape
    return {"area_share": truth.area / (rows * cols), "components": components(truth)}


def _chosen(
    prediction: Prediction, index: int, truth: BoxedMask, protocol: Protocol
) -> tuple[BoxedMask, dict]:
    """Mask that counts of one object under the protocol, and the scores of all its candidates."""
    masks = [prediction.boxed_mask(index, candidate) for candidate in range(prediction.logits.shape[1])]
    true_iou = [iou(mask, truth) for mask in masks]
    predicted_iou = prediction.predicted_iou[index].tolist()
    choice = {
        "most_confident": lambda: int(prediction.most_confident()[index]),
        "first": lambda: 0,
        "oracle": lambda: int(np.argmax(true_iou)),
    }[protocol.mask_choice]()
    return masks[choice], {
        "mask_index": choice,
        "predicted_iou": predicted_iou[choice],
        "iou": true_iou[choice],
        "dice": dice(masks[choice], truth),
        **{f"predicted_iou_{i}": value for i, value in enumerate(predicted_iou)},
        **{f"iou_{i}": value for i, value in enumerate(true_iou)},
    }
