"""SimpleClick's network: a plain vision transformer, a pyramid of its last features, and a head.

Source: Liu, Xu, Bertasius and Niethammer, SimpleClick, ICCV 2023 (arXiv 2210.11006). Modules are
named so that the parameters' names and shapes are those of the released checkpoints; what a
checkpoint holds and prediction never computes (the classifier, the class token) is named too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from .ritm_network import click_disks, normalised, resized

SIDE = 448  # pixels of the network's input, whatever the image's shape
WINDOW = 224  # pixels: most blocks look at a quarter of it
LEVELS = 4  # of the pyramid, at strides 4 to 32


@dataclass(frozen=True)
class Size:
    """Sizes: patch in pixels, features, blocks, heads of attention, channels of the pyramid."""

    patch: int
    features: int
    blocks: int
    heads: int
    pyramid: tuple[int, int, int, int]
    side: int = SIDE
    window: int = WINDOW
    channels: int = 256
    classes: int = 1000


SIZES = {
    "base": Size(patch=16, features=768, blocks=12, heads=12, pyramid=(128, 256, 512, 1024)),
    "large": Size(patch=16, features=1024, blocks=24, heads=16, pyramid=(192, 384, 768, 1536)),
    "huge": Size(patch=14, features=1280, blocks=32, heads=16, pyramid=(240, 480, 960, 1920)),
}

_LOSS = "isegm.model.modeling.transformer_helper.cross_entropy_loss"


class Unread:
    """Stands for an object of the training code in a released file; nothing is done with it."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Drop what the object held."""


TRAINING_CODE: list[Callable | tuple[Callable, str]] = [
    (Unread, f"{_LOSS}.{name}")
    for name in ("CrossEntropyLoss", "cross_entropy", "binary_cross_entropy")
]
"""What released files hold beside tensors: the training's loss, with the functions it names."""


class SimpleClickNetwork(nn.Module):
    """Logits of one object from an image, the mask before, and clicks."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.side = size.side
        self.patch_embed_coords = Patches(size)
        self.backbone = Transformer(size)
        self.neck = Pyramid(size.features, size.pyramid)
        self.head = Head(size.pyramid, size.channels)

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Map an image and clicks, as `RitmNetwork.forward` takes them, to logits B x 1 x H x W.

        H and W are `side`: the zoom resizes to it, whatever the shape of the part.
        """
        before, shape = image[:, 3:], image.shape[2:]
        maps = torch.cat([before, click_disks(points, shape)], dim=1)
        features = self.backbone(normalised(image[:, :3]), self.patch_embed_coords(maps))
        return resized(self.head(self.neck(features)), shape)


class Patches(nn.Module):
    """Squares of three channels as vectors."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, size.features, size.patch, stride=size.patch)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map B x 3 x H x W to B x h x w x C."""
        return self.proj(maps).movedim(1, -1)


class Transformer(nn.Module):
    """Vision transformer; every sixth block, or the last of each quarter, sees the whole image."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.grid, self.window = size.side // size.patch, size.window // size.patch
        self.every = 6 if size.blocks == 12 else size.blocks // 4
        self.patch_embed = Patches(size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.features))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid**2 + 1, size.features))
        self.blocks = nn.ModuleList([Block(size) for _ in range(size.blocks)])
        self.fc_norm = nn.LayerNorm(size.features, eps=1e-6)
        self.head = nn.Linear(size.features, size.classes)

    def forward(self, image: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Map B x 3 x H x W, and vectors that are added to its patches', to B x C x h x w."""
        places = self.pos_embed[:, 1:].unflatten(1, (self.grid, self.grid))
        x = self.patch_embed(image) + maps + places
        for i, block in enumerate(self.blocks, start=1):
            x = block(x, self.window if i % self.every else self.grid)
        return x.movedim(-1, 1)


