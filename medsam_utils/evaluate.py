"""Cases -> rows: every object of a dataset through Algorithm 1, stored case by case."""

from __future__ import annotations

import functools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .case import BadCaseError, BadInputError, CaseReference, Exclusion
from .clicks import PAPER, Protocol
from .datasets import Dataset
from .fingerprint import case_fingerprints, run_settings
from .intensity import MaxScaling
from .models import TOGETHER, Model
from .results import ROW_TYPES, Store, as_rows
from .run_record import Stopwatch, Timed, peak_memory, versions
from .simulation import Object, clicked, objects_of, refuse_further_clicks
from .workers import on_one_thread, run

BATCH = 8  # cases a task of a worker holds: neighbouring slices then share one read of their volume
BATCH_ON_GPU = 32  # more, as the next images are read and encoded while these are clicked on
Result = tuple[pd.DataFrame, list[Exclusion], int, dict[str, Any]]  # see `_in_turn`
TABLES = 100  # rows of so many tasks wait as they are: a small table takes a hundred times what it holds


def evaluate(
    dataset: Dataset,
    model: Model,
    protocol: Protocol = PAPER,
    clicks: int = 9,
    store: str | Path | None = None,
    executor: Executor | None = None,
    max_cases: int | None = None,
    shard: tuple[int, int] | None = None,
) -> pd.DataFrame:
    """Rows of a dataset under a model and a protocol, one per (object, click): see `results.ROW_TYPES`.

    clicks: how many are simulated for each object. store: folder from which finished cases are read and
    to which new ones are added; without it everything is computed. executor: any
    `concurrent.futures.Executor` to compute on (see `workers.executor_for`), None for this process.
    max_cases: at most so many, spread evenly over the dataset's order. shard: (k, n) with k from 0 to
    n - 1, the k-th of n parts of the cases; parts computed anywhere into one store are one run.
    The rows depend on data, model and protocol alone, never on order, workers or interruptions.
    `rows.attrs["excluded"]` lists the cases left out, each with its reason; `rows.attrs["record"]` tells
    when, where and how long, stage by stage, summed over the workers.
    Raises BadInputError if no case of the dataset can be used, if there is no such shard, or if the protocol
    allows no further click.
    """
    refuse_further_clicks(protocol, clicks)
    started, clock = datetime.now(UTC), time.perf_counter()
    dataset = under(dataset, protocol)
    listing = dataset.list()
    references = _part(spread(listing.references, max_cases), shard)
    settings = run_settings(dataset, model, protocol, clicks)
    fingerprints = case_fingerprints(settings, dataset, references)

    kept = Store(store, dataset.name, model.name, protocol.name) if store else None
    tables = [kept.read(fingerprints.values())] if kept else []
    finished = set(tables[0]["fingerprint"]) if kept else set()
    missing = [reference for reference in references if fingerprints[reference] not in finished]
    excluded = list(listing.exclusions)

    task = dataset, model, protocol, clicks
    if executor:
        size = BATCH_ON_GPU if _together(model) else BATCH
        batches = ((missing[i : i + size], *task) for i in range(0, len(missing), size))
        results = run(_batch, batches, executor)
    else:
        results = on_one_thread(_in_turn(missing, *task, ahead=True))
    fingerprint_of = {reference.case_id: fingerprint for reference, fingerprint in fingerprints.items()}
    progress = tqdm(
        total=len(missing), desc=f"{dataset.name}, {model.name}", unit="case", disable=not missing
    )
    packed, seconds, memory = [], Counter(), [peak_memory()]
    with kept or nullcontext(), progress:
        for rows, left_out, done, of_worker in results:
            seconds.update(of_worker["seconds"])
            memory.append(of_worker["peak_memory"])
            if kept:
                kept.append(rows.assign(fingerprint=rows["case_id"].map(fingerprint_of.get).astype("string")))
            tables.append(rows)
            if len(tables) == TABLES:
                packed.append(pd.concat(tables, ignore_index=True).to_parquet(index=False))
                tables = []
            excluded.extend(left_out)
            progress.update(done)

    tables += [pd.read_parquet(BytesIO(part), use_threads=False) for part in packed]
    rows = _in_order(pd.concat([as_rows([]), *tables], ignore_index=True), references, dataset)
    if rows.empty and (references or not shard):
        reasons = "; ".join(f"{e.path}: {e.reason}" for e in excluded[:3]) or "it is empty"
        raise BadInputError(
            f"{dataset.root} has no usable case of {dataset.name} ({reasons}): see book/run.md"
        )
    record = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "cases": len(references),
        "computed": len(missing),
        "excluded": len(excluded),
        "device": str(getattr(model, "device", None) or "cpu"),
        "stages": {stage: round(value, 3) for stage, value in sorted(seconds.items())},
        "peak_memory": max((mebibytes for mebibytes in memory if mebibytes), default=None),
        "shard": shard,
        "settings": settings,
        "versions": versions(),
    }
    if kept and missing:
        kept.write_record(record)
    rows.attrs = {
        "excluded": sorted((asdict(e) for e in excluded), key=lambda e: e["case_id"]),
        "record": record,
    }
    return rows


