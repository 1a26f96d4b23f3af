"""Malformed messages, states and sessions of the explorer."""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medsam_utils import Model, as_prediction, load_folder
from medsam_utils.book.explorer.live import Explorer

from .outcomes import Trial, damage

HOSTILE_TEXTS = (
    "<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "$x_{y}$", "../../etc/x",
    "CON", "a\0b", "\udce9", "x" * 5000, "{{7*7}}", "%s%n", "'; DROP TABLE x; --", "\u202egnp.exe",
)  # fmt: skip


class Square(Model):
    """Answers with the same square, whatever is clicked."""

    name = "square"

    def encode(self, image: np.ndarray) -> tuple[int, ...]:
        return image.shape[:2]

    def predict(self, shape: Any, clicks: Any, boxes: Any = None) -> Any:
        masks = np.zeros((len(clicks), *shape), bool)
        masks[:, 2:8, 3:9] = True
        return as_prediction(masks, shape)


def odd_value(rng: np.random.Generator) -> Any:
    """Return a value that no page sends and no session holds."""
    nested: Any = []
    for _ in range(int(rng.choice([2, 200]))):
        nested = [nested]
    values = [
        *(None, True, -1, 0, 3, 10**9, 2**70, 400_000, 1.5, 1e308, float("nan"), float("inf")),
        *("", "x", [], {}, nested, [[1, 2]], [[1, 2, 3, 4]], [[-5, 99999, 1]], {"square": 10**12}),
        *([400_000, 400_000], [0, 0], [-3, -3], [2**40, 2**40], "0" * 1000, "o" * 100_000),
        *HOSTILE_TEXTS,
    ]
    return copy.deepcopy(values[rng.integers(len(values))])


def changed(value: Any, rng: np.random.Generator, depth: int = 0) -> Any:
    """Return a copy of plain values in which one is another, missing, or there twice."""
    if depth and (rng.random() < 0.3 or not isinstance(value, (dict, list)) or not value):
        return odd_value(rng)
    if isinstance(value, dict):
        name = list(value)[rng.integers(len(value))]
        if rng.random() < 0.2:
            return {other: one for other, one in value.items() if other != name}
        return {**value, name: changed(value[name], rng, depth + 1)}
    if isinstance(value, list) and value:
        place = int(rng.integers(len(value)))
        if rng.random() < 0.2:
            return value * 2
        return [*value[:place], changed(value[place], rng, depth + 1), *value[place + 1 :]]
    return odd_value(rng)


def explorers(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """An explorer that gets states, messages and sessions of every kind goes on working."""
    for name in ("a", "A", "b"):
        for where in ("images", "masks"):
            (folder / where).mkdir(exist_ok=True)
            values = np.zeros((12, 14), np.uint8)
            values[3:9, 4:10] = 1
            Image.fromarray(values * (200 if where == "images" else 1)).save(
                folder / where / f"{name}.png"
            )
    explorer = Explorer(load_folder(folder, name="own"), {"square": Square()})
    for case in ("a", "A"):
        explorer.state = {**explorer.state, "case": case, "clicks": [[5, 5, 1]], "box": None}
        explorer.accept()
    whole, state = explorer.session, dict(explorer.state)
    explorer.save(folder / "out")
    text = (folder / "out/session.json").read_bytes()
    messages: list[dict[str, list]] = [
        *({"compare": [True]}, {"next": []}, {"next": ["square"]}, {"undo": []}, {"accept": []}),
        *({"accept": ["square"]}, {"withdraw": []}, {"withdraw": ["own", "own", "a", "object"]}),
        {"save": [str(folder / "saved"), ["nifti", "png", "coco"], True]},
        {"resume": [str(folder / "changed")]},
    ]

    def works() -> bool:
        """Whether it answers as at first."""
        explorer.state = {**state, "candidate": None}
        return explorer.answers[0]["mask"] == whole["annotations"][0]["counts"]

    while True:
        kind = str(rng.choice(["state", "message", "session", "file"]))
        if kind == "state":
            value: Any = changed(state, rng)
        elif kind == "message":
            value = messages[rng.integers(len(messages))]
            value = changed(value, rng) if rng.random() < 0.8 else odd_value(rng)
        else:
            value = changed(json.loads(text), rng)
        content = json.dumps(value).encode()
        if kind == "file" and rng.random() < 0.5:
            odd = [b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"", b"null", b"9" * 10_000]
            odd.append(damage(text, rng)[1])
            content = odd[rng.integers(len(odd))]
        if kind == "state" and not isinstance(value, dict):
            continue  # the widget's own check
        if kind == "message" and isinstance(value, dict):
            for name in value.keys() & {"save", "resume"}:  # nothing is written anywhere else
                place = value[name][0] if isinstance(value[name], list) and value[name] else 0
                if isinstance(place, str) and not place.startswith(str(folder)):
                    value = {**value, name: [f"{folder}/saved/in/{place}", *value[name][1:]]}

        def read(kind: str = kind, value: Any = value, content: bytes = content) -> bool:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if kind == "state":
                    explorer.state = value
                elif kind == "message":
                    explorer._receive(None, value, None)
                else:
                    (folder / "changed").mkdir(exist_ok=True)
                    (folder / "changed/session.json").write_bytes(content)
                    try:
                        if kind == "file":
                            explorer._receive(None, {"resume": [str(folder / "changed")]}, None)
                        else:
                            explorer.session = value
                        explorer._receive(None, {"save": [str(folder / "saved")]}, None)
                    finally:
                        shutil.rmtree(folder / "saved", ignore_errors=True)
                        explorer.session = whole
                json.dumps([explorer.notice, explorer.state], ensure_ascii=False).encode()
                return works()

        yield kind, read, lambda found: found is True


EXPLORER = {"explorers": explorers}
