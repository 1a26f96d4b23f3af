"""Dataset: what an entry of the registry is, and what an evaluation asks of it."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..case import (
    BadCaseError,
    BadInputError,
    Case,
    CaseReference,
    Exclusion,
    Listing,
    unknown_name,
)
from .companions import companions
from .formats import why_not_read
from .listings import list_once
from .pairs import printable, walk
from .reading import inside

Intensity = Callable[[np.ndarray], np.ndarray]
"""Raw values, H x W or H x W x 3, to uint8 H x W x 3; see `medsam_utils.intensity`."""

MARKER = "PHANTOMS.txt"
"""A folder that holds this file holds phantoms, wherever it has been copied to."""


@dataclass(frozen=True)
class Passport:
    """What a reader of the book has to know about a dataset.

    layout: the expected files as a tree; study_images: the study's own image count, None where it
    is not in the study; count_rule: which images we count; traps: what goes wrong with these files;
    masks_by: what made the masks where it was a model and no person, else empty. The registry's
    entries fill in all of it; one of your own may leave out what its page need not tell.
    """

    full_name: str
    citation: str = ""
    home: str = ""
    licence: str = ""
    registration: str = ""
    layout: str = ""
    count_rule: str = ""
    study_images: int | None = None
    traps: tuple[str, ...] = ()
    masks_by: str = ""


class Reader(Protocol):
    """What reads the files of a dataset: a frozen dataclass, whose fields say how."""

    def list(self, dataset: Dataset) -> Listing:
        """List the cases; opens no image."""

    def load(self, dataset: Dataset, reference: CaseReference) -> Case:
        """Read one case; raises BadCaseError if it cannot be used."""


@dataclass(frozen=True)
class Dataset:
    """A dataset: an entry of `DATASETS`, and with its `root` something to evaluate on.

    title: name in figures and tables, as in the study; modality: MRI, X-ray, Ultrasound, CT or PET.
    classes: class name -> label values, or `masks.ANY_VALUE` for whatever a binary mask marks.
    other_labels: label values that occur but belong to no class; None: any value may occur.
    intensity: raw values -> 8-bit RGB, see `medsam_utils.intensity`; class_intensity: class name ->
    the rule that shows this class instead, such as a CT window for lungs. mask_threshold: 1..255,
    from which value on a pixel of a soft mask counts, see `datasets.masks`. folders: the
    distribution's own top folders, by whose names the dataset is recognised; companions: further
    ones, whose names are too general for that; within: the ones of all these to look into (empty:
    everything below `root`). level: "measured" for real files, "demo" for phantoms. mask_kind: what
    an own folder's masks agree on, see `masks.check_kind`; a mask of another kind is left out;
    empty: any will do. ignore: mask values that belong neither to an object nor to the
    background and count in no score. threshold: a `mask_threshold` that no protocol changes.
    """

    name: str
    title: str
    modality: str
    classes: Mapping[str, tuple[Any, ...]]
    reader: Reader
    intensity: Intensity
    passport: Passport
    folders: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    other_labels: tuple[int, ...] | None = ()
    class_intensity: Mapping[str, Intensity] = dataclasses.field(default_factory=dict)
    mask_threshold: int = 128
    root: Path | None = None
    within: tuple[str, ...] = ()
    level: str = "measured"
    mask_kind: str = ""
    ignore: tuple[int, ...] = ()
    threshold: int | None = None

    def __post_init__(self) -> None:
        """Raise BadInputError for a threshold outside 1..255."""
        for name in ("mask_threshold", "threshold"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 255:
                raise BadInputError(f"{name} is {value}: choose 1..255, 128 is half")

    @property
    def tasks(self) -> dict[str, str]:
        """Task name of each class: the title, followed by the class where there are several."""
        if len(self.classes) == 1:
            return dict.fromkeys(self.classes, self.title)
        return {name: f"{self.title}: {name}" for name in self.classes}

    @property
    def task_classes(self) -> dict[str, str]:
        """Class name of each task."""
        return {task: class_name for class_name, task in self.tasks.items()}

    def read_with(self, **options: object) -> Dataset:
        """Return the dataset with options of its reader changed, such as plane="coronal".

        Which there are stands in the reader's class, for volumes
        `medsam_utils.datasets.volumes.Volumes`. Raises BadInputError for an option that the reader
        does not have.
        """
        reader: Any = self.reader
        known = [field.name for field in dataclasses.fields(reader)]
        for option in options:
            if option not in known:
                raise BadInputError(
                    f"{self.name} has no option {option!r}: choose from {', '.join(known)}"
                )
        return dataclasses.replace(self, reader=dataclasses.replace(reader, **options))

    def list(self) -> Listing:
        """List the cases without opening an image; the same files give the same list everywhere.

        Raises BadInputError if the folder is missing or there is no case in it.
        """
        if self.root is None:
            raise BadInputError(
                f"{self.name} is an entry without files: use load_dataset({self.name!r})"
            )
        for folder in [self.root / name for name in self.within] or [self.root]:
            if not folder.is_dir():
                raise BadInputError(
                    f"{folder}: no such folder: give the one that holds\n{self.passport.layout}"
                )
        listing = list_once(self, self._list)
        if not listing.references:
            first = "".join(f"; for example {e.reason}" for e in listing.exclusions[:1])
            raise BadInputError(
                f"{self.root}: no case of {self.name} in it ({len(listing.exclusions)} left "
                f"out{first}). Expected:\n{self.passport.layout}"
            )
        return listing

    def _list(self) -> Listing:
        """Return what the reader lists, with the files of each exclusion and of no case."""
        with inside(self.root):
            listing = self.reader.list(self)
        left_out = [self._with_companions(exclusion) for exclusion in listing.exclusions]
        listing = dataclasses.replace(listing, exclusions=left_out)
        return dataclasses.replace(listing, not_read=self._not_read(listing))

    def _with_companions(self, left_out: Exclusion) -> Exclusion:
        """Return an exclusion with the files that belong to its files, see `companions`."""
        files = dict.fromkeys((left_out.path, *left_out.files))
        with inside(self.root):
            parts = [part for path in files for part in companions(self.root / path)]
        if not parts:
            return left_out
        names = (*files, *(self.relative(str(part)) for part in parts))
        return dataclasses.replace(left_out, files=names)

    def _not_read(self, listing: Listing) -> Sequence[Exclusion]:
        """Return the files below the dataset's folders that belong to no case and no exclusion."""
        if getattr(self.reader, "only", ""):
            return []  # One file was asked for, not the folder that it is in.
        volumes = {(r.images, r.masks): r for r in listing.references}
        of_cases = {file for r in volumes.values() for file in self.files(r)}
        left_out = {path for e in listing.exclusions for path in (e.path, *e.files)}
        paths = {self.relative(str(file)) for file in of_cases} | left_out | {MARKER}
        rest = [
            path
            for path in walk(self.root, self.within, hidden=True)
            if path not in paths and not any(str(up) in left_out for up in Path(path).parents)
        ]
        names = {path: printable(path) for path in rest}
        return [
            Exclusion(name, "not read", name, why_not_read(self.root / path))
            for path, name in names.items()
        ]

    def __iter__(self) -> Iterator[CaseReference]:
        """Iterate over the references of all cases, as `list` gives them."""
        return iter(self.list().references)

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.list().references)

    def __bool__(self) -> bool:
        """Return True, also for an entry without files."""
        return True

    def __getitem__(self, case_id: str) -> CaseReference:
        """Return the reference of a case by its id; the cases are listed once for all look-ups.

        Raises BadInputError for an id that no case has.
        """
        if case_id not in self._by_id:
            raise unknown_name(f"case of {self.name}", case_id, self._by_id)
        return self._by_id[case_id]

    def __contains__(self, case_id: object) -> bool:
        """Return whether a case has this id."""
        return case_id in self._by_id

    @functools.cached_property
    def _by_id(self) -> dict[str, CaseReference]:
        return {reference.case_id: reference for reference in self}

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker needs: a copy lists the cases again if it looks one up."""
        return {name: value for name, value in vars(self).items() if name != "_by_id"}

    def load(self, case: CaseReference | str, class_name: str | None = None) -> Case:
        """Read one case, upright and as 8-bit RGB.

        case: its reference or its id. class_name: whose intensity rule is used; None for the
        dataset's own. Raises BadCaseError if the case cannot be used.
        """
        reference = self[case] if isinstance(case, str) else case
        shown = dataclasses.replace(
            self, intensity=self.class_intensity.get(class_name, self.intensity)
        )
        try:
            with inside(self.root):
                return self.reader.load(shown, reference)
        except BadCaseError as error:
            path = error.path and self.relative(str(error.path))
            raise BadCaseError(self.relative(error.fact), path, error.kind) from None

    def views(self, reference: CaseReference) -> Iterator[Case]:
        """Read one case once per intensity rule, each time with the classes that the rule shows.

        A dataset without `class_intensity` has one view. Raises BadCaseError if it cannot be used.
        """
        shown: dict[Any, Any] = {}  # intensity rule -> names of its classes
        for name in self.classes:
            shown.setdefault(self.class_intensity.get(name, self.intensity), []).append(name)
        for names in shown.values():
            case = self.load(reference, names[0])
            yield dataclasses.replace(case, masks={name: case.masks[name] for name in names})

    def relative(self, text: str) -> str:
        """Return a text with paths below the root: a page is the same on every machine."""
        return text.replace(f"{self.root}{os.sep}", "")

    def exclusion(
        self,
        case_id: str,
        error: BadCaseError,
        path: Path | str,
        files: Iterable[Path] = (),
    ) -> Exclusion:
        """Return why a case is left out.

        path: the file to name where the error names none. files: all that the case is made of.
        """
        named = self.relative(str(error.path or path))
        names = tuple(self.relative(str(file)) for file in files)
        return Exclusion(case_id, error.kind, named, self.relative(error.fact), names)

    def files(self, reference: CaseReference) -> Sequence[Path]:
        """Return the files that a case is read from."""
        named = [*reference.images, *reference.masks]
        with inside(self.root):
            return [*named, *(part for path in named for part in companions(path))]

    def mask_settings(self) -> dict:
        """Return what, besides the files, decides what masks mean; plain JSON values."""
        return {
            "classes": {name: list(labels) for name, labels in self.classes.items()},
            "other_labels": None if self.other_labels is None else list(self.other_labels),
            "mask_threshold": self.mask_threshold,
            "mask_kind": self.mask_kind,
            "ignore": list(self.ignore),
            "threshold": self.threshold,
        }

    def settings(self) -> dict:
        """Return what, besides the files, decides what `load` returns; plain JSON values."""
        return {
            "dataset": self.name,
            **self.mask_settings(),
            "intensity": _describe(self.intensity),
            "class_intensity": {
                name: _describe(rule) for name, rule in self.class_intensity.items()
            },
            "reader": _describe(self.reader),
        }


def to_rgb(values: np.ndarray, dataset: Dataset, path: Path) -> np.ndarray:
    """Apply the dataset's intensity rule; raises BadCaseError if a pixel is NaN or infinite.

    Such pixels are not filled in: what stands there decides the contrast of all the others.
    """
    if values.dtype.kind == "f":
        bad = np.count_nonzero(~np.isfinite(values))
        if bad:
            raise BadCaseError(
                f"{bad} of {values.size} pixels are NaN or infinite: replace them and save it "
                "again",
                path,
                kind="format",
            )
    elif values.dtype.kind == "b":
        values = values.astype(np.uint8) * 255
    elif values.dtype.kind not in "iu":
        raise BadCaseError(
            f"pixels are {values.dtype}, real numbers are needed: save one channel or RGB",
            path,
            kind="format",
        )
    return dataset.intensity(values)


def _describe(value: object) -> object:
    """Return a frozen dataclass as plain values, with the name of its type."""
    if dataclasses.is_dataclass(value):
        fields = {f.name: _describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    return list(value) if isinstance(value, tuple) else value
