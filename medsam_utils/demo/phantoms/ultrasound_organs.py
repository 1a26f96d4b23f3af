"""Phantom ultrasound of the abdomen through a curved probe: kidneys, and tumours of the ovary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from .drawing import Drawing, field
from .ultrasound import b_mode, beneath, put

TUMOUR_COLOURS = (
    *((64, 0, 0), (0, 64, 0), (64, 64, 0), (0, 0, 64)),
    *((64, 0, 64), (0, 64, 64), (128, 0, 0), (192, 0, 0)),
)
"""The colours of the eight kinds of tumour in the us_ovarian phantom's masks: dark ones among
them."""


def draw_kidney_ultrasound(
    rng: np.random.Generator, rows: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a kidney behind the liver; return the image and how much of each pixel is kidney, both
    8-bit."""
    y, x, depth, inside = _fan(rows, columns)
    echo = _wall(rng, depth) + 1.6 * field(rng, y.shape, (7, 7))
    bend = 0.02 * field(rng, y.shape, (rows / 7, rows / 7))
    tilt, place = rng.uniform(-0.5, 0.5), rng.normal((0, 0.56), (0.05, 0.03))
    u, v = x - place[0], y - place[1]
    u, v = np.cos(tilt) * u + np.sin(tilt) * v + bend, np.cos(tilt) * v - np.sin(tilt) * u + bend
    long, wide = rng.uniform((0.30, 0.16), (0.38, 0.20))
    notch = 0.12 * np.exp(-((u / 0.10) ** 2)) * (v > 0)  # the hilum
    ratio = np.hypot(u / long, v / wide) + notch
    kidney = ratio < 1
    echo = put(echo, -8 + 2 * field(rng, y.shape, (5, 8)), ratio < 1.16)  # fat round it
    echo = put(echo, -19 + 1.5 * field(rng, y.shape, (4, 5)), kidney)
    angle = np.arctan2(v / wide, u / long)
    pyramids = (np.abs(ratio - 0.69) < 0.15) & (np.cos(9 * angle + rng.uniform(0, 6)) > 0.1)
    echo = put(echo, -27.0, pyramids)
    sinus = np.hypot(u / (0.55 * long), v / (0.42 * wide)) < 1 + 0.22 * field(rng, y.shape, (9, 9))
    echo = put(echo, -4 + 4 * field(rng, y.shape, (3, 5)), sinus & kidney)
    echo += 7 * np.exp(-(((ratio - 1.02) / 0.03) ** 2)) * (0.6 + 0.4 * np.cos(2 * angle))
    echo -= 11 * np.clip(depth, 0, 1) ** 1.4 + 2.5 * np.sin(
        9 * np.arctan2(x, y + 0.35) + rng.uniform(0, 6)
    )
    image = np.where(inside, b_mode(rng, echo), 0)
    share = np.clip((1 - ratio) * wide * rows / 1.5 + 0.5, 0, 1)
    return image.astype(np.uint8), np.rint(255 * share).astype(np.uint8)


def draw_ovarian_ultrasound(
    rng: np.random.Generator, rows: int, columns: int, solid: float
) -> Drawing:
    """Draw a pelvic mass: cysts with septa and a wall, and tissue in a share `solid` of it,
    0..1."""
    y, x, depth, inside = _fan(rows, columns)
    echo = _wall(rng, depth) + 4 * field(rng, y.shape, (9, 14)) + 2 * field(rng, y.shape, (3, 6))
    uterus = np.hypot((x - 0.38) / 0.25, (y - 0.62) / 0.16)
    echo = put(echo, -16 + 1.5 * field(rng, y.shape, (6, 6)), uterus < 1)
    echo += 6 * np.exp(-(((uterus - 0.25) / 0.12) ** 2))
    place, radii = rng.normal((-0.12, 0.52), 0.05), rng.uniform((0.20, 0.16), (0.34, 0.25))
    u, v = x - place[0], y - place[1]
    ratio = np.hypot(u / radii[0], v / radii[1]) + 0.05 * field(rng, y.shape, (rows / 8, rows / 8))
    mass = (ratio < 1) & inside
    echo += (
        7 * gaussian_filter(beneath(ratio < 0.95), (4, 6)) * (1 - solid)
    )  # brighter behind fluid
    texture = field(rng, y.shape, (rows / 14, rows / 14))
    level = np.quantile(texture[mass], 1 - solid)
    tissue = texture > level
    echo = put(echo, -44.0, mass)
    echo = put(echo, -15 + 3 * field(rng, y.shape, (3, 4)), mass & tissue)
    septa = np.abs(field(rng, y.shape, (rows / 9, rows / 9))) < 0.05
    echo = put(echo, -12.0, septa & mass)
    echo += 10 * np.exp(-(((ratio - 1) / 0.04) ** 2))
    echo -= 11 * np.clip(depth, 0, 1) ** 1.4
    return Drawing(np.where(inside, b_mode(rng, echo), 0).astype(np.uint8), (mass,))


