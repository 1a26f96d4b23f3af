"""Drawings for the phantoms that come as DICOM: pelvis and breasts in MR, a liver in PET/CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from .drawing import field


@dataclass(frozen=True)
class DrawnScan:
    """What was drawn, upright. image: as it must be read; masks: class -> bool; both (slice to
    superior, row to posterior, column to the patient's left); spacing: (slice, row, column) in mm.
    """

    image: np.ndarray
    masks: Mapping[str, np.ndarray]
    spacing: tuple[float, float, float]


# ---------------------------------------------------------------------------------------------
# Drawings


def draw_prostate(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing: tuple
) -> DrawnScan:
    """Draw a male pelvis in T2-weighted MR: bladder, prostate with its zones, rectum, muscles,
    bones."""
    x, y, z = _axes(shape, spacing)
    wobble = [field(rng, shape, [14 / s for s in spacing]) for _ in range(3)]
    x, y, z = x + 2.2 * wobble[0], y + 2.2 * wobble[1], z + 1.5 * wobble[2]
    value = np.full(shape, 300, np.float32) + 22 * field(
        rng, shape, [5 / s for s in spacing]
    )  # fat
    septa = field(rng, shape, [2.5 / s for s in spacing])
    value -= 90 * np.clip(septa - 1.2, 0, 1)
    for side in (-1, 1):
        muscle = _ellipsoid((x, y, z), (side * 43, 2, 0), (13, 34, 400), tilt=0.35 * side)
        bone = _ellipsoid((x, y, z), (side * 68, -14, 6), (19, 25, 34))
        value = _blend(value, 62, muscle)
        value = _blend(value, 175, bone)
        value = np.where(np.abs(bone - 1) < 0.07, 40, value)
        value = _blend(
            value, 70, _ellipsoid((x, y, z), (side * 26, 34, -22), (9, 25, 28), tilt=-0.5 * side)
        )
    value = _blend(value, 150, _ellipsoid((x, y, z), (0, -45, -4), (26, 11, 18)))  # pubic symphysis
    plexus = field(rng, shape, [8 / spacing[0], 2 / spacing[1], 2 / spacing[2]])
    veins = (np.hypot(x / 34, (y - 4) / 28) < 1) & (plexus > 1.3)
    value = np.where(veins, 520, value)
    value = np.where(
        np.abs(np.hypot(x / 31, (y - 12) / 36) - 1) < 0.05 + 0.02 * plexus, 85, value
    )  # levator
    bladder = _ellipsoid((x, y, z), (0, -12, 33), (36, 27, 15))
    value = np.where(bladder < 1.12, 75, value)
    value = _blend(value, 620, bladder)
    width, depth, height = rng.uniform((23, 16, 14), (28, 21, 18))
    place = (rng.normal(0, 1.5), rng.normal(2, 1.5), rng.normal(-1, 1.5))
    prostate = _ellipsoid((x, y, z), place, (width, depth, height), power=2.3)
    rectum = _ellipsoid((x, y, z), (3, 2 + depth + 15, 0), (15, 11, 400))
    value = np.where(rectum < 1.25, 110, value)
    value = _blend(value, 30 if rng.random() < 0.5 else 210, rectum)
    label = (prostate < 1) & (rectum > 1.3)
    nodules = field(rng, shape, [3.2 / s for s in spacing])
    gland = np.where(label, 400 + 35 * nodules, value)  # the peripheral zone is bright
    inner = _ellipsoid(
        (x, y, z),
        (place[0], place[1] - 0.26 * depth, place[2] + 2),
        (width * 0.73, depth * 0.75, height),
    )
    gland = np.where(label & (inner < 1), 185 + 75 * nodules, gland)
    gland = np.where(label & (np.abs(inner - 1) < 0.07), 110, gland)
    gland = np.where(
        label & (_ellipsoid((x, y, z), place, (2.5, 2.5, 400)) < 1), 380, gland
    )  # urethra
    gland = np.where((np.abs(prostate - 1) < 0.06) & (rectum > 1.2), 75, gland)  # capsule
    fibres = field(rng, shape, [1.5 / s for s in spacing])
    value = gaussian_filter(gland * (1 + 0.10 * fibres + 0.06 * nodules), [0.25, 0.6, 0.6])
    # The coils lie in front of and behind the patient: signal falls off towards the middle.
    bias = (
        0.62
        + 0.9 * np.exp((np.abs(y) - 75) / 32)
        + 0.12 * field(rng, shape, [40 / s for s in spacing])
    )
    return DrawnScan(_rician(rng, value * bias, 11).astype(np.uint16), {"prostate": label}, spacing)


def draw_breasts(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing: tuple
) -> DrawnScan:
    """Draw both breasts of a prone patient in fat-suppressed T1 MR before contrast, and the chest
    behind."""
    x, y, z = _axes(shape, spacing)
    wobble = [field(rng, shape, [18 / s for s in spacing]) for _ in range(3)]
    x, y, z = x + 3 * wobble[0], y + 3 * wobble[1], z + 2 * wobble[2]
    value = np.full(shape, 4, np.float32)
    chest = _ellipsoid((x, y, z), (0, 92, 0), (150, 82, 500), power=2.5)
    value = _blend(value, 60, chest)
    value = _blend(
        value, 150, _ellipsoid((x, y, z), (0, 96, 0), (140, 73, 500), power=2.5)
    )  # muscle
    ribs = np.sin(0.11 * x + 0.35 * z) > 0.55
    inside = _ellipsoid((x, y, z), (0, 100, 0), (128, 62, 500), power=2.5)
    value = np.where((np.abs(inside - 1) < 0.06) & ribs, 45, value)
    value = _blend(value, 18, inside)  # lungs
    value = _blend(value, 210, _ellipsoid((x, y, z), (16, 88, -10), (46, 38, 60)))  # heart
    breast, dense, vessels = (np.zeros(shape, bool) for _ in range(3))
    for side in (-1, 1):
        centre = (side * rng.uniform(66, 72), 18, rng.normal(0, 3))
        size = rng.uniform(0.92, 1.08)
        whole = _ellipsoid((x, y, z), centre, (54 * size, 62 * size, 44 * size), power=2.2)
        fat = (whole < 1) & (chest > 1)
        value = np.where(fat, 72 + 7 * field(rng, shape, [4 / s for s in spacing]), value)
        value = np.where((np.abs(whole - 0.97) < 0.05) & (chest > 1), 165, value)  # skin
        breast |= fat
        cone = _ellipsoid((x, y, z), (centre[0], -4, centre[2]), (34 * size, 36 * size, 30 * size))
        texture = field(rng, shape, [3.5 / s for s in spacing]) + 0.5 * field(
            rng, shape, [9 / s for s in spacing]
        )
        tissue = (texture + 1.15 * (1 - cone) > -0.1) & (cone < 1) & (whole < 0.9) & fat
        dense |= tissue
        value = np.where(tissue, 178 + 22 * texture, value)
        path = centre[0] + side * 24 + 6 * np.sin(0.09 * y + side)
        vessel = (
            (np.hypot(x - path, z - centre[2] - 0.25 * y) < 2.6) & (whole < 0.86) & fat & ~tissue
        )
        vessels |= vessel
        value = np.where(vessel, 255, value)
    value = gaussian_filter(value, [0.2, 0.55, 0.55])
    # The breast coil is strong where it touches.
    bias = (
        0.75
        + 0.5 * np.exp(-((y + 40) ** 2) / 70**2)
        + 0.08 * field(rng, shape, [50 / s for s in spacing])
    )
    masks = {"Breast": breast, "FGT": dense, "vessels": vessels}
    return DrawnScan(_rician(rng, value * bias, 6).astype(np.uint16), masks, spacing)


def _axes(shape: tuple[int, int, int], spacing: tuple) -> list[np.ndarray]:
    """Return mm to the left, posterior and superior of the middle, of each voxel."""
    along = [
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * step
        for n, step in zip(shape, spacing, strict=True)
    ]
    return np.meshgrid(*along, indexing="ij")[::-1]


def _ellipsoid(
    place: Sequence, centre: tuple, radii: tuple, power: float = 2.0, tilt: float = 0.0
) -> np.ndarray:
    """Return 1 on the surface, less inside; tilt: radians in the axial plane."""
    x, y, z = (axis - c for axis, c in zip(place, centre, strict=True))
    x, y = np.cos(tilt) * x + np.sin(tilt) * y, np.cos(tilt) * y - np.sin(tilt) * x
    return sum(np.abs(axis / r) ** power for axis, r in zip((x, y, z), radii, strict=True))


def _blend(value: np.ndarray, inside: float, distance: np.ndarray) -> np.ndarray:
    """Put a tissue where the distance is below 1, with a narrow soft border."""
    share = np.clip((1.04 - distance) / 0.08, 0, 1)
    return value * (1 - share) + inside * share


def _rician(rng: np.random.Generator, value: np.ndarray, sigma: float) -> np.ndarray:
    """Add the noise of a magnitude image, and round."""
    noise = sigma * rng.standard_normal((2, *value.shape), np.float32)
    return np.rint(np.hypot(value + noise[0], noise[1]))


# ---------------------------------------------------------------------------------------------
# PET/CT: a body, a liver, lesions bounded by polygons


@dataclass(frozen=True)
class Lesion:
    """A lesion, star-shaped in each slice. centre, radii: in mm to the left, posterior,
    superior."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    wave: float

    def outline(self, z: float) -> np.ndarray | None:
        """Return the polygon at a height, 40 x 2 points (to left, posterior) in mm; None beyond its
        ends."""
        part = 1 - ((z - self.centre[2]) / self.radii[2]) ** 2
        if part <= 0.04:
            return None
        angle = 2 * np.pi * np.arange(40) / 40
        reach = np.sqrt(part) * (1 + 0.1 * np.cos(3 * angle + self.wave) + 0.05 * np.sin(5 * angle))
        around = np.stack([np.cos(angle) * self.radii[0], np.sin(angle) * self.radii[1]], axis=1)
        return np.round(np.array(self.centre[:2]) + reach[:, np.newaxis] * around, 3)

    def contains(self, x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
        """Tell for points of a height whether they lie in the polygon, each by the one edge that
        faces it."""
        polygon = self.outline(z)
        if polygon is None:
            return np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
        x, y = np.broadcast_arrays(x - self.centre[0], y - self.centre[1])
        polygon = polygon - self.centre[:2]
        directions = np.arctan2(polygon[:, 1], polygon[:, 0]) % (2 * np.pi)
        order = np.argsort(directions)
        edge = np.searchsorted(directions[order], np.arctan2(y, x) % (2 * np.pi)) % len(polygon)
        end, start = polygon[order][edge], polygon[order][edge - 1]
        along = end - start
        return along[..., 0] * (y - start[..., 1]) - along[..., 1] * (x - start[..., 0]) >= 0


@dataclass(frozen=True)
class PetPatient:
    """A PET/CT. ct: HU; pet: stored values with a slope per slice; corners: centre of the first
    voxel in mm (to the left, posterior, superior); regions: name, lesion, and the lesion that is
    its hole or None.
    """

    ct: np.ndarray
    ct_spacing: tuple[float, float, float]
    ct_corner: tuple[float, float, float]
    pet: np.ndarray
    slopes: np.ndarray
    pet_spacing: tuple[float, float, float]
    pet_corner: tuple[float, float, float]
    regions: tuple[tuple[str, Lesion, Lesion | None], ...]
    drawn_on: str


def draw_pet_liver(rng: np.random.Generator, lesions: int, drawn_on: str) -> PetPatient:
    """Draw a Y-90 PET/CT: activity in the liver, most of it in lesions, few counts everywhere
    else."""
    ct_shape, ct_spacing, ct_corner = (15, 96, 96), (4.0, 4.0, 4.0), (-190.0, -190.0, -28.0)
    pet_shape, pet_spacing, pet_corner = (15, 72, 72), (4.25, 5.0, 5.0), (-177.5, -177.5, -29.0)
    regions, pieces = [], []
    for number in range(lesions):
        centre = (
            -88 + 52 * number + rng.normal(0, 4),
            -10 + 38 * (number % 2) + rng.normal(0, 4),
            rng.normal(0, 4),
        )
        radii = tuple(rng.uniform((20, 18, 18), (27, 25, 26)))
        lesion = Lesion(centre, radii, rng.uniform(0, 6))
        core = Lesion(centre, tuple(0.45 * r for r in radii), 1.0) if number == 0 else None
        regions.append((f"Tumor {number + 1}", lesion, core))
        pieces.append((lesion, core, rng.uniform(4.5, 8)))
    liver = Lesion((-62.0, -4.0, 0.0), (92.0, 72.0, 120.0), 0.6)
    regions.append(("Liver", liver, None))

    x, y, z = _grid(ct_shape, ct_spacing, ct_corner)
    body = _ellipsoid((x, y, z), (0, 0, 0), (165, 118, 900), power=2.4)
    hounsfield = np.full(ct_shape, -1000, np.float32)
    hounsfield = np.where(body < 1, -95, hounsfield)
    hounsfield = np.where(
        _ellipsoid((x, y, z), (0, 0, 0), (148, 102, 900), power=2.4) < 1, 40, hounsfield
    )
    hounsfield = np.where(
        _ellipsoid((x, y, z), (4, -12, 0), (132, 84, 900), power=2.4) < 1, -60, hounsfield
    )
    hounsfield = np.where(
        _ellipsoid((x, y, z), (92, 30, 4), (32, 40, 34)) < 1, 110, hounsfield
    )  # spleen
    hounsfield = np.where(
        _ellipsoid((x, y, z), (52, -34, 0), (38, 30, 40)) < 1, 20, hounsfield
    )  # stomach
    hounsfield = np.where(_region(liver, None, x, y, z), 105, hounsfield)
    for lesion, core, _ in pieces:
        hounsfield = np.where(_region(lesion, None, x, y, z), 62, hounsfield)
        if core:
            hounsfield = np.where(_region(core, None, x, y, z), 28, hounsfield)
    hounsfield = np.where(_ellipsoid((x, y, z), (0, 62, 0), (22, 19, 900)) < 1, 210, hounsfield)
    hounsfield = np.where(_ellipsoid((x, y, z), (0, 90, 0), (9, 8, 900)) < 1, 30, hounsfield)
    ct = gaussian_filter(hounsfield, [0.2, 0.5, 0.5]) + 9 * field(rng, ct_shape, [0, 0.7, 0.7])
    ct = np.clip(np.rint(ct), -1024, 3071).astype(np.int16)

    x, y, z = _grid(pet_shape, pet_spacing, pet_corner)
    activity = np.where(
        _ellipsoid((x, y, z), (0, 0, 0), (165, 118, 900), power=2.4) < 1, 0.05, 0.008
    )
    activity = np.where(_region(liver, None, x, y, z), 0.9, activity).astype(np.float32)
    for lesion, core, uptake in pieces:
        activity = np.where(_region(lesion, core, x, y, z), uptake, activity)
    blurred = gaussian_filter(activity, [9.0 / 2.35 / s for s in pet_spacing])
    # Few positrons per decay of Y-90: the images are noisy, and the noise is smooth.
    noise = field(rng, pet_shape, [8.0 / 2.35 / s for s in pet_spacing])
    counts = np.clip(blurred + (0.07 + 0.25 * np.sqrt(blurred)) * noise, 0, None) * 2.0e5  # Bq/ml
    slopes = np.array([float(f"{max(float(plane.max()), 1.0) / 32767:.6g}") for plane in counts])
    pet = np.minimum(np.rint(counts / slopes[:, None, None]), 32767).astype(np.uint16)
    return PetPatient(
        ct, ct_spacing, ct_corner, pet, slopes, pet_spacing, pet_corner, tuple(regions), drawn_on
    )


def drawn_pet(patient: PetPatient) -> DrawnScan:
    """Return the PET as it must be read, with the voxels whose centres lie in a tumour's
    polygon."""
    on_ct = patient.drawn_on == "CT"
    shape, spacing, corner = (
        (patient.ct.shape, patient.ct_spacing, patient.ct_corner)
        if on_ct
        else (patient.pet.shape, patient.pet_spacing, patient.pet_corner)
    )
    x, y, z = _grid(shape, spacing, corner)
    tumour = np.zeros(shape, bool)
    for name, lesion, core in patient.regions:
        if name.startswith("Tumor"):
            tumour |= _region(lesion, core, x, y, z)
    if on_ct:
        # The PET voxel takes what holds in the CT voxel that its centre lies in.
        nearest = []
        for axis, n in enumerate(patient.pet.shape):
            place = {0: 2, 1: 1, 2: 0}[axis]
            along = patient.pet_corner[place] + np.arange(n) * patient.pet_spacing[axis]
            nearest.append(np.floor((along - corner[place]) / spacing[axis] + 0.5).astype(int))
        inside = [(index >= 0) & (index < n) for index, n in zip(nearest, shape, strict=True)]
        clipped = [np.clip(index, 0, n - 1) for index, n in zip(nearest, shape, strict=True)]
        tumour = (
            tumour[np.ix_(*clipped)] & inside[0][:, None, None] & inside[1][:, None] & inside[2]
        )
    image = (patient.pet * patient.slopes[:, None, None]).astype(np.float32)
    return DrawnScan(image, {"tumour": tumour}, patient.pet_spacing)


def _grid(shape: tuple, spacing: tuple, corner: tuple) -> list[np.ndarray]:
    """Return mm to the left, posterior and superior of each voxel's centre."""
    along = [
        corner[2 - a] + np.arange(n) * s
        for a, (n, s) in enumerate(zip(shape, spacing, strict=True))
    ]
    return np.meshgrid(*along, indexing="ij")[::-1]


def _region(
    lesion: Lesion, core: Lesion | None, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Return the voxels of a lesion without its core."""
    mask = np.zeros(x.shape, bool)
    for k in range(len(mask)):
        mask[k] = lesion.contains(x[k], y[k], float(z[k, 0, 0]))
        if core:
            mask[k] &= ~core.contains(x[k], y[k], float(z[k, 0, 0]))
    return mask
