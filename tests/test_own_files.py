"""Own folders as people have them: read as they were drawn, or refused by name, never otherwise.

One known image and mask are drawn through dtype x format x orientation x palette x values x
pairing; and random trees of files must be accounted for to the last file. A seeded sample runs
here; MEDSAM_COMBINATIONS=2000 runs as many.
"""

from __future__ import annotations

import os
import random
import warnings

import nibabel
import nrrd
import numpy as np
import pytest
from PIL import Image

from medsam_utils import evaluate, load_folder, load_model
from medsam_utils.book.doctor import examine
from medsam_utils.case import BadCaseError, BadInputError

COMBINATIONS = int(os.environ.get("MEDSAM_COMBINATIONS", "300"))

H, W = 40, 56
ROWS, COLS = np.mgrid[:H, :W]
OBJECT = (ROWS - 14) ** 2 + (COLS - 18) ** 2 < 81  # off the centre: a flip shows
OTHER = (abs(ROWS - 30) < 5) & (abs(COLS - 42) < 8)
GREY = (40 + 2 * COLS + 100 * OBJECT).astype(np.uint8)


def suffixed(path, suffix):
    """Return a path with a suffix behind its name, which may hold dots."""
    return path.with_name(path.name + suffix)


# ---- how an image may be stored


def image_png(path, rng):
    Image.fromarray(GREY).save(suffixed(path, ".png"))
    return GREY


