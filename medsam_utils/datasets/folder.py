"""Your own images as a dataset: a folder with `images` and `masks`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..case import BadCaseError, BadInputError
from ..intensity import EightBit, Percentile
from . import images, volumes
from .by_name import HOW, ByName
from .dataset import Dataset, Intensity, Passport
from .formats import find_format, stem
from .masks import ANY_VALUE, SMALL_LABEL, Label, Meaning
from .npz import is_npz_folder, load_npz
from .own_scans import OwnScans
from .pairs import Pair, walk
from .reading import inside

LAYOUT = """\
your folder/
  images/a.png, b.jpg, c.tif, d.npy ...    or volumes: images/a.nii.gz ...
  masks/a.png, b.png, c.png, d.npy ...     the same names; the suffix may differ"""

MASKS = {
    "classes": 'label values of your own folder by name: "liver=1 tumour=2,3", "nucleus=each"',
    "ignore": "mask values of your own folder that count in no score, such as 255",
    "threshold": "from which value on, of 1 to 255, a soft mask of your own folder counts",
}
"""What can be said of the masks of an own folder wherever one can be given, each with a help."""

LABEL_VALUES = "label_values.txt"
"""A file beside `images` and `masks` that holds the classes, as `parse_classes` reads them."""

EACH = "each"
"""In place of a class's label values: every number in a mask is an object of its own."""

FOLDERS = (
    ("images", "imagesTr", "image", "img", "imgs"),
    ("masks", "labelsTr", "mask", "labels", "label", "segmentations", "annotations", "gt"),
)
"""What the two folders may be called, in any case."""

Classes = Mapping[str, Label | tuple[Label, ...]] | str | None


def load_folder(
    path: str | Path,
    name: str | None = None,
    classes: Classes = None,
    intensity: Intensity | None = None,
    modality: str = "",
    plane: str = "axial",
    ignore: int | tuple[int, ...] | str | None = None,
    threshold: int | None = None,
) -> Dataset:
    """Make a dataset of a folder that holds `images` and `masks` of equal names.

    What is read, how it is paired and what masks may hold is one table, in book/own.md. Files may
    lie in subfolders, the same ones on both sides; the first subfolder then counts as the patient,
    else each image is a patient of its own. A folder of the CVPR challenges' .npz files is read by
    `datasets.npz.load_npz`; classes, ignore, threshold and plane cannot be said of it.

    name: how the dataset is called, by default as the folder. classes: class name -> label value or
    values, or name of a segment; `ANY_VALUE`: whatever is marked; "each": every number is an object
    of its own. It may be a text, see `parse_classes`; without it, what the folder's file
    `label_values.txt` says holds. Without either the masks are looked through once: each file tells
    by its values what it is (see `datasets.masks`), and what most of them are holds; a file that is
    something else is left out. One value besides 0, or soft edges, give one
    class "object"; several give the classes "label 1", "label 2" and so on. intensity: see
    `medsam_utils.intensity`; by default 8-bit images are kept as they are, others stretched from
    minimum to maximum, and slices of volumes stretched between percentiles. modality: "MRI", "CT"
    and so on, for the page's text. plane: how volumes are cut, "axial", "coronal" or "sagittal".
    ignore: mask values that are neither object nor background and count in no score; 255 beside
    small labels is one unless a class has it. threshold: from which value on, of 1..255, a pixel of
    a soft mask counts, whatever the protocol says; it also says that values in doubt are soft.

    Raises BadInputError if a folder is missing, if no image has a mask, and if it is unclear what
    the masks mean.
    """
    # Papermill reads `-p title 2024` as a number.
    path, name = str(path), None if name is None else str(name)
    root = Path(path).expanduser().resolve()
    if is_npz_folder(root) and not _has_other_images(root):
        if classes or threshold or plane != "axial" or ignore not in (None, ""):
            raise BadInputError(
                f"{root}: .npz files say themselves what they hold: leave out classes, ignore, "
                "threshold and plane"
            )
        dataset = replace(load_npz(root, name), modality=modality)
        return replace(dataset, intensity=intensity) if intensity else dataset
    reader, found = _find(root, plane)
    is_flat = isinstance(reader, images.ImagePairs)
    classes = classes or _written_classes(root)
    given = parse_classes(classes) if isinstance(classes, str) else dict(classes or {})
    dataset = Dataset(
        name=name or root.name,
        title=name or root.name,
        modality=modality,
        classes={"object": ANY_VALUE},
        reader=reader,
        intensity=intensity or (EightBit() if is_flat else Percentile()),
        passport=Passport(name or root.name, layout=LAYOUT),
        other_labels=None,
        mask_threshold=_number(threshold, "threshold") or 128,
        root=root,
        within=(reader.pairs.images, reader.pairs.masks),
        ignore=_ignored(ignore),
        threshold=_number(threshold, "threshold"),
    )
    if EACH in given.values():
        agreed = _numbered_objects(dataset, given)
    elif given:
        values = {
            key: (value,) if isinstance(value, (int, str, np.integer)) else tuple(value)
            for key, value in given.items()
        }
        kind = "given" if all(values.values()) and not _has_names(values) else ""
        agreed = Agreed(values, kind, "read by the label values that were given")
    else:
        with inside(root):
            agreed = _look_for_classes(dataset, found)
    if agreed.kind == "instances":
        reader = images.Instances(reader.pairs)
    count = "image" if is_flat else "slice"
    ways = Counter(pair.how for pair in found)
    paired = "; ".join(f"{HOW[how]} ({ways[how]})" for how in HOW if how in ways)
    traps = [f"masks: {agreed.how}", f"images and masks were paired by {paired}"]
    if dataset.ignore:
        traps.append(f"ignored, as neither object nor background: {_text(dataset.ignore)}")
    dataset = replace(
        dataset,
        reader=reader,
        classes=agreed.classes,
        mask_kind=agreed.kind,
        passport=replace(
            dataset.passport,
            count_rule=f"every {count} with a labelled pixel",
            traps=tuple(traps),
        ),
    )
    if isinstance(reader, OwnScans):
        said = {name: getattr(dataset, name) for name in ("mask_kind", "ignore", "threshold")}
        dataset = replace(dataset, reader=replace(reader, **said))
    return dataset


