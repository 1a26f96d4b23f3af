"""How `sam_small` is trained on drawings: simulated clicks, losses and the loop.

Its network is in `models.sam_small`, what other training shares with it in `workflows.training`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional

from ..case import Case
from ..clicks import PAPER
from ..models import load_model
from ..models.checkpoints import load_state_dict
from ..models.sam_small import CHANNELS, build_sam_small
from ..simulation import simulate_clicks
from ..workflows.training import (
    Training,
    click_in,
    decode,
    innermost,
    load_batches,
    mixed_precision,
)
from .drawings import Drawings, draw, kind_of

ROUNDS = [(), (1,), (1, 1), (0, 1), (2,), (4,), (1, 2), (1, 3, 4), (3, 5), (7,)]
"""Clicks that each later round of a step adds: mostly one or two, now and then many, so that nine
are no surprise; none where the last mask alone is corrected."""
UNSEEN = 999  # seed of the drawings that no training sees


@dataclass(frozen=True)
class TrainingRecipe:
    """What can be changed one at a time, to see what it gives.

    boxes: share of steps that begin with a box. feedback: share of steps in which each further
    prompt comes with the last mask. edge_weight: how much more a pixel beside the outline counts.
    detail: whether the mask decoder adds detail of the image. mix: whether it has convolutions that
    mix neighbouring cells. without: kinds of object (`drawings.kind_of`) that are not drawn.
    """

    boxes: float = 0.45
    feedback: float = 0.5
    edge_weight: float = 4.0
    detail: bool = True
    mix: bool = True
    without: tuple[str, ...] = ()


RECIPE = TrainingRecipe()
TIGHT_BOX = replace(PAPER, prompt="box_all")


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


def noisy_boxes(truths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a box round each object, B x 4, (x, y) of its first and last pixel of the input.

    truths: bool, B x h x w, at half the input's size. Half of the boxes are exact. For the
    others the noise of a side has a standard deviation of a twentieth of the box's length (SAM: a
    tenth), and is, as SAM's, at most 2 % of the input's side, 5 pixels.
    """
    boxes = []
    for truth in truths:
        rows, cols = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
        box = 2.0 * np.array([cols[0], rows[0], cols[-1] + 0.5, rows[-1] + 0.5])
        lengths = np.tile(box[2:] - box[:2] + 1, 2)
        noise = np.clip(0.05 * lengths * rng.standard_normal(4), -5, 5)
        box += noise * (rng.random() > 0.5)
        box[2:] = np.maximum(box[2:], box[:2] + 1)
        boxes.append(np.clip(box, 0, 2 * truth.shape[0] - 1))
    return np.array(boxes)


def pixel_weights(target: Tensor, edge_weight: float) -> Tensor:
    """Return how much each pixel counts, B x 1 x h x w: one, and `edge_weight` more at outlines.

    There masks differ that are nearly right. target: share of each pixel that the object covers,
    B x 1 x h x w.
    """
    widest, narrowest = (
        functional.max_pool2d(sign * target, 5, stride=1, padding=2) for sign in (1, -1)
    )
    return 1 + edge_weight * (widest + narrowest)


