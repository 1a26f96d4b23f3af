"""Phantoms: drawn images that look like their modality, in the files of the real distribution.

They stand in for a dataset that is not at hand, so that its reader, its page and its tests run. Names,
folders, file formats, dtypes and label values are the real ones; sizes and counts are smaller, and
what is to be seen is drawn by the functions below, not learned from or taken out of any image. Nothing
is known from them about how a model does on patients.

    python -m medsam_utils.datasets.phantoms FOLDER [name ...]     writes them to FOLDER/<name>/
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pooch
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from medsam_utils.case import BadInputError
from medsam_utils.datasets.dataset import MARKER


def cache_folder() -> Path:
    """Return the folder for files that can be made again: MEDSAM_CACHE, or the system's cache folder."""
    return Path(os.environ.get("MEDSAM_CACHE") or pooch.os_cache("medsam_utils")).expanduser().resolve()


def phantom_folder(name: str) -> Path:
    """Return the folder with the phantoms of a dataset, and write them if they are not there yet.

    Its name holds a hash of this file: other drawings lie in another folder. They are written
    elsewhere and renamed, so that of several processes none sees half of them.
    """
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:10]
    folder = cache_folder() / "phantoms" / f"{name}-{version}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            write_phantoms(name, temporary)
            temporary.chmod(0o755)
            temporary.rename(folder)
        except OSError:
            # Another process was first; its files are the same.
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def write_phantoms(name: str, folder: Path) -> None:
    """Write the phantoms of a dataset to a folder, with a note by which they are told from real data."""
    WRITERS[name](folder)
    (folder / MARKER).write_text(
        "These images are drawn, not taken: see medsam_utils/datasets/phantoms.py.\n"
    )


# ---------------------------------------------------------------------------------------------
# Ultrasound: scatterers times echogenicity, blurred by the beam, compressed logarithmically


@dataclass(frozen=True)
class Drawing:
    """What was drawn. image: 8-bit grey H x W; masks: bool H x W, one per lesion or lung."""

    image: np.ndarray
    masks: tuple[np.ndarray, ...]


