"""Cases -> rows: every object of a dataset through Algorithm 1, stored case by case."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .case import BadInputError, CaseReference
from .clicks import PAPER, Protocol
from .datasets import Dataset
from .fingerprint import case_fingerprints, check_storable, run_settings
from .intensity import MaxScaling
from .metrics import further_names
from .models import Model
from .pipeline import evaluate_batch, evaluate_cases
from .results import Store, as_rows, row_types
from .run_record import peak_memory, versions
from .simulation import refuse_further_clicks
from .workers import forked_processes, on_one_thread, run, run_forked

BATCH = 8  # cases a task of a worker holds: neighbouring slices then share one read of their volume
BATCH_ON_GPU = 32  # more, as the next images are read and encoded while these are clicked on
TABLES = (
    100  # rows of so many tasks wait as they are: a small table takes a hundred times what it holds
)


def evaluate(
    dataset: Dataset,
    model: Model,
    protocol: Protocol = PAPER,
    clicks: int = 9,
    store: str | Path | None = None,
    executor: Executor | Literal["auto"] | None = "auto",
    max_cases: int | None = None,
    shard: tuple[int, int] | None = None,
    metrics: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the rows of a dataset under a model and a protocol, one per (object, click).

    Their columns: `results.ROW_TYPES`, and those of the metrics that are asked for.

    clicks: how many are simulated for each object. store: folder from which finished cases are read
    and to which new ones are added; without it everything is computed. executor: any
    `concurrent.futures.Executor` to compute on (see `workers.executor_for`), None for this process
    alone, "auto" for as many processes as the machine has room for (`workers.forked_processes`).
    max_cases: at most so many, spread evenly over the dataset's order. shard: (k, n) with k from 0
    to n - 1, the k-th of n parts of the cases; parts computed anywhere into one store are one run.
    metrics: further columns, such as ("nsd@2", "hd95", "boundary_iou"), see `metrics.FURTHER`; rows
    with them are a run of their own in the store, and all other columns are the same.
    The rows depend on data, model and protocol alone, never on order, workers or interruptions.
    `rows.attrs["excluded"]` lists the cases left out, see `case.Exclusion`,
    `rows.attrs["not_read"]` the files that are part of no case; `rows.attrs["record"]` tells when,
    where and how long, stage by stage, summed over the workers; `rows.attrs["fingerprints"]` is
    each case's where there is a store. Raises BadInputError for an argument that cannot be used,
    for a dataset without a usable case, and for a model of your own that does not say what its
    stored rows depend on (`Model.settings`).
    """
    _check(dataset, model, protocol, clicks, max_cases)
    metrics = further_names(metrics)
    if store:
        check_storable(model)
    started, clock = datetime.now(UTC), time.perf_counter()
    dataset = under(dataset, protocol)
    listing = dataset.list()
    references = _shard(spread(listing.references, max_cases), shard)
    settings = run_settings(dataset, model, protocol, clicks, metrics)
    kept = Store(store, dataset.name, model.name, protocol.name, metrics) if store else None
    fingerprints = case_fingerprints(settings, dataset, references) if kept else {}
    tables = [kept.read(fingerprints.values(), clicks)] if kept else []
    finished = set(tables[0]["fingerprint"]) if kept else set()
    missing = [r for r in references if fingerprints.get(r) not in finished]
    excluded = list(listing.exclusions)

    results, where = _start(missing, (dataset, model, protocol, clicks, metrics), executor)
    fingerprint_by_id = {
        reference.case_id: fingerprint for reference, fingerprint in fingerprints.items()
    }
    description = f"{dataset.name}, {model.name} ({'; '.join(filter(None, [where, model.advice]))})"
    progress = tqdm(total=len(missing), desc=description, unit="case", disable=not missing)
    packed, memory = [], [peak_memory()]
    seconds: Counter[str] = Counter()
    with kept or nullcontext(), progress, closing(results):
        for rows, left_out, done, resources in results:
            seconds.update(resources["seconds"])
            memory.append(resources["peak_memory"])
            if kept:
                kept.append(
                    rows.assign(
                        fingerprint=rows["case_id"].map(fingerprint_by_id.get).astype("string")
                    )
                )
            tables.append(rows)
            if len(tables) == TABLES:
                packed.append(pd.concat(tables, ignore_index=True).to_parquet(index=False))
                tables = []
            excluded.extend(left_out)
            progress.update(done)

    tables += [pd.read_parquet(BytesIO(part), use_threads=False) for part in packed]
    rows = pd.concat([as_rows([], metrics), *tables], ignore_index=True)[list(row_types(metrics))]
    rows = _in_order(rows, references, dataset)
    if rows.empty and (references or not shard):
        reasons = "; ".join(e.reason for e in excluded[:3]) or "it is empty"
        raise BadInputError(
            f"{dataset.root} has no usable case of {dataset.name} ({reasons}): see book/run.md"
        )
    record = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "cases": len(references),
        "computed": len(missing),
        "excluded": len(excluded),
        "set_aside": kept.set_aside if kept else [],
        "device": str(model.device or "cpu"),
        "computed_on": where,
        "threads": 1,  # of each process on a CPU, as their number may decide a sum's last digits
        "stages": {stage: round(value, 3) for stage, value in sorted(seconds.items())},
        "peak_memory": max((mebibytes for mebibytes in memory if mebibytes), default=None),
        "shard": shard,
        "settings": settings,
        "versions": versions(),
    }
    if kept and (missing or kept.set_aside):
        kept.write_record(record)
    rows.attrs = {
        "excluded": sorted((asdict(e) for e in excluded), key=lambda e: e["case_id"]),
        "not_read": [asdict(e) for e in listing.not_read],
        "record": record,
        "fingerprints": fingerprint_by_id,
    }
    return rows


