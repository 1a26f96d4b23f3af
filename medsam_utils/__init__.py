"""How well does a promptable model segment medical images from simulated clicks?"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from .case import BadCaseError, BadInputError, Case
from .clicks import CVPR, PAPER, RELEASED_CODE, SAM_ADVICE, Click, Protocol, next_click
from .datasets import DATASETS, load_folder
from .datasets.dataset import Dataset
from .datasets.unlabelled import load_images
from .demo import load_dataset
from .evaluate import evaluate
from .export import export_masks
from .metrics import dice, iou
from .models import MODELS, Model, Prediction, as_prediction, load_model
from .simulation import replay
from .statistics import mean_curves, summary, worst

__all__ = [
    "CVPR",
    "DATASETS",
    "MODELS",
    "PAPER",
    "RELEASED_CODE",
    "SAM_ADVICE",
    "BadCaseError",
    "BadInputError",
    "Case",
    "Click",
    "Dataset",
    "Explorer",
    "Model",
    "Prediction",
    "Protocol",
    "as_prediction",
    "compare",
    "dice",
    "evaluate",
    "export_masks",
    "iou",
    "load_dataset",
    "load_folder",
    "load_images",
    "load_model",
    "mean_curves",
    "next_click",
    "replay",
    "summary",
    "worst",
]

__version__ = version("medsam-utils")


_LATER = {"Explorer": ".book.explorer.live", "compare": ".comparison"}
"""Names whose modules are imported when they are asked for: one needs the extra `book`, one takes a
second."""


def __getattr__(name: str) -> Any:
    """Import what `_LATER` names."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name], __name__), name)
