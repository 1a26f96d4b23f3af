"""What listing costs beside loading, and how much memory reading takes.

Listing for the first time, listing again (nothing has changed, so it comes from the cache) and
loading every case, in turns; medians of processor time, one thread. Quote the ratios, not the
times:

    python benchmarks/reading.py [--volumes 40] [--turns 3]

The tables are printed, and written to benchmarks/measured as Markdown and CSV.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pandas as pd
from report import write

from medsam_utils import DATASETS
from medsam_utils.datasets import listings, scans, volumes
from medsam_utils.demo.phantoms.dicom_files import middle_corner, save_series, save_structures
from medsam_utils.run_record import peak_memory

DISTINCT = 4
"""So many NIfTI volumes are drawn; the others are links to them, under names of their own."""


def drawn(shape: tuple[int, int, int], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy int16 volume with one object in the middle half of its slices, and the object; slices
    first."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    label = x**2 + y**2 + z**2 < 0.25 + 0.05 * np.sin(9 * x + 7 * y + number)
    noise = np.random.default_rng(number).normal(0, 12, shape)
    return (300 * np.exp(-(x**2) - y**2) + 60 * label + noise + 60).astype(np.int16), label


def write_nifti(root: Path, count: int, shape: tuple[int, int, int]) -> None:
    """Gzipped, as Decathlon Task02."""
    parts = root / "imagesTr", root / "labelsTr"
    for part in parts:
        part.mkdir(parents=True)
    for number in range(count):
        name = f"la_{number:03d}.nii.gz"
        if number >= DISTINCT:
            for part in parts:
                (part / name).hardlink_to(part / f"la_{number % DISTINCT:03d}.nii.gz")
            continue
        image, label = drawn(shape, number)
        for part, values in zip(parts, (image, label.astype(np.uint8)), strict=True):
            nibabel.Nifti1Image(values.T, np.diag([1.25, 1.25, 3, 1])).to_filename(part / name)


def write_mask_series(root: Path, count: int, shape: tuple[int, int, int]) -> None:
    """A DICOM series of images and one of masks for each volume, as I2CVB."""
    spacing, names = (3, 1.25, 1.25), [f"{n}.dcm" for n in range(shape[0])]
    for number in range(count):
        place, (image, label) = root / "GE" / f"Patient {number}", drawn(shape, number % DISTINCT)
        save_series(place / "T2W", names, image, spacing, f"1.2.{number}")
        masks = label.astype(np.uint8) * 255
        save_series(
            place / "GT" / "prostate", names, masks, spacing, f"1.3.{number}", modality="OT"
        )


def write_structures(root: Path, count: int, shape: tuple[int, int, int]) -> None:
    """A DICOM series with contours (RTSTRUCT) for each volume, as PET-Liver."""
    spacing, names = np.array([3.0, 2, 2]), [f"{n}.dcm" for n in range(shape[0])]
    corner = np.array(middle_corner(shape, tuple(spacing)))
    for number in range(count):
        place, (image, label) = root / f"P{number}", drawn(shape, number % DISTINCT)
        series, frame = f"1.2.{number}", f"1.4.{number}"
        uids = save_series(place, names, image, tuple(spacing), series, modality="PT", frame=frame)
        contours = []
        for index, mask in enumerate(label.astype(np.uint8)):
            for outline in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
                points = np.insert(outline[:, 0].astype(float), 2, index, axis=1)
                contours.append((corner + points * spacing[::-1], uids[index]))
        save_structures(
            place / "RS.dcm", f"1.5.{number}", series, frame, series, [("Tumor", contours)]
        )


KINDS = {
    "NIfTI, 60 slices of 256 x 256": ("mri_heart", write_nifti, (60, 256, 256), 1.0),
    "NIfTI, 11 slices of 160 x 160": ("mri_heart", write_nifti, (11, 160, 160), 1.0),
    "DICOM and RTSTRUCT, 40 slices of 128 x 128": (
        "pet_liver",
        write_structures,
        (40, 128, 128),
        0.2,
    ),
    "DICOM mask series, 30 slices of 256 x 256": (
        "mri_prostate_i2cvb",
        write_mask_series,
        (30, 256, 256),
        0.2,
    ),
}
"""Entry, writer, shape, and the share of the volumes asked for: DICOM takes its time."""


def seconds(function: Callable) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def measure(root: Path, kind: str, count: int, turns: int) -> dict[str, str | float]:
    """A line of the table: listing for the first time and again, and loading all cases."""
    name, write_files, shape, share = KINDS[kind]
    count = max(2, round(count * share))
    write_files(root, count, shape)
    dataset, times = replace(DATASETS[name], root=root), []
    for _ in range(turns):
        shutil.rmtree(os.environ["MEDSAM_CACHE"], ignore_errors=True)
        first, again = seconds(dataset.list), seconds(dataset.list)
        references = dataset.list().references
        volumes._last.clear()
        scans._read_scan.cache_clear()
        times.append(
            (first, again, seconds(lambda cases=references: [dataset.load(r) for r in cases]))
        )
    first, again, load = map(statistics.median, zip(*times, strict=True))
    return {
        "files": kind,
        "volumes": count,
        "cases": len(references),
        "list, s": round(first, 3),
        "again, s": round(again, 4),
        "load, s": round(load, 2),
        "load / list": round(load / first, 1),
        "load / again": round(load / again),
    }


def peak(root: Path, count: int) -> dict[str, int]:
    """Peak memory of reading volumes of 120 slices, in a process of its own."""
    write_nifti(root, count, (120, 256, 256))
    command = [sys.executable, __file__, "--peak-of", str(root)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    before, most = (int(number) for number in output.split())
    return {"volumes": count, "before, MiB": before, "peak, MiB": most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--volumes", type=int, default=40)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        dataset, before = replace(DATASETS["mri_heart"], root=options.peak_of), peak_memory()
        for reference in dataset.list().references:
            dataset.load(reference)
        print(before, peak_memory())
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDSAM_CACHE"] = f"{folder}/cache"
        listings.SETTLED = -1  # of files just written, no listing would be kept
        lines = [
            measure(Path(folder) / str(number), kind, options.volumes, options.turns)
            for number, kind in enumerate(KINDS)
        ]
        write("reading", "Listing and loading, processor time, one thread", pd.DataFrame(lines))
        peaks = [peak(Path(folder) / f"peak {count}", count) for count in (2, 40)]
        write("reading_memory", "Memory of reading volumes of 256 x 256 x 120", pd.DataFrame(peaks))


if __name__ == "__main__":
    main()
