"""Reader of DICOM images with RT structure sets, drawn on the images or on a CT beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pydicom
from scipy.ndimage import affine_transform

from ..case import BadCaseError, Exclusion
from .dataset import Dataset
from .dicom import (
    SUFFIXES,
    TO_RAS,
    Header,
    Series,
    is_dicom,
    make_series,
    read_dicom,
    read_header,
    read_series,
)
from .pairs import natural, walk
from .reading import reading
from .scans import Scan, ScanReader

TAGS = ("ReferencedFrameOfReferenceSequence", "StructureSetROISequence", "ROIContourSequence")
"""All that is read of a structure set."""

_DAMAGED = "damaged structure set ({}): export it again"

# What encloses an area; CLOSEDPLANAR_XOR says in words what holds for the others too: of contours
# within one another every second one is a hole.
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")


def read_references(path: Path) -> tuple[set[str], set[str]]:
    """Read the UIDs of the series and of the frames of reference that a structure set names.

    The series stand in an optional part of the file. Raises BadCaseError if it is damaged.
    """
    dataset = read_dicom(path, TAGS[:2])
    with reading(path, _DAMAGED, names_patients=True):
        frames, rois = (dataset.get(tag) or () for tag in TAGS[:2])
        series = {str(item.SeriesInstanceUID) for item in _referenced_series(frames)}
        uids = [frame.get("FrameOfReferenceUID") for frame in frames]
        uids += [roi.get("ReferencedFrameOfReferenceUID") for roi in rois]
        return series, {str(uid) for uid in uids if uid}


def read_referenced_images(path: Path) -> set[str]:
    """Read the SOPInstanceUIDs of the images that a structure set and its contours name.

    Raises BadCaseError if it is damaged.
    """
    dataset = read_dicom(path, TAGS)
    with reading(path, _DAMAGED, names_patients=True):
        contours = [
            contour
            for roi in dataset.get("ROIContourSequence") or ()
            for contour in roi.get("ContourSequence") or ()
        ]
        return {
            str(image.ReferencedSOPInstanceUID)
            for item in (*_referenced_series(dataset.get(TAGS[0]) or ()), *contours)
            for image in item.get("ContourImageSequence") or ()
        }


def _referenced_series(frames: Sequence[pydicom.Dataset]) -> list[pydicom.Dataset]:
    return [
        item
        for frame in frames
        for study in frame.get("RTReferencedStudySequence") or ()
        for item in study.get("RTReferencedSeriesSequence") or ()
    ]


@dataclass(frozen=True)
class Region:
    """A region of a structure set.

    contours: each N x 3 points in DICOM's world, mm to the patient's left, posterior, superior.
    unfit: of contours that enclose nothing, their types as the file calls them.
    """

    name: str
    contours: list[np.ndarray]
    unfit: tuple[str, ...] = ()


def read_regions(path: Path) -> list[Region]:
    """Read the regions of a structure set; raises BadCaseError if it is damaged."""
    dataset = read_dicom(path, TAGS[1:])
    with reading(path, _DAMAGED, names_patients=True):
        contours: dict[int, list[np.ndarray]] = {}
        unfit: dict[int, set[str]] = {}
        for roi in dataset.get("ROIContourSequence") or ():
            number = int(roi.ReferencedROINumber)
            for item in roi.get("ContourSequence") or ():
                points, kind = _points(item), str(item.get("ContourGeometricType") or "no type")
                # Programs leave contours of a point or two where someone clicked by mistake.
                if len(points) < 3 and kind != "POINT":
                    continue
                returns = len(points) > 3 and np.array_equal(points[0], points[-1])
                if kind in _CLOSED or (kind == "OPEN_PLANAR" and returns):
                    contours.setdefault(number, []).append(points)
                else:
                    unfit.setdefault(number, set()).add(kind)
        return [
            Region(
                str(roi.ROIName),
                contours.get(number := int(roi.ROINumber), []),
                tuple(sorted(unfit.get(number, ()))),
            )
            for roi in dataset.get("StructureSetROISequence") or ()
        ]


def _points(contour: pydicom.Dataset) -> np.ndarray:
    """Return a contour's points, N x 3; raises ValueError unless all numbers are finite."""
    element = contour.get_item("ContourData")
    values = ((element and element.value) or b"").rstrip(b" \0")
    # Still as bytes: of each number pydicom would make an object, which took most of the time.
    points = np.array(values.split(b"\\") if values else [], dtype=float).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise ValueError("not finite")
    return points


_NO_AREA = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")  # types of contours, as DICOM names them


def fill_region(region: Region, series: Series, path: Path) -> np.ndarray:
    """Return the voxels of a region, see `rasterise`; raises BadCaseError if it has no area."""
    # Points beside contours mark something; anything else may be a part of the area.
    if region.unfit and (not region.contours or region.unfit != ("POINT",)):
        known = [kind for kind in region.unfit if kind in _NO_AREA] or ["another type"]
        raise BadCaseError(
            f"a region has contours of {', '.join(known)}, which enclose no area: export closed "
            "planar contours (CLOSED_PLANAR)",
            path,
            kind="mask",
        )
    return rasterise(region.contours, series, path)


