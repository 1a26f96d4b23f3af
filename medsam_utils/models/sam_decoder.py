"""SAM's mask decoder for many objects of one image: the same weights and sums in another order.

`segment_anything.modeling.MaskDecoder` repeats the image's tokens for each object and projects them anew at
every click. Here what the image alone decides is computed once per image, tokens stay in one memory layout
from end to end, and only what the three masks need is computed in the last attention and after.
Results differ from the reference by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

CANDIDATES = slice(1, None)  # SAM's first mask token is the one for a prompt without ambiguity: not used


@dataclass(frozen=True)
class ImageTokens:
    """What the decoder needs of an image: tokens, 1 x N x C, and the first layer's projections of them."""

    tokens: Tensor
    projections: tuple[Tensor, ...]


class Decoder:
    """Decodes prompts with the weights of one SAM network, on its device."""

    def __init__(self, network: Sam) -> None:
        self.network = network
        decoder = network.mask_decoder
        self.layers = decoder.transformer.layers
        self.final = decoder.transformer.final_attn_token_to_image
        position = network.prompt_encoder.get_dense_pe().flatten(2)[0]
        self.projections = [
            _Projection(
                position, keys=layer.cross_attn_token_to_image, queries=layer.cross_attn_image_to_token
            )
            for layer in self.layers
        ] + [_Projection(position, keys=self.final)]
        transposed_1, self.norm, self.activation_1, transposed_2, self.activation_2 = decoder.output_upscaling
        self.upscale_1, self.upscale_2 = _per_token(transposed_1), _per_token(transposed_2)

    def image_tokens(self, features: Tensor) -> ImageTokens:
        """From the encoder's features, 1 x C x h x w; no mask is given as a prompt."""
        no_mask = self.network.prompt_encoder.no_mask_embed.weight
        tokens = (features.flatten(2).transpose(1, 2) + no_mask).contiguous()
        return ImageTokens(tokens, self.projections[0](tokens))

    def __call__(
        self,
        image: ImageTokens,
        points: Tensor,
        labels: Tensor,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Low-resolution logits B x 3 x 4h x 4w and predicted IoU B x 3.

        points: B x n x 2, (x, y) in pixels of the encoder's input; n may be 0 with boxes or masks.
        labels: B x n, 1 positive, 0 negative. boxes: B x 4, (x, y) of the first and of the last pixel.
        masks: logits as they come out here, B x 1 x 4h x 4w.
        """
        decoder, encoder = self.network.mask_decoder, self.network.prompt_encoder
        prompts = encoder._embed_points(points, labels, pad=boxes is None and points.shape[1] > 0)
        if boxes is not None:
            prompts = torch.cat([prompts, encoder._embed_boxes(boxes)], dim=1)
        if masks is not None:
            image = self._with_masks(image, masks)
        outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        queries = given = torch.cat([outputs.expand(len(points), -1, -1), prompts], dim=1)
        tokens, projections = image.tokens, image.projections
        for i, layer in enumerate(self.layers):
            if i:
                projections = self.projections[i](tokens)
            queries, tokens = _layer(layer, queries, given, tokens, projections)
        used = [0, *range(1, decoder.num_mask_tokens + 1)[CANDIDATES]]
        queries, given = queries[:, used], given[:, used]
        queries = queries + _to_image(self.final, queries + given, *self.projections[-1](tokens))
        queries = decoder.transformer.norm_final_attn(queries)
        kernels = [
            mlp(queries[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps[CANDIDATES], start=1)
        ]
        predicted_iou = decoder.iou_prediction_head(queries[:, 0])[:, CANDIDATES]
        return self._masks(tokens, torch.stack(kernels, dim=1)), predicted_iou

    def _with_masks(self, image: ImageTokens, masks: Tensor) -> ImageTokens:
        """The image as each object's mask prompt, B x 1 x 4h x 4w, changes it: tokens B x N x C."""
        encoder = self.network.prompt_encoder
        given = encoder._embed_masks(masks).flatten(2).transpose(1, 2)
        tokens = (image.tokens + (given - encoder.no_mask_embed.weight)).contiguous()
        return ImageTokens(tokens, self.projections[0](tokens))

    def _masks(self, tokens: Tensor, kernels: Tensor) -> Tensor:
        """Logits B x K x 4h x 4w of image tokens B x N x C under kernels B x K x C / 8.

        Each token becomes 2 x 2, then 4 x 4 pixels, which stay beside each other until the end.
        """
        if len(tokens) > 1 and tokens.is_cpu:  # the pixels of one object fit into a processor's cache
            parts = zip(tokens.split(1), kernels.split(1), strict=True)
            return torch.cat([self._masks(*part) for part in parts])
        height, width = self.network.prompt_encoder.image_embedding_size
        size, masks = kernels.shape[:2]
        channels = self.norm.weight.shape
        x = F.linear(tokens, *self.upscale_1).view(size, height, width, 2, 2, *channels)
        x = x.transpose(2, 3).reshape(-1, *channels)
        x = F.layer_norm(x, channels, self.norm.weight, self.norm.bias, self.norm.eps)
        x = self.activation_2(F.linear(self.activation_1(x), *self.upscale_2))
        logits = kernels @ x.view(size, -1, kernels.shape[-1]).transpose(1, 2)
        # Two neighbours in a row move as one: half as many numbers to move.
        logits = logits.view(torch.float64).view(size, masks, 2 * height, 2 * width, 2).transpose(3, 4)
        return logits.contiguous().view(torch.float32).view(size, masks, 4 * height, 4 * width)


class _Projection:
    """Image tokens to keys, values and queries of the attentions that read them, in one multiplication."""

    def __init__(self, position: Tensor, keys: Attention, queries: Attention | None = None) -> None:
        """position: C x N, added to what keys and queries are made of, and not to what values are."""
        linears = [keys.k_proj, keys.v_proj, *([queries.q_proj] if queries else [])]
        offsets = [linear.weight @ position + linear.bias[:, None] for linear in linears]
        offsets[1] = keys.v_proj.bias[:, None].expand_as(offsets[1])
        heads = keys.num_heads

        def by_head(parts: Sequence[Tensor]) -> Tensor:
            return torch.stack([part.unflatten(0, (heads, -1)) for part in parts], dim=1).contiguous()

        self.weight, self.offset = by_head([linear.weight for linear in linears]), by_head(offsets)

    def __call__(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """B x N x C to keys, values and queries, each B x heads x d x N."""
        weight = self.weight.flatten(0, 2).expand(len(tokens), -1, -1)
        projected = torch.baddbmm(self.offset.flatten(0, 2), weight, tokens.transpose(1, 2))
        return projected.unflatten(1, self.weight.shape[:3]).unbind(2)


def _layer(
    layer: nn.Module, queries: Tensor, given: Tensor, tokens: Tensor, projections: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """One two-way layer: queries B x T x C attend to each other and to the image, then the image to them."""
    keys, values, image_queries = projections
    if layer.skip_first_layer_pe:
        queries = layer.self_attn(queries, queries, queries)
    else:
        placed = queries + given
        queries = queries + layer.self_attn(placed, placed, queries)
    queries = layer.norm1(queries)
    queries = layer.norm2(queries + _to_image(layer.cross_attn_token_to_image, queries + given, keys, values))
    queries = layer.norm3(queries + layer.mlp(queries))
    from_image = layer.cross_attn_image_to_token
    tokens = layer.norm4(_from_image(from_image, queries + given, queries, image_queries, tokens))
    return queries, tokens


def _to_image(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What tokens B x T x C read from the image's keys and values, B or 1 x heads x d x N: B x T x C."""
    q = _heads(attention.q_proj(queries), attention)
    weights = torch.softmax((q / math.sqrt(q.shape[-1])) @ keys, dim=-1)
    read = weights @ values.transpose(-1, -2)
    return attention.out_proj(read.transpose(1, 2).flatten(2))


def _from_image(
    attention: Attention, keys: Tensor, values: Tensor, image_queries: Tensor, tokens: Tensor
) -> Tensor:
    """Image tokens, B or 1 x N x C, plus what they read from B x T x C tokens: B x N x C.

    Values go through the output's weights before the image reads them, so that reading is one multiplication.
    """
    k, v = _heads(attention.k_proj(keys), attention), _heads(attention.v_proj(values), attention)
    weights = torch.softmax((k / math.sqrt(k.shape[-1])) @ image_queries, dim=-2).flatten(1, 2)
    out = attention.out_proj
    values = v @ out.weight.T.view(attention.num_heads, v.shape[-1], -1) + out.bias / attention.num_heads
    return torch.baddbmm(tokens.expand(len(weights), -1, -1), weights.transpose(1, 2), values.flatten(1, 2))


def _heads(x: Tensor, attention: Attention) -> Tensor:
    """B x T x D to B x heads x T x d."""
    return x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)


def _per_token(transposed: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A transposed convolution of kernel and stride 2 as a linear map of a token to its 2 x 2 pixels."""
    weight = transposed.weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()
    return weight, transposed.bias.repeat(4)
