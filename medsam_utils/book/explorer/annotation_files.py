"""The files of an annotation session: what they are called, what is in them, and that none is
overwritten."""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

from ...case import BadInputError, CaseReference
from ...datasets import Dataset
from ...datasets.companions import companions
from ...datasets.folder import LABEL_VALUES
from ...datasets.formats import find_format, stem
from ...datasets.unlabelled import Unlabelled
from ...files import atomic_path, file_name, tell_apart
from .annotation import Annotation, Placed, coco, image_name, mask_png, nifti, png, source_files
from .annotation_dicom import segmentation, structures
from .label_values import LabelValues

FORMATS = ("nifti", "png", "coco", "folder", "seg", "rtstruct")
DEFAULT = FORMATS[:3]
DICOM = FORMATS[4:]

Source = Callable[[str, str], tuple[Dataset, CaseReference]]
"""(dataset title, case) -> where it was read from."""

Content = Callable[[], bytes] | Path
"""What makes a file's content, or the file that it is a copy of."""


def files_of(
    session: Mapping[str, Any],
    source: Source,
    formats: Collection[str] = DEFAULT,
    folder: Path | None = None,
) -> dict[str, Content]:
    """File name -> content: session.json, and the annotations in the formats asked for.

    session: see `Session.values`. formats: of FORMATS. folder: where they are to lie. Raises
    BadInputError for an unknown format, for a format that these cases cannot have, and for images
    whose names differ in upper and lower case alone; other such names get a hash each.
    """
    for name in set(formats) - set(FORMATS):
        raise BadInputError(f"format {name!r} is unknown: choose from {', '.join(FORMATS)}")
    annotations = [Annotation(**one) for one in session["annotations"]]
    placed = [(one, source(one.dataset, one.case)) for one in annotations]
    files: dict[str, Content] = {}
    for name in formats:
        if name == "folder":
            files |= _folder_files(placed, folder)
        else:
            files |= tell_apart(_MAKERS[name](placed))
    if len({name.casefold() for name in files}) < len(files):
        raise BadInputError(
            "names of images differ in upper and lower case alone: choose PNG, NIfTI or COCO"
        )
    names = sorted(name for name, content in files.items() if callable(content))
    return {"session.json": partial(as_json, {**session, "files": names}), **files}


Sourced = tuple[Annotation, tuple[Dataset, CaseReference]]
"""An annotation, and the dataset and reference of its case."""


def _coco_file(placed: Sequence[Sourced]) -> dict[str, Content]:
    """One file for all."""
    annotations = [one for one, _ in placed]
    shown = {(one.dataset, one.case): found for one, found in placed}

    def make() -> bytes:
        names = {key: image_name(*found) for key, found in shown.items()}
        return as_json(coco(annotations, names))

    return {"coco.json": make} if annotations else {}


def _png_files(placed: Sequence[Sourced]) -> dict[str, Content]:
    """One file per slice, class and object, 0 and 255."""
    files: dict[str, Content] = {}
    for one, _ in placed:
        number = [str(one.number)] if one.number > 1 else []
        name = file_name(one.dataset, one.case, one.class_name, *number)
        files[f"{name}.png"] = partial(mask_png, one)
    return files


def _nifti_files(placed: Sequence[Sourced]) -> dict[str, Content]:
    """One file per volume and class."""
    groups = _grouped(
        placed, lambda one, key: f"{file_name(one.dataset, key, one.class_name)}.nii.gz"
    )
    return {name: partial(nifti, members, dataset) for name, (dataset, members) in groups.items()}


def _dicom_files(
    suffix: str, make: Callable[..., bytes], placed: Sequence[Sourced]
) -> dict[str, Content]:
    """One file per series; raises BadInputError for what is none."""
    for one, (_, reference) in placed:
        if not is_series(reference):
            raise BadInputError(
                f"{one.case} comes from no DICOM series, so there is no DICOM file of its mask: "
                "choose NIfTI, PNG, COCO or images + masks"
            )
    groups = _grouped(placed, lambda one, key: f"{file_name(one.dataset, key)}{suffix}")
    return {name: partial(make, members, dataset) for name, (dataset, members) in groups.items()}


def _folder_files(placed: Sequence[Sourced], target: Path | None) -> dict[str, Content]:
    """What `load_folder` reads; of several datasets each in a folder of its own."""
    groups = _grouped(placed, lambda one, key: one.dataset)
    files: dict[str, Content] = {}
    for title, (dataset, members) in groups.items():
        folder = "" if len(groups) == 1 else f"{file_name(title)}/"
        is_labelled = not isinstance(dataset.reader, Unlabelled)
        is_own = bool(target) and (target / folder).resolve() == dataset.root
        made = EvaluationFolder(dataset, members, is_own and is_labelled).files()
        files |= {f"{folder}{name}": content for name, content in made.items()}
    return files


