"""Reader of DICOM images with segmentations of 3D Slicer."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np

from ..case import BadCaseError, BadInputError, Exclusion
from .dataset import Dataset
from .dicom import Series, read_header
from .nrrd_file import read_segments
from .pairs import walk
from .reading import reading
from .scans import Scan, ScanReader, files_by_key, onto_grid, pair_up, scans_by_key
from .volumes import relative_path


@dataclass(frozen=True)
class DicomSegments(ScanReader):
    """Reader of image series with segmentations of 3D Slicer (.seg.nrrd), which name their labels.

    images, masks: regular expressions of the files, with a group `key`, see `files_by_key`.
    segments: (class, expression of the file's name, expression of the segment's name) for each
    class. mapping: expression of the name of a CSV file that tells which original file lies where;
    wanted is the series whose original path has the folder `original`. Without the file it is the
    one series with `original` as a word in its description. leave_out: keys that are known to be
    wrong.
    """

    images: str
    masks: str
    segments: tuple[tuple[str, str, str], ...]
    mapping: str
    original: str = "pre"
    leave_out: tuple[str, ...] = ()

    def find(self, dataset: Dataset) -> tuple[list[Scan], list[Exclusion]]:
        """Return the scans: the wanted series of each patient who has a segmentation."""
        masks = files_by_key(dataset, self.masks)
        images = scans_by_key(dataset, self.images)
        exclusions = [
            Exclusion(
                key, "known", relative_path(masks[key][0], dataset), "it is known to be wrong"
            )
            for key in self.leave_out
            if key in masks
        ]
        masks = {key: paths for key, paths in masks.items() if key not in self.leave_out}
        wanted = self._mapped_series(dataset)
        chosen = {}
        for key in images.keys() & masks.keys():
            try:
                chosen[key] = self._choose(images[key], wanted.get(key.lower(), set()))
            except BadCaseError as error:
                path = relative_path(masks.pop(key)[0], dataset)
                exclusions.append(dataset.exclusion(key, error, path))
        # Most patients have images and no segmentation: they are no cases, and are not listed.
        scans, unpaired = pair_up(dataset, chosen, masks)
        return scans, exclusions + unpaired

    def read_masks(
        self, scan: Scan, grid: Series, classes: Mapping[str, tuple[int, ...]], threshold: int
    ) -> dict[str, np.ndarray]:
        """Return the mask of each class on the images' grid; raises BadCaseError."""
        result = {name: np.zeros(grid.shape, dtype=bool) for name in classes}
        found = set()
        for path in scan.masks:
            wanted = {
                c: name for c, file, name in self.segments if re.search(file, path.name, re.I)
            }
            segments, affine = read_segments(path)
            for name, segment in segments.items():
                for class_name, pattern in wanted.items():
                    if re.fullmatch(pattern, name, re.I):
                        result[class_name] |= onto_grid(segment, affine, grid, path)
                        found.add(class_name)
            if missing := wanted.keys() - found:
                names = ", ".join(map(repr, segments))
                raise BadCaseError(
                    f"no segment of {sorted(missing)[0]!r} among {names}: rename it",
                    path,
                    kind="mask",
                )
        if missing := result.keys() - found:
            raise BadCaseError(
                f"no file of {sorted(missing)[0]!r}: copy it there",
                scan.masks[0].parent,
                kind="mask",
            )
        return result

    def _choose(self, paths: list[Path], wanted: set[str]) -> list[Path]:
        """Return the files of the wanted series; raises BadCaseError unless there is one."""
        # One header per folder is enough: a download has a folder per series.
        folders = {
            parent: list(files) for parent, files in groupby(paths, key=lambda path: path.parent)
        }
        headers = {parent: read_header(files[0]) for parent, files in folders.items()}
        if wanted:
            matching = [parent for parent, header in headers.items() if header.series in wanted]
            why = (
                f"{len(matching)} series are the one that the mapping file calls {self.original!r}"
            )
        else:
            word = re.compile(rf"\b{self.original}\b", re.I)
            matching = [
                parent for parent, header in headers.items() if word.search(header.description)
            ]
            why = f"{len(matching)} series have the word {self.original!r} in their description"
        if len(matching) != 1:
            raise BadCaseError(
                f"{why}, of {len(folders)}: copy the collection's mapping file "
                "(as CSV) beside the images, and the series that are missing",
                paths[0].parent.parent,
                kind="series",
            )
        return folders[matching[0]]

    def _mapped_series(self, dataset: Dataset) -> dict[str, set[str]]:
        """Return the SeriesInstanceUIDs of the wanted series per key (lower case)."""
        wanted: dict[str, set[str]] = {}
        # It may lie beside the top folders that the dataset is restricted to.
        beside = (path.name for path in dataset.root.iterdir() if path.is_file())
        for path in {*walk(dataset.root, dataset.within), *beside}:
            if not re.fullmatch(self.mapping, PurePosixPath(path).name, re.I):
                continue
            table = dataset.root / path
            with reading(table), table.open(newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file)
                if missing := {"original_path_and_filename", "classic_path"} - set(
                    rows.fieldnames or ()
                ):
                    raise BadInputError(
                        f"{path}: no column {sorted(missing)[0]!r}: save the original table as CSV"
                    )
                for row in rows:
                    original = [
                        part.lower() for part in re.split(r"/+", row["original_path_and_filename"])
                    ]
                    if self.original in original[1:-1]:
                        patient = original[original.index(self.original) - 1]
                        wanted.setdefault(patient, set()).add(
                            PurePosixPath(row["classic_path"]).parent.name
                        )
        return wanted
