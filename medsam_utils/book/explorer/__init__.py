"""One case, its masks and its clicks: stored in a page that needs no kernel."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from PIL import Image

from ...case import BadInputError, Case, CaseReference
from ...clicks import PAPER, Protocol
from ...datasets import DATASETS, Dataset
from ...datasets.folder import EACH
from ...datasets.unlabelled import Unlabelled
from ...evaluate import under
from ...models import Model
from ...simulation import replay_clicks, simulate_clicks, stored_clicks
from ...statistics import at_percentiles, worst
from .in_page import SCRIPTS, plain_scripts, write_files
from .run_lengths import run_lengths


def source(*names: str) -> str:
    """Text of this package's files that a page needs, one after the other."""
    return "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)


SCRIPT = source(*SCRIPTS, "stored.js")
STYLE = source("explorer.css")
LAST = -1  # stands for a percentile of the cases that are worst after the last click
RANKS = {0: "worst", 25: "25th percentile", 50: "median", 75: "75th percentile", 100: "best"}
RANKS |= {LAST: "among the worst at last"}
LIMIT = 200_000  # bytes that an explorer may add to a page, 30,000 of them the script
LEAST = 0.002  # of an image that an object covers which is clicked on at once
# pixels of a mask's longest side; larger ones are reduced, every second or third pixel kept
LONGEST = 640
# By how much masks are reduced further, longest side of pictures, which cases: the first that fits
# is taken.
SIZES = [
    (1, 512, (LAST, 0, 25, 50, 75, 100)),
    (1, 384, (LAST, 0, 25, 50, 75, 100)),
    (1, 288, (LAST, 0, 25, 50, 75, 100)),
    (2, 224, (LAST, 0, 25, 50, 75, 100)),
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
    at_last: int = 0,
) -> HTML:
    """An explorer of the worst, quartile and best cases of each task that needs no kernel, server
    or network.

    rows: of all models, under `protocol`. Cases are ranked by the first model's IoU after one
    click; masks are drawn again from the stored clicks. limit: bytes of HTML; what would be more is
    shown with smaller pictures and masks, then with fewer cases. in_page: folder for the files with
    which a page that the book shows can answer own clicks, by every model of `models` that is a
    SAM; None: it only shows. at_last: so many of each task that are worst after the last click are
    stored too.
    """
    stored = list(_ranked_cases(under(dataset, protocol), models, rows, at_last))
    head = _head(dataset, models, protocol, int(rows["click"].max()))
    if in_page:
        head |= write_files(Path(in_page), models, stored, dataset.level)
    return _fitting(head, stored, limit)


def at_once(
    dataset: Dataset,
    models: Mapping[str, Model],
    references: Sequence[CaseReference],
    protocol: Protocol = PAPER,
    clicks: int = 5,
    limit: int = LIMIT,
    in_page: str | Path | None = None,
) -> HTML:
    """Return an explorer in which the reader clicks at once: the first prompt loads what answers
    it.

    references: the cases to choose from, each with those classes that have no intensity rule of
    their own and cover at least LEAST of the image. clicks: so many of Algorithm 1 are stored, for
    who asks for them and for a page that cannot answer. limit, in_page: as for `static`. Raises
    BadInputError where no class is left.
    """
    dataset = under(dataset, protocol)
    stored = [
        one
        for reference in references
        for one in _simulated_cases(dataset, models, reference, protocol, clicks)
    ]
    if not stored:
        raise BadInputError(f"{dataset.title}: no object in these cases covers {LEAST:.1%} of them")
    head = _head(dataset, models, protocol, clicks)
    if in_page:
        head |= write_files(Path(in_page), models, stored, dataset.level)
        files = {file for one in stored for file in one["embedded"].values()}
        sizes = [Path(in_page, file).stat().st_size for file in files]
        head["at_once"] = {"bytes": max(sizes, default=0)}
    return _fitting(head, stored, limit)