def _batch(references: Sequence[CaseReference], *task: Any) -> Result:
    """What `_in_turn` gives of some cases, in one; a task of a worker."""
    rows, excluded, done, took = zip(*_in_turn(references, *task, ahead=_together(task[1])), strict=True)
    left_out = [case for of_some in excluded for case in of_some]
    seconds = sum((of_some["seconds"] for of_some in took), Counter())
    took = {"seconds": seconds, "peak_memory": took[-1]["peak_memory"]}
    return pd.concat(rows, ignore_index=True), left_out, sum(done), took


def _in_turn(
    references: Sequence[CaseReference],
    dataset: Dataset,
    model: Model,
    protocol: Protocol,
    clicks: int,
    ahead: bool,
) -> Iterator[Result]:
    """Rows of one case after the other, or of TOGETHER at a time where the model answers several together.

    With them: the cases left out, how many cases that makes, and what it took: seconds by stage, and the peak
    memory of the process in MiB. ahead: whether the next cases are read and encoded meanwhile, so that their
    stages do not add up to the time that has passed.
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
            Exclusion(reference.case_id, str(found), _path(dataset, reference))
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
        yield rows, excluded, len(group), {"seconds": until_now - noted, "peak_memory": peak_memory()}
        noted = until_now


def _encoded(
    references: Sequence[CaseReference],
    dataset: Dataset,
    model: Timed,
    protocol: Protocol,
    watch: Stopwatch,
    ahead: bool,
) -> Iterator[list[tuple[CaseReference, list[Object] | BadCaseError]]]:
    """Cases with their encoded objects, or why one cannot be used, in groups that the model answers together.

    ahead: the next ones are read in one thread and encoded in another meanwhile.
    """

    def load(reference: CaseReference) -> tuple[CaseReference, list[Object] | BadCaseError]:
        with watch("load"):
            try:
                views = dataset.views(reference)
                objects = [target for view in views for target in objects_of(view, dataset.tasks, protocol)]
            except BadCaseError as error:
                return reference, error
        least = protocol.min_object_pixels
        return reference, objects or BadCaseError(f"no object of at least {least} pixels")

    def encode(group: list[tuple[CaseReference, list[Object] | BadCaseError]]) -> list[tuple]:
        objects = [target for _, found in group if isinstance(found, list) for target in found]
        images = {id(target.case): target.case.image for target in objects}
        encode_all = model.encode_all if model.together else functools.partial(map, model.encode)
        embeddings = dict(zip(images, encode_all(list(images.values())), strict=True))
        for target in objects:
            target.embedding = embeddings[id(target.case)]
        return group

    size = TOGETHER if model.together else 1
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


def _together(model: Model) -> bool:
    """Whether the model answers several images together, as on a GPU."""
    return getattr(model, "together", False)


def _path(dataset: Dataset, reference: CaseReference) -> str:
    """Image file of a case, below the dataset's folder."""
    return reference.images[0].relative_to(dataset.root).as_posix()


def under(dataset: Dataset, protocol: Protocol) -> Dataset:
    """The dataset as the protocol reads it: mask threshold, and intensities where it overrules the entry."""
    dataset = replace(dataset, mask_threshold=protocol.mask_threshold)
    if protocol.intensity == "max":
        dataset = replace(dataset, intensity=MaxScaling(), class_intensity={})
    return dataset


def spread(references: Sequence[CaseReference], limit: int | None) -> list[CaseReference]:
    """At most `limit` references, evenly spaced, so that every volume and class has its share."""
    if not limit or limit >= len(references):
        return list(references)
    return [references[i] for i in np.linspace(0, len(references) - 1, limit).round().astype(int)]


def _part(references: Sequence[CaseReference], shard: tuple[int, int] | None) -> list[CaseReference]:
    """The k-th of n parts, neighbours together, so that the slices of a volume are read by one process."""
    if shard is None:
        return list(references)
    k, n = shard
    if not 0 <= k < n:
        raise BadInputError(f"shard {k} of {n} does not exist: count from 0 to {n - 1}")
    return list(references[len(references) * k // n : len(references) * (k + 1) // n])


def _in_order(rows: pd.DataFrame, references: Sequence[CaseReference], dataset: Dataset) -> pd.DataFrame:
    """Rows sorted by case, task and click as the dataset lists them, whatever order they came in."""
    case_order = {reference.case_id: i for i, reference in enumerate(references)}
    task_order = {task: i for i, task in enumerate(dataset.tasks.values())}
    keys = pd.DataFrame(
        {
            "case": rows["case_id"].map(case_order),
            "task": rows["task"].map(task_order),
            "click": rows["click"],
        }
    )
    return rows.loc[keys.sort_values(["case", "task", "click"]).index, list(ROW_TYPES)].reset_index(drop=True)