def _has_other_images(root: Path) -> bool:
    """Tell whether a folder has images and masks that are no .npz files."""
    return bool(find_folders(root)) and any(find_format(root / name) for name in walk(root, ()))


@dataclass(frozen=True)
class Agreed:
    """What the masks of a folder mean: classes, `Dataset.mask_kind`, and how it is known."""

    classes: Mapping[str, tuple[Label, ...]]
    kind: str
    how: str


def parse_classes(text: str) -> dict[str, Label | tuple[Label, ...]]:
    """Return the classes that a text gives: names, each with its values.

    >>> parse_classes("liver=1 left lung=2,3; tumour=any; nucleus=each")
    {'liver': (1,), 'left lung': (2, 3), 'tumour': (), 'nucleus': 'each'}
    >>> parse_classes("GTV=Segment_1")
    {'GTV': ('Segment_1',)}

    Raises BadInputError for a text of another form.
    """
    pattern = r"\s*([^=;]+?)\s*=\s*([^;\s=]+)\s*;?"
    if not re.fullmatch(f"(?:{pattern})*", text):
        raise BadInputError(
            f"classes is {text!r}: write names with their label values, such as "
            '"liver=1 tumour=2,3", "object=any" or "nucleus=each"'
        )
    found: dict[str, Label | tuple[Label, ...]] = {}
    for name, values in re.findall(pattern, text):
        parts = tuple(int(v) if re.fullmatch(r"-?\d+", v) else v for v in values.split(","))
        found[name] = ANY_VALUE if parts == ("any",) else EACH if parts == (EACH,) else parts
    return found


def _written_classes(root: Path) -> str:
    """Return the text of a folder's `LABEL_VALUES`, empty without one; raises BadInputError."""
    path = root / LABEL_VALUES
    try:
        text = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        parse_classes(text)
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: {error}") from None
    return text


def _has_names(classes: Mapping[str, tuple[Label, ...]]) -> bool:
    return any(isinstance(label, str) for labels in classes.values() for label in labels)


def _number(value: int | str | None, what: str) -> int | None:
    """Return a number that may be given as text, empty for none."""
    try:
        return None if value in (None, "", 0) else int(value)
    except ValueError:
        raise BadInputError(f"{what} is {value!r}: give a whole number") from None


def _ignored(values: int | tuple[int, ...] | str | None) -> tuple[int, ...]:
    """Return the ignored values as numbers; they may be given as a text with commas."""
    if values is None:
        return ()
    parts = values.replace(",", " ").split() if isinstance(values, str) else np.atleast_1d(values)
    return tuple(_whole(value) for value in parts)


