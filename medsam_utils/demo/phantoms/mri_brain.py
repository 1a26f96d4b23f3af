"""Phantom MR of the brain with a glioma, in four sequences, without skull."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .drawing import DrawnVolume, save_nifti
from .mri import scan_mr
from .solids import Space

# Tissue: its signal in FLAIR, T1, T1 with contrast medium, T2.
_SIGNALS = {
    "none": (0, 0, 0, 0),
    "fluid": (45, 70, 75, 560),
    "grey": (230, 190, 205, 300),
    "white": (190, 255, 270, 215),
    "oedema": (400, 165, 175, 430),
    "core": (210, 120, 130, 400),
    "enhancing": (310, 185, 460, 340),
}
SEQUENCES = ("flair", "t1", "t1ce", "t2")

# Case: (folder above it, what stands before a sequence's name, names of the sequences, suffix,
# label of the enhancing tumour).
_BEFORE_2023 = ("_", SEQUENCES, ".nii.gz", 4)
_CASES = {
    "Brats18_2013_2_1": ("MICCAI_BraTS_2018_Data_Training/HGG", *_BEFORE_2023),
    "BraTS20_Training_355": ("MICCAI_BraTS2020_TrainingData", "_", SEQUENCES, ".nii", 4),
    "BraTS2021_00000": ("RSNA_ASNR_MICCAI_BraTS2021_TrainingData", *_BEFORE_2023),
    "BraTS-GLI-00002-000": (
        "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData",
        *("-", ("t2f", "t1n", "t1c", "t2w"), ".nii.gz", 3),
    ),
}


def draw_brain_volumes(rng: np.random.Generator, enhancing: int) -> dict[str, DrawnVolume]:
    """Draw a brain in each sequence; labels: 1 core, 2 oedema, and `enhancing` the enhancing
    tumour."""
    spacing = (13.0, 1.6, 1.6)
    space = Space(rng, (5, 120, 120), spacing, (0, 0, 10), bend=2.5, wave=16)
    x, y = space.x, space.y
    brain = space.ellipsoid((0, 0, 0), (67, 83, 62), 2.2)
    folds = space.noise(5)
    tissue = np.zeros(space.shape, int)
    names = list(_SIGNALS)

    def paint(name: str, where: np.ndarray) -> None:
        tissue[where] = names.index(name)

    depth = 1 - brain
    inside = brain < 1
    paint("white", inside)
    paint("grey", inside & (depth < 0.30 + 0.16 * folds))
    paint("fluid", inside & (depth < 0.24) & (folds > 1.0))
    paint("fluid", inside & (np.abs(x) < 1.6) & (np.abs(y) > 22))  # between the halves
    for side in (-1, 1):
        paint("grey", space.inside((side * 24, 6, 4), (10, 20, 14)))  # deep nuclei
        horn = [(side * 5, -28, 10), (side * 9, 0, 20), (side * 18, 32, 12)]
        paint("fluid", space.tube(horn, (5, 7)))
    paint("fluid", space.inside((0, 6, 0), (2, 14, 10)))

    centre = np.array(
        [rng.choice([-1, 1]) * rng.uniform(24, 38), rng.uniform(-35, 30), rng.uniform(0, 18)]
    )
    lump = 0.22 * space.noise(7)
    mass = np.sqrt(space.ellipsoid(centre, rng.uniform((15, 17, 13), (21, 25, 17)))) + lump
    spread = (
        np.sqrt(
            space.ellipsoid(centre + np.array([0, 5, 2]), rng.uniform((27, 32, 16), (33, 42, 20)))
        )
        + 1.6 * lump
    )
    # Oedema follows the white matter.
    paint("oedema", (spread < 1) & (tissue == names.index("white")))
    paint("enhancing", (mass < 1) & inside)
    paint("core", (mass < 0.66 + 0.1 * space.noise(4)) & inside)
    label = np.zeros(space.shape, np.uint8)
    for name, value in (("core", 1), ("oedema", 2), ("enhancing", enhancing)):
        label[tissue == names.index(name)] = value
    volumes = {}
    for column, sequence in enumerate(SEQUENCES):
        signal = np.array([values[column] for values in _SIGNALS.values()], np.float32)[tissue]
        image = scan_mr(space, signal, 7, 0.06)
        image[~inside] = 0
        volumes[sequence] = DrawnVolume(image, label, spacing)
    return volumes


def mri_brain_volumes() -> dict[str, dict[str, DrawnVolume]]:
    """Draw the cases of the mri_brain phantom: by case as in the editions, by sequence."""
    return {
        name: draw_brain_volumes(np.random.default_rng([14, seed]), enhancing)
        for seed, (name, (*_, enhancing)) in enumerate(_CASES.items())
    }


def write_mri_brain(folder: Path) -> None:
    """Write a case of four editions, in their layouts; of 2020 the one whose mask has another
    name."""
    for name, volumes in mri_brain_volumes().items():
        above, joint, sequences, suffix, _ = _CASES[name]
        place = folder / above / name
        for sequence, volume in zip(sequences, volumes.values(), strict=True):
            save_nifti(
                place / f"{name}{joint}{sequence}{suffix}", volume.image, volume.spacing, "LPS"
            )
        odd = name == "BraTS20_Training_355"
        mask = f"W39_1998.09.19_Segm{suffix}" if odd else f"{name}{joint}seg{suffix}"
        save_nifti(place / mask, volume.label, volume.spacing, "LPS")
