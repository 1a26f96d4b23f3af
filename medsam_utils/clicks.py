"""Algorithm 1: where a simulated user clicks next, and the protocol that decides it.

Source: Mazurowski et al. 2023, section 2.2, Algorithm 1, and the authors' released evaluation code.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from .boxed_mask import BoxedMask, largest_regions
from .case import BadInputError, unknown_name
from .distance import farthest

MaskChoice = Literal["most_confident", "first", "single", "oracle"]


@dataclass(frozen=True)
class Protocol:
    """How clicks are simulated; the defaults are Algorithm 1 as written.

    The fields up to `equals` are ways in which the authors' released code differs from
    Algorithm 1, so that one deviation at a time can be switched on: `dataclasses.replace(PAPER,
    label="foreground")`. Those from `later_mask_choice` on are other ways of prompting.

    - label: a click is positive inside this object, or inside any labelled pixel of the image.
    - mask_choice: which mask counts: of several candidates that of the highest predicted IoU, the
      first, or the best against the truth (greedy); or the single one that SAM makes of a prompt
      without ambiguity (`multimask_output=False`).
    - distance: exact Euclidean distance, or OpenCV's 5 x 5 mask approximation (up to 1.9 % off).
    - ties: among pixels of equal distance one at random (seeded per click), or the first in reading
      order.
    - without_error: when the mask is perfect: stop and carry the IoU forward, or click any pixel of
      the image.
    - min_object_pixels: smaller objects are not evaluated; 1 leaves out only the empty ones.
    - intensity: 8-bit values as the dataset's entry says, or every image divided by its maximum.
    - mask_threshold: from which value a 0..255 mask counts as object; the released code keeps
      exactly 255.
    - equals: of equally large regions, where a prompt takes the largest ones, the first or the last
      in reading order counts as larger; and under the oracle, of masks that all miss the object,
      the first or the last is followed.
    - seed: seed of everything random, combined with dataset, case, object and click.
    - later_mask_choice: which mask counts from the second prompt on; "same": as `mask_choice` says.
    - prompt: what is given first (see `prompts.MODES`), counted as click 1; then clicks on the
      error are added.
    - box_noise: standard deviation by which each side of a box is off, as a share of the box's
      height or width.
    - feedback: whether every further click comes with the low-resolution logits of the mask that it
      corrects.
    - error_region: where further clicks look for the deepest pixel: in all of the error, or in the
      largest of its connected regions, by pixels.
    """

    label: Literal["object", "foreground"] = "object"
    mask_choice: MaskChoice = "most_confident"
    distance: Literal["exact", "approximate"] = "exact"
    ties: Literal["random", "first"] = "random"
    without_error: Literal["stop", "random_pixel"] = "stop"
    min_object_pixels: int = 1
    intensity: Literal["dataset", "max"] = "dataset"
    mask_threshold: int = 128
    equals: Literal["first", "last"] = "first"
    seed: int = 0
    later_mask_choice: Literal["same"] | MaskChoice = "same"
    prompt: Literal[
        "clicks", "point_largest", "points_3_largest", "box_largest", "boxes_3_largest", "box_all"
    ] = "clicks"
    box_noise: float = 0.0
    feedback: bool = False
    error_region: Literal["whole", "largest"] = "whole"

    def __post_init__(self) -> None:
        """Raise BadInputError for a value that a field does not know."""
        for name, choices in _choices().items():
            if (value := getattr(self, name)) not in choices:
                raise unknown_name(f"{name} of the protocol", str(value), choices)

    def mask_choice_at(self, n: int) -> MaskChoice:
        """Return which mask counts after prompt n, counted from 1.

        >>> SAM_ADVICE.mask_choice_at(1), SAM_ADVICE.mask_choice_at(2)
        ('most_confident', 'single')
        """
        if n > 1 and self.later_mask_choice != "same":
            return self.later_mask_choice
        return self.mask_choice

    @property
    def name(self) -> str:
        """Return `paper` or another name of `PROTOCOLS`, or what differs from `paper`.

        >>> Protocol().name, Protocol(ties="first", seed=3).name
        ('paper', 'paper, ties=first, seed=3')
        """
        for name, preset in PROTOCOLS.items():
            if self == preset:
                return name
        changed = [
            f"{f.name}={getattr(self, f.name)}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        ]
        return ", ".join(["paper", *changed])

    @classmethod
    def parse(cls, name: str) -> Protocol:
        """Return the protocol of a name, as rows hold it.

        Raises BadInputError for what is no name of a protocol.

        >>> Protocol.parse("paper, ties=first, seed=3") == Protocol(ties="first", seed=3)
        True
        """
        if name in PROTOCOLS:
            return PROTOCOLS[name]
        defaults: dict[str, Any] = {field.name: field.default for field in fields(cls)}
        values: dict[str, Any] = {}
        start, *parts = name.split(", ")
        for part in parts:
            field, _, text = part.partition("=")
            if field not in defaults:
                break
            kind = type(defaults[field])
            values[field] = text == "True" if kind is bool else kind(text)
        if start != "paper" or len(values) != len(parts):
            raise BadInputError(
                f"protocol {name!r} is unknown: choose {', '.join(PROTOCOLS)}, or write what "
                "differs from the paper, such as 'paper, mask_choice=first, feedback=True'"
            )
        return cls(**values)


@functools.cache
def _choices() -> dict[str, list[str]]:
    """Return the values that the fields of `Protocol` know, of those that name one."""

    def literals(kind: Any) -> list[str]:
        if get_origin(kind) is Literal:
            return list(get_args(kind))
        return [value for part in get_args(kind) for value in literals(part)]

    values = {name: literals(kind) for name, kind in get_type_hints(Protocol).items()}
    return {name: choices for name, choices in values.items() if choices}


PAPER = Protocol()
"""Algorithm 1 as written."""
RELEASED_CODE = Protocol(
    label="foreground",
    mask_choice="first",
    distance="approximate",
    without_error="random_pixel",
    intensity="max",
    mask_threshold=255,
    equals="last",
)
"""As the authors' released evaluation code does it."""
SAM_ADVICE = Protocol(later_mask_choice="single", feedback=True)
"""As SAM's authors advise: of three masks after one click, then the single one, the last fed
back."""
CVPR = Protocol(mask_choice="single", prompt="box_all", feedback=True, error_region="largest")
"""As the CVPR challenges on interactive segmentation prompt (2025), slice by slice: a box, then
five clicks at the deepest pixel of the largest region of the error, with the last mask. The
challenge's own boxes and clicks are of whole volumes, its boxes up to 2 % of the image wider at
each side, and a model there chooses its mask."""
PROTOCOLS = {
    "paper": PAPER,
    "released-code": RELEASED_CODE,
    "sam-advice": SAM_ADVICE,
    "cvpr": CVPR,
}

