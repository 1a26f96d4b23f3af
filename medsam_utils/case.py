"""Case: what every reader yields and every model eats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class BadInputError(ValueError):
    """Input that cannot be used; the message names the file, the fact and the remedy."""


class BadCaseError(BadInputError):
    """One case that cannot be used; an evaluation leaves it out, counts it and lists it."""


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

    def case(
        self,
        image: np.ndarray,
        masks: dict[str, np.ndarray],
        foreground: np.ndarray | None,
        spacing: tuple[float, float] | None,
    ) -> Case:
        """Return the case of what was read, see `Case`."""
        source = (*self.images, *self.masks)
        ids = self.dataset, self.case_id, self.patient_id, self.slice_index
        return Case(*ids, image, masks, foreground, spacing, source)


@dataclass(frozen=True)
class Exclusion:
    """A case left out of the rows, and why; it is reported on the page."""

    case_id: str
    reason: str
    path: str


@dataclass(frozen=True)
class Case:
    """One image with its objects.

    image: uint8, H x W x 3, upright, axis order (row, col). masks: class name -> bool, H x W.
    Classes may overlap; a class absent from the image is all False. foreground: bool, H x W, every
    labelled pixel of any class, or None where each class was
        annotated by itself (used only by the released code's label rule, `Protocol.label`).
    spacing: (row, col) in mm, or None if the file does not tell.
    source: the files that it was read from.
    """

    dataset: str
    case_id: str
    patient_id: str
    slice_index: int | None
    image: np.ndarray
    masks: Mapping[str, np.ndarray]
    foreground: np.ndarray | None = None
    spacing: tuple[float, float] | None = None
    source: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Check shapes and dtypes, so that no later step has to.

        Raises BadCaseError if a mask's shape differs from the image's.
        """
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise BadCaseError(
                f"{self.case_id}: image is {self.image.dtype} {self.image.shape}, expected uint8 H x W x 3"
            )
        for name, mask in self.masks.items():
            if mask.dtype != bool or mask.shape != self.image.shape[:2]:
                raise BadCaseError(
                    f"{self.case_id}: mask {name!r} is {mask.dtype} {mask.shape}, "
                    f"the image is {self.image.shape[:2]}: export both on the same grid"
                )
