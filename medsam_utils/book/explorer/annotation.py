"""Annotations: masks that someone accepted, with their prompts, and as NIfTI, PNG and COCO's
JSON."""

from __future__ import annotations

import gzip
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from ...boxed_mask import BoxedMask
from ...case import BadInputError, CaseReference
from ...datasets import Dataset
from ...datasets.folder import FOLDERS
from ...datasets.formats import find_format
from ...datasets.volume_files import Cut, find_cut
from .label_values import LabelValues
from .run_lengths import from_run_lengths

# What a NIfTI header says of where its voxels lie. Nothing else is copied: free text could name a
# patient.
_PLACE = (
    "qform_code sform_code quatern_b quatern_c quatern_d qoffset_x qoffset_y qoffset_z "
    "srow_x srow_y srow_z"
)


@dataclass(frozen=True)
class Annotation:
    """One accepted mask and what it was made with; plain values, and nothing of a patient but the
    case's id.

    dataset: its title; task: the one that was shown; class_name: what the mask is called. clicks:
    (row, col, 1 positive or 0 negative); box: inclusive (first row, first col, last row, last col)
    or None; candidate: which of the model's masks it is. size: (rows, cols); counts: the mask, see
    `run_lengths`. number: which of the class's objects in the case, from 1 on.
    """

    dataset: str
    task: str
    case: str
    class_name: str
    model: str
    clicks: list[list[int]]
    box: list[int] | None
    candidate: int
    size: list[int]
    counts: str
    number: int = 1

    @property
    def mask(self) -> np.ndarray:
        """bool, H x W, upright as the case is shown; raises BadInputError if the counts are
        damaged."""
        return from_run_lengths(self.counts, tuple(self.size))


Placed = tuple[Annotation, CaseReference]
"""An annotation, and where its case was read from."""


def nifti(
    annotations: Sequence[Placed], dataset: Dataset, values: LabelValues | None = None
) -> bytes:
    """Masks of slices of one volume as a .nii.gz, uint8, on the grid of the file they come from.

    values: what each class is in it; None: 1 is every object. A flat image becomes one slice,
    columns x rows x 1, that viewers show upright; it has no spacing. Raises BadInputError for a
    mask of another size than the slice it belongs to.
    """
    image, cut = _empty(dataset, annotations[0][1], annotations[0][0].size)
    labels = np.zeros((*image.shape, 1)[:3], np.uint8)
    into_slices(labels, cut, annotations, values)
    volume = type(image)(labels.reshape(image.shape), image.affine, image.header)
    return gzip.compress(volume.to_bytes(), mtime=0)  # the same masks give the same bytes


def into_slices(
    volume: np.ndarray, cut: Cut, annotations: Sequence[Placed], values: LabelValues | None = None
) -> None:
    """Write masks into the slices of an empty volume, as the values of their classes, or as 1."""
    slices: dict[int, list[Annotation]] = {}
    for annotation, reference in annotations:
        slices.setdefault(reference.slice_index or 0, []).append(annotation)
    for index, members in slices.items():
        part = cut.slice(volume, index)  # a view: what is written here lands in `volume`
        for one in members:
            if list(part.shape) != list(one.size):
                raise BadInputError(
                    f"{one.case}: the mask has {one.size} pixels, its slice {list(part.shape)}: "
                    "the image has changed since, annotate it again"
                )
        part[:] = values.label_map(members) if values else np.any([m.mask for m in members], axis=0)


def _empty(
    dataset: Dataset, reference: CaseReference, size: Collection[int]
) -> tuple[nibabel.Nifti1Image, Cut]:
    """An empty volume on the grid of a case's source, and how its slices are cut."""
    path = reference.images[0]
    if reference.slice_index is None:
        shape, affine = (size[1], size[0], 1), np.diag([-1.0, -1.0, 1.0, 1.0])
        return _zeros(shape, affine), find_cut(shape, affine, "axial", path)
    if not hasattr(dataset.reader, "grid"):
        raise BadInputError(
            f"{path.name} does not say where its voxels lie: choose PNG or COCO instead of NIfTI"
        )
    grid = dataset.reader.grid(reference)
    if grid.header is None:
        return _zeros(grid.shape, grid.affine), grid.cut
    is_second = isinstance(grid.header, nibabel.Nifti2Header)
    kind = nibabel.Nifti2Image if is_second else nibabel.Nifti1Image
    image = _zeros(grid.header.get_data_shape(), grid.affine, kind)
    for field in (*_PLACE.split(), "pixdim", "xyzt_units"):
        image.header[field] = grid.header[field]
    return image, grid.cut


