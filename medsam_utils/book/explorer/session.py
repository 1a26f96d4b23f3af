"""A session of annotating: what was prompted and accepted, saved as files and taken up again."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ...case import BadInputError, CaseReference
from ...datasets import Dataset
from ...files import atomic_path
from .annotation import Annotation
from .annotation_files import DEFAULT, FORMATS, files_of, write_files
from .checked import check_session, read_text

VERSION = 2  # of session.json; 1 knew one object of a class in an image
NOTHING = {"clicks": [], "box": None, "candidate": None}  # what an object is prompted with at first


class Key(NamedTuple):
    """What one annotation is of: an object of a case, by the title of the dataset and the object's
    names; number: which of the class's objects in the case, from 1 on."""

    dataset: str
    task: str
    case: str
    class_name: str
    number: int = 1

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Key:
        """The key of an annotation, or of an object of a session; raises BadInputError."""
        number = values.get("number", 1)
        if not isinstance(number, int) or number < 1:
            raise BadInputError(f"the number of an object in it is {number!r}")
        return cls(*(values[name] for name in cls._fields[:-1]), number)


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
        self._kept = b""  # what `keep` wrote last
        self._seen: Stamp | None = None  # the kept file as it was last written or read here

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

    def objects(self, dataset: str, case: str) -> list[Key]:
        """All objects of a case that were prompted or accepted, in the order in which they were."""
        keys = dict.fromkeys((*self.history, *self.annotations))
        return [
            key
            for key in keys
            if (key.dataset, key.case) == (dataset, case) and self._is_begun(key)
        ]

    def _is_begun(self, key: Key) -> bool:
        return key in self.annotations or any(self.prompts(key).values())

    def progress(self, dataset: str, task: str) -> dict[str, str]:
        """Of each case that was worked on "begun", or "done": all that was prompted is accepted."""
        found: dict[str, str] = {}
        for key in dict.fromkeys((*self.history, *self.annotations)):
            if (key.dataset, key.task) == (dataset, task) and self._is_begun(key):
                is_done = key in self.annotations and found.get(key.case) != "begun"
                found[key.case] = "done" if is_done else "begun"
        return found

    def values(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Everything as plain values, with the explorer's state: what `take_up` reads."""
        return copy.deepcopy(self._values(state))

    def _values(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return `values` that are still this session's own."""
        prompted = {key: steps for key, steps in self.history.items() if any(steps[-1].values())}
        return {
            "version": VERSION,
            "state": state,
            "objects": [{**key._asdict(), "history": steps} for key, steps in prompted.items()],
            "annotations": [vars(annotation) for annotation in self.annotations.values()],
        }

    def take_up(self, values: Mapping[str, Any]) -> None:
        """Go on from plain values, instead of what there is."""
        values = copy.deepcopy(values)
        history = {Key.of(one): one["history"] for one in values["objects"]}
        self.annotations = {Key.of(one): Annotation(**one) for one in values["annotations"]}
        self.history = history

    def save(
        self,
        folder: Path,
        state: Mapping[str, Any],
        source: Callable[[str, str], tuple[Dataset, CaseReference]],
        formats: Collection[str] = DEFAULT,
        replace: bool = False,
    ) -> list[Path]:
        """Write session.json and the annotations' files into a folder, see `files_of`; the paths
        written.

        Files of an earlier save, or of the session that was resumed, are renewed, and removed if
        they belong to nothing any more; copies of images are never removed. Raises BadInputError if
        there are other files of these names, unless replace.
        """
        folder = folder.absolute()
        files = files_of(self.values(state), source, formats, folder)
        paths = {folder / name for name in files}
        made = write_files(folder, files, self._own | (paths if replace else set()))
        for path in self._own - paths:
            if path.is_relative_to(folder):
                path.unlink(missing_ok=True)
        self._own |= set(made)
        return sorted(paths)

    def own(
        self,
        paths: Collection[str | Path],
        source: Callable[[str, str], tuple[Dataset, CaseReference]],
    ) -> None:
        """Count files as this session's own, that it may renew.

        Those of names that it would not write are passed over, and so are copies of images.
        """
        made: list[str] = []
        for name in FORMATS:
            with suppress(BadInputError):  # a format that these cases cannot have
                files = files_of(self._values({}), source, [name])
                made += [f"/{name}" for name, content in files.items() if callable(content)]
        self._own |= {Path(p) for p in paths if Path(p).as_posix().endswith(tuple(made))}

    # ---- after every step, for when the page or the kernel is lost

    def see(self, path: Path) -> None:
        """Note what is in the file at a path, if there is one: that may be written over."""
        self._seen, self._kept = _stamp(path), b""
        with suppress(OSError):
            self._kept = path.read_bytes()

    def keep(self, path: Path, state: Mapping[str, Any]) -> Path:
        """Write the session to a file, unless it is there already, or nothing was prompted yet.

        A file that another explorer has written meanwhile is left as it is. Return the file, which
        then is another one.
        """
        values = self._values(state)
        # On one line, which takes a tenth of the time: sessions have thousands of objects.
        text = json.dumps({**values, "own": sorted(map(str, self._own))}, ensure_ascii=False)
        content = text.encode()
        is_begun = values["objects"] or values["annotations"]
        if content == self._kept or not (is_begun or self._seen):
            return path
        if _stamp(path) not in (None, self._seen):
            path = next(other for other in _further_paths(path) if not other.exists())
        with atomic_path(path, durable=False) as unfinished:
            unfinished.write_bytes(content)
            stamp = _stamp(unfinished)
        self._kept, self._seen = content, stamp
        return path


Stamp = tuple[int, int, int]


def _stamp(path: Path) -> Stamp | None:
    """Return what tells that a file was written again; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _further_paths(path: Path) -> Iterator[Path]:
    """Yield where further explorers of the same subjects keep theirs: x-2, x-3 and so on."""
    first = re.sub(r"-\d+$", "", path.stem)
    return (path.with_name(f"{first}-{number}.json") for number in itertools.count(2))


def kept_sessions(first: Path) -> list[Path]:
    """Return the files that explorers of the same subjects have kept, the newest first."""
    found = [
        path
        for path in first.parent.glob(f"{first.stem}*.json")
        if re.fullmatch(r"(-\d+)?", path.stem.removeprefix(first.stem))
    ]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def read_session(path: Path) -> dict[str, Any]:
    """Plain values of a session.json; raises BadInputError for a file that is missing or is no
    session."""
    try:
        session = json.loads(read_text(path))
        if session["version"] not in (1, VERSION):
            raise ValueError(f"its version is {session['version']}, not {VERSION}")
        check_session(session)
        for one in session["annotations"]:
            _ = Annotation(**one).mask  # damaged run lengths are told here
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadInputError(
            f"{path}: no session to resume ({error}): give one that was saved"
        ) from None
    return session
