"""The rows that a page is about: datasets and models by name, computed or read from the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ..case import BadCaseError, BadInputError, Case, CaseReference
from ..clicks import PAPER, Protocol
from ..datasets import Dataset, load_folder
from ..demo import load_dataset
from ..evaluate import evaluate, spread
from ..models import Model, find_entry, load_model, model_options
from ..models.devices import choose_device, choose_dtype
from ..workers import executor_for
from .compute import Compute

EMBEDDED = ("sam_small", "grabcut")
DEFAULT_SAM = "mobile_sam"  # stands for SAM; its weights come in a package


@dataclass(frozen=True)
class Runs:
    """Rows of several datasets under several models.

    datasets: by name. models: by their name in the rows. tables: (dataset name, model name) ->
    rows, each with the record of its run. notes: what was asked for and could not be had. protocol:
    of all runs.
    """

    datasets: dict[str, Dataset]
    models: dict[str, Model]
    tables: dict[tuple[str, str], pd.DataFrame]
    notes: list[str]
    protocol: Protocol = PAPER

    @property
    def rows(self) -> pd.DataFrame:
        """All rows in one table."""
        return pd.concat(self.tables.values(), ignore_index=True)

    def dataset_tables(self, dataset: str) -> dict[str, pd.DataFrame]:
        """Tables of one dataset by the model's name."""
        return {model: rows for (name, model), rows in self.tables.items() if name == dataset}

    def add(self, model: Model, rows: pd.DataFrame) -> None:
        """Take in what a model has answered on a dataset.

        Raises BadInputError if that is no row, as in a shard without a case.
        """
        if rows.empty:
            raise BadInputError("this shard has no case: take fewer shards")
        self.models[model.name] = model
        self.tables[rows["dataset"].iloc[0], model.name] = rows


def load_datasets(
    names: str,
    folder: str = "",
    data: str = "",
    classes: str = "",
    ignore: int | str = "",
    threshold: int | str = 0,
    title: str = "",
) -> list[Dataset]:
    """Return datasets by name, with spaces between, below the folder `data`; or an own folder.

    classes, ignore, threshold: of an own folder's masks, as texts, see `datasets.load_folder`.
    title: what it is called; empty: the folder's name.
    """
    if folder:
        options = {"classes": classes, "ignore": ignore, "threshold": threshold}
        return [load_folder(folder, title or None, **options)]
    return [load_dataset(name, data or None) for name in names.split()]


def usable_device(device: str) -> tuple[str | None, list[str]]:
    """The device to compute on, None for the best there is, and a note where it is not the one
    asked for."""
    try:
        choose_device(device)
    except BadInputError as error:
        return "cpu", [f"{error}. This page was computed on the CPU."]
    return device or None, []


def load_first_model(
    models: str, checkpoint: str = "", compute: str = "", kind: str = ""
) -> tuple[Model, list[str]]:
    """Return the first of the models, by name with spaces between, and notes on what is missing.

    kind: adapter that it must have, such as "sam.Sam"; those before it are passed over with a note.
    Where it cannot be had, or there is none, sam_small stands in.
    """
    options = Compute.parse(compute)
    device, notes = usable_device(options.device)
    for name in models.split():
        if kind and find_entry(name).adapter != kind:
            notes.append(f"{name} is no SAM and is passed over.")
            continue
        try:
            model = load_model(name, checkpoint or None, device)
            model.encode(np.zeros((8, 8, 3), np.uint8))  # reads the weights
            return model, notes
        except BadInputError as error:
            notes.append(f"{name} is not on this page: {error}")
            break
    return load_model("sam_small", device=device), [*notes, "sam_small stands in."]


def load_cases(
    dataset: Dataset,
    references: Sequence[CaseReference],
    class_name: str | None = None,
    max_cases: int = 0,
) -> tuple[list[Case], list[dict[str, str]]]:
    """The cases that can be used, and those that cannot, as `rows.attrs["excluded"]` of `evaluate`
    has them.

    class_name: of which a case must have an object, and under whose intensity rule it is read.
    max_cases: of the references so many are taken, spread evenly; 0 for all.
    """
    cases, excluded = [], []
    for reference in spread(references, max_cases):
        try:
            case = dataset.load(reference, class_name)
            if class_name and not case.masks[class_name].any():
                raise BadCaseError(f"no {class_name} in it", kind="no object")
        except BadCaseError as error:
            left_out = dataset.exclusion(reference.case_id, error, reference.images[0])
            excluded.append(asdict(left_out))
            continue
        cases.append(case)
    return cases, excluded


