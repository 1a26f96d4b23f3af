"""How `sam_small` is trained on drawings: simulated clicks, losses and the loop.

Its network is in `models.sam_small`, what other training shares with it in `workflows.training`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional

from ..case import Case
from ..clicks import PAPER
from ..models import load_model
from ..models.sam_small import build_sam_small
from ..simulation import simulate
from ..workflows.training import Training, click_in, decode, load_batches, mixed_precision
from .drawings import Drawings, draw

ROUNDS = [(1,), (1, 1), (1, 1), (1, 2), (1, 4), (1, 1, 1), (1, 2, 3), (1, 3, 4)]
"""Clicks added in each round of a step: mostly one or two, now and then many, so that nine are no
surprise."""
UNSEEN = 999  # seed of the drawings that no training sees


def drawing(seed: int, number: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a drawing of a series, uint8 H x W x 3, and the masks of its objects, bool H x W."""
    image, masks = draw(np.random.default_rng([seed, number]))
    return np.repeat(image[..., None], 3, axis=2), masks


def add_clicks(
    points: Tensor,
    labels: Tensor,
    truths: np.ndarray,
    predictions: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Return points B x N x 2 and labels B x N with `count` clicks more for each object.

    points: (x, y) in pixels of the network's input. truths, predictions: bool, B x h x w, at half
    that size. A click goes where the prediction is wrong.
    """
    new_points, new_labels = [], []
    for truth, prediction in zip(truths, predictions, strict=True):
        error = truth ^ prediction
        region = error if error.any() else truth
        clicks: list[tuple[int, int]] = []
        for _ in range(count):
            clicks.append(click_in(region, rng, clicks, reach=8))
        new_points.append(
            [[2 * col + rng.integers(2), 2 * row + rng.integers(2)] for row, col in clicks]
        )
        new_labels.append([truth[click] for click in clicks])
    more_points = torch.tensor(np.array(new_points), dtype=torch.float32, device=points.device)
    more_labels = torch.tensor(np.array(new_labels), dtype=torch.float32, device=points.device)
    return torch.cat([points, more_points], 1), torch.cat([labels, more_labels], 1)


def candidate_loss(
    logits: Tensor, predicted_iou: Tensor, target: Tensor, ambiguous: bool
) -> tuple[Tensor, Tensor]:
    """Compute the loss of three candidates B x 3 x h x w, and their true IoU, B x 3.

    target: share of each pixel that the object covers, B x 1 x h x w. ambiguous: whether there was
    one click only, which can mean several objects; several clicks should leave one meaning.
    """
    probability = logits.sigmoid()
    overlap = (probability * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)
    entropy = functional.binary_cross_entropy_with_logits(
        logits, target.expand_as(logits), reduction="none"
    )
    # Objects are small: their own pixels count once more, or all masks stay empty for hundreds of
    # steps.
    inside = (entropy * target).sum((2, 3)) / target.sum((2, 3))
    per_candidate = dice + 2 * entropy.mean((2, 3)) + 0.3 * inside
    mask, truth = logits > 0, target > 0.5
    true_iou = (mask & truth).sum((2, 3)) / (mask | truth).sum((2, 3)).clamp(min=1)
    mean_weight = 0.2 if ambiguous else 0.4
    segmentation = per_candidate.min(1).values.mean() + mean_weight * per_candidate.mean()
    return segmentation + 8 * (predicted_iou - true_iou).square().mean(), true_iou


def affinity_loss(embeddings: Tensor, points: Tensor, target: Tensor) -> Tensor:
    """Compute the loss that makes the embedding alike inside an object and different outside.

    The cell under the first click is compared with all cells by cosine. It is no part of the model:
    without it the decoder draws disks round clicks for thousands of steps before the image begins
    to matter.
    """
    features = functional.normalize(embeddings.float(), dim=1)
    cells = (points[:, 0] / 8).long()
    clicked = features[torch.arange(len(cells)), :, cells[:, 1], cells[:, 0]]
    logits = 10 * (torch.einsum("bchw,bc->bhw", features, clicked) - 0.5)
    inside = functional.avg_pool2d(target, 4)[:, 0]
    probability = logits.sigmoid()
    overlap, sizes = (probability * inside).sum((1, 2)), (probability + inside).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (sizes + 1)
    return dice.mean() + functional.binary_cross_entropy_with_logits(logits, inside)


def network_input(sam: Sam, batch: Mapping[str, Tensor], device: str) -> Tensor:
    """Return the images of a batch of `Drawings` as SAM normalises and pads them, B x 3 x h x w."""
    images = batch["image"].to(device)[:, None].float().expand(-1, 3, -1, -1)
    images = (images - sam.pixel_mean) / sam.pixel_std
    for image, (height, width) in zip(images, batch["inside"].tolist(), strict=True):
        image[:, height:] = 0  # SAM pads after normalising
        image[:, :, width:] = 0
    return images.contiguous(memory_format=torch.channels_last)


def step_loss(
    sam: Sam,
    batch: Mapping[str, Tensor],
    rng: np.random.Generator,
    device: str,
    mixed: AbstractContextManager,
) -> tuple[Tensor, tuple[float, ...]]:
    """Compute the loss of a step, in which every object of a batch is clicked for some rounds.

    mixed: of `mixed_precision`. Also returns what is noted of the step: loss, its affinity part,
    and the mean IoU of the most confident mask in the first and the last round.
    """
    images, masks = network_input(sam, batch, device), batch["masks"].to(device).float()
    targets = functional.avg_pool2d(masks.flatten(0, 1)[:, None], 2)
    truths = (targets[:, 0] > 0.5).cpu().numpy()
    thin = ~truths.any((1, 2))  # objects that cover no pixel by half
    truths[thin] = (targets[:, 0] > 0).cpu().numpy()[thin]

    points = torch.zeros(len(truths), 0, 2, device=device)
    labels = torch.zeros(len(truths), 0, device=device)
    predictions, previous = np.zeros_like(truths), None
    total, ious = torch.zeros((), device=device), []
    with mixed:
        embeddings = sam.image_encoder(images).repeat_interleave(masks.shape[1], 0)
        rounds = ROUNDS[rng.integers(len(ROUNDS))]
        for count in rounds:
            points, labels = add_clicks(points, labels, truths, predictions, count, rng)
            previous = previous if rng.random() < 0.25 else None
            logits, predicted_iou = decode(sam, embeddings, points, labels, previous)
            loss, true_iou = candidate_loss(
                logits.float(), predicted_iou.float(), targets, points.shape[1] == 1
            )
            total = total + loss / len(rounds)
            best = predicted_iou.argmax(1, keepdim=True)
            ious.append(true_iou.gather(1, best).mean().item())
            previous = logits[torch.arange(len(best)), best[:, 0]].detach().float()[:, None]
            predictions = (previous[:, 0] > 0).cpu().numpy()
        affinity = affinity_loss(embeddings, points, targets)
    total = total + affinity
    return total, (total.item(), affinity.item(), ious[0], ious[-1])


def train(
    steps: int,
    minutes: float = 600.0,
    fall: float = 0.2,
    batch: int = 8,
    objects: int = 2,
    learning_rate: float = 1e-3,
    seed: int = 1,
    save_every: int = 200,
    folder: str = "",
    resume: bool = True,
    device: str = "cpu",
    bfloat16: bool = False,
    workers: int = 1,
) -> Training:
    """Train sam_small from random weights, or go on from the checkpoint in the folder.

    batch: drawings of a step, with so many `objects` each. workers: processes that draw, 0 for this
    one. The other arguments are those of `Training` and its `steps`. Drawings and clicks of a step
    depend only on the seed and the step, so a resumed run does what an uninterrupted one does.
    """
    torch.manual_seed(seed)
    training = Training(
        build_sam_small().to(device),
        inner=lambda name, p: p.ndim == 2 and "embed" not in name and "token" not in name,
        folder=folder,
        name="sam_small",
        resume=resume,
    )
    sam = training.network.to(memory_format=torch.channels_last)
    drawings = Drawings(seed, objects, steps * batch)
    batches = load_batches(drawings, training.start, steps, batch, workers)
    mixed = mixed_precision(device, bfloat16)
    for step, drawn in training.steps(batches, steps, minutes, fall, learning_rate, save_every):
        rng = np.random.default_rng([seed, step, 1])
        total, noted = step_loss(sam, drawn, rng, device, mixed)
        total.backward()
        training.history.append(noted)
    return training


def iou_on_drawings(network: Sam, count: int, device: str = "cpu", clicks: int = 3) -> np.ndarray:
    """Compute the mean IoU after each of Algorithm 1's clicks, on drawings that no training sees.

    count: of the drawings; of each the first object is clicked.
    """
    model, values = load_model("sam_small", device=device), []
    model.network = copy.deepcopy(network).eval()
    for number in range(count):
        image, masks = drawing(UNSEEN, number)
        case = Case("drawings", str(number), str(number), None, image, {"object": masks[0]})
        records = simulate(case, {"object": "drawings"}, model, PAPER, clicks)
        values.append([record["iou"] for record in records])
    return np.mean(values, axis=0)
