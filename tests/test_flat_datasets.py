"""Flat images of the study: each phantom comes back as it was drawn, and each trap of its files is
met."""

import dataclasses

import nibabel
import numpy as np
import pytest
from cases import read_all
from PIL import Image

from medsam_utils import DATASETS, load_dataset
from medsam_utils.datasets.images import read_mask
from medsam_utils.demo.phantoms import (
    WRITERS,
    ultrasound_limbs,
    ultrasound_organs,
    write_phantoms,
    xray_hip,
)

pytestmark = pytest.mark.slow  # the phantoms that all of them read are written first


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with the phantoms of the flat datasets, by name."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("xray_hip", "us_kidney", "us_nerve", "us_muscle", "us_ovarian"):
        write_phantoms(name, folder / name)
    return folder


def read(name, data, **changes):
    """Read all cases of a dataset: (by case id, messages of what was left out)."""
    return read_all(dataclasses.replace(load_dataset(name, data), **changes))


def touch(root, *names):
    """Make empty files: listing opens none."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def listed(name, root):
    """Return what is listed below a folder: {case id: (image, masks)}, relative; exclusions'
    ids."""
    listing = dataclasses.replace(DATASETS[name], root=root).list()
    found = {
        r.case_id: (
            r.images[0].relative_to(root).as_posix(),
            [m.relative_to(root).as_posix() for m in r.masks],
        )
        for r in listing.references
    }
    return found, [exclusion.case_id for exclusion in listing.exclusions]


# ---- X-ray, hip: pictures in NIfTI files


def test_xray_hip_comes_back_as_drawn(data):
    cases, excluded = read("xray_hip", data)
    drawings = xray_hip.xray_hip_drawings()
    assert sorted(cases) == [f"{name}_z000" for name in sorted(drawings)]
    assert not excluded
    for name, drawn in drawings.items():
        case = cases[f"{name}_z000"]
        low, high = drawn.image.min(), drawn.image.max()
        grey = np.rint((drawn.image - low) / (high - low) * 255)
        np.testing.assert_array_equal(case.image, np.stack([grey] * 3, axis=2))
        np.testing.assert_array_equal(case.masks["Femur"], drawn.label == 1)
        np.testing.assert_array_equal(case.masks["Ilium"], drawn.label == 2)


def test_xray_hip_is_upright_though_a_volume_would_be_turned(data):
    cases, _ = read("xray_hip", data)
    for case in cases.values():
        rows, columns = case.image.shape[:2]
        assert rows == 512
        assert columns < 360
        # Without the strips along the border the pelvis lies above the thigh.
        femur, ilium = (
            np.nonzero(case.masks[name][1:, :-1])[0].mean() for name in ("Femur", "Ilium")
        )
        assert ilium < femur


def test_xray_hip_files_are_as_distributed(data):
    image = nibabel.load(data / "xray_hip/zm6bxzhmfz-1/images/image_001.nii.gz")
    assert image.get_data_dtype() == np.float64
    assert image.shape[0] == 512
    assert image.shape[2] == 1
    assert 255 < np.asarray(image.dataobj).max() < 255.001
    dtypes = {
        nibabel.load(p).get_data_dtype().kind for p in (data / "xray_hip").rglob("label_*.nii.gz")
    }
    assert dtypes == {"u", "f"}


def test_values_above_255_are_the_brightest_not_the_darkest(data):
    cases, _ = read("xray_hip", data)
    for name, drawn in xray_hip.xray_hip_drawings().items():
        assert (
            cases[f"{name}_z000"].image[np.unravel_index(drawn.image.argmax(), drawn.image.shape)][
                0
            ]
            == 255
        )


def test_strips_of_one_pixel_at_the_border_are_kept(data):
    cases, _ = read("xray_hip", data)
    case = cases["004_z000"]
    assert case.masks["Ilium"][100:400, -1].all()
    assert not case.masks["Ilium"][400, -2]
    assert case.masks["Femur"][0, : case.image.shape[1] // 3].all()
    assert not case.masks["Femur"][1, : case.image.shape[1] // 3].any()


def test_a_third_label_of_the_hip_is_left_out_and_told(data, tmp_path):
    for part, values in (("image", np.ones((4, 3, 1))), ("label", np.full((4, 3, 1), 3.0))):
        path = tmp_path / f"{part}s" / f"{part}_001.nii.gz"
        path.parent.mkdir()
        nibabel.Nifti1Image(values, np.eye(4)).to_filename(path)
        for whole in (data / "xray_hip").rglob(f"{part}_002.nii.gz"):
            (path.parent / whole.name).write_bytes(whole.read_bytes())
    cases, excluded = read("xray_hip", data, root=tmp_path)
    assert list(cases) == ["002_z000"]
    assert "label values [3] are not among the declared [0, 1, 2]" in excluded[0]


# ---- ultrasound, kidney: soft masks


def test_us_kidney_comes_back_as_drawn(data):
    cases, excluded = read("us_kidney", data)
    drawings = ultrasound_organs.us_kidney_drawings()
    assert list(cases) == list(drawings)  # natural order: 2 before 10 before 100
    assert not excluded
    for name, (image, share) in drawings.items():
        np.testing.assert_array_equal(cases[name].image, np.stack([image] * 3, axis=2))
        np.testing.assert_array_equal(cases[name].masks["kidney"], share >= 128)
        assert ((share > 0) & (share < 255)).sum() > 100


def test_grey_borders_of_a_kidney_are_background_under_the_released_codes_rule(data):
    cases, _ = read("us_kidney", data, mask_threshold=255)
    for name, (_, share) in ultrasound_organs.us_kidney_drawings().items():
        np.testing.assert_array_equal(cases[name].masks["kidney"], share == 255)


def test_a_kidneys_image_without_a_mask_is_told(tmp_path):
    touch(tmp_path, "slice/slice/7.png", "slice/slice/8.png", "mask/mask/8.png")
    found, left_out = listed("us_kidney", tmp_path)
    assert found == {"8": ("slice/slice/8.png", ["mask/mask/8.png"])}
    assert left_out == ["7"]


# ---- ultrasound, nerve: TIFF


def test_us_nerve_comes_back_as_drawn(data):
    cases, excluded = read("us_nerve", data)
    drawings = ultrasound_limbs.us_nerve_drawings()
    seen = {name: drawing for name, drawing in drawings.items() if drawing.masks[0].any()}
    assert list(cases) == list(seen)
    for name, drawing in seen.items():
        assert cases[name].image.shape == (420, 580, 3)
        np.testing.assert_array_equal(cases[name].image, np.stack([drawing.image] * 3, axis=2))
        np.testing.assert_array_equal(cases[name].masks["brachial plexus"], drawing.masks[0])
    assert len(excluded) == len(drawings) - len(seen) == 2
    assert all("no labelled pixel" in text for text in excluded)


def test_frames_of_a_subject_are_one_patient(data):
    cases, _ = read("us_nerve", data)
    assert {case.patient_id for case in cases.values()} == {"1", "2", "12", "47"}
    assert cases["12_9"].patient_id == "12"


def test_the_competitions_test_images_are_neither_cases_nor_exclusions(tmp_path):
    touch(tmp_path, "train/1_2.tif", "train/1_2_mask.tif", "test/1.tif", "test/2.tif")
    assert listed("us_nerve", tmp_path) == ({"1_2": ("train/1_2.tif", ["train/1_2_mask.tif"])}, [])


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits"])
def test_tiff_masks_are_read_whatever_their_compression(tmp_path, compression):
    values = np.eye(9, dtype=np.uint8) * 255
    Image.fromarray(values).save(tmp_path / "1_1_mask.tif", compression=compression)
    np.testing.assert_array_equal(read_mask(tmp_path / "1_1_mask.tif"), values)


# ---- ultrasound, muscle: names that repeat


def test_us_muscle_comes_back_as_drawn(data):
    cases, excluded = read("us_muscle", data)
    drawings = ultrasound_limbs.us_muscle_drawings()
    assert sorted(cases) == sorted(drawings)
    assert not excluded
    for name, drawing in drawings.items():
        np.testing.assert_array_equal(cases[name].image, np.stack([drawing.image] * 3, axis=2))
        np.testing.assert_array_equal(cases[name].masks["muscle"], drawing.masks[0])


def test_equal_names_of_other_muscles_are_other_cases(tmp_path):
    names = [
        f"{m}/{s}/{p}/1.png"
        for m in ("BB", "TA")
        for s in ("Healthy",)
        for p in ("Images", "Masks")
    ]
    touch(tmp_path / "Polito-Radboud-DeepLearningUS", *names)
    touch(
        tmp_path / "Polito-Radboud-DeepLearningUS", "Segmentation_models/data/MuscleCNN/train/1.png"
    )
    found, left_out = listed("us_muscle", tmp_path)
    assert list(found) == ["BB/Healthy/1", "TA/Healthy/1"]
    assert not left_out


# ---- ultrasound, ovary: JPEG images, coloured masks, capitals


def test_us_ovarian_comes_back_as_drawn(data):
    cases, excluded = read("us_ovarian", data)
    drawings = ultrasound_organs.us_ovarian_drawings()
    assert list(cases) == list(drawings)
    assert not excluded
    for name, drawing in drawings.items():
        with Image.open(data / f"us_ovarian/OTU_2d/images/{name}.JPG") as picture:
            np.testing.assert_array_equal(cases[name].image, np.asarray(picture))
        # What JPEG does to the drawing is the file's, not the reader's.
        assert np.abs(cases[name].image[..., 0].astype(int) - drawing.image).mean() < 3
        np.testing.assert_array_equal(cases[name].masks["tumour"], drawing.masks[0])


def test_the_other_files_beside_coloured_masks_are_not_used(data):
    found, left_out = listed("us_ovarian", data / "us_ovarian")
    assert found["120"] == ("OTU_2d/images/120.JPG", ["OTU_2d/annotations/120.PNG"])
    assert len(list((data / "us_ovarian").rglob("*_binary.PNG"))) == 2 * len(found)
    assert not left_out


def test_the_copy_on_figshare_is_read_too(tmp_path):
    touch(
        tmp_path / "dataset",
        *("OTU_2D/train/train_image/1.JPG", "OTU_2D/train/train_label/label/1.PNG"),
        *("OTU_2D/test/image/1.JPG", "OTU_2D/test/label/black_write/1.PNG"),
        *("OTU_CEUS/image/1.JPG", "OTU_CEUS/label/1.PNG"),
    )
    found, left_out = listed("us_ovarian", tmp_path)
    assert found == {
        "test/1": (
            "dataset/OTU_2D/test/image/1.JPG",
            ["dataset/OTU_2D/test/label/black_write/1.PNG"],
        ),
        "train/1": (
            "dataset/OTU_2D/train/train_image/1.JPG",
            ["dataset/OTU_2D/train/train_label/label/1.PNG"],
        ),
    }
    assert not left_out


INSIDE = np.array([[False, True, True], [False, False, True]])


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 1), (7, 7, 7)])
@pytest.mark.parametrize("kind", ["RGB", "RGBA", "palette"])
def test_whatever_is_not_black_in_a_coloured_mask_is_foreground(tmp_path, colour, kind):
    values = np.where(INSIDE[..., np.newaxis], colour, 0).astype(np.uint8)
    picture = Image.fromarray(values)
    if kind == "palette":
        # Index 1 is black here: indices are not to be taken for colours.
        picture = Image.fromarray(np.where(INSIDE, 0, 1).astype(np.uint8), mode="P")
        picture.putpalette([*colour, 0, 0, 0])
    picture.convert("RGBA" if kind == "RGBA" else picture.mode).save(tmp_path / "a.PNG")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.PNG", coloured=True) > 0, INSIDE)


def test_a_grey_mask_is_read_as_ever_where_colours_are_allowed(tmp_path):
    for mode in ("1", "L"):
        Image.fromarray(INSIDE).convert(mode).save(tmp_path / "a.PNG")
        np.testing.assert_array_equal(read_mask(tmp_path / "a.PNG", coloured=True) > 0, INSIDE)


# ---- all of them


@pytest.mark.parametrize("name", ["xray_hip", "us_kidney", "us_nerve", "us_muscle", "us_ovarian"])
def test_phantoms_are_a_demo_and_written_anew_the_same(data, name, tmp_path):
    assert load_dataset(name, data).level == "demo"
    WRITERS[name](tmp_path)
    for path in tmp_path.rglob("*.*"):
        if path.is_file():
            assert path.read_bytes() == (data / name / path.relative_to(tmp_path)).read_bytes()
