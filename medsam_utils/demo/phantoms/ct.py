"""Phantom CT: a body in Hounsfield units, blurred, with noise and streaks, on its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from .drawing import DrawnVolume, save_decathlon, save_nifti
from .torso import Torso, draw_torso

_LIVER = ("liver", "liver vessel"), ("liver tumour",)
_BONES = ("bone", "marrow", "cord")


def scan_ct(rng: np.random.Generator, torso: Torso) -> np.ndarray:
    """Return what a CT scanner makes of a body: Hounsfield units, int16."""
    value = torso.values(0)
    solid = value > -200
    value = value + 7 * solid * torso.space.noise(6)
    value = gaussian_filter(value, (0.25, 0.7, 0.7))
    # Much bone on the way of the rays leaves streaks across the body.
    streaks = gaussian_filter(rng.standard_normal(value.shape, np.float32), (0, 0.6, 9))
    bone = (value > 250).mean(axis=2, keepdims=True)
    value += gaussian_filter(rng.standard_normal(value.shape, np.float32), (0, 0.7, 0.7)) * 34
    value += streaks * 300 * bone
    return np.rint(np.clip(value, -1024, 3071)).astype(np.int16)


def draw_ct(
    seed: list[int],
    slices: int,
    bottom: float,
    top: float,
    labels: tuple[tuple[str, ...], ...],
    side: int = 160,
) -> DrawnVolume:
    """Draw a CT; labels: for the label values 1, 2 ... the tissues that they mark; bottom, top: in
    mm."""
    rng = np.random.default_rng(seed)
    torso = draw_torso(rng, slices, bottom, top, side)
    label = np.zeros(torso.tissue.shape, np.uint8)
    for value, names in enumerate(labels, start=1):
        label[torso.mask(*names)] = value
    return DrawnVolume(scan_ct(rng, torso), label, torso.space.spacing)


def ct_liver_volumes() -> dict[str, DrawnVolume]:
    """Draw the volumes of the ct_liver phantom, by number as in the real set; the header of 28 is
    lost."""
    return {
        number: draw_ct([21, int(number)], 10, -66 + shift, 96 + shift, _LIVER)
        for number, shift in (("0", 0), ("9", 7), ("28", -7))
    }


def write_ct_liver(folder: Path) -> None:
    """Write LiTS: numbers without zeros, uncompressed, mixed orientations, lost headers, test
    images."""
    for name, volume in ct_liver_volumes().items():
        place = folder / f"Training Batch {1 + (name == '28')}"
        axes = {"0": "RAS", "9": "LPS", "28": "RAS"}[name]
        lost = name == "28"
        image = volume.image[..., np.newaxis] if lost else volume.image
        save_nifti(place / f"volume-{name}.nii", image, volume.spacing, axes, lost)
        save_nifti(place / f"segmentation-{name}.nii", volume.label, volume.spacing, axes, lost)
    save_nifti(folder / "Test" / "test-volume-0.nii", volume.image[:2, ..., :], volume.spacing)


def ct_organ_volumes() -> dict[str, DrawnVolume]:
    """Draw the volumes of the ct_organ phantom, by number as in the real set; 132 shows the head
    too."""
    labels = (
        sum(_LIVER, ()),
        ("bladder",),
        ("lung", "bronchi and vessels"),
        ("kidney",),
        _BONES,
        ("brain",),
    )
    return {
        "0": draw_ct([22, 0], 8, -262, 222, labels),
        "132": draw_ct([22, 132], 10, -268, 420, labels),
    }


def write_ct_organ(folder: Path) -> None:
    """Write CT-ORG: volumes and labels in one folder, numbers without zeros, labels as floats."""
    for name, volume in ct_organ_volumes().items():
        save_nifti(folder / f"volume-{name}.nii.gz", volume.image, volume.spacing, "LAS")
        label = volume.label.astype(np.float32 if name == "132" else np.uint8)
        save_nifti(folder / f"labels-{name}.nii.gz", label, volume.spacing, "LAS")


def ct_spleen_volumes() -> dict[str, DrawnVolume]:
    """Draw the volumes of the ct_spleen phantom, by name as in the real set."""
    return {f"spleen_{n}": draw_ct([23, n], 11, -30, 96, (("spleen",),)) for n in (2, 10, 41)}


def ct_colon_volumes() -> dict[str, DrawnVolume]:
    """Draw the volumes of the ct_colon phantom, by name as in the real set."""
    labels = (("colon tumour",),)
    return {
        f"colon_{n:03d}": draw_ct([24, n], 12, -155, -22, labels, 128)
        for n in (5, 38, 105, 209, 221)
    }


def ct_pancreas_volumes() -> dict[str, DrawnVolume]:
    """Draw the volumes of the ct_pancreas phantom, by name as in the real set."""
    labels = ("pancreas",), ("pancreas tumour",)
    return {f"pancreas_{n:03d}": draw_ct([25, n], 12, -55, 33, labels) for n in (1, 56, 290)}


def ct_hepaticvessel_volumes() -> dict[str, DrawnVolume]:
    """Draw the volumes of the ct_hepaticvessel phantom, by name as in the real set."""
    labels = ("liver vessel",), ("liver tumour",)
    return {f"hepaticvessel_{n:03d}": draw_ct([26, n], 11, -40, 90, labels) for n in (1, 204, 432)}


def write_ct_spleen(folder: Path) -> None:
    """Write Decathlon Task09."""
    save_decathlon(folder / "Task09_Spleen", ct_spleen_volumes(), "CT", ("spleen",))


def write_ct_colon(folder: Path) -> None:
    """Write Decathlon Task10."""
    save_decathlon(folder / "Task10_Colon", ct_colon_volumes(), "CT", ("colon cancer primaries",))


def write_ct_pancreas(folder: Path) -> None:
    """Write Decathlon Task07."""
    save_decathlon(folder / "Task07_Pancreas", ct_pancreas_volumes(), "CT", ("pancreas", "cancer"))


def write_ct_hepaticvessel(folder: Path) -> None:
    """Write Decathlon Task08."""
    save_decathlon(
        folder / "Task08_HepaticVessel", ct_hepaticvessel_volumes(), "CT", ("Vessel", "Tumour")
    )
