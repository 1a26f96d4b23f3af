"""Solids in a volume: where each voxel lies, bent a little, and what is inside an ellipsoid or a
tube."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from .drawing import field


class Space:
    """Coordinates of the voxels in mm: x to the patient's left, y to posterior, z to superior.

    shape and spacing: (slice, row, column); centre: (x, y, z) of the volume's middle; bend: by how
    many mm the solids are bent, in waves of `wave` mm: nobody is made of ellipsoids. `axes` are not
    bent.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int, int],
        spacing: tuple[float, float, float],
        centre: tuple[float, float, float] = (0, 0, 0),
        bend: float = 3.5,
        wave: float = 18,
    ):
        self.rng, self.shape, self.spacing = rng, shape, spacing
        self.axes = [
            (np.arange(n, dtype=np.float32) - (n - 1) / 2) * step + middle
            for n, step, middle in zip(shape, spacing, centre[::-1], strict=True)
        ]
        self.z, self.y, self.x = (
            axis + np.float32(bend) * self.noise(wave)
            for axis in np.meshgrid(*self.axes, indexing="ij")
        )

    def noise(self, size: float) -> np.ndarray:
        """Return smooth noise of standard deviation 1; size: its coarseness in mm."""
        return field(self.rng, self.shape, tuple(size / step for step in self.spacing)).astype(
            np.float32
        )

    def ellipsoid(
        self, centre: Sequence[float], radii: Sequence[float], power: float = 2.0
    ) -> np.ndarray:
        """Return a distance that is below 1 inside; centre, radii: (x, y, z) in mm; power 2 is
        round."""
        return sum(
            np.abs((axis - c) / r) ** power
            for axis, c, r in zip((self.x, self.y, self.z), centre, radii, strict=True)
        )

    def inside(
        self, centre: Sequence[float], radii: Sequence[float], power: float = 2.0
    ) -> np.ndarray:
        """Return what is inside an ellipsoid, bool."""
        return self.ellipsoid(centre, radii, power) < 1

    def tube(self, points: Sequence[Sequence[float]], radii: float | Sequence[float]) -> np.ndarray:
        """Return what is inside a tube along points (x, y, z) in mm; radii: one, or first and
        last."""
        points = np.asarray(points, np.float32)
        start, end = np.broadcast_to(radii, 2)
        inside = np.zeros(self.shape, bool)
        for number, (a, b) in enumerate(itertools.pairwise(points)):
            along = b - a
            from_a = (self.x - a[0], self.y - a[1], self.z - a[2])
            part = np.clip(
                sum(d * v for d, v in zip(from_a, along, strict=True)) / (along @ along), 0, 1
            )
            away = sum((d - part * v) ** 2 for d, v in zip(from_a, along, strict=True))
            inside |= away < (start + (end - start) * (number + part) / (len(points) - 1)) ** 2
        return inside
