"""Help for another model: a U-Net that learns from few masks, and its labels refined by SAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..case import Case
from ..clicks import Protocol
from ..models import Model
from ..simulation import simulate_clicks as simulate_clicks

BATCH = 8  # images of a step
LEARNING_RATE = 3e-3  # peak of AdamW's


class UNet(nn.Module):
    """U-Net of one channel in and out, with group normalisation (Ronneberger et al. 2015).

    side: pixels to which an image is resized for it, a multiple of 8. channels: of each level,
    from the finest. Takes B x 1 x side x side and gives logits of the same shape.
    """

    def __init__(self, side: int, channels: Sequence[int] = (8, 16, 32, 32)) -> None:
        super().__init__()
        self.side = side
        self.down = nn.ModuleList(_block(a, b) for a, b in pairwise((1, *channels)))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in pairwise(channels))
        self.head = nn.Conv2d(channels[0], 1, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Compute the logits of B images, float32 in 0..1."""
        skipped = [self.down[0](values)]
        for block in self.down[1:]:
            skipped.append(block(functional.max_pool2d(skipped[-1], 2)))
        values = skipped.pop()
        for block in reversed(self.up):
            values = functional.interpolate(values, scale_factor=2, mode="bilinear")
            values = block(torch.cat([skipped.pop(), values], 1))
        return self.head(values)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """Return two convolutions, each with its normalisation."""
    layers: list[nn.Module] = []
    for count in (inputs, outputs):
        layers += [nn.Conv2d(count, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def resize(values: np.ndarray, side: int) -> Tensor:
    """Return float32 H x W as a tensor, 1 x side x side."""
    return torch.from_numpy(cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA))[None]


def grey_image(case: Case, side: int) -> Tensor:
    """Return the case's image in grey, 0..1, as a tensor, 1 x side x side."""
    return resize(np.float32(cv2.cvtColor(case.image, cv2.COLOR_RGB2GRAY)) / 255, side)


def augment(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return images and targets, B x 1 x h x w, at random turned, flipped, moved and scaled; the
    images are made lighter or darker too."""
    count = len(images)
    angle, scale = 0.6 * (torch.rand(count) - 0.5), 0.85 + 0.3 * torch.rand(count)
    flip = 2.0 * torch.randint(0, 2, (count,)) - 1
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    row, col = 0.3 * (torch.rand(count, 2).T - 0.5)
    matrix = torch.stack([flip * cosine, -sine, row, flip * sine, cosine, col], 1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    gain, offset = torch.rand(2, count, 1, 1, 1)
    moved, moved_targets = (
        functional.grid_sample(values, grid, padding_mode="reflection", align_corners=False)
        for values in (images, targets)
    )
    return moved * (0.8 + 0.4 * gain) + 0.2 * (offset - 0.5), moved_targets


def segmentation_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute cross-entropy plus the mean of one minus Dice, of B x 1 x h x w."""
    share = logits.sigmoid()
    overlap, sizes = (share * targets).sum((1, 2, 3)), (share + targets).sum((1, 2, 3))
    dice = (2 * overlap + 1) / (sizes + 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, targets)
    return entropy + (1 - dice).mean()


def train(
    cases: Sequence[Case], masks: Sequence[np.ndarray], side: int, steps: int, seed: int = 0
) -> UNet:
    """Return a U-Net trained from random weights on a mask, bool H x W, of each case's image.

    The same arguments give the same network; torch's own random state stays as it is.
    """
    images = torch.stack([grey_image(case, side) for case in cases])
    targets = torch.stack([resize(np.float32(mask), side) for mask in masks])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet(side)
        optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        for _ in range(steps):
            chosen = torch.randint(len(images), (BATCH,))
            batch, batch_targets = augment(images[chosen], targets[chosen])
            loss = segmentation_loss(network(batch), batch_targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return network.eval()


def predict(network: UNet, case: Case) -> np.ndarray:
    """Return the network's mask of a case on the image's own grid, bool H x W."""
    with torch.inference_mode():
        logits = network(grey_image(case, network.side)[None])[0, 0].numpy()
    return cv2.resize(logits, case.image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0


def refine(case: Case, label: np.ndarray, model: Model, protocol: Protocol) -> np.ndarray:
    """Return the model's mask of what a label shows, bool H x W; an empty label stays.

    The first prompt of the protocol is placed as if the label were the truth.
    """
    labelled = replace(case, masks={"label": label})
    for _, target in simulate_clicks(labelled, {"label": "label"}, model, protocol, clicks=1):
        if target.prediction is not None:
            return target.prediction.mask()
    return label
