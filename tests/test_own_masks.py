"""What mask files of an own folder mean: decided file by file, then agreed on."""

import dataclasses
import re

import nibabel
import numpy as np
import pytest
from PIL import Image

from medsam_utils import evaluate, load_folder, load_model
from medsam_utils.case import BadCaseError, BadInputError
from medsam_utils.datasets import ANY_VALUE
from medsam_utils.datasets.folder import parse_classes
from medsam_utils.datasets.masks import find_meaning

H, W = 48, 64
ROWS, COLS = np.mgrid[:H, :W]
DISC = (ROWS - 14) ** 2 + (COLS - 18) ** 2 < 100
RIM = ((ROWS - 14) ** 2 + (COLS - 18) ** 2 < 144) & ~DISC
SQUARE = (abs(ROWS - 36) < 6) & (abs(COLS - 45) < 8)
GREY = (60 + COLS + 100 * DISC).astype(np.uint8)


def soft_disc(width=4):
    """Return a disc whose edge falls from 1 to 0 over some pixels."""
    return np.clip((10 - np.hypot(ROWS - 14, COLS - 18)) / width + 0.5, 0, 1)


def edges_blurred(values):
    """Return whole numbers, resampled with linear interpolation."""
    small = Image.fromarray(values.astype(np.float32))
    large = small.resize((3 * W, 3 * H), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(large)).astype(np.uint8)


def grid_of_objects(count, dtype):
    """Return squares of 4 x 4 pixels, numbered from 1."""
    side = int(np.ceil(np.sqrt(count)))
    values = np.zeros((6 * side, 6 * side), dtype)
    for number in range(count):
        row, col = 6 * (number // side), 6 * (number % side)
        values[row : row + 4, col : col + 4] = number + 1
    return values


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    return tmp_path


def add(folder, name, mask, image=GREY, suffix="png"):
    """Write a pair of flat images."""
    Image.fromarray(image).save(folder / f"images/{name}.png")
    mask = np.asarray(mask)
    if suffix == "npy":
        np.save(folder / f"masks/{name}.npy", mask)
    else:
        Image.fromarray(mask.astype(np.uint8 if mask.max() < 256 else np.uint16)).save(
            folder / f"masks/{name}.{suffix}"
        )


def add_volume(folder, name, mask):
    """Write a pair of volumes of three equal slices."""
    for part, values in (("images", GREY.astype(np.int16)), ("masks", mask)):
        volume = np.repeat(np.asarray(values)[:, :, np.newaxis], 3, axis=2)
        path = folder / part / f"{name}.nii.gz"
        nibabel.Nifti1Image(volume, np.diag([1.0, 1.0, 2.0, 1.0])).to_filename(path)


def only(dataset):
    (reference,) = dataset.list().references
    return dataset.load(reference)


def left_out(dataset):
    """Return the reasons of all cases that are left out, when listed or when loaded."""
    listing = dataset.list()
    reasons = [exclusion.reason for exclusion in listing.exclusions]
    for reference in listing.references:
        try:
            dataset.load(reference)
        except BadCaseError as error:
            reasons.append(str(error))
    return reasons


# ---- one file


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (DISC * 0, "empty"),
        (DISC, "binary"),
        (DISC * 14.2452, "binary"),
        (DISC * 1 + SQUARE * 2, "labels"),
        (DISC * 1 + RIM * 255, "labels"),
        (DISC * 85 + SQUARE * 170, "labels"),
        (DISC * 128 + SQUARE * 255, "labels"),
        (np.rint(soft_disc() * 255).astype(np.uint8), "soft"),
        (np.rint(soft_disc() * 65535).astype(np.uint16), "soft"),
        (soft_disc(), "soft"),
        (np.rint(soft_disc(40) * 255).astype(np.uint8), "soft"),
        (grid_of_objects(20, np.uint16), "instances"),
        (grid_of_objects(100, np.uint8), "instances"),
        (grid_of_objects(200, np.uint8), "instances"),
        (grid_of_objects(300, np.uint16), "instances"),
        (np.rint(soft_disc() * 100).astype(np.uint8), "unclear"),
        (np.where(DISC, 254, 255).astype(np.uint8), "unclear"),
        (DISC * 0.5 + SQUARE * 1.0, "unclear"),
        (edges_blurred(DISC * 80 + SQUARE * 160), "unclear"),
        (edges_blurred(DISC * 200), "soft"),
        (DISC * 1.0 + SQUARE * 3 + RIM * 0.5, "unclear"),
        (DISC * 1 + SQUARE * 255, "unclear"),
    ],
)
def test_the_kind_of_a_file_follows_from_its_values(values, kind):
    if kind == "unclear" and values.dtype.kind == "i":
        values = np.where(SQUARE | (ROWS > 20), 255, DISC)  # more that is ignored than is marked
    values = values.astype(np.int32) if values.dtype.kind == "i" else values
    assert find_meaning(values).kind == kind


