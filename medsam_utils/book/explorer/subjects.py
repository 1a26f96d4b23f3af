"""What an explorer can show: datasets, and which case, class and object a state of it means."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...case import BadCaseError, BadInputError, Case, CaseReference
from ...clicks import Protocol
from ...datasets import Dataset, load_folder
from ...datasets.folder import find_folders
from ...datasets.formats import find_format
from ...datasets.npz import is_npz_folder
from ...datasets.pairs import walk
from ...datasets.unlabelled import labelled_cases, load_images, with_unlabelled
from ...evaluate import under
from . import code_of
from .session import Key


class Subjects:
    """Datasets by their titles, each listed when it is first asked for.

    given: see `Explorer`; an own folder is shown with its images that have no mask. rows: of an
    evaluation by `model`, that the cases are sorted by, or None. code: the text that gives them
    again.
    """

    def __init__(
        self,
        given: Dataset | str | Path | Sequence[Dataset | str | Path],
        protocol: Protocol,
        rows: pd.DataFrame | None,
        model: str,
    ) -> None:
        """Open nothing yet; raises BadInputError for a path without images."""
        given = [given] if isinstance(given, (Dataset, str, Path)) else list(given)
        self._datasets: dict[str, Dataset] = {}
        for one in given:
            dataset = one if isinstance(one, Dataset) else open_folder(one)
            dataset = with_unlabelled(under(dataset, protocol))
            same = sum(dataset.title == other.title for other in self._datasets.values())
            self._datasets[f"{dataset.title} ({same + 1})" if same else dataset.title] = dataset
        codes = [code_of(one) if isinstance(one, Dataset) else repr(str(one)) for one in given]
        self.code = codes[0] if len(codes) == 1 else f"[{', '.join(codes)}]"
        self._rows = None if rows is None else rows[(rows["model"] == model) & (rows["click"] == 1)]

    @property
    def roots(self) -> list[list[str]]:
        """Titles of the datasets, each with where its files lie."""
        return [
            [title, str(one.root), getattr(one.reader, "only", "")]
            for title, one in self._datasets.items()
        ]

    def whole(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Dataset, task, case, class and object of a state; where one is missing or unknown, the
        first there is, of a volume the slice that `opening` says.

        The class is left out where it is the task's own, the object where it is the first.
        """
        title = (
            state.get("dataset")
            if state.get("dataset") in self._datasets
            else next(iter(self._datasets))
        )
        tasks = list(self._datasets[title].tasks.values())
        task = state.get("task") if state.get("task") in tasks else tasks[0]
        known = state.get("case") in self._datasets[title]
        whole = {"dataset": title, "task": task}
        whole["case"] = state["case"] if known else self.opening(whole)
        name, number = str(state.get("class") or "").strip(), state.get("object")
        if name not in ("", self.class_of(whole)):
            whole["class"] = name
        if isinstance(number, int) and number > 1:
            whole["object"] = number
        return whole

    def opening(self, state: Mapping[str, Any], volume: str = "") -> str:
        """Return the case that a dataset opens at, or one of its volumes.

        state: whole but for the case. It is the first case where rows sort them; of a volume the
        slice with the largest object of the task's class, and the middle one where there is none.
        """
        title, task = state["dataset"], state["task"]
        if not volume:
            first = self._cases(title, task)[0]
            if self._rows is not None or not first.get("volume"):
                return first["case"]
            volume = first["volume"]
        return self._opening_slice(title, task, volume)

    @functools.cache  # noqa: B019  (an explorer has one `Subjects`, as long as it lives)
    def _opening_slice(self, title: str, task: str, volume: str) -> str:
        dataset = self._datasets[title]
        cases = self._cases(title, task)
        slices = [dataset[one["case"]] for one in cases if one.get("volume") == volume]
        if not slices:
            raise BadInputError(f"volume {volume!r} of {title!r} is not among what is open")
        class_name = dataset.task_classes[task]
        bare = replace(dataset, intensity=_black, class_intensity={})
        areas = np.zeros(len(slices))
        for i, reference in enumerate(slices):
            if reference.case_id in self._labelled(title):
                try:
                    areas[i] = bare.load(reference).masks[class_name].sum()
                except BadCaseError:  # told when it is shown
                    break
        return slices[int(areas.argmax()) if areas.any() else len(slices) // 2].case_id

    @functools.cache  # noqa: B019
    def _labelled(self, title: str) -> set[str]:
        return labelled_cases(self._datasets[title])

    def class_of(self, state: Mapping[str, Any]) -> str:
        """The dataset's class that the task of a whole state is about."""
        return self._datasets[state["dataset"]].task_classes[state["task"]]

    def key(self, state: Mapping[str, Any]) -> Key:
        """What is annotated in a whole state."""
        name = state.get("class") or self.class_of(state)
        return Key(state["dataset"], state["task"], state["case"], name, state.get("object", 1))

    def choices(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What can be chosen instead: datasets, the dataset's tasks, and cases with a text for
        each, slices with their volume."""
        return {
            "datasets": list(self._datasets),
            "tasks": list(self._datasets[state["dataset"]].tasks.values()),
            "cases": self._cases(state["dataset"], state["task"]),
            "class": self.class_of(state),
        }

    def load(self, state: Mapping[str, Any]) -> Case:
        """Read the case of a whole state; raises BadCaseError if it cannot be used."""
        dataset, reference = self.source(state["dataset"], state["case"])
        return dataset.load(reference, self.class_of(state))

    def source(self, title: str, case: str) -> tuple[Dataset, CaseReference]:
        """Where a case is read from; raises BadInputError if it is not here."""
        if title not in self._datasets or case not in self._datasets[title]:
            raise BadInputError(
                f"{case!r} of {title!r} is not among what is open ({', '.join(self._datasets)}): "
                "open the explorer with the images that were annotated"
            )
        return self._datasets[title], self._datasets[title][case]

    @functools.cache  # noqa: B019
    def _cases(self, title: str, task: str) -> list[dict[str, str]]:
        """Cases, each with a text: the worst first where rows tell the IoU, else as they are
        listed."""
        cases = {}
        labelled = self._labelled(title)
        for reference in self._datasets[title]:
            text = reference.case_id
            if labelled and text not in labelled:
                text += " · nothing marked" if reference.masks else " · no mask"
            cases[reference.case_id] = {"case": reference.case_id, "text": text}
            if reference.slice_index is not None and self._rows is None:
                cases[reference.case_id]["volume"] = reference.volume
        if self._rows is not None:
            first = self._rows[self._rows["task"] == task].sort_values(["iou", "case_id"])
            known = {
                row.case_id: {**cases[row.case_id], "text": f"IoU {row.iou:.2f} · {row.case_id}"}
                for row in first.itertuples()
                if row.case_id in cases
            }
            unmarked = {name: one for name, one in cases.items() if name not in labelled}
            cases = {**known, **unmarked} if known else cases
        return list(cases.values())


def _black(values: np.ndarray) -> np.ndarray:
    """Return an image in which nothing is seen: for where the masks alone are asked for."""
    return np.zeros((*values.shape[:2], 3), np.uint8)


def open_folder(
    path: str | Path, classes: str = "", ignore: int | str = "", threshold: int | str = 0
) -> Dataset | None:
    """The images that a path names, with the masks beside them; None for an empty path.

    A folder of masks that is still empty is as none. classes, ignore, threshold: of the masks, see
    `datasets.load_folder`.
    """
    if path == "":
        return None
    path = Path(path).expanduser()
    folders = find_folders(path)
    if not folders and path.is_dir() and is_npz_folder(path):
        return load_folder(path)
    if not folders:
        return load_images(path)
    images, masks = folders
    if any(find_format(path / name) for name in walk(path, (masks,))):
        return load_folder(path, classes=classes, ignore=ignore, threshold=threshold)
    return load_images(path, within=images)
