"""Promptable segmentation models: the two verbs that they all have, and how one is loaded."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..boxed_mask import BoxedMask
from ..case import BadInputError, unknown_name
from ..clicks import Click
from .checkpoints import Checkpoint
from .hub import HubCheckpoint
from .registry import MODELS, ModelEntry

BATCH_SIZE = 4  # images that a GPU encodes at a time, and whose objects it decodes together


@dataclass(frozen=True)
class Prediction:
    """C candidate masks for each of B objects of one image.

    logits: float32, B x C x h x w, at the model's own low resolution; the object is > 0.
    predicted_iou: float32, B x C, the model's own estimate, NaN where it makes none. upsample:
    low-resolution logits h x w -> logits H x W on the image's grid. upsample_mask: the same, but
    gives the mask alone, for a model that need not upsample all logits for that; None upsamples.
    """

    logits: np.ndarray
    predicted_iou: np.ndarray
    upsample: Callable[[np.ndarray], np.ndarray]
    upsample_mask: Callable[[np.ndarray], BoxedMask] | None = None

    def __post_init__(self) -> None:
        """Raise BadInputError for logits that are NaN, which would count as an empty mask."""
        if self.logits.size and np.isnan(self.logits.min()):
            raise BadInputError(
                "the model answers with logits that are NaN: its weights are damaged or too large "
                "for its number format; take other weights, or float32"
            )

    def most_confident(self) -> np.ndarray:
        """Return the index of the candidate with the highest predicted IoU, for each object.

        Of several that are equal, the first.
        """
        return np.argmax(self.predicted_iou, axis=1)

    def mask(self, index: int, candidate: int) -> np.ndarray:
        """Return a candidate mask of one object on the image's grid, bool H x W."""
        return self.boxed_mask(index, candidate).mask()

    def boxed_mask(self, index: int, candidate: int) -> BoxedMask:
        """Return a candidate mask of one object on the image's grid, as the box that holds it."""
        logits = self.logits[index, candidate]
        return (
            self.upsample_mask(logits)
            if self.upsample_mask
            else BoxedMask.from_mask(self.upsample(logits) > 0)
        )


def as_prediction(
    masks: np.ndarray, shape: tuple[int, int], predicted_iou: np.ndarray | None = None
) -> Prediction:
    """Return the prediction of what a network or another method gives, for a model of your own.

    masks: bool, or float logits (the object is > 0); B x h x w for one mask per object, B x C x h x
    w for C candidates; on the image's grid or a smaller one, which is then resized bilinearly.
    shape: the image's (rows, cols). predicted_iou: B or B x C, None where the method estimates
    none. Raises ValueError for arrays of other shapes.

    >>> prediction = as_prediction(np.array([[[True, False], [True, False]]]), (2, 2))
    >>> prediction.mask(0, 0).tolist()
    [[True, False], [True, False]]
    """
    masks = np.asarray(masks)
    if masks.ndim == 3:
        masks = masks[:, None]
    if masks.ndim != 4 or 0 in masks.shape:
        raise ValueError(f"masks have shape {masks.shape}: give B x h x w or B x C x h x w")
    logits = np.where(masks, 1, -1) if masks.dtype == bool else masks
    estimates = np.full(masks.shape[:2], np.nan, np.float32)
    if predicted_iou is not None:
        estimates[:] = np.reshape(predicted_iou, estimates.shape)
    rows, cols = shape

    def upsample(low: np.ndarray) -> np.ndarray:
        if low.shape == (rows, cols):
            return low
        return cv2.resize(low, (cols, rows), interpolation=cv2.INTER_LINEAR)

    return Prediction(logits.astype(np.float32), estimates, upsample)


