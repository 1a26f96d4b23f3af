"""Two-dimensional images and masks: PNG, JPEG, TIFF, BMP, npy."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..case import BadCaseError, Case, CaseReference
from .dataset import Dataset, Listing, to_rgb
from .masks import check_labels, class_masks, distinct, overlap, soft_scale, tidy_mask
from .pairs import Pairs

SUFFIXES = r"\.(?:png|jpe?g|tiff?|bmp|npy)"
"""The file name endings that are read, as a regular expression."""

# What Pillow and numpy raise for files that are cut off, damaged, absurdly large or of another
# kind.
UNREADABLE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(path: Path) -> np.ndarray:
    """Read an image: H x W or H x W x 3, values as stored, any real dtype.

    Palettes are resolved, grey stored as RGB comes back as one channel, alpha is dropped.
    Raises BadCaseError for a file that cannot be read or has several pages.
    """
    return _one_channel_if_grey(_read_values(path, resolve_palette=True))


def read_mask(path: Path, coloured: bool = False) -> np.ndarray:
    """Read a mask: H x W, bool, integer, or float for a mask of fractions; values as stored.

    A palette of colours is taken as the look of a label map, whose values are the palette's
    indices; a palette of greys is resolved. Channels that are equal, or as good as equal in a
    bright JPEG, are one channel. Raises BadCaseError for a file that cannot be read, and for
    colours, unless `coloured`: then a mask of colours, with or without a palette, is True wherever
    it is not black.
    """
    values = _read_values(path, resolve_palette=coloured)
    if coloured and values.ndim == 3:
        return np.any(values, axis=2)
    if values.ndim == 3:
        channels = values.astype(np.float64)
        spread = np.ptp(channels, axis=2).max(initial=0)
        # Grey that went through JPEG or a colour conversion differs by a few steps between
        # channels; between small numbers, though, such a step is a label.
        if spread > (16 if channels.max(initial=0) >= 128 else 0):
            raise BadCaseError(
                f"the mask is coloured (channels differ by up to {spread:g}): "
                "save it with one channel, one value per class",
                path,
                kind="mask",
            )
        values = (
            values[..., 0] if spread == 0 else np.rint(channels.mean(axis=2)).astype(values.dtype)
        )
    return tidy_mask(values, path)


def is_lossy(path: Path) -> bool:
    """Tell whether the file's format changes values (JPEG)."""
    return path.suffix.lower() in (".jpg", ".jpeg")


@dataclass(frozen=True)
class ImagePairs:
    """Reader of image files with mask files; several masks of one image are united per class.

    coloured: whatever is not black in a mask of colours is foreground; else such masks are refused.
    """

    pairs: Pairs
    coloured: bool = False

    def list(self, dataset: Dataset) -> Listing:
        """List the pairs by their names; opens no file."""
        pairs, exclusions = self.pairs.find(dataset.root, dataset.within)
        references = [
            CaseReference(dataset.name, pair.key, pair.patient, None, (pair.image,), pair.masks)
            for pair in pairs
        ]
        return Listing(references, exclusions)

    def load(self, dataset: Dataset, reference: CaseReference) -> Case:
        """Read one image and its masks; raises BadCaseError."""
        (image_path,) = reference.images
        image = to_rgb(read_image(image_path), dataset, image_path)
        shape = image.shape[:2]
        masks = {name: np.zeros(shape, dtype=bool) for name in dataset.classes}
        labelled = np.zeros(shape, dtype=bool)
        found: set = set()
        for path in reference.masks:
            values = read_mask(path, self.coloured)
            if values.shape != shape:
                raise BadCaseError(
                    f"the mask is {_size(values.shape)}, its image {_size(shape)} (rows x "
                    "columns): export both on the same grid",
                    path,
                    kind="grid",
                )
            soft = soft_scale(values, is_lossy(path))
            if is_lossy(path) and any(dataset.classes.values()):
                raise BadCaseError(
                    "JPEG changes label values: save the label map as PNG", path, kind="mask"
                )
            check_labels(values, dataset.classes, dataset.other_labels, path)
            for name, mask in class_masks(
                values, soft, dataset.classes, dataset.mask_threshold, path
            ).items():
                masks[name] |= mask
                labelled |= mask
            if soft is None:
                labelled |= values > 0
            found.update(distinct(values)[:4].tolist())
        if not any(mask.any() for mask in masks.values()):
            seen = ", ".join(f"{value:g}" for value in sorted(found))
            raise BadCaseError(
                f"no labelled pixel (values {seen}): nothing to click on; "
                "if there should be, check the classes' label values",
                reference.masks[0],
                kind="no object",
            )
        return reference.case(
            image=image,
            masks=masks,
            # Of classes that overlap each was annotated by itself.
            labelled=None if overlap(dataset.classes) else labelled,
            spacing=None,
        )


def _read_values(path: Path, resolve_palette: bool) -> np.ndarray:
    """Read a file as H x W or H x W x 3; alpha dropped."""
    try:
        values = (
            np.load(path) if path.suffix.lower() == ".npy" else _read_picture(path, resolve_palette)
        )
    except BadCaseError:
        raise
    except UNREADABLE as error:
        raise BadCaseError(
            f"cannot be read ({error}): copy or export it again", path, kind="unreadable"
        ) from None
    if values.ndim == 3 and values.shape[2] in (1, 2, 4):
        values = values[..., : 3 if values.shape[2] == 4 else 1]
        values = values[..., 0] if values.shape[2] == 1 else values
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3) or values.size == 0:
        raise BadCaseError(
            f"its shape is {values.shape}: save one image, H x W or H x W x 3", path, kind="format"
        )
    return values


def _read_picture(path: Path, resolve_palette: bool) -> np.ndarray:
    """Read a file with Pillow."""
    with Image.open(path) as picture:
        if getattr(picture, "n_frames", 1) > 1:
            raise BadCaseError(
                f"it holds {picture.n_frames} pages: save one file per image", path, kind="format"
            )
        if picture.mode == "P":
            palette = np.asarray(picture.convert("RGB"))
            grey = (np.ptp(palette, axis=2) == 0).all()
            return palette if resolve_palette or grey else np.asarray(picture)
        if picture.mode not in ("1", "L", "LA", "RGB", "RGBA", "F") and not picture.mode.startswith(
            "I"
        ):
            picture = picture.convert("RGB")
        return np.asarray(picture)


def _one_channel_if_grey(values: np.ndarray) -> np.ndarray:
    """Return one channel if all are equal, so that grey is grey however it is stored."""
    if values.ndim == 3 and (values[..., :1] == values[..., 1:]).all():
        return values[..., 0]
    return values


def _size(shape: tuple[int, ...]) -> str:
    """Write a shape as "rows x columns"."""
    return " x ".join(map(str, shape))
