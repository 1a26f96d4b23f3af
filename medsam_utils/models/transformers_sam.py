"""The Segment Anything family out of the package `transformers`, behind the same two verbs.

SAM, HQ-SAM, SAM 2.1, SAM 3's tracker and EdgeTAM differ in size, preprocessing and encoder, and are
called alike: this hands over image and prompts as the package's own processor and model take them.
The last three have a memory, too, that carries masks through the slices of a volume.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..boxed_mask import BoxedMask
from ..case import BadInputError
from ..clicks import Click
from . import Model, Prediction, Recipe, check_prompts, load_model_once, sam2_released
from .checkpoints import Checkpoint, check_tensors
from .devices import choose_device, choose_dtype
from .hub import INSTALL, HubCheckpoint

FAMILIES = {
    "sam": "Sam",
    "sam_hq": "SamHQ",
    "sam2": "Sam2",
    "sam2_video": "Sam2",
    "sam3_tracker": "Sam3Tracker",
    "sam3_tracker_video": "Sam3Tracker",
    "sam3_video": "Sam3Tracker",
    "edgetam": "EdgeTam",
    "edgetam_video": "EdgeTam",
}
"""`model_type` of a config.json -> how the names of the classes of `transformers` begin.

Files of a model for videos hold the one for images too.
"""

MEMORY = {"Sam": 2200, "SamHQ": 2200, "EdgeTam": 250}
"""MiB that encoding an image takes beside the weights, measured of the smallest size; others: 850.