def _head(
    dataset: Dataset, models: Mapping[str, Model], protocol: Protocol, last: int
) -> dict[str, Any]:
    """What a page says once, for all cases. last: of the clicks that are stored."""
    return {
        "dataset": dataset.title,
        "code": f"{code_of(dataset, on_page=True)}, {list(models)!r}",
        "last": last,
        "rule": rule_of(protocol),
    }


def rule_of(protocol: Protocol) -> dict[str, Any]:
    """Return which mask counts after the first prompt and after later ones, which of masks that all
    miss, and what is fed back.

    >>> rule_of(PAPER)
    {'first': 'most_confident', 'later': 'most_confident', 'equals': 'first', 'feedback': False}
    """
    return {
        "first": protocol.mask_choice_at(1),
        "later": protocol.mask_choice_at(2),
        "equals": protocol.equals,
        "feedback": protocol.feedback,
    }


def _fitting(head: Mapping[str, Any], stored: Sequence[dict], limit: int) -> HTML:
    """The first of SIZES whose page has at most `limit` bytes, or the last."""
    for reduction, side, percentiles in SIZES:
        data = {**head, "images": {}, "tasks": {}}
        for one in stored:
            if one["percentile"] in percentiles:
                _pack(data, one, reduction, side)
        html = page_html(data)
        if len(html.encode()) <= limit:
            break
    return HTML(html)


def _ranked_cases(
    dataset: Dataset, models: Mapping[str, Model], rows: pd.DataFrame, at_last: int = 0
) -> Iterator[dict]:
    """What is shown of each task and percentile.

    at_last: so many of the worst after the last click are shown besides.
    """
    embeddings: dict[tuple, Any] = {}
    for class_name, task in dataset.tasks.items():
        task_rows = rows[rows["task"] == task]
        ranked_rows = task_rows[task_rows["model"] == next(iter(models))]
        ranked = at_percentiles(ranked_rows, tuple(RANKS)[:5])
        # of few cases one lies at several percentiles: it is the median rather than the worst or
        # the best
        found = {ranked[p][0]: (p, ranked[p][1]) for p in (25, 75, 0, 100, 50) if p in ranked}
        for row in worst(ranked_rows, at_last).itertuples():
            found.setdefault(row.case_id, (LAST, row.iou))
        for case_id, (percentile, value) in sorted(found.items(), key=lambda item: item[1]):
            case = dataset.load(case_id, class_name)
            view = case_id, hashlib.sha256(case.image.tobytes()).digest()
            for name, model in models.items():
                # classes share it, but for one with a window of its own
                if (name, *view) not in embeddings:
                    embeddings[name, *view] = model.encode(case.image)
            case_rows = task_rows[task_rows["case_id"] == case_id]
            answers = {}
            for name, model in models.items():
                model_rows = case_rows[case_rows["model"] == name]
                answers[name] = _replayed(case, model, model_rows, embeddings[name, *view])
            yield {
                "task": task,
                "percentile": percentile,
                "text": f"{RANKS[percentile]} · IoU {value:.2f} · {case_id}",
                "embeddings": {name: embeddings[name, *view] for name in models},
                "answers": answers,
                **_pictured(case, class_name),
            }


def _simulated_cases(
    dataset: Dataset,
    models: Mapping[str, Model],
    reference: CaseReference,
    protocol: Protocol,
    clicks: int,
) -> Iterator[dict]:
    """What is shown of the classes of one case, clicked on now: see `at_once`."""
    case = dataset.load(reference)
    masks = {
        name: mask
        for name, mask in case.masks.items()
        if name not in dataset.class_intensity and mask.mean() >= LEAST
    }
    case = replace(case, masks=masks)
    embeddings = {name: model.encode(case.image) for name, model in models.items()}
    answers: dict[str, dict[str, list]] = {dataset.tasks[name]: {} for name in masks}
    for name, model in models.items():
        for n, target in simulate_clicks(
            case, dataset.tasks, model, protocol, clicks, embeddings[name]
        ):
            step = _step(
                target.record(n), target.prediction.mask()[:: _every(case), :: _every(case)]
            )
            answers[target.task].setdefault(name, []).append(step)
    for class_name in masks:
        yield {
            "task": dataset.tasks[class_name],
            "percentile": 50,
            "text": case.case_id,
            "embeddings": embeddings,
            "answers": answers[dataset.tasks[class_name]],
            **_pictured(case, class_name),
        }


