"""How the values of a mask file become one bool mask per class: decided file by file.

================================  =========  ============================  ======================
the file holds                    kind       a class given as `ANY_VALUE`  by label values
================================  =========  ============================  ======================
0 and one other value, any        binary     every non-zero pixel          pixels of these values
areas of one value each: 0, 1, 2  labels     every non-zero pixel          the same
the same, and 255 (65535)         labels     the same, 255 is ignored      the same
1 to n, 8 or more, a region each  instances  each an object; flat images   the same
a gradual rise from 0 to 128 up   soft       from `mask_threshold` on      refused
fractions from 0 to 1             soft       from `mask_threshold` / 256   refused
any of these, JPEG or lossy WebP  soft       from `mask_threshold` on      refused
what fits none of these lines     unclear    refused without `threshold`   the same
negative numbers, NaN             refused    refused                       refused
================================  =========  ============================  ======================

`mask_threshold` (128 = half) is on the scale of 8 bits; 16-bit soft masks are compared on their own
scale. The study's released code keeps only pixels of exactly 255: `mask_threshold=255`. Ignored
pixels are left out of the truth and of every score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from ..case import BadCaseError
from .formats import stem

if TYPE_CHECKING:
    from .dataset import Dataset

Label = int | str
"""A class's value in a label map, or its name in a file that names its segments."""

ANY_VALUE: tuple[Any, ...] = ()
"""In place of label values: the class is whatever the mask marks (see the table above)."""

SMALL_LABEL = 31
"""Numbers up to here are labels, however they lie: no soft mask is so dark."""

MOST = 2000
FEWEST_INSTANCES = 8
MOST_LABELS = {2: 32, 3: 256}
"""So many label values are classes, in flat images and in volumes; more are a question."""


@dataclass(frozen=True, eq=False)
class Marks:
    """A mask file's values, as they count: ignored ones are 0. ignored: where they were, or None.

    names: of its segments, with their values, where the file names them.
    """

    values: np.ndarray
    meaning: Meaning
    ignored: np.ndarray | None = None
    names: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Asked:
    """What a dataset says of its masks, see `Dataset`; a dataset itself takes its place."""

    classes: Mapping[str, tuple[Label, ...]]
    mask_kind: str = ""
    ignore: tuple[int, ...] = ()
    threshold: int | None = None
    mask_threshold: int = 128


@dataclass(frozen=True)
class Meaning:
    """What the values of one mask file mean.

    kind: empty, binary, soft, labels, instances or unclear, see the table above. values: the
    distinct ones but 0 and the ignored. full: what "wholly inside" is in a soft mask: 1, 255 or
    65535; 0: not known, so that in doubt every non-zero pixel counts. ignored: the value that is
    left out, None if there is none. question: what is unclear.
    """

    kind: str
    values: tuple[float, ...] = ()
    full: float = 255.0
    ignored: int | None = None
    question: str = ""


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
        if np.abs(values - whole).max(initial=0) < 1e-3 and np.abs(whole).max(initial=0) < 2**31:
            values = whole.astype(np.int32)
    elif values.dtype.kind not in "biu":
        raise BadCaseError(
            f"the mask's values are {values.dtype}, numbers are needed: save integers",
            path,
            kind="mask",
        )
    if values.dtype.kind in "if" and values.min(initial=0) < 0:
        least = values.min()
        marks = f", or say ignore={least:g} if it marks pixels that do not count"
        marks = marks if values.dtype.kind == "i" else ""
        raise BadCaseError(
            f"the mask holds the negative value {values.min():g}: write 0 for background{marks}",
            path,
            kind="mask",
        )
    return values