def _grouped(
    placed: Sequence[Sourced], name: Callable[[Annotation, str], str]
) -> dict[str, tuple[Dataset, list[Placed]]]:
    """Group annotations by a name. name: of an annotation and its volume."""
    groups: dict[str, tuple[Dataset, list[Placed]]] = {}
    for one, (dataset, reference) in placed:
        group = groups.setdefault(name(one, reference.volume), (dataset, []))
        group[1].append((one, reference))
    return groups


_MAKERS: Mapping[str, Callable[[Sequence[Sourced]], dict[str, Content]]] = {
    "nifti": _nifti_files,
    "png": _png_files,
    "coco": _coco_file,
    "seg": partial(_dicom_files, ".seg.dcm", segmentation),
    "rtstruct": partial(_dicom_files, ".rtstruct.dcm", structures),
}


def is_series(reference: CaseReference) -> bool:
    """Tell whether a case is a slice of a DICOM series."""
    return reference.slice_index is not None and find_format(reference.images[0]) == "dicom"


class EvaluationFolder:
    """The annotations of one dataset as a folder that `load_folder` reads.

    It holds copies of the annotated images, under their own names, and label maps of these names.
    Nothing is written for what has no annotation. beside: whether it is the dataset's own folder.
    """

    def __init__(
        self, dataset: Dataset, annotations: Collection[Placed], beside: bool = False
    ) -> None:
        """Look at no mask yet."""
        self._dataset, self._annotations, self._beside = dataset, list(annotations), beside
        self._flat = annotations and all(r.slice_index is None for _, r in annotations)

    @cached_property
    def _values(self) -> LabelValues:
        annotations = (one for one, _ in self._annotations)
        return LabelValues(annotations, self._dataset, self._flat, self._beside)

    def files(self) -> dict[str, Content]:
        """File name -> content; raises BadInputError for images whose names are too much alike."""
        files: dict[str, Content] = {LABEL_VALUES: lambda: f"{self._values.text}\n".encode()}
        images: dict[str, list[Placed]] = {}
        keys: dict[str, str] = {}
        for one, reference in self._annotations:
            name, path = source_files(self._dataset, reference)
            if not find_format(reference.images[0]):
                raise BadInputError(
                    f"{name} is of a format that holds images and masks in one file: choose PNG or "
                    "COCO instead of images + masks"
                )
            if len(reference.images) > 1 and not is_series(reference):
                raise BadInputError(
                    f"{one.case} is made of {len(reference.images)} images, and a folder holds one "
                    "for each mask: choose NIfTI, PNG or COCO"
                )
            images.setdefault(name, []).append((one, reference))
            key = name if path.is_dir() else stem(name)
            if keys.setdefault(key, name) != name:
                raise BadInputError(
                    f"{keys[key]} and {name} differ in their suffix alone, so that a mask could "
                    "belong to either: rename one, and annotate it again"
                )
        for key, name in keys.items():
            members = images[name]
            _, reference = members[0]
            top = PurePosixPath("images", name)
            for path in reference.images:
                copy = top / path.name if is_series(reference) else top
                files[copy.as_posix()] = path
                files |= {(copy.parent / part.name).as_posix(): part for part in companions(path)}
            if reference.slice_index is None:
                files[f"masks/{key}.png"] = partial(self._png, [one for one, _ in members])
            else:
                files[f"masks/{key}.nii.gz"] = partial(self._nifti, members)
        return files

    def _png(self, members: list[Annotation]) -> bytes:
        return png(self._values.label_map(members))

    def _nifti(self, members: list[Placed]) -> bytes:
        return nifti(members, self._dataset, self._values)


def as_json(value: Any) -> bytes:
    """UTF-8, indented by one space."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def write_files(
    folder: Path, files: Mapping[str, Content], own: Collection[Path] = ()
) -> list[Path]:
    """Write files into a folder, each wholly or not at all; return those that were made.

    files: see `files_of`. own: paths that may be replaced. Copies and label values that are there
    already are left alone. Raises BadInputError, before anything is written, if there is another
    file of such a name.
    """
    copies = {folder / name: source for name, source in files.items() if isinstance(source, Path)}
    made = {folder / name: make() for name, make in files.items() if callable(make)}
    there = {p for p, source in copies.items() if p.is_file() and filecmp.cmp(p, source, False)}
    said = folder / LABEL_VALUES
    there |= {said} if said.is_file() and made.get(said) == said.read_bytes() else set()
    taken = [p for p in (*made, *copies) if p.exists() and p not in own and p not in there]
    if taken:
        raise BadInputError(
            f"{taken[0]} exists already: choose another folder, or allow it to be replaced"
        )
    for path, content in made.items():
        if path not in there:
            with atomic_path(path) as unfinished:
                unfinished.write_bytes(content)
    for path, source in copies.items():
        if path not in there:
            with atomic_path(path) as unfinished:
                shutil.copyfile(source, unfinished)
    return [path for path in made if path not in there]
