"""Two-dimensional images and masks: PNG, JPEG, TIFF, BMP, GIF, WebP, PGM, npy, DICOM."""

from __future__ import annotations

import io
import math
import re
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from ..case import BadCaseError, Case, CaseReference, Listing
from .by_name import ByName
from .dataset import Dataset, to_rgb
from .dicom import Series, is_dicom, read_header, read_pixels
from .masks import Marks, check_labels, class_masks, distinct, interpret, overlap
from .pairs import Pairs
from .reading import BEYOND, LARGEST_ITEM, check_limit, reading

DEFLATE = (8, 32946)
"""Kinds of compression of TIFF that have a checksum for each strip or tile."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What a file holds, upright as it declares.

    values: H x W or H x W x channels, as stored. alpha: H x W, None if the file has none. palette:
    colours n x 3, where the values are indices of it.
    """

    values: np.ndarray
    alpha: np.ndarray | None = None
    palette: np.ndarray | None = None

    @property
    def colours(self) -> np.ndarray:
        """Return the values with the palette resolved."""
        return self.values if self.palette is None else self.palette[self.values]


def read_image(path: Path) -> np.ndarray:
    """Read an image: H x W or H x W x 3, values as stored, any real dtype.

    Palettes are resolved, grey stored as RGB comes back as one channel, alpha is dropped.
    Raises BadCaseError for a file that cannot be read, has several pages, or whose picture is in
    its alpha channel alone.
    """
    picture = _read_picture(path)
    values = picture.colours
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise BadCaseError(
            f"its shape is {values.shape}: save one image, H x W or H x W x 3", path, kind="format"
        )
    if picture.alpha is not None and not _is_plain(picture.alpha) and _is_plain(values):
        raise BadCaseError(
            "the picture is in its alpha channel alone: save it without transparency",
            path,
            kind="format",
        )
    # Grey is grey however it is stored.
    if values.ndim == 3 and (values[..., :1] == values[..., 1:]).all():
        return values[..., 0]
    return values


def read_mask(path: Path, coloured: bool = False) -> np.ndarray:
    """Read a mask: H x W, values as stored.

    A palette whose first colour is black is taken as the look of a label map, whose values are the
    palette's indices; a palette of greys is resolved. Black and one colour are a binary mask.
    Channels that are equal, or as good as equal in a bright JPEG, are one channel; channels that
    add up to 1 are the classes of their order, the first is background. What is transparent is
    background. Raises BadCaseError for a file that cannot be read, and for other colours, unless
    `coloured`: then a mask of colours is True wherever it is not black.
    """
    picture = _read_picture(path)
    if coloured and (colours := picture.colours).ndim == 3:
        return np.any(colours[..., :3], axis=2)
    values = picture.values
    if picture.palette is not None:
        values = _indices(picture, path)
    elif picture.alpha is not None and not _is_plain(picture.alpha):
        values = _over_black(values, picture.alpha, path)
    if values.ndim == 3 and values.shape[2] > 1 and path.suffix.lower() == ".npy":
        values = _classes_of_channels(values, path)
    if values.ndim == 3:
        values = _one_channel(values, path)
    if values.ndim != 2:
        raise BadCaseError(
            f"its shape is {values.shape}: save one mask, H x W", path, kind="format"
        )
    return values


def is_lossy(path: Path) -> bool:
    """Tell whether the file's format changes values: JPEG, lossy WebP, TIFF that holds JPEG.

    Raises BadCaseError for a file that cannot be read.
    """
    if path.suffix.lower() == ".npy" or is_dicom(path):
        return False
    with reading(path), path.open("rb") as file:
        head = file.read(4096)
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return b"VP8L" not in head
        if head[:2] not in (b"II", b"MM"):
            return head[:2] == b"\xff\xd8"
        try:
            with _open(file) as picture:
                return "jpeg" in str(picture.info.get("compression", ""))
        except Image.UnidentifiedImageError:  # a TIFF that Pillow does not know
            return False