def image_colour(path, rng):
    Image.fromarray(np.dstack([GREY, GREY // 2, 255 - GREY])).save(suffixed(path, ".png"))
    return np.dstack([GREY, GREY // 2, 255 - GREY])


TURNS = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: np.swapaxes(upright, 0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: np.swapaxes(upright[::-1, ::-1], 0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
"""How a picture is stored that its EXIF orientation turns upright again."""


def image_turned(path, rng):
    orientation = rng.choice(list(TURNS))
    stored = np.ascontiguousarray(TURNS[orientation](GREY))
    exif = Image.Exif()
    exif[0x0112] = orientation
    suffix, options = rng.choice(
        [(".png", {}), (".tif", {}), (".tif", {"compression": "tiff_lzw"}), (".webp", LOSSLESS)]
    )
    picture = Image.fromarray(stored).convert("RGB")
    picture.save(suffixed(path, suffix), exif=exif, **options)
    return GREY


def image_npy(path, rng):
    dtype = rng.choice(["u1", "<u2", ">u2", "<i2", "<i4", "<f4", ">f8", "<f2"])
    np.save(suffixed(path, ".npy"), GREY.astype(dtype))
    return GREY if dtype == "u1" else stretched(GREY)


def image_16_bit(path, rng):
    suffix = rng.choice([".png", ".tif", ".pgm"])
    values = GREY.astype(np.uint16) * 16
    if suffix == ".pgm":
        head = f"P5\n{W} {H}\n65535\n".encode()
        suffixed(path, suffix).write_bytes(head + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(suffixed(path, suffix))
    return stretched(GREY)


def image_webp(path, rng):
    Image.fromarray(GREY).convert("RGB").save(suffixed(path, ".webp"), lossless=True)
    return GREY


def image_gif(path, rng):
    Image.fromarray(GREY).save(suffixed(path, ".gif"))
    return GREY


def image_alpha(path, rng):
    alpha = np.full((H, W), 255, np.uint8)
    Image.fromarray(np.dstack([GREY, GREY, GREY, alpha])).save(suffixed(path, ".png"))
    return GREY


LOSSLESS = {"lossless": True}
IMAGES = [
    image_png,
    image_colour,
    image_turned,
    image_npy,
    image_16_bit,
    image_webp,
    image_gif,
    image_alpha,
]


def stretched(values):
    values = values.astype(float)
    return np.rint((values - values.min()) / np.ptp(values) * 255).astype(np.uint8)


# ---- what a mask may hold, and how it may be stored


def binary(rng):
    value = rng.choice([1, 2, 7, 100, 200, 254, 255])
    return (OBJECT | OTHER) * value, {"object": OBJECT | OTHER}


def labels(rng):
    """Two labels; 255 is not among them, as it may be an ignored value."""
    one, two = rng.choice([(1, 2), (1, 3), (2, 9), (10, 20), (50, 150), (85, 170), (3, 200)])
    return OBJECT * one + OTHER * two, {f"label {one}": OBJECT, f"label {two}": OTHER}


def ignored(rng):
    edge = (ROWS - 14) ** 2 + (COLS - 18) ** 2 < 121
    return np.where(OBJECT, 1, np.where(edge, 255, 0)), {"object": OBJECT}


def soft(rng):
    distance = np.hypot(ROWS - 14.0, COLS - 18.0)
    values = np.rint(np.clip((9 - distance) / rng.choice([2, 4, 8]) + 0.5, 0, 1) * 255)
    return values, {"object": values >= 128}


def fractions(rng):
    distance = np.hypot(ROWS - 14.0, COLS - 18.0)
    values = np.clip((9 - distance) / rng.choice([2, 4, 8]) + 0.5, 0, 1)
    return values, {"object": values >= 0.5}


VALUES = [binary, labels, ignored, soft, fractions]


def store_plain(path, values, rng):
    suffix = rng.choice([".png", ".bmp", ".tif", ".gif", ".webp", ".pgm"])
    picture = Image.fromarray(values.astype(np.uint8))
    if suffix == ".webp":
        picture.convert("RGB").save(suffixed(path, suffix), lossless=True)
    else:
        picture.save(suffixed(path, suffix))


def store_npy(path, values, rng):
    dtypes = ["u1", "<u2", "<i2", "<i4", "<i8", "<f4", "<f8", ">i2", ">f4"]
    dtype = rng.choice(dtypes if (values == np.rint(values)).all() else ["<f4", "<f8", ">f4"])
    np.save(suffixed(path, ".npy"), values.astype(dtype))


def store_16_bit(path, values, rng):
    suffix = rng.choice([".png", ".tif"])
    Image.fromarray(values.astype(np.uint16)).save(suffixed(path, suffix))


def store_palette(path, values, rng):
    """Indices with a palette: black first, or in another order, or of greys."""
    indices = values.astype(np.uint8)
    colours = np.random.default_rng(1).integers(1, 255, (256, 3))
    colours[:, 0] |= 1
    colours[0] = 0
    if rng.random() < 0.4:  # an optimiser has put another colour first
        order = np.array(rng.sample(range(256), 256))
        indices, shuffled = order[indices].astype(np.uint8), np.zeros_like(colours)
        shuffled[order] = colours
        colours = shuffled
    elif rng.random() < 0.3:
        colours = np.repeat(np.arange(256), 3).reshape(-1, 3)
    picture = Image.frombytes("P", (W, H), indices.tobytes())
    picture.putpalette(colours.astype(np.uint8).ravel().tolist())
    picture.save(suffixed(path, rng.choice([".png", ".bmp", ".tif"])))


def store_alpha(path, values, rng):
    """White, black or grey all over, with the drawing in alpha."""
    ground = rng.choice([0, 128, 255])
    plain = np.full((H, W), ground, np.uint8)
    Image.fromarray(np.dstack([plain, plain, plain, values.astype(np.uint8)])).save(
        suffixed(path, ".png")
    )


def store_colour(path, values, rng):
    """Every value a colour of its own, on black."""
    colours = np.array([rng.sample(range(20, 256), 3) for _ in range(256)], np.uint8)
    colours[0] = 0
    Image.fromarray(colours[values.astype(np.uint8)]).save(suffixed(path, ".png"))


def store_grey_colour(path, values, rng):
    plain = values.astype(np.uint8)
    Image.fromarray(np.dstack([plain] * 3)).save(suffixed(path, ".png"))


def store_turned(path, values, rng):
    orientation = rng.choice(list(TURNS))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNS[orientation](values.astype(np.uint8)))
    Image.fromarray(stored).save(suffixed(path, rng.choice([".png", ".tif"])), exif=exif)


def store_one_hot(path, values, rng):
    classes = np.unique(values)
    channels = np.dstack([values == value for value in classes])
    np.save(suffixed(path, ".npy"), channels.astype(rng.choice(["u1", "<f4", "?"])))


def store_jpeg(path, values, rng):
    Image.fromarray(values.astype(np.uint8)).save(suffixed(path, ".jpg"), quality=95)


def store_white_is_zero(path, values, rng):
    """Values turned round, as the tag of the TIFF says."""
    bits = rng.choice([8, 16])
    dtype = np.uint8 if bits == 8 else np.uint16
    picture = Image.fromarray(np.iinfo(dtype).max - values.astype(dtype))
    picture.save(suffixed(path, ".tif"), tiffinfo={262: 0})
    with Image.open(suffixed(path, ".tif")) as back:
        assert back.tag_v2[262] == 0


STORES = [
    store_plain,
    store_npy,
    store_16_bit,
    store_palette,
    store_alpha,
    store_colour,
    store_grey_colour,
    store_turned,
    store_one_hot,
    store_jpeg,
]

NAMES = [
    ("case_1", "case_1"),
    ("case_1", "case_1_mask"),
    ("case_1", "case_1_Segmentation"),
    ("case_1", "case_1-GT"),
    ("case_1", "mask_case_1"),
    ("case_1_0000", "case_1"),
    ("p1/Bein_mu\u0308ller", "p1/Bein_m\u00fcller"),
    ("scan", "scan/object"),
    ("Scan", "scan_label"),
]


def cannot_hold(draw, store):
    """Tell what a way of storing loses, so that a refusal is right."""
    if store is store_jpeg:
        return True  # its values are changed; labels and dark objects are lost
    if store is store_colour:
        return draw is not binary  # which colour is which label is not said
    return store is store_palette and draw is not binary  # unless black is first


def makes_no_sense(draw, store):
    """Tell what nobody draws: a channel per grey, and 1 beside 255 in a format that blurs them."""
    return (store is store_one_hot and draw not in (binary, labels)) or (
        store is store_jpeg and draw is ignored
    )


@pytest.mark.parametrize("seed", range(COMBINATIONS))
def test_a_pair_is_read_as_drawn_or_refused_by_name(tmp_path, seed):
    rng = random.Random(seed)
    draw, store, image = rng.choice(VALUES), rng.choice(STORES), rng.choice(IMAGES)
    draw = binary if makes_no_sense(draw, store) else draw
    draw = soft if draw is fractions and store is not store_npy else draw
    values, truth = draw(rng)
    names = rng.choice(NAMES)
    paths = [tmp_path / part / name for part, name in zip(("images", "masks"), names, strict=True)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    expected = image(paths[0], rng)
    store(paths[1], values, rng)
    try:
        dataset = load_folder(tmp_path)
        (reference,) = dataset.list().references
        case = dataset.load(reference)
    except BadInputError as error:
        assert f"masks/{names[1]}" in str(error)
        assert cannot_hold(draw, store), error
        return
    rgb = expected if expected.ndim == 3 else np.dstack([expected] * 3)
    np.testing.assert_array_equal(case.image, rgb)
    if store is store_jpeg:
        # Labels below 20 are lost in the noise of a JPEG, so that nothing tells of them.
        assert draw is not labels or values[values > 0].min() <= 20
        assert (case.masks["object"] != (values >= 128)).mean() < 0.02
        return
    drawn = sorted(mask.tobytes() for mask in truth.values())
    assert sorted(mask.tobytes() for mask in case.masks.values()) == drawn
    assert (case.ignored is not None) == (draw is ignored)
    assert not dataset.list().exclusions and not dataset.list().not_read


# ---- random trees: every file is accounted for, and nothing but BadInputError comes out

STEMS = ["a", "A", "a_mask", "b", "b_1", "b_2", "b-seg", "c (1)", "c", "1.2.3", "u\u0308", "\u00fc"]
FLAT = ["png", "PNG", "jpg", "tif", "npy", "gif", "webp", "pgm", "txt", "zip", "raw", "", "dcm"]
VOLUMES = ["nii", "nii.gz", "NII.GZ", "nrrd", "seg.nrrd", "mha", "mhd", "mgz", "hdr", "img", "txt"]
FOLDERS = ["", "", "p1/", "p2/deep/", "a/", ".hidden/"]


def content(rng, path):
    """Return what a file of a random tree holds: what its name says, something else or nothing."""
    kind = rng.choice(["right", "right", "right", "other", "cut", "noise", "empty"])
    picture = rng.choice([GREY, OBJECT.astype(np.uint8) * 255, OBJECT + 2 * OTHER])
    save = path.with_name(f".{path.name}.{rng.choice(['png', 'tif', 'npy', 'nii', 'nii.gz'])}")
    if kind == "empty":
        return b""
    if kind == "noise":
        return rng.randbytes(rng.choice([3, 200, 2000]))
    suffix = path.name.partition(".")[2].lower() if kind != "other" else save.suffix[1:]
    whole = encoded(picture.astype(np.uint8), suffix, save.parent)
    return whole[: len(whole) * 2 // 3] if kind == "cut" else whole


def encoded(values, suffix, folder):
    """Return the bytes of a file of this suffix; of one that is not known, a text."""
    path = folder / f"written.{suffix}"
    volume = np.repeat(values[:, :, np.newaxis], 3, axis=2)
    formats = {"png", "jpg", "tif", "gif", "webp", "pgm"}
    try:
        if suffix in formats:
            Image.fromarray(values).save(path)
        elif suffix == "npy":
            np.save(path, values)
        elif suffix in ("nii", "nii.gz", "hdr"):
            nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path.with_suffix(""))
            path = next(folder.glob("written.nii*"), path)
        elif suffix == "mgz":
            nibabel.save(nibabel.MGHImage(volume, np.eye(4)), path)
        elif suffix in ("nrrd", "seg.nrrd"):
            nrrd.write(str(path), volume, LPS)
        elif suffix == "mha":
            path.write_bytes(METAIMAGE.encode() + volume.tobytes(order="F"))
        else:
            path.write_bytes(b"a text, or nothing that is known")
        return path.read_bytes()
    except (OSError, nibabel.filebasedimages.ImageFileError):
        return b"text"
    finally:
        for written in folder.glob("written*"):
            written.unlink()


LPS = {
    "space": "left-posterior-superior",
    "space directions": np.eye(3),
    "space origin": [0, 0, 0],
    "Segment0_Name": "tumour",
    "Segment0_LabelValue": "1",
    "Segment0_Layer": "0",
}
METAIMAGE = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
    f"ElementSpacing = 1 1 1\nDimSize = {H} {W} 3\nElementType = MET_UCHAR\n"
    "ElementDataFile = LOCAL\n"
)


def evaluate_anyway(dataset):
    """Evaluate a few cases: they may be refused, but nothing else may happen."""
    try:
        rows = evaluate(dataset, load_model("grabcut"), clicks=1, executor=None, max_cases=3)
        assert not rows.empty and rows.attrs["not_read"] is not None
    except BadInputError as error:
        assert "no usable case" in str(error)


@pytest.mark.parametrize("seed", range(COMBINATIONS // 4))
def test_every_file_of_a_tree_is_accounted_for(tmp_path, seed):
    rng = random.Random(seed)
    suffixes = rng.choice([FLAT, VOLUMES])
    for part in ("images", "masks"):
        for _ in range(rng.randint(1, 9)):
            name = rng.choice(STEMS) + "." + rng.choice(suffixes)
            path = tmp_path / part / rng.choice(FOLDERS) / name.rstrip(".")
            if path.is_dir() or any(parent.is_file() for parent in path.parents):
                continue  # A file and a folder of one name.
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(rng, path))
        kept = np.where(OBJECT, 255, 0).astype(np.uint8) if part == "masks" else GREY
        suffix = "png" if suffixes is FLAT else "nii"
        (tmp_path / part / f"kept.{suffix}").write_bytes(encoded(kept, suffix, tmp_path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = load_folder(tmp_path)
            listing = dataset.list()
            examine(dataset)
    except BadInputError as error:
        asked = ("masks do not agree", "Say whether", "no case of", "each kind in a folder")
        assert any(text in str(error) for text in asked), error
        return
    if seed % 10 == 0:
        evaluate_anyway(dataset)
    for reference in listing.references:
        try:
            dataset.load(reference)
        except BadCaseError as error:
            assert "images/" in str(error) or "masks/" in str(error)
    files = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    used = {
        path.relative_to(tmp_path).as_posix()
        for reference in listing.references
        for path in dataset.files(reference)
    }
    left_out = {file for e in listing.exclusions for file in (e.path, *e.files)}
    not_read = {e.path for e in listing.not_read}
    assert files == used | left_out | not_read
    assert not not_read & (used | left_out)
    assert all(e.fact for e in (*listing.exclusions, *listing.not_read))
