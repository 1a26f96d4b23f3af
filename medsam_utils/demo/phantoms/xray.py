"""Phantom X-rays: what the beam meets on its way, added up; then the film."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from .drawing import Drawing, field, soft, wide_blur


def draw_chest_xray(
    rng: np.random.Generator, rows: int, columns: int, infiltrate: bool = False
) -> Drawing:
    """Draw a frontal chest radiograph, dark where rays pass; masks: (lung on the image's left, on
    its right).

    infiltrate: with cloudy patches in the upper fields, as in tuberculosis.
    """
    v, u = np.mgrid[0:rows, 0:columns].astype(np.float32)
    u = (u / columns - 0.5) * 2 - rng.normal(0, 0.02)
    v = v / rows - rng.normal(0, 0.012)
    smooth = (rows / 12, columns / 12)
    u = u + 0.014 * field(rng, u.shape, smooth)
    v = v + 0.008 * field(rng, u.shape, smooth)
    width = rng.uniform(0.93, 1.05)
    u = u / width

    wide = 0.33 + rng.normal(0, 0.015)
    lungs = [_lung_field(rng, u, v, side, _heart(u, v, wide), columns) for side in (-1, 1)]
    air = sum(_dome(lung) for lung in lungs)

    # What lies round the lungs has soft edges: half the resolution is enough, and four times as
    # fast.
    weak = _thorax(rng, u[::2, ::2], v[::2, ::2], wide)
    if infiltrate:
        weak += 0.12 * _clouds(rng, u[::2, ::2], v[::2, ::2])
    weak = cv2.resize(weak, (columns, rows), interpolation=cv2.INTER_CUBIC)
    weak += 0.12 * _vessels(rng, u, v, lungs) - 0.50 * air

    weak = gaussian_filter(weak, 0.8 * rows / 640)
    weak = weak + 0.35 * (weak - wide_blur(weak, rows / 50))  # edge enhancement, as the devices do
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
    """Return how much all but the lungs weakens each ray: about 1 through the spine, 0 beside the
    body."""
    rows = len(v)
    # Shoulders slope from the neck to the edge of the film; below the armpits the flanks end.
    shoulder = (
        0.01 + 0.135 * np.clip((np.abs(u) - 0.26) / 0.6, 0, 1) ** 0.6 - 9 * (np.abs(u) < 0.26)
    )
    flank = 0.87 + 0.05 * np.sin(7 * v) + 0.03 * v
    arm = v < 0.30 + 0.9 * np.clip(np.abs(u) - 0.93, 0, 1)
    body = ((v > shoulder) & ((np.abs(u) < flank) | arm)).astype(np.float32)
    body = 0.55 * gaussian_filter(body, rows / 150) + 0.45 * wide_blur(body, rows / 40)
    thick = 0.60 + 0.40 * np.sqrt(np.clip(1 - (u / 1.08) ** 2, 0, 1))
    weak = body * thick * (0.92 + 0.16 * np.clip((v - 0.66) / 0.2, 0, 1))

    knob = soft(1 - np.hypot((u - 0.12) / 0.10, (v - 0.325) / 0.065), 0.2)
    middle = 1 - np.abs(u - 0.01) / (0.135 + 0.05 * np.clip(v - 0.3, 0, 1))
    middle = soft(middle, 0.25) * soft(v - 0.12, 0.15)
    chest = np.maximum(np.maximum(soft(1 - _heart(u, v, wide), 0.3), 0.8 * knob), 0.85 * middle)
    weak += 0.16 * chest * np.clip((0.95 - v) / 0.2, 0, 1)
    weak += (
        0.10 * _tube(u, 0.075) * (1 + 0.3 * np.cos(2 * np.pi * (v / 0.052))) * (1 + 0.5 * v)
    )  # spine
    weak -= 0.16 * _tube(u + 0.006, 0.036) * np.clip((0.37 - v) / 0.05, 0, 1)  # trachea
    weak += body * _ribs(rng, u, v)
    for side in (-1, 1):
        out = side * u
        clavicle = v - (0.185 - 0.13 * (out - 0.06) + 0.05 * np.sin(6 * out))
        weak += 0.13 * _shell(clavicle, 0.021) * soft(out - 0.07, 0.02) * soft(0.68 - out, 0.04)
        blade = np.hypot((out - 0.80 - 0.25 * (v - 0.3)) / 0.13, (v - 0.33) / 0.19)
        weak += 0.085 * soft(1 - blade, 0.05) + 0.04 * np.exp(-(((blade - 1) / 0.08) ** 2))
        humerus = np.hypot((out - 0.95) / 0.10, (v - 0.19) / 0.07)
        weak += 0.14 * soft(1 - humerus, 0.1)
        hilum = np.hypot((out - 0.21) / 0.09, (v - 0.455) / 0.075)
        weak += 0.10 * np.exp(-(hilum**2))
    stomach = np.hypot((u - 0.40) / 0.14, (v - 0.90) / 0.05)
    return weak - rng.uniform(0.05, 0.2) * soft(1 - stomach, 0.15)


def _clouds(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the cloudy patches of an infiltrate in one upper lung field, 0..2."""
    clouds = np.clip(field(rng, u.shape, (len(v) / 40, len(v) / 40)) + 0.4, 0, 2)
    side, height = 2 * int(rng.integers(2)) - 1, rng.uniform(0.25, 0.4)
    return clouds * np.exp(-(((u - side * 0.38) / 0.2) ** 2) - ((v - height) / 0.10) ** 2)