def _indices(picture: Picture, path: Path) -> np.ndarray:
    """Return the values of a mask with a palette; black is background.

    Raises BadCaseError if the palette does not tell which index is.
    """
    used = np.unique(picture.values)
    colours = picture.palette[used]
    hidden = np.zeros(len(used), bool)
    if picture.alpha is not None:
        hidden[:] = [not picture.alpha[picture.values == index].any() for index in used]
    black = ~colours.any(axis=1) | hidden
    if (np.ptp(colours, axis=1) == 0).all() and len(np.unique(colours[:, 0])) == len(used):
        return np.where(hidden, 0, colours[:, 0])[np.searchsorted(used, picture.values)]
    blacks = used[black].tolist()
    first_black = not picture.palette[0].any()
    if blacks == [0] or (not blacks and 0 not in used and first_black):
        return picture.values
    if len(used) <= 2 and len(blacks) == 1:
        background = picture.values == blacks[0]
        return np.where(background, 0, 1).astype(np.uint8)
    which = f"the indices {blacks} are black" if blacks else "no colour is black"
    raise BadCaseError(
        f"its palette does not tell which index is background ({which}): save it with one channel, "
        "0 for background and one value per class",
        path,
        kind="mask",
    )


def _is_plain(values: np.ndarray) -> bool:
    """Tell whether all pixels are the same."""
    return bool((values == values[:1, :1]).all())


def _over_black(values: np.ndarray, alpha: np.ndarray, path: Path) -> np.ndarray:
    """Return a mask as it looks on black; the drawing may be in its alpha channel alone."""
    if _is_plain(values):
        return alpha
    opaque = alpha.astype(np.float64) / max(np.iinfo(alpha.dtype).max, 1)
    shown = np.rint(values * (opaque[..., np.newaxis] if values.ndim == 3 else opaque))
    if not shown.any():
        raise BadCaseError(
            "all that is not black in it is transparent: save it without transparency",
            path,
            kind="mask",
        )
    return shown.astype(values.dtype)


def _classes_of_channels(values: np.ndarray, path: Path) -> np.ndarray:
    """Return the label map of channels that add up to 1, or the second of two as a soft mask."""
    numbers = values.astype(np.float64)
    if np.isfinite(numbers).all() and np.allclose(numbers.sum(axis=2), 1, atol=1e-3):
        if np.isin(numbers, (0, 1)).all():
            return numbers.argmax(axis=2).astype(np.uint8)
        if values.shape[2] == 2:
            return values[..., 1]
    if values.shape[2] == 3 and (values[..., :1] == values[..., 1:]).all():
        return values[..., 0]
    raise BadCaseError(
        f"its shape is {values.shape}, and its channels do not add up to 1 in each pixel: save one "
        "channel with one value per class",
        path,
        kind="mask",
    )


def _one_channel(values: np.ndarray, path: Path) -> np.ndarray:
    """Return a mask of three channels as one; raises BadCaseError for several colours."""
    lowest, highest = values.min(axis=2), values.max(axis=2)
    spread = np.subtract(highest, lowest, dtype=np.float64).max(initial=0)
    # Grey that went through JPEG or a colour conversion differs by a few steps between
    # channels; between small numbers, though, such a step is a label.
    if spread == 0:
        return values[..., 0]
    if spread <= (16 if highest.max(initial=0) >= 128 else 0):
        return np.rint(values.mean(axis=2, dtype=np.float64)).astype(values.dtype)
    marked = values.any(axis=2)
    shown = values[marked]
    if not marked.all() and (shown == shown[0]).all():
        return np.asarray(marked, np.uint8)
    raise BadCaseError(
        f"the mask is coloured (channels differ by up to {spread:g}): "
        "save it with one channel, one value per class",
        path,
        kind="mask",
    )