def rasterise(contours: Sequence[np.ndarray], series: Series, path: Path) -> np.ndarray:
    """Return what contours enclose on a series' grid, bool: slice, row, column.

    A contour belongs to the slice that is nearest; slices between contours stay empty. Of contours
    in one plane, those within others are holes; of planes that share a slice, the areas are united.
    Raises BadCaseError for a contour outside the series or across its slices.
    """
    to_voxel = np.linalg.inv(series.affine) @ TO_RAS
    planes: list[tuple[float, list[np.ndarray]]] = []
    shapes = [contour @ to_voxel[:3, :3].T + to_voxel[:3, 3] for contour in contours]
    for points in sorted(shapes, key=lambda points: points[:, 0].mean()):
        height = float(points[:, 0].mean())
        if np.ptp(points[:, 0]) > 0.5:
            raise BadCaseError(
                "a contour runs across the slices of its images: export planar ones",
                path,
                kind="series",
            )
        # In the slice a contour may run round the border of the image, whose pixels have some
        # width.
        beyond = np.maximum(-points, points - np.array(series.shape) + 1).max(axis=0)
        if beyond[0] > 0.5:
            raise BadCaseError(
                f"a contour lies {beyond[0]:.1f} slices outside the images that it was drawn on: "
                "copy the slices that are missing, or export it without this contour",
                path,
                kind="series",
            )
        if beyond[1:].max() > 1:
            raise BadCaseError(
                f"a contour lies {beyond[1:].max():.0f} pixels outside the border of the images "
                "that it was drawn on: copy the series that it belongs to, or export it within "
                "the images",
                path,
                kind="series",
            )
        if not planes or height - planes[-1][0] > 0.05:
            planes.append((height, []))
        planes[-1][1].append(points[:, 1:])
    mask = np.zeros(series.shape, dtype=bool)
    for height, polygons in planes:
        mask[min(max(round(height), 0), series.shape[0] - 1)] |= fill(polygons, series.shape[1:])
    return mask


