"""The .npz files of the CVPR challenges on medical foundation models, as a dataset."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy

from ..case import BadCaseError, BadInputError, Case, CaseReference, Listing
from ..intensity import EightBit
from .dataset import Dataset, Passport, to_rgb
from .pairs import natural, walk
from .reading import LARGEST_ITEM, check_limit, reading
from .volumes import file_stamps

LAYOUT = """\
your folder/
  a.npz, b.npz ...        each with imgs (H x W, H x W x 3, or D x H x W; 0 to 255),
                          gts (H x W or D x H x W) and, for volumes, spacing
or  imgs/a.npz  gts/a.npz  of one name, where the labels are files of their own"""

MOST_LABELS = 255
"""So many numbers in a file are classes; more count objects."""


@dataclass(frozen=True)
class NpzFiles:
    """Reader of .npz files with the arrays imgs, gts and spacing; volumes slice by slice.

    spacing_order: of which axes the three numbers are: "xyz" as SimpleITK gives them, with which
    the challenge's files were made, or "zyx". Other arrays, such as boxes, are not read: the
    prompts are simulated. A number in gts is the same class in all files.
    """

    spacing_order: Literal["xyz", "zyx"] = "xyz"

    def __post_init__(self) -> None:
        """Raise BadInputError for an option that does not exist."""
        if self.spacing_order not in ("xyz", "zyx"):
            raise BadInputError(f"spacing_order is {self.spacing_order!r}: choose xyz or zyx")

    def list(self, dataset: Dataset) -> Listing:
        """List the images, and the slices that hold a label; opens no image."""
        references, exclusions = [], []
        for key, image, mask in find_files(dataset.root):
            try:
                labels = read_labels(mask)
            except BadCaseError as error:
                exclusions.append(dataset.exclusion(key, error, mask))
                continue
            indices: list[int | None] = [None]
            if labels.ndim == 3:
                indices = np.flatnonzero(labels.any(axis=(1, 2))).tolist()
            paths = (image,), () if image == mask else (mask,)
            references += [
                CaseReference(dataset.name, key if i is None else f"{key}_z{i:03d}", key, i, *paths)
                for i in indices
            ]
        return Listing(references, exclusions)

    def load(self, dataset: Dataset, reference: CaseReference) -> Case:
        """Read one image or slice; the volume is kept until a slice of another one is asked for."""
        (path,) = reference.images
        image, labels, spacing = _read_case(path, label_file(reference), self.spacing_order)
        if reference.slice_index is not None:
            image, labels = image[reference.slice_index], labels[reference.slice_index]
        masks = {name: np.isin(labels, values) for name, values in dataset.classes.items()}
        shown = to_rgb(image, dataset, path)
        return reference.case(shown, masks, labels > 0, spacing and spacing[1:])

    def slices(self, reference: CaseReference) -> tuple[int, float | None]:
        """Return the number of slices of a case's volume, and their distance in mm, if known."""
        (path,) = reference.images
        _, labels, spacing = _read_case(path, label_file(reference), self.spacing_order)
        return len(labels), spacing[0] if spacing else None


def load_npz(path: str | Path, name: str | None = None) -> Dataset:
    """Return the .npz files of a folder as a dataset; each file is a patient of its own.

    Classes are the numbers in `gts`, "label 1" and so on, or "object" where there is one. name: by
    default the folder's. Raises BadInputError for a folder without such a file.
    """
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise BadInputError(f"{root}: no such folder. Expected:\n{LAYOUT}")
    labels, reasons = set(), []
    for _, _, mask in find_files(root):
        try:
            labels |= set(np.unique(read_labels(mask)).tolist()) - {0}
        except BadCaseError as error:
            reasons.append(str(error))
    if not labels:
        example = reasons[0] if reasons else "no .npz file has imgs and gts"
        raise BadInputError(f"{root}: {example}. Expected:\n{LAYOUT}")
    classes = {f"label {label}": (label,) for label in sorted(labels)}
    title = name or root.name
    return Dataset(
        name=title,
        title=title,
        modality="",
        classes=classes if len(classes) > 1 else {"object": (*labels,)},
        reader=NpzFiles(),
        intensity=EightBit(),
        passport=Passport(title, layout=LAYOUT, count_rule="every image or slice with a label"),
        other_labels=None,
        root=root,
        mask_kind="given",
    )


def is_npz_folder(root: Path) -> bool:
    """Tell whether a folder, or one directly below it, holds an .npz file with the array imgs."""
    files = (path for pattern in ("*.npz", "*/*.npz") for path in root.glob(pattern))
    return any("imgs" in _names(path) for path in files)