The attention of a ViT takes most, as it is not computed in parts.
"""

PROCESSORS = {"EdgeTam": "Sam2"}  # where the classes of the processor begin otherwise


@dataclass(frozen=True)
class TransformersEmbedding:
    """What the encoder made of one image, and its sizes.

    features: arguments of the model by name, tensors or lists of tensors, 1 x ... sizes: what the
    processor needs to resize masks to the image. scale: (x, y), pixels of the encoder's input per
    pixel of the image.
    """

    features: dict[str, Any]
    sizes: dict[str, Any]
    scale: np.ndarray


class TransformersSam(Model):
    """A model of the Segment Anything family: three candidate masks, predicted IoU, all prompts."""

    prompts = ("clicks", "boxes", "logits")
    candidates = 3

    def __init__(
        self,
        name: str,
        checkpoint: Checkpoint,
        recipe: Recipe | None = None,
        device: str | None = None,
        dtype: str = "float32",
        stability: bool = False,
        image_size: int | None = None,
    ) -> None:
        """Keep the recipe; `network` is built and its weights are read on first use.

        name: what the rows say. checkpoint: a folder or repository, or the file in which SAM 2 is
        released. dtype: in which the image is encoded, where that is safe.
        stability: where one mask is asked for and it is unstable, SAM 2 and later then give the
        best of three instead; off, so that rows of all models compare. image_size: of a released
        file, see `sam2_released.read`; a folder tells its own. Raises BadInputError for another.
        """
        self.name, self.checkpoint, self.recipe = name, checkpoint, recipe
        self.device, self.dtype = choose_device(device), choose_dtype(dtype)
        self.stability = stability
        if importlib.util.find_spec("transformers") is None:  # to import it takes seconds
            raise BadInputError(f"{name} needs the package transformers: {INSTALL}")
        self.weights = checkpoint.sha256
        is_file = not isinstance(checkpoint, HubCheckpoint)  # which need not be here yet
        kind = "sam2_video" if is_file else _kind(checkpoint.path())
        if image_size is not None and not is_file:
            raise BadInputError(
                f"{name} is a folder, whose config.json tells its image size: leave out image_size"
            )
        self.image_size = sam2_released.check_side(
            sam2_released.SIDE if image_size is None else image_size
        )
        self.family, self.tracks = FAMILIES[kind], kind.endswith("_video")
        self.memory = MEMORY.get(self.family, 850)
        self.forks = self.device.type == "cpu"

    def load(self) -> None:
        """Build the network and read its weights."""
        _ = self.network, self.processor

    def __reduce__(self) -> tuple:
        """Pickle the recipe instead of the weights: a worker process loads them once."""
        return load_model_once, (self.recipe,)

    def settings(self) -> dict[str, Any]:
        """Kind of model, commit of the repository, version of the package, number format.

        Of a released file also the image size.
        """
        checkpoint = self.checkpoint
        is_file = not isinstance(checkpoint, HubCheckpoint)
        return {
            **({"image_size": self.image_size} if is_file else {}),
            "family": self.family,
            "commit": checkpoint.commit if isinstance(checkpoint, HubCheckpoint) else "",
            "transformers": version("transformers"),
            "dtype": str(self.dtype).removeprefix("torch."),
            "stability": self.stability,
        }

    @functools.cached_property
    def network(self) -> Any:
        """The model of `transformers` for images in evaluation mode, on its device.

        Raises BadInputError if the weights lack a tensor or hold one of another shape.
        """
        network = self._read("Model")
        if hasattr(network.mask_decoder, "dynamic_multimask_via_stability"):
            network.mask_decoder.dynamic_multimask_via_stability = self.stability
        return network

    @functools.cached_property
    def processor(self) -> Any:
        """The image processor that the model was saved with."""
        if self.checkpoint.path().is_file():
            side = {"height": self.image_size, "width": self.image_size}
            return self._class("ImageProcessor")(size=side)
        return self._load(PROCESSORS.get(self.family, self.family) + "Processor").image_processor

    def _read(self, kind: str) -> Any:
        """Read a network, "Model" or "VideoModel".

        Raises BadInputError if the weights do not fit.
        """
        path = self.checkpoint.path()
        given: dict[str, Any] = {}
        if path.is_file():
            described, given["state_dict"] = sam2_released.read(path, self.image_size)
            given["config"] = self._class(kind.replace("Model", "Config"))(**described)
        network, report = self._load(
            self.family + kind,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report has them
            dtype=torch.float32,
            **given,
        )
        lacking = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
        if lacking:
            raise BadInputError(
                f"{path} does not fit {self.family}{kind}: {len(lacking)} of its "
                f"tensors are missing or of another shape ({lacking[0]}, ...): download it again, "
                "or save it with `save_pretrained` of the model"
            )
        check_tensors(network.state_dict(), network, path)
        return network.eval().to(self.device)

    def _class(self, kind: str) -> Any:
        """Return a class of `transformers` for this family."""
        return getattr(importlib.import_module("transformers"), self.family + kind)

    def _load(self, owner: str, **options: Any) -> Any:
        """Read a part of the folder; nothing in it is executed.

        owner: class of `transformers`. Raises BadInputError if it cannot be read.
        """
        import transformers as package

        path, said = self.checkpoint.path(), package.utils.logging
        bars, level = said.is_progress_bar_enabled(), said.get_verbosity()
        said.disable_progress_bar()
        said.set_verbosity_error()  # it warns of a model for images in the files of one for videos
        try:
            folder = None if path.is_file() else path  # whose tensors are among the options
            return getattr(package, owner).from_pretrained(folder, local_files_only=True, **options)
        except Exception as error:  # a damaged file can raise anything
            fact = next((line for line in str(error).splitlines() if line.strip()), repr(error))
            raise BadInputError(
                f"{path} cannot be read as {owner} ({fact.strip()}): download it "
                "again, or save it with `save_pretrained` of the model and of its processor"
            ) from error
        finally:
            said.set_verbosity(level)
            if bars:
                said.enable_progress_bar()

    @torch.inference_mode()
    def encode(self, image: np.ndarray) -> TransformersEmbedding:
        """Encode uint8 H x W x 3 RGB, resized and normalised by the model's own processor."""
        # An image of three rows could be taken for three channels: say which axis they are.
        sizes = dict(
            self.processor(
                images=np.array(image),  # torch warns of arrays that are shared for reading alone
                input_data_format="channels_last",
                return_tensors="pt",
            )
        )
        pixels = sizes.pop("pixel_values").to(self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            answer = self.network.get_image_embeddings(pixels)
        names = ("image_embeddings", "intermediate_embeddings")  # the second of HQ-SAM alone
        parts = zip(names, answer if isinstance(answer, tuple) else (answer,), strict=False)
        inner = sizes.get("reshaped_input_sizes", [pixels.shape[2:]])[0]
        return TransformersEmbedding(
            {name: _each(part, torch.Tensor.float) for name, part in parts},
            sizes,
            np.divide(tuple(map(int, inner)), image.shape[:2])[::-1],
        )

    @torch.inference_mode()
    def predict(
        self,
        embedding: TransformersEmbedding,
        clicks: Sequence[Sequence[Click]],
        boxes: np.ndarray | None = None,
        logits: np.ndarray | None = None,
        multimask: bool = True,
    ) -> Prediction:
        """Predict three candidate masks for each of B objects, from clicks, a box or logits.

        multimask: False for the one mask that the model makes of a prompt without ambiguity.
        Raises ValueError if the objects have different numbers of clicks, or no prompt at all.
        """
        check_prompts(clicks, boxes, logits)
        count = len(clicks)
        tensor = functools.partial(torch.as_tensor, dtype=torch.float32, device=self.device)
        prompts: dict[str, Any] = {}
        if len(clicks[0]):
            xy = np.array([[(click.col, click.row) for click in some] for some in clicks])
            labels = [[[int(click.positive) for click in some]] for some in clicks]
            prompts["input_points"] = tensor(xy * embedding.scale)[:, None]
            prompts["input_labels"] = torch.as_tensor(labels, device=self.device)
        if boxes is not None:
            corners = boxes[:, [1, 0, 3, 2]].reshape(-1, 2, 2) * embedding.scale
            prompts["input_boxes"] = tensor(corners.reshape(-1, 1, 4))
        if logits is not None:
            prompts["input_masks"] = tensor(logits)[:, None]
        # One image for each object: the model adds a mask to an image, not to an object of it.
        features = {
            name: _each(part, lambda one: one.expand(count, *one.shape[1:]))
            for name, part in embedding.features.items()
        }
        answer = self.network(**features, **prompts, multimask_output=multimask)
        return Prediction(
            answer.pred_masks[:, 0].cpu().numpy(),
            answer.iou_scores[:, 0].cpu().numpy(),
            functools.partial(self._upsample, embedding.sizes),
        )

    @torch.inference_mode()
    def _upsample(self, sizes: dict[str, Any], logits: np.ndarray) -> np.ndarray:
        """Logits h x w resized, without padding, to the image's H x W."""
        low = [torch.as_tensor(logits, device=self.device)[None, None]]
        (whole,) = self.processor.post_process_masks(low, **sizes, binarize=False)
        return whole[0, 0].cpu().numpy()

    @functools.cached_property
    def _video(self) -> Any:
        """The model of `transformers` for videos, which has the memory."""
        return self._read("VideoModel")

    @functools.cached_property
    def _sessions(self) -> Any:
        """What makes sessions of `_video`, and hands masks to them."""
        import transformers as package

        owner = getattr(package, PROCESSORS.get(self.family, self.family) + "VideoProcessor")
        return owner(self.processor, package.Sam2VideoVideoProcessor())

    @functools.cached_property
    def _positions(self) -> Any:
        """What `_video` adds for the place in an image, the same for all images."""
        side = self.processor.size
        blank = torch.zeros(1, 3, side["height"], side["width"], device=self.device)
        return self._video.get_image_features(blank).fpn_position_encoding

    @torch.inference_mode()
    def track(
        self,
        embeddings: Sequence[TransformersEmbedding],
        masks: Mapping[int, BoxedMask],
        reverse: bool = False,
    ) -> list[BoxedMask]:
        """Carry the masks of an object from slice to slice, by the model's memory of them."""
        count = len(embeddings)
        session = self._sessions.init_video_session(
            inference_device=self.device, max_vision_features_cache_size=count
        )
        session.processed_frames = dict.fromkeys(range(count))  # encoded already, and only counted
        for i, embedding in enumerate(embeddings):
            maps = [
                part.flatten(2).permute(2, 0, 1) for part in embedding.features["image_embeddings"]
            ]
            maps[-1] = maps[-1] - self.network.no_memory_embedding  # which a single image has
            features = {"vision_feats": maps, "vision_pos_embeds": self._positions}
            session.cache.cache_vision_features(i, features)
        for i, mask in sorted(masks.items()):
            self._sessions.add_inputs_to_inference_session(session, i, 1, input_masks=mask.mask())
            self._video(session, frame_idx=i)
        tracked = [BoxedMask.from_mask(np.zeros(mask.shape, bool))] * count
        order = range(max(masks), -1, -1) if reverse else range(min(masks), count)
        for i in order:
            logits = self._video(session, frame_idx=i, reverse=reverse).pred_masks
            low = logits.reshape(logits.shape[-2:]).cpu().numpy()
            tracked[i] = BoxedMask.from_mask(self._upsample(embeddings[i].sizes, low) > 0)
        return tracked


def _each(part: Any, change: Any) -> Any:
    """Apply a function to a tensor, or to each of several."""
    return change(part) if isinstance(part, torch.Tensor) else [change(one) for one in part]


def _kind(folder: Path) -> str:
    """Which of FAMILIES a folder holds; raises BadInputError if none."""
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise BadInputError(
            f"{folder / 'config.json'} is not the description of a model: download it again"
        ) from error
    if kind not in FAMILIES:
        raise BadInputError(
            f"{folder} holds a model of type {kind!r}: give one of {', '.join(FAMILIES)}"
        )
    return kind
