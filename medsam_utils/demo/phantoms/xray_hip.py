"""Phantom X-rays of one hip joint: femur and half of the pelvis, in soft tissue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel
import numpy as np
from scipy.ndimage import gaussian_filter

from .drawing import field

# Outlines at the size of 512 x 324 pixels, (column, row); smoothed after they are filled.
ILIUM = (
    *(
        (118, -40),
        (300, -40),
        (312, 60),
        (286, 110),
        (250, 150),
        (262, 196),
        (300, 236),
        (360, 246),
    ),
    *(
        (360, 296),
        (292, 300),
        (270, 330),
        (236, 352),
        (216, 330),
        (232, 300),
        (204, 280),
        (206, 246),
    ),
    *((190, 206), (150, 178), (128, 176), (112, 150), (104, 70)),
)
HOLE = ((252, 284), (282, 276), (290, 292), (268, 316), (248, 316))  # the obturator foramen
SHAFT = (
    *(
        (168, 250),
        (150, 290),
        (128, 300),
        (110, 262),
        (84, 254),
        (70, 284),
        (66, 330),
        (78, 400),
        (84, 560),
    ),
    *((146, 560), (146, 420), (152, 380), (170, 350), (166, 330), (190, 300)),
)
HEAD = ((160, 238), 44)


@dataclass(frozen=True)
class DrawnHip:
    """What was drawn, both (row, column). image: float64, 8-bit-like, up to a little above 255;
    label: uint8, 0, 1 femur, 2 ilium.
    """

    image: np.ndarray
    label: np.ndarray


def draw_hip_xray(
    rng: np.random.Generator, rows: int, columns: int, strip: bool = False
) -> DrawnHip:
    """Draw a radiograph of one hip. strip: labels one pixel wide along the border, as some real
    ones have."""
    stretch = np.diag([columns / 324, rows / 512])
    turn = cv2.getRotationMatrix2D((162, 256), rng.normal(0, 3), rng.uniform(0.96, 1.04))
    turn[:, 2] += rng.normal(0, 5, 2)

    def filled(*outlines) -> np.ndarray:
        """Fill outlines, even-odd: 0 or 1."""
        canvas = np.zeros((rows, columns), np.uint8)
        points = [
            cv2.transform(np.array([outline], np.float64), stretch @ turn)[0]
            for outline in outlines
        ]
        cv2.fillPoly(canvas, [np.rint(p).astype(np.int32) for p in points], 1)
        return canvas.astype(np.float32)

    circle = np.linspace(0, 2 * np.pi, 60)[:, np.newaxis]
    head = filled(HEAD[0] + HEAD[1] * np.hstack([np.cos(circle), np.sin(circle)]))
    neck = filled(((128, 262), (176, 262), (176, 300), (120, 330), (96, 290)))
    warp = [6 * field(rng, (rows, columns), (45, 45)) for _ in range(2)]
    grid = np.mgrid[0:rows, 0:columns].astype(np.float32)

    def bent(shape: np.ndarray, smooth: float) -> np.ndarray:
        """Round the corners of a shape, and bend it as this patient is built."""
        at_column, at_row = (
            (grid[1] + warp[0]).astype(np.float32),
            (grid[0] + warp[1]).astype(np.float32),
        )
        moved = cv2.remap(
            gaussian_filter(shape, smooth),
            at_column,
            at_row,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return moved > 0.5

    femur = bent(np.maximum(np.maximum(head, neck), filled(SHAFT)), 5)
    ilium = bent(filled(ILIUM, HOLE), 4)
    label = np.where(femur, 1, 2 * ilium).astype(np.uint8)

    flesh = (
        0.30
        + 0.10 * np.cos((grid[1] / columns - 0.45) * 3)
        + 0.04 * field(rng, (rows, columns), (60, 50))
    )
    weak = flesh + 0.015 * field(rng, (rows, columns), (5, 5))
    for bone, strength in ((femur, 0.42), (ilium, 0.30)):
        # Dense at the wall, lighter and meshed within.
        depth = cv2.distanceTransform(bone.astype(np.uint8), cv2.DIST_L2, 5)
        wall = np.exp(-(((depth - 4) / 4) ** 2)) * (depth > 0)
        mesh = 0.03 * field(rng, (rows, columns), (1.2, 1.2)) * (depth > 0)
        weak += strength * np.clip(depth / 22, 0, 1) ** 0.5 + 0.26 * wall + mesh
    joint = femur & ilium
    weak += 0.10 * gaussian_filter(joint.astype(np.float32), 2)
    weak = gaussian_filter(weak, 0.9) + 0.010 * rng.standard_normal((rows, columns))
    low = rng.uniform(40, 120)
    shown = (weak - weak.min()) / np.ptp(weak)
    # As in the real files: floats whose maximum is 255 and a few millionths.
    image = low + (255.00000807 - low) * shown.astype(np.float64) ** 0.9
    if strip:
        label[:, -1] = np.where(label[:, -1] == 0, 2, label[:, -1])
        label[0, : columns // 3] = 1
    return DrawnHip(image, label)


def xray_hip_drawings() -> dict[str, DrawnHip]:
    """Draw the images of the xray_hip phantom, by number as in the real set ("001")."""
    drawings = {}
    for number in (*range(1, 13), 44, 140):
        rng = np.random.default_rng([43, number])
        rows, columns = (512, int(rng.integers(300, 340)))
        drawings[f"{number:03d}"] = draw_hip_xray(rng, rows, columns, strip=number % 4 == 0)
    return drawings


def write_xray_hip(folder: Path) -> None:
    """Write pictures in NIfTI files, (row, column, 1), float64; labels as integers and as
    floats."""
    for part in ("images", "labels"):
        (folder / "zm6bxzhmfz-1" / part).mkdir(parents=True)
    for number, (name, drawing) in enumerate(xray_hip_drawings().items()):
        label = drawing.label.astype(np.float64 if number % 3 == 0 else np.uint8)
        for part, values in (("image", drawing.image), ("label", label)):
            path = folder / "zm6bxzhmfz-1" / f"{part}s" / f"{part}_{name}.nii.gz"
            nibabel.Nifti1Image(values[..., np.newaxis], np.eye(4)).to_filename(path)