def mask_losses(logits: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the loss of K masks B x K x h x w, and their true IoU, both B x K.

    target: share of each pixel that the object covers, B x 1 x h x w. weight: `pixel_weights`.
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
    losses = dice + 2 * (entropy * weight).mean((2, 3)) + 0.3 * inside
    mask, truth = logits > 0, target > 0.5
    true_iou = (mask & truth).sum((2, 3)) / (mask | truth).sum((2, 3)).clamp(min=1)
    return losses, true_iou


def prompt_loss(
    logits: Tensor,
    predicted_iou: Tensor,
    target: Tensor,
    weight: Tensor,
    ambiguous: bool,
) -> tuple[Tensor, Tensor]:
    """Compute the loss of an answer B x 4 x h x w, and its true IoU, B x 4.

    The first mask is SAM's single one, the others its three candidates. ambiguous: whether there
    was one click only, which can mean several objects, so the best candidate counts most; other
    prompts should leave one meaning.
    """
    losses, true_iou = mask_losses(logits, target, weight)
    single, candidates = losses[:, 0], losses[:, 1:]
    best, mean = candidates.min(1).values.mean(), candidates.mean()
    segmentation = best + (0.2 if ambiguous else 0.4) * mean
    segmentation = segmentation + (0.1 if ambiguous else 0.5) * single.mean()
    confidence = functional.smooth_l1_loss(predicted_iou, true_iou, beta=0.1)
    return segmentation + 2 * confidence, true_iou


def affinity_loss(embeddings: Tensor, truths: np.ndarray, target: Tensor) -> Tensor:
    """Compute the loss that makes the embedding alike inside an object and different outside.

    A cell in the object's middle is compared with all cells by cosine. It is no part of the model:
    without it the decoder draws disks round clicks for thousands of steps before the image begins
    to matter. truths: bool, B x h x w. target: share of each pixel, B x 1 x h x w.
    """
    features = functional.normalize(embeddings.float(), dim=1)
    middle = np.array([innermost(truth) for truth in truths])
    rows, cols = torch.tensor(middle // 4, device=features.device).T
    clicked = features[torch.arange(len(features)), :, rows, cols]
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
    recipe: TrainingRecipe = RECIPE,
) -> tuple[Tensor, tuple[float, ...]]:
    """Compute the loss of a step, in which every object of a batch is clicked for some rounds.

    mixed: of `mixed_precision`. Also returns what is noted of the step: loss, its affinity part,
    the mean IoU of the most confident candidate in the first and the last round, and whether it
    began with a box.
    """
    images, masks = network_input(sam, batch, device), batch["masks"].to(device).float()
    targets = functional.avg_pool2d(masks.flatten(0, 1)[:, None], 2)
    truths = (targets[:, 0] > 0.5).cpu().numpy()
    weight = pixel_weights(targets, recipe.edge_weight)
    thin = ~truths.any((1, 2))  # objects that cover no pixel by half
    truths[thin] = (targets[:, 0] > 0).cpu().numpy()[thin]

    points = torch.zeros(len(truths), 0, 2, device=device)
    labels = torch.zeros(len(truths), 0, device=device)
    predictions, logits, boxes = np.zeros_like(truths), None, None
    has_box, has_click = rng.random() < recipe.boxes, rng.random() < 0.25
    if has_box:
        boxes = torch.tensor(noisy_boxes(truths, rng), dtype=torch.float32, device=device)
    rounds = (int(has_click or not has_box), *ROUNDS[rng.integers(len(ROUNDS))])
    feeds_back, asks_single = rng.random() < recipe.feedback, rng.random() < 0.3
    total, ious = torch.zeros((), device=device), []
    with mixed:
        embeddings = sam.image_encoder(images).repeat_interleave(masks.shape[1], 0)
        for count in rounds:
            if count:
                points, labels = add_clicks(points, labels, truths, predictions, count, rng)
            given = logits if feeds_back or not count else None
            answer, predicted_iou = decode(sam, embeddings, points, labels, given, boxes)
            ambiguous = boxes is None and points.shape[1] == 1
            loss, true_iou = prompt_loss(
                answer.float(), predicted_iou.float(), targets, weight, ambiguous
            )
            total = total + loss / len(rounds)
            best = 1 + predicted_iou[:, 1:].argmax(1)
            ious.append(true_iou[torch.arange(len(best)), best].mean().item())
            best = best * 0 if asks_single and not ambiguous else best
            logits = answer[torch.arange(len(best)), best].detach().float()[:, None]
            predictions = (logits[:, 0] > 0).cpu().numpy()
        affinity = affinity_loss(embeddings[:, :CHANNELS], truths, targets)
    total = total + affinity
    return total, (total.item(), affinity.item(), ious[0], ious[-1], float(boxes is not None))


def initial_network(weights: str, recipe: TrainingRecipe) -> Sam:
    """Build the network with random weights, or with those of a file as far as it has them."""
    network = build_sam_small()
    if weights:
        network.load_state_dict(load_state_dict(Path(weights)), strict=False)
    encoder, decoder = network.image_encoder, network.mask_decoder
    unused = [] if recipe.detail else [encoder.to_quarter_detail, decoder.widen_detail]
    unused += [] if recipe.mix else [decoder.mix_quarter, decoder.mix_half]
    for parameter in (parameter for layer in unused for parameter in layer.parameters()):
        nn.init.zeros_(parameter).requires_grad_(False)
    return network


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
    start_from: str = "",
    recipe: TrainingRecipe = RECIPE,
) -> Training:
    """Train sam_small from random weights, or go on from the checkpoint in the folder.

    batch: drawings of a step, with so many `objects` each. workers: processes that draw, 0 for this
    one. start_from: weights file to begin with instead of random ones; what it lacks is made anew.
    The other arguments are those of `Training` and its `steps`. Drawings and clicks of a step
    depend only on the seed and the step, so a resumed run does what an uninterrupted one does.
    """
    torch.manual_seed(seed)
    training = Training(
        initial_network(start_from, recipe).to(device),
        inner=lambda name, p: p.ndim == 2 and "embed" not in name and "token" not in name,
        folder=folder,
        name="sam_small",
        resume=resume,
    )
    sam = training.network.to(memory_format=torch.channels_last)
    drawings = Drawings(seed, objects, steps * batch, without=recipe.without)
    batches = load_batches(drawings, training.start, steps, batch, workers)
    mixed = mixed_precision(device, bfloat16)
    for step, drawn in training.steps(batches, steps, minutes, fall, learning_rate, save_every):
        rng = np.random.default_rng([seed, step, 1])
        total, noted = step_loss(sam, drawn, rng, device, mixed, recipe)
        total.backward()
        training.history.append(noted)
    return training


