"""Phantom MR: tissues of an anatomy by formula, blurred, under a coil's bias field, with Rician
noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from .drawing import DrawnVolume, field, save_decathlon
from .solids import Space


def scan_mr(space: Space, value: np.ndarray, noise: float, bias: float = 0.15) -> np.ndarray:
    """Return what an MR scanner makes of tissues' signals: int16.

    noise: standard deviation in each of the two channels; bias: how uneven the coil is.
    """
    rng = space.rng
    value = value * (1 + 0.03 * field(rng, space.shape, (0.3, 0.7, 0.7)))
    value = gaussian_filter(value, (0.2, 0.7, 0.7)) * np.exp(bias * space.noise(50))
    return np.rint(
        np.hypot(
            value + noise * rng.standard_normal(space.shape, np.float32),
            noise * rng.standard_normal(space.shape, np.float32),
        )
    ).astype(np.int16)


def draw_heart_volume(
    rng: np.random.Generator, shape: tuple[int, int, int] = (24, 160, 160)
) -> DrawnVolume:
    """Draw a thorax in MR with bright blood; the label 1 is the left atrium with its veins' first
    part."""
    spacing = (5.0, 2.2, 2.2)
    z, y, x = (
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * step
        for n, step in zip(shape, spacing, strict=True)
    )
    z, y, x = np.meshgrid(z, y, x, indexing="ij")
    wide = tuple(18 / step for step in spacing)
    z, y, x = (
        axis + 3.5 * field(rng, shape, wide) for axis in (z, y, x)
    )  # nobody is made of ellipsoids
    size = rng.uniform(0.92, 1.06)
    z, y, x = z / size, y / size, x / size

    def ellipsoid(centre, radii, power=2.0):
        """Distance-like: below 1 inside. centre and radii: (x, y, z) in mm."""
        return sum(
            np.abs((axis - c) / r) ** power
            for axis, c, r in zip((x, y, z), centre, radii, strict=True)
        )

    body = ellipsoid((0, 0, 0), (152, 103, 900), 2.6)
    inner = ellipsoid((0, 0, 0), (152 - rng.uniform(13, 22), 103 - rng.uniform(9, 15), 900), 2.6)
    cage = ellipsoid((0, -4, 0), (122, 80, 900), 2.4)
    angle = np.arctan2(y, x)
    value = np.full(shape, 4, np.float32)
    value[body < 1] = 320  # fat
    value[inner < 1] = 125  # muscle
    value[(np.abs(cage - 1.05) < 0.06) & (np.sin(11 * angle + 0.05 * z) > 0.1)] = 60  # ribs
    lung = (cage < 0.97) & (np.abs(x) > 22 + 0.12 * y) & (ellipsoid((0, 66, 0), (46, 34, 900)) > 1)
    value[lung] = 26
    vessels = field(rng, shape, tuple(4 / step for step in spacing))
    value[lung & (vessels > 1.7)] = 190
    value[(cage < 0.97) & ~lung] = 230  # mediastinal fat and connective tissue
    value[ellipsoid((-75, -5, -118), (95, 85, 75)) < 1] = 165  # liver
    value[ellipsoid((75, 15, -122), (60, 55, 62)) < 1] = 150  # spleen, stomach
    value[(body >= 1)] = 4
    value[ellipsoid((0, 64, 0), (22, 18, 900), 2.6) < 1] = 205  # vertebral body
    value[(np.abs(ellipsoid((0, 64, 0), (22, 18, 900), 2.6) - 1) < 0.1)] = 70
    value[ellipsoid((0, 91, 0), (10, 9, 900)) < 1] = 380  # spinal canal
    value[ellipsoid((0, 91, 0), (5.5, 4.5, 900)) < 1] = 180  # cord
    value[ellipsoid((6, 43, 0), (7, 5, 900)) < 1] = 140  # oesophagus

    heart = ellipsoid((18, -14, -16), (72, 52, 56))
    value[heart < 1.06] = 270  # fat round the heart
    value[heart < 0.95] = 150  # myocardium
    blood = 345 + 16 * field(rng, shape, tuple(9 / step for step in spacing))
    # The left ventricle points to the left, forward and down.
    along = 0.74 * (x - 46) - 0.48 * (y + 16) - 0.46 * (z + 20)
    across = np.sqrt(np.maximum((x - 46) ** 2 + (y + 16) ** 2 + (z + 20) ** 2 - along**2, 0))
    ventricle = (along / 43) ** 2 + (across / 22) ** 2
    chambers = [
        ventricle < 1,
        (ellipsoid((2, -46, -22), (38, 17, 36)) < 1)
        & ((along / 52) ** 2 + (across / 33) ** 2 > 1),  # right ventricle
        ellipsoid((-38, -12, -10), (21, 27, 30)) < 1,  # right atrium
        ellipsoid((-8, -22, 34), (15, 15, 40)) < 1,  # ascending aorta
        ellipsoid((16, -36, 30), (13, 13, 30)) < 1,  # pulmonary trunk
        ellipsoid((-42, -14, 45), (10, 10, 34)) < 1,  # superior vena cava
        ellipsoid((25, 47, 0), (12, 12, 900)) < 1,  # descending aorta
    ]
    for chamber in chambers:
        value[chamber] = blood[chamber]
    wall = ellipsoid((3, 16, 2), (39, 24, 31), 2.3) < 1
    value[wall] = 170
    atrium = (
        ellipsoid(
            (3, 16, 2), (rng.uniform(32, 37), rng.uniform(18, 22), rng.uniform(25, 28.5)), 2.3
        )
        < 1
    )
    veins = np.zeros(shape, bool)
    for side in (-1, 1):
        for height in (-8, 12):
            out, rise = side * (x - 3), rng.uniform(-0.3, 0.35)
            back = y - 22 - rng.uniform(0.1, 0.4) * np.maximum(out - 28, 0)
            calibre = rng.uniform(5.5, 7.5) - 0.05 * np.clip(out - 30, 0, 60)
            veins |= (
                (out > 18)
                & (out < 70)
                & (back**2 + (z - height - rise * (out - 20)) ** 2 < calibre**2)
            )
    value[veins] = blood[veins]
    value[atrium] = blood[atrium] * rng.uniform(0.94, 1.03)
    appendage = ellipsoid((44, -4, 10), (10, 17, 9)) < 1
    value[appendage] = blood[appendage]
    label = atrium | (veins & (np.abs(x - 3) < 44))

    value *= 1 + 0.04 * field(rng, shape, (0.3, 0.7, 0.7))
    value = gaussian_filter(value, (0.35, 0.75, 0.75))
    bias = np.exp(
        -0.0045 * y
        + 0.0016 * rng.normal() * x
        + 0.12 * field(rng, shape, tuple(60 / s for s in spacing))
    )
    noise = rng.standard_normal((2, *shape), np.float32) * 13
    image = np.hypot(value * bias + noise[0], noise[1])
    # The patient moves with each breath: a faint copy, displaced along the phase axis.
    image += 0.035 * np.roll(image, shape[1] // 3, axis=1)
    return DrawnVolume(np.rint(image).astype(np.int16), label.astype(np.uint8), spacing)


def mri_heart_volumes() -> dict[str, DrawnVolume]:
    """Draw the volumes of the mri_heart phantom, by name as in the real set ("la_003")."""
    names_and_shapes = {
        "la_003": (24, 160, 160),
        "la_004": (26, 150, 164),
        "la_007": (23, 168, 156),
    }
    return {
        name: draw_heart_volume(np.random.default_rng([11, seed]), shape)
        for seed, (name, shape) in enumerate(names_and_shapes.items())
    }


def write_mri_heart(folder: Path) -> None:
    """Write Decathlon Task02."""
    save_decathlon(folder / "Task02_Heart", mri_heart_volumes(), "MRI", ("left atrium",))