def _fan(rows: int, columns: int) -> tuple[np.ndarray, ...]:
    """Return y, x (in image heights, x from the middle), depth below a curved probe, and what it
    sees."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = y / rows, (x - columns / 2) / rows
    reach = np.hypot(x, y + 0.35)
    return (
        y,
        x,
        reach - 0.38,
        (reach > 0.38) & (reach < 1.33) & (np.abs(np.arctan2(x, y + 0.35)) < 0.62),
    )


def _wall(rng: np.random.Generator, depth: np.ndarray) -> np.ndarray:
    """Return skin, fat, muscle and what lies below, in dB."""
    ends = np.cumsum(rng.uniform((0.02, 0.05, 0.04), (0.03, 0.08, 0.07)))
    echo = np.array([2.0, -13.0, -18.0, -14.0], np.float32)[np.searchsorted(ends, depth)]
    for end in ends:
        echo = echo + 10 * np.exp(-(((depth - end) / 0.008) ** 2))
    return echo + 3 * field(rng, depth.shape, (2, 18)) * (depth < ends[-1])


def us_kidney_drawings() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draw image and soft mask of the us_kidney phantom, by file name."""
    return {
        str(number): draw_kidney_ultrasound(np.random.default_rng([37, number]), 256, 320)
        for number in (*range(1, 16), 100)
    }


def write_us_kidney(folder: Path) -> None:
    """Write CT2US: folders within folders of one name, masks with grey borders."""
    for part in ("slice", "mask"):
        (folder / part / part).mkdir(parents=True)
    for name, (image, share) in us_kidney_drawings().items():
        Image.fromarray(image).convert("RGB").save(
            folder / f"slice/slice/{name}.png", compress_level=1
        )
        Image.fromarray(share).save(folder / f"mask/mask/{name}.png")


def us_ovarian_drawings() -> dict[str, Drawing]:
    """Draw the images of the us_ovarian phantom, by number; the kind of tumour is the number modulo
    8."""
    drawings = {}
    for number in (*range(1, 15), 120, 1469):
        rng = np.random.default_rng([41, number])
        size = (int(n) for n in rng.integers((280, 360), (330, 430)))
        drawings[str(number)] = draw_ovarian_ultrasound(rng, *size, solid=(number % 8) / 9)
    return drawings


def write_us_ovarian(folder: Path) -> None:
    """Write MMOTU: upper-case suffixes, coloured masks, the copies with 0 and 1 that look black."""
    root = folder / "OTU_2d"
    for part in ("images", "annotations"):
        (root / part).mkdir(parents=True)
    kinds = []
    for name, drawing in us_ovarian_drawings().items():
        kind, (mask,) = int(name) % 8, drawing.masks
        Image.fromarray(drawing.image).convert("RGB").save(root / f"images/{name}.JPG", quality=95)
        coloured = np.where(mask[..., np.newaxis], TUMOUR_COLOURS[kind], 0).astype(np.uint8)
        Image.fromarray(coloured).save(root / f"annotations/{name}.PNG")
        for suffix in ("_binary", "_binary_binary"):
            Image.fromarray(mask.astype(np.uint8)).save(root / f"annotations/{name}{suffix}.PNG")
        kinds.append(f"{name}.JPG  {kind}\n")
    (root / "train_cls.txt").write_text("".join(kinds[::2]))
    (root / "val_cls.txt").write_text("".join(kinds[1::2]))
