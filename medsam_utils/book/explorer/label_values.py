"""Which values the accepted classes have in the masks of a folder that can be evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...case import BadInputError
from ...datasets import ANY_VALUE, Dataset

if TYPE_CHECKING:
    from .annotation import Annotation

MOST = 255


class LabelValues:
    """Values of classes in label maps, such that `load_folder` reads the same masks again.

    A class has the value that it has in its dataset, else the next that is free; where classes
    overlap, each combination has a value of its own, which counts for all of its classes. Where
    there are several objects of the one class of flat images, and none overlap, each object has its
    number instead.
    """

    def __init__(
        self, annotations: Iterable[Annotation], dataset: Dataset, flat: bool, beside: bool = False
    ) -> None:
        """Look through all masks. beside: whether they come to lie beside those of the dataset.

        Raises BadInputError if there are too many combinations, and for masks that would not be
        read as those are that they lie beside.
        """
        cases: dict[str, list[Annotation]] = {}
        for one in annotations:
            cases.setdefault(one.case, []).append(one)
        called = {one.class_name for members in cases.values() for one in members}
        known = [name for name in dataset.classes if beside or name in called]
        self.names = [*known, *sorted(called - set(known))]
        overlap = any(self._overlap(members) for members in cases.values())
        several = any(len(members) > 1 for members in cases.values())
        numbered = beside and dataset.mask_kind == "instances"
        self.each = numbered or (
            flat and not beside and len(self.names) == 1 and several and not overlap
        )
        self.any = beside and not self.each and ANY_VALUE in dataset.classes.values()
        if beside:
            self._check_beside(dataset, overlap)
        self._values: dict[frozenset[str], int] = {}
        if self.each:
            return
        taken = set()  # by the dataset's classes
        for name, labels in dataset.classes.items():
            whole = [label for label in labels if isinstance(label, int) and 0 < label <= MOST]
            taken |= set(whole)
            if name in self.names and whole and whole[0] not in self._values.values():
                self._values[frozenset([name])] = whole[0]
        if flat and len(self.names) == 1:  # white, so that it is seen
            self._values.setdefault(frozenset(self.names), MOST)
        combinations = {
            combination
            for members in cases.values()
            for combination in self._combinations(members)[1]
        }
        alone = [frozenset([name]) for name in self.names]
        for one in (*alone, *sorted(combinations - set(alone), key=sorted)):
            if one not in self._values:
                free = set(range(1, MOST + 1)) - set(self._values.values()) - taken
                if not free:
                    raise BadInputError(
                        f"{dataset.title}: its classes overlap in more than {MOST} combinations: "
                        "save PNG, one file per class"
                    )
                self._values[one] = min(free)
        self._more = {
            name: set(labels) - {self._values[frozenset([name])]}
            for name, labels in dataset.classes.items()
            if beside and labels
        }

    def _check_beside(self, dataset: Dataset, overlap: bool) -> None:
        """Raise BadInputError for masks that would not be read as those that they lie beside."""
        fact = ""
        if (self.any or self.each) and len(self.names) > 1:
            fact = "mark one class, without a value of its own"
        elif self.each and overlap:
            fact = "number objects that do not overlap"
        elif not (self.any or self.each) and not all(
            isinstance(label, int) and 0 < label <= MOST
            for labels in dataset.classes.values()
            for label in labels
        ):
            fact = f"have names or values that are not 1 to {MOST}"
        if fact:
            raise BadInputError(
                f"{dataset.title}: the masks in its folder {fact}: save into another folder"
            )

    @property
    def text(self) -> str:
        """The classes as `load_folder` reads them, such as "liver=1,3; tumour=2,3"."""
        texts: dict[str, str] = {}
        for name in self.names:
            plain = _plain(name)
            while plain in texts:  # of two names that differ in what cannot be written
                plain += " (2)"
            values = {value for names, value in self._values.items() if name in names}
            texts[plain] = "each" if self.each else "any" if self.any else ""
            if not texts[plain]:
                texts[plain] = ",".join(map(str, sorted(values | self._more.get(name, set()))))
        return "; ".join(f"{plain}={values}" for plain, values in texts.items())

    def label_map(self, members: Sequence[Annotation]) -> np.ndarray:
        """The accepted masks of one image as uint8 H x W, or uint16 for many objects."""
        if self.each:
            values = np.zeros(members[0].size, np.uint8 if len(members) <= MOST else np.uint16)
            for number, one in enumerate(members, start=1):
                values[one.mask] = number
            return values
        which, combinations = self._combinations(members)
        return np.array([0, *(self._values[names] for names in combinations)], np.uint8)[which]

    def _combinations(
        self, members: Sequence[Annotation]
    ) -> tuple[np.ndarray, list[frozenset[str]]]:
        """Which classes are where: 0 for none, else 1 plus the index of a set of names."""
        names = sorted({one.class_name for one in members})
        codes = np.zeros(members[0].size, np.int64)
        for i, name in enumerate(names):
            for one in members:
                if one.class_name == name:
                    codes[one.mask] |= 1 << i
        found, which = np.unique(codes, return_inverse=True)
        sets = [
            frozenset(n for i, n in enumerate(names) if code >> i & 1) for code in found.tolist()
        ]
        which = which.reshape(codes.shape)
        return (which, sets[1:]) if not sets[0] else (which + 1, sets)

    @staticmethod
    def _overlap(members: Sequence[Annotation]) -> bool:
        return bool((np.sum([one.mask for one in members], axis=0) > 1).any())


def _plain(name: str) -> str:
    """Return a name as `parse_classes` can read it.

    >>> _plain("T1=bright; \\n mass")
    'T1 bright mass'
    """
    return re.sub(r"[=;\s]+", " ", name).strip() or "object"
