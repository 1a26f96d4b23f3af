"""Masks as COCO's compressed run lengths: what pages, sessions and annotation files hold."""

from __future__ import annotations

import numpy as np

from ...case import BadInputError
from ...machine import over_limit


def run_lengths(mask: np.ndarray) -> str:
    """COCO's compressed run lengths of a bool mask, H x W, read column by column.

    Each count is written as the difference to the one before the last, five bits to a character.

    >>> run_lengths(np.array([[False, True], [True, True]]))
    '13'
    """
    flat = np.concatenate([[False], mask.ravel(order="F")])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(ends, prepend=0, append=mask.size)
    counts[3:] -= counts[1:-2].copy()
    text = []
    for value in counts.tolist():
        more = True
        while more:
            part, value = value & 31, value >> 5
            more = value != (-1 if part & 16 else 0)
            text.append(chr(48 + part + 32 * more))
    return "".join(text)


def from_run_lengths(text: str, shape: tuple[int, int]) -> np.ndarray:
    """The mask, bool H x W, of what `run_lengths` wrote.

    Raises BadInputError if the counts are damaged, or do not fill the shape, and for a mask that is
    larger than one file may be.

    >>> from_run_lengths("13", (2, 2)).tolist()
    [[False, True], [True, True]]
    """
    size = shape[0] * shape[1]
    if fact := over_limit(8 * size):
        raise BadInputError(f"a mask of {shape[0]} x {shape[1]} pixels: {fact}")
    counts: list[int] = []
    value, shift, damaged = 0, 0, False
    for character in text:
        part = ord(character) - 48
        damaged |= not 0 <= part < 64 or shift > 60
        if damaged:
            break
        value |= (part & 31) << shift
        shift += 5
        if not part & 32:
            value -= (part & 16) << (shift - 4)  # the sign
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if damaged or shift or sum(counts) != size or min(counts, default=0) < 0:
        raise BadInputError(
            f"run lengths that do not fill {shape[0]} x {shape[1]} pixels: save them again"
        )
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(shape, order="F")
