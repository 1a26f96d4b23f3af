"""One case, its masks and its clicks: stored in a page that needs no kernel."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from PIL import Image

from ...case import Case
from ...clicks import PAPER, Protocol
from ...datasets import DATASETS, Dataset
from ...datasets.unlabelled import Unlabelled
from ...evaluate import under
from ...models import Model
from ...simulation import replay
from ...statistics import at_percentiles
from .in_page import write_files
from .run_lengths import run_lengths


def source(*names: str) -> str:
    """Text of this package's files that a page needs, one after the other."""
    return "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)


SCRIPT = source("contours.js", "box.js", "explorer.js", "stored.js")
STYLE = source("explorer.css")
RANKS = {0: "worst", 25: "25th percentile", 50: "median", 75: "75th percentile", 100: "best"}
LIMIT = 200_000  # bytes that an explorer may add to a page, 30,000 of them the script
LONGEST = 640  # pixels of a mask's longest side; larger ones are reduced, every second or third pixel kept
# By how much masks are reduced further, longest side of pictures, which cases: the first that fits
# is taken.
SIZES = [
    (1, 512, (0, 25, 50, 75, 100)),
    (1, 384, (0, 25, 50, 75, 100)),
    (1, 288, (0, 25, 50, 75, 100)),
    (2, 224, (0, 25, 50, 75, 100)),
    (2, 224, (0, 50, 100)),
    (3, 192, (50,)),
    (5, 128, (50,)),
]


def static(
    dataset: Dataset,
    models: Mapping[str, Model],
    rows: pd.DataFrame,
    protocol: Protocol = PAPER,
    limit: int = LIMIT,
    in_page: str | Path | None = None,
) -> HTML:
    """An explorer of the worst, quartile and best cases of each task that needs no kernel, server
    or network.

    rows: of all models, under `protocol`. Cases are ranked by the first model's IoU after one
    click; masks are drawn again from the stored clicks. limit: bytes of HTML; what would be more is
    shown with smaller pictures and masks, then with fewer cases. in_page: folder for the files with
    which a page that the book shows can answer own clicks, by every model of `models` that is a
    SAM; None: it only shows.
    """
    stored = list(_stored_cases(under(dataset, protocol), models, rows))
    answering = write_files(Path(in_page), models, stored, dataset.level) if in_page else {}
    for reduction, side, percentiles in SIZES:
        data = {
            "dataset": dataset.title,
            "code": f"{code_of(dataset)}, {list(models)!r}",
            "last": int(rows["click"].max()),
            "choice": protocol.mask_choice,
        }
        data |= {"images": {}, "tasks": {}, **answering}
        for one in stored:
            if one["percentile"] in percentiles:
                _pack(data, one, reduction, side)
        html = page_html(data)
        if len(html.encode()) <= limit:
            break
    return HTML(html)


