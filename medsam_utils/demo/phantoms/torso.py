"""The anatomy of phantom CT and PET: which tissue each voxel of a body is, from the pelvis to the
head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .solids import Space

# Tissue: (Hounsfield units with contrast medium, standardized uptake of FDG).
TISSUES: dict[str, tuple[float, float]] = {
    "air": (-1000, 0.0),
    "table": (60, 0.0),
    "fat": (-105, 0.25),
    "muscle": (58, 0.7),
    "bowel": (35, 1.1),
    "gas": (-850, 0.6),
    "lung": (-840, 0.4),
    "bronchi and vessels": (60, 0.9),
    "heart": (150, 4.5),
    "blood": (185, 1.6),
    "liver": (108, 2.2),
    "liver vessel": (172, 1.9),
    "liver tumour": (58, 7.0),
    "spleen": (122, 1.8),
    "stomach": (22, 1.4),
    "pancreas": (92, 1.3),
    "pancreas tumour": (55, 6.0),
    "kidney": (175, 3.0),
    "renal pelvis": (20, 9.0),
    "colon tumour": (78, 8.0),
    "bladder": (8, 13.0),
    "bone": (520, 0.8),
    "marrow": (210, 1.4),
    "cord": (30, 1.3),
    "brain": (36, 8.5),
    "lesion": (60, 10.0),
}
_NUMBER = {name: number for number, name in enumerate(TISSUES)}


@dataclass(frozen=True)
class Torso:
    """A body. tissue: index into TISSUES, (slice to superior, row to posterior, column to the
    left)."""

    tissue: np.ndarray
    space: Space

    def mask(self, *names: str) -> np.ndarray:
        """Return the voxels of some tissues, bool."""
        return np.isin(self.tissue, [_NUMBER[name] for name in names])

    def values(self, column: int) -> np.ndarray:
        """Return a column of TISSUES for each voxel, float32."""
        return np.array([values[column] for values in TISSUES.values()], np.float32)[self.tissue]


def draw_torso(
    rng: np.random.Generator,
    slices: int,
    bottom: float,
    top: float,
    side: int = 160,
    tumours: bool = True,
    lesions: int = 0,
) -> Torso:
    """Draw a body on its back; 0 mm is at the kidneys' height, the bladder at -250, the head from
    300 on.

    bottom, top: the heights of the first and the last slice in mm; tumours: of liver, pancreas and
    colon, one or some each; lesions: so many more, in lungs, lymph nodes and bones.
    """
    step = (top - bottom) / (slices - 1)
    space = Space(
        rng, (slices, side, side), (step, 370 / side, 370 / side), (0, 16, (bottom + top) / 2)
    )
    size = rng.uniform(0.94, 1.05)
    x, y, z = space.x, space.y, space.z
    tissue = np.zeros(space.shape, np.uint8)
    inside, tube = space.inside, space.tube

    def paint(name: str, where: np.ndarray) -> None:
        tissue[where] = _NUMBER[name]

    # The skin, the fat below it, the muscles of the wall, and the fat that the bowels lie in.
    waist = size * (
        1 - 0.06 * np.exp(-(((z + 60) / 90) ** 2)) + 0.16 * np.clip((z - 160) / 60, 0, 1)
    )
    shape = [np.abs(x / (168 * waist)) ** 2.4 + np.abs(y / (112 * size)) ** 2.4]
    for layer in rng.uniform([14, 30], [24, 42]):
        shape.append(
            np.abs(x / (168 * waist - layer)) ** 2.4 + np.abs(y / (112 * size - layer)) ** 2.4
        )
    below_neck = z < 262 - 0.28 * np.abs(x)
    neck = inside((0, 8, 290), (58, 60, 95), 3)
    head = space.ellipsoid((0, -5, 395), (76, 96, 112))
    paint("fat", (shape[0] < 1) & below_neck)
    paint("muscle", ((shape[1] < 1) & below_neck) | neck | (head < 1))
    paint("fat", (shape[2] < 1) & (z < 240))
    _, rows, columns = space.axes
    bed = rows[:, np.newaxis] - 128 * size + 0.0009 * columns**2
    table = ((np.abs(bed) < 3.4) | (np.abs(bed - 24) < 3.4)) & (np.abs(columns) < 170)
    paint("table", np.broadcast_to(table, space.shape))

    _paint_chest_and_head(space, size, head, paint)
    _paint_abdomen(space, rng, paint)
    if tumours:
        _paint_tumours(space, rng, tissue == _NUMBER["liver"], paint)
    _paint_pelvis(space, paint)

    # The spine, over all: bodies with discs between them, arches, the canal, and its cord.
    body = space.ellipsoid((0, 60, 0), (24, 19, 9000), 2.6)
    disc = np.cos(2 * np.pi * z / 34) > 0.9
    paint("bone", ((body < 1) | tube([(0, 84, -260), (0, 84, 290)], 17)) & (z < 300) & (z > -230))
    paint("marrow", (body < 0.72) & (z < 300) & (z > -230))
    paint("muscle", (body < 1) & disc & (z < 300))
    paint("bone", (np.abs(x) < 3.5) & (y > 90) & (y < 112) & (z < 280) & (z > -200) & ~disc)
    paint("cord", tube([(0, 85, -200), (0, 85, 310)], 8.5))

    for _ in range(lesions):
        kind = rng.integers(3)
        place = (
            (rng.choice([-1, 1]) * rng.uniform(40, 90), rng.uniform(-30, 40), rng.uniform(90, 190)),
            (rng.uniform(-40, 40), rng.uniform(20, 40), rng.uniform(-140, 190)),
            (rng.uniform(-14, 14), rng.uniform(52, 66), rng.uniform(-150, 230)),
        )[kind]
        paint("lesion", inside(place, rng.uniform(9, 22, 3)))
    return Torso(tissue, space)


def _paint_chest_and_head(space: Space, size: float, head: np.ndarray, paint) -> None:
    """Paint ribs, lungs, heart, great vessels, skull and brain."""
    x, y, z, inside, tube = space.x, space.y, space.z, space.inside, space.tube
    cage = space.ellipsoid((0, -2, 40), (132 * size, 86 * size, 215), 2.6)
    angle = np.arctan2(y, x)
    # Ribs fall towards the front.
    ribs = np.sin(2 * np.pi * (z - 0.35 * y) / 30 + 0.2 * np.cos(2 * angle)) > 0.25
    paint("muscle", (cage < 1) & (z > -30))
    paint("bone", (np.abs(cage - 1.0) < 0.07) & ribs & (z > -25) & (np.abs(x) > 16))
    paint("fat", (cage < 0.9) & (z > 20))
    heart = space.ellipsoid((20, -26, 96), (60, 48, 56))
    for side in (-1, 1):
        lung = (cage < 0.88) & (side * x > 14 + 0.1 * np.abs(y)) & (heart > 1.08)
        lung &= space.ellipsoid((side * 66, 6, 20), (74, 92, 58)) > 1  # the diaphragm's dome
        lung &= z > 4 + 0.25 * (20 - y) * (y < 20)
        paint("lung", lung)
        paint("bronchi and vessels", lung & (space.noise(5) > 1.9))
        hilum = (side * 26, 5, 125)
        for end in (
            (side * 80, 30, 70),
            (side * 85, -30, 100),
            (side * 70, 20, 190),
            (side * 60, -40, 160),
        ):
            paint("bronchi and vessels", lung & tube([hilum, end], (8, 2)))
    paint("heart", (heart < 1))
    paint("blood", heart < 0.55)
    paint(
        "blood",
        tube(
            [(-8, -20, 130), (-4, -8, 175), (14, 30, 170), (14, 38, 120), (12, 36, -130)], (14, 10)
        ),
    )
    paint("blood", tube([(-26, 26, -130), (-26, 22, 40), (-20, -4, 90)], 12))
    paint("gas", tube([(0, 24, 320), (0, 20, 130)], 8))
    paint(
        "bone", (np.abs(x) < 17) & (np.abs(y + 84 * size) < 7) & (z > 60) & (z < 215)
    )  # breastbone
    for side in (-1, 1):
        paint("bone", tube([(side * 20, -62, 222), (side * 150, -10, 240)], 8))  # collar bones
        paint("bone", inside((side * 152, 12, 205), (24, 24, 30)))
    paint("bone", head < 0.86)
    paint("brain", (head < 0.74) & (z > 345))
    paint("fat", (head < 0.86) & (z < 335) & (y < -20))
    paint("muscle", (head < 0.7) & (z < 345) & (y < 20))


def _paint_abdomen(space: Space, rng: np.random.Generator, paint) -> None:
    """Paint liver with vessels and tumours, spleen, stomach, pancreas, kidneys, bowels."""
    x, y, z, inside, tube = space.x, space.y, space.z, space.inside, space.tube
    cavity = space.ellipsoid((0, -14, -90), (124, 72, 165), 2.8) < 1
    paint("bowel", cavity & (z < -30) & (space.noise(11) > 0.1) & (np.abs(x) < 88) & (y < 28))
    paint("gas", cavity & (z < -40) & (space.noise(9) > 1.8) & (np.abs(x) < 80) & (y < 0))
    colon = [
        (-98, 0, -175),
        (-104, -6, -60),
        (-60, -58, -48),
        (50, -62, -40),
        (102, 0, -20),
        (100, 12, -170),
    ]
    colon += [(50, 20, -205), (8, 48, -215), (0, 52, -260)]
    paint("bowel", tube(colon, 21))
    paint("gas", tube(colon, 16) & (space.noise(14) > 0.35))
    for side in (-1, 1):
        paint(
            "muscle",
            tube([(side * 40, 62, -10), (side * 52, 45, -120), (side * 70, 20, -240)], (14, 24)),
        )
        kidney = space.ellipsoid((side * 66, 50, -20 - 10 * (side < 0)), (29, 31, 56))
        hilum = inside((side * 44, 42, -22), (20, 15, 24))
        paint("kidney", (kidney < 1) & ~hilum)
        paint("renal pelvis", (kidney < 0.35) & (np.abs(x * side - 56) < 11))
    paint("stomach", inside((56, -44, 42), (46, 34, 48)) | tube([(50, -50, 20), (5, -46, -12)], 19))
    paint("gas", inside((56, -64, 42), (28, 13, 30)))
    paint("spleen", inside((104, 34, 34), (30, 48, 50)) & ~inside((70, 10, 34), (36, 40, 40)))

    pancreas = [(-34, -4, -32), (-6, -14, -18), (34, 2, -4), (78, 24, 12)]
    paint("fat", tube(pancreas, (22, 17)) & (x < 70))
    paint("pancreas", tube(pancreas, (16, 10)) & (space.noise(7) > -1.3))
    paint(
        "blood", tube([(74, 34, 18), (20, 14, -8), (-16, 2, -12), (-40, -6, 12)], 6.5)
    )  # portal vein

    liver = inside((-68, -2, 22), (76, 82, 74), 2.3) | inside((2, -50, 34), (72, 34, 42))
    liver &= ~inside((-52, 62, -40), (60, 40, 50)) & ~inside((-35, -40, -42), (24, 24, 34))
    liver &= x + 0.3 * z < 62
    paint("liver", liver)
    centre = np.array((-45, 0, 18))
    for end in (
        (-115, 30, 5),
        (-110, -45, 10),
        (-80, -60, -15),
        (20, -55, 30),
        (-95, 40, 50),
        (-70, -40, 65),
    ):
        half = centre + 0.5 * (np.array(end) - centre) + rng.normal(0, 6, 3)
        paint("liver vessel", liver & tube([centre, half, end], (8, 3)))
        paint("liver vessel", liver & tube([half, np.array(end) + rng.normal(0, 28, 3)], (4.5, 2)))


def _paint_tumours(space: Space, rng: np.random.Generator, liver: np.ndarray, paint) -> None:
    """Paint tumours of liver (the organ, bool), pancreas and colon."""
    inside = space.inside
    paint("pancreas tumour", inside((-30, -2, -28), rng.uniform(8, 15, 3)))
    for _ in range(rng.integers(2, 5)):
        place = rng.uniform((-120, -50, -10), (-50, 40, 60))
        paint("liver tumour", liver & inside(place, rng.uniform(8, 20, 3)))
    place = np.array([(-101, -3, -120), (104, 4, -90), (0, -60, -44)][rng.integers(3)])
    paint(
        "colon tumour",
        inside(place, rng.uniform((18, 18, 22), (27, 27, 34))) & ~inside(place + 7, (6, 6, 30)),
    )


def _paint_pelvis(space: Space, paint) -> None:
    """Paint hips, sacrum, bladder and the rectum's end."""
    x, y, z, inside = space.x, space.y, space.z, space.inside
    for side in (-1, 1):
        wing = space.ellipsoid((side * 40, 20, -165), (92, 62, 95))
        where = (np.abs(wing - 1) < 0.13) & (side * x > 30) & (z < -120)
        paint("bone", where & (y > -15 - 0.6 * (z + 160)))
        paint("marrow", (np.abs(wing - 1) < 0.06) & where & (y > -5 - 0.6 * (z + 160)))
        paint(
            "bone",
            inside((side * 88, 4, -262), (26, 26, 28)) | inside((side * 66, 0, -262), (17, 32, 36)),
        )
        paint("marrow", inside((side * 88, 4, -262), (20, 20, 22)))
        paint("bone", space.tube([(side * 20, -48, -282), (side * 70, -20, -268)], 9))
    sacrum = space.ellipsoid((0, 66, -215), (50, 22, 55))
    paint("bone", sacrum < 1)
    paint("marrow", sacrum < 0.75)
    paint("bladder", inside((0, -22, -252), (42, 36, 36)))
