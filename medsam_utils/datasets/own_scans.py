"""Reader of DICOM series of an own folder, with masks of any volume format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..case import BadCaseError, Exclusion
from .by_name import ByName
from .dataset import Dataset
from .dicom import Series, is_dicom, read_header
from .dicom_segments import read_dicom_segments
from .mask_files import set_into
from .masks import ANY_VALUE, Asked, Label, Marks, Meaning, class_masks
from .rtstruct import fill_region, read_regions
from .scans import Scan, ScanReader, onto_grid
from .volume_files import Volume
from .volumes import read_marks


@dataclass(frozen=True, kw_only=True)
class OwnScans(ScanReader):
    """Reader of DICOM series, a folder each, with masks as volumes, DICOM SEG or RTSTRUCT.

    mask_kind, ignore, threshold: as of a `Dataset`. Ignored values are refused: a scan's case has
    no place for them.
    """

    pairs: ByName
    mask_kind: str = ""
    ignore: tuple[int, ...] = ()
    threshold: int | None = None

    def find(self, dataset: Dataset) -> tuple[list[Scan], list[Exclusion]]:
        """Return the scans by their folders' names; opens no volume."""
        pairs, exclusions = self.pairs.find(dataset.root)
        return [Scan(p.key, p.patient, p.images, p.masks) for p in pairs], exclusions

    def read_marks(self, dataset: Dataset, path: Path) -> Marks:
        """Read a mask file as what it means in a dataset; raises BadCaseError."""
        if is_dicom(path):
            is_contours = read_header(path).modality == "RTSTRUCT"
            regions = [region.name for region in read_regions(path)] if is_contours else []
            names = regions or list(read_dicom_segments(path))
            numbers = {name: number for number, name in enumerate(names, 1)}
            return Marks(np.zeros(1, np.uint8), Meaning("labels"), None, numbers)
        return read_marks(dataset, path)[1]

    def read_masks(
        self, scan: Scan, grid: Series, classes: Mapping[str, tuple[Label, ...]], threshold: int
    ) -> dict[str, np.ndarray]:
        """Return the mask of each class on the images' grid; raises BadCaseError."""
        found = {name: np.zeros(grid.shape, dtype=bool) for name in classes}
        for path in scan.masks:
            if is_dicom(path):
                here = self._read_named(path, grid, classes)
            else:
                here = self._read_volume(path, grid, classes, threshold)
            for name, mask in here.items():
                found[name] |= mask
        return found

    def _read_volume(
        self, path: Path, grid: Series, classes: Mapping[str, tuple[Label, ...]], threshold: int
    ) -> dict[str, np.ndarray]:
        asked = Asked(classes, self.mask_kind, self.ignore, self.threshold, threshold)
        volume, marks = read_marks(asked, path)
        if marks.ignored is not None:
            raise BadCaseError(
                "it holds a value that is neither object nor background, which is not read beside "
                'DICOM images: say classes={"name": value} and ignore none, or convert the images',
                path,
                kind="mask",
            )
        image = Volume(np.broadcast_to(False, grid.shape), grid.affine)
        masks = {}
        for name, mask in class_masks(marks, classes, threshold, path).items():
            placed = set_into(Volume(mask, volume.affine), image)
            masks[name] = onto_grid(placed.values, placed.affine, grid, path)
        return masks

    def _read_named(
        self, path: Path, grid: Series, classes: Mapping[str, tuple[Label, ...]]
    ) -> dict[str, np.ndarray]:
        """Return the masks of classes that are given by the names of regions or segments."""
        is_contours = read_header(path).modality == "RTSTRUCT"
        regions = {region.name: region for region in read_regions(path)} if is_contours else {}
        segments = {} if is_contours else read_dicom_segments(path, grid)
        masks = {}
        for name, labels in classes.items():
            names = list(regions or segments)
            if labels != ANY_VALUE and not any(isinstance(label, str) for label in labels):
                raise BadCaseError(
                    f"its regions are {', '.join(map(repr, names))}: give classes by these names",
                    path,
                    kind="mask",
                )
            masks[name] = np.zeros(grid.shape, bool)
            for label in [one for one in names if labels == ANY_VALUE or one in labels]:
                is_region = label in regions
                found = fill_region(regions[label], grid, path) if is_region else segments[label]
                masks[name] |= found
        return masks
