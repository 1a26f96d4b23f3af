"""SAM's mask decoder for many objects of one image: the same weights and sums in another order.

`segment_anything.modeling.MaskDecoder` repeats the image's tokens for each object and projects them
anew at every click. Here what the image alone decides is computed once per image, later layers
project the prompts instead of the image (`folded_attention`), tokens stay in one memory layout from
end to end, and only what the three masks need is computed in the last attention and after. Results
differ from the reference by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .folded_attention import FromImage, Reading

SINGLE, MULTIMASK, ALL = (0,), (1, 2, 3), (0, 1, 2, 3)
"""SAM's mask tokens: the one for a prompt without ambiguity, the three candidates, and all four."""


@dataclass(frozen=True)
class ImageTokens:
    """What the decoder needs of an image: tokens, N x C, or B x N x C of each object's own.

    projected: keys, values and queries that the first layer makes of them, N x D, without their
    biases. detail: what a `DetailMaskDecoder` adds while upscaling, C / 4 x 2h x 2w and C / 8 x 4h
    x 4w, or B of each; empty for other decoders.
    """

    tokens: Tensor
    projected: tuple[Tensor, ...]
    detail: tuple[Tensor, ...] = ()

    @classmethod
    def stack(cls, images: Sequence[ImageTokens]) -> ImageTokens:
        """Tokens of B images, one for each object."""
        tokens = torch.stack([image.tokens for image in images])
        projected = zip(*(image.projected for image in images), strict=True)
        detail = zip(*(image.detail for image in images), strict=True)
        return cls(tokens, tuple(map(torch.stack, projected)), tuple(map(torch.stack, detail)))


