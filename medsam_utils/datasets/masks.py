"""How the values of a mask file become one bool mask per class.

| the file holds | a class given as `ANY_VALUE` is | a class given by label values is |
| --- | --- | --- |
| 0 and one other value (0/1, 0/255, 1-bit) | every non-zero pixel | the pixels of these values |
| several values, one of 128 or more: a soft mask | pixels of at least `mask_threshold` | the same |
| several values, the largest below 128: a label map | every non-zero pixel | the same |
| fractions from 0 to 1: a soft mask | the pixels of at least `mask_threshold` / 256 | refused |
| any of these as JPEG | the pixels of at least `mask_threshold` | refused: JPEG changes values |
| three equal channels, or an alpha channel | as one channel; alpha is dropped | the same |
| colours | refused, or every pixel that is not black where the dataset's reader says so | refused |
| negative numbers, NaN | refused | refused |

`mask_threshold` (128 = half) is on the scale of 8 bits; 16-bit soft masks are compared on their own
scale. The study's released code keeps only pixels of exactly 255: `mask_threshold=255`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..case import BadCaseError

ANY_VALUE: tuple[int, ...] = ()
"""In place of label values: the class is whatever the mask marks (see the table above)."""


def tidy_mask(values: np.ndarray, path: Path) -> np.ndarray:
    """Return mask values as bool, as integers, or (a soft mask) as floats; any shape.

    Whole numbers stored as floats become integers: label maps are often saved so.
    Raises BadCaseError for NaN, infinity and negative numbers.
    """
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise BadCaseError(
                "the mask holds NaN or infinity: write 0 for background", path, kind="mask"
            )
        whole = np.rint(values)
        # Resampling and scale factors leave 0.99999 for 1.
        if np.abs(values - whole).max(initial=0) < 1e-3:
            values = whole.astype(np.int32)
    elif values.dtype.kind not in "biu":
        raise BadCaseError(
            f"the mask's values are {values.dtype}, numbers are needed: save integers",
            path,
            kind="mask",
        )
    if values.dtype.kind in "if" and values.min(initial=0) < 0:
        raise BadCaseError(
            f"the mask holds the negative value {values.min()}: write 0 for background",
            path,
            kind="mask",
        )
    return values


def soft_scale(values: np.ndarray, lossy: bool = False) -> float | None:
    """Return the value of "wholly inside" in a soft mask: 1, 255 or 65535; None if not soft.

    Judged on the whole file (all slices of a volume). lossy: the file is a JPEG, whose background
    may hold small values, so that it counts as soft whatever it holds.
    """
    if values.dtype.kind == "b":
        return None
    peak = values.max(initial=0)
    if values.dtype.kind == "f":
        return 1.0 if peak <= 1 else 255.0
    if not lossy and (peak < 128 or np.isin(values, (0, peak)).all()):
        return None
    return 255.0 if peak <= 255 else 65535.0


def class_masks(
    values: np.ndarray,
    soft: float | None,
    classes: Mapping[str, tuple[int, ...]],
    threshold: int,
    path: Path,
) -> dict[str, np.ndarray]:
    """Return the bool mask of each class, of the shape of `values`.

    values: from `tidy_mask`; soft: from `soft_scale`; threshold: 1..255.
    Raises BadCaseError if label values are asked of a mask of fractions.
    """
    masks = {}
    for name, labels in classes.items():
        if labels != ANY_VALUE:
            if values.dtype.kind == "f":
                raise BadCaseError(
                    f"the mask holds fractions, {name!r} needs label values: round them",
                    path,
                    kind="mask",
                )
            masks[name] = values == labels[0] if len(labels) == 1 else np.isin(values, labels)
        elif soft is None:
            masks[name] = values > 0
        else:
            # Divided by 256, not 255: an 8-bit value v is then kept if v >= threshold, and a
            # fraction if it is at least 0.5 at the default of 128.
            masks[name] = values >= threshold * soft / 256
    return masks


def overlap(classes: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell whether a pixel can belong to two classes.

    >>> overlap({"grey matter": (1,), "cord": (1, 2)}), overlap({"liver": (1,), "tumour": (2,)})
    (True, False)
    """
    labels = [label for values in classes.values() for label in values]
    return len(set(labels)) < len(labels) or (len(classes) > 1 and ANY_VALUE in classes.values())


def check_labels(
    values: np.ndarray,
    classes: Mapping[str, tuple[int, ...]],
    other_labels: tuple[int, ...] | None,
    path: Path,
) -> None:
    """Raise BadCaseError if a label map holds a value that the dataset does not declare.

    other_labels: declared values that belong to no class; None allows any.
    """
    if other_labels is None or ANY_VALUE in classes.values():
        return
    declared = {0, *other_labels, *(label for labels in classes.values() for label in labels)}
    unknown = sorted(set(distinct(values).tolist()) - declared)
    if unknown:
        raise BadCaseError(
            f"label values {unknown[:8]} are not among the declared {sorted(declared)}: "
            "is it the mask of another dataset?",
            path,
            kind="labels",
        )


def distinct(values: np.ndarray) -> np.ndarray:
    """Return the sorted distinct values; fast where they are small integers."""
    peak = values.max(initial=0)
    if values.dtype.kind in "bu" and peak <= 16:
        low, between = values.min(initial=peak), range(1, int(peak))
        return np.unique([low, *(value for value in between if (values == value).any()), peak])
    if values.dtype.kind == "u" and values.dtype.itemsize == 1:
        # "K": a volume's array is in Fortran order, which ravel would copy.
        return np.flatnonzero(np.bincount(values.ravel("K")))
    return np.unique(values)