def fill(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centres lie inside an odd number of polygons, bool: row, column.

    polygons: N x 2 points (row, column), closed by themselves; whole numbers are pixel centres. So
    a polygon within another one is a hole. A centre right on an upper or left edge counts as
    inside.

    >>> square = np.array([[1, 1], [1, 3], [3, 3], [3, 1]]) - 0.5
    >>> fill([square], (4, 4)).astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    starts = np.concatenate([np.asarray(polygon, dtype=float) for polygon in polygons])
    ends = np.concatenate(
        [np.roll(np.asarray(polygon, dtype=float), -1, axis=0) for polygon in polygons]
    )
    # Where the lines through the pixel centres cross edges; an end point counts for one of its two
    # edges.
    rows = np.arange(shape[0])[:, np.newaxis]
    row, edge = np.nonzero((starts[:, 0] <= rows) != (ends[:, 0] <= rows))
    start, end = starts[edge], ends[edge]
    column = start[:, 1] + (row - start[:, 0]) * (end[:, 1] - start[:, 1]) / (
        end[:, 0] - start[:, 0]
    )
    crossings = np.zeros((shape[0], shape[1] + 1), dtype=int)
    np.add.at(crossings, (row, np.clip(np.ceil(column), 0, shape[1]).astype(int)), 1)
    return np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1


@dataclass(frozen=True)
class DicomStructures(ScanReader):
    """Reader of images with structure sets in any folders; UIDs say what belongs together.

    rois: (class, regular expression) for each class; the regions whose names match are united.
    modality: of the images, as DICOM writes it ("PT" for PET). They are the series that the
    structure set refers to, or the one with the same frame of reference. In the latter case the
    contours are filled on the series that they were drawn on, and a voxel of the image belongs to
    the mask if its centre does: image values are never resampled. The folder below the dataset's
    top that holds the structure set counts as the patient.
    """

    rois: tuple[tuple[str, str], ...]
    modality: str = "PT"

    def find(self, dataset: Dataset) -> tuple[list[Scan], list[Exclusion]]:
        """Return one scan per structure set; reads the header of every DICOM file."""
        series: dict[str, list[Header]] = {}
        sets, scans, exclusions = [], [], []
        damaged: dict[Path, str] = {}  # folder -> name of a file that may be a slice of its series
        for name in walk(dataset.root, dataset.within):
            path = dataset.root / name
            if not is_dicom(path):
                continue
            try:
                header = read_header(path)
            except BadCaseError as error:
                exclusions.append(dataset.exclusion(name, error, name))
                damaged[path.parent] = path.name
                continue
            # Where the end of a file is missing, pydicom reads what there is.
            is_image = header.modality in ("CT", "MR", "PT")
            if not header.series or (is_image and header.size == (0, 0)):
                damaged[path.parent] = path.name
            if header.modality == "RTSTRUCT":
                sets.append(PurePosixPath(name))
            else:
                series.setdefault(header.series, []).append(header)
        # Of a folder with the files of several patients it is unknown whose the damaged one is.
        holding = [(dataset.root / path).parent for path in sets]
        damaged = {folder: name for folder, name in damaged.items() if holding.count(folder) < 2}
        # Folders that hold all structure sets, like the distribution's own top one, tell nothing.
        top = os.path.commonpath([path.parent for path in sets]) if len(sets) > 1 else ""
        sets.sort(key=lambda path: natural(str(_without_suffix(path))))
        names = {path: _without_suffix(path.relative_to(top)) for path in sets}
        patients = [below.parts[0] for below in names.values()]
        for place, below in names.items():
            patient = below.parts[0]
            key = patient if patients.count(patient) == 1 else below.as_posix()
            path = dataset.root / place
            try:
                with reading(path):
                    images, drawn_on = self._find_series(path, series)
                    for header in (*images, *drawn_on):
                        _check_whole(header.path, damaged)
                    grid = make_series(images)
                    source = grid if drawn_on is images else make_series(drawn_on)
            except BadCaseError as error:
                exclusions.append(dataset.exclusion(key, error, path))
                continue
            masks = (path, *(header.path for header in drawn_on if source is not grid))
            scans.append(Scan(key, patient, grid.paths, masks, grid, source))
        return scans, exclusions

    def read_masks(
        self, scan: Scan, grid: Series, classes: Mapping[str, tuple[int, ...]], threshold: int
    ) -> dict[str, np.ndarray]:
        """Return the mask of each class on the images' grid; raises BadCaseError."""
        path, *drawn_on = scan.masks
        source = scan.source or (read_series(drawn_on) if drawn_on else grid)
        rois = read_regions(path)
        patterns = {name: re.compile(pattern, re.I) for name, pattern in self.rois}
        if not any(pattern.fullmatch(roi.name) for pattern in patterns.values() for roi in rois):
            # Their names are not quoted: one may be that of the patient.
            raise BadCaseError(
                f"of {len(rois)} regions none fits "
                f"{' or '.join(repr(pattern) for _, pattern in self.rois)}: look at their names "
                "with `datasets.rtstruct.read_regions`, and give the reader what fits",
                path,
                kind="mask",
            )
        masks = {}
        for name in classes:
            mask = np.zeros(source.shape, dtype=bool)
            for roi in rois:
                if not patterns[name].fullmatch(roi.name):
                    continue
                mask |= fill_region(roi, source, path)
            masks[name] = _resample(mask, source, grid) if drawn_on else mask
        return masks

    def _find_series(
        self, path: Path, series: Mapping[str, list[Header]]
    ) -> tuple[list[Header], list[Header]]:
        """Return the files of the images and of the series that the contours were drawn on."""
        reference = _drawn_on(path, series)
        images = [reference]
        if reference[0].modality != self.modality:
            images = [
                headers
                for headers in series.values()
                if headers[0].modality == self.modality and headers[0].frame == reference[0].frame
            ]
        if len(images) != 1:
            raise BadCaseError(
                f"{len(images)} {self.modality} series share the frame of reference of its images: "
                "exactly one must",
                path,
                kind="series",
            )
        return images[0], reference


def _check_whole(path: Path, damaged: Mapping[Path, str]) -> None:
    """Raise BadCaseError if beside a slice lies a file that may be another one of its series."""
    if path.parent in damaged:
        raise BadCaseError(
            f"{damaged[path.parent]} in its folder cannot be read, which may be a slice of its "
            "series: copy it again, or take it away",
            path,
            kind="series",
        )


def _without_suffix(path: PurePosixPath) -> PurePosixPath:
    """Return a path without DICOM's suffix; what follows the last point may be a part of a UID."""
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path


def _drawn_on(path: Path, series: Mapping[str, list[Header]]) -> list[Header]:
    """Return the files of the one series that a structure set was drawn on; raises BadCaseError.

    It is the series that the set names; where that is not one of these, the one whose images it
    names; where it names neither, the one in its frame of reference.
    """
    uids, frames = read_references(path)
    found = [headers for uid, headers in sorted(series.items()) if uid in uids]
    fact = f"it refers to {len(uids)} series, of which {len(found)} are in this folder"
    if len(found) != 1:
        images = read_referenced_images(path)
        if images:
            holders = [s for s in series.values() if any(h.image in images for h in s)]
            if not uids:
                fact = f"it refers to {len(images)} images, of {len(holders)} series in this folder"
            found = holders if len(holders) == 1 else found
        elif not uids:
            found = [headers for headers in series.values() if headers[0].frame in frames]
            fact = (
                "it refers to no series and no image, and its frame of reference is that of "
                f"{len(found)} series in this folder"
            )
    if len(found) != 1:
        raise BadCaseError(
            f"{fact}: copy the series that the contours were drawn on, and no other one that it "
            "refers to",
            path,
            kind="series",
        )
    return found[0]


def _resample(mask: np.ndarray, source: Series, grid: Series) -> np.ndarray:
    """Return a mask on another grid: what holds at a voxel's centre, outside the source False."""
    to_source = np.linalg.inv(source.affine) @ grid.affine
    values = affine_transform(
        mask.astype(np.uint8),
        to_source[:3, :3],
        to_source[:3, 3],
        output_shape=grid.shape,
        order=0,
        mode="grid-constant",
    )
    return values > 0
