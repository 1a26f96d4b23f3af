"""Case: one image with its objects, as every reader returns it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

KINDS = {
    "pairs": "an image without a mask, or a mask without an image",
    "unreadable": "a file that cannot be read",
    "format": "a file that holds something else than one image or volume",
    "series": "the files of a series do not make one volume",
    "grid": "mask and image lie on different grids",
    "mask": "a mask whose values cannot be used",
    "labels": "label values that the dataset does not declare",
    "no object": "no object to click on",
    "known": "the annotation is known to be wrong",
    "not read": "a file that is part of no case",
}
"""Kinds of reasons why a case is left out, and what each means."""


class BadInputError(ValueError):
    """Input that cannot be used; the message names the file, the fact and the remedy."""


class BadCaseError(BadInputError):
    """One case that cannot be used; an evaluation leaves it out, counts it and lists it.

    fact: what is wrong and what helps. path: the file that it is true of, None if there is none.
    kind: one of KINDS. The message is path and fact.
    """

    def __init__(self, fact: str, path: Path | str | None = None, kind: str = "format") -> None:
        super().__init__(f"{path}: {fact}" if path else fact)
        self.fact, self.path, self.kind = fact, path, kind


def unknown_name(what: str, name: str, known: Iterable[str]) -> BadInputError:
    """Return the error for a name that nothing has, with the nearest known name.

    >>> print(unknown_name("model", "sam_smal", ["grabcut", "sam_small"]))
    model 'sam_smal' is unknown: did you mean 'sam_small'? Known: grabcut, sam_small
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return BadInputError(f"{what} {name!r} is unknown:{hint} Known: {', '.join(known[:100])}")


def volume_id(case_id: str, slice_index: int | None) -> str:
    """Return what the ids of a volume's slices have in common; of a flat image its id.

    >>> volume_id("liver_3_z007", 7), volume_id("benign (1)", None)
    ('liver_3', 'benign (1)')
    """
    return case_id if slice_index is None else case_id.removesuffix(f"_z{slice_index:03d}")


@dataclass(frozen=True, order=True)
class CaseReference:
    """Where one case lies on disk; cheap to list, picklable, and in a stable order.

    `images` and `masks` are paths (several masks are united); `slice_index` counts along the
    slice axis of the volume as it is read, None for a two-dimensional image.
    """

    dataset: str
    case_id: str
    patient_id: str
    slice_index: int | None
    images: tuple[Path, ...]
    masks: tuple[Path, ...]

    @property
    def volume(self) -> str:
        """Return the volume that it is a slice of, see `volume_id`."""
        return volume_id(self.case_id, self.slice_index)

    def case(
        self,
        image: np.ndarray,
        masks: dict[str, np.ndarray],
        labelled: np.ndarray | None,
        spacing: tuple[float, float] | None,
        ignored: np.ndarray | None = None,
    ) -> Case:
        """Return the case of what was read, see `Case`."""
        source = (*self.images, *self.masks)
        ids = self.dataset, self.case_id, self.patient_id, self.slice_index
        ignored = ignored if ignored is not None and ignored.any() else None
        return Case(*ids, image, masks, labelled, spacing, source, ignored)


@dataclass(frozen=True)
class Exclusion:
    """A case left out of the rows, and why; it is reported on the page.

    kind: one of KINDS. path: the file, below the dataset's folder. fact: what is wrong with it, and
    what helps; equal for all files of which the same is true. files: all files that are left out
    with it, where there are more than the one.
    """

    case_id: str
    kind: str
    path: str
    fact: str
    files: tuple[str, ...] = field(default=(), compare=False)

    @property
    def reason(self) -> str:
        """Return path and fact as one sentence."""
        return f"{self.path}: {self.fact}"


@dataclass(frozen=True)
class Listing:
    """The cases of a dataset, in natural order of their names, and what had to be left out.

    not_read: the files below the dataset's folders that belong to neither, each with its reason.
    """

    references: list[CaseReference]
    exclusions: list[Exclusion]
    not_read: Sequence[Exclusion] = ()


@dataclass(frozen=True)
class Case:
    """One image with its objects.

    image: uint8, H x W x 3, upright, axis order (row, col). masks: class name -> bool, H x W.
    Classes may overlap; a class absent from the image is all False. labelled: bool, H x W, every
    pixel of any class, or None where each class was annotated by itself (used only by the released
    code's label rule, `Protocol.label`).
    spacing: (row, col) in mm, or None if the file does not tell.
    source: the files that it was read from. ignored: bool, H x W, pixels that belong neither to an
    object nor to the background and count in no score; None if there are none.
    """

    dataset: str
    case_id: str
    patient_id: str
    slice_index: int | None
    image: np.ndarray
    masks: Mapping[str, np.ndarray]
    labelled: np.ndarray | None = None
    spacing: tuple[float, float] | None = None
    source: tuple[Path, ...] = ()
    ignored: np.ndarray | None = None

    def scored(self, mask: np.ndarray) -> np.ndarray:
        """Return a bool mask H x W without the pixels that count in no score."""
        return mask if self.ignored is None else mask & ~self.ignored

    def __post_init__(self) -> None:
        """Check shapes and dtypes, so that no later step has to.

        Raises BadCaseError if a mask's shape differs from the image's.
        """
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise BadCaseError(
                f"image is {self.image.dtype} {self.image.shape}, expected uint8 H x W x 3",
                self.case_id,
            )
        for name, mask in self.masks.items():
            if mask.dtype != bool or mask.shape != self.image.shape[:2]:
                raise BadCaseError(
                    f"mask {name!r} is {mask.dtype} {mask.shape}, "
                    f"the image is {self.image.shape[:2]}: export both on the same grid",
                    self.case_id,
                    kind="grid",
                )