def interpret(
    values: np.ndarray,
    dataset: Dataset | Asked,
    path: Path,
    lossy: bool = False,
    names: Mapping[str, int] | None = None,
) -> Marks:
    """Return what a mask file's values, as stored, mean in a dataset.

    Raises BadCaseError for values that no mask has, and for a kind of mask that is not what the
    masks of the dataset agree on.
    """
    ignored = np.isin(values, dataset.ignore) if dataset.ignore else None
    if ignored is not None:
        values = np.where(ignored, 0, values).astype(values.dtype)
    values = tidy_mask(values, path)
    wanted = {label for labels in dataset.classes.values() for label in labels}
    by_file = names is None and any(isinstance(label, str) for label in wanted)
    if not dataset.mask_kind and ANY_VALUE not in dataset.classes.values() and not by_file:
        return Marks(values, Meaning("labels"), ignored, names)  # Only label values are asked for.
    meaning = find_meaning(values, lossy)
    if meaning.kind == "unclear" and dataset.threshold is not None:
        meaning = replace(meaning, kind="soft", full=meaning.full or 255.0)
    if meaning.ignored is not None and meaning.ignored not in wanted:
        here = values == meaning.ignored
        ignored = here if ignored is None else ignored | here
        values = np.where(here, 0, values).astype(values.dtype)
    check_kind(meaning, dataset.mask_kind, path)
    marks = Marks(values, meaning, ignored, names)
    if by_file:
        # A file for each class, which its name tells.
        (mask,) = class_masks(marks, {"": ANY_VALUE}, dataset.mask_threshold, path).values()
        name = PurePosixPath(stem(path.as_posix())).name
        return Marks(mask.view(np.uint8), Meaning("binary", (1,)), ignored, {name: 1})
    return marks


def find_meaning(values: np.ndarray, lossy: bool = False) -> Meaning:
    """Return what the values of a whole mask file mean, all slices of a volume.

    values: from `tidy_mask`. lossy: the file's format changes values, so that it counts as soft
    whatever it holds; its background may hold small values.
    """
    found = distinct(values)
    # A soft volume may hold millions: the first ones and the last are enough.
    marked = tuple(found[found != 0][:MOST].tolist()[:-1] + found[-1:].tolist())
    if not values.any():
        return Meaning("empty")
    peak = marked[-1]
    if lossy:
        return _meaning_of_lossy(values, marked)
    if len(marked) == 1:
        return Meaning("binary", marked)
    if values.dtype.kind == "f":
        return _meaning_of_fractions(values, marked)
    full = 255 if peak <= 255 else 65535
    doubtful = full if peak >= 128 else 0
    if marked[-2] <= SMALL_LABEL and peak == full:
        if 2 * np.count_nonzero(values == peak) > np.count_nonzero(values):
            return Meaning("unclear", marked, full, None, _ASK_IGNORED.format(peak, marked[:-1]))
        return Meaning("labels", marked[:-1], ignored=int(peak))
    order = _gradient(values, marked) if peak > SMALL_LABEL else "areas"
    if order == "gradient" and peak >= 128:
        return Meaning("soft", marked, full)
    if order != "areas":
        return Meaning("unclear", marked, doubtful, None, _ASK_SOFT.format(_few(marked)))
    if found[0]:
        return Meaning("unclear", marked, 0, None, _ASK_BACKGROUND.format(_few(marked)))
    if values.ndim == 2 and len(marked) >= FEWEST_INSTANCES and _one_region_each(values, marked):
        counted = np.ptp(marked) < 1.1 * len(marked)
        if counted or len(marked) > MOST_LABELS[2]:
            return Meaning("instances", marked)
    if len(marked) > MOST_LABELS.get(values.ndim, 256):
        return Meaning("unclear", marked, doubtful, None, _ASK_MANY.format(len(marked)))
    return Meaning("labels", marked)


_ASK_IGNORED = (
    "most of what is marked has the value {0}, beside {1}: say ignore={0} if these pixels do not "
    'count, or classes={{"name": value}} if they are an object'
)
_ASK_SOFT = (
    "its values are {0}, which may be labels or a soft edge: say "
    'classes={{"name": value}} or threshold=128'
)
_ASK_BACKGROUND = (
    "no pixel of it is 0, its values are {0}: write 0 for background, or say "
    'classes={{"name": value}}'
)
_ASK_MANY = (
    "it holds {0} label values: say classes={{...}}, or save objects that are counted through as a "
    "flat image each"
)