MASK_RULES = {
    "most confident": PAPER,
    "first": Protocol(mask_choice="first"),
    "single": Protocol(mask_choice="single"),
    "oracle": Protocol(mask_choice="oracle"),
    "most confident, fed back": Protocol(feedback=True),
    "first, fed back": Protocol(mask_choice="first", feedback=True),
    "single, fed back": Protocol(mask_choice="single", feedback=True),
    "oracle, fed back": Protocol(mask_choice="oracle", feedback=True),
    "first, then single, fed back": Protocol(
        mask_choice="first", later_mask_choice="single", feedback=True
    ),
    "SAM's authors' advice": SAM_ADVICE,
}
"""Ways to choose the mask that counts, with and without its logits in the next prompt."""


@dataclass(frozen=True)
class Click:
    """One point prompt at (row, col); positive means "this belongs to the object".

    distance: pixels from the click to the nearest pixel outside the error region (0: no error
    region, or a click that nobody computed). ties: how many pixels had that same distance, this one
    included.
    """

    row: int
    col: int
    positive: bool
    distance: float = 0.0
    ties: int = 1


def next_click(
    truth: np.ndarray | BoxedMask,
    prediction: np.ndarray | BoxedMask | None,
    protocol: Protocol,
    rng: np.random.Generator,
    labelled: np.ndarray | None = None,
) -> Click | None:
    """Return the click that is farthest from the boundary of the error region (Algorithm 1).

    truth: bool H x W, or boxed, this object. prediction: the same, or None before the first click,
    when the error region is the object itself. labelled: bool H x W, any object of the image,
    read only by the released code's label rule; None means the truth. The image's edge counts as
    boundary. Returns None where nothing is wrong any more and the protocol stops there. Raises
    ValueError for an empty truth without a prediction: there is nothing to click on.

    >>> truth = np.pad(np.ones((3, 3), bool), 1)
    >>> next_click(truth, None, PAPER, np.random.default_rng(0))
    Click(row=2, col=2, positive=True, distance=2.0, ties=1)
    >>> next_click(truth, truth, PAPER, np.random.default_rng(0)) is None
    True
    """
    truth = BoxedMask.from_mask(truth)
    if prediction is None and not truth.area:
        raise ValueError(
            "an empty object has no first click: leave it out, as Protocol.min_object_pixels does"
        )
    error = (truth if prediction is None else truth ^ BoxedMask.from_mask(prediction)).trimmed()
    if protocol.error_region == "largest" and error.area:
        (error,) = largest_regions(error, 1, protocol.equals)

    if error.area:
        distance, pixels = farthest(error.inside, exact=protocol.distance == "exact")
        chosen = pixels[rng.integers(len(pixels))] if protocol.ties == "random" else pixels[0]
        row, col = int(chosen[0]) + error.row, int(chosen[1]) + error.col
        ties = len(pixels)
    elif protocol.without_error == "stop":
        return None
    else:
        row, col = (int(rng.integers(n)) for n in error.shape)
        distance, ties = 0.0, error.shape[0] * error.shape[1]

    if protocol.label == "object" or labelled is None:
        positive = (row, col) in truth
    else:
        positive = bool(labelled[row, col])
    return Click(row, col, positive, distance, ties)


