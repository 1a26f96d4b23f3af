"""What comes from a page or a file, held against what the explorer can take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...case import BadInputError
from ...datasets.reading import check_limit, reading

MOST_PROMPTS = 10_000  # clicks of one object, and steps of its history
_TEXTS = ("dataset", "task", "case", "class")


def known_parts(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return an explorer's state without the parts that are of a wrong kind."""
    checks = {**dict.fromkeys(_TEXTS, _is_text), "clicks": _is_clicks, "box": _is_box}
    checks |= {"candidate": _is_candidate, "object": _is_number}
    given = state if isinstance(state, Mapping) else {}
    return {
        name: value
        for name, value in given.items()
        if value is None or name not in checks or checks[name](value)
    }


def check_session(values: Any) -> None:
    """Raise ValueError, LookupError or TypeError for what no session holds.

    The masks of its annotations are not looked at.
    """
    state, objects, annotations = (values[name] for name in ("state", "objects", "annotations"))
    if not {"dataset", "case"} <= state.keys() or known_parts(state).keys() != state.keys():
        raise ValueError("its state is not whole")
    for one in (*objects, *annotations):
        if not all(_is_text(one[name]) for name in ("dataset", "task", "case", "class_name")):
            raise ValueError("a name in it is no text")
        if not _is_number(one.get("number", 1)):
            raise ValueError(f"the number of an object in it is {one['number']!r}")
    for name in ("files", "own"):
        if not all(map(_is_text, values.get(name, []))):
            raise ValueError("the name of a file in it is no text")
    for one in objects:
        steps = one["history"]
        if not 0 < len(steps) <= MOST_PROMPTS or not all(map(_is_step, steps)):
            raise ValueError("an object's history is not whole")
    for one in annotations:
        is_right = _is_text(one["model"]) and _is_text(one["counts"]) and _is_step(one)
        is_right = is_right and _is_whole(one["candidate"]) and _are_whole(one["size"], 2)
        if not is_right or min(one["size"]) < 1:
            raise ValueError("an annotation is not whole")


def known_path(path: str | Path) -> Path:
    """Return a path that was typed; raises BadInputError for what is no name of a file."""
    if not _is_text(str(path)) or "\0" in str(path) or not str(path).strip():
        raise BadInputError(f"{str(path)!r} is no name of a file or a folder: write another one")
    return Path(path).expanduser()


def read_text(path: Path) -> str:
    """Return a file's text; raises BadInputError for what is no file, or too large to be one."""
    with reading(path):
        check_limit(64 * path.stat().st_size, path)  # as values it takes so many times more
        return path.read_text(encoding="utf-8")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _is_whole(value: Any, least: int = -(2**31)) -> bool:
    return isinstance(value, int) and least <= value < 2**31


def _is_number(value: Any) -> bool:
    """Tell whether a value says which of a class's objects is meant."""
    return _is_whole(value, 1)


def _are_whole(values: Any, count: int) -> bool:
    return (
        isinstance(values, (list, tuple)) and len(values) == count and all(map(_is_whole, values))
    )


def _is_clicks(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= MOST_PROMPTS and all(_are_whole(click, 3) for click in value)
    return _is_whole(value)


def _is_box(value: Any) -> bool:
    return _are_whole(value, 4)


def _is_candidate(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_text(name) and _is_whole(chosen) for name, chosen in value.items())
    return False


def _is_step(value: Any) -> bool:
    """Tell whether a value says what an object is prompted with; an annotation does, too."""
    if not isinstance(value, Mapping):
        return False
    clicks, box, candidate = (value[name] for name in ("clicks", "box", "candidate"))
    return (
        not isinstance(clicks, int)
        and _is_clicks(clicks)
        and (box is None or _is_box(box))
        and (candidate is None or _is_whole(candidate) or _is_candidate(candidate))
    )
