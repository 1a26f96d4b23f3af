"""Image pairs: finding them by name, and reading every kind of file that people have."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from medsam_utils.case import BadCaseError, BadInputError, Exclusion
from medsam_utils.datasets import ANY_VALUE, DATASETS
from medsam_utils.datasets.images import ImagePairs, read_image, read_mask
from medsam_utils.datasets.pairs import Pairs

GREY = np.array([[0, 60, 120], [180, 240, 255]], np.uint8)
SQUARE = np.array([[False, True, True], [False, True, True]])


def save(path, values, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


@pytest.fixture
def dataset(tmp_path):
    """A dataset in `tmp_path` whose masks are named like its images, with "_mask"."""
    name = r"(?P<key>[a-z])"
    return dataclasses.replace(
        DATASETS["us_breast"],
        reader=ImagePairs(
            Pairs(images=rf"{name}\.(?:png|jpg)", masks=rf"{name}_mask(?:_\d)?\.(?:png|jpg)")
        ),
        root=tmp_path,
    )


def only_case(dataset):
    (reference,) = dataset.list().references
    return dataset.load(reference)


# ---- finding


def test_busi_names_with_spaces_and_parentheses_are_paired(tmp_path):
    folder = tmp_path / "deep" / "Dataset_BUSI_with_GT" / "benign"
    for name in (
        "benign (2)",
        "benign (2)_mask",
        "benign (2)_mask_1",
        "benign (10)",
        "benign (10)_mask",
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").touch()
    listing = dataclasses.replace(DATASETS["us_breast"], root=tmp_path).list()
    assert [r.case_id for r in listing.references] == ["benign (2)", "benign (10)"]
    assert [len(r.masks) for r in listing.references] == [2, 1]
    assert not listing.exclusions


@pytest.mark.parametrize(
    ("image", "masks"),
    [
        (
            "MontgomerySet/CXR_png/MCUCXR_0001_0.png",
            [
                "MontgomerySet/ManualMask/leftMask/MCUCXR_0001_0.png",
                "m/rightMask/MCUCXR_0001_0.png",
            ],
        ),
        ("ChinaSet_AllFiles/CXR_png/CHNCXR_0327_1.png", ["mask/mask/CHNCXR_0327_1_mask.png"]),
        (
            "Lung Segmentation/CXR_png/MCUCXR_0001_0.png",
            ["Lung Segmentation/masks/MCUCXR_0001_0.png"],
        ),
        (
            "Lung Segmentation/CXR_png/CHNCXR_0327_1.png",
            ["Lung Segmentation/masks/CHNCXR_0327_1_mask.png"],
        ),
    ],
)
def test_chest_images_are_paired_in_each_known_distribution(tmp_path, image, masks):
    for name in (image, *masks):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (reference,) = dataclasses.replace(DATASETS["xray_chest"], root=tmp_path).list().references
    assert reference.images == (tmp_path / image,)
    assert sorted(reference.masks) == sorted(tmp_path / mask for mask in masks)


def test_hidden_files_are_no_images(tmp_path, dataset):
    save(tmp_path / "a.png", GREY), save(tmp_path / "a_mask.png", SQUARE)
    for name in ("._a.png", ".hidden/b.png", "__MACOSX/._a_mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"not an image")
    listing = dataset.list()
    assert [r.case_id for r in listing.references] == ["a"]
    assert not listing.exclusions


def test_a_file_without_its_partner_is_left_out_and_named(tmp_path, dataset):
    for name in ("a.png", "a_mask.png", "b.png", "c_mask.png"):
        (tmp_path / name).touch()
    listing = dataset.list()
    assert [r.case_id for r in listing.references] == ["a"]
    assert listing.exclusions == [
        Exclusion("b", "pairs", "b.png", "image without mask"),
        Exclusion("c", "pairs", "c_mask.png", "mask without image"),
    ]


def test_two_images_of_one_name_are_left_out(tmp_path, dataset):
    for name in ("a.png", "a.jpg", "a_mask.png", "b.png", "b_mask.png"):
        (tmp_path / name).touch()
    listing = dataset.list()
    assert [r.case_id for r in listing.references] == ["b"]
    assert "a.jpg, a.png" in listing.exclusions[0].reason


def test_listing_opens_no_file(tmp_path, dataset):
    for name in ("a.png", "a_mask.png"):
        (tmp_path / name).write_bytes(b"unreadable")
    assert len(dataset.list().references) == 1


def test_no_case_at_all_is_an_error_that_shows_the_layout(tmp_path, dataset):
    with pytest.raises(BadInputError, match=r"no case of us_breast(.|\n)*benign \(1\)_mask\.png"):
        dataset.list()


def test_a_missing_folder_is_named(tmp_path, dataset):
    with pytest.raises(BadInputError, match=r"nowhere: no such folder"):
        dataclasses.replace(dataset, root=tmp_path / "nowhere").list()


# ---- reading


def test_a_case_holds_the_image_and_the_united_masks(tmp_path, dataset):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "a_mask.png", np.array([[1, 0, 0], [0, 0, 0]], bool))
    save(tmp_path / "a_mask_1.png", np.array([[255, 0, 0], [0, 0, 255]], np.uint8))
    case = only_case(dataset)
    np.testing.assert_array_equal(case.image, np.stack([GREY] * 3, axis=2))
    np.testing.assert_array_equal(case.masks["lesion"], [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(case.labelled, case.masks["lesion"])
    assert case.spacing is None
    assert [path.name for path in case.source] == ["a.png", "a_mask.png", "a_mask_1.png"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_binary_masks_of_every_mode_are_the_same_mask(tmp_path, mode):
    path = save(tmp_path / "m.tif", SQUARE, mode)
    np.testing.assert_array_equal(read_mask(path) > 0, SQUARE)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a.png", GREY),
        ("a.bmp", GREY),
        ("a.tif", GREY),
        ("a.npy", GREY),
        ("a.png", GREY.astype(np.uint16) * 257),
        ("a.tif", GREY.astype(np.uint16) * 257),
        ("a.tif", GREY.astype(np.float32) / 255),
        ("a.npy", GREY.astype(np.float64) - 1000),
        ("a.npy", GREY.astype(np.int16)[..., np.newaxis]),
        ("a.png", np.stack([GREY, GREY, GREY.T.reshape(2, 3)], axis=2)),
    ],
)
def test_images_come_back_as_stored(tmp_path, name, values):
    path = tmp_path / name
    np.save(path, values) if name.endswith("npy") else Image.fromarray(values).save(path)
    back = read_image(path)
    np.testing.assert_array_equal(back, values.squeeze())
    assert back.dtype == values.dtype


def test_a_palette_image_shows_its_colours_not_its_indices(tmp_path):
    paletted = Image.fromarray(255 - GREY, mode="P")
    paletted.putpalette([value for n in range(256) for value in (255 - n,) * 3])
    paletted.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY)


def test_a_mask_with_a_colour_palette_is_a_label_map_of_indices(tmp_path):
    labels = np.array([[0, 1], [2, 2]], np.uint8)
    paletted = Image.fromarray(labels, mode="P")
    paletted.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    paletted.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), labels)


def test_a_16_bit_image_is_brought_to_8_bits(tmp_path, dataset):
    (
        save(tmp_path / "a.png", np.array([[100, 1100]], np.uint16)),
        save(tmp_path / "a_mask.png", np.eye(2)[:1] > 0),
    )
    np.testing.assert_array_equal(only_case(dataset).image[..., 0], [[0, 255]])


def test_a_soft_mask_is_cut_where_the_dataset_says(tmp_path, dataset):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "a_mask.png", np.array([[0, 1, 127], [128, 254, 255]], np.uint8))
    np.testing.assert_array_equal(only_case(dataset).masks["lesion"], [[0, 0, 0], [1, 1, 1]])
    released = dataclasses.replace(dataset, mask_threshold=255)
    np.testing.assert_array_equal(only_case(released).masks["lesion"], [[0, 0, 0], [0, 0, 1]])


def test_a_16_bit_mask_is_read(tmp_path, dataset):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "a_mask.png", SQUARE.astype(np.uint16) * 65535)
    np.testing.assert_array_equal(only_case(dataset).masks["lesion"], SQUARE)


def test_jpeg_noise_is_no_object(tmp_path, dataset):
    big = np.zeros((64, 64), bool)
    big[16:48, 16:48] = True
    save(tmp_path / "a.png", big), save(tmp_path / "a_mask.jpg", big, "RGB", quality=70)
    np.testing.assert_array_equal(only_case(dataset).masks["lesion"], big)


# ---- bad cases: each names the file, the fact and what to do


def load_error(dataset):
    with pytest.raises(BadCaseError) as error:
        only_case(dataset)
    return str(error.value)


def test_image_and_mask_of_different_sizes(tmp_path, dataset):
    save(tmp_path / "a.png", GREY), save(tmp_path / "a_mask.png", SQUARE.T)
    assert load_error(dataset) == (
        "a_mask.png: the mask is 3 x 2, its image 2 x 3 (rows x columns): export both on the same "
        "grid"
    )


def test_a_coloured_mask(tmp_path, dataset):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "a_mask.png", np.array([[[0, 0, 0], [255, 0, 0], [0, 255, 0]]] * 2, np.uint8))
    assert "a_mask.png: the mask is coloured" in load_error(dataset)
    assert "one value per class" in load_error(dataset)


def test_small_labels_in_one_channel_are_a_colour_too(tmp_path, dataset):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "a_mask.png", np.array([[[0, 0, 0], [1, 0, 0], [0, 2, 0]]] * 2, np.uint8))
    assert "the mask is coloured" in load_error(dataset)


def test_an_empty_mask(tmp_path, dataset):
    save(tmp_path / "a.png", GREY), save(tmp_path / "a_mask.png", np.zeros((2, 3), bool))
    assert load_error(dataset).startswith(
        "a_mask.png: no labelled pixel (values 0): nothing to click on"
    )


@pytest.mark.parametrize("damaged", ["a.png", "a_mask.png"])
@pytest.mark.parametrize("kept", [0, 5, 20, 40, 0.5, 0.9])
def test_a_truncated_png(tmp_path, dataset, damaged, kept):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    save(tmp_path / "a.png", noise), save(tmp_path / "a_mask.png", noise)
    content = (tmp_path / damaged).read_bytes()
    (tmp_path / damaged).write_bytes(
        content[: kept if isinstance(kept, int) else int(kept * len(content))]
    )
    message = load_error(dataset)
    assert message.startswith(f"{damaged}: cannot be read")
    assert message.endswith("copy or export it again")


def test_a_truncated_npy(tmp_path):
    np.save(tmp_path / "a.npy", GREY)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-3])
    with pytest.raises(BadCaseError, match=r"a\.npy: cannot be read"):
        read_image(tmp_path / "a.npy")


def test_an_npy_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadCaseError, match=r"a\.npy: cannot be read"):
        read_image(tmp_path / "a.npy")


def test_pixels_that_are_nan(tmp_path, dataset):
    values = GREY.astype(np.float32)
    values[0, 0] = np.nan
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(
        BadCaseError, match=r"a\.npy: 1 of 6 pixels are NaN or infinite: replace them"
    ):
        from medsam_utils.datasets.dataset import to_rgb

        to_rgb(read_image(tmp_path / "a.npy"), dataset, tmp_path / "a.npy")


def test_a_file_of_several_pages(tmp_path):
    page = Image.fromarray(GREY)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    with pytest.raises(BadCaseError, match=r"a\.tif: it holds 2 pages"):
        read_image(tmp_path / "a.tif")


def test_a_stack_is_not_an_image(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 4, 7)))
    with pytest.raises(BadCaseError, match=r"shape is \(5, 4, 7\)"):
        read_image(tmp_path / "a.npy")


# ---- the dataset as a value


def test_a_dataset_travels_to_workers(dataset):
    assert pickle.loads(pickle.dumps(dataset)) == dataset


def test_settings_change_with_everything_that_changes_a_case(dataset):
    changed = [
        dataclasses.replace(dataset, mask_threshold=255),
        dataclasses.replace(dataset, classes={"lesion": (1,)}),
        dataclasses.replace(dataset, intensity=DATASETS["mri_heart"].intensity),
        dataclasses.replace(dataset, reader=DATASETS["xray_chest"].reader),
    ]
    texts = {json.dumps(d.settings(), sort_keys=True) for d in (dataset, *changed)}
    assert len(texts) == 5


def test_settings_do_not_depend_on_where_the_files_lie(dataset, tmp_path):
    assert (
        dataclasses.replace(dataset, root=tmp_path / "elsewhere").settings() == dataset.settings()
    )


def test_tasks_are_named_as_in_the_study(dataset):
    assert dataset.tasks == {"lesion": "US-Breast"}
    spine = dataclasses.replace(dataset, title="MRI-Spine", classes={"GM": (1,), "SC": ANY_VALUE})
    assert spine.tasks == {"GM": "MRI-Spine: GM", "SC": "MRI-Spine: SC"}


@pytest.mark.parametrize("threshold", [0, 256])
def test_a_threshold_that_no_8_bit_value_can_meet_is_refused(dataset, threshold):
    with pytest.raises(BadInputError, match=f"mask_threshold is {threshold}"):
        dataclasses.replace(dataset, mask_threshold=threshold)
