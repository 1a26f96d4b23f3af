"""What listing costs beside loading, and how much memory reading takes.

Listing for the first time, listing again (nothing has changed, so it comes from the cache) and loading every
case, in turns; medians of processor time, one thread. Quote the ratios, not the times:

    python benchmarks/reading.py [--volumes 100] [--turns 3]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import nibabel
import numpy as np

from medsam_utils import DATASETS
from medsam_utils.datasets import listings, scans, volumes
from medsam_utils.datasets.phantoms.dicom_files import middle_corner, save_series, save_structures

DISTINCT = 4
"""So many NIfTI volumes are drawn; the others are links to them, under names of their own."""


def drawn(shape: tuple[int, int, int], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy int16 volume with one object in the middle half of its slices, and the object; slices first."""
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
        save_series(place / "GT" / "prostate", names, masks, spacing, f"1.3.{number}", modality="OT")


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
        save_structures(place / "RS.dcm", f"1.5.{number}", series, frame, series, [("Tumor", contours)])


KINDS = {
    "NIfTI, 60 slices of 256 x 256": ("mri_heart", write_nifti, (60, 256, 256), 1.0),
    "NIfTI, 11 slices of 160 x 160": ("mri_heart", write_nifti, (11, 160, 160), 1.0),
    "DICOM and RTSTRUCT, 40 slices of 128 x 128": ("pet_liver", write_structures, (40, 128, 128), 0.2),
    "DICOM mask series, 30 slices of 256 x 256": (
        "mri_prostate_i2cvb",
        write_mask_series,
        (30, 256, 256),
        0.2,
    ),
}
"""Entry, writer, shape, and the share of the volumes asked for: DICOM takes its time."""


def seconds(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def measure(root: Path, kind: str, count: int, turns: int) -> str:
    """Return a line of the table: listing for the first time and again, and loading all cases."""
    name, write, shape, share = KINDS[kind]
    count = max(2, round(count * share))
    write(root, count, shape)
    dataset, times = replace(DATASETS[name], root=root), []
    for _ in range(turns):
        shutil.rmtree(os.environ["MEDSAM_CACHE"], ignore_errors=True)
        first, again = seconds(dataset.list), seconds(dataset.list)
        references = dataset.list().references
        volumes._last.clear()
        scans._read_together.cache_clear()
        times.append((first, again, seconds(lambda cases=references: [dataset.load(r) for r in cases])))
    first, again, load = map(statistics.median, zip(*times, strict=True))
    return (
        f"{kind:44} {count:7} {len(references):6} {first:9.3f} {again:9.4f} {load:9.2f} "
        f"{load / first:8.1f} {load / again:8.0f}"
    )


def memory(field: str) -> int:
    """Return VmRSS (now) or VmHWM (peak) of this process in MB; getrusage counts the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) // 1024


def peak(root: Path, volumes: int) -> tuple[int, int]:
    """Write volumes of 120 slices and read them in a process of their own; returns MB before and peak."""
    write_nifti(root, volumes, (120, 256, 256))
    command = [sys.executable, __file__, "--peak-of", str(root)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(int(number) for number in output.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--volumes", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true", help="measure times only")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        dataset, before = replace(DATASETS["mri_heart"], root=options.peak_of), memory("VmRSS")
        for reference in dataset.list().references:
            dataset.load(reference)
        print(before, memory("VmHWM"))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDSAM_CACHE"] = f"{folder}/cache"
        listings.SETTLED = -1  # of files just written, no listing would be kept
        columns = ("volumes", "cases", "list, s", "again, s", "load, s", "load/list", "load/again")
        print("{:44} {:>7} {:>6} {:>9} {:>9} {:>9} {:>8} {:>8}".format("", *columns))
        for number, kind in enumerate(KINDS):
            print(measure(Path(folder) / str(number), kind, options.volumes, options.turns), flush=True)
        if options.no_memory:
            return
        print("peak memory of reading volumes of 256 x 256 x 120, and that of it before the first one:")
        (few_before, few), (many_before, many) = (
            peak(Path(folder) / "few", 2),
            peak(Path(folder) / "many", 40),
        )
        print(f"2 volumes {few} MB ({few_before}), 40 volumes {many} MB ({many_before}):", end=" ")
        print(f"{100 * (many / few - 1):+.1f} %, without imports", end=" ")
        print(f"{100 * ((many - many_before) / (few - few_before) - 1):+.1f} %")


if __name__ == "__main__":
    main()
