"""What workers gain, that cost is linear in cases and memory flat; wall time, on phantom images of
256 px.

    python benchmarks/scale.py [--workers 0 2 4] [--cases 50 500 2000] [--repeats 3]

The tables are printed, and written to benchmarks/measured as Markdown and CSV.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from loop import released
from report import write

from medsam_utils import evaluate, load_folder, load_model
from medsam_utils.workers import executor_for, single_threaded

RELEASED = "the released code's loop"
DISTINCT = 16
"""So many images are drawn; the others are links to them, under names of their own."""


def images(root: Path, cases: int, side: int = 256) -> Path:
    """A folder of noisy images with one bright ellipse each, and their masks."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for i in range(cases):
        files = [root / part / f"{i:05d}.png" for part in ("images", "masks")]
        if i >= DISTINCT:
            for file in files:
                file.hardlink_to(file.with_name(f"{i % DISTINCT:05d}.png"))
            continue
        mask = np.zeros((side, side), np.uint8)
        cv2.ellipse(
            mask, (side // 2, side // 3), (side // 5, side // 8 + i), 20 * i, 0, 360, 255, -1
        )
        image = rng.normal(70, 15, (side, side)) + mask / 4
        for file, values in zip(files, (image.clip(0, 255).astype(np.uint8), mask), strict=True):
            cv2.imwrite(str(file), values)
    return root


def by_workers(root: Path, workers: list[int], repeats: int) -> pd.DataFrame:
    """Seconds of the same run on so many processes and on Dask, interleaved; the workers are up
    before.

    The released code's loop runs beside them in this process, with as many threads as torch takes
    by itself. Raises ValueError if the rows of ours are not the same bytes.
    """
    from distributed import LocalCluster

    dataset, model = load_folder(root, name="bench"), load_model("sam_small", device="cpu")
    with ExitStack() as stack:
        executors = {
            f"{n} process{'es' * (n > 1)}" if n else "this process": stack.enter_context(
                executor_for(n)
            )
            for n in workers
        }
        cluster = stack.enter_context(LocalCluster(2, threads_per_worker=1, dashboard_address=None))
        executors["by itself"] = "auto"
        executors["2 Dask workers"] = stack.enter_context(
            executor_for(scheduler=cluster.scheduler_address)
        )
        times, contents = {name: [] for name in (RELEASED, *executors)}, set()
        exact, threads = load_model("sam_small", device="cpu", exact=True), torch.get_num_threads()
        for repeat in range(repeats + 1):
            torch.set_num_threads(os.cpu_count())
            start = time.perf_counter()
            for reference in dataset.list().references:
                released(exact, dataset.load(reference), 9)
            if repeat:
                times[RELEASED].append(time.perf_counter() - start)
            torch.set_num_threads(threads)
            for name, executor in executors.items():
                start = time.perf_counter()
                rows = evaluate(dataset, model, executor=executor)
                if repeat:  # in the first round every worker loads the model
                    times[name].append(time.perf_counter() - start)
                rows.attrs = {}  # the record of the run, which tells when
                contents.add(rows.to_parquet())
    if len(contents) > 1:
        raise ValueError(f"{len(contents)} different tables of rows from the same run")
    seconds = {name: statistics.median(values) for name, values in times.items()}
    one = seconds["this process"]
    return pd.DataFrame(
        [
            {
                "on": name,
                "s": round(s, 1),
                "ms per case": round(1000 * s / rows["case_id"].nunique(), 1),
                "times as fast as this process": round(one / s, 2),
            }
            for name, s in seconds.items()
        ]
    )


def one_run(root: Path) -> None:
    """Evaluate a folder, and print what its record says."""
    single_threaded()
    dataset, model = load_folder(root, name="bench"), load_model("sam_small", device="cpu")
    rows = evaluate(dataset, model, clicks=3, store=root / "store")
    print(
        json.dumps(
            {
                key: rows.attrs["record"][key]
                for key in ("cases", "seconds", "peak_memory", "stages")
            }
        )
    )


def by_cases(folder: Path, numbers: list[int]) -> pd.DataFrame:
    """Seconds and peak memory of runs over so many cases, each in a process of its own."""
    records = []
    for number in numbers:
        command = [sys.executable, __file__, "--run", str(images(folder / str(number), number))]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        record = json.loads(output.splitlines()[-1])
        stages = {f"{stage}, s": round(seconds, 1) for stage, seconds in record["stages"].items()}
        records.append(
            {
                "cases": number,
                "s": round(record["seconds"], 1),
                "ms per case": round(1000 * record["seconds"] / number, 1),
                "peak memory, MiB": record["peak_memory"],
                **stages,
            }
        )
    return pd.DataFrame(records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2, 4])
    parser.add_argument("--cases", type=int, nargs="+", default=[50, 500, 2000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        one_run(options.run)
        return
    single_threaded()
    with tempfile.TemporaryDirectory() as folder:
        table = by_cases(Path(folder), options.cases)
        write("cases", "Number of cases, three clicks, sam_small, one thread", table)
        root = images(Path(folder) / "workers", 128)
        table = by_workers(root, options.workers, options.repeats)
        write("workers", "Workers, 128 cases, nine clicks, sam_small", table)


if __name__ == "__main__":
    main()
