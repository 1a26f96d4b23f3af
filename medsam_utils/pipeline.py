"""Cases to rows, without a store: reading, encoding and clicking side by side, on whatever computes
them."""

from __future__ import annotations

import functools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pandas as pd

from .case import BadCaseError, CaseReference, Exclusion
from .clicks import Protocol
from .datasets import Dataset
from .models import BATCH_SIZE, Model
from .results import as_rows
from .run_record import Stopwatch, Timed, peak_memory
from .simulation import Object, clicked, objects_of

Result = tuple[pd.DataFrame, list[Exclusion], int, dict[str, Any]]  # see `in_turn`


def batch(references: Sequence[CaseReference], *task: Any) -> Result:
    """What `in_turn` gives of some cases, in one; a task of a worker."""
    rows, excluded, done, took = zip(
        *in_turn(references, *task, ahead=task[1].batched), strict=True
    )
    left_out = [case for of_some in excluded for case in of_some]
    seconds = sum((of_some["seconds"] for of_some in took), Counter())
    resources = {"seconds": seconds, "peak_memory": took[-1]["peak_memory"]}
    return pd.concat(rows, ignore_index=True), left_out, sum(done), resources


def in_turn(
    references: Sequence[CaseReference],
    dataset: Dataset,
    model: Model,
    protocol: Protocol,
    clicks: int,
    ahead: bool,
) -> Iterator[Result]:
    """Rows of one case after the other, or of BATCH_SIZE at a time where the model answers several
    together.

    With them: the cases left out, how many cases that makes, and what it took: seconds by stage,
    and the peak memory of the process in MiB. ahead: whether the next cases are read and encoded
    meanwhile, so that their stages do not add up to the time that has passed.
    """
    watch, noted = Stopwatch(), Counter()
    timed = Timed(model, watch)
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
            for n, target in clicked(objects, timed, protocol, clicks)
        ]
        rows, predicted = as_rows(records), watch.seconds["predict"] - before
        watch.seconds["clicks and scores"] += time.perf_counter() - start - predicted
        until_now = watch.seconds.copy()
        yield (
            rows,
            excluded,
            len(group),
            {"seconds": until_now - noted, "peak_memory": peak_memory()},
        )
        noted = until_now


def _encoded(
    references: Sequence[CaseReference],
    dataset: Dataset,
    model: Timed,
    protocol: Protocol,
    watch: Stopwatch,
    ahead: bool,
) -> Iterator[list[tuple[CaseReference, list[Object] | BadCaseError]]]:
    """Cases with their encoded objects, or why one cannot be used, in groups that the model answers
    together.

    ahead: the next ones are read in one thread and encoded in another meanwhile.
    """

    def load(reference: CaseReference) -> tuple[CaseReference, list[Object] | BadCaseError]:
        with watch("load"):
            try:
                views = dataset.views(reference)
                objects = [
                    target for view in views for target in objects_of(view, dataset.tasks, protocol)
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
    groups = iter(lambda: list(islice(loaded, size)), [])
    return _ahead(encode, groups, 1) if ahead else map(encode, groups)


def _ahead(function: Callable, items: Iterable, count: int) -> Iterator[Any]:
    """function(item) of all items in turn, up to `count` of them computed ahead in a thread."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque()
        for item in items:
            waiting.append(thread.submit(function, item))
            if len(waiting) > count:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)
