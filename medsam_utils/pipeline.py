"""Cases to rows, without a store: cases are read, encoded and clicked at the same time."""

from __future__ import annotations

import functools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import pandas as pd

from .case import BadCaseError, CaseReference, Exclusion
from .clicks import Protocol
from .datasets import Dataset
from .metrics import further_scores
from .models import BATCH_SIZE, Model
from .results import as_rows
from .run_record import Stopwatch, Timed, peak_memory
from .simulation import Object, click_objects, find_objects

Result = tuple[pd.DataFrame, list[Exclusion], int, dict[str, Any]]  # see `evaluate_cases`


def evaluate_batch(references: Sequence[CaseReference], *task: Any) -> Result:
    """Return what `evaluate_cases` yields of some cases, in one; the task of a worker."""
    dataset, model, protocol, clicks, metrics = task
    parts = evaluate_cases(
        references, dataset, model, protocol, clicks, metrics, ahead=model.batched
    )
    rows, exclusions, done, resources = zip(*parts, strict=True)
    return (
        pd.concat(rows, ignore_index=True),
        [exclusion for part in exclusions for exclusion in part],
        sum(done),
        {
            "seconds": sum((part["seconds"] for part in resources), Counter()),
            "peak_memory": resources[-1]["peak_memory"],
        },
    )


def evaluate_cases(
    references: Sequence[CaseReference],
    dataset: Dataset,
    model: Model,
    protocol: Protocol,
    clicks: int,
    metrics: Sequence[str],
    ahead: bool,
) -> Iterator[Result]:
    """Yield the rows of one case after the other, or of BATCH_SIZE cases for a batched model.

    metrics: further ones, of `metrics.further_names`. With the rows: the cases left out, the number
    of cases, and the resources: seconds by stage, and the peak memory of the process in MiB. ahead:
    whether the next cases are read and encoded in other threads; their stages then overlap, and
    their seconds do not add up to the time that has passed.
    """
    watch = Stopwatch()
    noted: Counter[str] = Counter()
    timed: Any = Timed(model, watch)  # takes the model's place
    constant = {
        "dataset": dataset.name,
        "model": model.name,
        "weights": model.weights,
        "protocol": protocol.name,
        "level": dataset.level,
    }
    for group in _encoded(references, dataset, timed, protocol, watch, ahead):
        excluded = [
            dataset.exclusion(reference.case_id, found, reference.images[0])
            for reference, found in group
            if isinstance(found, BadCaseError)
        ]
        objects = [target for _, found in group if isinstance(found, list) for target in found]
        start, before = time.perf_counter(), watch.seconds["predict"]
        records = [
            {name: getattr(target.case, name) for name in ("case_id", "patient_id", "slice_index")}
            | constant
            | target.record(n)
            | _further(target, metrics)
            for n, target in click_objects(objects, timed, protocol, clicks)
        ]
        rows, predicted = as_rows(records, metrics), watch.seconds["predict"] - before
        others = time.perf_counter() - start - predicted
        watch.seconds["clicks and scores"] += others  # type: ignore[assignment]
        until_now = watch.seconds.copy()
        yield (
            rows,
            excluded,
            len(group),
            {"seconds": until_now - noted, "peak_memory": peak_memory()},
        )
        noted = until_now


def _further(target: Object, metrics: Sequence[str]) -> dict[str, Any]:
    """Return the further metrics of an object's last prediction."""
    if target.prediction is None:
        return {}
    return further_scores(metrics, target.prediction, target.truth, target.case.spacing)


def _encoded(
    references: Sequence[CaseReference],
    dataset: Dataset,
    model: Timed,
    protocol: Protocol,
    watch: Stopwatch,
    ahead: bool,
) -> Iterator[list[tuple[CaseReference, list[Object] | BadCaseError]]]:
    """Yield groups of cases with their encoded objects, or with why a case cannot be used.

    ahead: the next cases are read in one thread and encoded in another.
    """

    def load(reference: CaseReference) -> tuple[CaseReference, list[Object] | BadCaseError]:
        with watch("load"):
            try:
                views = dataset.views(reference)
                objects = [
                    target
                    for view in views
                    for target in find_objects(view, dataset.tasks, protocol)
                ]
            except BadCaseError as error:
                return reference, error
        least = protocol.min_object_pixels
        return reference, objects or BadCaseError(
            f"no object of at least {least} pixels", kind="no object"
        )

    def encode(group: list[tuple[CaseReference, list[Object] | BadCaseError]]) -> list[tuple]:
        objects = [target for _, found in group if isinstance(found, list) for target in found]
        images = {id(target.case): target.case.image for target in objects}
        encode_batch = model.encode_batch if model.batched else functools.partial(map, model.encode)
        embeddings = dict(zip(images, encode_batch(list(images.values())), strict=True))
        for target in objects:
            target.embedding = embeddings[id(target.case)]
        return group

    size = BATCH_SIZE if model.batched else 1
    loaded = _ahead(load, references, size) if ahead else map(load, references)
    groups = _groups(loaded, size)
    return _ahead(encode, groups, 1) if ahead else map(encode, groups)


def _groups(items: Iterable, size: int) -> Iterator[list]:
    """Yield lists of `size` items; the last one may be shorter."""
    items = iter(items)
    while group := list(islice(items, size)):
        yield group


def _ahead(function: Callable, items: Iterable, count: int) -> Iterator[Any]:
    """Yield function(item) of all items in order; up to `count` are computed ahead in a thread."""
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future] = deque()
        for item in items:
            waiting.append(thread.submit(function, item))
            if len(waiting) > count:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)
