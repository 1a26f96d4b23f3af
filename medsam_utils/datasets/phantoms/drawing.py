"""What phantoms of every modality are made with: borders, smooth noise, and how a volume is saved."""

from __future__ import annotations

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
    """What was drawn, upright. image: int16, label: uint8; both (slice to superior, row to posterior,
    column to the patient's left); spacing: (slice, row, column) in mm.
    """

    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float]


def soft(inside: np.ndarray, width: float) -> np.ndarray:
    """Return 0..1 across a border at 0: a step of a given width."""
    return np.clip(inside / width + 0.5, 0, 1)


def field(rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, ...]) -> np.ndarray:
    """Return smooth noise of standard deviation 1, float32; sigma: its coarseness per axis in pixels."""
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


def save_nifti(path: Path, upright: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Save (slice to superior, row to posterior, column to left) as NIfTI with RAS axes."""
    values = upright.transpose(2, 1, 0)[::-1, ::-1]
    affine = np.diag([*spacing[::-1], 1.0])
    nibabel.Nifti1Image(np.ascontiguousarray(values), affine).to_filename(path)
