"""The rows that a page is about: datasets and models by name, computed or read from the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...case import BadCaseError, BadInputError, Case, CaseReference
from ...clicks import PAPER, Protocol
from ...datasets import Dataset, load_folder
from ...demo import load_dataset
from ...evaluate import evaluate, spread
from ...models import Model, find_entry, load_model, model_options
from ...models.devices import choose_device, choose_dtype
from ...workers import executor_for

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
        return together(self.tables)

    def dataset_rows(self, dataset: str) -> dict[str, pd.DataFrame]:
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


def datasets_of(names: str, folder: str = "", data: str = "") -> list[Dataset]:
    """Datasets by name, with spaces between, below the folder `data`; or an own folder alone, if
    given."""
    return (
        [load_folder(folder)]
        if folder
        else [load_dataset(name, data or None) for name in names.split()]
    )


def usable_device(device: str) -> tuple[str | None, list[str]]:
    """The device to compute on, None for the best there is, and a note where it is not the one
    asked for."""
    try:
        choose_device(device)
    except BadInputError as error:
        return "cpu", [f"{error}. This page was computed on the CPU."]
    return device or None, []


def load_first(
    models: str, checkpoint: str, device: str, kind: str = ""
) -> tuple[Model, list[str]]:
    """The first of the models, given by name with spaces between, and notes on what could not be
    had.

    kind: adapter that it must have, such as "sam.Sam"; those before it are passed over with a note.
    Where it cannot be had, or there is none, sam_small stands in.
    """
    usable, notes = usable_device(device)
    for name in models.split():
        if kind and find_entry(name).adapter != kind:
            notes.append(f"{name} is no SAM and is passed over.")
            continue
        try:
            model = load_model(name, checkpoint or None, usable)
            model.encode(np.zeros((8, 8, 3), np.uint8))  # reads the weights
            return model, notes
        except BadInputError as error:
            notes.append(f"{name} is not on this page: {error}")
            break
    return load_model("sam_small", device=usable), [*notes, "sam_small stands in."]


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
            cases.append(case)
        except BadCaseError as error:
            left_out = dataset.exclusion(reference.case_id, error, reference.images[0])
            excluded.append(asdict(left_out))
    return cases, excluded


def given(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a notebook, from its `globals()` in the cell that follows its parameters
    cell.

    They are all that is set there by then: texts and numbers whose names do not begin with an
    underscore, and are no constants in capitals.

    >>> given({"clicks": 3, "store": "", "_ih": "", "LONGEST": 512, "page": given})
    {'clicks': 3, 'store': ''}
    """
    return {
        name: value
        for name, value in namespace.items()
        if isinstance(value, (str, int, float)) and not name.startswith("_") and not name.isupper()
    }


def evaluate_datasets(datasets: str, data: str = "", **parameters: Any) -> Runs:
    """`evaluate_subjects` of datasets that are given as names with spaces between.

    data: folder of real datasets, empty for MEDSAM_DATA's.
    """
    return evaluate_subjects(
        [load_dataset(name, data or None) for name in datasets.split()], **parameters
    )


def evaluate_subjects(
    subjects: Sequence[Dataset],
    models: str,
    checkpoint: str = "",
    protocol: str | Protocol = "paper",
    clicks: int = 9,
    max_cases: int = 0,
    device: str = "",
    dtype: str = "float32",
    embeddings: str = "",
    workers: int | str = "auto",
    scheduler: str = "",
    store: str = "",
    shard: str = "",
) -> Runs:
    """Rows of datasets under models, with the parameters of a notebook; what is stored is read.

    models: names of the registry with spaces between. checkpoint: weights file of the first one.
    protocol: a name of PROTOCOLS, or a protocol. max_cases: of each dataset, 0 for all. embeddings:
    folder in which SAM keeps encoded images. workers, scheduler: as in `workers.executor_for`.
    store: folder of the rows. shard: a part of the cases, such as 3/8, counted from 0 to 7. What is
    empty is not used.

    A device or a model that cannot be had becomes a note; if no model can be had, such as without a
    network, the embedded ones stand in. Raises BadInputError for a name that is unknown, for a
    dataset without a usable case, and if the embedded models cannot do it either.
    """
    part = shard_of(shard) if shard else None
    with executor_for(workers, scheduler) as pool:
        runs = answers(
            lambda *given: evaluate(*given, clicks, store or None, pool, max_cases or None, part),
            *(subjects, models, checkpoint, protocol, device, dtype, embeddings),
        )
    if shard:
        runs.notes.append(f"The numbers are those of part {shard} of the cases, counted from 0.")
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


def answers(
    answer: Callable[[Dataset, Model, Protocol], pd.DataFrame],
    subjects: Sequence[Dataset],
    models: str,
    checkpoint: str = "",
    protocol: str | Protocol = "paper",
    device: str = "",
    dtype: str = "float32",
    embeddings: str = "",
    stand_ins: Sequence[str] = EMBEDDED,
) -> Runs:
    """What `answer` gives for every dataset and model: rows, with the record of their run.

    Parameters, notes and errors are those of `evaluate_subjects`. stand_ins: the models for a
    dataset where none that was asked for can be had, or takes such prompts.
    """
    if isinstance(protocol, str):
        protocol = Protocol.parse(protocol)
    choose_dtype(dtype)
    names = models.split()
    for name in names:
        find_entry(name)
    usable, notes = usable_device(device)
    runs = Runs({subject.name: subject for subject in subjects}, {}, {}, notes, protocol)
    for subject in subjects:
        for name in names:
            weights = checkpoint if name == names[0] else None
            try:
                options = model_options(name, dtype=dtype, embeddings=embeddings or None)
                model = load_model(name, weights, usable, **options)
                runs.add(model, answer(subject, model, protocol))
            except BadInputError as error:
                notes.append(f"{name} is not on this page: {error}")
                if name == DEFAULT_SAM and "sam_small" not in names:
                    model = load_model("sam_small", device=usable)
                    runs.add(model, answer(subject, model, protocol))
                    notes.append("sam_small stands in for it.")
        if not runs.dataset_rows(subject.name):
            for name in stand_ins:
                model = load_model(name, device=usable)
                runs.add(model, answer(subject, model, protocol))
            stand = f"{' and '.join(stand_ins)} {'stand' if len(stand_ins) > 1 else 'stands'} in"
            notes.append(f"No model that was asked for could be had: {stand}.")
    notes[:] = dict.fromkeys(notes)
    return runs


def together(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of all models in one table; what each run recorded stays with its own table."""
    return pd.concat(tables.values(), ignore_index=True)