@dataclass(frozen=True)
class ImagePairs:
    """Reader of image files with mask files; several masks of one image are united per class.

    coloured: whatever is not black in a mask of colours is foreground; else such masks are refused.
    """

    pairs: Pairs | ByName
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
        ignored = np.zeros(shape, dtype=bool)
        found: set = set()
        for path in reference.masks:
            if any(dataset.classes.values()) and is_lossy(path):
                raise BadCaseError(
                    "JPEG changes label values: save the label map as PNG", path, kind="mask"
                )
            marks = self.read_marks(dataset, path)
            _check_shape(marks.values, shape, path)
            check_labels(marks.values, dataset.classes, dataset.other_labels, path)
            for name, mask in class_masks(
                marks, dataset.classes, dataset.mask_threshold, path
            ).items():
                masks[name] |= mask
                labelled |= mask
            if marks.meaning.kind != "soft":
                labelled |= marks.values > 0
            if marks.ignored is not None:
                ignored |= marks.ignored
            found.update(distinct(marks.values)[:4].tolist())
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
            ignored=ignored,
        )

    def read_marks(self, dataset: Dataset, path: Path) -> Marks:
        """Read a mask file as what it means in a dataset; raises BadCaseError."""
        values = read_mask(path, self.coloured)
        return interpret(values, dataset, path, is_lossy(path))


@dataclass(frozen=True)
class Instances(ImagePairs):
    """Reader of image files whose masks number their objects: each object is a case of its own.

    A case's id is the image's key and the object's number.
    """

    def list(self, dataset: Dataset) -> Listing:
        """List the objects; reads the masks, opens no image."""
        listing = ImagePairs.list(self, dataset)
        references, exclusions = [], listing.exclusions
        for image in listing.references:
            try:
                numbers = set.union(*(self._numbers(dataset, path) for path in image.masks))
            except BadCaseError as error:
                files = (*image.images, *image.masks)
                exclusions.append(dataset.exclusion(image.case_id, error, image.masks[0], files))
                continue
            references += [
                replace(image, case_id=f"{image.case_id}_i{number:03d}")
                for number in sorted(numbers)
            ]
        return Listing(references, exclusions)

    def _numbers(self, dataset: Dataset, path: Path) -> set[int]:
        values = distinct(self.read_marks(dataset, path).values).tolist()
        if values == [0]:
            raise BadCaseError("no labelled pixel (values 0)", path, kind="no object")
        return {int(value) for value in values if value}

    def load(self, dataset: Dataset, reference: CaseReference) -> Case:
        """Read one image and one of its objects; raises BadCaseError."""
        (image_path,) = reference.images
        image = to_rgb(read_image(image_path), dataset, image_path)
        number = int(reference.case_id.rpartition("_i")[2])
        mask, ignored = (np.zeros(image.shape[:2], bool) for _ in range(2))
        for path in reference.masks:
            marks = self.read_marks(dataset, path)
            _check_shape(marks.values, mask.shape, path)
            mask |= marks.values == number
            if marks.ignored is not None:
                ignored |= marks.ignored
        masks = dict.fromkeys(dataset.classes, mask)
        return reference.case(image, masks, None, None, ignored)


def _check_shape(mask: np.ndarray, shape: tuple[int, ...], path: Path) -> None:
    """Raise BadCaseError if a mask is not as large as its image."""
    if mask.shape != shape:
        raise BadCaseError(
            f"the mask is {_size(mask.shape)}, its image {_size(shape)} (rows x "
            "columns): export both on the same grid",
            path,
            kind="grid",
        )


def _read_picture(path: Path) -> Picture:
    """Read a file as it declares itself; raises BadCaseError if it cannot be read."""
    with reading(path):
        if path.suffix.lower() == ".npy":
            picture = _split_alpha(_read_array(path))
        elif is_dicom(path):
            picture = Picture(_read_dicom(path))
        else:
            picture = _decode(path)
    values = picture.values
    if values.ndim not in (2, 3) or values.size == 0:
        raise BadCaseError(
            f"its shape is {values.shape}: save one image, H x W or H x W x 3", path, kind="format"
        )
    return picture


