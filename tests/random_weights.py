"""Weights drawn at random, which two programs can draw alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def random_weights(shapes: Mapping[str, tuple[int, ...]], wide: str = "") -> dict[str, np.ndarray]:
    """Weights by name for {name: shape}; nothing in the network is neutral.

    wide: part of the names whose values spread over 1 instead of 0.1.
    """
    rng, state = np.random.default_rng(0), {}
    for name in sorted(shapes):
        shape = shapes[name]
        if len(shape) > 1 and name.endswith("weight"):
            state[name] = rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        elif name.endswith("weight"):
            state[name] = rng.uniform(0.5, 1.5, shape)
        else:
            state[name] = rng.standard_normal(shape) * (1 if wide and wide in name else 0.1)
    return state