def _zeros(
    shape: tuple[int, ...], affine: np.ndarray, kind: type = nibabel.Nifti1Image
) -> nibabel.Nifti1Image:
    """Return an empty image that takes no memory."""
    image = kind(np.broadcast_to(np.uint8(0), shape), affine)
    image.header.set_xyzt_units("mm")
    return image


def source_files(dataset: Dataset, reference: CaseReference) -> tuple[str, Path]:
    """Return the name of what a case was read from, and its path: a file, or a series' folder.

    The name is the path below the dataset's folder of images, or below the dataset's folder where
    there is none. A series that lies in that folder itself has the dataset's name.
    """
    path = reference.images[0]
    is_series = reference.slice_index is not None and find_format(path) == "dicom"
    path = path.parent if is_series else path
    top = _images_folder(dataset, path)
    return (dataset.root.name if path == top else path.relative_to(top).as_posix()), path


def _images_folder(dataset: Dataset, path: Path) -> Path:
    """Return the folder below which images are named."""
    within = [name for name in dataset.within if name.lower() in map(str.lower, FOLDERS[0])]
    folders = [dataset.root / name for name in (*within, "images")]
    return next((f for f in folders if f.is_dir() and path.is_relative_to(f)), dataset.root)


def image_name(dataset: Dataset, reference: CaseReference) -> dict[str, Any]:
    """Return what COCO's JSON says of an image: `file_name`, of a slice `slice_index` too.

    The name is the file's path below the dataset's folder `images`, or below the dataset's folder
    where there is none. Slices of one file are told apart by "#z" and the index, as in
    "a.nii.gz#z012". Of a series with one file per slice it is the file, if the slice is cut as
    it was stored, else the folder with "#z" and the index.
    """
    path, index = reference.images[0], reference.slice_index
    mark = "" if index is None else f"#z{index:03d}"
    if index is not None and len(reference.images) > 1:
        grid = dataset.reader.grid(reference)
        is_series = grid.shape[0] == len(reference.images)
        if is_series and grid.cut.slice_axis == 0:
            path, mark = reference.images[index], ""
        elif is_series:
            path = path.parent
    name = {"file_name": path.relative_to(_images_folder(dataset, path)).as_posix() + mark}
    return name if index is None else {**name, "slice_index": index}


def coco(
    annotations: Sequence[Annotation], shown: Mapping[tuple[str, str], Mapping[str, Any]]
) -> dict[str, Any]:
    """Annotations as COCO's detection format, masks as compressed run lengths; prompts as extra
    keys.

    shown: (dataset, case) -> what `image_name` says of its image.
    """
    images = {(a.dataset, a.case): a.size for a in annotations}
    names = sorted({a.class_name for a in annotations})
    numbered = {key: i for i, key in enumerate(images, start=1)}
    entries = []
    for i, a in enumerate(annotations, start=1):
        mask = BoxedMask.from_mask(a.mask)
        entries.append(
            {
                "id": i,
                "image_id": numbered[a.dataset, a.case],
                "category_id": names.index(a.class_name) + 1,
                "segmentation": {"size": a.size, "counts": a.counts},
                "area": mask.area,
                "bbox": [mask.col, mask.row, mask.inside.shape[1], mask.inside.shape[0]],
                "iscrowd": 0,
                "number": a.number,
                "prompts": {
                    "model": a.model,
                    "clicks": a.clicks,
                    "box": a.box,
                    "candidate": a.candidate,
                },
            }
        )
    return {
        "images": [
            {
                "id": numbered[key],
                **shown[key],
                "dataset": key[0],
                "case": key[1],
                "height": size[0],
                "width": size[1],
            }
            for key, size in images.items()
        ],
        "categories": [
            {"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names, start=1)
        ],
        "annotations": entries,
    }


def png(values: np.ndarray) -> bytes:
    """Whole numbers of 8 or 16 bits, H x W, as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def mask_png(annotation: Annotation) -> bytes:
    """The mask as a PNG of 0 and 255."""
    return png(annotation.mask.astype(np.uint8) * 255)
