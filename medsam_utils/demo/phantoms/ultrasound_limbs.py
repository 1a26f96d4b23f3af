"""Phantom ultrasound of neck and limbs: nerves between muscles, muscles round bones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from .drawing import Drawing, curve, field
from .ultrasound import b_mode, beneath, put, streaks


def draw_nerve_ultrasound(
    anatomy: np.random.Generator, rng: np.random.Generator, nerve: bool
) -> Drawing:
    """Draw the side of a neck, 420 x 580: muscles, vessel, and the brachial plexus between the
    scalenes.

    anatomy: draws what the frames of one patient share; rng: what differs from frame to frame.
    Without `nerve` the frame lies beside the plexus, and the mask is empty, as most are in the real
    set.
    """
    rows, columns = 420, 580
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = y / rows, x / rows
    sway = rng.normal(0, 0.012, 2)
    x, y = (
        x + sway[0] + 0.012 * field(rng, y.shape, (50, 50)),
        y + 0.01 * field(rng, y.shape, (50, 50)),
    )
    skin, fat = anatomy.uniform((0.03, 0.12), (0.05, 0.17))
    echo = np.where(y < skin, 2.0, np.where(y < fat, -12.0, -15.0)).astype(np.float32)
    echo += 3 * field(rng, y.shape, (8, 22))
    echo += 12 * streaks(rng, rows, columns, np.array([skin, 0, fat + 0.02]))
    echo += 8 * streaks(rng, rows, columns, np.array([fat, 0, 0.95]))

    fibres = field(rng, y.shape, (1.5, 26))
    side = 1 if anatomy.random() < 0.5 else -1
    middle = 0.69 + anatomy.normal(0, 0.05)
    u = side * (x - middle)
    muscles = (  # sternocleidomastoid, anterior and middle scalene: (u, y), radii, tilt
        ((0.05, fat + 0.09), (0.62, 0.085), 0.06),
        ((-0.24, 0.50), (0.20, 0.15), 0.35),
        ((0.27, 0.52), (0.22, 0.17), -0.3),
    )
    for centre, radii, tilt in muscles:
        ratio = _ellipse(u, y, centre, radii * anatomy.uniform(0.9, 1.1, 2), tilt)
        echo = put(echo, -24 + 3.5 * fibres, ratio < 1)
        echo += 10 * np.exp(-(((ratio - 1) / 0.05) ** 2))
    vessel = _ellipse(u, y, (-0.52, 0.46), (0.085, 0.075), 0.0)
    echo = put(echo, -48.0, vessel < 1)
    echo += 9 * np.exp(-(((vessel - 1.05) / 0.08) ** 2)) + 4 * beneath(vessel < 1)
    bone = 0.80 + 0.05 * np.sin(5 * u + anatomy.uniform(0, 6)) + 0.05 * np.abs(u)
    echo = np.where(y > bone, -42, echo) + 22 * np.exp(-(((y - bone) / 0.009) ** 2)) * (
        np.abs(u) < 0.45
    )

    mask = np.zeros(y.shape, bool)
    if nerve:
        count, place = int(anatomy.integers(3, 6)), np.array([0.02, 0.44])
        lean = anatomy.uniform(0.2, 0.5)
        hull = _ellipse(u, y, (place[0], place[1] + 0.02), (0.095, 0.030 + 0.026 * count), -lean)
        mask = hull < 1 + 0.05 * field(rng, y.shape, (30, 30))
        echo = put(echo, -11 + 2 * field(rng, y.shape, (4, 6)), hull < 1.05)
        for number in range(count):
            along = (number - (count - 1) / 2) * 0.054
            at = place + along * np.array([np.sin(lean), 1.0]) + anatomy.normal(0, 0.008, 2)
            fascicle = _ellipse(u, y, at, anatomy.uniform(0.022, 0.034, 2), 0.0)
            echo = put(echo, -27.0, fascicle < 1)
            echo += 5 * np.exp(-(((fascicle - 1.1) / 0.15) ** 2))
    echo -= 8 * np.clip(y, 0, 1) ** 1.5 + 1.5 * curve(rng, columns, 9)
    return Drawing(b_mode(rng, echo), (mask,))


def draw_muscle_ultrasound(rng: np.random.Generator, muscle: str, ill: bool) -> Drawing:
    """Draw a limb across; the mask is one muscle's section: BB on the humerus, TA beside the tibia,
    GM.

    ill: fat and fibrous tissue between the fibres make the muscle bright and hide what lies below
    it.
    """
    rows, columns = (int(n) for n in rng.integers((300, 380), (360, 470)))
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = y / rows, x / rows - columns / rows / 2
    x = x + 0.02 * field(rng, y.shape, (rows / 9, rows / 9))
    fat = rng.uniform(0.10, 0.20) + 0.18 * x**2
    echo = np.where(y < 0.03, 2.0, np.where(y < fat, -14.0, -19.0)).astype(np.float32)
    echo += 2.5 * field(rng, y.shape, (4, 14)) + 9 * streaks(
        rng, rows, columns, np.array([0.04, 0, 0.15])
    )
    fibres = field(rng, y.shape, (2.2, 5))
    deep = put(echo, -25 + 4 * fibres, y > fat + 0.02)
    echo = deep + 8 * np.exp(-(((y - fat) / 0.012) ** 2))

    centre, radii, tilt = {
        "BB": ((0.0, 0.38), (0.50, 0.20), 0.0),
        "GM": ((-0.06, 0.37), (0.62, 0.16), 0.12),
        "TA": ((0.10, 0.40), (0.34, 0.22), -0.35),
    }[muscle]
    centre = np.array(centre) + rng.normal(0, 0.015, 2)
    ratio = _ellipse(
        x, y, centre, radii * rng.uniform(0.88, 1.08, 2), tilt + rng.normal(0, 0.06), 2.5
    )
    mask = (ratio < 1) & (y > fat + 0.012)
    dots = gaussian_filter((rng.random(y.shape) < 0.012).astype(np.float32), (0.7, 2.2))
    inner = -14 + 3 * fibres if ill else -27 + 3 * fibres + 40 * dots
    echo = put(echo, inner, mask)
    if muscle == "TA":  # the central tendon
        echo += (
            14 * np.exp(-(((y - centre[1] - 0.3 * (x - centre[0])) / 0.008) ** 2)) * (ratio < 0.5)
        )
    rim = np.exp(-(((ratio - 1) / 0.05) ** 2)) * (y > fat)
    echo += (7 if ill else 13) * rim

    place = {"BB": (0.02, 0.76), "GM": (0.3, 1.06), "TA": (-0.42, 0.52)}[muscle]
    bone = _ellipse(x, y, place, (0.15, 0.13), 0.0)
    surface = np.exp(-(((bone - 1) / 0.07) ** 2)) * (y < place[1] + 0.02)
    echo = np.where((bone < 1) | (beneath(bone < 1) > 0), -46, echo) + (14 if ill else 26) * surface
    echo -= (26 if ill else 7) * np.clip(y - 0.35, 0, 1) + 5 * np.abs(x) ** 4
    return Drawing(b_mode(rng, echo), (mask,))


def _ellipse(
    x: np.ndarray, y: np.ndarray, centre, radii, tilt: float, power: float = 2.0
) -> np.ndarray:
    """Return 1 on the outline, less inside."""
    x, y = x - centre[0], y - centre[1]
    x, y = np.cos(tilt) * x + np.sin(tilt) * y, np.cos(tilt) * y - np.sin(tilt) * x
    return (np.abs(x / radii[0]) ** power + np.abs(y / radii[1]) ** power) ** (1 / power)


def us_nerve_drawings() -> dict[str, Drawing]:
    """Draw the frames of the us_nerve phantom, by name as in the real set (subject_frame)."""
    frames = {1: (1, 2, 10, 11), 2: (1, 3, 7), 12: (1, 2, 5, 9), 47: (2, 3, 20)}
    return {
        f"{subject}_{frame}": draw_nerve_ultrasound(
            np.random.default_rng([29, subject]),
            np.random.default_rng([29, subject, frame]),
            nerve=frame not in (5, 7),
        )
        for subject in frames
        for frame in frames[subject]
    }


def write_us_nerve(folder: Path) -> None:
    """Write the Kaggle competition's `train`: TIFF, an empty mask where no nerve is seen; `test`
    has none."""
    place, unlabelled = folder / "train", folder / "test"
    for path in (place, unlabelled):
        path.mkdir(parents=True)
    for name, drawing in us_nerve_drawings().items():
        Image.fromarray(drawing.image).save(place / f"{name}.tif")
        Image.fromarray(drawing.masks[0].astype(np.uint8) * 255).save(place / f"{name}_mask.tif")
    Image.fromarray(drawing.image[:, ::-1]).save(unlabelled / "1.tif")


def us_muscle_drawings() -> dict[str, Drawing]:
    """Draw the images of the us_muscle phantom, by key ("BB/Healthy/1"); the file names repeat."""
    return {
        f"{muscle}/{state}/{number}": draw_muscle_ultrasound(
            np.random.default_rng([31, seed, number]), muscle, state == "Pathological"
        )
        for seed, (muscle, state) in enumerate(
            (muscle, state)
            for muscle in ("BB", "GM", "TA")
            for state in ("Healthy", "Pathological")
        )
        for number in (1, 2, 10)
    }


def write_us_muscle(folder: Path) -> None:
    """Write the images and masks of one name per muscle and state; images stored as RGB."""
    for key, drawing in us_muscle_drawings().items():
        muscle, state, number = key.split("/")
        for part in ("Images", "Masks"):
            (folder / "Polito-Radboud-DeepLearningUS" / muscle / state / part).mkdir(
                parents=True, exist_ok=True
            )
        place = folder / "Polito-Radboud-DeepLearningUS" / muscle / state
        Image.fromarray(drawing.image).convert("RGB").save(
            place / "Images" / f"{number}.png", compress_level=1
        )
        Image.fromarray(drawing.masks[0]).convert("L").save(place / "Masks" / f"{number}.png")
