"""Phantom ultrasound: scatterers times echogenicity, blurred by the beam, compressed
logarithmically."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from .drawing import Drawing, curve, field


def b_mode(rng: np.random.Generator, echo: np.ndarray) -> np.ndarray:
    """Return the 8-bit image of tissue whose echoes are given in dB: speckle, beam width, 50 dB
    shown."""
    scatter = rng.standard_normal((2, *echo.shape), np.float32) * 10 ** (echo / 20)
    wave = gaussian_filter(scatter, (0, rng.uniform(0.9, 1.2), rng.uniform(1.6, 2.4)))
    level = 20 * np.log10(np.hypot(*wave) + 1e-6)
    level = gaussian_filter(level, 0.6)
    white = np.percentile(level, 99.7)
    return np.rint(np.clip((level - white + 50) / 50, 0, 1) * 245).astype(np.uint8)


def draw_breast_ultrasound(
    rng: np.random.Generator, rows: int, columns: int, lesions: tuple[str, ...]
) -> Drawing:
    """Draw a B-mode image of a breast: skin, fat, glandular tissue, muscle, chest wall, and
    lesions.

    lesions: "benign" (smooth, oval, brighter behind) or "malignant" (irregular, shadow behind),
    side by side.
    """
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = y / rows, x / columns
    depths = np.cumsum(
        [rng.uniform(0.03, 0.05), *rng.uniform([0.10, 0.32, 0.12], [0.20, 0.42, 0.18])]
    )
    wobble = np.array([[0.004], [0.025], [0.03], [0.02]])
    borders = depths[:, None] + wobble * np.stack(
        [curve(rng, columns, columns / 6) for _ in depths]
    )
    tissue = np.sum([y > border for border in borders], axis=0)  # 0 skin ... 4 chest wall
    echo = np.array([2.0, -17.0, -8.0, -19.0, -27.0], np.float32)[tissue]  # dB

    echo += np.choose(tissue, [0, 2.0, 3.5, 1.0, 2.0]) * field(
        rng, y.shape, (rows / 60, columns / 30)
    )
    fibres = field(rng, y.shape, (rows / 250, columns / 12))
    echo += np.where(tissue == 3, 5, np.where(tissue == 2, 2.5, 0)) * fibres
    septa = streaks(rng, rows, columns, depths)
    echo += 11 * septa * (tissue > 0) * (tissue < 3)
    for border, strength in zip(borders, (6, 7, 12, 18), strict=True):
        echo += (
            strength
            * np.exp(-(((y - border) * rows / 2.2) ** 2))
            * (0.6 + 0.4 * curve(rng, columns, 40))
        )

    masks = []
    for number, kind in enumerate(lesions):
        centre_x = (number + 1) / (len(lesions) + 1) + rng.uniform(-0.08, 0.08)
        centre_y = rng.uniform(depths[1] + 0.04, depths[2] - 0.12)
        size = rng.uniform(0.08, 0.17) / len(lesions) ** 0.5
        distance, inside = _lesion(rng, kind, (x - centre_x) * columns / rows, y - centre_y, size)
        masks.append(inside)
        behind = beneath(inside)
        if kind == "benign":
            edge = gaussian_filter(inside.astype(np.float32), 1.2)
            echo = echo * (1 - edge) + edge * (
                rng.uniform(-28, -17) + 1.5 * field(rng, y.shape, (6, 9))
            )
            echo += 6 * np.exp(-((distance / 0.012) ** 2)) * ~inside
            echo += (
                rng.uniform(2, 6) * gaussian_filter(behind, (6, 10)) * np.exp(-3 * (y - centre_y))
            )
            # Refraction at the flanks of a smooth, round lesion leaves two thin shadows.
            flanks = np.abs(np.gradient(gaussian_filter(behind, (1, 3)), axis=1))
            echo -= 36 * gaussian_filter(flanks, (6, 1)) * np.exp(-3 * (y - centre_y))
        else:
            edge = gaussian_filter(inside.astype(np.float32), 3.5)
            echo = echo * (1 - edge) + edge * (
                rng.uniform(-29, -22) + 4 * field(rng, y.shape, (5, 6))
            )
            echo += 4 * np.exp(-((distance / 0.04) ** 2)) * ~inside
            echo -= (
                rng.uniform(5, 13)
                * gaussian_filter(behind, (9, 13))
                * (0.7 + 0.3 * field(rng, y.shape, (60, 9)))
            )
    echo -= (
        9 * y**1.5 + 6 * np.abs(2 * x - 1) ** 6
    )  # what the depth gain leaves, and the probe's weak ends

    return Drawing(b_mode(rng, echo), tuple(masks))


def _lesion(
    rng: np.random.Generator, kind: str, x: np.ndarray, y: np.ndarray, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return distance from the outline (in image heights, roughly) and the inside, around (0,
    0)."""
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


def put(echo: np.ndarray, inside: float | np.ndarray, where: np.ndarray) -> np.ndarray:
    """Give tissue an echogenicity (dB) in a region, with a border of about two pixels."""
    share = gaussian_filter(where.astype(np.float32), 1.0)
    return echo * (1 - share) + inside * share


def beneath(inside: np.ndarray) -> np.ndarray:
    """Return 1 below an object (away from the probe), 0 elsewhere, float32."""
    return (np.maximum.accumulate(inside, axis=0) & ~inside).astype(np.float32)


def streaks(rng: np.random.Generator, rows: int, columns: int, depths: np.ndarray) -> np.ndarray:
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
    """Write BUSI: RGB images, masks of several modes, a second mask for some, empty ones for
    normal."""
    for number, (name, drawing) in enumerate(us_breast_drawings().items()):
        place = folder / "Dataset_BUSI_with_GT" / name.split()[0]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing.image).convert("RGB").save(place / f"{name}.png", compress_level=1)
        masks = drawing.masks or (np.zeros(drawing.image.shape, bool),)
        for mask, suffix in zip(masks, ("_mask", "_mask_1"), strict=False):
            mode = ("1", "1", "L", "RGB")[number % 4]
            Image.fromarray(mask).convert(mode).save(place / f"{name}{suffix}.png")