def click_rng(
    protocol: Protocol, dataset: str, case_id: str, task: str, click: int
) -> np.random.Generator:
    """Return the random generator of one click, the same in any order of cases and on any worker.

    >>> a, b = (click_rng(PAPER, "us_breast", "benign (1)", "US-Breast", 1) for _ in range(2))
    >>> int(a.integers(10**9)) == int(b.integers(10**9))
    True
    """
    key = "\x1f".join([str(protocol.seed), dataset, case_id, task, str(click)])
    return np.random.default_rng(
        int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "little")
    )


def choose_mask(
    choice: MaskChoice,
    predicted_iou: Sequence[float],
    true_iou: Sequence[float],
    equals: Literal["first", "last"] = "first",
) -> int:
    """Return the index of the candidate that counts.

    predicted_iou, true_iou: one value per candidate, NaN where there is none. A single mask, or the
    only one, has index 0. equals: as in `Protocol`.

    >>> rules = ("most_confident", "first", "oracle")
    >>> [choose_mask(rule, [0.1, 0.9], [0.8, 0.2]) for rule in rules]
    [1, 0, 0]
    >>> [choose_mask("oracle", [0.1, 0.9], [0.0, 0.0], equals) for equals in ("first", "last")]
    [0, 1]
    """
    if choice == "most_confident":
        return int(np.argmax(predicted_iou))
    if choice == "oracle":
        known = np.nan_to_num(true_iou)
        return len(known) - 1 if equals == "last" and not known.any() else int(np.argmax(known))
    return 0