def _lung_field(
    rng: np.random.Generator,
    u: np.ndarray,
    v: np.ndarray,
    side: int,
    heart: np.ndarray,
    columns: int,
) -> np.ndarray:
    """Return one lung field as 0..1 with a sharp edge. side: -1 on the image's left, 1 on its
    right."""
    out = side * u
    j = rng.normal(0, 0.012, 5).tolist()
    apex, base = 0.115 + j[0], (0.765 if side < 0 else 0.79) + j[1]
    # Lateral border: from the apex along the ribs down to the costophrenic angle.
    t = np.clip((v - apex) / (0.90 - apex), 0, 1)
    lateral = (
        0.36
        + (0.46 + j[2]) * np.sin(np.clip(t * 1.15, 0, 1) * (np.pi / 2)) ** 0.75
        - 0.36 * (1 - t) ** 9
    )
    # Medial border: along the mediastinum, on the image's right round the arch of the aorta.
    medial = 0.14 + 0.22 * np.clip(1 - (v - apex) / 0.13, 0, 1) ** 2 + j[3]
    if side > 0:
        medial = medial + 0.05 * np.exp(-(((v - 0.325) / 0.05) ** 2))
    dome = (
        base
        + 0.62 * np.clip(out - 0.40, 0, 1) ** 2
        + 0.16 * np.clip(0.40 - out, 0, 1) ** 2
        + 0.4 * j[4]
    )
    edge = np.minimum(np.minimum(lateral - out, out - medial), np.minimum(dome - v, v - apex))
    return np.clip(np.minimum(edge, (heart - 1) * 0.2) * (columns / 2) + 0.5, 0, 1)


def _dome(lung: np.ndarray) -> np.ndarray:
    """Return how deep a lung is along the ray: 0 outside, rising fast from the border to 1."""
    distance = cv2.distanceTransform((lung > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return lung * np.clip(distance / (0.11 * lung.shape[1]), 0.12, 1) ** 0.45


def _ribs(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the shadows of nine pairs of ribs: steep at the back, faint and rising outwards in
    front."""
    total = np.zeros_like(u)
    distance = np.abs(u)
    slope = rng.uniform(0.9, 1.1)
    for n in range(9):
        top = 0.115 + 0.073 * n
        reach = 0.42 + 0.42 * min(1.0, (n + 1.2) / 4.5)
        s = np.clip(distance / reach, 0, 1.05)
        back = v - top - slope * (0.05 + 0.012 * n) * (1.7 * s**2 - 0.55 * s)
        ends = soft(distance - 0.07, 0.015) * soft(reach - distance, 0.02)
        total += 0.105 * _shell(back, 0.0155) * ends * (1 - 0.25 * s)
        if n > 1:
            front = v - (top + slope * 0.155) - 0.135 * np.clip(1 - s, 0, 1) ** 1.3
            total += 0.05 * _shell(front, 0.019) * soft(distance - 0.30 - 0.012 * n, 0.05) * ends
    return total


def _vessels(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, lungs: list[np.ndarray]
) -> np.ndarray:
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
                        branches.append(
                            (end, direction + rng.choice([-1, 1]) * 0.7, calibre * 0.55)
                        )
    return gaussian_filter(canvas, columns / 500) * np.clip(lungs[0] + lungs[1], 0, 1)


def _film(rng: np.random.Generator, image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Add what is on the film beside the patient: the collimator's border and the side marker."""
    marker = np.zeros((rows, columns), np.uint8)
    place = int(0.90 * columns), int(0.09 * rows)
    cv2.putText(marker, "L", place, cv2.FONT_HERSHEY_SIMPLEX, rows / 520, 238, 2, cv2.LINE_AA)
    image = np.maximum(image, marker)
    top, bottom, left, right = (
        int(n) for n in rng.uniform(0, 0.022, 4) * (rows, rows, columns, columns)
    )
    frame = np.zeros_like(image)
    frame[top : rows - bottom, left : columns - right] = 1
    return np.clip(image * gaussian_filter(frame, 0.7) + 3, 0, 255)


def _tube(distance: np.ndarray, radius: float) -> np.ndarray:
    """Return the projection of a solid rod, 0..1, at a distance from its axis."""
    return np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1))


def _shell(distance: np.ndarray, radius: float) -> np.ndarray:
    """Return the projection of a bone: a dense wall round a lighter core."""
    return 1.5 * _tube(distance, radius) - 0.75 * _tube(distance, radius * 0.72)


def xray_chest_drawings() -> dict[str, Drawing]:
    """Draw the images of the xray_chest phantom, by name as in the real sets ("MCUCXR_0001_0")."""
    names = [f"MCUCXR_{n:04d}_{n % 3 // 2}" for n in range(1, 9)]
    names += [f"CHNCXR_{n:04d}_{int(n > 10)}" for n in range(1, 21)]
    drawings = {}
    for seed, name in enumerate(names):
        rng = np.random.default_rng([13, seed])
        rows, columns = (
            (620, 510)
            if seed % 4 == 1
            else (int(rng.integers(540, 610)), int(rng.integers(580, 650)))
        )
        drawings[name] = draw_chest_xray(rng, rows, columns, infiltrate=name.endswith("1"))
    return drawings


def write_xray_chest(folder: Path) -> None:
    """Write Montgomery (1-bit masks per lung) and Shenzhen (palette and RGB images, some without
    mask)."""
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
    """Return a grey image with a palette whose indices are not the grey values, as many real files
    have."""
    indices = 255 - np.asarray(picture)
    paletted = Image.fromarray(indices, mode="P")
    paletted.putpalette([255 - n // 3 for n in range(768)])
    return paletted
