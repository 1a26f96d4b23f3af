"""Your own images as a dataset: a folder with `images` and `masks`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from medsam_utils.case import BadCaseError, BadInputError
from medsam_utils.datasets import images, volumes
from medsam_utils.datasets.dataset import Dataset, Passport
from medsam_utils.datasets.masks import FOREGROUND, distinct, tidy_mask
from medsam_utils.datasets.pairs import Pair, Pairs
from medsam_utils.intensity import EightBit, Percentile

LAYOUT = """\
your folder/
  images/a.png, b.jpg, c.tif, d.npy ...    or volumes: images/a.nii.gz ...
  masks/a.png, b.png, c.png, d.npy ...     the same names; the suffix may differ"""


def load_folder(
    path: str | Path,
    name: str | None = None,
    classes: Mapping[str, int | tuple[int, ...]] | None = None,
    intensity: object = None,
    modality: str = "",
) -> Dataset:
    """Make a dataset of a folder that holds `images` and `masks` with equal names.

    Images and masks are PNG, JPEG, TIFF, BMP or npy, or all of them NIfTI or NRRD volumes, which are cut into
    axial slices. They may lie in subfolders, the same ones on both sides; the first subfolder
    then counts as the patient, else each image is a patient of its own.

    name: how the dataset is called, by default as the folder. classes: class name -> label value
    or values. Without it the masks are looked through once: one value besides 0, or soft edges, give
    one class "object"; several give the classes "label 1", "label 2" and so on.
    intensity: see `medsam_utils.intensity`; by default 8-bit images are kept as they are, others
    stretched from minimum to maximum, and slices of volumes stretched between percentiles.
    modality: "MRI", "CT" and so on, for the page's text.

    Raises BadInputError if a folder is missing or no image has a mask.
    """
    root = Path(path).expanduser().resolve()
    for folder in (root, root / "images", root / "masks"):
        if not folder.is_dir():
            raise BadInputError(f"{folder}: no such folder. Expected:\n{LAYOUT}")
    is_volumes, pairs = _find(root)
    reader = volumes.Volumes(pairs) if is_volumes else images.ImagePairs(pairs)
    found, exclusions = pairs.find(root)
    if not found:
        example = (
            "; ".join(sorted({e.reason for e in exclusions})[:2]) or "both are empty, or of other formats"
        )
        raise BadInputError(
            f"{root}: no image has a mask of the same name ({example}). Rename them alike. Expected:\n{LAYOUT}"
        )
    if classes is None:
        classes, how = _look_for_classes(found)
    else:
        how = "the label values were given"
    default_intensity = Percentile() if is_volumes else EightBit()
    return Dataset(
        name=name or root.name,
        title=name or root.name,
        modality=modality,
        classes={key: (value,) if isinstance(value, int) else tuple(value) for key, value in classes.items()},
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
    for is_volumes, suffixes in ((True, volumes.SUFFIXES), (False, images.SUFFIXES)):
        key = rf"(?P<key>(?:(?P<patient>[^/]+)/)?.+?){suffixes}"
        pairs = Pairs(images=f"images/{key}", masks=f"masks/{key}")
        found, exclusions = pairs.find(root)
        if found or exclusions:
            break
    if is_volumes:
        other = rf"(?P<key>.+){images.SUFFIXES}"
        if any(Pairs(images=f"images/{other}", masks=f"masks/{other}").find(root)):
            raise BadInputError(
                f"{root}: it holds volumes (NIfTI, NRRD) and images: put each kind in its own folder"
            )
    return is_volumes, pairs


def _look_for_classes(pairs: list[Pair]) -> tuple[dict[str, tuple[int, ...]], str]:
    """Look through all masks and return the classes, and in words how that was decided."""
    values: set[float] = set()
    soft = False
    for path in (path for pair in pairs for path in pair.masks):
        try:
            mask = (
                images.read_mask(path)
                if path.suffix.lower() not in (".nii", ".gz", ".nrrd")
                else _volume_mask(path)
            )
        except BadCaseError:
            continue  # It will be excluded, with this error as the reason, when its case is loaded.
        here = distinct(mask)
        soft |= images.is_lossy(path) or mask.dtype.kind == "f" or len(here) > 64
        values.update(here[:1000].tolist())
    labels = sorted(int(value) for value in values if value)
    if soft:
        return {"object": FOREGROUND}, "soft, a pixel counts from the threshold on"
    if 255 in labels or 65535 in labels:
        if set(labels) - {1, 255, 65535}:
            warnings.warn(
                f"The masks hold the values {labels}: read as one soft object. If they are labels, "
                'say so: classes={"name": value, ...}.',
                stacklevel=3,
            )
            return {"object": FOREGROUND}, f"soft (values {labels}), a pixel counts from the threshold on"
        return {"object": FOREGROUND}, "binary"
    if len(labels) <= 1:
        return {"object": FOREGROUND}, "binary"
    return {f"label {label}": (label,) for label in labels}, f"a label map with the values {labels}"


def _volume_mask(path: Path):
    """Read the mask values of a volume."""
    return tidy_mask(volumes.read_volume(path).values, path)
