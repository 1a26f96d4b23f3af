"""The files of an annotation session: what they are called, what is in them, and that none is
overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ...case import BadInputError, CaseReference
from ...datasets import Dataset
from ...files import atomic_path, file_name, tell_apart
from .annotation import Annotation, coco, image_name, nifti, png

FORMATS = ("nifti", "png", "coco")


def files_of(
    session: Mapping[str, Any],
    source: Callable[[str, str], tuple[Dataset, CaseReference]],
    formats: Collection[str] = FORMATS,
) -> dict[str, Callable[[], bytes]]:
    """File name -> what makes its content: session.json, and the annotations in the formats asked
    for.

    session: see `Session.values`. source: (dataset title, case) -> where it was read from. NIfTI
    holds all annotated slices of a volume, a file per class; PNG is 0 and 255, a file per slice and
    class; COCO is one file. Names that differ in upper and lower case alone get a hash each. Raises
    BadInputError for an unknown format.
    """
    if unknown := set(formats) - set(FORMATS):
        raise BadInputError(
            f"format {sorted(unknown)[0]!r} is unknown: choose from {', '.join(FORMATS)}"
        )
    annotations = [Annotation(**one) for one in session["annotations"]]
    files = {"session.json": partial(as_json, session)}
    if "coco" in formats and annotations:
        shown = {(one.dataset, one.case) for one in annotations}
        files["coco.json"] = lambda: as_json(
            coco(annotations, {key: image_name(*source(*key)) for key in shown})
        )
    volumes: dict[str, tuple] = {}
    for one in annotations:
        dataset, reference = source(one.dataset, one.case)
        if "png" in formats:
            files[f"{file_name(one.dataset, one.case, one.class_name)}.png"] = partial(png, one)
        index = reference.slice_index
        volume = one.case if index is None else one.case.removesuffix(f"_z{index:03d}")
        name = f"{file_name(one.dataset, volume, one.class_name)}.nii.gz"
        volumes.setdefault(name, (dataset, []))[1].append((one, reference))
    for name, (dataset, members) in volumes.items() if "nifti" in formats else ():
        files[name] = partial(nifti, members, dataset)
    return tell_apart(files)


def as_json(value: Any) -> bytes:
    """UTF-8, indented by one space."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def write_files(
    folder: Path, files: Mapping[str, Callable[[], bytes]], own: Collection[Path] = ()
) -> None:
    """Write files into a folder, each wholly or not at all. files: see `files_of`.

    own: paths that may be replaced. Raises BadInputError, before anything is written, if there is
    another.
    """
    paths = {folder / name: make for name, make in files.items()}
    if taken := [path for path in paths if path.exists() and path not in own]:
        raise BadInputError(
            f"{taken[0]} exists already: choose another folder, or allow it to be replaced"
        )
    contents = {path: make() for path, make in paths.items()}
    for path, content in contents.items():
        with atomic_path(path) as unfinished:
            unfinished.write_bytes(content)
