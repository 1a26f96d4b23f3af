"""The explorer with a kernel behind it: click on a case, and the models answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets

from ...case import BadInputError, Case
from ...clicks import PAPER, Click, Protocol
from ...datasets import Dataset
from ...files import file_name
from ...models import Model, load_model
from . import SCRIPT, STYLE, data_address, score, source
from .annotation import Annotation
from .annotation_files import DEFAULT, DICOM, FORMATS, files_of, is_series
from .checked import check_session, known_parts, known_path
from .responses import Response, Responses
from .run_lengths import from_run_lengths, run_lengths
from .session import NOTHING, Key, Session, read_session
from .subjects import Subjects

LONGEST = 2500  # pixels of the picture's longest side; masks are always whole


class Explorer(anywidget.AnyWidget):
    """A widget in which models answer to clicks and boxes; `state` is all that is chosen.

    state: {"dataset": title, "task": name, "case": id, "clicks": n or [[row, col, 1 or 0], ...]},
    and where chosen "box": [first row, first col, last row, last col] (inclusive), "candidate":
    {model: which of its masks counts instead of the protocol's choice}, "class": what the mask is
    called if not like the task's class, "object": which of the class's objects in the case it is,
    if not the first. A number of clicks means the first n of Algorithm 1, which
    differ from model to model; a list is what every model is given, 1 for positive, 0 for negative.
    What is missing or unknown is filled in: with the first there is, and with the prompts that this
    object was given before.
    """

    _esm, _css = SCRIPT + source("annotate.js"), STYLE
    state = traitlets.Dict().tag(sync=True)
    choices = traitlets.Dict().tag(sync=True)
    scene = traitlets.Dict().tag(sync=True)
    answers = traitlets.List().tag(sync=True)
    accepted = traitlets.List().tag(sync=True)
    objects = traitlets.List().tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)
    files = traitlets.Dict().tag(sync=True)
    notice = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        subjects: Dataset | str | Path | Sequence[Dataset | str | Path],
        models: Mapping[str, Model] | Sequence[str] = ("sam_small", "grabcut"),
        rows: pd.DataFrame | None = None,
        state: Mapping[str, Any] | None = None,
        protocol: Protocol = PAPER,
        clicks: int = 9,
        autosave: str | Path | None = None,
    ) -> None:
        """Show the first case, or what `state` says; of a volume the slice with the largest object,
        without one the middle.

        subjects: datasets, image files, or folders of images, with or without masks (see
        `load_folder` and `load_images`). models: by name, or loaded. rows: of an evaluation; cases
        are then sorted by the first model's IoU after one click. clicks: as many as the slider has.
        autosave: a folder in which the session is kept after every step, and from which it goes on
        when the same subjects are opened again; None: it is kept only by `save`.
        """
        self._models = (
            models if isinstance(models, Mapping) else {name: load_model(name) for name in models}
        )
        self._subjects = Subjects(subjects, protocol, rows, next(iter(self._models)))
        self._protocol, self._last, self._compare = protocol, clicks, False
        self._session = Session()
        self._shown: tuple = ()
        self._autosave: Path | None = None
        super().__init__()
        self.on_msg(self._receive)
        kept = self._recover(Path(autosave).expanduser().absolute()) if autosave else {}
        self.state = dict(state or kept or {"clicks": []})

    # ---- the state, and what it shows

    @traitlets.observe("state")
    def _answer(self, change: Any = None) -> None:
        """Fill in what the state leaves open, and let the models answer it."""
        state = self._filled_in(self.state)
        if state != self.state:
            self.state = state  # comes back here
            return
        with self.hold_sync():
            shown = state["dataset"], state["task"], state["case"]
            if shown != self._shown:
                self._shown = shown
                self._show(state)
            if not isinstance(state["clicks"], int):
                self._session.record(
                    self._subjects.key(state), {name: state.get(name) for name in NOTHING}
                )
            self.answers = [self._of_model(name, state) for name in self._models]
            self._tell_session(state)
        if self._autosave:
            try:
                self._session.keep(self._autosave, state)
            except OSError as error:  # a full disk, say: clicking goes on
                self.notice = f"not kept after this step: {error}"

    def _tell_session(self, state: Mapping[str, Any]) -> None:
        """Tell the page what was prompted and accepted so far."""
        self.accepted = [
            {**key._asdict(), "model": one.model} for key, one in self._session.annotations.items()
        ]
        self.progress = self._session.progress(state["dataset"], state["task"])
        here = self._subjects.key(state)
        keys = self._session.objects(state["dataset"], state["case"])
        # The shown one has a place among them, and so a colour, before it is prompted.
        self.objects = [self._object(key, here) for key in (*keys, *({here} - set(keys)))]

    def _object(self, key: Key, here: Key) -> dict[str, Any]:
        """One object of the shown case: its names, prompts, and the mask that was accepted, or that
        the first model answers."""
        prompts, accepted = self._session.prompts(key), self._session.annotations.get(key)
        mask = accepted.counts if accepted else ""
        if not accepted and key != here and key.task == here.task and not self._problem:
            state = {**prompts, "candidate": prompts["candidate"] or {}}
            name = next(iter(self._models))
            try:
                clicks, box = self._given(name, state)
                response = self._responses.respond(name, clicks, box)
                mask = run_lengths(response.masks[_candidate(name, state, response)].mask())
            except BadInputError:
                mask = ""  # told when the object is shown
        return {
            **{name: getattr(key, name) for name in ("task", "class_name", "number")},
            **{name: prompts[name] for name in ("clicks", "box")},
            **{"mask": mask, "accepted": bool(accepted), "shown": key == here},
        }

    def _filled_in(self, state: Mapping[str, Any]) -> dict:
        """A state that is whole."""
        state = known_parts(state)
        whole = self._subjects.whole(state)
        if state.get("clicks") is None and not state.get("box"):
            state = self._session.prompts(self._subjects.key(whole))
        clicks = [] if state.get("clicks") is None else state["clicks"]
        if isinstance(clicks, (list, tuple)):
            others = {name: state[name] for name in ("box", "candidate") if state.get(name)}
            return {**whole, "clicks": [list(click) for click in clicks], **others}
        return {**whole, "clicks": min(max(int(clicks), 1), self._last)}

    def _show(self, state: Mapping[str, Any]) -> None:
        """Read a case, and forget what was computed for the one before."""
        self._problem = ""
        try:
            case = self._subjects.load(state)
        except BadInputError as error:
            case = Case(
                state["dataset"], state["case"], "", None, np.zeros((64, 64, 3), np.uint8), {}
            )
            self._problem = str(error)
        truth = case.masks.get(self._subjects.class_of(state))
        truth = truth if truth is not None and truth.any() else None
        self._responses = Responses(case, truth, state["task"], self._models, self._protocol)
        code = f"{self._subjects.code}, {list(self._models)!r}"
        self.choices = {
            **self._subjects.choices(state),
            "last": self._last,
            "live": True,
            "code": code,
        }
        _, reference = self._subjects.source(state["dataset"], state["case"])
        formats = [name for name in FORMATS if name not in DICOM or is_series(reference)]
        self.files = {**self.files, "formats": {name: name in DEFAULT for name in formats}}
        self.scene = {
            "image": data_address(case.image, LONGEST, quality=90),
            "shape": list(case.image.shape[:2]),
            "step": 1,
            "truth": None if truth is None else run_lengths(truth),
        }

    def _of_object(self, state: Mapping[str, Any]) -> Responses:
        """What answers for the shown object: where its class has several, before the region of the
        truth at its first prompt, else before all of the class."""
        key, clicks = self._subjects.key(state), state["clicks"]
        keys = {*self._session.objects(key.dataset, key.case), key}
        alike = [k for k in keys if (k.task, k.class_name) == (key.task, key.class_name)]
        if len(alike) < 2 or isinstance(clicks, int):
            return self._responses
        places = [click[:2] for click in clicks if click[2]]
        if box := state.get("box"):
            places.append([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        return self._responses.nearest_region(*places[0]) if places else self._responses

    def _of_model(self, name: str, state: Mapping[str, Any]) -> dict:
        """What is shown of one model: its answer to the prompts, and Algorithm 1's beside it if
        asked for."""
        answer = {
            **{"model": name, "clicks": [], "mask": "", "iou": None, "predicted": None},
            **{"candidates": [], "chosen": -1, "simulated": None},
            **{"problem": self._problem, "accepted": False},
        }
        if self._problem:
            return answer
        try:
            clicks, box = self._given(name, state)
            answer["clicks"] = _as_lists(clicks)
            responses = self._of_object(state)
            if clicks or box:
                response = responses.respond(name, clicks, box)
                chosen = _candidate(name, state, response)
                candidates = zip(
                    map(score, response.predicted_iou), map(score, response.iou), strict=True
                )
                answer["candidates"] = [list(pair) for pair in candidates]
                answer["mask"] = run_lengths(response.masks[chosen].mask())
                answer["chosen"], answer["problem"] = chosen, response.note
                answer["predicted"], answer["iou"] = answer["candidates"][chosen]
            if self._compare and responses.truth is not None and clicks:
                simulated = responses.simulated(name, len(clicks))
                beside = responses.respond(name, simulated)
                answer["simulated"] = {
                    "clicks": _as_lists(simulated),
                    "iou": score(beside.iou[beside.chosen]),
                }
        except (
            BadInputError
        ) as error:  # weights that are missing, say: the other models still answer
            answer["problem"] = str(error)
        annotation = self._session.annotations.get(self._subjects.key(state))
        answer["accepted"] = bool(
            annotation and (annotation.model, annotation.counts) == (name, answer["mask"])
        )
        return answer

    def _given(self, name: str, state: Mapping[str, Any]) -> tuple[tuple[Click, ...], tuple | None]:
        """The clicks and the box that a model is shown."""
        if isinstance(state["clicks"], int):
            known = self._responses.truth is not None
            return (self._responses.simulated(name, state["clicks"]) if known else ()), None
        box = tuple(state["box"]) if state.get("box") else None
        height, width = self.scene["shape"]
        places = [click[:2] for click in state["clicks"]] + ([box[:2], box[2:]] if box else [])
        if not all(0 <= row < height and 0 <= col < width for row, col in places):
            raise BadInputError("a click or a box lies outside of the image")
        return tuple(
            Click(row, col, bool(positive), 0.0, 0) for row, col, positive in state["clicks"]
        ), box

    # ---- what can be done

    def _receive(self, widget: Any, content: Mapping[str, Any], buffers: Any) -> None:
        """A message of the page: {what to do: [arguments]}."""
        can = {
            "compare": self.compare,
            "next": self.next_click,
            "undo": self.undo,
            "accept": self.accept,
            "withdraw": self.withdraw,
            "save": self.save,
            "resume": self.resume,
            "open": self.open_volume,
            "begin": self.begin_anew,
        }
        for name, arguments in content.items() if isinstance(content, Mapping) else ():
            try:
                can[name](*arguments)
            except (BadInputError, OSError) as error:
                self.notice = str(error)
            except (LookupError, TypeError, ValueError, StopIteration, RecursionError) as error:
                # What the page itself never sends: a page that is older, or that was changed.
                self.notice = f"the page asked for what is not known ({type(error).__name__})"

    def compare(self, on: bool = True) -> None:
        """Show Algorithm 1's clicks beside one's own, and the IoU after as many."""
        self._compare = on
        self._answer()

    def next_click(self, name: str | None = None) -> None:
        """Let Algorithm 1 click where a model, by default the first, is most wrong."""
        name = name or next(iter(self._models))
        if self._responses.truth is None or self._problem:
            return
        clicks, box = self._given(name, self.state)
        responses, mask = self._of_object(self.state), None
        if clicks or box:
            response = responses.respond(name, clicks, box)
            mask = response.masks[_candidate(name, self.state, response)]
        if click := responses.next_click(clicks, mask):
            self.state = {**self.state, "clicks": _as_lists((*clicks, click))}

    def undo(self) -> None:
        """Take back the last click, box or choice of a candidate on this object."""
        if isinstance(self.state["clicks"], int):
            self.state = {**self.state, "clicks": max(1, self.state["clicks"] - 1)}
            return
        self.state = {**self.state, **self._session.undo(self._subjects.key(self.state))}

    def accept(self, name: str | None = None) -> None:
        """Take the mask that a model, by default the first, shows now as the annotation of this
        object.

        Raises BadInputError if there is none, or it is empty.
        """
        name = name or next(iter(self._models))
        answer = next(a for a in self.answers if a["model"] == name)
        if not answer["mask"] or not from_run_lengths(answer["mask"], self.scene["shape"]).any():
            raise BadInputError(
                f"{name} shows no mask that could be accepted: click, or draw a box"
            )
        key = self._subjects.key(self.state)
        self._session.annotations[key] = Annotation(
            *key[:-1],
            number=key.number,
            model=name,
            clicks=answer["clicks"],
            box=self.state.get("box"),
            candidate=answer["chosen"],
            size=self.scene["shape"],
            counts=answer["mask"],
        )
        self.notice = f"accepted: {_called(key)}, by {name}"
        self._answer()

    def open_volume(self, volume: str) -> None:
        """Show a volume at the slice with its largest object, without one at the middle.

        volume: what the ids of its slices have in common. Raises BadInputError if it is not here.
        """
        case = self._subjects.opening(self.state, volume)
        self.state = {**self._subjects.whole(self.state), "case": case, "object": None}

    def withdraw(self, *key: Any) -> None:
        """Take back what was accepted of an object (dataset, task, case, class, number), by default
        the shown one."""
        key = Key(*key) if key else self._subjects.key(self.state)
        if self._session.annotations.pop(key, None):
            self.notice = f"withdrawn: {_called(key)}"
        self._answer()

    # ---- sessions

    @property
    def session(self) -> dict[str, Any]:
        """All that was done, as plain values that can be kept and set again.

        version; state; objects: of each that was prompted, its dataset, task, case, class_name and
        history, which ends with what it is prompted with now; annotations: what was accepted, see
        `Annotation`.
        """
        return self._session.values(self.state)

    @session.setter
    def session(self, values: Mapping[str, Any]) -> None:
        """Go on from a session; raises BadInputError if it is about cases that are not here."""
        try:
            check_session(values)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise BadInputError(f"no session to go on from ({error}): give one that was") from error
        for one in (*values["objects"], *values["annotations"], values["state"]):
            self._subjects.source(one["dataset"], one["case"])
        self._session.take_up(values)
        self.state = dict(values["state"])
        self._answer()

    def save(
        self, folder: str | Path, formats: Collection[str] = DEFAULT, replace: bool = False
    ) -> list[Path]:
        """Write session.json and the accepted masks into a folder; the paths written.

        formats: of nifti (one file per volume and class), png (per slice, class and object), coco,
        folder (`images` and `masks`, which `load_folder` reads and `make chapter` evaluates), and
        for DICOM series seg and rtstruct. What this explorer wrote there, or resumed from there, is
        renewed. Raises BadInputError if other files have such names, unless replace.
        """
        folder = known_path(folder)
        paths = self._session.save(folder, self.state, self._subjects.source, formats, replace)
        self.notice = f"saved: {len(paths)} files in {folder}"
        if "folder" in formats and self.accepted:
            self.notice += f'; evaluate them: make chapter FOLDER="{folder.absolute()}"'
        return paths

    def resume(self, path: str | Path) -> None:
        """Go on from a session that was saved: its folder, or its session.json.

        Raises BadInputError if it cannot be read, or is about cases that are not here.
        """
        path = known_path(path)
        file = path / "session.json" if path.is_dir() else path
        values = read_session(file)
        self.session = values
        if file.name == "session.json":
            names = values.get("files") or list(files_of(values, self._subjects.source))
            paths = [file.absolute().parent / name for name in ("session.json", *names)]
            self._session.own(paths, self._subjects.source)
        self.notice = f"resumed: {file}, {len(self.accepted)} accepted"

    # ---- what is kept after every step

    def _recover(self, folder: Path) -> dict[str, Any]:
        """Go on from what was kept of these subjects in a folder; the state, empty if none was.

        What cannot be gone on from is put aside, not overwritten.
        """
        roots = self._subjects.roots
        digest = hashlib.sha256(json.dumps(roots).encode()).hexdigest()[:8]
        self._autosave = folder / f"autosave_{file_name(roots[0][0])}_{digest}.json"
        self.files = {"autosave": str(self._autosave), "recovered": False}
        if not self._autosave.exists():
            return {}
        try:
            values = read_session(self._autosave)
            for one in (*values["objects"], *values["annotations"], values["state"]):
                self._subjects.source(one["dataset"], one["case"])
        except BadInputError as error:
            self.notice = f"{error} It was put aside: {self._put_aside()}"
            return {}
        if not values["objects"] and not values["annotations"]:
            return {}
        self._session.take_up(values)
        self._session.own(values.get("own", []), self._subjects.source)
        self.files = {**self.files, "recovered": True}
        counts = len(values["objects"]), len(values["annotations"])
        self.notice = "recovered: {} objects, {} accepted, from {}".format(*counts, self._autosave)
        return values["state"]

    def _put_aside(self) -> Path:
        """Rename the file that is kept, and return its new path."""
        number = 1
        while (aside := self._autosave.with_suffix(f".{number}.json")).exists():
            number += 1
        return self._autosave.rename(aside)

    def begin_anew(self) -> None:
        """Forget what was prompted and accepted; what was kept of it is put aside."""
        state = self._subjects.whole(self.state)
        self._session = Session()
        self.notice = "begun anew"
        if self._autosave and self._autosave.exists():
            self.notice += f"; what there was: {self._put_aside()}"
        self.files = {**self.files, "recovered": False}
        self.state = {**state, "clicks": []}
        self._answer()


def _called(key: Key) -> str:
    """An object's names as a text."""
    number = f" {key.number}" if key.number > 1 else ""
    return f"{key.class_name}{number} in {key.case}"


def _candidate(name: str, state: Mapping[str, Any], response: Response) -> int:
    """Which candidate of a model counts: the one chosen by hand, or the protocol's choice."""
    by_hand = state.get("candidate", {}).get(name)
    return by_hand if by_hand in range(len(response.masks)) else response.chosen


def _as_lists(clicks: Sequence[Click]) -> list[list[int]]:
    """Clicks as a state holds them."""
    return [[click.row, click.col, int(click.positive)] for click in clicks]
