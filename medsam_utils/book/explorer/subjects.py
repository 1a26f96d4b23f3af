"""What an explorer can show: datasets, and which case and class a state of it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...case import BadInputError, Case, CaseReference
from ...clicks import Protocol
from ...datasets import Dataset, load_folder
from ...datasets.folder import has_masks
from ...datasets.unlabelled import load_images
from ...evaluate import under
from . import code_of
from .session import Key


class Subjects:
    """Datasets by their titles, each listed when it is first asked for.

    given: see `Explorer`. rows: of an evaluation by `model`, that the cases are sorted by, or None.
    code: the text that gives them again.
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
            dataset = under(one if isinstance(one, Dataset) else open_folder(one), protocol)
            same = sum(dataset.title == other.title for other in self._datasets.values())
            self._datasets[f"{dataset.title} ({same + 1})" if same else dataset.title] = dataset
        codes = [code_of(one) if isinstance(one, Dataset) else repr(str(one)) for one in given]
        self.code = codes[0] if len(codes) == 1 else f"[{', '.join(codes)}]"
        self._rows = None if rows is None else rows[(rows["model"] == model) & (rows["click"] == 1)]

    def whole(self, state: Mapping[str, Any]) -> dict[str, str]:
        """Dataset, task, case and class of a state; for what is missing or unknown, the first there
        is.

        The class is left out where it is the task's own.
        """
        title = (
            state.get("dataset")
            if state.get("dataset") in self._datasets
            else next(iter(self._datasets))
        )
        tasks = list(self._datasets[title].tasks.values())
        task = state.get("task") if state.get("task") in tasks else tasks[0]
        known = state.get("case") in self._datasets[title]
        case = state["case"] if known else self._sorted(title, task)[0]["case"]
        whole = {"dataset": title, "task": task, "case": case}
        name = str(state.get("class") or "").strip()
        return whole if name in ("", self.class_of(whole)) else {**whole, "class": name}

    def class_of(self, state: Mapping[str, Any]) -> str:
        """The dataset's class that the task of a whole state is about."""
        tasks = self._datasets[state["dataset"]].tasks
        return next(name for name, task in tasks.items() if task == state["task"])

    def key(self, state: Mapping[str, Any]) -> Key:
        """What is annotated in a whole state."""
        name = state.get("class") or self.class_of(state)
        return Key(state["dataset"], state["task"], state["case"], name)

    def choices(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What can be chosen instead: datasets, the dataset's tasks, and cases with a text for
        each."""
        return {
            "datasets": list(self._datasets),
            "tasks": list(self._datasets[state["dataset"]].tasks.values()),
            "cases": self._sorted(state["dataset"], state["task"]),
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

    def _sorted(self, title: str, task: str) -> list[dict[str, str]]:
        """Cases, each with a text: the worst first where rows tell the IoU, else as they are
        listed."""
        cases = {case.case_id: case.case_id for case in self._datasets[title]}
        if self._rows is not None:
            first = self._rows[self._rows["task"] == task].sort_values(["iou", "case_id"])
            known = {
                row.case_id: f"IoU {row.iou:.2f} · {row.case_id}" for row in first.itertuples()
            }
            cases = {name: text for name, text in known.items() if name in cases} or cases
        return [{"case": case_id, "text": text} for case_id, text in cases.items()]


def open_folder(
    path: str | Path, classes: str = "", ignore: int | str = "", threshold: int | str = 0
) -> Dataset | None:
    """The images that a path names, with the masks beside them; None for an empty path.

    classes, ignore, threshold: of the masks, see `datasets.load_folder`.
    """
    if path == "":
        return None
    path = Path(path).expanduser()
    if has_masks(path):
        return load_folder(path, classes=classes, ignore=ignore, threshold=threshold)
    return load_images(path)
