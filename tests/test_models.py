"""SAM bit-equal to its own predictor, GrabCut from clicks, and the registry's names."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry

from medsam_utils import Click, load_model
from medsam_utils.case import BadInputError
from medsam_utils.models.sam_small import build_sam_small

ODD_SHAPES = [(1, 1), (3, 200), (257, 255), (600, 417)]


@pytest.fixture(scope="module")
def vit_b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the true shapes and names, as a checkpoint file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vit_b.pth"
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    return path


def random_image(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def random_clicks(shape: tuple[int, int], objects: int, n: int) -> list[list[Click]]:
    rng = np.random.default_rng(1)
    rows, cols = shape
    return [
        [
            Click(int(rng.integers(rows)), int(rng.integers(cols)), bool(rng.integers(2)), 1.0, 1)
            for _ in range(n)
        ]
        for _ in range(objects)
    ]


def assert_bit_equal_to_sam_predictor(model, shape: tuple[int, int], objects: int = 2) -> None:
    image = random_image(shape)
    reference = SamPredictor(model.network)
    reference.set_image(image)
    embedding = model.encode(image)
    for n in (1, 3):
        clicks = random_clicks(shape, objects, n)
        prediction = model.predict(embedding, clicks)
        for i, of_object in enumerate(clicks):
            xy = np.array([[click.col, click.row] for click in of_object])
            labels = np.array([int(click.positive) for click in of_object])
            masks, confidences, logits = reference.predict(xy, labels)
            assert np.array_equal(prediction.predicted_iou[i], confidences)
            assert np.array_equal(prediction.logits[i], logits)
            assert all(
                np.array_equal(prediction.mask(i, candidate), masks[candidate])
                for candidate in range(3)
            )
            assert prediction.most_confident()[i] == confidences.argmax()


@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_the_small_sam_is_bit_equal_to_sam_predictor(shape):
    assert_bit_equal_to_sam_predictor(load_model("sam_small", device="cpu", exact=True), shape)


@pytest.mark.slow
def test_vit_b_from_a_checkpoint_file_is_bit_equal_to_sam_predictor(vit_b):
    model = load_model("sam_vit_b", checkpoint=vit_b, device="cpu", exact=True)
    assert_bit_equal_to_sam_predictor(model, (211, 97), objects=1)


def test_all_objects_in_one_batch_differ_from_one_at_a_time_by_rounding_only():
    image, clicks = random_image((120, 90)), random_clicks((120, 90), 5, 3)
    exact, batched = (load_model("sam_small", device="cpu", exact=exact) for exact in (True, False))
    one, all_at_once = (model.predict(model.encode(image), clicks) for model in (exact, batched))
    np.testing.assert_allclose(one.logits, all_at_once.logits, atol=1e-3)
    np.testing.assert_allclose(one.predicted_iou, all_at_once.predicted_iou, atol=1e-5)


def test_objects_with_different_numbers_of_clicks_are_refused():
    model = load_model("sam_small")
    click = Click(2, 2, True, 1.0, 1)
    with pytest.raises(ValueError, match="equally many clicks"):
        model.predict(model.encode(random_image((9, 9))), [[click], [click, click]])


def test_grabcut_finds_a_bright_square_and_gives_up_what_is_clicked_away():
    image = np.zeros((100, 200, 3), np.uint8)
    image[30:60, 40:70] = 255
    image[30:60, 80:110] = 255
    model = load_model("grabcut")
    embedding = model.encode(image)
    first = Click(45, 55, True, 15.0, 1)
    grown = model.predict(embedding, [[first]])
    assert grown.mask(0, 0)[32:58, 42:68].all() and not grown.mask(0, 0)[:20].any()
    cut = model.predict(embedding, [[first, Click(45, 95, False, 15.0, 1)]])
    assert cut.mask(0, 0)[45, 55] and not cut.mask(0, 0)[45, 95]
    assert np.isnan(cut.predicted_iou).all() and cut.most_confident()[0] == 0


@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_grabcut_answers_on_the_grid_of_the_image(shape):
    model = load_model("grabcut")
    prediction = model.predict(model.encode(random_image(shape)), random_clicks(shape, 2, 2))
    assert prediction.mask(1, 0).shape == shape


def test_grabcut_does_not_depend_on_earlier_calls():
    model, shape = load_model("grabcut"), (80, 80)
    embedding, clicks = model.encode(random_image(shape)), random_clicks(shape, 3, 3)
    together = model.predict(embedding, clicks).logits
    apart = np.concatenate(
        [model.predict(embedding, [of_object]).logits for of_object in reversed(clicks)]
    )[::-1]
    assert np.array_equal(together, apart)


@pytest.mark.parametrize("name", ["sam_small", "grabcut"])
def test_a_pickled_model_is_the_same_model(name):
    model = load_model(name, device="cpu")
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.name, copy.weights, copy.settings()) == (
        model.name,
        model.weights,
        model.settings(),
    )
    assert len(pickle.dumps(model)) < 1000


def test_an_unknown_model_is_answered_with_the_known_ones():
    with pytest.raises(
        BadInputError, match=r"'sam_smal' is unknown: did you mean 'sam_small'.*sam_vit_h"
    ):
        load_model("sam_smal")


def test_weights_of_another_architecture_are_refused(tmp_path):
    path = tmp_path / "small.pth"
    torch.save(build_sam_small().state_dict(), path)
    with pytest.raises(BadInputError, match=r"small\.pth does not fit SAM vit_b"):
        _ = load_model("sam_vit_b", checkpoint=path).network


@pytest.mark.parametrize(
    ("name", "dtype", "amx", "advised"),
    [
        ("sam_vit_b", "float32", True, True),
        ("sam_vit_b", "float32", False, False),  # it would save memory and no time
        ("sam_vit_b", "bfloat16", True, False),
        ("sam_small", "float32", True, False),
    ],
)
def test_bfloat16_is_advised_only_where_the_processor_has_instructions_for_it(
    monkeypatch, name, dtype, amx, advised
):
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx, raising=False)
    model = load_model(name, device="cpu", dtype=dtype)
    assert ("bfloat16" in model.advice) == advised