class Model:
    """A promptable model: an image is encoded once, then prompts are answered cheaply.

    A model of your own derives from this class and defines `encode` and `predict`, which may leave
    out the prompts that it does not take; `as_prediction` makes its answer of masks or logits. It
    also defines `settings` where its rows are stored. All else has a default.

    name: what the rows say (see `name_in_rows`), else the class's. weights: the checkpoint's
    sha256, or empty for a model without weights. prompts: what it takes of "clicks", "boxes" and
    "logits" (a mask of its own, fed back). candidates: masks of one answer to an ambiguous prompt.
    tracks: whether it has `track`. batched: whether several images at a time pay, as on a GPU.
    device: what it computes on. forks: whether copies of this process can go on with it, each on
    one thread, as a network on a CPU can. memory: MiB that encoding an image and answering take,
    beside the weights. advice: what would be faster here.
    """

    name: str
    weights: str = ""
    prompts: tuple[str, ...] = ("clicks",)
    candidates: int = 1
    tracks: bool = False
    batched: bool = False
    device: Any = "cpu"
    forks: bool = False
    memory: int = 0
    advice: str = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "name"):
            cls.name = cls.__name__

    def load(self) -> None:
        """Read the weights now, which is otherwise done when they are first needed."""

    def settings(self) -> dict[str, Any]:
        """Return what decides a prediction besides name, weights and code, as plain values.

        It is part of the fingerprint of stored rows: where a value changes, rows are computed anew.
        """
        return {}

    def encode(self, image: np.ndarray) -> Any:
        """Return all that `predict` needs to know of one image, uint8 H x W x 3 RGB."""
        raise NotImplementedError

    def predict(
        self,
        embedding: Any,
        clicks: Sequence[Sequence[Click]],
        boxes: np.ndarray | None = None,
        logits: np.ndarray | None = None,
    ) -> Prediction:
        """Return candidate masks for the prompts of B objects of the embedded image.

        clicks: equally many for each object, none only where a box or logits are given. boxes: int,
        B x 4, (first row, first col, last row, last col), inclusive. logits: float32, B x h x w, a
        candidate of an earlier Prediction for each object. A model with several candidates also
        takes `multimask`, False for the one mask that it makes of an unambiguous prompt. Raises
        BadInputError for a kind of prompt that the model does not take (see `refuse_prompts`),
        ValueError if the prompts do not fit together.
        """
        raise NotImplementedError

    def track(
        self, embeddings: Sequence[Any], masks: Mapping[int, BoxedMask], reverse: bool = False
    ) -> list[BoxedMask]:
        """Return the mask of one object in every slice of a volume, from those of some slices.

        embeddings: what `encode` gives of each slice. masks: slice -> the mask that is known there,
        one or more. reverse: from the last of them towards the first slice, instead of from the
        first of them towards the last slice. Slices on the other side have an empty mask. Not every
        model can, see `tracks`.
        """
        raise NotImplementedError

    def encode_batch(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Return what `encode` gives of each image."""
        return [self.encode(image) for image in images]

    def predict_batch(
        self,
        embeddings: Sequence[Any],
        clicks: Sequence[Sequence[Click]],
        boxes: np.ndarray | None = None,
        logits: np.ndarray | None = None,
        **options: Any,
    ) -> list[Prediction]:
        """Return a prediction for each of B objects in images of their own; see `predict`."""
        predictions = []
        for i, embedding in enumerate(embeddings):
            if boxes is not None:
                options["boxes"] = boxes[i : i + 1]
            if logits is not None:
                options["logits"] = logits[i : i + 1]
            predictions.append(self.predict(embedding, [clicks[i]], **options))
        return predictions


@dataclass(frozen=True)
class Recipe:
    """Arguments of `load_model` that give a model again, in another process for example."""

    name: str
    checkpoint: str | None = None
    device: str | None = None
    exact: bool = False
    dtype: str = "float32"
    embeddings: str | None = None
    image_size: int | None = None


def find_entry(name: str) -> ModelEntry:
    """Entry of the registry.

    Raises BadInputError for an unknown name; it lists the known ones.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]


def refuse_prompts(model: str, use: str, **prompts: np.ndarray | None) -> None:
    """Raise BadInputError if a prompt is given of a kind that this model does not take.

    use: name of a registered model that takes it. prompts: by kind, None where there is none.
    """
    for kind, given in prompts.items():
        if given is not None:
            raise BadInputError(
                f"{model} takes no {kind} as a prompt: choose a model that does, such as {use}"
            )


def check_prompts(
    clicks: Sequence[Sequence[Click]], boxes: np.ndarray | None, logits: np.ndarray | None
) -> None:
    """Raise ValueError if objects have different numbers of clicks, or no prompt at all."""
    counts = {len(object_clicks) for object_clicks in clicks}
    if len(counts) != 1:
        raise ValueError(
            "the objects of one call need equally many clicks each: call once per number of clicks"
        )
    if counts == {0} and boxes is None and logits is None:
        raise ValueError("an object needs a prompt: give it a click, a box or the logits of a mask")