def _read_array(path: Path) -> np.ndarray:
    """Return the one array of a npy file, whose size is known before any of it is read."""
    stored = np.load(path, mmap_mode="r")
    if not isinstance(stored, np.ndarray):
        raise BadCaseError(
            "a container of arrays, by how it begins: save each as npy", path, kind="format"
        )
    check_limit(stored.size * LARGEST_ITEM, path)
    return np.array(stored)


def _read_dicom(path: Path) -> np.ndarray:
    """Return the pixels of a DICOM file that holds one image, such as a radiograph."""
    header = read_header(path)
    if header.frames > 1:
        raise BadCaseError(
            f"it holds {header.frames} frames: save one file per image", path, kind="format"
        )
    return read_pixels(Series((path,), (1, *header.size), np.eye(4))).values[0]


def _split_alpha(values: np.ndarray) -> Picture:
    """Return an array in this machine's byte order; a fourth channel of 8 bits is alpha."""
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.ndim == 3 and values.shape[2] == 1:
        return Picture(values[..., 0])
    if values.ndim == 3 and values.shape[2] == 4 and values.dtype == np.uint8:
        return Picture(values[..., :3], values[..., 3])
    return Picture(values)


def _decode(path: Path) -> Picture:
    """Read a file with Pillow, or with OpenCV where Pillow drops bits."""
    data = path.read_bytes()
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        _check_png(data)
    try:
        picture = _open(io.BytesIO(data))
    except Image.UnidentifiedImageError:
        if data[:2] not in (b"II", b"MM"):
            raise
        return _decode_other_tiff(data, path)
    with picture:
        check_limit(math.prod(picture.size) * len(picture.getbands()) * LARGEST_ITEM, path)
        if re.match(rb"P[2356]\s", data[:3]):
            # Pillow stretches values up to the declared maximum.
            return _decode_portable(data, picture, path)
        if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
            raise BadCaseError(
                f"it holds {picture.n_frames} pages: save one file per image", path, kind="format"
            )
        tags = getattr(picture, "tag_v2", {})
        _check_tiff(tags, data)
        bits, sample = tags.get(258, (0,)), tags.get(339, (1,))
        drops = ";16" in str([tile[3] for tile in picture.tile]) and picture.mode[0] != "I"
        # Both libraries turn TIFF files themselves; Pillow not those that it maps into memory.
        orientation = 1 if tags else picture.getexif().get(0x0112, 1)
        if drops or (tags and (bits[0], sample[0]) in ((32, 1), (8, 2))):
            found = _decode_wide(data, path)
        else:
            found = _from_pillow(picture)
        alpha = None if found.alpha is None else _turn(found.alpha, orientation)
        found = Picture(_turn(found.values, orientation), alpha, found.palette)
        # Pillow turns white-is-zero round up to 8 bits.
        return _black_is_zero(found, path) if tags.get(262) == 0 and max(bits) > 8 else found


def _decode_other_tiff(data: bytes, path: Path) -> Picture:
    """Read a TIFF of a number type that Pillow does not know."""
    file = io.BytesIO(data)
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8])
    file.seek(tags.next)
    tags.load(file)
    if tags.next:
        raise BadCaseError("it holds several pages: save one file per image", path, kind="format")
    _check_tiff(tags, data)
    check_limit(tags[256] * tags[257] * tags.get(277, 1) * LARGEST_ITEM, path)
    found = _decode_wide(data, path)
    return _black_is_zero(found, path) if tags.get(262) == 0 else found


def _open(file: BinaryIO) -> Image.Image:
    """Return a file's picture, not yet decoded; `check_limit` decides how large it may be."""
    file.seek(0)
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        return Image.open(file)
    finally:
        Image.MAX_IMAGE_PIXELS = most


