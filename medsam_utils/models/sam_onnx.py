"""SAM's answer to clicks as an ONNX file: prompt encoder and mask decoder, for a page without a kernel."""

from __future__ import annotations

import copy
import io
import warnings

import torch
from segment_anything.modeling import Sam
from segment_anything.utils.onnx import SamOnnxModel
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .sam_decoder import CANDIDATES

OPSET = 17


class ClickDecoder(nn.Module):
    """The network's own prompt encoder and mask decoder, without its image encoder."""

    def __init__(self, network: Sam) -> None:
        super().__init__()
        # segment-anything's own class for export; of it only the embedding of points is called
        self.embed_points = SamOnnxModel(network, return_single_mask=False)._embed_points
        self.decoder = network.mask_decoder
        self.prompt_encoder = network.prompt_encoder

    def forward(self, features: Tensor, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Low-resolution logits 1 x 3 x 4h x 4w and predicted IoU 1 x 3.

        features: float16, 1 x C x h x w, from the image encoder. points: float32, 1 x n x 2, (x, y) in pixels
        of the encoder's input. labels: float32, 1 x n, 1 positive, 0 negative.
        """
        points = torch.cat(
            [points, torch.zeros(1, 1, 2)], dim=1
        )  # clicks without a box end with a padding point
        labels = torch.cat([labels, -torch.ones(1, 1)], dim=1)
        position = self.prompt_encoder.get_dense_pe()  # the same each time: the runtime computes it once
        dense = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand_as(position)
        prompts = self.embed_points(points, labels)
        logits, predicted_iou = self.decoder.predict_masks(features.float(), position, prompts, dense)
        return logits[:, CANDIDATES], predicted_iou[:, CANDIDATES]


class _Widened(nn.Module):
    """Half precision as it is stored to the single precision in which it is computed."""

    def forward(self, stored: Tensor) -> Tensor:
        return stored.float()


def click_decoder(network: Sam) -> ClickDecoder:
    """Decoder of a network, on the CPU, whose weights are stored as float16 and computed with as float32."""
    parts = {part: copy.deepcopy(getattr(network, part)) for part in ("prompt_encoder", "mask_decoder")}
    small = copy.copy(network)
    small._modules = network._modules | {name: part.cpu().float() for name, part in parts.items()}
    decoder = ClickDecoder(small).eval()
    for module in [module for part in parts.values() for module in part.modules()]:
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(weight.detach().half(), requires_grad=False))
            parametrize.register_parametrization(module, name, _Widened(), unsafe=True)
    return decoder


@torch.no_grad()
def export(network: Sam) -> bytes:
    """ONNX of `click_decoder`, for any number of points: half as large as with float32 weights."""
    decoder, encoder, buffer = click_decoder(network), network.prompt_encoder, io.BytesIO()
    features = torch.zeros(1, encoder.embed_dim, *encoder.image_embedding_size, dtype=torch.float16)
    with warnings.catch_warnings():
        # what is traced as a constant, the size of an attention's heads, is one
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # the newer exporter cannot write to a buffer
        torch.onnx.export(
            decoder,
            (features, torch.zeros(1, 2, 2), torch.ones(1, 2)),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            do_constant_folding=False,  # it would fold the widening, and store float32
            input_names=["features", "points", "labels"],
            output_names=["logits", "predicted_iou"],
            dynamic_axes={"points": {1: "n"}, "labels": {1: "n"}},
        )
    return buffer.getvalue()
