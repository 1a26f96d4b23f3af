"""What phantoms of every modality are made with: borders, smooth noise, and how a volume is
saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel
import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d


@dataclass(frozen=True)
class Drawing:
    """What was drawn. image: 8-bit grey H x W; masks: bool H x W, one per lesion or lung."""

    image: np.ndarray
    masks: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class DrawnVolume:
    """What was drawn, upright. image: int16 or float32, label: uint8; spacing: in mm.

    All three: (slice to superior, row to posterior, column to the patient's left).
    """

    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float]


def soft(inside: np.ndarray, width: float) -> np.ndarray:
    """Return 0..1 across a border at 0: a step of a given width."""
    return np.clip(inside / width + 0.5, 0, 1)


def field(rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, ...]) -> np.ndarray:
    """Return smooth noise of standard deviation 1, float32; sigma: its coarseness per axis in
    pixels."""
    # Coarse noise is drawn on a coarse grid and enlarged, which is many times faster.
    steps = [max(1, int(s / 2)) for s in sigma]
    small = tuple(-(-n // step) + 1 for n, step in zip(shape, steps, strict=True))
    noise = gaussian_filter(
        rng.standard_normal(small, np.float32),
        [s / t for s, t in zip(sigma, steps, strict=True)],
        mode="wrap",
    )
    for axis, (n, step) in enumerate(zip(shape, steps, strict=True)):
        if step > 1:
            at = np.arange(n, dtype=np.float32) / step
            low = at.astype(int)
            part = (at - low).reshape([-1 if a == axis else 1 for a in range(len(shape))])
            noise = np.take(noise, low, axis) * (1 - part) + np.take(noise, low + 1, axis) * part
        else:
            noise = np.take(noise, np.arange(n), axis)
    return (noise - noise.mean()) / (noise.std() + 1e-9)


def curve(rng: np.random.Generator, length: int, sigma: float) -> np.ndarray:
    """Return a smooth random curve of standard deviation about 1."""
    noise = gaussian_filter1d(rng.standard_normal(length), sigma, mode="wrap")
    return (noise - noise.mean()) / (noise.std() + 1e-9)


def wide_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by many pixels, at a quarter of the resolution."""
    rows, columns = image.shape
    small = cv2.resize(image, (columns // 4, rows // 4), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / 4, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)


def save_nifti(
    path: Path,
    upright: np.ndarray,
    spacing: tuple[float, float, float],
    axes: str = "RAS",
    lost: bool = False,
) -> None:
    """Save (slice to superior, row to posterior, column to left) as NIfTI; a fourth axis may
    follow.

    The folder is made if need be. axes: where the file's axes run to; lost: with an identity
    affine, as if nothing were known of it.
    """
    values = np.moveaxis(upright, (0, 1, 2), (2, 1, 0))[::-1, ::-1]
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(axes)
    )
    affine = np.diag([*spacing[::-1], 1.0]) @ nibabel.orientations.inv_ornt_aff(
        turn, values.shape[:3]
    )
    values = nibabel.apply_orientation(values, turn)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(np.ascontiguousarray(values), np.eye(4) if lost else affine).to_filename(
        path
    )


def save_decathlon(
    root: Path, volumes: dict[str, DrawnVolume], modality: str, classes: tuple[str, ...]
) -> None:
    """Write a task of the Decathlon: pairs of one name, unlabelled test images, macOS's leftovers.

    classes: the names of the labels 1, 2 ..., as dataset.json has them.
    """
    for name, volume in volumes.items():
        for part, values in (
            ("imagesTr", volume.image.astype(np.float32)),
            ("labelsTr", volume.label),
        ):
            save_nifti(root / part / f"{name}.nii.gz", values, volume.spacing)
            (root / part / f"._{name}.nii.gz").write_bytes(
                b"\x00\x05\x16\x07 written by macOS, not a volume"
            )
    test = f"{name.rsplit('_', 1)[0]}_999.nii.gz"
    save_nifti(root / "imagesTs" / test, volume.image[:4].astype(np.float32), volume.spacing)
    content = {
        "name": root.name.split("_")[1],
        "modality": {"0": modality},
        "labels": {str(value): name for value, name in enumerate(("background", *classes))},
        "numTraining": len(volumes),
        "numTest": 1,
        "training": [
            {"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in volumes
        ],
        "test": [f"./imagesTs/{test}"],
    }
    (root / "dataset.json").write_text(json.dumps(content, indent=1))
