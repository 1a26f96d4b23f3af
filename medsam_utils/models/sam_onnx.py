"""SAM's image encoder, and its decoder for clicks, a box and its last mask, as ONNX files for a
page."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .fast.decoder import ALL, Decoder, ImageTokens

OPSET = 17
IMAGE = ["tokens", "keys", "values", "queries"]
"""What the image network says of an image, the mask network changes, and the prompt network
reads."""
DETAIL = ["detail_1", "detail_2"]
"""What it says further where the mask decoder adds detail; no mask changes it."""


class ImageNetwork(nn.Module):
    """What the fast decoder computes once per image."""

    def __init__(self, network: Sam) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return tokens, their keys, values and queries, and the detail if there is any.

        features: float16, 1 x C x h x w, of the encoder.
        """
        image = Decoder(self.network).image_tokens(features.float())
        return image.tokens, *image.projected, *image.detail


class ImageEncoder(nn.Module):
    """The encoder, with the rounding of what a page stores of an image."""

    def __init__(self, network: Sam) -> None:
        super().__init__()
        self.encoder = network.image_encoder

    def forward(self, image: Tensor) -> Tensor:
        """Return features, float16, 1 x C x h x w, of a normalised image, float32, 1 x 3 x side x
        side.
        """
        return self.encoder(image).half()


class MaskNetwork(nn.Module):
    """What the fast decoder makes of an image when a mask is fed back with the next prompt."""

    def __init__(self, network: Sam) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the image as `ImageNetwork` does, changed by a mask.

        image: tokens of the image network. logits: float32, 1 x 1 x 4h x 4w, a mask of an earlier
        answer.
        """
        changed = Decoder(self.network)._with_masks(ImageTokens(image, ()), logits)
        return changed.tokens[0], *(part[0] for part in changed.projected)


class PromptNetwork(nn.Module):
    """What the fast decoder computes at every prompt, from the stored weights."""

    def __init__(self, network: Sam) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        points: Tensor,
        labels: Tensor,
        tokens: Tensor,
        keys: Tensor,
        values: Tensor,
        queries: Tensor,
        *detail: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return low-resolution logits 1 x 4 x 4h x 4w and predicted IoU 1 x 4: first of the single
        mask, then of the three candidates.

        points: float32, 1 x n x 2, (x, y) in pixels of the encoder's input. labels: int32, 1 x n, 1
        positive, 0 negative, 2 a box's first pixel, 3 its last, -1 the point with which clicks
        without a box end. tokens to detail: the image as `ImageNetwork` or `MaskNetwork` gives it.
        """
        decoder, encoder = Decoder(self.network), self.network.prompt_encoder
        meanings = torch.cat([decoder.labels, encoder.not_a_point_embed.weight])[labels.long()]
        prompts = decoder._places(points + 0.5) * (labels >= 0)[..., None] + meanings
        image = ImageTokens(tokens, (keys, values, queries), detail)
        return decoder.answer(image, torch.cat([decoder.outputs, prompts], dim=1), ALL)


class _Widened(nn.Module):
    """Half precision as it is stored to the single precision in which it is computed."""

    def forward(self, stored: Tensor) -> Tensor:
        return stored.float()


def half_stored(network: Sam, names: Sequence[str] = ("prompt_encoder", "mask_decoder")) -> Sam:
    """Return a network whose parts' weights are stored as float16 and computed as float32."""
    parts = {part: copy.deepcopy(getattr(network, part)) for part in names}
    small = copy.copy(network)
    small._modules = network._modules | {name: part.cpu().float() for name, part in parts.items()}
    for module in [module for part in parts.values() for module in part.modules()]:
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(weight.detach().half(), requires_grad=False))
            parametrize.register_parametrization(module, name, _Widened(), unsafe=True)
    return small


@torch.no_grad()
def export(network: Sam) -> dict[str, bytes]:
    """Return ONNX of `ImageNetwork`, `MaskNetwork` and `PromptNetwork`, for any number of points.

    Half as large as with float32 weights.
    """
    small, encoder = half_stored(network), network.prompt_encoder
    channels = getattr(network.mask_decoder, "embedding_channels", encoder.embed_dim)
    features = torch.zeros(1, channels, *encoder.image_embedding_size, dtype=torch.float16)
    image_network = ImageNetwork(small)
    image = image_network(features)
    names = [*IMAGE, *DETAIL][: len(image)]
    logits = torch.zeros(1, 1, *encoder.mask_input_size)
    prompts = (torch.zeros(1, 2, 2), torch.ones(1, 2, dtype=torch.int32))
    return {
        "image_network": _onnx(image_network, (features,), ["features"], names),
        "mask_network": _onnx(MaskNetwork(small), (image[0], logits), ["image", "logits"], IMAGE),
        "prompt_network": _onnx(
            PromptNetwork(small),
            (*prompts, *image),
            ["points", "labels", *names],
            ["logits", "predicted_iou"],
            dynamic_axes={"points": {1: "n"}, "labels": {1: "n"}},
        ),
    }


@torch.no_grad()
def export_encoder(network: Sam) -> bytes:
    """Return ONNX of `ImageEncoder`, half as large as with float32 weights."""
    side = network.image_encoder.img_size
    encoder = ImageEncoder(half_stored(network, ["image_encoder"]))
    return _onnx(encoder, (torch.zeros(1, 3, side, side),), ["image"], ["features"])


def _onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    **options: Any,
) -> bytes:
    """A network as ONNX, traced with an example of its inputs."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes that are traced as constants are constant
        torch.onnx.export(
            module.eval(),
            example,
            buffer,
            dynamo=False,  # the newer exporter cannot write to a buffer
            opset_version=OPSET,
            do_constant_folding=False,  # it would fold the widening, and store float32
            input_names=inputs,
            output_names=outputs,
            **options,
        )
    return buffer.getvalue()
