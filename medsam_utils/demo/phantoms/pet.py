"""Phantom PET: the uptake of a body, blurred as the scanner does, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from .ct import scan_ct
from .drawing import DrawnVolume, save_nifti
from .torso import Torso, draw_torso

_STUDIES = {
    "PETCT_0011f3deaf/03-23-2003-NA-PET-CT whole body-56839": 9,
    "PETCT_0011f3deaf/09-14-2003-NA-PET-CT whole body-08741": 5,
    "PETCT_01140d52d8/08-13-2005-NA-PET-CT whole body-07303": 0,
    "PETCT_f5e1c7a2b0/11-02-2004-NA-PET-CT whole body-21457": 9,
}


def scan_pet(rng: np.random.Generator, torso: Torso) -> np.ndarray:
    """Return what a PET scanner makes of a body: standardized uptake values, float32."""
    uptake = torso.values(1)
    uptake = uptake * np.exp(0.16 * torso.space.noise(9))
    sigma = [min(3.6 / step, 1.2) for step in torso.space.spacing]
    uptake = gaussian_filter(uptake, sigma)
    noise = gaussian_filter(rng.standard_normal(uptake.shape, np.float32), (0.4, 0.9, 0.9))
    return np.clip(uptake + 0.55 * np.sqrt(0.03 + 0.3 * uptake) * noise, 0, None).astype(np.float32)


def draw_pet(seed: int, lesions: int) -> tuple[DrawnVolume, np.ndarray]:
    """Draw a PET with its lesions as label 1, and the CT of the same body on the same grid."""
    rng = np.random.default_rng([31, seed])
    torso = draw_torso(rng, 22, -268, 420, side=100, tumours=lesions > 0, lesions=lesions)
    label = torso.mask("lesion", "liver tumour", "pancreas tumour", "colon tumour").astype(np.uint8)
    return DrawnVolume(scan_pet(rng, torso), label, torso.space.spacing), scan_ct(rng, torso)


def pet_wholebody_volumes() -> dict[str, tuple[DrawnVolume, np.ndarray]]:
    """Draw the studies of the pet_wholebody phantom by patient and study; one of them has no
    lesion."""
    return {name: draw_pet(seed, lesions) for seed, (name, lesions) in enumerate(_STUDIES.items())}


def write_pet_wholebody(folder: Path) -> None:
    """Write AutoPET: a folder per patient and study, each with SUV, SEG, PET and CT on two
    grids."""
    for name, (volume, ct) in pet_wholebody_volumes().items():
        place = folder / "FDG-PET-CT-Lesions" / name
        becquerels = (volume.image * 4200).astype(np.float32)
        finer = np.repeat(np.repeat(ct[::11], 2, axis=1), 2, axis=2)
        files = {"SUV": volume.image, "SEG": volume.label, "PET": becquerels, "CTres": ct}
        for file, values in files.items():
            save_nifti(place / f"{file}.nii.gz", values, volume.spacing, "LAS")
        z, y, x = volume.spacing
        save_nifti(place / "CT.nii.gz", finer, (11 * z, y / 2, x / 2), "LAS")
