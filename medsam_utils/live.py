"""The explorer with a kernel behind it: click on a case, and the models answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets

from .case import BadInputError, Case, CaseReference
from .clicks import PAPER, Click, Protocol, click_rng, next_click
from .datasets import Dataset, Listing
from .datasets.images import read_image
from .evaluate import under
from .explorer import SCRIPT, STYLE, code_of, data_address, run_lengths, score
from .intensity import EightBit
from .metrics import iou
from .models import Model, load_model

LONGEST = 2500  # pixels of the picture's longest side; masks are always whole


@dataclass(frozen=True)
class OneImage:
    """A single image file as a dataset of one case, whose truth is not known."""

    path: Path

    @property
    def title(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def tasks(self) -> dict[str, str]:
        """Whatever is clicked on."""
        return {"object": "object"}

    def list(self) -> Listing:
        """The one case."""
        return Listing([CaseReference(self.title, self.title, self.title, None, (self.path,), ())], [])

    def load(self, reference: CaseReference, class_name: str) -> Case:
        """The image: 8-bit as it is, other values stretched from minimum to maximum."""
        image = EightBit()(read_image(self.path))
        return Case(self.title, self.title, self.title, None, image, {}, source=(self.path,))


class Explorer(anywidget.AnyWidget):
    """A widget in which models answer to clicks; `state` is all that is chosen, to be read and written.

    state: {"dataset": title, "task": name, "case": id, "clicks": n or [[row, col, 1 or 0], ...]}. A number
    means the first n clicks of Algorithm 1, which differ from model to model; a list is what every model
    is given, 1 for positive, 0 for negative. What is missing or unknown is filled in with the first there is.
    """

    _esm, _css = SCRIPT, STYLE
    state = traitlets.Dict().tag(sync=True)
    choices = traitlets.Dict().tag(sync=True)
    scene = traitlets.Dict().tag(sync=True)
    answers = traitlets.List().tag(sync=True)

    def __init__(
        self,
        subjects: Dataset | str | Path | Sequence[Dataset | str | Path],
        models: Mapping[str, Model] | Sequence[str] = ("sam_small", "grabcut"),
        rows: pd.DataFrame | None = None,
        state: Mapping[str, Any] | None = None,
        protocol: Protocol = PAPER,
        clicks: int = 9,
    ) -> None:
        """Show the first case, or what `state` says.

        subjects: datasets, or paths of single image files. models: by name, or loaded. rows: of an
        evaluation; cases are then sorted by the first model's IoU after one click. clicks: as many as the
        slider has.
        """
        subjects = [subjects] if isinstance(subjects, (Dataset, str, Path)) else list(subjects)
        self._subjects = {
            subject.title: subject
            for subject in (s if isinstance(s, Dataset) else OneImage(Path(s)) for s in subjects)
        }
        self._models = models if isinstance(models, Mapping) else {name: load_model(name) for name in models}
        self._rows, self._protocol, self._last, self._compare = rows, protocol, clicks, False
        self._references: dict[str, dict[str, CaseReference]] = {}
        self._shown: tuple = ()
        sources = [
            code_of(s) if isinstance(s, Dataset) else repr(str(s.path)) for s in self._subjects.values()
        ]
        source = sources[0] if len(sources) == 1 else f"[{', '.join(sources)}]"
        self._code = f"{source}, {list(self._models)!r}"
        super().__init__()
        self.on_msg(self._receive)
        self.state = dict(state or {"clicks": []})

    @traitlets.observe("state")
    def _answer(self, change: Any = None) -> None:
        """Fill in what the state leaves open, and let the models answer it."""
        subject, class_name, state = self._filled_in(self.state)
        if state != self.state:
            self.state = state  # comes back here
            return
        with self.hold_sync():
            shown = state["dataset"], state["task"], state["case"]
            if shown != self._shown:
                self._shown = shown
                self._show(subject, class_name, state)
            self.answers = [self._of_model(name, state["clicks"]) for name in self._models]

    def _filled_in(self, state: Mapping[str, Any]) -> tuple[Any, str, dict]:
        """The subject, the class and a state that is whole."""
        title = state.get("dataset") if state.get("dataset") in self._subjects else next(iter(self._subjects))
        subject = self._subjects[title]
        if title not in self._references:
            read = under(subject, self._protocol) if isinstance(subject, Dataset) else subject
            self._references[title] = {r.case_id: r for r in read.list().references}
        class_of = {task: name for name, task in subject.tasks.items()}
        task = state.get("task") if state.get("task") in class_of else next(iter(class_of))
        cases = self._references[title]
        case = state.get("case") if state.get("case") in cases else self._cases(title, task)[0]["case"]
        clicks = state.get("clicks", [])
        clicks = [list(click) for click in clicks] if isinstance(clicks, (list, tuple)) else int(clicks)
        if isinstance(clicks, int):
            clicks = min(max(clicks, 1), self._last)
        return subject, class_of[task], {"dataset": title, "task": task, "case": case, "clicks": clicks}

    def _cases(self, title: str, task: str) -> list[dict]:
        """What the selector of cases offers: sorted by IoU where that is known, else as they are listed."""
        cases = {case_id: case_id for case_id in self._references[title]}
        if self._rows is not None:
            rows = self._rows[(self._rows["task"] == task) & (self._rows["click"] == 1)]
            first = rows[rows["model"] == next(iter(self._models))].sort_values(["iou", "case_id"])
            known = {row.case_id: f"IoU {row.iou:.2f} · {row.case_id}" for row in first.itertuples()}
            cases = {name: text for name, text in known.items() if name in cases} or cases
        return [{"case": case_id, "text": text} for case_id, text in cases.items()]

    def _show(self, subject: Any, class_name: str, state: Mapping[str, Any]) -> None:
        """Read a case, and forget what was computed for the one before."""
        read = under(subject, self._protocol) if isinstance(subject, Dataset) else subject
        self._embeddings: dict[str, Any] = {}
        self._predicted: dict[tuple, tuple] = {}
        self._problem = ""
        try:
            self._case = read.load(self._references[state["dataset"]][state["case"]], class_name)
        except BadInputError as error:
            blank = np.zeros((64, 64, 3), np.uint8)
            self._case = Case(state["dataset"], state["case"], "", None, blank, {})
            self._problem = str(error)
        truth = self._case.masks.get(class_name)
        self._truth = truth if truth is not None and truth.any() else None
        self.choices = {
            "datasets": list(self._subjects),
            "tasks": list(subject.tasks.values()),
            "cases": self._cases(state["dataset"], state["task"]),
            "last": self._last,
            "live": True,
            "code": self._code,
        }
        self.scene = {
            "image": data_address(self._case.image, LONGEST, quality=90),
            "shape": list(self._case.image.shape[:2]),
            "step": 1,
            "truth": None if self._truth is None else run_lengths(self._truth),
        }

    def _of_model(self, name: str, clicks: int | list) -> dict:
        """What is shown of one model: its answer to the clicks, and Algorithm 1's beside it if asked for."""
        answer = {"model": name, "clicks": [], "mask": "", "iou": None, "predicted": None, "candidates": [],
                  "chosen": -1, "simulated": None, "problem": self._problem}  # fmt: skip
        if self._problem:
            return answer
        try:
            given = self._given(name, clicks)
            if given:
                answer |= self._predict(name, given)[1]
            if self._compare and self._truth is not None and given:
                simulated = self._simulated(name, len(given))
                iou_of = self._predict(name, simulated)[1]["iou"]
                answer["simulated"] = {"clicks": _as_lists(simulated), "iou": iou_of}
        except BadInputError as error:  # weights that are missing, say: the other models still answer
            answer["problem"] = str(error)
        return answer

    def _given(self, name: str, clicks: int | list) -> tuple[Click, ...]:
        """The clicks that a model is shown."""
        if isinstance(clicks, int):
            return self._simulated(name, clicks) if self._truth is not None else ()
        return tuple(Click(row, col, bool(positive), 0.0, 0) for row, col, positive in clicks)

    def _simulated(self, name: str, count: int) -> tuple[Click, ...]:
        """The first clicks of Algorithm 1 for a model, fewer if nothing is wrong any more."""
        clicks: tuple[Click, ...] = ()
        while len(clicks) < count and (click := self._next(name, clicks)):
            clicks = (*clicks, click)
        return clicks

    def _next(self, name: str, clicks: tuple[Click, ...]) -> Click | None:
        """Algorithm 1's next click after any clicks, None where nothing is wrong."""
        mask = self._predict(name, clicks)[0] if clicks else None
        _, task, case_id = self._shown
        rng = click_rng(self._protocol, self._case.dataset, case_id, task, len(clicks) + 1)
        return next_click(self._truth, mask, self._protocol, rng, self._case.foreground)

    def _predict(self, name: str, clicks: tuple[Click, ...]) -> tuple[np.ndarray, dict]:
        """The mask that counts, bool H x W, and what the page shows of it; computed once."""
        if (name, clicks) not in self._predicted:
            model = self._models[name]
            if name not in self._embeddings:
                self._embeddings[name] = model.encode(self._case.image)
            prediction = model.predict(self._embeddings[name], [clicks])
            masks = [prediction.mask(0, i) for i in range(prediction.logits.shape[1])]
            true = [None if self._truth is None else score(iou(mask, self._truth)) for mask in masks]
            predicted = [score(value) for value in prediction.predicted_iou[0].tolist()]
            confident = int(prediction.most_confident()[0])
            oracle = max(range(len(true)), key=lambda i: true[i] or 0)
            chosen = {"most_confident": confident, "first": 0, "oracle": oracle}[self._protocol.mask_choice]
            self._predicted[name, clicks] = masks[chosen], {
                "clicks": _as_lists(clicks), "mask": run_lengths(masks[chosen]), "iou": true[chosen],
                "predicted": predicted[chosen], "chosen": chosen,
                "candidates": [list(pair) for pair in zip(predicted, true, strict=True)],
            }  # fmt: skip
        return self._predicted[name, clicks]

    def _receive(self, widget: Any, content: Mapping[str, Any], buffers: Any) -> None:
        """A message of the page: Algorithm 1's next click for a model, or its clicks beside one's own."""
        if "compare" in content:
            self._compare = bool(content["compare"])
            self._answer()
        if content.get("next") in self._models and self._truth is not None:
            given = self._given(content["next"], self.state["clicks"])
            if click := self._next(content["next"], given):
                self.state = {**self.state, "clicks": _as_lists((*given, click))}


def _as_lists(clicks: Sequence[Click]) -> list[list[int]]:
    """Clicks as a state holds them."""
    return [[click.row, click.col, int(click.positive)] for click in clicks]