def _check_png(data: bytes) -> None:
    """Raise ValueError unless all parts of a PNG fit their checksums, up to the last one.

    Neither Pillow nor OpenCV compares them all.
    """
    at, view = 8, memoryview(data)
    while data[at + 4 : at + 8] != b"IEND":
        end = at + 8 + int.from_bytes(view[at : at + 4])
        if len(data) < end + 16:
            raise ValueError("truncated")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ValueError("wrong checksum")
        at = end + 4


def _check_tiff(tags: Any, data: bytes) -> None:
    """Raise an error unless all strips or tiles of a TIFF are there, and fit their checksums.

    Neither Pillow nor OpenCV compares them. tags: empty for other formats.
    """
    offsets, counts = (tags.get(a) or tags.get(b) or () for a, b in ((273, 324), (279, 325)))
    for offset, count in zip(offsets, counts, strict=False):
        if offset + count > len(data):
            raise EOFError("truncated")
        if tags.get(259) in DEFLATE and tags.get(266, 1) == 1:
            stream = zlib.decompressobj()
            packed = data[offset : offset + count]
            while not stream.eof:
                if not stream.decompress(packed, BEYOND) and not stream.eof:
                    raise EOFError("truncated")
                packed = stream.unconsumed_tail


def _decode_portable(data: bytes, picture: Image.Image, path: Path) -> Picture:
    """Read a PGM or PPM; OpenCV does not notice that its end is missing."""
    found = _decode_wide(data, path)
    start = picture.tile[0][2]
    needed = found.values.size
    stored = len(data) - start
    there = stored // found.values.itemsize if data[1:2] in b"56" else len(data[start:].split())
    if there < needed:
        raise EOFError("truncated")
    return found


def _black_is_zero(picture: Picture, path: Path) -> Picture:
    """Return a picture with its values turned round; raises BadCaseError if they have no top."""
    if picture.values.dtype.kind != "u":
        raise BadCaseError(
            f"white is zero in it, and its values are {picture.values.dtype}: export it with "
            "black as zero",
            path,
            kind="format",
        )
    return Picture(np.iinfo(picture.values.dtype).max - picture.values, picture.alpha)


def _from_pillow(picture: Image.Image) -> Picture:
    """Return what an open picture holds."""
    transparent = "transparency" in picture.info
    if picture.mode in ("P", "PA"):
        alpha = picture.mode == "PA" or transparent
        indices = np.asarray(picture.getchannel(0) if picture.mode == "PA" else picture)
        palette = np.zeros((256, 3), np.uint8)
        colours = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        palette[: len(colours)] = colours
        return Picture(
            indices, np.asarray(picture.convert("RGBA"))[..., 3] if alpha else None, palette
        )
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
    if picture.mode not in ("1", "L", "LA", "RGB", "RGBA", "F") and picture.mode[0] != "I":
        picture = picture.convert("RGB")
    values = np.asarray(picture)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if picture.mode in ("LA", "RGBA"):
        return Picture(values[..., 0] if picture.mode == "LA" else values[..., :3], values[..., -1])
    return Picture(values)


def _decode_wide(data: bytes, path: Path) -> Picture:
    """Read a file with OpenCV, which keeps every number of bits; as it is stored."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise OSError("damaged, or of a kind that is not read")
    if values.ndim == 2:
        return Picture(values)
    alpha = values[..., 3] if values.shape[2] == 4 else None
    return Picture(np.ascontiguousarray(values[..., 2::-1]), alpha)


def _turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """Return an array upright, by the orientation that EXIF numbers from 1 to 8.

    >>> _turn(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    if orientation >= 5:
        values = np.swapaxes(values, 0, 1)
    rows, columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return values[:: -1 if rows else 1, :: -1 if columns else 1]


def _size(shape: tuple[int, ...]) -> str:
    """Write a shape as "rows x columns"."""
    return " x ".join(map(str, shape))