class Decoder:
    """Decodes prompts with the weights of one SAM network, on its device."""

    def __init__(self, network: Sam) -> None:
        self.network = network
        decoder, encoder = network.mask_decoder, network.prompt_encoder
        transformer = decoder.transformer
        self.position = encoder.get_dense_pe().flatten(2)[0].T.contiguous()
        self.layers = [
            _Layer(layer, projected=i == 0) for i, layer in enumerate(transformer.layers)
        ]
        self.final, self.norm = (
            Reading(transformer.final_attn_token_to_image),
            transformer.norm_final_attn,
        )
        self.outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])[None]
        self.labels = torch.cat([part.weight for part in encoder.point_embeddings])
        self.sides = torch.tensor(
            encoder.input_image_size[::-1], dtype=torch.float32, device=self.position.device
        )
        self.kernels: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {
            masks: _stack_perceptrons([decoder.output_hypernetworks_mlps[i] for i in masks])
            for masks in (SINGLE, MULTIMASK, ALL)
        }
        transposed_1, norm, self.activation_1, transposed_2, self.activation_2 = (
            decoder.output_upscaling
        )
        self.upscale_1, self.upscale_2 = (
            _centred(*_per_token(transposed_1), norm),
            _per_token(transposed_2),
        )
        self.scale, self.shift, self.epsilon = norm.weight[:, None], norm.bias[:, None], norm.eps

    def image_tokens(self, features: Tensor) -> ImageTokens:
        """From the encoder's features, 1 x C x h x w; no mask is given as a prompt."""
        encoder = self.network.prompt_encoder
        embedding, detail = features[:, : encoder.embed_dim], features[:, encoder.embed_dim :]
        tokens = embedding[0].flatten(1).T + encoder.no_mask_embed.weight
        details = self.network.mask_decoder.details(detail) if detail.shape[1] else ()
        return replace(self._image(tokens), detail=tuple(part[0] for part in details))

    def _with_masks(self, image: ImageTokens, masks: Tensor) -> ImageTokens:
        """The image as each object's mask prompt, B x 1 x 4h x 4w, changes it."""
        encoder = self.network.prompt_encoder
        given = encoder._embed_masks(masks).flatten(2).transpose(-2, -1)
        changed = self._image(image.tokens + (given - encoder.no_mask_embed.weight))
        return replace(changed, detail=image.detail)

    def _image(self, tokens: Tensor) -> ImageTokens:
        tokens = tokens.contiguous()
        placed, layer = tokens + self.position, self.layers[0].layer
        to_image, from_image = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
        keys, values = (
            F.linear(placed, to_image.k_proj.weight),
            F.linear(tokens, to_image.v_proj.weight),
        )
        return ImageTokens(tokens, (keys, values, F.linear(placed, from_image.q_proj.weight)))

    def __call__(
        self,
        image: ImageTokens,
        points: Tensor,
        labels: Tensor,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        candidates: tuple[int, ...] = MULTIMASK,
    ) -> tuple[Tensor, Tensor]:
        """Low-resolution logits B x C x 4h x 4w and predicted IoU B x C of C candidates.

        points: B x n x 2, (x, y) in pixels of the encoder's input; n may be 0 with boxes or masks.
        labels: B x n, 1 positive, 0 negative. boxes: B x 4, (x, y) of the first and of the last
        pixel. masks: logits as they come out here, B x 1 x 4h x 4w. candidates: SINGLE, MULTIMASK
        or ALL.
        """
        if masks is not None:
            image = self._with_masks(image, masks)
        return self.answer(image, self._prompts(points, labels, boxes), candidates)

    def answer(
        self, image: ImageTokens, prompts: Tensor, candidates: tuple[int, ...] = MULTIMASK
    ) -> tuple[Tensor, Tensor]:
        """Decode as the call does, from tokens B x T x C, those of the outputs first."""
        origin, tokens, read = prompts, image.tokens, image.projected
        for layer in self.layers:
            prompts, tokens = layer(prompts, origin, tokens, read)
            placed = tokens + self.position
            read = placed, tokens, placed
        used = [0, *(1 + i for i in candidates)]  # the first token is for the predicted IoU
        prompts, origin = prompts[:, used], origin[:, used]
        outputs = self.norm(prompts + self.final(prompts + origin, *read[:2]))
        predicted_iou = self.network.mask_decoder.iou_prediction_head(outputs[:, 0])[
            :, list(candidates)
        ]
        kernels = outputs[:, 1:].transpose(0, 1)
        for i, (weight, bias) in enumerate(self.kernels[candidates]):
            kernels = torch.baddbmm(bias, kernels.relu() if i else kernels, weight)
        return self._masks(tokens, kernels.transpose(0, 1), image.detail), predicted_iou

    def _prompts(self, points: Tensor, labels: Tensor, boxes: Tensor | None) -> Tensor:
        """Return tokens B x T x C: of the outputs, the points, and a box or SAM's filler."""
        size, count = labels.shape
        parts = [self.outputs.expand(size, -1, -1)]
        if boxes is not None:
            corners = self._places(boxes.view(size, 2, 2) + 0.5) + self.labels[2:]
            parts += [self._places(points + 0.5) + self.labels[labels], corners]
        elif count:
            filler = self.network.prompt_encoder.not_a_point_embed.weight.expand(size, 1, -1)
            places = self._places(
                F.pad(points + 0.5, (0, 0, 0, 1))
            )  # as SAM rounds: with the filler's row
            parts += [places[:, :-1] + self.labels[labels], filler]
        return torch.cat(parts, dim=1)

    def _places(self, points: Tensor) -> Tensor:
        """SAM's encoding B x n x C of points B x n x 2, rounded as that of one object at a time.

        Frequencies are high: the last digit of a sum of two products shows in the masks.
        """
        frequencies = self.network.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        phases = (
            2
            * math.pi
            * torch.stack([place @ frequencies for place in 2 * (points / self.sides) - 1])
        )
        return torch.cat([phases.sin(), phases.cos()], dim=-1)

    def _masks(self, tokens: Tensor, kernels: Tensor, detail: tuple[Tensor, ...]) -> Tensor:
        """Logits B x K x 4h x 4w of image tokens B x N x C under kernels B x K x C / 8.

        Each token becomes 2 x 2, then 4 x 4 pixels, which stay beside each other until the end.
        """
        if (
            len(tokens) > 1 and tokens.is_cpu
        ):  # the pixels of one object fit into a processor's cache
            of_each = [
                tuple(part[i] if part.dim() == 4 else part for part in detail)
                for i in range(len(tokens))
            ]
            parts = zip(tokens.split(1), kernels.split(1), of_each, strict=True)
            return torch.cat([self._masks(*part) for part in parts])
        height, width = self.network.prompt_encoder.image_embedding_size
        if detail:
            source = tokens.transpose(-2, -1).unflatten(-1, (height, width))
            upscaled = self.network.mask_decoder.upscale(source, *detail)
            return (kernels @ upscaled.flatten(2)).unflatten(-1, (4 * height, 4 * width))
        size, masks = kernels.shape[:2]
        weight, bias = self.upscale_1
        x = (
            (weight @ tokens.transpose(-2, -1))
            .add_(bias[:, None])
            .unflatten(1, (4, len(self.scale)))
        )
        x.mul_(x.square().mean(dim=2, keepdim=True).add_(self.epsilon).rsqrt_())
        # Transposed, because torch rounds GELU in another way where a tensor is in plain order;
        # SAM's is not.
        x = self.activation_1(x.mul_(self.scale).add_(self.shift).transpose(-2, -1))
        weight, bias = self.upscale_2
        x = (x @ weight.T).add_(bias)
        x = self.activation_2(x.transpose(-2, -1)).transpose(-2, -1)
        logits = kernels @ x.view(size, -1, kernels.shape[-1]).transpose(-2, -1)
        # Two neighbours in a row move as one: half as many numbers to move.
        if torch.onnx.is_in_onnx_export():  # which knows no such view
            logits = logits.view(size, masks, 2, 2, height, width, 2, 2).permute(
                0, 1, 4, 2, 6, 5, 3, 7
            )
            return logits.reshape(size, masks, 4 * height, 4 * width)
        logits = logits.view(torch.int64).view(size, masks, 2, 2, height, width, 2)
        logits = logits.permute(0, 1, 4, 2, 6, 5, 3).contiguous().view(torch.float32)
        return logits.view(size, masks, 4 * height, 4 * width)