def _meaning_of_lossy(values: np.ndarray, marked: tuple[float, ...]) -> Meaning:
    """Return the meaning of a mask whose format changes values: soft, unless it shows labels."""
    peak = marked[-1]
    between = (values > 0.2 * peak) & (values < 0.8 * peak)
    # No edge is so wide that a square of five pixels lies within it.
    labels = np.count_nonzero(ndimage.minimum_filter(between, 5))
    if labels > 0.05 * np.count_nonzero(values >= 0.8 * peak) and peak > SMALL_LABEL:
        question = "it has areas of grey, and its format (JPEG) changes values: save it as PNG"
        return Meaning("unclear", marked, 255.0, None, question)
    if SMALL_LABEL < peak < 128:
        question = (
            f"its largest value is {peak:g}, and its format (JPEG) changes values: save it as PNG, "
            f"or say threshold={int(peak) // 2}"
        )
        return Meaning("unclear", marked, 255.0, None, question)
    return Meaning("soft", marked)


def _meaning_of_fractions(values: np.ndarray, marked: tuple[float, ...]) -> Meaning:
    """Return the meaning of a mask that holds several values, some of them no whole numbers."""
    peak = marked[-1]
    whole = np.rint(values)
    inside = values != 0
    near = np.abs(values - whole)[inside] < 1e-3
    labels = len(np.unique(whole[inside][near])) > 1 and near.mean() > 0.5
    if peak <= 1 + 1e-6:
        steps = np.rint(values / peak * 1000)
        levels = np.unique(steps)
        if _gradient(steps, tuple(levels[levels > 0].tolist())) == "areas":
            question = (
                f"it holds areas of fractions ({_few(marked)}): write label values as whole "
                "numbers, or say threshold=128 if it is soft"
            )
            return Meaning("unclear", marked, 1.0, None, question)
        return Meaning("soft", marked, 1.0)
    if 128 <= peak <= 255 and not (labels and len(marked) <= MOST_LABELS[2]):
        return Meaning("soft", marked)
    question = (
        f"it holds fractions, such as {next(v for v in marked if v % 1):g}, beside values up to "
        f"{peak:g}: resample label maps with nearest neighbour, or scale a soft mask to 0..1"
    )
    return Meaning("unclear", marked, 255.0, None, question)


def _gradient(values: np.ndarray, marked: tuple[float, ...]) -> str:
    """Tell whether integers lie in areas of one value each, or run gradually: a soft mask.

    Returns "areas", "gradient", or "unclear". An area has a pixel whose four neighbours have its
    value; a soft edge has none, but where it is very wide, and then its steps are small.
    """
    if values.ndim < 2:
        return "unclear"
    values = values.astype(np.int16 if marked[-1] < 2**15 else np.int64)
    middle = values[1:-1, 1:-1]
    if not middle.size:
        return "unclear"
    same = np.ones(middle.shape, bool)
    for other in (values[:-2, 1:-1], values[2:, 1:-1], values[1:-1, :-2], values[1:-1, 2:]):
        same &= middle == other
    between = set(marked[:-1])
    share = len(between & set(distinct(middle[same]).tolist())) / len(between)
    if share <= 0.25:
        least = max(25, 0.05 * np.count_nonzero(values))
        return "unclear" if _has_plateau(middle[same], marked[-1], least) else "gradient"
    if share < 0.75:
        return "unclear"
    steps = np.abs(np.diff(values, axis=1))
    steps = steps[steps > 0]
    wide = steps.size and len(marked) > 16 and np.median(steps) <= max(2, marked[-1] / 64)
    return "gradient" if wide else "areas"


def _has_plateau(flat: np.ndarray, peak: float, least: float) -> bool:
    """Tell whether many pixels within areas have one value between, as labels with soft edges do.

    flat: the values of pixels whose neighbours have the same; least: how many are many. In a
    gradient the values beside a value are as frequent.
    """
    inside, counts = np.unique(flat[flat > 0], return_counts=True)
    number = dict(zip(inside.tolist(), counts.tolist(), strict=True))
    return any(
        count > least
        and 0.2 * peak < value < 0.8 * peak
        and count > 5 * (1 + number.get(value - 1, 0) + number.get(value + 1, 0))
        for value, count in number.items()
    )