def find_files(root: Path) -> list[tuple[str, Path, Path]]:
    """Return key, image file and label file of each case below a folder, in natural order.

    They are one file, or two of one name in folders of their own. A file without a partner is in
    none.
    """
    with_image: dict[str, list[Path]] = {}
    with_labels: dict[str, list[Path]] = {}
    for name in sorted(walk(root, ()), key=natural):
        path = root / name
        if path.suffix.lower() == ".npz":
            arrays = _names(path)
            for found, array in ((with_image, "imgs"), (with_labels, "gts")):
                if array in arrays:
                    found.setdefault(path.stem, []).append(path)
    cases = []
    for key, images in with_image.items():
        for image in images:
            masks = [m for m in with_labels.get(key, []) if m == image] or with_labels.get(key, [])
            if len(masks) == 1 and (masks[0] == image or len(images) == 1):
                inside = image.relative_to(root).with_suffix("").as_posix()
                cases.append((inside if masks[0] == image else key, image, masks[0]))
    return cases


def label_file(reference: CaseReference) -> Path:
    """Return the file that holds the labels of a case."""
    return (*reference.masks, *reference.images)[0]


def read_labels(path: Path) -> np.ndarray:
    """Return the labels of a file, H x W or D x H x W; raises BadCaseError for others."""
    labels = _array(path, "gts")
    if labels.ndim not in (2, 3):
        raise BadCaseError(f"gts has the shape {labels.shape}: H x W or D x H x W is needed", path)
    if labels.dtype.kind not in "biu" or labels.min(initial=0) < 0:
        raise BadCaseError(
            f"gts is {labels.dtype}: whole numbers are needed, 0 for background", path, "mask"
        )
    numbers = len(np.unique(labels))
    if numbers > MOST_LABELS + 1:
        raise BadCaseError(
            f"gts holds {numbers - 1} numbers: these are objects, no classes; give each object "
            "a file, or write one number for all",
            path,
            kind="labels",
        )
    if not labels.any():
        raise BadCaseError("gts is 0 everywhere", path, kind="no object")
    return labels


def _names(path: Path) -> list[str]:
    """Return the names of a file's arrays; none if it is no .npz file."""
    try:
        with reading(path), zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except BadCaseError:
        return []


def _array(path: Path, name: str) -> np.ndarray:
    """Return an array of a file; raises BadCaseError if it cannot be read. Never runs a pickle."""
    fact = f"{name} cannot be read ({{}}): write the file again"
    with (
        reading(path, fact),
        zipfile.ZipFile(path) as archive,
        archive.open(f"{name}.npy") as file,
    ):
        read_header = _HEADERS[npy.read_magic(file)]
        shape, _, _ = read_header(file)
        check_limit(math.prod(shape) * LARGEST_ITEM, path)
        file.seek(0)
        values = npy.read_array(file, allow_pickle=False)
        if file.read(1):  # the checksum is compared at the end
            raise EOFError("more values than declared")
        return values


_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


# The file read last, so that slices in a row cost one reading.
_last: dict[tuple, tuple] = {}


def _read_case(
    image_path: Path, label_path: Path, order: str
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float] | None]:
    """Return image, labels, and the spacing (slice, row, col) in mm, None where there is none."""
    key = (image_path, label_path, file_stamps([image_path, label_path]), order)
    if key not in _last:
        _last.clear()
        image, labels = _array(image_path, "imgs"), read_labels(label_path)
        if image.shape[: labels.ndim] != labels.shape or image.shape[labels.ndim :] not in (
            (),
            (3,),
        ):
            raise BadCaseError(
                f"imgs is {image.shape} and gts {labels.shape}: save both on one grid",
                image_path,
                kind="grid",
            )
        spacing = None
        if labels.ndim == 3 and "spacing" in _names(image_path):
            spacing = _spacing(_array(image_path, "spacing"), order, image_path)
        _last[key] = _eight_bit(image, image_path), labels, spacing
    return _last[key]


def _spacing(values: np.ndarray, order: str, path: Path) -> tuple[float, float, float]:
    """Return the spacing (slice, row, col); raises BadCaseError for what is none."""
    if values.shape != (3,) or values.dtype.kind not in "iuf" or not (values > 0).all():
        raise BadCaseError(f"spacing is {values.tolist()}: three lengths in mm are needed", path)
    first, second, third = (round(float(value), 6) for value in values)
    return (first, second, third) if order == "zyx" else (third, second, first)


def _eight_bit(image: np.ndarray, path: Path) -> np.ndarray:
    """Return an image's values as uint8; raises BadCaseError outside 0 to 255."""
    if image.dtype.kind not in "biuf" or not ((image >= 0) & (image <= 255)).all():
        raise BadCaseError(
            f"imgs is {image.dtype} with values outside 0 to 255: the challenge's images are "
            "windowed to that range",
            path,
        )
    return image.astype(np.uint8) if image.dtype.kind != "f" else np.rint(image).astype(np.uint8)