def evaluate_models(
    datasets: Sequence[Dataset],
    models: str,
    checkpoint: str = "",
    protocol: str | Protocol = "paper",
    clicks: int = 9,
    max_cases: int = 0,
    compute: str = "",
) -> Runs:
    """Return the rows of datasets under models, with the parameters of a notebook.

    models: names of the registry with spaces between. checkpoint: weights file of the first one.
    protocol: its name, or a protocol. max_cases: of each dataset, 0 for all. compute: device,
    workers, store and more, see `Compute`; what is stored is read.

    A device or a model that cannot be had becomes a note; where SAM cannot be had, such as without
    a network, sam_small stands in. Raises BadInputError for a name that is unknown, for a dataset
    without a usable case, and if the embedded models cannot do it either.
    """
    options = Compute.parse(compute)
    part = shard_of(options.shard) if options.shard else None
    with executor_for(options.workers, options.scheduler) as executor:

        def rows(dataset: Dataset, model: Model, protocol: Protocol) -> pd.DataFrame:
            return evaluate(
                dataset,
                model,
                protocol,
                clicks,
                store=options.store or None,
                executor=executor,
                max_cases=max_cases or None,
                shard=part,
            )

        runs = run_models(rows, datasets, models, checkpoint, protocol, compute)
    if part:
        runs.notes.append(f"The numbers are those of part {options.shard} of the cases.")
    return runs


def shard_of(text: str) -> tuple[int, int]:
    """(k, n) of "k/n", the k-th of n parts counted from 0, as a notebook's parameter has it.

    >>> shard_of("3/8")
    (3, 8)

    Raises BadInputError for another form, and where there is no such part.
    """
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if not match or int(match[1]) >= int(match[2]):
        raise BadInputError(
            f"shard {text!r} is none: write k/n with k from 0 to n - 1, such as 0/8 or 7/8"
        )
    return int(match[1]), int(match[2])


def run_models(
    function: Callable[[Dataset, Model, Protocol], pd.DataFrame],
    datasets: Sequence[Dataset],
    models: str,
    checkpoint: str = "",
    protocol: str | Protocol = "paper",
    compute: str = "",
    stand_ins: Sequence[str] = EMBEDDED,
) -> Runs:
    """Return what a function gives for every dataset and model: rows, with the record of their run.

    Parameters, notes and errors are those of `evaluate_models`. stand_ins: the models for a
    dataset where none that was asked for can be had, or takes such prompts.
    """
    options = Compute.parse(compute)
    if isinstance(protocol, str):
        protocol = Protocol.parse(protocol)
    choose_dtype(options.dtype)
    names = models.split()
    for name in names:
        find_entry(name)
    device, notes = usable_device(options.device)
    runs = Runs({dataset.name: dataset for dataset in datasets}, {}, {}, notes, protocol)
    for dataset in datasets:
        for name in names:
            weights = checkpoint if name == names[0] else None
            kept = {"dtype": options.dtype, "embeddings": options.embeddings or None}
            try:
                model = load_model(name, weights, device, **model_options(name, **kept))
                runs.add(model, function(dataset, model, protocol))
            except BadInputError as error:
                notes.append(f"{name} is not on this page: {error}")
                if name == DEFAULT_SAM and "sam_small" not in names:
                    model = load_model("sam_small", device=device)
                    runs.add(model, function(dataset, model, protocol))
                    notes.append("sam_small stands in for it.")
        if not runs.dataset_tables(dataset.name):
            for name in stand_ins:
                model = load_model(name, device=device)
                runs.add(model, function(dataset, model, protocol))
            stand = "stand" if len(stand_ins) > 1 else "stands"
            notes.append(
                f"No model that was asked for could be had: {' and '.join(stand_ins)} {stand} in."
            )
    notes[:] = dict.fromkeys(notes)
    return runs
