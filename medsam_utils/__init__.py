"""How well does a promptable model segment medical images from simulated clicks?"""

from importlib.metadata import version

from .clicks import PAPER, RELEASED_CODE, Click, Protocol, next_click
from .datasets import DATASETS, load_folder
from .demo import load_dataset
from .evaluate import evaluate
from .metrics import dice, iou
from .models import MODELS, load_model

__all__ = [
    "DATASETS",
    "MODELS",
    "PAPER",
    "RELEASED_CODE",
    "Click",
    "Protocol",
    "dice",
    "evaluate",
    "iou",
    "load_dataset",
    "load_folder",
    "load_model",
    "next_click",
]

__version__ = version("medsam-utils")