def _one_region_each(values: np.ndarray, marked: tuple[float, ...]) -> bool:
    """Tell whether nearly every value of a flat label map is one connected region."""
    _, numbered = np.unique(values, return_inverse=True)
    numbered = numbered.reshape(values.shape) + (0 if (values == 0).any() else 1)
    boxes = ndimage.find_objects(numbered)
    whole = sum(
        ndimage.label(numbered[box] == number, np.ones((3, 3)))[1] == 1
        for number, box in enumerate(boxes, 1)
    )
    return whole >= 0.9 * len(marked)


def check_kind(meaning: Meaning, agreed: str, path: Path) -> None:
    """Raise BadCaseError if a file's kind is not what the masks of its folder agree on.

    agreed: "labels", "given" (labels that the user has named), "instances", "object" (one, binary
    or soft), or empty: any kind will do.
    """
    if not agreed or meaning.kind in ("empty", "binary") or (agreed, meaning.kind) in _AGREE:
        return
    fact = meaning.question or _DISAGREE[meaning.kind].format(_few(meaning.values))
    expected = {
        "labels": "label maps",
        "given": "label maps",
        "instances": "numbered objects",
        "object": "masks of one object",
    }[agreed]
    raise BadCaseError(f"{fact} (the masks here are {expected})", path, kind="mask")


_AGREE = {
    ("labels", "labels"),
    ("given", "labels"),
    ("given", "instances"),  # That each label is one region is no fault.
    ("given", "unclear"),
    ("instances", "instances"),
    ("instances", "labels"),  # an image with few objects
    ("object", "soft"),
}
_DISAGREE = {
    "soft": "the mask is soft (values {0}): save one value per class, without smoothing, as PNG",
    "labels": "it is a label map (values {0}): save one object, or say classes",
    "instances": "it numbers objects (values {0}): save one object, or say classes",
    "unclear": "its values are unclear ({0})",
}


def class_masks(
    marks: Marks, classes: Mapping[str, tuple[Label, ...]], threshold: int, path: Path
) -> dict[str, np.ndarray]:
    """Return the bool mask of each class, of the shape of `marks.values`.

    marks: of a whole file, or with the values of one of its slices; threshold: 1..255. A class may
    be given by the name of a segment. Raises BadCaseError if label values are asked of a mask of
    fractions.
    """
    values, meaning, masks = marks.values, marks.meaning, {}
    soft = meaning.kind == "soft" or (meaning.kind == "unclear" and meaning.full)
    for name, labels in classes.items():
        if labels != ANY_VALUE:
            if values.dtype.kind == "f" and meaning.kind != "binary":
                raise BadCaseError(
                    f"the mask holds fractions, {name!r} needs label values: round them",
                    path,
                    kind="mask",
                )
            known = marks.names or {}
            numbers = [
                known.get(label, -1) if isinstance(label, str) else label for label in labels
            ]
            masks[name] = values == numbers[0] if len(numbers) == 1 else np.isin(values, numbers)
        elif not soft:
            masks[name] = values > 0
        else:
            # Divided by 256, not 255: an 8-bit value v is then kept if v >= threshold, and a
            # fraction if it is at least 0.5 at the default of 128.
            masks[name] = values >= threshold * meaning.full / 256
    return masks


def overlap(classes: Mapping[str, tuple[Label, ...]]) -> bool:
    """Tell whether a pixel can belong to two classes.

    >>> overlap({"grey matter": (1,), "cord": (1, 2)}), overlap({"liver": (1,), "tumour": (2,)})
    (True, False)
    """
    labels = [label for values in classes.values() for label in values]
    return len(set(labels)) < len(labels) or (len(classes) > 1 and ANY_VALUE in classes.values())


def check_labels(
    values: np.ndarray,
    classes: Mapping[str, tuple[Label, ...]],
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
        flat = values.ravel("K")
        if flat.size < 1 << 24:
            return np.flatnonzero(np.bincount(flat))
        # In parts, as each number takes eight bytes meanwhile.
        parts = np.array_split(flat, flat.size >> 22)
        return np.flatnonzero(sum(np.bincount(part, minlength=256) for part in parts))
    return np.unique(values)


def _few(values: tuple[float, ...]) -> str:
    """Write a few of many values."""
    some = [f"{value:g}" for value in values]
    return ", ".join(some if len(some) <= 6 else [*some[:4], "...", some[-1]])