def draw_breast_ultrasound(
    rng: np.random.Generator, rows: int, columns: int, lesions: tuple[str, ...]
) -> Drawing:
    """Draw a B-mode image of a breast: skin, fat, glandular tissue, muscle, chest wall, and lesions.

    lesions: "benign" (smooth, oval, brighter behind) or "malignant" (irregular, shadow behind), side by side.
    """
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = y / rows, x / columns
    depths = np.cumsum([rng.uniform(0.03, 0.05), *rng.uniform([0.10, 0.32, 0.12], [0.20, 0.42, 0.18])])
    wobble = np.array([[0.004], [0.025], [0.03], [0.02]])
    borders = depths[:, None] + wobble * np.stack([_curve(rng, columns, columns / 6) for _ in depths])
    tissue = np.sum([y > border for border in borders], axis=0)  # 0 skin ... 4 chest wall
    echo = np.array([2.0, -17.0, -8.0, -19.0, -27.0], np.float32)[tissue]  # dB

    echo += np.choose(tissue, [0, 2.0, 3.5, 1.0, 2.0]) * _field(rng, y.shape, (rows / 60, columns / 30))
    fibres = _field(rng, y.shape, (rows / 250, columns / 12))
    echo += np.where(tissue == 3, 5, np.where(tissue == 2, 2.5, 0)) * fibres
    streaks = _streaks(rng, rows, columns, depths)
    echo += 11 * streaks * (tissue > 0) * (tissue < 3)
    for border, strength in zip(borders, (6, 7, 12, 18), strict=True):
        echo += (
            strength * np.exp(-(((y - border) * rows / 2.2) ** 2)) * (0.6 + 0.4 * _curve(rng, columns, 40))
        )

    masks = []
    for number, kind in enumerate(lesions):
        centre_x = (number + 1) / (len(lesions) + 1) + rng.uniform(-0.08, 0.08)
        centre_y = rng.uniform(depths[1] + 0.04, depths[2] - 0.12)
        size = rng.uniform(0.08, 0.17) / len(lesions) ** 0.5
        distance, inside = _lesion(rng, kind, (x - centre_x) * columns / rows, y - centre_y, size)
        masks.append(inside)
        behind = _behind(inside)
        if kind == "benign":
            edge = gaussian_filter(inside.astype(np.float32), 1.2)
            echo = echo * (1 - edge) + edge * (rng.uniform(-28, -17) + 1.5 * _field(rng, y.shape, (6, 9)))
            echo += 6 * np.exp(-((distance / 0.012) ** 2)) * ~inside
            echo += rng.uniform(2, 6) * gaussian_filter(behind, (6, 10)) * np.exp(-3 * (y - centre_y))
            # Refraction at the flanks of a smooth, round lesion leaves two thin shadows.
            flanks = np.abs(np.gradient(gaussian_filter(behind, (1, 3)), axis=1))
            echo -= 36 * gaussian_filter(flanks, (6, 1)) * np.exp(-3 * (y - centre_y))
        else:
            edge = gaussian_filter(inside.astype(np.float32), 3.5)
            echo = echo * (1 - edge) + edge * (rng.uniform(-29, -22) + 4 * _field(rng, y.shape, (5, 6)))
            echo += 4 * np.exp(-((distance / 0.04) ** 2)) * ~inside
            echo -= (
                rng.uniform(5, 13)
                * gaussian_filter(behind, (9, 13))
                * (0.7 + 0.3 * _field(rng, y.shape, (60, 9)))
            )
    echo -= 9 * y**1.5 + 6 * np.abs(2 * x - 1) ** 6  # what the depth gain leaves, and the probe's weak ends

    scatter = rng.standard_normal((2, rows, columns), np.float32) * 10 ** (echo / 20)
    wave = gaussian_filter(scatter, (0, rng.uniform(0.9, 1.2), rng.uniform(1.6, 2.4)))
    level = 20 * np.log10(np.hypot(*wave) + 1e-6)
    level = gaussian_filter(level, 0.6)
    white = np.percentile(level, 99.7)
    image = np.clip((level - white + 50) / 50, 0, 1) * 245
    return Drawing(np.rint(image).astype(np.uint8), tuple(masks))


