"""Your own images as a dataset: a folder with `images` and `masks`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..case import BadCaseError, BadInputError
from ..intensity import EightBit, Percentile
from . import images, volumes
from .dataset import Dataset, Intensity, Passport
from .masks import ANY_VALUE, distinct, tidy_mask
from .pairs import Pair, Pairs

LAYOUT = """\
your folder/
  images/a.png, b.jpg, c.tif, d.npy ...    or volumes: images/a.nii.gz ...
  masks/a.png, b.png, c.png, d.npy ...     the same names; the suffix may differ"""


def load_folder(
    path: str | Path,
    name: str | None = None,
    classes: Mapping[str, int | tuple[int, ...]] | None = None,
    intensity: Intensity | None = None,
    modality: str = "",
    plane: str = "axial",
) -> Dataset:
    """Make a dataset of a folder that holds `images` and `masks` with equal names.

    Images and masks are PNG, JPEG, TIFF, BMP or npy, or all of them NIfTI or NRRD volumes, which
    are cut into slices. They may lie in subfolders, the same ones on both sides; the first
    subfolder then counts as the patient, else each image is a patient of its own.

    name: how the dataset is called, by default as the folder. classes: class name -> label value or
    values. Without it the masks are looked through once: one value besides 0, or soft edges, give
    one class "object"; several give the classes "label 1", "label 2" and so on. intensity: see
    `medsam_utils.intensity`; by default 8-bit images are kept as they are, others stretched from
    minimum to maximum, and slices of volumes stretched between percentiles. modality: "MRI", "CT"
    and so on, for the page's text. plane: how volumes are cut, "axial", "coronal" or "sagittal".

    Raises BadInputError if a folder is missing or no image has a mask.
    """
    # Papermill reads `-p title 2024` as a number.
    path, name = str(path), None if name is None else str(name)
    root = Path(path).expanduser().resolve()
    for folder in (root, root / "images", root / "masks"):
        if not folder.is_dir():
            raise BadInputError(f"{folder}: no such folder. Expected:\n{LAYOUT}")
    is_volumes, pairs = _find(root)
    reader = volumes.Volumes(pairs, plane) if is_volumes else images.ImagePairs(pairs)
    found, exclusions = pairs.find(root)
    if not found:
        example = (
            "; ".join(sorted({e.reason for e in exclusions})[:2])
            or "both are empty, or of other formats"
        )
        raise BadInputError(
            f"{root}: no image has a mask of its name ({example}). Rename them alike. "
            f"Expected:\n{LAYOUT}"
        )
    if not classes:
        classes, how = _look_for_classes(found, is_volumes)
    else:
        how = "read by the label values that were given"
    default_intensity = Percentile() if is_volumes else EightBit()
    return Dataset(
        name=name or root.name,
        title=name or root.name,
        modality=modality,
        classes={key: tuple(np.atleast_1d(value).tolist()) for key, value in classes.items()},
        reader=reader,
        intensity=intensity or default_intensity,
        passport=Passport(
            full_name=name or root.name,
            citation="",
            home="",
            licence="",
            registration="",
            layout=LAYOUT,
            count_rule="every slice with a labelled pixel"
            if is_volumes
            else "every image with a labelled pixel",
            traps=(f"masks: {how}",),
        ),
        other_labels=None,
        root=root,
    )


def _find(root: Path) -> tuple[bool, Pairs]:
    """Tell whether the folder holds volumes, and how its files are paired."""
    kinds = {}
    for is_volumes, suffixes in ((True, volumes.SUFFIXES), (False, images.SUFFIXES)):
        key = rf"(?P<key>(?:(?P<patient>[^/]+)/)?.+?){suffixes}"
        pairs = Pairs(images=f"images/{key}", masks=f"masks/{key}")
        if any(pairs.find(root)):
            kinds[is_volumes] = pairs
    if len(kinds) == 2:
        raise BadInputError(
            f"{root}: it holds volumes and flat images: put each kind in a folder of its own"
        )
    return next(iter(kinds.items()), (False, pairs))


def _look_for_classes(
    found: list[Pair], is_volumes: bool
) -> tuple[dict[str, tuple[int, ...]], str]:
    """Look through all masks and return the classes, and in words how that was decided."""
    values: set[float] = set()
    soft = False
    for path in (path for pair in found for path in pair.masks):
        try:
            mask = (
                tidy_mask(volumes.read_volume(path).values, path)
                if is_volumes
                else images.read_mask(path)
            )
        except BadCaseError:
            continue  # When its case is loaded, it is left out, with this error as the reason.
        here = distinct(mask)
        # Volumes of whole bodies have a hundred labels; in a flat image so many values are a soft
        # edge.
        soft |= (
            images.is_lossy(path)
            or mask.dtype.kind == "f"
            or len(here) > (256 if is_volumes else 32)
        )
        values.update(here[:1000].tolist())
    labels = sorted(int(value) for value in values if value)
    if soft:
        return {"object": ANY_VALUE}, "soft; a pixel counts from the threshold on"
    if len(labels) <= 1 or set(labels) <= {1, 255}:
        return {"object": ANY_VALUE}, "binary"
    if 255 in labels or 65535 in labels:
        warnings.warn(
            f"The masks hold the values {labels}: read as one soft object. If they are labels, say "
            "which: "
            'classes={"name": value, ...}.',
            stacklevel=3,
        )
        return {
            "object": ANY_VALUE
        }, f"soft, with the values {labels}; a pixel counts from the threshold on"
    return {f"label {label}": (label,) for label in labels}, f"a label map with the values {labels}"
