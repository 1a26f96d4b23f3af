"""Clicks, boxes and masks as prompts, alone and together: SAM as its own predictor, GrabCut, who
refuses."""

import itertools

import numpy as np
import pytest
from segment_anything import SamPredictor

from medsam_utils import Click, load_model
from medsam_utils.case import BadInputError

SHAPES = [(3, 200), (257, 255), (90, 110)]
COMBINATIONS = [
    kinds for kinds in itertools.product([0, 1, 3], [False, True], [False, True]) if any(kinds)
]


@pytest.fixture(scope="module")
def models():
    """The exact and the fast small SAM."""
    return [load_model("sam_small", device="cpu", exact=exact) for exact in (True, False)]


def noisy(shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def prompts(shape, clicks, box, mask, objects=3):
    """Random prompts of each kind, None for a kind that is not asked for."""
    rng = np.random.default_rng([clicks, box, mask])
    ends = np.sort(rng.integers(0, shape, (objects, 2, 2)), axis=1).reshape(objects, 4)
    given = [
        [
            Click(int(rng.integers(shape[0])), int(rng.integers(shape[1])), i != 1, 1.0, 1)
            for i in range(clicks)
        ]
        for _ in range(objects)
    ]
    logits = rng.normal(0, 5, (objects, 128, 128)).astype(np.float32)
    return given, ends if box else None, logits if mask else None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("clicks", "box", "mask"), COMBINATIONS)
def test_every_combination_of_prompts_is_bit_equal_to_sam_predictor(
    models, shape, clicks, box, mask
):
    exact, _ = models
    given, boxes, logits = prompts(shape, clicks, box, mask)
    prediction = exact.predict(exact.encode(noisy(shape)), given, boxes, logits)
    reference = SamPredictor(exact.network)
    reference.set_image(noisy(shape))
    for i, of_object in enumerate(given):
        masks, confidences, low = reference.predict(
            point_coords=np.array([[click.col, click.row] for click in of_object])
            if clicks
            else None,
            point_labels=np.array([int(click.positive) for click in of_object]) if clicks else None,
            box=boxes[i][[1, 0, 3, 2]] if box else None,
            mask_input=logits[i][None] if mask else None,
            multimask_output=True,
        )
        assert np.array_equal(prediction.logits[i], low)
        assert np.array_equal(prediction.predicted_iou[i], confidences)
        assert np.array_equal([prediction.mask(i, candidate) for candidate in range(3)], masks)


@pytest.mark.parametrize(("clicks", "box", "mask"), COMBINATIONS)
def test_fast_and_exact_differ_by_rounding_only_for_every_combination(models, clicks, box, mask):
    given = prompts((90, 110), clicks, box, mask)
    exact, fast = (model.predict(model.encode(noisy((90, 110))), *given) for model in models)
    np.testing.assert_allclose(fast.logits, exact.logits, atol=3e-4)
    np.testing.assert_allclose(fast.predicted_iou, exact.predicted_iou, atol=1e-5)


def test_each_kind_of_prompt_changes_the_answer_of_sam(models):
    _, fast = models
    embedding = fast.encode(noisy((90, 110)))
    clicks, boxes, logits = prompts((90, 110), 1, True, True)
    answers = [
        fast.predict(embedding, clicks, *other).logits
        for other in [(None, None), (boxes, None), (None, logits), (boxes, logits)]
    ]
    for one, other in itertools.combinations(answers, 2):
        assert np.abs(one - other).max() > 0.01


def test_sam_refuses_objects_without_any_prompt(models):
    for model in models:
        with pytest.raises(ValueError, match="a click, a box or the logits"):
            model.predict(model.encode(noisy((9, 9))), [[], []])


def test_grabcut_in_a_box_finds_the_rectangle_and_nothing_outside_the_box():
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:30, 20:50] = 200
    image[40:50, 20:50] = 200
    model = load_model("grabcut")
    prediction = model.predict(model.encode(image), [[]], boxes=np.array([[8, 18, 32, 52]]))
    assert prediction.mask(0, 0)[10:30, 20:50].all() and prediction.mask(0, 0).sum() == 600


def test_grabcut_in_a_box_is_never_empty_where_the_object_looks_like_its_surroundings():
    """OpenCV's own rectangle mode gives an empty mask on such images."""
    for seed in range(8):
        values = np.random.default_rng(seed).normal(120, 40, (90, 110, 1)).clip(0, 255)
        model = load_model("grabcut")
        embedding = model.encode(np.repeat(values.astype(np.uint8), 3, axis=2))
        mask = model.predict(embedding, [[]], boxes=np.array([[20, 30, 59, 79]])).mask(0, 0)
        middle = np.zeros_like(mask)
        middle[36:44, 48:62] = True
        assert mask[middle].all() and not mask[:20].any() and not mask[:, 80:].any()


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [4, 7, 4, 7], [0, 0, 8, 8], [8, 0, 8, 8]])
def test_grabcut_answers_boxes_of_any_size(box):
    model = load_model("grabcut")
    click = [Click(4, 7, True, 1.0, 1)]
    embedding = model.encode(noisy((9, 9)))
    for clicks in ([], click):
        mask = model.predict(embedding, [clicks], boxes=np.array([box])).mask(0, 0)
        assert mask.shape == (9, 9) and (not clicks or mask[4, 7])


@pytest.mark.parametrize(
    ("name", "kind"), [("ritm_small", "boxes"), ("ritm_small", "logits"), ("grabcut", "logits")]
)
def test_a_model_that_cannot_take_a_kind_of_prompt_names_one_that_can(name, kind):
    model = load_model(name, device="cpu")
    embedding = model.encode(noisy((9, 9)))
    given = {"boxes": np.array([[0, 0, 3, 3]]), "logits": np.zeros((1, 9, 9), np.float32)}[kind]
    with pytest.raises(BadInputError, match=f"{name} takes no {kind} as a prompt: .*sam_small"):
        model.predict(embedding, [[Click(2, 2, True, 1.0, 1)]], **{kind: given})
