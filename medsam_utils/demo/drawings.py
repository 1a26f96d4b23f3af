"""Procedural drawings, from afar like medical images: all that the embedded models are trained on.

No real image is used. Variety decides how well a model trained on drawings does on real images, so
every step has many random forms, and no drawing is meant to be any one organ. A drawing is a map of
labels, bent by a smooth warp, painted with grey values, spoilt as scanners spoil images, and
brought to 8 bits. The two means of variety are noise at all scales and choices among a few
strengths, one of which is often "none".
"""

from collections.abc import Container

import cv2
import numpy as np

from ..metrics import components

MIN_PIXELS = 16  # smaller objects are not targets


def draw(
    rng: np.random.Generator, size: int = 256, without: Container[str] = ()
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw one image and the masks of one to eight objects in it.

    Image uint8 H x W, masks bool H x W; the longer of H and W is `size`. without: kinds of object
    (`kind_of`) that are left out. The same state of `rng` gives the same drawing: drawing i of a
    series is `draw(np.random.default_rng([seed, i]))`.
    """
    while True:
        shape = [size, size]
        if rng.random() < 0.4:
            shape[rng.integers(2)] = round(size * rng.uniform(0.55, 1))
        labels, bodies = _label_map(rng, tuple(shape))
        labels = _warp(rng, labels)
        view = _field_of_view(rng, labels.shape)
        image, masks = _paint(rng, labels, bodies), _targets(rng, labels, bodies, view)
        if rng.random() < 0.4:
            image, translucent = _add_translucent(rng, image)
            translucent = [mask & view for mask in translucent]
            masks = [*filter(_fits, translucent), *masks][:8]
        image = _to_8_bit(rng, _degrade(rng, image), view)
        smooth = _blur(image, 1)
        masks = [mask for mask in masks if rng.random() < _worth(smooth, mask)]
        if without:
            masks = [mask for mask in masks if kind_of(image, mask) not in without]
        if masks:
            return image, masks


class Drawings:
    """A series of drawings as a torch map-style dataset; `Drawings(seed, objects, length)[i]` never
    changes.

    Each item: image uint8 size x size, padded with zeros at the bottom and right; inside, its (H,
    W) before padding; masks uint8 objects x size x size, chosen with replacement where a drawing
    has fewer. An object of eight times the area is chosen twice as often: where a click can mean a
    part or the whole, people have often outlined the whole.
    """

    def __init__(
        self,
        seed: int,
        objects: int,
        length: int,
        size: int = 256,
        without: Container[str] = (),
    ):
        self.seed, self.objects, self.length = seed, objects, length
        self.size, self.without = size, without

    def __len__(self):
        return self.length

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """Draw item i."""
        cv2.setNumThreads(1)  # the worker processes of a data loader are the parallelism
        rng = np.random.default_rng([self.seed, i])
        image, masks = draw(rng, self.size, self.without)
        weights = np.cbrt([mask.sum() for mask in masks])
        again = len(masks) < self.objects
        chosen = rng.choice(len(masks), self.objects, replace=again, p=weights / weights.sum())
        padding = [(0, self.size - n) for n in image.shape]
        masks = np.stack([np.pad(masks[k], padding) for k in chosen])
        return {
            "image": np.pad(image, padding),
            "inside": np.array(image.shape),
            "masks": masks.astype(np.uint8),
        }


def _noise(rng, shape, scale):
    """Smooth noise float32 H x W of about unit variance, with features about `scale` pixels
    wide."""
    if scale == 1:
        return rng.standard_normal(shape, dtype=np.float32)
    coarse = rng.standard_normal([int(np.ceil(n / scale)) + 3 for n in shape], dtype=np.float32)
    field = cv2.resize(coarse, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    top, left = (
        rng.integers(0, max(1, f - n + 1)) for f, n in zip(field.shape, shape, strict=True)
    )
    return field[top : top + shape[0], left : left + shape[1]] * 1.3


def _blur(image, sigma):
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)


# Shapes. Positions are (x, y), as OpenCV draws; every function of SHAPES returns bool H x W.


def _somewhere(rng, shape, margin=0.05):
    return rng.uniform(margin, 1 - margin, 2) * shape[::-1]


def _radius(rng, shape, low=0.012, high=0.33):
    return np.exp(rng.uniform(np.log(low), np.log(high))) * min(shape)


def _fill(shape, outline):
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1)
    return mask.astype(bool)


def _without_holes(mask):
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED).astype(
        bool
    )


def _largest_component(mask):
    _, parts, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return parts == 1 + np.argmax(facts[1:, cv2.CC_STAT_AREA]) if mask.any() else mask


def _line(mask, start, end, radius):
    cv2.line(mask, np.int32(start).tolist(), np.int32(end).tolist(), 1, max(1, round(2 * radius)))


def _outline(rng, centre, radius, elongation=2.5, roughness=(0.03, 0.12, 0.3)):
    """Closed contour 90 x 2 of a blob: a circle with random harmonics, stretched and turned."""
    angle, order = np.linspace(0, 2 * np.pi, 90, endpoint=False), np.arange(1, 9)[:, None]
    waves = (
        rng.normal(size=(8, 1)) * np.cos(order * angle + rng.uniform(0, 2 * np.pi, (8, 1))) / order
    )
    radii = radius * np.clip(1 + rng.choice(roughness) * waves.sum(0), 0.25, 2)
    stretch, turn = np.sqrt(rng.uniform(1, elongation)), rng.uniform(0, np.pi)
    x, y = radii * np.cos(angle) * stretch, radii * np.sin(angle) / stretch
    return (
        np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1)
        + centre
    )


def _blob(rng, shape):
    return _fill(shape, _outline(rng, _somewhere(rng, shape), _radius(rng, shape)))


def _many(rng, shape):
    radius, mask = _radius(rng, shape, 0.012, 0.06), np.zeros(shape, bool)
    for _ in range(rng.integers(4, 25)):
        mask |= _fill(shape, _outline(rng, _somewhere(rng, shape), radius * rng.uniform(0.6, 1.6)))
    return mask


def _ring(rng, shape):
    """Wall of a hollow body, thick or thin, sometimes open on one side."""
    centre, radius = _somewhere(rng, shape, 0.2), _radius(rng, shape, 0.035, 0.3)
    outer = _outline(rng, centre, radius, 1.8, (0.03, 0.1))
    inner = (outer - centre) * rng.uniform(0.5, 0.9) + centre + rng.normal(size=2) * 0.05 * radius
    ring = _fill(shape, outer) & ~_fill(shape, inner)
    if rng.random() < 0.2:
        ring &= ~_fill(shape, _outline(rng, outer[rng.integers(90)], 0.4 * np.ptp(outer[:, 0])))
    return ring


def _pair(rng, shape):
    """Two blobs left and right of an axis, alike but not equal."""
    radius, axis = _radius(rng, shape, 0.05, 0.24), shape[1] * rng.uniform(0.4, 0.6)
    centre = np.array(
        [axis - radius - rng.uniform(0, 0.2) * shape[1], rng.uniform(0.25, 0.75) * shape[0]]
    )
    left = _outline(rng, centre, radius)
    right = (
        (left - centre) * rng.uniform(0.8, 1.2, 2) + centre + rng.normal(size=2) * 0.02 * min(shape)
    )
    return _fill(shape, left) | _fill(shape, right * [-1, 1] + [2 * axis, 0])


def _vessel(rng, shape, steps=60):
    """Curved tube of slowly changing width, with branches."""
    mask, width, start = (
        np.zeros(shape, np.uint8),
        _radius(rng, shape, 0.006, 0.04),
        _somewhere(rng, shape),
    )
    for branch in range(rng.integers(1, 5)):
        turns = rng.normal(0, 0.12, steps) + np.cumsum(rng.normal(0, 0.04, steps)) / 3
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turns)
        step = rng.uniform(0.2, 1.3) * min(shape) / steps
        curve = start + step * np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0)
        widths = width * 0.7**branch * np.linspace(1, rng.uniform(0.4, 1.2), steps)
        for i in range(steps - 1):
            _line(mask, curve[i], curve[i + 1], widths[i])
        start = curve[rng.integers(steps)]
    return mask.astype(bool)


def _bone(rng, shape):
    """Long straight shaft with thicker ends, often cut by the border."""
    mask, width = np.zeros(shape, np.uint8), _radius(rng, shape, 0.015, 0.12)
    start, end = _somewhere(rng, shape, -0.1), _somewhere(rng, shape, -0.1)
    _line(mask, start, end, width)
    for tip in (start, end):
        head = _outline(rng, tip + rng.normal(size=2) * width, width * rng.uniform(1, 2.2))
        mask |= _fill(shape, head)
    return mask.astype(bool)


SHAPES = {_blob: 0.32, _ring: 0.33, _pair: 0.08, _vessel: 0.12, _bone: 0.08, _many: 0.07}


# Label maps: int H x W, 0 is the background.


def _tissues(rng, shape):
    """Winner of several smooth noise fields."""
    scales = rng.uniform(20, 110) * rng.uniform(0.7, 1.4, rng.integers(2, 8))
    return np.argmax([_noise(rng, shape, scale) + 0.4 * rng.normal() for scale in scales], 0)


def _body(rng, shape):
    """A body with a rim, and organs inside it that touch one another."""
    middle = np.array(shape[::-1]) / 2 + rng.normal(size=2) * 0.04 * min(shape)
    outline = _outline(rng, middle, rng.uniform(0.3, 0.52) * min(shape), 1.9, (0.03, 0.08))
    inside = _fill(shape, (outline - middle) * rng.uniform(0.75, 0.98) + middle)
    labels = np.where(inside, 2, _fill(shape, outline).astype(int))
    for label in range(3, rng.integers(5, 14)):
        centre = middle + rng.uniform(-0.8, 0.8, 2) * (outline[rng.integers(90)] - middle)
        organ = _fill(shape, _outline(rng, centre, _radius(rng, shape, 0.015, 0.2)))
        labels[organ & inside] = label
    if rng.random() < 0.5:
        labels[_pair(rng, shape) & inside] = labels.max() + 1
    return labels


def _layers(rng, shape):
    """Wavy layers one below the other, as in ultrasound."""
    depth = np.linspace(0, 1, shape[0])[:, None] + 0.03 * _noise(rng, shape, rng.uniform(40, 120))
    return np.searchsorted(np.sort(rng.uniform(0.03, 1, rng.integers(1, 7))), depth)


def _empty(rng, shape):
    return np.zeros(shape, int)


def _label_map(rng, shape):
    """A background of one kind with up to seven shapes on it, many of them with a core, a piece of
    other tissue, or something that they surround.

    Also returns the body that each label belongs to: its own label, or that of the shape that it is
    a core or a piece of.
    """
    background = rng.choice([_tissues, _body, _layers, _empty], p=[0.25, 0.35, 0.17, 0.23])
    labels = background(rng, shape).astype(int)
    bodies = list(range(labels.max() + 1))
    for _ in range(rng.integers(0, 4) if background is _body else rng.integers(1, 8)):
        drawn = rng.choice(list(SHAPES), p=list(SHAPES.values()))(rng, shape)
        body = len(bodies)
        labels[drawn] = body
        bodies.append(body)
        kind = rng.choice(["core", "piece", "surrounded", "none"])
        if kind == "core":
            depth = int(rng.integers(2, 9))
            part = cv2.erode(drawn.astype(np.uint8), None, iterations=depth) > 0
        elif kind == "piece":
            part = drawn & (_noise(rng, shape, rng.uniform(15, 90)) > rng.normal())
        elif kind == "surrounded":
            part = _without_holes(drawn) & ~drawn
        if kind != "none" and part.any():
            labels[part] = len(bodies)
            bodies.append(len(bodies) if kind == "surrounded" else body)
    return labels, np.array(bodies)


def _warp(rng, labels):
    rows, columns = np.indices(labels.shape, dtype=np.float32)
    for scale, strength in ((60, rng.uniform(0, 9)), (18, rng.choice([0, 1, 2.2]))):
        rows += strength * _noise(rng, labels.shape, scale)
        columns += strength * _noise(rng, labels.shape, scale)
    return cv2.remap(
        labels.astype(np.uint8), columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )


def _targets(rng, labels, bodies, view):
    """Objects to segment: a body, a label or its largest part, a label without its holes, or two
    labels together. Cores, pieces and what is left of a body without them are often the whole body
    instead, more than two components the largest of them."""
    kinds = {"body": 0.42, "label": 0.18, "component": 0.26, "filled": 0.08, "union": 0.06}
    present = [label for label in np.unique(labels) if label or rng.random() < 0.2]
    masks = []
    for label in rng.permutation(present)[:8]:
        mask = (labels == label) & view
        kind = rng.choice(list(kinds), p=list(kinds.values()))
        as_body = 0
        if bodies[label] != label:  # a core or a piece
            as_body = 0.5
        elif np.sum(bodies == label) > 1:  # what is left of a body without them
            as_body = 0.8
        if kind == "body" or rng.random() < as_body:
            mask = (bodies[labels] == bodies[label]) & view
        elif kind == "component" and (components(mask) != 2 or rng.random() < 0.5):
            mask = _largest_component(mask)
        elif kind == "filled":
            mask = _without_holes(mask)
        elif kind == "union":
            mask |= (labels == rng.choice(present)) & view
        if components(mask) > 2 and rng.random() < 0.7:
            mask = _largest_component(mask)
        if _fits(mask):
            masks.append(mask)
    return masks


def _fits(mask):
    return MIN_PIXELS <= mask.sum() <= 0.7 * mask.size


def _worth(smooth, mask):
    """Probability of keeping a target: high if it is thick and stands out, low if it is thin or
    faint."""
    mask = mask.astype(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    near = np.s_[max(0, y - 4) : y + height + 4, max(0, x - 4) : x + width + 4]
    size, mask, smooth = min(mask.shape), mask[near], smooth[near]
    thickness = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3).max()
    (mean, spread), (mean_around, spread_around) = (
        [*cv2.meanStdDev(smooth, mask=part.astype(np.uint8))] for part in _rim_and_halo(mask)
    )
    contrast = np.abs(mean - mean_around).item() / np.sqrt(
        (spread**2 + spread_around**2).item() / 2 + 10
    )
    return np.clip(thickness / size / 0.008, 0.3, 1) * np.clip(contrast / 0.6, 0.1, 1) ** 1.5


def _rim_and_halo(mask):
    """Up to four pixels inside and outside of the outline of a mask uint8 H x W, both bool."""
    square = np.ones((9, 9), np.uint8)
    return cv2.erode(mask, square) < mask, cv2.dilate(mask, square) > mask


def kind_of(image: np.ndarray, mask: np.ndarray) -> str:
    """Name what is hard about an object: bool H x W in an image uint8 H x W.

    It is very small, thin, hollow, has several parts, is faint, or other.
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    if mask.sum() < 0.003 * mask.size:
        return "very small"
    if cv2.distanceTransform(padded, cv2.DIST_L2, 5).max() < 4:
        return "thin"
    if _without_holes(mask).sum() > 1.1 * mask.sum():
        return "hollow"
    if components(mask) > 1:
        return "several parts"
    grey = _blur(image, 1)
    rim, halo = (grey[part] for part in _rim_and_halo(mask.astype(np.uint8)))
    if abs(rim.mean() - halo.mean()) < 0.5 * np.hypot(rim.std(), halo.std()):
        return "faint"
    return "other"


# From labels to grey values: float32 H x W, about 0 to 1.


def _paint(rng, labels, bodies):
    """Mean, rim, texture and slow change of every label; half of the parts are nearly as grey as
    their body."""
    count = len(bodies)
    spread = rng.choice([0.04, 0.08, 0.2, 0.35])  # small: neighbours nearly alike, as soft tissues
    means = rng.uniform(0.2, 0.8) + spread * rng.normal(size=count)
    odd = rng.random(count) < rng.choice([0.15, 0.5])  # air, fluid, bone, contrast medium
    means = np.where(odd, rng.uniform(-0.2, 1.2, count), means)
    alike = (bodies != np.arange(count)) & (rng.random(count) < 0.5)
    means = np.where(alike, means[bodies] + 0.1 * rng.normal(size=count), means)
    air = rng.random() < 0.4  # nothing but noise round the body
    means[0] *= not air
    image = means[labels]
    rims = rng.random(count) < rng.choice([0.05, 0.5], p=[0.7, 0.3])
    for label in np.flatnonzero(rims):  # bright cortex, capsule, dark halo
        depth = cv2.distanceTransform((labels == label).astype(np.uint8), cv2.DIST_L2, 3)
        image += rng.normal() * 0.35 * ((depth > 0) & (depth <= rng.uniform(1, 6)))
    image = _blur(image, rng.choice([0.4, 0.8, 1.5, 3, 6], p=[0.23, 0.23, 0.23, 0.23, 0.08]))
    busy = rng.choice(
        [0.1, 0.3, 0.8], p=[0.4, 0.4, 0.2]
    )  # how much texture against how much contrast
    for scale in (1, rng.uniform(1.5, 4), rng.uniform(4, 12), rng.uniform(15, 50)):
        strength = np.abs(rng.normal(size=count)) * rng.choice([0, 0.03, 0.06, 0.12]) * busy
        strength[0] *= not air
        image += _noise(rng, labels.shape, scale) * strength[labels]
    # Slow changes within a tissue, as of the thickness that an X-ray passes.
    strength = np.abs(rng.normal(size=count)) * rng.choice([0, 0.1, 0.25], p=[0.3, 0.4, 0.3])
    strength[0] *= not air
    return image + _noise(rng, labels.shape, rng.uniform(40, 150)) * strength[labels]


def _add_translucent(rng, image):
    """Add one to four objects that are seen through, as bones and lungs in X-rays: what lies before
    and behind them stays visible. Also returns their masks."""
    shape, masks = image.shape, []
    sign, strength = rng.choice([-1, 1]), rng.choice([0.15, 0.25, 0.4])
    image = image * rng.uniform(0.3, 1)
    for _ in range(rng.integers(1, 5)):
        draw_shape = rng.choice(
            [_blob, _bone, _pair, _ring, _vessel], p=[0.35, 0.3, 0.2, 0.1, 0.05]
        )
        mask = _warp(rng, draw_shape(rng, shape)) > 0
        distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
        depth = distance / max(distance.max(), 1)
        kind = rng.choice(["flat", "round", "shell"], p=[0.3, 0.3, 0.4])
        if kind == "flat":
            thickness = mask.astype(np.float32)
        elif kind == "round":  # the path of the rays through a cylinder
            thickness = 1.3 * np.sqrt(depth * (2 - depth))
        elif kind == "shell":  # a bone's cortex
            wall = mask & (distance <= rng.uniform(1, 5))
            thickness = mask * rng.uniform(0, 1) + wall * rng.uniform(0.3, 1)
        odd = rng.choice([-1, 1], p=[0.15, 0.85])
        added = sign * odd * strength * rng.uniform(0.6, 1.6) * thickness
        image = image + _blur(added, rng.choice([0.4, 0.8, 1.5, 3]))
        masks.append(mask)
    return image, masks


def _degrade(rng, image):
    """Faint shapes that are no objects, stripes, shadows, bias field, speckle, noise and blur."""
    shape = image.shape
    for _ in range(rng.integers(0, 3)):  # folds, catheters, vessels in front
        faint = rng.choice([_blob, _vessel, _bone, _ring])(rng, shape)
        image = image + rng.normal() * 0.08 * _blur(faint, rng.uniform(0.5, 4))
    if rng.random() < 0.15:  # ribs
        rows = np.arange(shape[0])[:, None] + 12 * _noise(rng, shape, 70)
        image = image + 0.12 * rng.normal() * (
            np.sin(rows * 2 * np.pi / rng.uniform(10, 40)) > rng.uniform(-0.3, 0.6)
        )
    if rng.random() < 0.15:  # shadow or bright bands behind bone or fluid, as in ultrasound
        columns = _noise(rng, (1, shape[1]), rng.uniform(8, 30)) > 0.9
        behind = columns & (np.arange(shape[0])[:, None] > rng.uniform(0.1, 0.7) * shape[0])
        image = image * (1 + rng.uniform(-0.8, 0.4) * _blur(behind, rng.uniform(1, 5)))
    if rng.random() < 0.6:
        image = image * np.exp(
            rng.choice([0.1, 0.25, 0.5]) * _noise(rng, shape, rng.uniform(60, 200))
        )
    if rng.random() < 0.25:  # speckle: multiplies, and is coarser across the beam
        grain = cv2.GaussianBlur(
            rng.rayleigh(1, shape),
            (0, 0),
            sigmaX=rng.uniform(0.4, 2.5),
            sigmaY=rng.uniform(0.4, 1.2),
        )
        image = np.abs(image) * (grain / grain.mean()) ** rng.uniform(0.3, 1.2)
    if rng.random() < 0.5:
        image = image + rng.choice([0.01, 0.03, 0.07]) * rng.standard_normal(shape)
    return _blur(image, rng.uniform(0.3, 1.6)) if rng.random() < 0.5 else image.astype(np.float32)


def _field_of_view(rng, shape):
    """What the scanner sees, bool H x W: the whole picture, a rectangle, a disk or a sector."""
    kind = rng.choice(["all", "rectangle", "disk", "sector"], p=[0.62, 0.16, 0.1, 0.12])
    y, x = np.indices(shape) / max(shape)
    if kind == "rectangle":
        top, left, bottom, right = rng.uniform(0, 0.15, 4) * (rng.random(4) < 0.6)
        return (y >= top) & (y <= y.max() - bottom) & (x >= left) & (x <= x.max() - right)
    if kind == "disk":
        return np.hypot(y - y.mean(), x - x.mean()) < rng.uniform(0.4, 0.55)
    if kind == "sector":
        y, x = y + rng.uniform(0.02, 0.4), x - x.mean() + 0.05 * rng.normal()
        depth = np.hypot(y, x)
        inner, outer = y.min(), rng.uniform(0.9, 1) * depth.max()
        return (
            (np.abs(np.arctan2(x, y)) < rng.uniform(0.45, 0.9)) & (depth > inner) & (depth < outer)
        )
    return np.ones(shape, bool)


def _to_8_bit(rng, image, view):
    """Stretch to 0..255 as readers do, with gamma, inversion, saturation, letters, crosses and
    JPEG."""
    stretch = rng.choice(["percentiles", "window", "maximum"], p=[0.5, 0.3, 0.2])
    limits = (rng.uniform(0, 20), rng.uniform(80, 100)) if stretch == "window" else (0.5, 99.5)
    low, high = np.percentile(image[view], limits)
    low = 0 if stretch == "maximum" else low
    image = np.clip((image - low) / max(high - low, 1e-3), 0, 1) ** np.exp(rng.normal() * 0.35)
    image = 1 - image if rng.random() < 0.3 else image
    image[~view] = rng.choice([0, 0, 0, 0.05, 1])
    image = np.uint8(np.round(255 * image))
    for _ in range(rng.integers(1, 5) if rng.random() < 0.15 else 0):
        where, grey = np.int32(_somewhere(rng, image.shape)).tolist(), int(rng.integers(120, 256))
        if rng.random() < 0.5:
            cv2.drawMarker(image, where, grey, cv2.MARKER_CROSS, int(rng.integers(4, 14)))
        else:
            text = "".join(rng.choice(list("LRAPSI0123456789:.mc "), rng.integers(1, 8)))
            cv2.putText(image, text, where, cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.25, 0.6), grey)
    if rng.random() < 0.3:
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])[1]
        image = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
    return image
