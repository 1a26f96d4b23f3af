"""What a run notes beside its rows: versions, seconds by stage, memory."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .models import Model, Prediction

PACKAGES = (
    "medsam-utils",
    "torch",
    "segment-anything",
    "numpy",
    "opencv-python-headless",
    "pillow",
)


class Stopwatch:
    """Seconds by stage.

    >>> watch = Stopwatch()
    >>> with watch("load"):
    ...     pass
    >>> list(watch.seconds)
    ['load']
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of a `with` block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start  # type: ignore[assignment]


class Timed:
    """A model whose verbs are timed as the stages encode and predict.

    On a GPU, where a call returns before it is done, encoding is waited for in the first
    prediction.
    """

    def __init__(self, model: Model, watch: Stopwatch) -> None:
        self.model, self.watch = model, watch

    @property
    def batched(self) -> bool:
        """As the model's, if it has it."""
        return self.model.batched

    @property
    def candidates(self) -> int:
        """As the model's."""
        return self.model.candidates

    def encode(self, image: Any) -> Any:
        """As the model's."""
        with self.watch("encode"):
            return self.model.encode(image)

    def encode_batch(self, images: Any) -> list[Any]:
        """As the model's."""
        with self.watch("encode"):
            return self.model.encode_batch(images)

    def predict(self, embedding: Any, clicks: Any, **prompts: Any) -> Prediction:
        """As the model's."""
        with self.watch("predict"):
            return self.model.predict(embedding, clicks, **prompts)

    def predict_batch(self, embeddings: Any, clicks: Any, **prompts: Any) -> list[Prediction]:
        """As the model's."""
        with self.watch("predict"):
            return self.model.predict_batch(embeddings, clicks, **prompts)


def peak_memory() -> int | None:
    """Return the most memory that this process has held, in MiB, None if unknown."""
    status = Path(
        "/proc/self/status"
    )  # Linux, where getrusage counts what the starting process held, too
    if status.exists() and (line := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(line[1]) >> 10
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the rows."""
    return {name: importlib.metadata.version(name) for name in PACKAGES} | {
        "python": platform.python_version()
    }
