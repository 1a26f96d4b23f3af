"""A session of annotating: what was prompted and accepted, saved as files and taken up again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ...case import BadInputError, CaseReference
from ...datasets import Dataset
from .annotation import Annotation
from .annotation_files import FORMATS, files_of, write_files
from .checked import check_session, read_text

VERSION = 1  # of session.json
NOTHING = {"clicks": [], "box": None, "candidate": None}  # what an object is prompted with at first


class Key(NamedTuple):
    """What one annotation is of: an object of a case, by the title of the dataset and the object's
    names."""

    dataset: str
    task: str
    case: str
    class_name: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Key:
        """The key of an annotation, or of an object of a session."""
        return cls(*(values[name] for name in cls._fields))


class Session:
    """Prompts of every object, step by step, and the masks that were accepted.

    history: of each object its prompts {"clicks", "box", "candidate"} after every step, see
    `Explorer.state`. annotations: of each object the one that was accepted.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.history: dict[Key, list[dict[str, Any]]] = {}
        self.annotations: dict[Key, Annotation] = {}
        self._own: set[Path] = set()  # files written here, or resumed from

    def prompts(self, key: Key) -> dict[str, Any]:
        """What an object was prompted with last."""
        return self.history.get(key, [NOTHING])[-1]

    def record(self, key: Key, prompts: Mapping[str, Any]) -> None:
        """Note what an object is prompted with now."""
        steps = self.history.setdefault(key, [])
        if steps[-1:] != [prompts]:
            steps.append(dict(prompts))

    def undo(self, key: Key) -> dict[str, Any]:
        """Take back the last step of an object; what it is prompted with then."""
        steps = self.history.setdefault(key, [NOTHING])
        last = steps.pop()
        if (
            not steps
        ):  # it began with prompts, whose order is not known: a click goes first, then the rest
            steps.append({**last, "clicks": last["clicks"][:-1]} if last["clicks"] else NOTHING)
        return steps[-1]

    def values(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Everything as plain values, with the explorer's state: what `take_up` reads."""
        prompted = {key: steps for key, steps in self.history.items() if any(steps[-1].values())}
        values = {
            "version": VERSION,
            "state": state,
            "objects": [{**key._asdict(), "history": steps} for key, steps in prompted.items()],
            "annotations": [asdict(annotation) for annotation in self.annotations.values()],
        }
        return copy.deepcopy(values)

    def take_up(self, values: Mapping[str, Any]) -> None:
        """Go on from plain values, instead of what there is."""
        values = copy.deepcopy(values)
        self.history = {Key.of(one): one["history"] for one in values["objects"]}
        self.annotations = {Key.of(one): Annotation(**one) for one in values["annotations"]}

    def save(
        self,
        folder: Path,
        state: Mapping[str, Any],
        source: Callable[[str, str], tuple[Dataset, CaseReference]],
        formats: Collection[str] = FORMATS,
        replace: bool = False,
    ) -> list[Path]:
        """Write session.json and the annotations' files into a folder, see `files_of`; the paths
        written.

        Files of an earlier save, or of the session that was resumed, are renewed, and removed if
        they belong to nothing any more. Raises BadInputError if there are other files of these
        names, unless replace.
        """
        files = files_of(self.values(state), source, formats)
        paths = {folder / name for name in files}
        write_files(folder, files, self._own | (paths if replace else set()))
        for path in self._own - paths:
            if path.parent == folder:
                path.unlink(missing_ok=True)
        self._own |= paths
        return sorted(paths)

    def own(self, paths: Collection[Path]) -> None:
        """Count files as this session's own, that it may renew."""
        self._own |= set(paths)


def read_session(path: Path) -> dict[str, Any]:
    """Plain values of a session.json; raises BadInputError for a file that is missing or is no
    session."""
    try:
        session = json.loads(read_text(path))
        if session["version"] != VERSION:
            raise ValueError(f"its version is {session['version']}, not {VERSION}")
        check_session(session)
        for one in session["annotations"]:
            _ = Annotation(**one).mask  # damaged run lengths are told here
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadInputError(
            f"{path}: no session to resume ({error}): give one that was saved"
        ) from None
    return session