def test_a_jpeg_with_areas_of_grey_is_a_label_map_that_has_lost_its_values(folder):
    add(folder, "a", DISC * 100 + SQUARE * 200, suffix="jpg")
    with pytest.raises(BadInputError, match=r"masks/a\.jpg: it has areas of grey.*save it as PNG"):
        load_folder(folder)


# ---- volumes


@pytest.mark.parametrize("full", [1, 255])
def test_a_soft_volume_is_cut_at_half(folder, full):
    add_volume(folder, "a", (soft_disc() * full).astype(np.float32))
    dataset = load_folder(folder)
    assert dataset.classes == {"object": ANY_VALUE}
    assert dataset.load("a_z001").masks["object"].sum() == (soft_disc() >= 0.5).sum()


def test_a_volume_may_have_labels_above_127(folder):
    add_volume(folder, "a", (DISC * 2 + SQUARE * 205).astype(np.int16))
    masks = load_folder(folder).load("a_z001").masks
    assert {name: mask.sum() for name, mask in masks.items()} == {
        "label 2": DISC.sum(),
        "label 205": SQUARE.sum(),
    }
    (mask,) = load_folder(folder, classes={"liver": 205}).load("a_z001").masks.values()
    assert mask.sum() == SQUARE.sum()


def test_one_odd_value_of_a_scale_factor_is_an_object(folder):
    for name, value in (("a", 14.2452), ("b", 0.7071), ("c", 0.31), ("d", 255)):
        add_volume(folder, name, (DISC * value).astype(np.float32))
    dataset = load_folder(folder)
    assert not left_out(dataset) and len(dataset) == 12
    assert {dataset.load(r).masks["object"].sum() for r in dataset} == {DISC.sum()}


def test_one_resampled_label_map_is_left_out_and_the_others_keep_their_classes(folder):
    for name in "abc":
        add_volume(folder, name, (DISC * 1 + SQUARE * 3).astype(np.float32))
    add_volume(folder, "d", (DISC * 1 + SQUARE * 3 + RIM * 0.5).astype(np.float32))
    dataset = load_folder(folder)
    assert list(dataset.classes) == ["label 1", "label 3"] and len(dataset) == 9
    (reason,) = left_out(dataset)
    assert re.match(r"masks/d\.nii\.gz: it holds fractions, such as 0\.5, .*nearest", reason)


# ---- the folder agrees


def test_one_soft_mask_among_label_maps_is_left_out(folder):
    for name in "abc":
        add(folder, name, DISC * 1 + SQUARE * 2)
    add(folder, "d", np.rint(soft_disc() * 255))
    dataset = load_folder(folder)
    assert list(dataset.classes) == ["label 1", "label 2"]
    (reason,) = left_out(dataset)
    assert reason.startswith("masks/d.png: the mask is soft") and "label maps" in reason


def test_one_label_map_among_binary_masks_is_left_out(folder):
    for name in "abc":
        add(folder, name, DISC * 255)
    add(folder, "d", DISC * 1 + SQUARE * 2)
    dataset = load_folder(folder)
    assert dataset.classes == {"object": ANY_VALUE}
    (reason,) = left_out(dataset)
    assert reason.startswith("masks/d.png: it is a label map (values 1, 2)")


def test_as_many_of_one_kind_as_of_another_is_a_question(folder):
    add(folder, "a", DISC * 1 + SQUARE * 2), add(folder, "b", np.rint(soft_disc() * 255))
    with pytest.raises(BadInputError, match=r"do not agree: .*masks/b\.png is one object.*a label"):
        load_folder(folder)


def test_masks_of_one_large_value_each_that_differ_are_a_question(folder):
    add(folder, "a", DISC * 100), add(folder, "b", DISC * 200)
    with pytest.raises(BadInputError, match=r"not the same: 100, 200\. Say whether they are cl"):
        load_folder(folder)
    assert len(load_folder(folder, classes={"object": ANY_VALUE}).list().references) == 2


# ---- ignored pixels


def test_255_beside_small_labels_is_ignored(folder):
    add(folder, "a", DISC * 1 + RIM * 255)
    dataset = load_folder(folder)
    case = only(dataset)
    np.testing.assert_array_equal(case.masks["object"], DISC)
    np.testing.assert_array_equal(case.ignored, RIM)
    assert "255 is ignored" in dataset.passport.traps[0]


def test_any_value_is_ignored_if_one_says_so(folder):
    add(folder, "a", DISC * 1 + RIM * 7 + SQUARE * 2)
    case = only(load_folder(folder, ignore=7))
    assert list(case.masks) == ["label 1", "label 2"]
    np.testing.assert_array_equal(case.ignored, RIM)


def test_255_is_a_class_if_one_says_so(folder):
    add(folder, "a", DISC * 1 + RIM * 255)
    case = only(load_folder(folder, classes={"inner": 1, "edge": 255}))
    np.testing.assert_array_equal(case.masks["edge"], RIM)
    assert case.ignored is None