def _start(
    missing: Sequence[CaseReference],
    task: tuple[Dataset, Model, Protocol, int, Sequence[str]],
    executor: Executor | str | None,
) -> tuple[Generator, str]:
    """Return the results of the missing cases, computed as they are asked for, and where, in words.

    task: what `pipeline.evaluate_batch` takes besides the cases.
    """
    model = task[1]
    processes = forked_processes(model, len(missing)) if executor == "auto" else 1
    where = computed_on(model, executor, processes)
    if processes > 1:
        model.load()  # once, for all processes
        size = min(BATCH, -(-len(missing) // (2 * processes)))
        return run_forked(evaluate_batch, _batches(missing, size), task, processes), where
    if isinstance(executor, Executor):
        size = BATCH_ON_GPU if model.batched else BATCH
        tasks = ((some, *task) for some in _batches(missing, size))
        return run(evaluate_batch, tasks, executor), where
    return on_one_thread(evaluate_cases(missing, *task, ahead=True)), where


def _check(
    dataset: Dataset, model: Model, protocol: Protocol, clicks: int, max_cases: int | None
) -> None:
    """Raise BadInputError for an argument of another kind, with what to write instead."""
    if not isinstance(dataset, Dataset):
        raise BadInputError(
            f"dataset is {dataset!r}, which is no dataset: give load_folder(folder) or "
            "load_dataset(name)"
        )
    if not isinstance(model, Model):
        raise BadInputError(
            f"model is {model!r}, which is no model: give load_model(name), or an object of a "
            "class that derives from Model"
        )
    if not isinstance(protocol, Protocol):
        raise BadInputError(
            f"protocol is {protocol!r}, which is no protocol: give PAPER, RELEASED_CODE, "
            "Protocol(...) with what differs, or Protocol.parse(name)"
        )
    for name, value in (("clicks", clicks), ("max_cases", max_cases)):
        if value is not None and value < 1:
            raise BadInputError(f"{name} is {value}: give 1 or more, or leave it out")
    refuse_further_clicks(protocol, clicks)


def computed_on(model: Model, executor: Executor | str | None, processes: int = 1) -> str:
    """Return in words where a run is computed.

    >>> computed_on(Model(), None), computed_on(Model(), "auto", 4)
    ('cpu, 1 thread', '4 processes')
    """
    device = str(model.device or "cpu")
    if isinstance(executor, Executor):
        processes = getattr(executor, "workers", 0) or getattr(executor, "_max_workers", 0)
        words = f"{processes or 'several'} processes" if processes != 1 else "1 process"
        return words if device == "cpu" else f"{words}, {device}"
    if processes > 1:
        return f"{processes} processes"
    return "cpu, 1 thread" if device == "cpu" else device


def _batches(cases: Sequence[CaseReference], size: int) -> Iterator[Sequence[CaseReference]]:
    """Yield the cases, `size` at a time."""
    return (cases[i : i + size] for i in range(0, len(cases), size))


def under(dataset: Dataset, protocol: Protocol) -> Dataset:
    """Return the dataset with the protocol's mask threshold and intensities."""
    dataset = replace(dataset, mask_threshold=dataset.threshold or protocol.mask_threshold)
    if protocol.intensity == "max":
        dataset = replace(dataset, intensity=MaxScaling(), class_intensity={})
    return dataset


def spread(references: Sequence[CaseReference], limit: int | None) -> list[CaseReference]:
    """At most `limit` references, evenly spaced, so that every volume and class has its share."""
    if not limit or limit >= len(references):
        return list(references)
    return [references[i] for i in np.linspace(0, len(references) - 1, limit).round().astype(int)]


def _shard(
    references: Sequence[CaseReference], shard: tuple[int, int] | None
) -> list[CaseReference]:
    """Return the k-th of n parts, neighbours together, so that one process reads a volume."""
    if shard is None:
        return list(references)
    k, n = shard
    if not 0 <= k < n:
        raise BadInputError(f"shard {k} of {n} does not exist: count from 0 to {n - 1}")
    return list(references[len(references) * k // n : len(references) * (k + 1) // n])


def _in_order(
    rows: pd.DataFrame, references: Sequence[CaseReference], dataset: Dataset
) -> pd.DataFrame:
    """Return the rows sorted by case, task and click as the dataset lists them."""
    case_order = {reference.case_id: i for i, reference in enumerate(references)}
    task_order = {task: i for i, task in enumerate(dataset.tasks.values())}
    keys = pd.DataFrame(
        {
            "case": rows["case_id"].map(case_order),
            "task": rows["task"].map(task_order),
            "click": rows["click"],
        }
    )
    return rows.loc[keys.sort_values(["case", "task", "click"]).index].reset_index(drop=True)
