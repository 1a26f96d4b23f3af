"""A small U-Net that learns from few masks: the segmentation model that SAM is to help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .case import Case
from .clicks import Protocol
from .models import Model
from .simulation import turns


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) of one channel in and out, with group normalisation.

    Takes B x 1 x h x w, h and w multiples of 8, and gives logits of the same shape.
    """

    def __init__(self, channels: Sequence[int] = (8, 16, 32, 32)) -> None:
        """`channels`: of each level, from the finest."""
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in pairwise((1, *channels)))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in pairwise(channels))
        self.head = nn.Conv2d(channels[0], 1, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Logits of images."""
        skipped = [self.down[0](values)]
        for block in self.down[1:]:
            skipped.append(block(functional.max_pool2d(skipped[-1], 2)))
        values = skipped.pop()
        for block in reversed(self.up):
            values = functional.interpolate(values, scale_factor=2, mode="bilinear")
            values = block(torch.cat([skipped.pop(), values], 1))
        return self.head(values)


def _block(inside: int, out: int) -> nn.Sequential:
    convolutions = (nn.Conv2d(n, out, 3, padding=1) for n in (inside, out))
    return nn.Sequential(*(part for c in convolutions for part in (c, nn.GroupNorm(8, out), nn.ReLU())))


def train(
    cases: Sequence[Case], masks: Sequence[np.ndarray], side: int, steps: int, seed: int = 0, batch: int = 8
) -> UNet:
    """A U-Net that has learnt the masks of the cases' images, on the CPU, from nothing.

    masks: bool H x W, one per case. side: pixels to which image and mask are resized, a multiple of 8.
    Images are turned, flipped, moved, scaled and made brighter or darker at random. Loss: cross-entropy and
    soft Dice. The same arguments give the same network on one machine.
    """
    images = torch.stack([_small(_grey(case), side) for case in cases])
    targets = torch.stack([_small(np.float32(mask), side) for mask in masks])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet()
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(steps):
            chosen = torch.randint(len(images), (batch,))
            values, target = _changed(images[chosen], targets[chosen])
            logits = network(values)
            share = logits.sigmoid()
            overlap = (2 * (share * target).sum((1, 2, 3)) + 1) / ((share + target).sum((1, 2, 3)) + 1)
            loss = functional.binary_cross_entropy_with_logits(logits, target) + (1 - overlap).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return network.eval()


def predict(network: UNet, case: Case, side: int) -> np.ndarray:
    """The network's mask of a case on the image's own grid: bool H x W."""
    with torch.inference_mode():
        logits = network(_small(_grey(case), side)[None])[0, 0].numpy()
    return cv2.resize(logits, case.image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0


def refined(case: Case, mask: np.ndarray, model: Model, protocol: Protocol) -> np.ndarray:
    """A promptable model's mask, prompted from a given mask as if that were the truth: bool H x W.

    mask: bool H x W; an empty one stays. protocol: what it is prompted with, such as its innermost pixel.
    The case's own masks are not looked at.
    """
    answers = turns(replace(case, masks={"given": mask}), {"given": "given"}, model, protocol, 1)
    return next((target.prediction.mask() for _, target in answers), mask)


def _grey(case: Case) -> np.ndarray:
    """The case's image in grey, float32 H x W, 0..1."""
    return np.float32(cv2.cvtColor(case.image, cv2.COLOR_RGB2GRAY)) / 255


def _small(values: np.ndarray, side: int) -> Tensor:
    """Float32 H x W as a tensor, 1 x side x side."""
    return torch.from_numpy(cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA))[None]


def _changed(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Images and their targets, B x 1 x h x w, under one random change each."""
    count = len(images)
    angle, scale = 0.6 * (torch.rand(count) - 0.5), 0.85 + 0.3 * torch.rand(count)
    flip = 2.0 * torch.randint(0, 2, (count,)) - 1
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    moved = 0.3 * (torch.rand(count, 2) - 0.5)
    matrix = torch.stack([flip * cosine, -sine, moved[:, 0], flip * sine, cosine, moved[:, 1]], 1)
    grid = functional.affine_grid(matrix.view(-1, 2, 3), images.shape, align_corners=False)
    sampled = (
        functional.grid_sample(t, grid, padding_mode="reflection", align_corners=False)
        for t in (images, targets)
    )
    images, targets = sampled
    gain, offset = torch.rand(2, count, 1, 1, 1)
    return images * (0.8 + 0.4 * gain) + 0.2 * (offset - 0.5), targets
