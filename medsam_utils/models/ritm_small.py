"""The embedded small RITM: the small SAM's stages, with clicks and previous mask as input."""

import torch
from torch import nn
from torch.nn import functional

from .ritm_network import click_disks, normalised
from .sam_small import ConvBlock, ConvEncoder

DIVISOR = (
    16  # the network pads its input at the bottom and right to a multiple of its coarsest stride
)


class RitmSmall(nn.Module):
    """Small interactive segmentation with iterative training and mask guidance (Sofiiuk 2021).

    Clicks and previous mask join the image after the first convolution, as in the released
    networks. Four stages at strides 2, 4, 8 and 16, attention at the coarsest; then the features go
    back up to stride 2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages = ConvEncoder().stages
        self.guidance = nn.Sequential(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.GELU())
        self.guide = nn.ModuleList(
            [nn.Conv2d(16, 16, 1), nn.Conv2d(16, 48, 3, stride=2, padding=1)]
        )
        self.sideways = nn.ModuleList(
            [nn.Conv2d(n, m, 1) for n, m in ((16, 24), (48, 64), (96, 96))]
        )
        self.upwards = nn.ModuleList(
            [nn.Conv2d(n, m, 1) for n, m in ((64, 24), (96, 64), (192, 96))]
        )
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(nn.GELU(), nn.Conv2d(24, 24, 3, padding=1)),
                ConvBlock(64, 3, ratio=2),
                ConvBlock(96, 5, ratio=2),
            ]
        )
        self.head = nn.Sequential(nn.GELU(), nn.Conv2d(24, 1, 3, padding=1))

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Map an image, its mask before and all clicks to the logits of its mask now, B x 1 x H x
        W.

        image: B x 4 x H x W, RGB in 0..1 and the previous mask's probability, zero before the first
        click. points: B x 2N x 3, as the released networks take them, see `ritm_network.Ritm`.
        """
        height, width = image.shape[2:]
        maps = torch.cat([click_disks(points, (height, width)).to(image.dtype), image[:, 3:]], 1)
        padding = (0, -width % DIVISOR, 0, -height % DIVISOR)
        guidance = self.guidance(functional.pad(maps, padding))
        x, features = functional.pad(normalised(image[:, :3]), padding), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i < len(self.guide):
                x = x + self.guide[i](guidance)
            features.append(x)
        for i in (2, 1, 0):
            x = functional.interpolate(self.upwards[i](x), scale_factor=2, mode="bilinear")
            x = self.blocks[i](x + self.sideways[i](features[i]))
        logits = functional.interpolate(self.head(x), scale_factor=2, mode="bilinear")
        return logits[:, :, :height, :width]


def build_ritm_small() -> RitmSmall:
    """Build the small RITM with random weights: 2.2 million parameters, input of any size."""
    return RitmSmall().eval()
