"""Where the measured tables go: printed, and written as Markdown and CSV beside the benchmarks."""

import importlib.metadata
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent / "measured"
PACKAGES = ("torch", "numpy", "opencv-python-headless", "segment-anything")


def machine() -> str:
    """Date, processor, cores and versions, on which every time depends."""
    cpuinfo = Path("/proc/cpuinfo")  # Linux; elsewhere Python knows the processor's name
    model = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    facts = [
        model[1] if model else platform.processor(),
        f"{os.cpu_count()} cores",
        f"{platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}",
        *(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES),
    ]
    return f"{datetime.now(UTC):%Y-%m-%d} on {', '.join(facts)}"


def write(name: str, title: str, table: pd.DataFrame) -> None:
    """Print a table, and keep it as measured/name.md and measured/name.csv."""
    lines = [table.columns, ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    text = f"{title}. Measured {machine()}.\n\n{body}\n"
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.md").write_text(text)
    table.to_csv(FOLDER / f"{name}.csv", index=False)
    print(text, flush=True)