def _every(case: Case) -> int:
    """Which pixels of a mask are stored: every first, second, ..."""
    return -(-max(case.image.shape) // LONGEST)


def _pictured(case: Case, class_name: str) -> dict[str, Any]:
    """What a page needs of a case besides the answers."""
    return {
        "case": case.case_id,
        "picture": case.image,
        "step": _every(case),
        "truth": case.masks[class_name],
        "ignored": case.ignored,
    }


def _replayed(case: Case, model: Model, rows: pd.DataFrame, embedding: Any) -> list[dict]:
    """What a model answered to each click, drawn again from the rows of one object."""
    every = _every(case)
    clicks = range(1, len(stored_clicks(rows)) + 1)
    masks = replay_clicks(case, model, rows, clicks, embedding)
    steps, mask = [], None
    for row in rows.sort_values("click").to_dict("records"):
        if row["row"] >= 0:  # else nothing was wrong any more, and the mask stays
            mask = next(masks)[::every, ::every]
        steps.append(_step(row, mask))
    return steps


def _step(row: Mapping[str, Any], mask: np.ndarray) -> dict[str, Any]:
    """What a model answered to one click: its mask, every so many pixels, and the scores of its
    row."""
    click = [row["row"], row["col"], int(row["positive"])] if row["row"] >= 0 else None
    pairs = [[row.get(f"{of}_{i}", np.nan) for of in ("predicted_iou", "iou")] for i in range(3)]
    candidates = [[score(value) for value in pair] for pair in pairs if np.isfinite(pair[1])]
    scores = {"iou": score(row["iou"]), "chosen": row["mask_index"], "candidates": candidates}
    return {"click": click, "mask": mask, **scores}


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
    script = plain_scripts(*SCRIPTS, "stored.js")  # a page opened from a file refuses modules
    start = (
        f'const el = document.getElementById("{name}"); '
        "mount(el, JSON.parse(el.firstElementChild.text));"
    )
    return (
        f"<style>{STYLE}</style>"
        f'<div id="{name}"><script type="application/json">{text}</script></div>'
        "<noscript>The explorer needs JavaScript; the figures above do not.</noscript>"
        f"<script>(() => {{{script}{start}}})();</script>"
    )


def code_of(dataset: Dataset, on_page: bool = False) -> str:
    """The call that gives this dataset again.

    on_page: whether others read it; a folder is then named without what is above it.
    """
    if dataset.name in DATASETS:
        return f"load_dataset({dataset.name!r})"
    if isinstance(dataset.reader, Unlabelled):
        return repr(str(dataset.root / dataset.reader.only))
    found = all(re.fullmatch(r"object|label \d+", name) for name in dataset.classes)
    classes = {} if found else dict(dataset.classes)
    if classes and dataset.mask_kind == "instances":
        classes = dict.fromkeys(classes, EACH)
    said = {"classes": classes, "ignore": dataset.ignore, "threshold": dataset.threshold}
    options = "".join(f", {name}={value!r}" for name, value in said.items() if value)
    folder = dataset.root.name if on_page else str(dataset.root)
    return f"load_folder({folder!r}, name={dataset.name!r}{options})"


def data_address(image: np.ndarray, side: int, quality: int = 65) -> str:
    """A picture, uint8 H x W x 3, as WebP in a data: address, its longest side at most `side`
    pixels."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    picture.save(buffer, format="WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