class Block(nn.Module):
    """Attention within windows, and a network for each vector, either added to its input."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.features, eps=1e-6)
        self.attn = Attention(size.features, size.heads)
        self.norm2 = nn.LayerNorm(size.features, eps=1e-6)
        self.mlp = nn.ModuleDict(
            {
                "fc1": nn.Linear(size.features, 4 * size.features),
                "fc2": nn.Linear(4 * size.features, size.features),
            }
        )

    def forward(self, x: torch.Tensor, window: int) -> torch.Tensor:
        """Map B x h x w x C to the same shape. window: its side in vectors."""
        x = x + self.attn(self.norm1(x), window)
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class Attention(nn.Module):
    """Attention of several heads among the vectors of each window."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(features, 3 * features)
        self.proj = nn.Linear(features, features)

    def forward(self, x: torch.Tensor, window: int) -> torch.Tensor:
        """Map B x h x w x C to the same shape. window: its side in vectors, a divisor of h and
        w."""
        rows, cols = (length // window for length in x.shape[1:3])
        windows = x.unflatten(2, (cols, window)).unflatten(1, (rows, window)).movedim(2, 3)
        tokens = windows.flatten(0, 2).flatten(1, 2)  # of each window
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).movedim((2, 3), (0, 2))
        seen = F.scaled_dot_product_attention(*parts)
        seen = self.proj(seen.transpose(1, 2).flatten(2))
        return seen.view(windows.shape).movedim(3, 2).flatten(3, 4).flatten(1, 2)


class Pyramid(nn.Module):
    """Features at strides 4, 8, 16 and 32, each from those of the last block alone."""

    def __init__(self, features: int, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        fine, finer = max(channels[1], features // 2), max(2 * channels[0], features // 2)
        coarse = max(channels[3], 2 * features)
        self.down_4 = nn.Sequential(
            nn.ConvTranspose2d(features, finer, 2, stride=2),
            nn.GroupNorm(1, finer),
            nn.GELU(),
            nn.ConvTranspose2d(finer, finer // 2, 2, stride=2),
            nn.GroupNorm(1, finer // 2),
            *_pointwise(finer // 2, channels[0]),
        )
        self.down_8 = nn.Sequential(
            nn.ConvTranspose2d(features, fine, 2, stride=2),
            nn.GroupNorm(1, fine),
            *_pointwise(fine, channels[1]),
        )
        self.down_16 = nn.Sequential(*_pointwise(features, channels[2]))
        self.down_32 = nn.Sequential(
            nn.Conv2d(features, coarse, 2, stride=2),
            nn.GroupNorm(1, coarse),
            *_pointwise(coarse, channels[3]),
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map B x C x h x w to one tensor per level, the finest first."""
        return [self.down_4(x), self.down_8(x), self.down_16(x), self.down_32(x)]


class Head(nn.Module):
    """All levels at the finest one's size, mixed pixel by pixel to logits."""

    def __init__(self, pyramid: tuple[int, int, int, int], channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([_conv(before, channels) for before in pyramid])
        self.fusion_conv = _conv(LEVELS * channels, channels)
        self.up_conv1 = _doubled(channels)  # released, and used by larger outputs alone
        self.up_conv2 = _doubled(channels // 2)
        self.conv_seg = nn.Conv2d(channels, 1, 1)

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Map one tensor per level to logits B x 1 x h x w, as large as the finest."""
        shape = levels[0].shape[2:]
        same = [
            F.interpolate(F.relu(conv["conv"](level)), size=shape, mode="bilinear")
            for conv, level in zip(self.convs, levels, strict=True)
        ]
        return self.conv_seg(F.relu(self.fusion_conv["conv"](torch.cat(same, dim=1))))


def _conv(before: int, after: int) -> nn.ModuleDict:
    """1 x 1 convolution under the name that it has in a checkpoint."""
    return nn.ModuleDict({"conv": nn.Conv2d(before, after, 1)})


def _pointwise(before: int, after: int) -> list[nn.Module]:
    """1 x 1 convolution, normalised over the image."""
    return [nn.Conv2d(before, after, 1), nn.GroupNorm(1, after), nn.GELU()]


def _doubled(channels: int) -> nn.Sequential:
    """Twice the size at half the channels."""
    half = channels // 2
    return nn.Sequential(
        nn.ConvTranspose2d(channels, half, 2, stride=2),
        nn.GroupNorm(1, half),
        *_pointwise(half, half),
    )


def build_simpleclick(size: str) -> SimpleClickNetwork:
    """Build SimpleClick of one of `SIZES` with random weights, in evaluation mode."""
    return SimpleClickNetwork(SIZES[size]).eval()
