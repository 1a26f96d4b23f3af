"""RITM and SimpleClick as promptable models: clicks and the mask before go in, one mask comes out.

Source: Sofiiuk, Petrov and Konushin 2021 (arXiv 2102.06583). The inference follows their released
evaluation without backpropagating refinement, which is what Mazurowski et al. 2023 ran; that of
SimpleClick (Liu et al. 2023, arXiv 2210.11006) differs in its zoom alone.

Any network can take part that is called as theirs is: `network(image, points)` with

- image: float32, B x 4 x H x W, RGB in 0..1 and the probability of the mask before, zero at the
  first click; the network normalises by itself, and takes any H and W from 1 (one that cannot pads,
  or states its sizes as `longest_side` and `zoom`);
- points: float32, B x 2N x 3, (row, col, index of the click) in pixels of `image`, possibly
  fractional or outside of it: N positive ones, then N negative ones, either filled up with (-1, -1,
  -1);

and answers logits, float32, B x 1 x H x W, foreground > 0. B is 2 with flip averaging (the second
is the first mirrored), else 1.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.special import logit

from ..case import BadInputError
from ..clicks import Click
from . import Model, Prediction, Recipe, load_model_once, refuse_prompts
from .checkpoints import Checkpoint, check_tensors, differences, load_state_dict, shapes
from .devices import choose_device, choose_dtype
from .ritm_network import SIZES, build_ritm, resized
from .ritm_small import build_ritm_small
from .ritm_zoom import Box, Point, Zoom, scaled_shape
from .simpleclick_network import SIZES as SIMPLECLICK_SIZES
from .simpleclick_network import TRAINING_CODE, build_simpleclick

ARCHITECTURES: dict[str, Callable[[], torch.nn.Module]] = (
    {size: functools.partial(build_ritm, size) for size in SIZES}
    | {"small": build_ritm_small}
    | {
        f"simpleclick_{size}": functools.partial(build_simpleclick, size)
        for size in SIMPLECLICK_SIZES
    }
)

KEPT_STATES = 32  # click sequences per image whose state is kept; a lost one is computed again


@dataclass(frozen=True)
class RitmState:
    """State of one object after some clicks: its mask, and the box of the zoom (None: the image).

    probability: float32, 1 x 1 x H x W, on the model's device.
    """

    probability: torch.Tensor
    box: Box | None = None


@dataclass(frozen=True)
class RitmEmbedding:
    """An image as the network reads it, 1 x 3 x H x W in 0..1, and the states of click sequences.

    RITM encodes nothing ahead of the clicks, but each answer depends on the one before. The states
    are therefore kept here by their clicks: an answer depends on image and clicks alone, not on
    earlier calls.
    """

    image: torch.Tensor
    states: OrderedDict[tuple[Point, ...], RitmState] = field(default_factory=OrderedDict)


class Ritm(Model):
    """RITM or SimpleClick: one candidate mask, the previous mask fed back, no predicted IoU."""

    def __init__(
        self,
        name: str,
        checkpoint: Checkpoint,
        architecture: str,
        recipe: Recipe | None = None,
        device: str | None = None,
        dtype: str = "float32",
        zoom: dict[str, Any] | None = None,
        flip: bool = True,
        threshold: float = 0.49,
        longest_side: tuple[int, int | None] = (1, None),
    ) -> None:
        """Keep the recipe; `network` is built and its weights are read on first use.

        recipe: arguments of `load_model` that give this model again. zoom: fields of `Zoom` that
        differ from its defaults. flip: average with the mirrored image. threshold: on the
        probability, of the mask.
        longest_side: least and greatest, in pixels, of the whole image as the network sees it; it
        is resized to get there.
        """
        self.name, self.checkpoint, self.recipe = name, checkpoint, recipe
        self.architecture = architecture
        self.device, self.dtype = choose_device(device), choose_dtype(dtype)
        self.zoom, self.flip, self.threshold = Zoom(**zoom or {}), flip, threshold
        self.longest_side = longest_side
        self.weights = checkpoint.sha256
        self.forks = self.device.type == "cpu"

    def load(self) -> None:
        """Build the network and read its weights."""
        _ = self.network

    def __reduce__(self) -> tuple:
        """Pickle the recipe instead of the weights: a worker process loads them once."""
        return load_model_once, (self.recipe,)

    def settings(self) -> dict[str, Any]:
        """Architecture and all that inference adds to it."""
        return {
            "architecture": self.architecture,
            "dtype": str(self.dtype).removeprefix("torch."),
            "zoom": asdict(self.zoom),
            "flip": self.flip,
            "threshold": self.threshold,
            "longest_side": self.longest_side,
        }

    @functools.cached_property
    def network(self) -> torch.nn.Module:
        """The network in evaluation mode, weights loaded, on its device.

        Raises BadInputError if the weights are of another architecture, or no finite numbers.
        """
        network = ARCHITECTURES[self.architecture]()
        path = self.checkpoint.path()
        # Names of the training's code are read as if they were nothing, and nothing is run.
        with torch.serialization.safe_globals(TRAINING_CODE):
            state = load_state_dict(path)
        if fact := differences(shapes(state), shapes(network.state_dict())):
            raise BadInputError(
                f"{path} does not fit {self.architecture} ({fact}): "
                f"choose the model of its size, one of {', '.join(ARCHITECTURES)}"
            )
        network.load_state_dict(check_tensors(state, network, path))
        return network.eval().to(self.device)

    def encode(self, image: np.ndarray) -> RitmEmbedding:
        """Take over uint8 H x W x 3 RGB; the network itself runs at every click."""
        return RitmEmbedding(
            torch.as_tensor(image, device=self.device).permute(2, 0, 1)[None] / 255
        )

    @torch.inference_mode()
    def predict(
        self,
        embedding: RitmEmbedding,
        clicks: Sequence[Sequence[Click]],
        boxes: np.ndarray | None = None,
        logits: np.ndarray | None = None,
    ) -> Prediction:
        """One candidate mask for each of B objects, on the image's own grid: logits B x 1 x H x W.

        They are log odds relative to the threshold, so that foreground is > 0. Clicks already
        answered for this embedding are not computed again; the mask before the last click is fed
        back by itself. Raises BadInputError for boxes and for logits, which RITM does not take.
        """
        refuse_prompts(self.name, use="sam_small", boxes=boxes, logits=logits)
        sequences = [
            tuple((int(click.row), int(click.col), bool(click.positive)) for click in sequence)
            for sequence in clicks
        ]
        probability = np.concatenate(
            [self._state(embedding, points).probability.cpu().numpy() for points in sequences]
        )
        while len(embedding.states) > max(KEPT_STATES, 2 * len(sequences)):
            embedding.states.popitem(last=False)
        return Prediction(
            self._log_odds(probability),
            np.full((len(clicks), 1), np.nan, np.float32),
            lambda logits: logits,
        )

    def _log_odds(self, probability: np.ndarray) -> np.ndarray:
        """Return logits that are > 0 exactly where the probability is above the threshold."""
        least = np.finfo(np.float32).eps  # outside of the box it is exactly 0
        odds = logit(probability.clip(least, 1 - least).astype(np.float64))
        return (odds - logit(np.float64(np.float32(self.threshold)))).astype(np.float32)

    def _state(self, embedding: RitmEmbedding, points: tuple[Point, ...]) -> RitmState:
        """State after all points, from that of the longest beginning that is known."""
        states = embedding.states
        known = next((n for n in range(len(points), 0, -1) if points[:n] in states), 0)
        if known:
            states.move_to_end(points[:known])
            state = states[points[:known]]
        else:
            state = RitmState(torch.zeros_like(embedding.image[:, :1]))
        for n in range(known + 1, len(points) + 1):
            state = states[points[:n]] = self._next(embedding.image, state, points[:n])
        return state

    def _next(self, image: torch.Tensor, state: RitmState, points: Sequence[Point]) -> RitmState:
        """State after the last of the points, from the state before it."""
        box, looked_at = self.zoom.view(self._mask(state.probability), state.box, points)
        probability = self._look(image, state.probability, points, looked_at, box)
        if box is None and (box := self.zoom.second_view(self._mask(probability), points)):
            probability = self._look(image, state.probability, points, box, box)
        return RitmState(probability, box)

    def _mask(self, probability: torch.Tensor) -> np.ndarray:
        """What counts as the object for zooming: bool, H x W."""
        return (probability[0, 0] > self.zoom.threshold).cpu().numpy()

    def _look(
        self,
        image: torch.Tensor,
        before: torch.Tensor,
        points: Sequence[Point],
        looked_at: Box | None,
        box: Box | None,
    ) -> torch.Tensor:
        """Compute the probability 1 x 1 x H x W of what is in `looked_at`, put into `box`."""
        rows, cols = image.shape[2:]
        everything = Box(0, rows - 1, 0, cols - 1)
        part, target = looked_at or everything, box or everything
        side = np.clip(max(rows, cols), *self.longest_side)
        size = self.zoom.seen_shape(part) if looked_at else scaled_shape(part, side)
        seen = torch.cat([resized(_cut(whole, part), size) for whole in (image, before)], dim=1)
        logits = self._answer(seen, _points_in(points, part, size))
        probability = torch.zeros_like(before)
        _cut(probability, target)[:] = resized(logits.sigmoid(), target.shape)
        return probability

    def _answer(self, seen: torch.Tensor, points: np.ndarray) -> torch.Tensor:
        """Compute logits 1 x 1 x h x w of what the network sees, 1 x 4 x h x w.

        points: K x 4, as `_points_in`.
        """
        given = [points]
        if self.flip:
            seen = torch.cat([seen, seen.flip(3)])
            given.append(points * (1, -1, 1, 1) + (0, seen.shape[3] - 1, 0, 0))
        listed = torch.as_tensor(np.stack([_by_sign(one) for one in given]), device=self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            logits = self.network(seen, listed).float()
        return 0.5 * (logits[:1] + logits[1:].flip(3)) if self.flip else logits


def _cut(maps: torch.Tensor, box: Box) -> torch.Tensor:
    """View of the box in B x C x H x W."""
    return maps[:, :, box.top : box.bottom + 1, box.left : box.right + 1]


def _points_in(points: Sequence[Point], part: Box, size: Sequence[int]) -> np.ndarray:
    """Return (row, col, index, positive) of each point, K x 4, in pixels of the resized part.

    size: of the part after resizing.
    """
    corner, scale = np.array([part.top, part.left]), np.array(size)
    table = np.array(
        [(row, col, i, positive) for i, (row, col, positive) in enumerate(points)], float
    )
    table[:, :2] = scale * (table[:, :2] - corner) / part.shape
    return table


def _by_sign(points: np.ndarray) -> np.ndarray:
    """Return the points as the network takes them: N positive, N negative, filled up with -1.

    Float32 2N x 3.
    """
    halves = [points[points[:, 3] == sign, :3] for sign in (1, 0)]
    listed = np.full((2, max(map(len, halves)), 3), -1, np.float32)
    for half, rows in zip(listed, halves, strict=True):
        half[: len(rows)] = rows
    return listed.reshape(-1, 3)
