"""MobileSAM's image encoder, a TinyViT, written for speed, with its batch norms already folded in.

After Wu et al., TinyViT, ECCV 2022, arXiv 2207.10666, and Zhang et al., Faster Segment Anything,
2023, arXiv 2306.14289: of 1024 x 1024 pixels it makes 64 x 64 cells of 256 numbers, as SAM's own
encoders do.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .sam_small import ChannelNorm

IMAGE_SIZE, CELLS, CHANNELS = 1024, 64, 256
HEAD = 32  # numbers of a query


def _convolution(before: int, after: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, 1, groups=groups)


def _convolved(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Map B x H x W x C to B x H' x W' x C'."""
    return convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _gelu(x: Tensor) -> Tensor:
    """Overwrite a result that nothing else reads: as much memory need not be fetched again."""
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)


class Pointwise(nn.Module):
    """A convolution of 1 x 1, computed as a linear layer: faster, and the same."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, 1, 1) / before**0.5)
        self.bias = nn.Parameter(torch.zeros(after))

    def forward(self, x: Tensor) -> Tensor:
        """Map B x H x W x C to B x H x W x C'."""
        return F.linear(x, self.weight.flatten(1), self.bias)


class Inverted(nn.Module):
    """Convolutions that widen, look round and narrow.

    A block of the first stage; or between two stages, where nothing is added and the stride may be
    2.
    """

    def __init__(self, before: int, inside: int, after: int, stride: int | None = None) -> None:
        super().__init__()
        self.is_block = stride is None
        self.conv1 = Pointwise(before, inside)
        self.conv2 = _convolution(inside, inside, stride or 1, groups=inside)
        self.conv3 = Pointwise(inside, after)

    def forward(self, x: Tensor) -> Tensor:
        """Map B x H x W x C to B x H' x W' x C'."""
        y = self.conv3(_gelu(_convolved(_gelu(self.conv1(x)), self.conv2)))
        return _gelu(y + x) if self.is_block else y


class Attention(nn.Module):
    """Attention between the places of a window.

    To its logits a number for their distance in rows and columns is added, another one in each
    head.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window, self.heads = window, channels // HEAD
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(self.heads, window * window))

    def forward(self, x: Tensor) -> Tensor:
        """Map B x H x W x C to the same shape; outside the image, places are zero and are read."""
        size, height, width, channels = x.shape
        side = self.window
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, cols = x.shape[1] // side, x.shape[2] // side
        x = x.view(size, rows, side, cols, side, channels).transpose(2, 3)
        parts = self.qkv(self.norm(x.reshape(-1, side * side, channels)))
        queries, keys, values = parts.view(len(parts), side * side, self.heads, 3, HEAD).permute(
            3, 0, 2, 1, 4
        )
        place = torch.arange(side * side, device=x.device)
        row, col = ((at[:, None] - at).abs() for at in (place // side, place % side))
        bias = self.attention_biases[None, :, row * side + col]
        x = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        x = x.transpose(1, 2).reshape(size, rows, cols, side, side, channels).transpose(2, 3)
        x = x.reshape(size, rows * side, cols * side, channels)[:, :height, :width]
        return self.proj(x)


class Mlp(nn.Module):
    """Two linear layers at every place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map B x H x W x C to the same shape."""
        return self.fc2(_gelu(self.fc1(self.norm(x))))


class Block(nn.Module):
    """A block of the later stages."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.attn = Attention(channels, window)
        self.local_conv = _convolution(channels, channels, groups=channels)
        self.mlp = Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map B x H x W x C to the same shape."""
        x = _convolved(x + self.attn(x), self.local_conv)
        return x + self.mlp(x)


class Stage(nn.Module):
    """Blocks, then what leads to the next stage."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map B x H x W x C to B x H' x W' x C'."""
        for block in self.blocks:
            x = block(x)
        return self.downsample(x) if self.downsample else x


class TinyViT(nn.Module):
    """The image encoder; its tensors have the names of the released one, see `folded`."""

    def __init__(self) -> None:
        super().__init__()
        self.img_size = IMAGE_SIZE  # read by SamPredictor and Sam.preprocess
        self.patch_embed = nn.Module()
        self.patch_embed.seq = nn.Sequential(
            _convolution(3, 32, 2), nn.GELU(), _convolution(32, 64, 2)
        )
        self.layers = nn.ModuleList(
            [
                Stage([Inverted(64, 256, 64) for _ in range(2)], Inverted(64, 128, 128, 2)),
                Stage([Block(128, 7) for _ in range(2)], Inverted(128, 160, 160, 2)),
                Stage([Block(160, 14) for _ in range(6)], Inverted(160, 320, 320, 1)),
                Stage([Block(320, 7) for _ in range(2)], None),
            ]
        )
        self.neck = nn.Sequential(
            nn.Conv2d(320, CHANNELS, 1, bias=False),
            ChannelNorm(CHANNELS, eps=1e-6),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
            ChannelNorm(CHANNELS, eps=1e-6),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map B x 3 x 1024 x 1024 to B x 256 x 64 x 64."""
        first, _, second = self.patch_embed.seq
        x = x.contiguous(memory_format=torch.channels_last)
        x = second(_gelu(first(x))).permute(0, 2, 3, 1)
        for layer in self.layers:
            x = layer(x)
        return self.neck(x.permute(0, 3, 1, 2))


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of `TinyViT` from the released ones, whose convolutions precede batch norms.

    The head for the classes of ImageNet and the indices of the attention's biases are left out.
    """
    state = dict(state)
    for name in [name.removesuffix(".c.weight") for name in state if name.endswith(".c.weight")]:
        weight = state.pop(f"{name}.c.weight")
        norm = {part: state.pop(f"{name}.bn.{part}") for part in _BATCH_NORM}
        state.pop(f"{name}.bn.num_batches_tracked", None)
        factor = norm["weight"] * (norm["running_var"] + 1e-5).rsqrt()
        state[f"{name}.weight"] = weight * factor[:, None, None, None]
        state[f"{name}.bias"] = norm["bias"] - norm["running_mean"] * factor
    left_out = ("image_encoder.head.", "image_encoder.norm_head.")
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(left_out) and not name.endswith(".attention_bias_idxs")
    }


_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def build_sam(image_encoder: nn.Module) -> Sam:
    """SAM's own prompt encoder and mask decoder round an image encoder of 1024 x 1024 pixels."""
    return Sam(
        image_encoder,
        PromptEncoder(CHANNELS, (CELLS, CELLS), (IMAGE_SIZE, IMAGE_SIZE), 16),
        MaskDecoder(
            transformer_dim=CHANNELS,
            transformer=TwoWayTransformer(2, CHANNELS, 8, 2048),
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
    ).eval()


def build_mobile_sam() -> Sam:
    """MobileSAM with random weights, 9.8 million parameters."""
    return build_sam(TinyViT())
