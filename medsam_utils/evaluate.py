"""Cases -> rows: every object of a dataset through Algorithm 1, stored case by case."""

from __future__ import annotations

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

from .case import BadCaseError, BadInputError, Case, CaseReference, Exclusion
from .clicks import PAPER, Protocol
from .datasets import Dataset
from .fingerprint import case_fingerprints, run_settings
from .intensity import MaxScaling
from .models import TOGETHER, Model
from .results import ROW_TYPES, Store, as_rows
from .run_record import Stopwatch, Timed, peak_memory, versions
from .simulation import simulate
from .workers import run

BATCH = 8  # cases a task of a worker holds: neighbouring slices then share one read of their volume
BATCH_ON_GPU = 32  # more, as the next images are read while these are computed
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
    Raises BadInputError if no case of the dataset can be used, or there is no such shard.
    """
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

    size = BATCH_ON_GPU if _on_gpu(model) else BATCH if executor else 1
    tasks = ((dataset, missing[i : i + size], model, protocol, clicks) for i in range(0, len(missing), size))
    fingerprint_of = {reference.case_id: fingerprint for reference, fingerprint in fingerprints.items()}
    progress = tqdm(
        total=len(missing), desc=f"{dataset.name}, {model.name}", unit="case", disable=not missing
    )
    packed, seconds, memory = [], Counter(), [peak_memory()]
    with kept or nullcontext(), progress:
        for rows, left_out, done, of_worker in run(_evaluate_batch, tasks, executor):
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


def _evaluate_batch(
    dataset: Dataset, references: Sequence[CaseReference], model: Model, protocol: Protocol, clicks: int
) -> tuple[pd.DataFrame, list[Exclusion], int, dict[str, Any]]:
    """Rows of some cases, the cases left out, how many cases that makes together, and what it took.

    The last are seconds by stage, and the peak memory of the process in MiB.
    """
    records, excluded = [], []
    watch = Stopwatch()
    timed, start = Timed(model, watch), time.perf_counter()
    for reference, views, embeddings in _encoded(dataset, references, timed, watch):
        if isinstance(views, BadCaseError):
            excluded.append(Exclusion(reference.case_id, str(views), _path(dataset, reference)))
            continue
        constant = {
            "dataset": dataset.name,
            "case_id": reference.case_id,
            "patient_id": reference.patient_id,
            "slice_index": reference.slice_index,
            "model": model.name,
            "weights": model.weights,
            "protocol": protocol.name,
            "level": dataset.level,
        }
        of_case = [
            constant | record
            for case, embedding in zip(views, embeddings, strict=True)
            for record in simulate(case, dataset.tasks, timed, protocol, clicks, embedding)
        ]
        if not of_case:
            reason = f"no object of at least {protocol.min_object_pixels} pixels"
            excluded.append(Exclusion(reference.case_id, reason, _path(dataset, reference)))
        records.extend(of_case)
    rows = as_rows(records)
    watch.seconds["clicks and scores"] = time.perf_counter() - start - watch.seconds.total()
    return rows, excluded, len(references), {"seconds": watch.seconds, "peak_memory": peak_memory()}


def _encoded(
    dataset: Dataset, references: Sequence[CaseReference], model: Timed, watch: Stopwatch
) -> Iterator[tuple[CaseReference, list[Case] | BadCaseError, list[Any]]]:
    """Cases, or why they cannot be used, and what the model made of their images.

    On a GPU some images are encoded together, and the next are read meanwhile: then "load" is what the GPU
    waits for. On a CPU neither saves anything, so that images are read and encoded where they are needed, and
    the embeddings are None.
    """

    def load(reference: CaseReference) -> tuple[CaseReference, list[Case] | BadCaseError]:
        try:
            return reference, list(dataset.views(reference))
        except BadCaseError as error:
            return reference, error

    gpu = _on_gpu(model.model)
    loaded = _ahead(load, references, TOGETHER) if gpu else map(load, references)
    while True:
        with watch("load"):
            group = list(islice(loaded, TOGETHER if gpu else 1))
        if not group:
            return
        images = [view.image for _, views in group if isinstance(views, list) for view in views]
        embeddings = iter(model.encode_all(images) if gpu else [None] * len(images))
        for reference, views in group:
            yield reference, views, list(islice(embeddings, len(views))) if isinstance(views, list) else []


def _ahead(function: Callable, items: Iterable, count: int) -> Iterator[Any]:
    """function(item) of all items in turn, up to `count` of them computed ahead in a thread."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque()
        for item in items:
            waiting.append(thread.submit(function, item))
            if len(waiting) > count:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def _on_gpu(model: Model) -> bool:
    """Whether images are encoded together, and read ahead: the model can, and not on the processor."""
    return hasattr(model, "encode_all") and model.device.type != "cpu"


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
