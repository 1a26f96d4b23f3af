"""The embedded small SAM: segment-anything's parts round a small convolutional encoder."""

from typing import Any

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.image_encoder import Block
from torch import nn

IMAGE_SIZE = 256  # longest side of the input, in pixels
STRIDE = 8  # input pixels per embedding cell
CHANNELS = 64  # of the embedding, the prompts and the mask decoder
DETAIL = (16, 4)  # channels of the detail at strides 4 and 2


class ConvBlock(nn.Module):
    """Residual block: depthwise convolution and a perceptron per position (ConvNeXt)."""

    def __init__(self, channels: int, kernel: int, ratio: int = 3):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, ratio * channels)
        self.project = nn.Linear(ratio * channels, channels)
        nn.init.normal_(self.project.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map B x C x H x W to the same shape."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.project(nn.functional.gelu(self.expand(y)))
        return x + y.permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of B x C x H x W, as segment-anything's LayerNorm2d, fused."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map B x C x H x W to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class AttentionBlock(Block):
    """segment-anything's transformer block on B x C x H x W instead of B x H x W x C."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map B x C x H x W to the same shape; every position attends to every other."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _downsample(before: int, after: int) -> nn.Sequential:
    """Halve the resolution with overlapping windows."""
    return nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), ChannelNorm(after))


class ConvEncoder(nn.Module):
    """Encode a normalised image as one embedding vector per cell of 8 x 8 pixels, and its detail.

    Four stages at strides 2, 4, 8 and 16; attention only at the coarsest, where every cell sees the
    whole image. All stages are brought to stride 8 and summed. The cells' vectors lose where in a
    cell an edge runs, so the finest two stages also give detail for `DetailMaskDecoder`, the 2 x 2
    and 4 x 4 positions of a cell as channels.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (16, 48, 96, 192)):
        super().__init__()
        self.img_size = IMAGE_SIZE  # read by SamPredictor and Sam.preprocess
        half, quarter, eighth, sixteenth = widths
        self.stages = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(3, half, 3, stride=2, padding=1), nn.GELU()),
                nn.Sequential(_downsample(half, quarter), ConvBlock(quarter, 3, ratio=2)),
                nn.Sequential(
                    _downsample(quarter, eighth), *[ConvBlock(eighth, 3) for _ in range(3)]
                ),
                nn.Sequential(
                    _downsample(eighth, sixteenth),
                    *[ConvBlock(sixteenth, 7) for _ in range(2)],
                    *[AttentionBlock(sixteenth, num_heads=6, mlp_ratio=3) for _ in range(3)],
                ),
            ]
        )
        self.to_embedding = nn.ModuleList(
            [
                nn.Conv2d(half, CHANNELS, 4, stride=4),
                nn.Conv2d(quarter, CHANNELS, 2, stride=2),
                nn.Conv2d(eighth, CHANNELS, 1),
                nn.ConvTranspose2d(sixteenth, CHANNELS, 2, stride=2),
            ]
        )
        self.neck = nn.Sequential(
            ChannelNorm(CHANNELS),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            ChannelNorm(CHANNELS),
        )
        quarter_detail, half_detail = DETAIL
        self.to_quarter_detail = nn.Conv2d(half + quarter, quarter_detail, 1)
        self.to_half_detail = nn.Conv2d(half, half_detail, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map B x 3 x 256 x 256 to B x 192 x 32 x 32: embedding, detail at strides 4 and 2."""
        embedding, outputs = 0, []
        for stage, to_embedding in zip(self.stages, self.to_embedding, strict=True):
            x = stage(x)
            outputs.append(x)
            embedding = embedding + to_embedding(x)
        half, quarter = outputs[:2]
        finest = nn.functional.avg_pool2d(half, 2)
        quarter_detail = self.to_quarter_detail(torch.cat([finest, quarter], 1))
        details = [
            nn.functional.pixel_unshuffle(quarter_detail, 2),
            nn.functional.pixel_unshuffle(self.to_half_detail(half), 4),
        ]
        return torch.cat([self.neck(embedding), *details], 1)


class DetailMaskDecoder(MaskDecoder):
    """segment-anything's mask decoder, with detail of the image and convolutions while upscaling.

    As in SAM 2 (Ravi et al. 2024) a finer stage of the encoder is added at each upscaling. The
    transposed convolutions never mix cells, so each is followed by a convolution that does.
    """

    embedding_channels = CHANNELS + 4 * DETAIL[0] + 16 * DETAIL[1]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.widen_detail = nn.Conv2d(DETAIL[1], CHANNELS // 8, 1)
        self.mix_quarter = nn.Conv2d(CHANNELS // 4, CHANNELS // 4, 3, padding=1)
        self.mix_half = nn.Conv2d(CHANNELS // 8, CHANNELS // 8, 3, padding=1)
        for layer in (self.mix_quarter, self.mix_half):
            nn.init.normal_(layer.weight, std=0.02)

    def details(self, detail: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is added at 2h x 2w and 4h x 4w pixels, from detail B x C x h x w."""
        quarter, half = detail.split([4 * DETAIL[0], 16 * DETAIL[1]], 1)
        half = self.widen_detail(nn.functional.pixel_shuffle(half, 4))
        quarter = nn.functional.pixel_shuffle(quarter, 2)
        # As convolutions want it.
        return tuple(x.contiguous(memory_format=torch.channels_last) for x in (quarter, half))

    def upscale(
        self, source: torch.Tensor, quarter: torch.Tensor, half: torch.Tensor
    ) -> torch.Tensor:
        """Map B x C x h x w to B x C / 8 x 4h x 4w, with what `details` returns."""
        transposed_1, norm, activation_1, transposed_2, activation_2 = self.output_upscaling
        x = activation_1(norm(transposed_1(source) + quarter))
        x = x + self.mix_quarter(x)
        x = activation_2(transposed_2(x) + half)
        return x + self.mix_half(x)

    def predict_masks(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse_prompt_embeddings: torch.Tensor,
        dense_prompt_embeddings: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict logits B x 4 x 4h x 4w and IoU B x 4 of B objects, of one image or of B images.

        image_embeddings: 1 or B x C x h x w, embedding and detail of `ConvEncoder`.
        """
        embedding, detail = image_embeddings.tensor_split([CHANNELS], 1)
        outputs = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        count = len(sparse_prompt_embeddings)
        tokens = torch.cat([outputs.expand(count, -1, -1), sparse_prompt_embeddings], 1)
        source = embedding + dense_prompt_embeddings
        read, written = self.transformer(source, image_pe.expand(count, -1, -1, -1), tokens)
        upscaled = self.upscale(
            written.transpose(1, 2).reshape(source.shape), *self.details(detail)
        )
        hypernetworks = enumerate(self.output_hypernetworks_mlps, 1)
        kernels = torch.stack([network(read[:, i]) for i, network in hypernetworks], 1)
        logits = torch.einsum("bkc,bchw->bkhw", kernels, upscaled)
        return logits, self.iou_prediction_head(read[:, 0])


def _tie(attention: nn.Module) -> None:
    """Start an attention with equal queries and keys, and an output that undoes its values.

    So a click's token reads its own place in the image, and a pixel attends to the click whose
    place and features are like its own, from the first step on. Afterwards all weights are trained
    freely.
    """
    nn.init.orthogonal_(attention.k_proj.weight, gain=1.5)
    nn.init.orthogonal_(attention.v_proj.weight)
    with torch.no_grad():
        attention.q_proj.weight.copy_(attention.k_proj.weight)
        attention.out_proj.weight.copy_(attention.v_proj.weight.T)


def build_sam_small() -> Sam:
    """Build the small SAM with random weights.

    256 x 256 input, 32 x 32 embedding of 64 channels and 128 of detail, 128 x 128 mask logits, 2.3
    million parameters. It runs in `segment_anything.SamPredictor` like any other Sam (Kirillov et
    al. 2023).
    """
    cells = IMAGE_SIZE // STRIDE
    prompt_encoder = PromptEncoder(
        embed_dim=CHANNELS,
        image_embedding_size=(cells, cells),
        input_image_size=(IMAGE_SIZE, IMAGE_SIZE),
        mask_in_chans=16,
    )
    # 32 random frequencies place a click only coarsely: every other one is made four times finer.
    prompt_encoder.pe_layer.positional_encoding_gaussian_matrix[:, ::2] *= 4
    mask_decoder = DetailMaskDecoder(
        transformer_dim=CHANNELS,
        transformer=TwoWayTransformer(
            depth=2, embedding_dim=CHANNELS, num_heads=4, mlp_dim=4 * CHANNELS
        ),
        iou_head_hidden_dim=128,
    )
    for layer in mask_decoder.transformer.layers:
        _tie(layer.cross_attn_token_to_image)
        _tie(layer.cross_attn_image_to_token)
    _tie(mask_decoder.transformer.final_attn_token_to_image)
    # The same layer with the same two parameters, computed in one pass.
    mask_decoder.output_upscaling[1] = ChannelNorm(CHANNELS // 4, eps=1e-6)
    sam = Sam(ConvEncoder(), prompt_encoder, mask_decoder.to(memory_format=torch.channels_last))
    return sam.eval()
