"""What became of a damaged input: refused, the same as before, or one of the faults."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from medsam_utils.case import BadInputError

HANG = 20  # seconds that one input may take
MEMORY = 5 << 20  # KiB that this process may hold at its peak: the limit of one file, and itself

FREE = ("no checksum", "hostile")
"""Ends of kinds in which other values may be read, as nothing in the format tells them."""

Trial = tuple[str, Callable[[], Any], Callable[[Any], bool]]
"""One input: its kind, what reads it, and whether what was read is what the whole file says."""


class HangError(BaseException):
    """Reading takes more than HANG seconds; no `except Exception` stops it."""


def outcome(read: Callable[[], Any], is_same: Callable[[Any], bool]) -> str:
    """Return "refused", "same", "changed", "hang", "memory" or the name of a plain exception."""
    _reset_peak()
    try:
        with _limited():
            result = read()
    except BadInputError:
        found = "refused"
    except HangError:
        found = "hang"
    except Exception as error:
        found = f"plain {type(error).__name__}"
    else:
        found = "same" if is_same(result) else "changed"
    return "memory" if _peak() > MEMORY else found


def run(
    areas: dict[str, Callable[[np.random.Generator, Path], Iterator[Trial]]],
    folder: Path,
    seed: int,
    seconds: float = np.inf,
    trials: float = np.inf,
) -> dict[str, Counter[str]]:
    """Try areas in turn until the time or the number of trials is over; counts by outcome.

    An area makes its trials, without end, from a random generator and a folder of its own.
    """
    counts: dict[str, Counter[str]] = {}
    making = {}
    for name, make in areas.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        making[name] = make(np.random.default_rng(seed), folder / name)
    end = time.monotonic() + seconds
    while time.monotonic() < end and sum(map(Counter.total, counts.values())) < trials:
        for name, made in making.items():
            kind, read, is_same = next(made)
            counts.setdefault(f"{name}, {kind}", Counter())[outcome(read, is_same)] += 1
    return counts


def faults(counts: dict[str, Counter[str]], undetectable: set[str]) -> dict[str, dict[str, int]]:
    """Return the counts that must be zero, by area and kind.

    undetectable: where other values may be read, as the format has no checksum; besides what ends
    on one of FREE.
    """
    bad = {}
    for kind, outcomes in counts.items():
        is_free = kind in undetectable or kind.endswith(FREE)
        allowed = {"refused", "same"} | ({"changed"} if is_free else set())
        if found := {name: count for name, count in outcomes.items() if name not in allowed}:
            bad[kind] = found
    return bad


def damage(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return how a file was damaged, and the damaged file."""
    kind = str(rng.choice(["bit", "bit", "cut", "zeros", "extreme", "insert", "copy", "swap"]))
    place = int(rng.integers(len(content)))
    length = int(rng.integers(1, 64))
    head, middle, tail = content[:place], content[place : place + length], content[place + length :]
    if kind == "bit":
        return kind, head + bytes([content[place] ^ 1 << rng.integers(8)]) + content[place + 1 :]
    if kind == "cut":
        return kind, head
    if kind == "zeros":  # as a loss of power leaves it
        return kind, head + bytes(len(content) - place)
    if kind == "extreme":
        size = int(rng.choice([1, 2, 4, 8]))
        value = rng.choice([0, 1, 0x7F, 0x80, 0xFF], 1).astype(np.uint8).tobytes()
        return kind, head + value * size + content[place + size :]
    if kind == "insert":
        return kind, head + rng.bytes(length) + content[place:]
    if kind == "copy":
        return kind, head + middle * int(rng.integers(2, 50)) + tail
    other = int(rng.integers(len(content)))
    return kind, head + content[other : other + length] + tail


@contextmanager
def _limited() -> Iterator[None]:
    """Raise HangError after HANG seconds."""

    def stop(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Return the most memory that this process has held since `_reset_peak`, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
