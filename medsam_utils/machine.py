"""What of this machine a run may use: cores and memory."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

MAX_GIB = 4  # that one file may take; more is needed by no dataset or model of the registries
_GROUP = Path("/sys/fs/cgroup")  # limits of a container, where the system is Linux


def cores() -> int:
    """Return how many processes may compute at a time.

    That is MEDSAM_WORKERS where the environment has it; else the cores that this process may run
    on, at most OMP_NUM_THREADS, and not more than a container is granted.
    """
    if wanted := _number("MEDSAM_WORKERS"):
        return wanted
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS and Windows
    granted = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    limits = [granted, _number("OMP_NUM_THREADS") or granted]
    quota, _, period = _read_text(_GROUP / "cpu.max").partition(" ")
    if quota.isdigit():
        limits.append(max(1, round(int(quota) / int(period))))
    return min(limits)


def free_memory() -> int | None:
    """Return the memory that processes can still take, in MiB; None if the system does not tell."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", _read_text(Path("/proc/meminfo")))
    if not found:
        return None
    limits = [int(found[1]) >> 10]
    most, taken = (_read_text(_GROUP / f"memory.{name}") for name in ("max", "current"))
    if most.isdigit() and taken.isdigit():
        limits.append(max(0, int(most) - int(taken)) >> 20)
    return min(limits)


def over_limit(needed: float) -> str:
    """Return what to say of a file that declares so many bytes, nothing if they are few enough.

    One file may take MEDSAM_MAX_GIB GiB of memory, or of what it is unpacked to; 4 by default.
    """
    limit, gibibytes = _number("MEDSAM_MAX_GIB") or MAX_GIB, min(float(needed), 1e18) / 2**30
    if gibibytes <= limit:
        return ""
    return (
        f"it declares {gibibytes:.1f} GiB, and one file may take {limit}: if it is not damaged, "
        f"set MEDSAM_MAX_GIB={math.ceil(gibibytes)}"
    )


def _number(name: str) -> int:
    """Return a number of the environment, 0 where there is none."""
    value = os.environ.get(name, "").split(",")[0]  # OMP_NUM_THREADS may have one per level
    return int(value) if value.isdigit() else 0


def _read_text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