def _stored_cases(
    dataset: Dataset, models: Mapping[str, Model], rows: pd.DataFrame
) -> Iterator[dict]:
    """What is shown of each task and percentile, with masks as arrays, every `step`-th pixel of
    them."""
    references = {reference.case_id: reference for reference in dataset.list().references}
    embeddings: dict[tuple, Any] = {}
    for class_name, task in dataset.tasks.items():
        of_task = rows[rows["task"] == task]
        ranked = at_percentiles(of_task[of_task["model"] == next(iter(models))], tuple(RANKS))
        # of few cases one lies at several percentiles: it is the median rather than the worst or
        # the best
        found = {ranked[p][0]: (p, ranked[p][1]) for p in (25, 75, 0, 100, 50) if p in ranked}
        for case_id, (percentile, value) in sorted(found.items(), key=lambda item: item[1]):
            case = dataset.load(references[case_id], class_name)
            step = -(-max(case.image.shape) // LONGEST)
            answers, view = {}, (case_id, hashlib.sha256(case.image.tobytes()).digest())
            for name, model in models.items():
                of_object = of_task[(of_task["case_id"] == case_id) & (of_task["model"] == name)]
                if (
                    name,
                    *view,
                ) not in embeddings:  # classes share it, but for one with a window of its own
                    embeddings[name, *view] = model.encode(case.image)
                answers[name] = _steps(case, model, of_object, embeddings[name, *view], step)
            yield {
                "task": task,
                "case": case_id,
                "percentile": percentile,
                "text": f"{RANKS[percentile]} · IoU {value:.2f} · {case_id}",
                "picture": case.image,
                "step": step,
                "truth": case.masks[class_name],
                "answers": answers,
                "embeddings": {name: embeddings[name, *view] for name in models},
            }


def _steps(case: Case, model: Model, rows: pd.DataFrame, embedding: Any, step: int) -> list[dict]:
    """What a model answered to each click: its mask, every `step`-th pixel, and the scores of its
    row."""
    steps = []
    for row in rows.sort_values("click").to_dict("records"):
        click = [row["row"], row["col"], int(row["positive"])] if row["row"] >= 0 else None
        if click:  # else nothing was wrong any more, and the mask stays
            mask = replay(case, model, rows, row["click"], embedding)[::step, ::step]
        pairs = [[row[f"predicted_iou_{i}"], row[f"iou_{i}"]] for i in range(3)]
        candidates = [[score(value) for value in pair] for pair in pairs if np.isfinite(pair[1])]
        scores = {"iou": score(row["iou"]), "chosen": row["mask_index"], "candidates": candidates}
        steps.append({"click": click, "mask": mask, **scores})
    return steps


def score(value: float) -> float | None:
    """Four digits of a score; None, which JSON knows, for NaN."""
    return round(value, 4) if np.isfinite(value) else None


def _pack(data: dict, one: dict, reduction: int, side: int) -> None:
    """Add one case to a page's data: masks as run lengths, its picture once for all tasks."""

    def packed(mask: np.ndarray) -> str:
        return run_lengths(mask[::reduction, ::reduction])

    truth = one["truth"][:: one["step"], :: one["step"]]
    address, shape = data_address(one["picture"], side), one["picture"].shape[:2]
    name = hashlib.sha256(address.encode()).hexdigest()[:8]
    data["images"][name] = {"image": address, "shape": shape, "step": one["step"] * reduction}
    case = {"case": one["case"], "text": one["text"], "image": name, "truth": packed(truth)}
    case["embedded"] = one.get("embedded", {})
    case["answers"] = {
        model: [{**step, "mask": packed(step["mask"])} for step in steps]
        for model, steps in one["answers"].items()
    }
    data["tasks"].setdefault(one["task"], []).append(case)


def page_html(data: Mapping[str, Any]) -> str:
    """Data of a page as HTML that shows itself, also from a file: everything inline, nothing is
    fetched."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    text = re.sub("<(?=[/!s])", r"\\u003c", text, flags=re.IGNORECASE)
    name = "explorer-" + hashlib.sha256(text.encode()).hexdigest()[:12]
    # a page opened from a file refuses modules: the same text as a plain script
    script = re.sub(r"^export (default .*)?", "", SCRIPT, flags=re.MULTILINE)
    start = f'const el = document.getElementById("{name}"); mount(el, JSON.parse(el.firstElementChild.text));'
    return (
        f"<style>{STYLE}</style>"
        f'<div id="{name}"><script type="application/json">{text}</script></div>'
        "<noscript>The explorer needs JavaScript; the figures above do not.</noscript>"
        f"<script>(() => {{{script}{start}}})();</script>"
    )


def code_of(dataset: Dataset) -> str:
    """The call that gives this dataset again."""
    if dataset.name in DATASETS:
        return f"load_dataset({dataset.name!r})"
    if isinstance(dataset.reader, Unlabelled):
        return repr(str(dataset.root / dataset.reader.only))
    return f"load_folder({str(dataset.root)!r}, name={dataset.name!r})"


def data_address(image: np.ndarray, side: int, quality: int = 65) -> str:
    """A picture, uint8 H x W x 3, as WebP in a data: address, its longest side at most `side`
    pixels."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    picture.save(buffer, format="WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
