"""Segment Anything as a promptable model: fast, or exactly as its own predictor computes it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import segment_anything
import torch
from segment_anything.utils.transforms import ResizeLongestSide

from ..boxed_mask import BoxedMask
from ..case import BadInputError
from ..clicks import Click
from . import BATCH_SIZE, Model, Prediction, Recipe, check_prompts, load_model_once
from .checkpoints import Checkpoint, check_tensors, differences, load_state_dict, shapes
from .devices import choose_device, choose_dtype, has_fast_bfloat16
from .embeddings import EmbeddingStore
from .fast.bilinear import upsampled_mask
from .fast.decoder import MULTIMASK, SINGLE, Decoder, ImageTokens
from .fast.encoder import fuse
from .medsam_pixels import squashed
from .mobile_sam import build_mobile_sam
from .onnx_encoder import OnnxEncoder, build_onnx_sam
from .onnx_weights import find_files
from .sam_small import build_sam_small

ARCHITECTURES = {
    "small": build_sam_small,
    "mobile": build_mobile_sam,
    "vit_b": segment_anything.sam_model_registry["vit_b"],
    "vit_l": segment_anything.sam_model_registry["vit_l"],
    "vit_h": segment_anything.sam_model_registry["vit_h"],
    "onnx": build_onnx_sam,  # any image encoder in ONNX
}

MEMORY = {"small": 50, "mobile": 400, "vit_b": 650, "vit_l": 750, "vit_h": 850}
"""MiB that encoding an image takes beside the weights, measured; in the exact mode four times."""


def find_architecture(path: Path) -> str:
    """Name of the architecture that a weights file fits, by the names and shapes of its tensors.

    Raises BadInputError if it fits none.
    """
    found = shapes(load_state_dict(path, device="meta"))
    # Those of the decoder alone belong to an encoder in ONNX, which a file of tensors has not.
    candidates = [name for name in ARCHITECTURES if path.is_dir() or name != "onnx"]
    expected = {}
    for architecture in candidates:
        with torch.device("meta"):  # shapes alone: nothing is computed
            expected[architecture] = shapes(ARCHITECTURES[architecture]().state_dict())
        if found == expected[architecture]:
            return architecture
    nearest = min(candidates, key=lambda name: len(found.items() ^ expected[name].items()))
    raise BadInputError(
        f"{path} fits no SAM of {', '.join(candidates)}. From the nearest, {nearest}, it differs: "
        f"{differences(found, expected[nearest])}. Give weights of segment-anything's own modules, "
        "not of another library or model"
    )


@dataclass(frozen=True)
class SamEmbedding:
    """Encoded image: features 1 x C x h x w, and the image's (rows, cols) resized and original.

    tokens: what the fast decoder makes of the features, once per image; None in the exact mode.
    """

    features: torch.Tensor
    resized: tuple[int, int]
    original: tuple[int, int]
    tokens: ImageTokens | None = None


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    """Return the image resized as by SAM's own predictor; a grey image as one channel."""
    resize = ResizeLongestSide(side).apply_image
    red, green, blue = cv2.split(image)
    if cv2.norm(red, green, cv2.NORM_INF) or cv2.norm(red, blue, cv2.NORM_INF):
        return resize(image)
    return cv2.merge([resize(red)] * 3)


def _halves(features: torch.Tensor) -> np.ndarray:
    """Numbers as two float16 each that add up to them, 2 x 1 x C x h x w.

    One alone is off by so much that one object in fifty is clicked elsewhere.
    """
    high = features.half()
    return torch.stack([high, (features - high.float()).half()]).cpu().numpy()


Prompts = tuple[Any, Any, Any, Any]  # points, labels, boxes and logits of B objects, or None


def _select(prompts: Prompts, objects: Any) -> Prompts:
    """Prompts of some of the objects."""
    points, labels, boxes, logits = (one if one is None else one[objects] for one in prompts)
    return points, labels, boxes, logits


DECODED = 16  # objects of several images that are decoded together


