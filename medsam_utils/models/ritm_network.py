"""RITM's network: HRNet with an OCR head, told of clicks and the previous mask by an added map.

Sources: Sofiiuk, Petrov and Konushin 2021 (RITM, arXiv 2102.06583); Wang et al. 2020 (HRNet,
arXiv 1908.07919); Yuan, Chen and Wang 2020 (OCR, arXiv 1909.11065). Modules are named so that the
parameters' names and shapes are those of the released checkpoints.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

CLICK_RADIUS = 5  # pixels of the network's input


@dataclass(frozen=True)
class Size:
    """Sizes: width of the finest branch, of the OCR head, blocks per branch, modules per stage."""

    width: int
    ocr: int
    blocks: int
    modules: tuple[int, int, int]


SIZES = {
    "h18s": Size(width=18, ocr=48, blocks=2, modules=(1, 3, 2)),
    "h18": Size(width=18, ocr=64, blocks=4, modules=(1, 4, 3)),
    "h32": Size(width=32, ocr=128, blocks=4, modules=(1, 4, 3)),
}


class RitmNetwork(nn.Module):
    """Logits of one object from an image, the mask before, and clicks."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.maps_transform = nn.Sequential(
            nn.Conv2d(3, 16, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 64, 3, stride=2, padding=1),
            Scale(),
        )
        self.feature_extractor = HrnetOcr(size)

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Map an image and clicks to logits B x 1 x H x W; any H and W from 1.

        image: B x 4 x H x W, RGB in 0..1 and the probability of the mask before (zero at the first
        click). points: B x 2N x 3, (row, col, index) in pixels of `image`, N positive ones, then N
        negative ones, either filled up with -1.
        """
        before, shape = image[:, 3:], image.shape[2:]
        maps = torch.cat([before, click_disks(points, shape)], dim=1)
        logits = self.feature_extractor(normalised(image[:, :3]), self.maps_transform(maps))
        return resized(logits, shape)


def normalised(image: torch.Tensor) -> torch.Tensor:
    """RGB in 0..1, B x 3 x H x W, standardised with ImageNet's mean and standard deviation."""
    mean, deviation = image.new_tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[
        ..., None, None
    ]
    return (image - mean) / deviation


def click_disks(points: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Draw disks round the positive and the negative points: B x 2 x H x W, 1 inside.

    points: as `Ritm.forward` takes them; one above and left of the image draws nothing.
    """
    points = points.float().unflatten(1, (2, -1))
    there = points[..., :2].amax(-1, keepdim=True) >= 0
    rows, cols = (
        (torch.arange(length, device=points.device) - points[..., axis, None]).square()
        for axis, length in enumerate(shape)
    )
    rows = rows.where(there, torch.inf)
    disks = points.new_zeros((len(points), 2, *shape), dtype=torch.bool)
    for i in range(points.shape[2]):  # one point at a time: all at once takes N times the memory
        disks |= rows[:, :, i, :, None] + cols[:, :, i, None, :] <= CLICK_RADIUS**2
    return disks.float()


def resized(maps: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """B x C x h x w interpolated bilinearly, corner pixel to corner pixel, to B x C x H x W."""
    if maps.shape[2:] == tuple(shape):
        return maps
    return F.interpolate(maps, size=tuple(shape), mode="bilinear", align_corners=True)


class Scale(nn.Module):
    """Multiplication by the size of one learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), 0.05))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map a tensor to the same shape."""
        return x * self.scale.abs()


class HrnetOcr(nn.Module):
    """HRNet, whose branches of strides 4 to 32 exchange features, and an OCR head."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_bn(3, 64, stride=2)
        self.conv2, self.bn2 = _conv_bn(64, 64, stride=2)
        self.layer1 = nn.Sequential(
            *[
                Residual(64 if i == 0 else 256, channels=(64, 64, 256), kernels=(1, 3, 1))
                for i in range(size.blocks)
            ]
        )
        widths = [256]
        for i, modules in enumerate(size.modules):
            finer, widths = widths, [size.width * 2**branch for branch in range(i + 2)]
            self.add_module(f"transition{i + 1}", _transition(finer, widths))
            stage = nn.Sequential(*[Exchange(widths, size.blocks) for _ in range(modules)])
            self.add_module(f"stage{i + 2}", stage)

        features, middle = sum(widths), 2 * size.ocr
        self.conv3x3_ocr = nn.Sequential(
            nn.Conv2d(features, middle, 3, padding=1), nn.BatchNorm2d(middle), nn.ReLU(inplace=True)
        )
        self.ocr_distri_head = ObjectContext(middle, size.ocr)
        self.cls_head = nn.Conv2d(middle, 1, 1)
        self.aux_head = nn.Sequential(
            nn.Conv2d(features, features, 1),
            nn.BatchNorm2d(features),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, 1, 1),
        )

    def forward(self, image: torch.Tensor, clicks: torch.Tensor) -> torch.Tensor:
        """Map B x 3 x H x W, and a click map at stride 2 that is added to the stem, to logits at
        stride 4."""
        x = self.bn1(self.conv1(image)).relu_() + clicks
        branches = [self.layer1(self.bn2(self.conv2(x)).relu_())]
        for i in (1, 2, 3):
            transition = getattr(self, f"transition{i}")
            branches += branches[-1:] * (len(transition) - len(branches))
            branches = [step(x) for step, x in zip(transition, branches, strict=True)]
            branches = getattr(self, f"stage{i + 1}")(branches)
        features = torch.cat([resized(branch, branches[0].shape[2:]) for branch in branches], dim=1)
        del branches, x  # of a large image each takes hundreds of megabytes
        rough = self.aux_head(features)
        return self.cls_head(self.ocr_distri_head(self.conv3x3_ocr(features), rough))


