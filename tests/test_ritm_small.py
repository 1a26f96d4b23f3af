"""The embedded small RITM: it fits RITM's adapter, and its weights have learned something."""

from pathlib import Path

import numpy as np
import pytest
import torch

import medsam_utils
from medsam_utils import evaluate, load_dataset, load_model
from medsam_utils.clicks import PAPER, next_click
from medsam_utils.demo import training_ritm
from medsam_utils.demo.drawings import draw
from medsam_utils.models.ritm_network import CLICK_RADIUS, click_disks
from medsam_utils.models.ritm_small import build_ritm_small

WEIGHTS = Path(medsam_utils.__file__).parent / "models/weights/ritm_small.pt"


def test_clicks_are_disks_in_the_map_of_their_sign():
    absent = (-1, -1, -1)
    points = torch.tensor([[(10, 20, 0), absent, (30.5, 5, 1), (-3, 2, 2)]], dtype=torch.float32)
    positive, negative = click_disks(points, (40, 50))[0]
    assert (
        positive[10, 20] == positive[10 + CLICK_RADIUS, 20] == 1
        and positive[11 + CLICK_RADIUS, 20] == 0
    )
    assert positive[:4, :4].sum() == 0  # an absent click leaves no trace
    assert negative[30, 5] == 1 and negative[0, 2] == 1 and negative[10, 20] == 0


@pytest.mark.parametrize("shape", [(192, 192), (37, 91), (1, 50)])
def test_logits_have_the_shape_of_the_image(shape):
    with torch.inference_mode():
        logits = build_ritm_small()(
            torch.rand(2, 4, *shape), torch.tensor([[(0, 0, 0), (-1, -1, -1)]] * 2)
        )
    assert logits.shape == (2, 1, *shape) and logits.isfinite().all()


def test_clicks_and_previous_mask_both_count():
    torch.manual_seed(0)
    network, image = build_ritm_small(), torch.zeros(1, 4, 64, 64)
    click, other = (torch.tensor([[(n, n, 0), (-1, -1, -1)]]) for n in (20, 40))
    masked = image.clone()
    masked[:, 3, 10:30, 10:30] = 1
    with torch.inference_mode():
        answers = [network(image, click), network(image, other), network(masked, click)]
    assert not torch.equal(answers[0], answers[1]) and not torch.equal(answers[0], answers[2])


def test_the_weights_are_this_architectures_in_float16_and_small():
    state, expected = torch.load(WEIGHTS, weights_only=True), build_ritm_small().state_dict()
    assert {key: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in expected.items()
    }
    assert all(value.dtype == torch.float16 and value.isfinite().all() for value in state.values())
    assert WEIGHTS.stat().st_size < 8e6


def ious(model, clicks, drawings):
    """Mean IoU after each of Algorithm 1's clicks on drawings that no training run has seen."""
    values = np.empty((drawings, clicks))
    for i in range(drawings):
        image, masks = draw(np.random.default_rng([999, i]))
        embedding = model.encode(np.repeat(image[..., None], 3, axis=2))
        truth, prediction, given, rng = masks[0], None, [], np.random.default_rng(i)
        for n in range(clicks):
            given.append(next_click(truth, prediction, PAPER, rng))
            prediction = model.predict(embedding, [given]).mask(0, 0)
            values[i, n] = (truth & prediction).sum() / (truth | prediction).sum()
    return values.mean(0)


def test_it_segments_drawings_it_was_not_trained_on_and_gains_by_clicks():
    first, *_, last = ious(load_model("ritm_small", device="cpu"), clicks=3, drawings=15)
    assert first > 0.25 and last > first + 0.1


def test_it_segments_phantoms_and_gains_by_clicks():
    rows = evaluate(load_dataset("us_breast"), load_model("ritm_small", device="cpu"), max_cases=2)
    by_click = rows.groupby("click")["iou"].mean()
    assert by_click[1] > 0.6 and by_click[9] > 0.9 and by_click[9] >= by_click[1]


def test_training_goes_on_from_its_checkpoint_and_the_loss_falls(tmp_path):
    tiny = {"batch": 2, "objects": 1, "size": 48, "save_every": 1, "workers": 0}
    training_ritm.train(1, folder=str(tmp_path), **tiny)
    first = torch.load(tmp_path / "ritm_small_checkpoint.pt", weights_only=True)
    training = training_ritm.train(20, folder=str(tmp_path), **tiny)
    second = torch.load(tmp_path / "ritm_small_checkpoint.pt", weights_only=True)
    assert (first["step"], second["step"], training.start) == (1, 20, 1) and len(
        training.history
    ) == 19
    assert any(not torch.equal(first["model"][key], second["model"][key]) for key in first["model"])
    losses = np.array(training.history)[:, 0]
    assert losses[-5:].mean() < losses[:5].mean()
    exported = torch.load(tmp_path / "ritm_small.pt", weights_only=True)
    assert all(torch.equal(exported[key], value.half()) for key, value in second["average"].items())


def test_views_never_change_and_hold_the_object():
    views = training_ritm.Views(seed=2, objects=2, size=64, length=4)
    images, masks, _ = views[3]
    assert images.shape == masks.shape == (2, 64, 64) and masks.dtype == bool and len(views) == 4
    assert images.min() >= 0 and images.max() <= 1
    assert (masks.sum((1, 2)) > training_ritm.FEWEST_PIXELS).all()
    for part, again in zip(views[3], views[3], strict=True):
        assert np.array_equal(part, again)


def test_a_click_that_is_disobeyed_costs_more():
    target = torch.zeros(1, 1, 16, 16)
    target[..., 4:12, 4:12] = 1
    wrong_at = torch.where(target > 0, 5.0, -5.0)
    wrong_at[..., 7, 7] = -5.0
    disks = torch.zeros(1, 2, 16, 16)
    elsewhere, here = disks.clone(), disks.clone()
    elsewhere[0, 0, 9, 9] = here[0, 0, 7, 7] = 1
    losses = [training_ritm.click_loss(wrong_at, target, d).item() for d in (elsewhere, here)]
    assert losses[1] > 2 * losses[0]


def test_training_starts_from_the_stages_of_sam_small():
    network = build_ritm_small()
    training_ritm.start_weights(network, str(WEIGHTS.parent / "sam_small.pt"))
    learned = torch.load(WEIGHTS.parent / "sam_small.pt", weights_only=True)
    for key, value in network.stages.state_dict().items():
        assert torch.equal(value, learned[training_ritm.ENCODER + key].float())


def test_training_starts_from_weights_of_its_own_kind():
    network = build_ritm_small()
    training_ritm.start_weights(network, str(WEIGHTS))
    learned = torch.load(WEIGHTS, weights_only=True)
    assert all(torch.equal(network.state_dict()[key], learned[key].float()) for key in learned)
