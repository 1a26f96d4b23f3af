"""How `ritm_small` is trained on drawings: views, simulated clicks, the loss and the loop.

Its network is in `models.ritm_small`, what other training shares with it in `workflows.training`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..models.checkpoints import load_state_dict
from ..models.ritm_network import click_disks
from ..models.ritm_small import build_ritm_small
from ..workflows.training import Training, click_in, load_batches, mixed_precision
from .drawings import draw

ROUNDS = [(1,), (1, 1), (1, 1), (1, 1, 1), (1, 2), (2, 3), (3, 2, 1), (1, 4, 4), (1, 1, 2, 2)]
"""Clicks added in each round of a step."""
ENCODER = "image_encoder.stages."  # how a sam_small's weights of the convolutional stages begin
FEWEST_PIXELS = 20  # of an object in a view, above which it is learnt from


def cut_view(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return a view of a drawing: image float32, mask bool, size x size, and whether it is a part
    only."""
    box = np.array([0, 0, *mask.shape], float)
    closer = rng.random() < 0.5
    if closer:
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        half = np.maximum(
            np.array([height, width]) / 2 * np.exp(rng.uniform(-0.1, 0.9)), rng.uniform(20, 40)
        )
        middle = np.array([y + height / 2, x + width / 2]) + rng.uniform(-0.25, 0.25, 2) * half
        box = np.concatenate([middle - half, middle + half]).round().clip(0, [*mask.shape] * 2)
    top, left, bottom, right = box.astype(int)
    scale = size / max(bottom - top, right - left)
    views = []
    for whole in (image, mask):
        part = cv2.resize(
            whole[top:bottom, left:right].astype(np.float32),
            None,
            fx=scale,
            fy=scale,
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )[:size, :size]
        views.append(np.pad(part, [(0, size - n) for n in part.shape]))
    return views[0] / 255, views[1] > 0.5, closer


class Views(torch.utils.data.Dataset):
    """A series of drawings, each with some objects in views of their own; an item never changes.

    Item i: images float32 objects x size x size in 0..1, masks of the same shape, and whether each
    is a part only.
    """

    def __init__(self, seed: int, objects: int, size: int, length: int) -> None:
        self.seed, self.objects, self.size, self.length = seed, objects, size, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> tuple[np.ndarray, ...]:
        """Draw item i."""
        cv2.setNumThreads(1)  # the worker processes of a data loader are the parallelism
        rng = np.random.default_rng([self.seed, i])
        while True:
            image, masks = draw(rng)
            chosen = rng.choice(len(masks), self.objects, replace=len(masks) < self.objects)
            views = [cut_view(rng, image, masks[k], self.size) for k in chosen]
            if all(mask.sum() > FEWEST_PIXELS for _, mask, _ in views):
                return tuple(np.stack(part) for part in zip(*views, strict=True))