class _Layer:
    """One two-way layer: queries attend to each other and to the image, then the image to them."""

    def __init__(self, layer: TwoWayAttentionBlock, projected: bool) -> None:
        """projected: the image is given as its keys, values and queries."""
        self.layer = layer
        self.own, self.to_image = (
            Reading(layer.self_attn),
            Reading(layer.cross_attn_token_to_image, projected),
        )
        self.from_image = FromImage(layer.cross_attn_image_to_token, layer.norm4, projected)

    def __call__(
        self, prompts: Tensor, origin: Tensor, tokens: Tensor, read: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Prompts B x T x C and image tokens B x N x C after the layer.

        origin: the prompts as they were before all layers. read: the image as keys, values and
        queries.
        """
        layer, (keys, values, queries) = self.layer, read
        if layer.skip_first_layer_pe:
            prompts = self.own(prompts, prompts, prompts)
        else:
            placed = prompts + origin
            prompts = prompts + self.own(placed, placed, prompts)
        prompts = layer.norm1(prompts)
        prompts = layer.norm2(prompts + self.to_image(prompts + origin, keys, values))
        prompts = layer.norm3(prompts + layer.mlp(prompts))
        return prompts, self.from_image(prompts, origin, tokens, queries)


def _stack_perceptrons(mlps: Sequence[nn.Module]) -> list[tuple[Tensor, Tensor]]:
    """Perceptrons of one shape as one: per layer, weights K x in x out and biases K x 1 x out."""
    return [
        (
            torch.stack([linear.weight.T for linear in linears]),
            torch.stack([linear.bias[None] for linear in linears]),
        )
        for linears in zip(*(mlp.layers for mlp in mlps), strict=True)
    ]


def _centred(weight: Tensor, bias: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return `_per_token`'s map less the mean over each pixel's channels.

    The norm behind it takes that mean away.
    """
    channels = len(norm.weight)
    weight, bias = (part.unflatten(0, (-1, channels)) for part in (weight, bias))
    return tuple((part - part.mean(dim=1, keepdim=True)).flatten(0, 1) for part in (weight, bias))


def _per_token(transposed: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """Return a transposed convolution of stride 2 as a linear map of a token to 2 x 2 pixels."""
    weight = transposed.weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()
    return weight, transposed.bias.repeat(4)
