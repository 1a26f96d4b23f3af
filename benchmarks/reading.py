"""What listing costs beside loading, and how much memory reading takes, on volumes of realistic size.

Processor time, one thread; quote the ratios, not the times:

    python benchmarks/reading.py [--volumes 100] [--slices 60]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from medsam_utils import DATASETS

DISTINCT = 4
"""So many volumes are drawn; the others are links to them, under names of their own."""


def write(root: Path, volumes: int, slices: int, side: int = 256) -> None:
    """Noisy int16 volumes with one object in the middle half of the slices, gzipped, as Decathlon Task02."""
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (side, side, slices)), indexing="ij", sparse=True)
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir()
    for number in range(volumes):
        for part in ("imagesTr", "labelsTr"):
            path = root / part / f"la_{number:03d}.nii.gz"
            if number >= DISTINCT:
                path.hardlink_to(root / part / f"la_{number % DISTINCT:03d}.nii.gz")
                continue
            label = x**2 + y**2 + z**2 < 0.25 + 0.05 * np.sin(9 * x + 7 * y + number)
            values = label.astype(np.uint8)
            if part == "imagesTr":
                body = 300 * np.exp(-(x**2) - y**2) + 60 * label
                values = (body + rng.normal(0, 12, label.shape)).astype(np.int16)
            nibabel.Nifti1Image(values, np.diag([1.25, 1.25, 3, 1])).to_filename(path)


def seconds(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def memory(field: str) -> int:
    """Return VmRSS (now) or VmHWM (peak) of this process in MB; getrusage counts the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) // 1024


def peak(root: Path, volumes: int) -> tuple[int, int]:
    """Write volumes of 120 slices and read them in a process of their own; returns MB before and peak."""
    root.mkdir()
    write(root, volumes, 120)
    command = [sys.executable, __file__, "--peak-of", str(root)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(int(number) for number in output.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--volumes", type=int, default=100)
    parser.add_argument("--slices", type=int, default=60)
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        dataset, before = replace(DATASETS["mri_heart"], root=options.peak_of), memory("VmRSS")
        for reference in dataset.list().references:
            dataset.load(reference)
        print(before, memory("VmHWM"))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "speed"
        root.mkdir()
        write(root, options.volumes, options.slices)
        dataset = replace(DATASETS["mri_heart"], root=root)
        listing = statistics.median(seconds(dataset.list) for _ in range(3))
        loading = seconds(lambda: [dataset.load(reference) for reference in dataset.list().references])
        loading -= listing
        print(f"{options.volumes} volumes of 256 x 256 x {options.slices}, half of the slices labelled:")
        print(f"listing {listing:.2f} s, loading {loading:.2f} s: {loading / listing:.0f} times as long")
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
