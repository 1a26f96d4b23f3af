"""Phantom MR of the prostate, T2-weighted, as six sites scan it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .drawing import DrawnVolume, save_nifti
from .mri import scan_mr
from .solids import Space

# Volume: (whether its two zones are labelled apart, where the file's axes run to).
_VOLUMES = {
    "BIDMC/Case02": (False, "LPS"),
    "BMC/Case00": (True, "LPS"),
    "HK/Case38": (False, "LPS"),
    "I2CVB/Case07": (False, "LAS"),
    "RUNMC/Case11": (True, "LPS"),
    "UCL/Case26": (False, "LPS"),
}


def draw_prostate_volume(rng: np.random.Generator, zones: bool) -> DrawnVolume:
    """Draw a male pelvis; labels: 1 the prostate, or 1 its outer and 2 its inner zone."""
    spacing = (7.0, 1.1, 1.1)
    space = Space(rng, (8, 144, 144), spacing, (0, 0, 2), bend=2, wave=15)
    x, y, inside = space.x, space.y, space.inside
    value = np.full(space.shape, 5, np.float32)
    value[inside((0, 0, 0), (150, 88, 999), 2.6)] = 330  # fat
    value[inside((0, 8, 0), (128, 68, 999), 2.8)] = 250
    value[
        space.tube([(-20, 74, 40), (-20, 74, -40)], 40)
        | space.tube([(20, 74, 40), (20, 74, -40)], 40)
    ] = 95
    value[np.abs(x) < 3 + 0.2 * np.maximum(y - 40, 0)] = 270
    for side in (-1, 1):
        value[inside((side * 52, -16, 10), (17, 44, 70), 2.4)] = 88  # obturator muscle
        value[inside((side * 34, 22, -10), (9, 26, 45))] = 82  # levator
        hip = space.ellipsoid((side * 76, -6, 24), (21, 26, 50))
        value[hip < 1.15] = 40
        value[hip < 1] = 230
        value[inside((side * 26, -52, -8), (24, 10, 26))] = 60  # pubic bone
        value[inside((side * 26, -52, -8), (19, 7, 21))] = 200
    rectum = [(0, 48, -40), (0, 42, 0), (6, 52, 45)]
    value[space.tube(rectum, 17)] = 120
    value[space.tube(rectum, 13)] = 60
    value[space.tube(rectum, 13) & (space.noise(8) > 0.6)] = 15  # gas
    value[inside((0, -22, 34), (40, 30, 24))] = 110  # bladder
    value[inside((0, -22, 35), (36, 26, 21))] = 480

    wide, deep, high = rng.uniform((25, 18, 20), (30, 22, 24))
    gland = space.ellipsoid((0, 4, -2), (wide, deep, high), 2.2)
    inner = space.ellipsoid((0, -1, 2), (wide * 0.72, deep * 0.72, high * 0.85), 2.2)
    value[gland < 1.12] = 55  # the capsule, and veins round it
    value[(gland < 1.45) & (gland > 1.12) & (space.noise(4) > 0.2) & (np.abs(x) > 18)] = 330
    value[gland < 1] = 320 + 25 * space.noise(5)[gland < 1]
    nodules = 185 + 75 * space.noise(4.5)
    value[inner < 1] = np.clip(nodules, 70, 330)[inner < 1]
    value[(inner > 0.9) & (inner < 1.08) & (gland < 1)] = 85
    value[inside((wide * 0.6, 14, -4), (7, 5, 9)) & (gland < 1)] = 105  # a focus
    label = (gland < 1).astype(np.uint8)
    if zones:
        label[(inner < 1) & (gland < 1)] = 2
    return DrawnVolume(scan_mr(space, value, 9, 0.25), label, spacing)


def mri_prostate_volumes() -> dict[str, DrawnVolume]:
    """Draw the volumes of the mri_prostate phantom, by site and number as in the real set."""
    return {
        name: draw_prostate_volume(np.random.default_rng([13, seed]), zones)
        for seed, (name, (zones, _)) in enumerate(_VOLUMES.items())
    }


def write_mri_prostate(folder: Path) -> None:
    """Write the six sites; in one of them the masks' names have a capital letter."""
    for name, volume in mri_prostate_volumes().items():
        path = folder / name
        suffix = "_Segmentation" if name.startswith("BMC") else "_segmentation"
        axes = _VOLUMES[name][1]
        save_nifti(path.with_name(f"{path.name}.nii.gz"), volume.image, volume.spacing, axes)
        save_nifti(
            path.with_name(f"{path.name}{suffix}.nii.gz"), volume.label, volume.spacing, axes
        )