def add_clicks(
    points: Sequence[list[tuple[int, int, bool]]],
    truths: np.ndarray,
    predictions: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> None:
    """Add `count` clicks to each object's list of (row, col, positive), where its mask is wrong.

    truths, predictions: bool, B x h x w.
    """
    for clicks, truth, prediction in zip(points, truths, predictions, strict=True):
        error = truth ^ prediction
        region = error if error.sum() > 3 else truth
        new: list[tuple[int, int]] = []
        for _ in range(count):
            new.append(click_in(region, rng, new, reach=12))
        clicks += [(*where, truth[where]) for where in new]


def points_tensor(points: Sequence[Sequence[tuple[int, int, bool]]]) -> Tensor:
    """Return B lists of (row, col, positive) as B x 2N x 3: positive ones, then negative ones, -1
    where there is none."""
    listed = np.full((len(points), 2, max(map(len, points)), 3), -1, np.float32)
    for i, clicks in enumerate(points):
        for k, (row, col, positive) in enumerate(clicks):
            listed[i, 0 if positive else 1, k] = row, col, k
    return torch.from_numpy(listed).flatten(1, 2)


def spoil_mask(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a faulty mask, probability float32 of the same shape, with parts too many, missing
    and displaced."""
    field = sum(
        rng.uniform(0.1, 0.5)
        * cv2.resize(
            rng.standard_normal((n, n), dtype=np.float32),
            truth.shape[::-1],
            interpolation=cv2.INTER_CUBIC,
        )
        for n in rng.integers(4, 16, 2)
    )
    soft = cv2.GaussianBlur(
        truth.astype(np.float32), (0, 0), rng.uniform(1, 12)
    ) + field * rng.uniform(0.2, 1)
    return np.float32(1 / (1 + np.exp(-np.clip(12 * (soft - rng.uniform(0.3, 0.7)), -20, 20))))


def click_loss(logits: Tensor, target: Tensor, disks: Tensor) -> Tensor:
    """Compute Dice plus cross-entropy, which counts five times where somebody has clicked: clicks
    are to be obeyed.

    logits, target: B x 1 x h x w. disks: of `click_disks`, B x 2 x h x w.
    """
    probability = logits.sigmoid()
    overlap = (probability * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = 1 + 4 * disks.amax(1, keepdim=True)
    return (dice + 2 * (entropy * weight).sum((2, 3)) / weight.sum((2, 3))).mean()


def start_weights(network: nn.Module, path: str) -> None:
    """Give a ritm_small the weights of a file: its own, or a sam_small's convolutional stages."""
    learned = load_state_dict(Path(path))
    stages = {
        key.removeprefix(ENCODER): value
        for key, value in learned.items()
        if key.startswith(ENCODER)
    }
    if stages:
        network.stages.load_state_dict(stages)
    else:
        network.load_state_dict(learned)


def learn_from(
    network: nn.Module,
    batch: Sequence[Tensor],
    rng: np.random.Generator,
    device: str,
    mixed: AbstractContextManager,
) -> tuple[float, ...]:
    """Add the gradients of a step, in which every object of a batch is clicked for some rounds.

    batch: of `Views`. mixed: of `mixed_precision`. The rounds are independent of one another, since
    no gradient goes through a previous mask: the last round always counts, the others every second
    time, which saves their backward pass. Returns the loss of the last round and the mean IoU after
    the first and the last one.
    """
    images, masks, closer = (part.flatten(0, 1)[:, None] for part in batch)
    truths, targets = masks[:, 0].numpy(), masks.float().to(device)
    colours = images.expand(-1, 3, -1, -1).to(device)
    points: list[list[tuple[int, int, bool]]] = [[] for _ in truths]
    previous = np.zeros_like(truths, np.float32)
    for k in np.flatnonzero(closer.numpy() & (rng.random(closer.shape) < 0.6)):
        add_clicks(points[k : k + 1], truths[k : k + 1], previous[k : k + 1] > 0.5, 1, rng)
        previous[k] = spoil_mask(truths[k], rng)
    ious = []
    rounds = ROUNDS[rng.integers(len(ROUNDS))]
    for i, count in enumerate(rounds):
        add_clicks(points, truths, previous > 0.5, count, rng)
        clicks = points_tensor(points).to(device)
        seen = torch.cat([colours, torch.from_numpy(previous)[:, None].to(device)], 1)
        counts = i == len(rounds) - 1 or rng.random() < 0.5
        with torch.set_grad_enabled(counts):
            with mixed:
                logits = network(seen.contiguous(memory_format=torch.channels_last), clicks).float()
            if counts:
                loss = click_loss(logits, targets, click_disks(clicks, truths.shape[1:]))
                loss.backward()
        previous = logits.detach().sigmoid()[:, 0].cpu().numpy()
        prediction = previous > 0.5
        ious.append(((prediction & truths).sum((1, 2)) / (prediction | truths).sum((1, 2))).mean())
    return loss.item(), ious[0], ious[-1]


def train(
    steps: int,
    minutes: float = 600.0,
    fall: float = 0.2,
    batch: int = 4,
    objects: int = 2,
    size: int = 192,
    learning_rate: float = 1e-3,
    seed: int = 2,
    save_every: int = 200,
    folder: str = "",
    resume: bool = True,
    start_from: str = "",
    device: str = "cpu",
    bfloat16: bool = False,
    workers: int = 1,
) -> Training:
    """Train ritm_small, or go on from the checkpoint in the folder.

    batch: drawings of a step, with so many `objects` each, in views of `size` pixels' side.
    start_from: weights file to begin with (`start_weights`); empty for random ones.
    workers: processes that draw, 0 for this one. The other arguments are those of `Training` and
    its `steps`. Drawings and clicks of a step depend only on the seed and the step.
    """
    torch.manual_seed(seed)
    network = build_ritm_small().to(device)
    if start_from:
        start_weights(network, start_from)
    training = Training(
        network, inner=lambda name, p: p.ndim == 2, folder=folder, name="ritm_small", resume=resume
    )
    views = Views(seed, objects, size, steps * batch)
    batches = load_batches(views, training.start, steps, batch, workers)
    network.to(memory_format=torch.channels_last)
    mixed = mixed_precision(device, bfloat16)
    for step, drawn in training.steps(batches, steps, minutes, fall, learning_rate, save_every):
        rng = np.random.default_rng([seed, step, 1])
        training.history.append(learn_from(network, drawn, rng, device, mixed))
    return training