class Sam(Model):
    """SAM of any size (Kirillov et al. 2023), three candidate masks for every prompt."""

    prompts = ("clicks", "boxes", "logits")
    candidates = 3

    def __init__(
        self,
        name: str,
        checkpoint: Checkpoint,
        architecture: str | None,
        recipe: Recipe | None = None,
        device: str | None = None,
        exact: bool = False,
        dtype: str = "float32",
        embeddings: str | None = None,
        preprocessing: str = "sam",
    ) -> None:
        """Keep the recipe; `network` is built and its weights are read on first use.

        name: what the rows say. architecture: one of ARCHITECTURES, None for whichever the weights
        fit. recipe: arguments of `load_model` that give this model. dtype: of the image encoder.
        embeddings: folder in which they are kept, as `_halves`; the exact mode keeps none.
        preprocessing: "sam", or "medsam" for images as MedSAM was trained with.
        """
        self.preprocessing = preprocessing
        self.name, self.checkpoint, self.recipe, self.exact = name, checkpoint, recipe, exact
        self.device, self.dtype = choose_device(device), choose_dtype(dtype)
        self.batched = self.device.type != "cpu" and not exact
        self.embeddings = EmbeddingStore(Path(embeddings)) if embeddings and not exact else None
        self.weights = checkpoint.sha256
        self.architecture = architecture or find_architecture(checkpoint.path())
        # ONNX's runtime has threads of its own, which a fork would miss.
        self.forks = self.device.type == "cpu" and self.architecture != "onnx"
        self.memory = MEMORY.get(self.architecture, 0) * (4 if exact else 1)

    def load(self) -> None:
        """Build the network, read its weights, and make what the decoder computes once."""
        _ = self.network if self.exact else self.decoder

    @property
    def advice(self) -> str:  # type: ignore[override]
        """Return a number format in which this processor runs SAM's encoders faster."""
        is_slow = self.device.type == "cpu" and self.architecture.startswith("vit")
        if is_slow and self.dtype == torch.float32 and has_fast_bfloat16():
            return 'dtype="bfloat16" encodes faster on this processor, and rounds'
        return ""

    def __reduce__(self) -> tuple:
        """Pickle the recipe instead of the weights: a worker process loads them once."""
        return load_model_once, (self.recipe,)

    def settings(self) -> dict[str, Any]:
        """Architecture, decoding mode and the encoder's number format."""
        return {
            "architecture": self.architecture,
            "exact": self.exact,
            "dtype": str(self.dtype).removeprefix("torch."),
            "embedding": "two float16" if self.embeddings else "float32",
            "preprocessing": self.preprocessing,
        }

    @functools.cached_property
    def network(self) -> segment_anything.modeling.Sam:
        """The network in evaluation mode, weights loaded, on its device.

        Raises BadInputError if the weights are of another architecture, or no finite numbers.
        """
        with torch.device("meta"):  # no random weights to draw and to hold beside those of the file
            network = ARCHITECTURES[self.architecture]()
        path = self.checkpoint.path()
        state = load_state_dict(path)
        if fact := differences(shapes(state), shapes(network.state_dict())):
            raise BadInputError(
                f"{path} does not fit SAM {self.architecture} ({fact}): "
                'take the name "sam", which finds the size by itself'
            )
        network.load_state_dict(check_tensors(state, network, path), assign=True)
        if isinstance(network.image_encoder, OnnxEncoder):
            network.image_encoder.path = find_files(path)[0]
        network = network.float().eval().to(self.device)
        # Clicks need more digits than half precision has, and prompts and decoder take hardly any
        # time.
        network.image_encoder.to(self.dtype)
        if not self.exact:
            fuse(network.image_encoder)
            network.image_encoder.to(
                memory_format=torch.channels_last
            )  # as its norms and linear layers read
        return network

    @functools.cached_property
    def decoder(self) -> Decoder:
        """The network's mask decoder, made fast; the exact mode calls the network's own."""
        with torch.inference_mode():
            return Decoder(self.network)

    @torch.inference_mode()
    def encode(self, image: np.ndarray) -> SamEmbedding:
        """Encode uint8 H x W x 3 RGB, resized with Pillow as by SAM's own predictor."""
        if self.embeddings:
            stored = self.embeddings.get(self._key(image), lambda: _halves(self._features(image)))
            features = torch.as_tensor(stored, device=self.device).float().sum(dim=0)
        else:
            features = self._features(image)
        return self._embed(image, features)

    @torch.inference_mode()
    def encode_batch(self, images: Sequence[np.ndarray]) -> list[SamEmbedding]:
        """As `encode` of each image but for rounding, BATCH_SIZE at a time, which pays on a GPU.

        The last batch is filled up: how a number is rounded depends on how many are computed with
        it, and must not depend on what else is evaluated.
        """
        if self.embeddings:
            return [self.encode(image) for image in images]
        embeddings = []
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE]
            features = self._features(*batch, *[batch[-1]] * (BATCH_SIZE - len(batch)))
            embeddings += [self._embed(image, features[i : i + 1]) for i, image in enumerate(batch)]
        return embeddings

    def _features(self, *images: np.ndarray) -> torch.Tensor:
        """The encoder's features of images, float32, B x C x h x w."""
        encoder = self.network.image_encoder
        pixels = torch.stack([self._pixels(image) for image in images])
        features = encoder(pixels.to(self.dtype)).float()
        is_half = self.dtype == torch.float16 or self.embeddings
        if is_half and not (features.abs() <= torch.finfo(torch.float16).max).all():
            raise BadInputError(
                f"{self.name} overflows on an image: float16 ends at 65504, take bfloat16, keep no "
                "embeddings"
            )
        return features

    def _pixels(self, image: np.ndarray) -> torch.Tensor:
        """What the encoder reads of an image, float32, 3 x side x side."""
        side = self.network.image_encoder.img_size
        own = self.preprocessing == "medsam"
        resized = squashed(image, side) if own else _resized(image, side)
        channels = torch.as_tensor(resized, device=self.device).permute(2, 0, 1).contiguous()
        return channels if own else self.network.preprocess(channels)

    def _key(self, image: np.ndarray) -> str:
        """Name of an image's embedding: hash of its pixels, the weights and the number format."""
        decides = (
            image.shape,
            self.architecture,
            self.weights,
            self.dtype,
            PIL.__version__,
            "halves",
            self.preprocessing,
        )
        return hashlib.sha256(repr(decides).encode() + np.ascontiguousarray(image).data).hexdigest()

    def _embed(self, image: np.ndarray, features: torch.Tensor) -> SamEmbedding:
        side = self.network.image_encoder.img_size
        resized = (side, side)
        if self.preprocessing == "sam":
            resized = ResizeLongestSide.get_preprocess_shape(*image.shape[:2], side)
        return self.embedding(features, resized, image.shape[:2])

    @torch.inference_mode()
    def embedding(
        self, features: torch.Tensor, resized: tuple[int, int], original: tuple[int, int]
    ) -> SamEmbedding:
        """Return what `predict` needs, from the encoder's features 1 x C x h x w."""
        tokens = None if self.exact else self.decoder.image_tokens(features)
        return SamEmbedding(features, resized, original, tokens)

    @torch.inference_mode()
    def predict(
        self,
        embedding: SamEmbedding,
        clicks: Sequence[Sequence[Click]],
        boxes: np.ndarray | None = None,
        logits: np.ndarray | None = None,
        multimask: bool = True,
    ) -> Prediction:
        """Predict three candidate masks for each of B objects, from clicks, a box or logits.

        multimask: False for the one mask that SAM makes of a prompt without ambiguity.
        Raises ValueError if the objects have different numbers of clicks, or no prompt at all.
        """
        check_prompts(clicks, boxes, logits)
        prompts = self._prompts([embedding], clicks, boxes, logits)
        if self.exact:
            answers = [
                self._decode(embedding.features, *_select(prompts, slice(i, i + 1)), multimask)
                for i in range(len(clicks))
            ]
            answer = tuple(torch.cat(parts) for parts in zip(*answers, strict=True))
        else:
            assert embedding.tokens  # made by `encode`, but in the exact mode
            answer = self.decoder(embedding.tokens, *prompts, MULTIMASK if multimask else SINGLE)
        return self._prediction(embedding, *(part.cpu().numpy() for part in answer))

    @torch.inference_mode()
    def predict_batch(
        self,
        embeddings: Sequence[SamEmbedding],
        clicks: Sequence[Sequence[Click]],
        boxes: np.ndarray | None = None,
        logits: np.ndarray | None = None,
        multimask: bool = True,
    ) -> list[Prediction]:
        """As `predict` but for rounding, of B objects in images of their own: a prediction of each.

        DECODED at a time; the last ones are filled up, see `encode_batch`.
        """
        prompts = self._prompts(embeddings, clicks, boxes, logits)
        answers = []
        for start in range(0, len(clicks), DECODED):
            some = [min(i, len(clicks) - 1) for i in range(start, start + DECODED)]
            tokens = ImageTokens.stack([token for i in some if (token := embeddings[i].tokens)])
            candidates = MULTIMASK if multimask else SINGLE
            answer = self.decoder(tokens, *_select(prompts, some), candidates)
            answers.append([part.cpu().numpy() for part in answer])
        masks, predicted_iou = (np.concatenate(parts) for parts in zip(*answers, strict=True))
        return [
            self._prediction(embedding, masks[i : i + 1], predicted_iou[i : i + 1])
            for i, embedding in enumerate(embeddings)
        ]

    def _prediction(
        self, embedding: SamEmbedding, logits: np.ndarray, predicted_iou: np.ndarray
    ) -> Prediction:
        """What was decoded of objects of one image."""
        padded, shapes = (
            self.network.image_encoder.img_size,
            (embedding.resized, embedding.original),
        )
        upsample = functools.partial(self._upsample, embedding)
        if self.exact:
            return Prediction(logits, predicted_iou, upsample)

        def upsample_mask(low: np.ndarray) -> BoxedMask:
            return upsampled_mask(low, padded, *shapes)

        return Prediction(logits, predicted_iou, upsample, upsample_mask)

    def _prompts(
        self,
        embeddings: Sequence[SamEmbedding],
        clicks: Sequence[Sequence[Click]],
        boxes: np.ndarray | None,
        logits: np.ndarray | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """What the prompt encoder reads: points, labels, boxes, masks, as `Decoder.__call__` says.

        embeddings: of each object's image, or one for all.
        """
        tensor = functools.partial(torch.as_tensor, dtype=torch.float32, device=self.device)
        scale = np.array([np.divide(e.resized, e.original)[::-1] for e in embeddings])[
            :, None
        ]  # x, y
        xy = np.array(
            [[(click.col, click.row) for click in object_clicks] for object_clicks in clicks]
        )
        labels = [[int(click.positive) for click in object_clicks] for object_clicks in clicks]
        corners = None if boxes is None else boxes[:, [1, 0, 3, 2]].reshape(-1, 2, 2) * scale
        return (
            tensor(xy.reshape(len(clicks), -1, 2) * scale),
            torch.as_tensor(labels, dtype=torch.int, device=self.device),
            None if corners is None else tensor(corners.reshape(-1, 4)),
            None if logits is None else tensor(logits)[:, None],
        )

    def _decode(
        self,
        features: torch.Tensor,
        points: torch.Tensor,
        labels: torch.Tensor,
        boxes: torch.Tensor | None,
        masks: torch.Tensor | None,
        multimask: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode exactly: logits B x C x h x w and predicted IoU B x C of prompts as `_prompts`."""
        clicked = (points, labels) if points.shape[1] else None
        sparse, dense = self.network.prompt_encoder(points=clicked, boxes=boxes, masks=masks)
        return self.network.mask_decoder(
            image_embeddings=features,
            image_pe=self.network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )

    @torch.inference_mode()
    def _upsample(self, embedding: SamEmbedding, logits: np.ndarray) -> np.ndarray:
        """Logits h x w resized, without SAM's padding, to the image's H x W."""
        logits = torch.as_tensor(logits, device=self.device)[None, None]
        return (
            self.network.postprocess_masks(logits, embedding.resized, embedding.original)[0, 0]
            .cpu()
            .numpy()
        )
