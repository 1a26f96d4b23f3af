"""Where the measured tables go: printed, and written as Markdown and CSV beside the benchmarks."""

import importlib.metadata
import os
import platform
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent / "measured"
PACKAGES = ("torch", "numpy", "opencv-python-headless", "segment-anything")


def machine() -> str:
    """Number of cores and versions, on which every time depends."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}"


def write(name: str, title: str, table: pd.DataFrame) -> None:
    """Print a table, and keep it as measured/name.md and measured/name.csv."""
    lines = [table.columns, ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    text = f"{title}. Measured on {machine()}.\n\n{body}\n"
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.md").write_text(text)
    table.to_csv(FOLDER / f"{name}.csv", index=False)
    print(text)