def score_drawings(network: Sam, count: int, device: str = "cpu", clicks: int = 3) -> pd.DataFrame:
    """Score a network on drawings that no training sees, the first object of each.

    Columns: drawing, kind (`kind_of`), prompt (clicks or box), click, iou, predicted_iou, and of
    the mask's edges how many lie on the borders of cells, on_borders, and how many there are, edges
    (both at the resolution of the logits).
    """
    model, rows = load_model("sam_small", device=device), []
    model.network = copy.deepcopy(network).eval()
    for number in range(count):
        image, masks = drawing(UNSEEN, number)
        case = Case("drawings", str(number), str(number), None, image, {"object": masks[0]})
        embedding, kind = model.encode(image), kind_of(image[..., 0], masks[0])
        for prompt, protocol in {"clicks": PAPER, "box": TIGHT_BOX}.items():
            limit = clicks if prompt == "clicks" else 1
            found = simulate_clicks(case, {"object": "object"}, model, protocol, limit, embedding)
            for n, target in found:
                about = {"drawing": number, "kind": kind, "prompt": prompt, "click": n}
                scores = {key: target.scores[key] for key in ("iou", "predicted_iou")}
                on_borders, edges = cell_border_edges(target.logits > 0)
                rows.append(about | scores | {"on_borders": on_borders, "edges": edges})
    return pd.DataFrame(rows)


def cell_border_edges(mask: np.ndarray, cell: int = 4) -> tuple[int, int]:
    """Count a mask's edges, between two pixels, that lie on borders of cells, and all of them.

    mask: bool, at the resolution of the network's logits, where SAM's cell is 4 pixels wide; a
    quarter of the edges would lie there by chance.
    """
    places = [np.nonzero(np.diff(mask.astype(np.int8), axis=axis))[axis] + 1 for axis in (0, 1)]
    every = np.concatenate(places)
    return int((every % cell == 0).sum()), len(every)