def _lesion(
    rng: np.random.Generator, kind: str, x: np.ndarray, y: np.ndarray, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return distance from the outline (in image heights, roughly) and the inside, around (0, 0)."""
    angle = np.arctan2(y, x)
    if kind == "benign":
        width, height = size * rng.uniform(1.1, 1.4), size * rng.uniform(0.65, 0.9)
        waves = 0.09 * rng.normal(size=4) / np.arange(2, 6)
    else:
        width, height = size * rng.uniform(0.8, 1.1), size * rng.uniform(0.9, 1.2)
        waves = 0.35 * rng.normal(size=16) / np.arange(2, 18)
    tilt = rng.uniform(-0.3, 0.3)
    radius = 1 / np.hypot(np.cos(angle - tilt) / width, np.sin(angle - tilt) / height)
    for n, wave in enumerate(waves.tolist(), start=2):
        radius = radius * (1 + wave * np.sin(n * angle + rng.uniform(0, 6.3)))
    distance = np.hypot(x, y) - radius
    return distance, distance < 0


def _behind(inside: np.ndarray) -> np.ndarray:
    """Return 1 below an object (away from the probe), 0 elsewhere, float32."""
    return (np.maximum.accumulate(inside, axis=0) & ~inside).astype(np.float32)


def _streaks(rng: np.random.Generator, rows: int, columns: int, depths: np.ndarray) -> np.ndarray:
    """Return bright, slightly curved fibrous septa, 0..1."""
    canvas = np.zeros((rows, columns), np.float32)
    for _ in range(rng.integers(14, 26)):
        start = np.array([rng.uniform(0, columns), rng.uniform(depths[0], depths[2]) * rows])
        angle, length = rng.normal(0, 0.45), rng.uniform(0.1, 0.3) * columns
        along = np.linspace(0, 1, 20)
        bend = rng.normal(0, 0.25)
        points = start + length * np.stack(
            [along * np.cos(angle), along * np.sin(angle) + bend * along * (1 - along)], axis=1
        )
        line = np.zeros_like(canvas)
        cv2.polylines(
            line, [np.rint(points).astype(np.int32)], False, rng.uniform(0.4, 1), rng.integers(1, 3)
        )
        np.maximum(canvas, line, out=canvas)
    return gaussian_filter(canvas, (0.8, 1.5))


# ---------------------------------------------------------------------------------------------
# Cardiac MR: tissues in the thorax, blurred, under a coil's bias field, with Rician noise


@dataclass(frozen=True)
class DrawnVolume:
    """What was drawn, upright. image: int16, label: uint8; both (slice to superior, row to posterior,
    column to the patient's left); spacing: (slice, row, column) in mm.
    """

    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float]


def draw_heart_volume(rng: np.random.Generator, shape: tuple[int, int, int] = (24, 160, 160)) -> DrawnVolume:
    """Draw a thorax in MR with bright blood; the label 1 is the left atrium with its veins' first part."""
    spacing = (5.0, 2.2, 2.2)
    z, y, x = (
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)
    )
    z, y, x = np.meshgrid(z, y, x, indexing="ij")
    wide = tuple(18 / step for step in spacing)
    z, y, x = (axis + 3.5 * _field(rng, shape, wide) for axis in (z, y, x))  # nobody is made of ellipsoids
    size = rng.uniform(0.92, 1.06)
    z, y, x = z / size, y / size, x / size

    def ellipsoid(centre, radii, power=2.0):
        """Distance-like: below 1 inside. centre and radii: (x, y, z) in mm."""
        return sum(
            np.abs((axis - c) / r) ** power for axis, c, r in zip((x, y, z), centre, radii, strict=True)
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
    vessels = _field(rng, shape, tuple(4 / step for step in spacing))
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
    blood = 345 + 16 * _field(rng, shape, tuple(9 / step for step in spacing))
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
    atrium = ellipsoid((3, 16, 2), (rng.uniform(32, 37), rng.uniform(18, 22), rng.uniform(25, 28.5)), 2.3) < 1
    veins = np.zeros(shape, bool)
    for side in (-1, 1):
        for height in (-8, 12):
            out, rise = side * (x - 3), rng.uniform(-0.3, 0.35)
            back = y - 22 - rng.uniform(0.1, 0.4) * np.maximum(out - 28, 0)
            calibre = rng.uniform(5.5, 7.5) - 0.05 * np.clip(out - 30, 0, 60)
            veins |= (out > 18) & (out < 70) & (back**2 + (z - height - rise * (out - 20)) ** 2 < calibre**2)
    value[veins] = blood[veins]
    value[atrium] = blood[atrium] * rng.uniform(0.94, 1.03)
    appendage = ellipsoid((44, -4, 10), (10, 17, 9)) < 1
    value[appendage] = blood[appendage]
    label = atrium | (veins & (np.abs(x - 3) < 44))

    value *= 1 + 0.04 * _field(rng, shape, (0.3, 0.7, 0.7))
    value = gaussian_filter(value, (0.35, 0.75, 0.75))
    bias = np.exp(
        -0.0045 * y + 0.0016 * rng.normal() * x + 0.12 * _field(rng, shape, tuple(60 / s for s in spacing))
    )
    noise = rng.standard_normal((2, *shape), np.float32) * 13
    image = np.hypot(value * bias + noise[0], noise[1])
    # The patient moves with each breath: a faint copy, displaced along the phase axis.
    image += 0.035 * np.roll(image, shape[1] // 3, axis=1)
    return DrawnVolume(np.rint(image).astype(np.int16), label.astype(np.uint8), spacing)


# ---------------------------------------------------------------------------------------------
# Chest X-ray: how much each ray is weakened on its way through the thorax


def draw_chest_xray(rng: np.random.Generator, rows: int, columns: int, infiltrate: bool = False) -> Drawing:
    """Draw a frontal chest radiograph, dark where rays pass; masks: (lung on the image's left, on its right).

    infiltrate: with cloudy patches in the upper fields, as in tuberculosis.
    """
    v, u = np.mgrid[0:rows, 0:columns].astype(np.float32)
    u = (u / columns - 0.5) * 2 - rng.normal(0, 0.02)
    v = v / rows - rng.normal(0, 0.012)
    smooth = (rows / 12, columns / 12)
    u = u + 0.014 * _field(rng, u.shape, smooth)
    v = v + 0.008 * _field(rng, u.shape, smooth)
    width = rng.uniform(0.93, 1.05)
    u = u / width

    wide = 0.33 + rng.normal(0, 0.015)
    lungs = [_lung_field(rng, u, v, side, _heart(u, v, wide), columns) for side in (-1, 1)]
    air = sum(_dome(lung) for lung in lungs)

    # What lies round the lungs has soft edges: half the resolution is enough, and four times as fast.
    weak = _thorax(rng, u[::2, ::2], v[::2, ::2], wide)
    if infiltrate:
        weak += 0.12 * _clouds(rng, u[::2, ::2], v[::2, ::2])
    weak = cv2.resize(weak, (columns, rows), interpolation=cv2.INTER_CUBIC)
    weak += 0.12 * _vessels(rng, u, v, lungs) - 0.50 * air

    weak = gaussian_filter(weak, 0.8 * rows / 640)
    weak = weak + 0.35 * (weak - _wide_blur(weak, rows / 50))  # edge enhancement, as the devices do
    weak += 0.012 * gaussian_filter(rng.standard_normal(weak.shape, np.float32), 0.6) * (1.6 - air)
    image = 255 / (1 + np.exp(-(weak - rng.uniform(0.64, 0.70)) * rng.uniform(3.9, 4.6)))
    image = _film(rng, image, rows, columns)
    return Drawing(np.rint(image).astype(np.uint8), tuple(lung > 0.5 for lung in lungs))


def _heart(u: np.ndarray, v: np.ndarray, wide: float) -> np.ndarray:
    """Return a distance that is below 1 in the heart's shadow, which stands on the diaphragm."""
    above = np.minimum(v - 0.63, 0)
    left, right = (
        np.hypot((u - 0.13 - 0.30 * above) / wide, above / 0.17),
        np.hypot((u + 0.08) / 0.17, above / 0.15),
    )
    return np.minimum(left, right)


def _thorax(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, wide: float) -> np.ndarray:
    """Return how much all but the lungs weakens each ray: about 1 through the spine, 0 beside the body."""
    rows = len(v)
    # Shoulders slope from the neck to the edge of the film; below the armpits the flanks end.
    shoulder = 0.01 + 0.135 * np.clip((np.abs(u) - 0.26) / 0.6, 0, 1) ** 0.6 - 9 * (np.abs(u) < 0.26)
    flank = 0.87 + 0.05 * np.sin(7 * v) + 0.03 * v
    arm = v < 0.30 + 0.9 * np.clip(np.abs(u) - 0.93, 0, 1)
    body = ((v > shoulder) & ((np.abs(u) < flank) | arm)).astype(np.float32)
    body = 0.55 * gaussian_filter(body, rows / 150) + 0.45 * _wide_blur(body, rows / 40)
    thick = 0.60 + 0.40 * np.sqrt(np.clip(1 - (u / 1.08) ** 2, 0, 1))
    weak = body * thick * (0.92 + 0.16 * np.clip((v - 0.66) / 0.2, 0, 1))

    knob = _soft(1 - np.hypot((u - 0.12) / 0.10, (v - 0.325) / 0.065), 0.2)
    middle = 1 - np.abs(u - 0.01) / (0.135 + 0.05 * np.clip(v - 0.3, 0, 1))
    middle = _soft(middle, 0.25) * _soft(v - 0.12, 0.15)
    chest = np.maximum(np.maximum(_soft(1 - _heart(u, v, wide), 0.3), 0.8 * knob), 0.85 * middle)
    weak += 0.16 * chest * np.clip((0.95 - v) / 0.2, 0, 1)
    weak += 0.10 * _tube(u, 0.075) * (1 + 0.3 * np.cos(2 * np.pi * (v / 0.052))) * (1 + 0.5 * v)  # spine
    weak -= 0.16 * _tube(u + 0.006, 0.036) * np.clip((0.37 - v) / 0.05, 0, 1)  # trachea
    weak += body * _ribs(rng, u, v)
    for side in (-1, 1):
        out = side * u
        clavicle = v - (0.185 - 0.13 * (out - 0.06) + 0.05 * np.sin(6 * out))
        weak += 0.13 * _shell(clavicle, 0.021) * _soft(out - 0.07, 0.02) * _soft(0.68 - out, 0.04)
        blade = np.hypot((out - 0.80 - 0.25 * (v - 0.3)) / 0.13, (v - 0.33) / 0.19)
        weak += 0.085 * _soft(1 - blade, 0.05) + 0.04 * np.exp(-(((blade - 1) / 0.08) ** 2))
        humerus = np.hypot((out - 0.95) / 0.10, (v - 0.19) / 0.07)
        weak += 0.14 * _soft(1 - humerus, 0.1)
        hilum = np.hypot((out - 0.21) / 0.09, (v - 0.455) / 0.075)
        weak += 0.10 * np.exp(-(hilum**2))
    stomach = np.hypot((u - 0.40) / 0.14, (v - 0.90) / 0.05)
    return weak - rng.uniform(0.05, 0.2) * _soft(1 - stomach, 0.15)


def _clouds(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the cloudy patches of an infiltrate in one upper lung field, 0..2."""
    clouds = np.clip(_field(rng, u.shape, (len(v) / 40, len(v) / 40)) + 0.4, 0, 2)
    side, height = 2 * int(rng.integers(2)) - 1, rng.uniform(0.25, 0.4)
    return clouds * np.exp(-(((u - side * 0.38) / 0.2) ** 2) - ((v - height) / 0.10) ** 2)


def _lung_field(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, side: int, heart: np.ndarray, columns: int
) -> np.ndarray:
    """Return one lung field as 0..1 with a sharp edge. side: -1 on the image's left, 1 on its right."""
    out = side * u
    j = rng.normal(0, 0.012, 5).tolist()
    apex, base = 0.115 + j[0], (0.765 if side < 0 else 0.79) + j[1]
    # Lateral border: from the apex along the ribs down to the costophrenic angle.
    t = np.clip((v - apex) / (0.90 - apex), 0, 1)
    lateral = (
        0.36 + (0.46 + j[2]) * np.sin(np.clip(t * 1.15, 0, 1) * (np.pi / 2)) ** 0.75 - 0.36 * (1 - t) ** 9
    )
    # Medial border: along the mediastinum, on the image's right round the arch of the aorta.
    medial = 0.14 + 0.22 * np.clip(1 - (v - apex) / 0.13, 0, 1) ** 2 + j[3]
    if side > 0:
        medial = medial + 0.05 * np.exp(-(((v - 0.325) / 0.05) ** 2))
    dome = base + 0.62 * np.clip(out - 0.40, 0, 1) ** 2 + 0.16 * np.clip(0.40 - out, 0, 1) ** 2 + 0.4 * j[4]
    edge = np.minimum(np.minimum(lateral - out, out - medial), np.minimum(dome - v, v - apex))
    return np.clip(np.minimum(edge, (heart - 1) * 0.2) * (columns / 2) + 0.5, 0, 1)


def _dome(lung: np.ndarray) -> np.ndarray:
    """Return how deep a lung is along the ray: 0 outside, rising fast from the border to 1."""
    distance = cv2.distanceTransform((lung > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return lung * np.clip(distance / (0.11 * lung.shape[1]), 0.12, 1) ** 0.45


def _ribs(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the shadows of nine pairs of ribs: steep at the back, faint and rising outwards in front."""
    total = np.zeros_like(u)
    distance = np.abs(u)
    slope = rng.uniform(0.9, 1.1)
    for n in range(9):
        top = 0.115 + 0.073 * n
        reach = 0.42 + 0.42 * min(1.0, (n + 1.2) / 4.5)
        s = np.clip(distance / reach, 0, 1.05)
        back = v - top - slope * (0.05 + 0.012 * n) * (1.7 * s**2 - 0.55 * s)
        ends = _soft(distance - 0.07, 0.015) * _soft(reach - distance, 0.02)
        total += 0.105 * _shell(back, 0.0155) * ends * (1 - 0.25 * s)
        if n > 1:
            front = v - (top + slope * 0.155) - 0.135 * np.clip(1 - s, 0, 1) ** 1.3
            total += 0.05 * _shell(front, 0.019) * _soft(distance - 0.30 - 0.012 * n, 0.05) * ends
    return total


def _vessels(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, lungs: list[np.ndarray]) -> np.ndarray:
    """Return branching lung vessels that thin out from the hilum, 0..1."""
    rows, columns = u.shape
    canvas = np.zeros((rows, columns), np.float32)
    for side in (-1, 1):
        start = np.unravel_index(np.argmin((u - side * 0.2) ** 2 + (v - 0.455) ** 2), u.shape)[::-1]
        for angle in np.linspace(-1.35, 1.35, 13) + rng.normal(0, 0.12, 13):
            branches = [(np.array(start, float), angle, 1.0)]
            while branches:
                point, direction, calibre = branches.pop()
                step = columns * 0.045
                end = point + step * np.array([side * np.cos(direction), np.sin(direction)])
                shade = 0.25 + 0.75 * calibre
                thickness = max(1, round(calibre * columns / 105))
                ends = np.rint([point, end]).astype(int).tolist()
                cv2.line(canvas, ends[0], ends[1], shade, thickness, cv2.LINE_AA)
                if calibre > 0.16:
                    branches.append((end, direction + rng.normal(0, 0.2), calibre * 0.8))
                    if rng.random() < 0.35:
                        branches.append((end, direction + rng.choice([-1, 1]) * 0.7, calibre * 0.55))
    return gaussian_filter(canvas, columns / 500) * np.clip(lungs[0] + lungs[1], 0, 1)


def _film(rng: np.random.Generator, image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Add what is on the film beside the patient: the collimator's border and the side marker."""
    marker = np.zeros((rows, columns), np.uint8)
    place = int(0.90 * columns), int(0.09 * rows)
    cv2.putText(marker, "L", place, cv2.FONT_HERSHEY_SIMPLEX, rows / 520, 238, 2, cv2.LINE_AA)
    image = np.maximum(image, marker)
    top, bottom, left, right = (int(n) for n in rng.uniform(0, 0.022, 4) * (rows, rows, columns, columns))
    frame = np.zeros_like(image)
    frame[top : rows - bottom, left : columns - right] = 1
    return np.clip(image * gaussian_filter(frame, 0.7) + 3, 0, 255)


def _tube(distance: np.ndarray, radius: float) -> np.ndarray:
    """Return the projection of a solid rod, 0..1, at a distance from its axis."""
    return np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1))


def _shell(distance: np.ndarray, radius: float) -> np.ndarray:
    """Return the projection of a bone: a dense wall round a lighter core."""
    return 1.5 * _tube(distance, radius) - 0.75 * _tube(distance, radius * 0.72)


def _wide_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by many pixels, at a quarter of the resolution."""
    rows, columns = image.shape
    small = cv2.resize(image, (columns // 4, rows // 4), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / 4, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)


def _soft(inside: np.ndarray, width: float) -> np.ndarray:
    """Return 0..1 across a border at 0: a step of a given width."""
    return np.clip(inside / width + 0.5, 0, 1)


# ---------------------------------------------------------------------------------------------
# Noise


def _field(rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, ...]) -> np.ndarray:
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


def _curve(rng: np.random.Generator, length: int, sigma: float) -> np.ndarray:
    """Return a smooth random curve of standard deviation about 1."""
    noise = gaussian_filter1d(rng.standard_normal(length), sigma, mode="wrap")
    return (noise - noise.mean()) / (noise.std() + 1e-9)


# ---------------------------------------------------------------------------------------------
# Writers: the true folders, names, formats and label values


def us_breast_drawings() -> dict[str, Drawing]:
    """Draw the images of the us_breast phantom, by name as in the real set ("benign (1)")."""
    plan = {}
    for kind, count in (("benign", 14), ("malignant", 10), ("normal", 3)):
        for number in range(1, count + 1):
            lesions = () if kind == "normal" else (kind,) * (2 if number == 4 else 1)
            plan[f"{kind} ({number})"] = lesions
    drawings = {}
    for seed, (name, lesions) in enumerate(plan.items()):
        rng = np.random.default_rng([7, seed])
        rows, columns = (int(n) for n in rng.integers((320, 380), (480, 600)))
        drawings[name] = draw_breast_ultrasound(rng, rows, columns, lesions)
    return drawings


def write_us_breast(folder: Path) -> None:
    """Write BUSI: RGB images, masks of several modes, a second mask for some, empty ones for normal."""
    for number, (name, drawing) in enumerate(us_breast_drawings().items()):
        place = folder / "Dataset_BUSI_with_GT" / name.split()[0]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing.image).convert("RGB").save(place / f"{name}.png", compress_level=1)
        masks = drawing.masks or (np.zeros(drawing.image.shape, bool),)
        for mask, suffix in zip(masks, ("_mask", "_mask_1"), strict=False):
            mode = ("1", "1", "L", "RGB")[number % 4]
            Image.fromarray(mask).convert(mode).save(place / f"{name}{suffix}.png")


def mri_heart_volumes() -> dict[str, DrawnVolume]:
    """Draw the volumes of the mri_heart phantom, by name as in the real set ("la_003")."""
    names_and_shapes = {"la_003": (24, 160, 160), "la_004": (26, 150, 164), "la_007": (23, 168, 156)}
    return {
        name: draw_heart_volume(np.random.default_rng([11, seed]), shape)
        for seed, (name, shape) in enumerate(names_and_shapes.items())
    }


def write_mri_heart(folder: Path) -> None:
    """Write Decathlon Task02: NIfTI pairs of one name, unlabelled test images, macOS's leftovers."""
    root = folder / "Task02_Heart"
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (root / name).mkdir(parents=True)
    volumes = mri_heart_volumes()
    for name, volume in volumes.items():
        for part, values in (("imagesTr", volume.image.astype(np.float32)), ("labelsTr", volume.label)):
            save_nifti(root / part / f"{name}.nii.gz", values, volume.spacing)
            (root / part / f"._{name}.nii.gz").write_bytes(b"\x00\x05\x16\x07 written by macOS, not a volume")
    save_nifti(root / "imagesTs" / "la_001.nii.gz", volume.image[:4].astype(np.float32), volume.spacing)
    content = {
        "name": "LeftAtrium",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "left atrium"},
        "numTraining": len(volumes),
        "numTest": 1,
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in volumes],
        "test": ["./imagesTs/la_001.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(content, indent=1))


def save_nifti(path: Path, upright: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Save (slice to superior, row to posterior, column to left) as NIfTI with RAS axes."""
    values = upright.transpose(2, 1, 0)[::-1, ::-1]
    affine = np.diag([*spacing[::-1], 1.0])
    nibabel.Nifti1Image(np.ascontiguousarray(values), affine).to_filename(path)


def xray_chest_drawings() -> dict[str, Drawing]:
    """Draw the images of the xray_chest phantom, by name as in the real sets ("MCUCXR_0001_0")."""
    names = [f"MCUCXR_{n:04d}_{n % 3 // 2}" for n in range(1, 9)]
    names += [f"CHNCXR_{n:04d}_{int(n > 10)}" for n in range(1, 21)]
    drawings = {}
    for seed, name in enumerate(names):
        rng = np.random.default_rng([13, seed])
        rows, columns = (
            (620, 510) if seed % 4 == 1 else (int(rng.integers(540, 610)), int(rng.integers(580, 650)))
        )
        drawings[name] = draw_chest_xray(rng, rows, columns, infiltrate=name.endswith("1"))
    return drawings


def write_xray_chest(folder: Path) -> None:
    """Write Montgomery (1-bit masks per lung) and Shenzhen (palette and RGB images, some without mask)."""
    places = {
        name: folder / path
        for name, path in {
            "montgomery": "MontgomerySet/CXR_png",
            "left": "MontgomerySet/ManualMask/leftMask",
            "right": "MontgomerySet/ManualMask/rightMask",
            "shenzhen": "ChinaSet_AllFiles/CXR_png",
            "mask": "mask/mask",
        }.items()
    }
    for place in places.values():
        place.mkdir(parents=True)
    for number, (name, drawing) in enumerate(xray_chest_drawings().items()):
        picture = Image.fromarray(drawing.image)
        if name.startswith("MCUCXR"):
            picture.save(places["montgomery"] / f"{name}.png", compress_level=1)
            # leftMask is the lung on the image's left, which is the patient's right one.
            for side, mask in zip(("left", "right"), drawing.masks, strict=True):
                Image.fromarray(mask).save(places[side] / f"{name}.png")
            continue
        mode = picture.convert("RGB") if number % 9 == 0 else shuffled_palette(picture)
        mode.save(places["shenzhen"] / f"{name}.png", compress_level=1)
        if number % 10 != 9:
            mask = Image.fromarray(drawing.masks[0] | drawing.masks[1]).convert("L")
            mask.save(places["mask"] / f"{name}_mask.png")


def shuffled_palette(picture: Image.Image) -> Image.Image:
    """Return a grey image with a palette whose indices are not the grey values, as many real files have."""
    indices = 255 - np.asarray(picture)
    paletted = Image.fromarray(indices, mode="P")
    paletted.putpalette([255 - n // 3 for n in range(768)])
    return paletted


WRITERS: dict[str, Callable[[Path], None]] = {
    "mri_heart": write_mri_heart,
    "us_breast": write_us_breast,
    "xray_chest": write_xray_chest,
}


def main() -> None:
    """Write phantoms to a folder, to see what files are expected."""
    parser = argparse.ArgumentParser(
        prog="python -m medsam_utils.datasets.phantoms", description=main.__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"which: {', '.join(WRITERS)}; all by default"
    )
    arguments = parser.parse_args()
    for name in arguments.names or WRITERS:
        if name not in WRITERS:
            raise BadInputError(f"no phantoms of {name!r}: choose from {', '.join(WRITERS)}")
        write_phantoms(name, arguments.folder / name)
        print(arguments.folder / name)


if __name__ == "__main__":
    main()