class Residual(nn.Module):
    """Residual block: convolutions with batch normalisation, and a shortcut round them."""

    def __init__(self, before: int, channels: Sequence[int], kernels: Sequence[int]) -> None:
        super().__init__()
        for i, (inputs, outputs, kernel) in enumerate(
            zip([before, *channels[:-1]], channels, kernels, strict=True), start=1
        ):
            conv, bn = _conv_bn(inputs, outputs, kernel)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", bn)
        self.depth = len(channels)
        same = before == channels[-1]
        self.downsample = (
            nn.Identity() if same else nn.Sequential(*_conv_bn(before, channels[-1], 1))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map B x C x H x W to B x C' x H x W."""
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.depth:
                y = y.relu_()
        return (y + self.downsample(x)).relu_()


class Exchange(nn.Module):
    """One module of a stage: every branch by itself, then every branch from the sum of all."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [nn.Sequential(*[Residual(c, (c, c), (3, 3)) for _ in range(blocks)]) for c in widths]
        )
        self.fuse_layers = nn.ModuleList(
            [
                nn.ModuleList([_fuse(widths, j, i) for j in range(len(widths))])
                for i in range(len(widths))
            ]
        )

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        """Map one B x C x H x W per branch, each half as large as the one before, to the same
        shapes."""
        x = [branch(y) for branch, y in zip(self.branches, x, strict=True)]
        fused = []
        for own, fuse in zip(x, self.fuse_layers, strict=True):
            # A finer branch is convolved down to this one's size already; then resizing changes
            # nothing.
            parts = (resized(f(y), own.shape[2:]) for f, y in zip(fuse, x, strict=True))
            fused.append(sum(parts).relu_())
        return fused


class ObjectContext(nn.Module):
    """OCR: the object's mean feature, weighted by a rough mask, is shown to every pixel.

    With one object, the attention of a pixel over objects is 1 whatever its queries and keys are;
    so `f_pixel` and `f_object`, which make them, are part of a checkpoint but never computed.
    """

    def __init__(self, channels: int, keys: int) -> None:
        super().__init__()
        self.object_context_block = nn.ModuleDict(
            {
                "f_pixel": _pointwise(channels, keys, keys),
                "f_object": _pointwise(channels, keys, keys),
                "f_down": _pointwise(channels, keys),
                "f_up": _pointwise(keys, channels),
            }
        )
        self.conv_bn_dropout = _pointwise(2 * channels, channels)

    def forward(self, features: torch.Tensor, rough: torch.Tensor) -> torch.Tensor:
        """Map features B x C x H x W, and the rough mask's logits B x 1 x H x W, to B x C x H x
        W."""
        weights = rough.flatten(2).softmax(-1)
        mean = (weights @ features.flatten(2).mT).mT[..., None]
        block = self.object_context_block
        context = block["f_up"](block["f_down"](mean)).expand_as(features)
        return self.conv_bn_dropout(torch.cat([context, features], dim=1))


def _conv_bn(
    before: int, after: int, kernel: int = 3, stride: int = 1
) -> tuple[nn.Module, nn.Module]:
    """Convolution without bias that keeps or halves the size, and its batch normalisation."""
    conv = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(after)


def _pointwise(*channels: int) -> nn.Sequential:
    """1 x 1 convolutions, each with batch normalisation and a rectifier."""
    layers = []
    for before, after in itertools.pairwise(channels):
        conv, bn = _conv_bn(before, after, kernel=1)
        layers += [conv, nn.Sequential(bn, nn.ReLU(inplace=True))]
    return nn.Sequential(*layers)


def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    """Return the steps to the next stage's branches.

    Another width, nothing, or a new branch at half the size.
    """
    steps: list[nn.Module] = []
    for i, width in enumerate(after):
        if i >= len(before):
            halve = nn.Sequential(*_conv_bn(before[-1], width, stride=2), nn.ReLU(inplace=True))
            steps.append(nn.Sequential(halve))
        elif before[i] != width:
            steps.append(nn.Sequential(*_conv_bn(before[i], width), nn.ReLU(inplace=True)))
        else:
            steps.append(nn.Identity())
    return nn.ModuleList(steps)


def _fuse(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Return a branch's contribution to another: narrowed if coarser, halved if finer."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(*_conv_bn(widths[source], widths[target], kernel=1))
    keep = widths[source]
    halve = [
        nn.Sequential(*_conv_bn(keep, keep, stride=2), nn.ReLU(inplace=True))
        for _ in range(target - source - 1)
    ]
    return nn.Sequential(*halve, nn.Sequential(*_conv_bn(keep, widths[target], stride=2)))


def build_ritm(size: str) -> RitmNetwork:
    """Build RITM of one of `SIZES` with random weights, in evaluation mode."""
    return RitmNetwork(SIZES[size]).eval()