def load_model(
    name: str,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    exact: bool = False,
    dtype: str = "float32",
    embeddings: str | Path | None = None,
    image_size: int | None = None,
) -> Model:
    """Return a model of the registry; weights are read, or downloaded, when they are first needed.

    checkpoint: a weights file to use instead of the registry's; with the name "sam", of whatever
    size. device: "cpu", "cuda", "cuda:1", "mps"; None takes the best there is; a model without a
    network computes on the CPU. exact: one object at a time, bit-equal to the reference predictor,
    instead of all objects of an image in one batch. dtype: what the image is encoded in, "float32",
    "bfloat16" or "float16". embeddings: folder in which SAM keeps encoded images, each number as
    two float16, so that what comes later with the same images and weights costs the decoder alone.
    image_size: pixels along a side of the network's input, for a released file of SAM 2 that was
    trained with another than 1024; such files do not tell.

    Raises BadInputError for an unknown name (it lists the known ones), for an option that the model
    does not have (see `model_options`), for weights that are missing, do not fit, or cannot be had,
    and for a device that this machine does not have.
    """
    recipe = Recipe(
        name,
        str(checkpoint) if checkpoint else None,
        device,
        exact,
        dtype,
        str(embeddings) if embeddings else None,
        image_size,
    )
    entry = find_entry(name)
    weights = _given(entry, str(checkpoint)) if checkpoint else entry.checkpoint
    if weights is None and entry.by_hand:
        raise BadInputError(
            f"{name} needs a weights file, {entry.by_hand}: give its path as `checkpoint`, as in "
            f'load_model("{name}", checkpoint="/data/weights.pth")'
        )
    given = {
        "checkpoint": weights,
        "exact": exact,
        "dtype": dtype,
        "embeddings": recipe.embeddings,
        "image_size": image_size,
    }
    chosen = {option: value for option, value in given.items() if value != DEFAULTS[option]}
    options = model_options(name, device=device, **chosen)
    if lacking := chosen.keys() - options.keys():
        raise BadInputError(
            f"{name} has no option {', '.join(sorted(lacking))}: leave it out, or choose a model "
            "that has it, such as sam_small"
        )
    name = name_in_rows(name, weights if checkpoint else None, dtype, image_size)
    return adapter(entry)(name, recipe=recipe, **{**entry.options, **options})


def _given(entry: ModelEntry, checkpoint: str) -> Checkpoint:
    """Return the weights that a user names in place of the registry's."""
    path = Path(checkpoint).expanduser()
    if entry.from_hub and not path.is_file():
        return HubCheckpoint.given(checkpoint)
    return Checkpoint(path)


DEFAULTS = {
    "checkpoint": None,
    "exact": False,
    "dtype": "float32",
    "embeddings": None,
    "image_size": None,
}
"""Options of `load_model` that not every model has, and what they are if nothing is said."""


def model_options(name: str, **options: Any) -> dict[str, Any]:
    """Return those options of `load_model` that a model has.

    So one set of options serves a list of different models:

    >>> model_options("grabcut", dtype="bfloat16", embeddings="folder")
    {}
    """
    known = inspect.signature(adapter(find_entry(name))).parameters
    return {option: value for option, value in options.items() if option in known}


def adapter(entry: ModelEntry) -> Callable[..., Model]:
    """Return the class that runs a model; imports its module."""
    module, adapter = entry.adapter.split(".")
    return getattr(importlib.import_module(f".{module}", __package__), adapter)


def name_in_rows(
    name: str, checkpoint: Checkpoint | None, dtype: str, image_size: int | None = None
) -> str:
    """Return the name of a model in rows, so that rows of two models never share a mean.

    That is the registry's name with what differs from it: a weights file that is not the registered
    one, an image size that is not, and a dtype other than float32: "sam (my_weights)", "sam_vit_b
    (bfloat16)", "transformers (MedSAM2_latest, 512 px)".
    """
    entry = MODELS[name]
    differences = []
    if checkpoint:
        location, usual = Path(checkpoint.location), entry.checkpoint
        is_folder = isinstance(checkpoint, HubCheckpoint)
        file = location.name if is_folder else location.stem
        if usual and not isinstance(usual, HubCheckpoint):
            is_other = checkpoint.sha256 != usual.expected_sha256
        else:  # nobody publishes a hash
            is_other = file not in (name, usual and Path(usual.location).name)
        differences += [file] if is_other else []
    if image_size not in (None, entry.options.get("image_size", 1024)):
        differences.append(f"{image_size} px")
    if dtype != "float32":
        differences.append(dtype)
    return f"{name} ({', '.join(differences)})" if differences else name


@functools.lru_cache(maxsize=4)
def load_model_once(recipe: Recipe) -> Model:
    """As `load_model`, but equal recipes give one object, for the models of a worker."""
    return load_model(**vars(recipe))