def test_a_negative_value_may_be_ignored(folder):
    add_volume(folder, "a", (DISC * 1 - RIM * 1).astype(np.int16))
    case = load_folder(folder, ignore=-1).load("a_z001")
    assert (case.masks["object"].sum(), case.ignored.sum()) == (DISC.sum(), RIM.sum())


def test_ignored_pixels_count_in_no_score(folder):
    """The same image and clicks: where the prediction leaks into ignored pixels, IoU is higher."""
    model = load_model("grabcut")
    scores = {}
    for name, rim in (("ignored", 255), ("background", 0)):
        add(folder, "a", DISC * 1 + RIM * rim)
        dataset = load_folder(folder, name="rim")
        case = only(dataset)
        (row,) = evaluate(dataset, model, clicks=1, executor=None).to_dict("records")
        prediction = model.predict(model.encode(case.image), [[click_of(row)]]).mask(0, 0)
        counted = case.scored(prediction)
        assert row["iou"] == pytest.approx((counted & DISC).sum() / (counted | DISC).sum())
        scores[name] = row["iou"]
    assert scores["ignored"] >= scores["background"]


def click_of(row):
    from medsam_utils.clicks import Click

    return Click(*(row[name] for name in ("row", "col", "positive", "distance", "ties")))


# ---- numbered objects


def test_each_numbered_object_is_a_case_of_its_own(folder):
    numbers = grid_of_objects(200, np.uint8)
    add(folder, "a", numbers, np.zeros_like(numbers))
    dataset = load_folder(folder)
    assert dataset.tasks == {"object": folder.name}
    references = dataset.list().references
    assert len(references) == 200 and {r.patient_id for r in references} == {"a"}
    np.testing.assert_array_equal(dataset.load("a_i150").masks["object"], numbers == 150)


def test_few_numbered_objects_are_so_if_one_says_it(folder):
    add(folder, "a", DISC * 1 + SQUARE * 2)
    dataset = load_folder(folder, classes="nucleus=each")
    assert [r.case_id for r in dataset] == ["a_i001", "a_i002"]
    np.testing.assert_array_equal(dataset.load("a_i002").masks["nucleus"], SQUARE)


def test_numbered_objects_are_one_if_one_says_it(folder):
    numbers = grid_of_objects(20, np.uint8)
    add(folder, "a", numbers, np.zeros_like(numbers))
    case = only(load_folder(folder, classes={"nuclei": ANY_VALUE}))
    np.testing.assert_array_equal(case.masks["nuclei"], numbers > 0)


# ---- what can be said


def test_a_threshold_of_ones_own_holds_whatever_the_protocol_says(folder):
    soft = np.rint(soft_disc() * 255)
    add(folder, "a", soft)
    from medsam_utils import RELEASED_CODE
    from medsam_utils.evaluate import under

    dataset = under(load_folder(folder, threshold=64), RELEASED_CODE)
    np.testing.assert_array_equal(only(dataset).masks["object"], soft >= 64)


def test_a_threshold_says_that_percentages_are_soft(folder):
    percent = np.rint(soft_disc() * 100)
    add(folder, "a", percent)
    with pytest.raises(BadInputError, match=r"masks/a\.png: its values are .*threshold="):
        load_folder(folder)
    np.testing.assert_array_equal(
        only(load_folder(folder, threshold=50)).masks["object"], percent >= 50
    )


@pytest.mark.parametrize("text", ["liver", "liver=", "=1", "liver=1=2"])
def test_classes_of_another_form_are_refused(text):
    with pytest.raises(BadInputError, match="write names with their label values"):
        parse_classes(text)


@pytest.mark.parametrize("said", [{"ignore": "x"}, {"threshold": "half"}, {"threshold": 256}])
def test_numbers_that_are_none_are_refused(folder, said):
    add(folder, "a", DISC * 1)
    with pytest.raises(BadInputError, match="is "):
        load_folder(folder, **said)


def test_what_is_said_is_part_of_the_settings(folder):
    add(folder, "a", DISC * 1)
    datasets = [
        load_folder(folder),
        load_folder(folder, ignore=3),
        load_folder(folder, threshold=9),
    ]
    datasets.append(dataclasses.replace(datasets[0], mask_kind="labels"))
    assert len({str(dataset.settings()) for dataset in datasets}) == 4


def test_explorer_chapter_and_notebooks_take_what_is_said(folder):
    from medsam_utils.book.explorer import code_of
    from medsam_utils.book.explorer.subjects import open_folder
    from medsam_utils.book.runs import load_datasets

    add(folder, "a", DISC * 1 + SQUARE * 2 + RIM * 7)
    said = ("liver=1 tumour=2", "7", "100")
    (loaded,) = load_datasets("", str(folder), "", *said)
    opened = open_folder(str(folder), *said)
    for dataset in (loaded, opened):
        assert dataset.classes == {"liver": (1,), "tumour": (2,)}
        assert (dataset.ignore, dataset.threshold) == ((7,), 100)
        assert only(dataset).ignored.sum() == RIM.sum()
    again = eval(code_of(opened), {"load_folder": load_folder})
    assert again.settings() == opened.settings()
