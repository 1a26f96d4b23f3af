"""Phantom MR of the spinal cord across, with four raters' masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .drawing import DrawnVolume, save_nifti
from .mri import scan_mr
from .solids import Space

RATERS = ("1", "2", "3", "4")

# Subject: (slices, side, spacing); numbers from 11 on are the test part.
_SUBJECTS = {
    "site1-sc01": (3, 100, (5.0, 0.5, 0.5)),
    "site2-sc03": (4, 112, (7.5, 0.5, 0.5)),
    "site3-sc02": (3, 96, (2.5, 0.5, 0.5)),
    "site4-sc10": (3, 128, (5.0, 0.29, 0.29)),
    "site2-sc11": (4, 112, (7.5, 0.5, 0.5)),
}


def draw_spine_volume(
    rng: np.random.Generator, slices: int, side: int, spacing: tuple[float, float, float]
) -> tuple[np.ndarray, dict[str, np.ndarray], tuple[float, float, float]]:
    """Draw a neck in T2*-weighted MR; returns the image, each rater's label, and the spacing.

    Labels: 1 grey matter, 2 white matter. Raters differ by a shift of the outline and in small
    details.
    """
    space = Space(rng, (slices, side, side), spacing, bend=0.25, wave=6)
    x, y = space.x, space.y
    reach = side * spacing[1] / 50  # 1 where 50 mm are to be seen
    size = rng.uniform(0.92, 1.08)
    muscle = 120 + 26 * space.noise(2.5) * (np.hypot(x, y) > 9)
    value = np.where(space.noise(5) > 1.1, 190, muscle)  # muscles, fat between them
    value[np.hypot(x / (19 * reach), (y + 3) / (22 * reach)) > 1] = 215
    value[space.inside((0, -14, 0), (9.5, 8, 999), 2.5)] = 95 + 12 * rng.normal()  # vertebral body
    value[space.inside((0, -26, 0), (4, 3.5, 999))] = 6  # airway
    for edge in (-1, 1):
        value[space.inside((edge * 13, -7, 0), (2.6, 2.6, 999))] = 260  # vertebral artery
        value[space.inside((edge * 12, 3, 0), (4.5, 4, 999))] = 60  # facet joint
    value[space.inside((0, 14, 0), (1.6, 6.5, 999))] = 55  # spinous process
    value[space.inside((0, 0.3, 0), (10.2, 7.4, 999))] = 50  # ligaments and dura
    value[space.inside((0, 0.3, 0), (9.3, 6.6, 999))] = 330  # cerebrospinal fluid
    cord = space.ellipsoid((0, 0, 0), (6.6 * size, 4.5 * size, 999), 2.1)
    grey = _butterfly(x / size, y / size)
    value[cord < 1] = 165
    value[(cord < 1) & (grey < 0)] = 222
    value[np.hypot(x, y + 0.2) < 0.35] = 260
    value[(cord < 1) & (np.abs(x) < 0.3) & (y < -2.4)] = 300  # the fissure in front

    labels = {}
    for rater in RATERS:
        shift = rng.normal(0, 0.04)
        detail = 0.05 * space.noise(1.2)
        label = np.where(cord + detail + shift < 1, 2, 0).astype(np.uint8)
        label[(label > 0) & (grey + 0.25 * space.noise(0.8) + rng.normal(0, 0.08) < 0)] = 1
        labels[rater] = label
    labels["4"][-1][labels["4"][-1] == 1] = 2  # one rater saw no grey matter in the last slice
    return scan_mr(space, value, 7, 0.08), labels, spacing


def _butterfly(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a distance in mm, below 0 in the grey matter: two horns to the front, two to the
    back."""
    side = np.abs(x)
    back = (
        np.hypot(
            (side - 1.6 - 0.35 * (y - 1)) / 0.62, np.clip(np.abs(y - 1.2) - 1.7, 0, None) / 0.7
        )
        - 1
    )
    front = np.hypot((side - 1.75) / 1.15, (y + 1.3) / 1.25) - 1
    bridge = np.maximum(side - 1.9, np.abs(y) - 0.55)
    return np.minimum(np.minimum(back, front), bridge)


def majority(labels: dict[str, np.ndarray]) -> np.ndarray:
    """Return the label of which at least three of the four raters agree, cord before grey
    matter."""
    cord = sum((label > 0).astype(int) for label in labels.values()) >= 3
    grey = sum((label == 1).astype(int) for label in labels.values()) >= 3
    return np.where(grey, 1, np.where(cord, 2, 0)).astype(np.uint8)


def mri_spine_volumes() -> dict[str, tuple[DrawnVolume, dict[str, np.ndarray]]]:
    """Draw the subjects of the mri_spine phantom: volumes with the majority's label, and each
    rater's."""
    volumes = {}
    for seed, (name, what) in enumerate(_SUBJECTS.items()):
        image, labels, spacing = draw_spine_volume(np.random.default_rng([12, seed]), *what)
        volumes[name] = DrawnVolume(image, majority(labels), spacing), labels
    return volumes


def write_mri_spine(folder: Path) -> None:
    """Write the challenge's two folders: images, four masks each, levels; the test part has no
    masks."""
    for name, (volume, labels) in mri_spine_volumes().items():
        is_test = int(name[-2:]) > 10
        place = folder / ("test" if is_test else "train")
        save_nifti(place / f"{name}-image.nii.gz", volume.image, volume.spacing)
        (place / f"{name}-levels.txt").write_text(
            "".join(f"{i},4\n" for i in range(len(volume.image)))
        )
        if not is_test:
            for rater, label in labels.items():
                save_nifti(place / f"{name}-mask-r{rater}.nii.gz", label, volume.spacing)