def _whole(value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        raise BadInputError(f"ignore is {value!r}: give whole numbers") from None


def _text(values: tuple[Label, ...]) -> str:
    return ", ".join(map(str, values))


def _find(root: Path, plane: str) -> tuple[Any, list[Pair]]:
    """Return the reader of the kind of files that the folder holds, and its pairs."""
    if not root.is_dir():
        raise BadInputError(f"{root}: no such folder. Expected:\n{LAYOUT}")
    image_folder, mask_folder = (_subfolder(root, names) for names in FOLDERS)
    readers: dict[str, Any] = {
        "flat": images.ImagePairs(ByName("flat", image_folder, mask_folder)),
        "volume": volumes.Volumes(ByName("volume", image_folder, mask_folder), plane),
        "series": OwnScans(pairs=ByName("series", image_folder, mask_folder), plane=plane),
    }
    pairs, exclusions = {}, []
    for kind, reader in readers.items():
        pairs[kind], left_out = reader.pairs.find(root)
        exclusions += left_out
    kinds = [kind for kind, found in pairs.items() if found]
    if len(kinds) > 1:
        names = {"flat": "flat images", "volume": "volumes", "series": "DICOM series"}
        raise BadInputError(
            f"{root}: it holds {' and '.join(names[kind] for kind in reversed(kinds))}: put each "
            "kind in a folder of its own"
        )
    if not kinds:
        reasons = sorted({e.reason for e in exclusions})
        example = "; ".join(reasons[:2]) or "both are empty, or of other formats"
        raise BadInputError(
            f"{root}: no image has a mask of its name ({example}). Rename them alike. "
            f"Expected:\n{LAYOUT}"
        )
    return readers[kinds[0]], pairs[kinds[0]]


def find_folders(path: Path) -> tuple[str, str] | None:
    """Return the names of the two folders that `load_folder` reads; None unless both are there."""
    try:
        images, masks = (
            (_subfolder(path, names) for names in FOLDERS) if path.is_dir() else ("", "")
        )
    except BadInputError:
        return None
    return (images, masks) if images else None


def _subfolder(root: Path, names: tuple[str, ...]) -> str:
    """Return the subfolder that has one of these names; raises BadInputError unless it is one."""
    there = sorted(path.name for path in root.iterdir() if path.is_dir())
    for wanted in (names[:1], names):
        found = [name for name in there if name.lower() in [n.lower() for n in wanted]]
        exact = [name for name in found if name in wanted]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            raise BadInputError(
                f"{root}: which of {', '.join(found)} is meant is unknown: call one of them "
                f"{names[0]}"
            )
    raise BadInputError(f"{root / names[0]}: no such folder. Expected:\n{LAYOUT}")


def _numbered_objects(dataset: Dataset, given: Mapping) -> Agreed:
    """Return what masks mean whose every number is an object; raises BadInputError."""
    if len(given) > 1 or not isinstance(dataset.reader, images.ImagePairs):
        raise BadInputError(
            '"each" counts the objects of one class in flat images: give one class, and flat images'
        )
    return Agreed(dict.fromkeys(given, ANY_VALUE), "instances", "every number is an object")


def _look_for_classes(dataset: Dataset, found: list[Pair]) -> Agreed:
    """Look through all masks and return what most of them mean."""
    meanings: dict[Path, Meaning] = {}
    names: list[str] = []
    reader: Any = dataset.reader
    for path in (path for pair in found for path in pair.masks):
        try:
            marks = reader.read_marks(dataset, path)
        except BadCaseError:
            continue  # When its case is loaded, it is left out, with this error as the reason.
        meanings[path] = marks.meaning
        names += [name for name in marks.names or () if name not in names]
    if names:
        return Agreed({n: (n,) for n in names}, "", "segments, by the names that the files give")
    if organs := _organs(found):
        return Agreed({n: (n,) for n in organs}, "object", "a file for each class, by its name")
    kinds = _vote(dataset, meanings)
    if kinds == "labels":
        values = _label_values(meanings)
        ignored = {m.ignored for m in meanings.values() if m.ignored is not None}
        how = f"a label map with the values {_text(tuple(values))}"
        if ignored:
            how += f"; {_text(tuple(sorted(ignored)))} is ignored: it counts in no score"
        # Beside an ignored value, 1 alone is the object.
        classes = {f"label {label}": (label,) for label in values}
        return Agreed(classes if len(values) > 1 else {"object": (values[0],)}, "labels", how)
    if kinds == "instances":
        return Agreed({"object": ANY_VALUE}, kinds, "objects that are numbered, each by itself")
    soft = any(meaning.kind == "soft" for meaning in meanings.values())
    how = "soft; a pixel counts from the threshold on" if soft else "binary"
    return Agreed({"object": ANY_VALUE}, "object", how)


def _organs(found: list[Pair]) -> list[str]:
    """Return the classes where each image has a folder with a mask file per class, else none.

    Names that are numbers, or that hardly recur from image to image, count objects.
    """
    folders = [pair for pair in found if pair.how == "folder"]
    if len(folders) < len(found) or all(len(pair.masks) == 1 for pair in found):
        return []
    files = Counter(PurePosixPath(stem(p.as_posix())).name for pair in folders for p in pair.masks)
    counted = [name for name in files if re.fullmatch(r"(?:[0-9a-f]{8,}|\D{0,12}\d+)", name, re.I)]
    recur = len(folders) == 1 or sum(files.values()) >= 1.5 * len(files)
    return sorted(files) if recur and len(counted) < len(files) / 2 else []


def _vote(dataset: Dataset, meanings: Mapping[Path, Meaning]) -> str:
    """Return what most masks are: "object", "labels" or "instances"; raises BadInputError."""
    labels = set(_label_values(meanings, binary=False))
    singles = {m.values[0] for m in meanings.values() if m.kind == "binary"}
    small = all(v <= SMALL_LABEL and v == int(v) for v in singles)
    different = len(singles) > 1 and not singles <= {1, 255, 65535}
    votes: dict[str, list[Path]] = {"object": [], "labels": [], "instances": []}
    asked = [path for path, meaning in meanings.items() if meaning.kind == "unclear"]
    numbered = any(meaning.kind == "instances" for meaning in meanings.values())
    for path, meaning in meanings.items():
        if meaning.kind == "soft":
            votes["object"].append(path)
        elif meaning.kind == "instances":
            votes["instances"].append(path)
        elif meaning.kind == "labels":
            few = numbered and meaning.values == tuple(range(1, len(meaning.values) + 1))
            votes["instances" if few else "labels"].append(path)
        elif meaning.kind == "binary":
            is_label = meaning.values[0] in labels if labels else different and small
            small_one = labels and meaning.values[0] <= SMALL_LABEL
            if not (numbered and meaning.values[0] == 1):
                votes["labels" if is_label or small_one else "object"].append(path)
    most = sorted(votes, key=lambda kind: -len(votes[kind]))
    first, second = (votes[kind] for kind in most[:2])
    if not first and asked:
        named = dataset.relative(str(asked[0]))
        raise BadInputError(f"{dataset.root}: {named}: {meanings[asked[0]].question}")
    if first and len(first) == len(second):
        what = {"object": "one object", "labels": "a label map", "instances": "numbered objects"}
        facts = " and ".join(
            f"{dataset.relative(str(paths[0]))} is {what[kind]}"
            for kind, paths in zip(most[:2], (first, second), strict=True)
        )
        raise BadInputError(
            f"{dataset.root}: the masks do not agree: {facts}. Say which: "
            'classes={"name": value, ...} or classes={"object": ANY_VALUE}'
        )
    if most[0] == "object" and not labels and different and max(singles) > 1:
        whole = sorted(v for v in singles if v == int(v))
        # One class per file, or one object whose value a scale factor has changed?
        if len(whole) == len(singles) and not any(m.kind == "soft" for m in meanings.values()):
            raise BadInputError(
                f"{dataset.root}: each mask marks one value, but not the same: "
                f"{', '.join(f'{v:g}' for v in whole[:8])}. Say whether they are classes, "
                'classes={"name": value, ...}, or one object, classes={"object": ANY_VALUE}'
            )
    return most[0] if first else "object"


def _label_values(meanings: Mapping[Path, Meaning], binary: bool = True) -> list[int]:
    """Return the values of label maps; binary: with the small ones of masks that hold one."""
    values = {int(v) for m in meanings.values() if m.kind == "labels" for v in m.values}
    if binary:
        singles = {m.values[0] for m in meanings.values() if m.kind == "binary"}
        values |= {int(v) for v in singles if v <= SMALL_LABEL and v == int(v)}
    return sorted(values)
