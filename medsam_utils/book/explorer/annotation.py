"""Annotations: masks that someone accepted, with their prompts, and as NIfTI, PNG and COCO's
JSON."""

from __future__ import annotations

import gzip
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from ...boxed_mask import BoxedMask
from ...case import BadInputError, CaseReference
from ...datasets import Dataset
from ...datasets.volume_files import Cut, find_cut
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
    `run_lengths`.
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

    @property
    def mask(self) -> np.ndarray:
        """bool, H x W, upright as the case is shown; raises BadInputError if the counts are
        damaged."""
        return from_run_lengths(self.counts, tuple(self.size))


def nifti(annotations: Sequence[tuple[Annotation, CaseReference]], dataset: Dataset) -> bytes:
    """Masks of slices of one volume as a .nii.gz of 0 and 1, uint8, on the grid of the file they
    come from.

    A flat image becomes one slice, columns x rows x 1, that viewers show upright; it has no
    spacing. Raises BadInputError for a mask of another size than the slice it belongs to.
    """
    image, cut = _empty(dataset, annotations[0][1], annotations[0][0].size)
    values = np.zeros((*image.shape, 1)[:3], np.uint8)
    for annotation, reference in annotations:
        part = cut.slice(
            values, reference.slice_index or 0
        )  # a view: what is written here lands in `values`
        if list(part.shape) != list(annotation.size):
            raise BadInputError(
                f"{annotation.case}: the mask has {annotation.size} pixels, its slice "
                f"{list(part.shape)}: the image has changed since, annotate it again"
            )
        part[annotation.mask] = 1
    volume = type(image)(values.reshape(image.shape), image.affine, image.header)
    return gzip.compress(volume.to_bytes(), mtime=0)  # the same masks give the same bytes


def _empty(
    dataset: Dataset, reference: CaseReference, size: Collection[int]
) -> tuple[nibabel.Nifti1Image, Cut]:
    """An empty volume on the grid of a case's source, and how its slices are cut."""
    path = reference.images[0]
    if reference.slice_index is None:
        shape, affine = (size[1], size[0], 1), np.diag([-1.0, -1.0, 1.0, 1.0])
        return _zeros(shape, affine), find_cut(shape, affine, "axial", path)
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
    top = dataset.root / "images"
    top = top if top.is_dir() and path.is_relative_to(top) else dataset.root
    name = {"file_name": path.relative_to(top).as_posix() + mark}
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


def png(annotation: Annotation) -> bytes:
    """The mask as a PNG of 0 and 255."""
    buffer = io.BytesIO()
    Image.fromarray(annotation.mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return buffer.getvalue()
