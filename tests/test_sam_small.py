"""The embedded small SAM: it is a Sam, its weights are its own, and they have learned something."""

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pooch
import pytest
import torch
from segment_anything import SamPredictor

import medsam_utils
from medsam_utils import evaluate, load_dataset, load_model
from medsam_utils.book.pages import training as chapter
from medsam_utils.demo import training_sam
from medsam_utils.demo.drawings import draw
from medsam_utils.models.sam_small import build_sam_small
from medsam_utils.workflows.training import Training

WEIGHTS = Path(medsam_utils.__file__).parent / "models/weights/sam_small.pt"


@pytest.fixture(scope="module")
def trained():
    sam = build_sam_small()
    state = torch.load(WEIGHTS, weights_only=True)
    sam.load_state_dict({key: value.float() for key, value in state.items()})
    return sam


def iou_after_clicks(sam, clicks, drawings):
    """Mean IoU of the most confident mask after clicks at the maxima of the exact distance
    transform."""
    predictor, ious = SamPredictor(sam), []
    for i in range(drawings):
        image, masks = draw(np.random.default_rng([999, i]))
        predictor.set_image(np.repeat(image[..., None], 3, axis=2))
        truth, prediction, points, labels = masks[0], np.zeros(image.shape, bool), [], []
        for _ in range(clicks):
            error = np.pad(truth ^ prediction, 1).astype(np.uint8)
            distance = cv2.distanceTransform(error, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
            row, col = np.unravel_index(distance.argmax(), distance.shape)
            points.append((col, row))
            labels.append(int(truth[row, col]))
            candidates, confidences, _ = predictor.predict(
                np.array(points, float), np.array(labels)
            )
            prediction = candidates[confidences.argmax()]
        ious.append((truth & prediction).sum() / (truth | prediction).sum())
    return np.mean(ious)


@pytest.mark.parametrize("shape", [(256, 256), (37, 91), (300, 217), (1, 50)])
def test_it_fits_sam_predictor_on_odd_shapes(shape):
    predictor = SamPredictor(build_sam_small())
    predictor.set_image(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
    masks, confidences, logits = predictor.predict(np.array([[0.0, 0.0]]), np.array([1]))
    assert masks.shape == (3, *shape) and masks.dtype == bool
    assert confidences.shape == (3,) and logits.shape == (3, 128, 128)


def test_the_weights_are_this_architectures_in_float16_and_small():
    state, expected = torch.load(WEIGHTS, weights_only=True), build_sam_small().state_dict()
    assert {key: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in expected.items()
    }
    assert all(value.dtype == torch.float16 and value.isfinite().all() for value in state.values())
    assert WEIGHTS.stat().st_size < 8e6


@pytest.mark.slow
def test_it_segments_drawings_it_was_not_trained_on(trained):
    torch.manual_seed(0)
    assert iou_after_clicks(trained, clicks=3, drawings=40) > 0.4
    assert iou_after_clicks(build_sam_small(), clicks=3, drawings=10) < 0.2


def test_it_segments_phantoms_and_gains_by_clicks():
    rows = evaluate(load_dataset("us_breast"), load_model("sam_small", device="cpu"), max_cases=2)
    by_click = rows.groupby("click")["iou"].mean()
    assert by_click[1] > 0.6 and by_click[9] > 0.8 and by_click[9] >= by_click[1]


class KilledError(Exception):
    """Stands for the end of the process."""


def train(folder, monkeypatch, killed_after=None):
    """Train for 3 tiny steps and return the checkpoint."""
    save = Training.save

    def save_and_perhaps_die(self, step):
        save(self, step)
        if step == killed_after:
            raise KilledError

    with (
        monkeypatch.context() as patch,
        pytest.raises(KilledError) if killed_after else contextlib.nullcontext(),
    ):
        patch.setattr(Training, "save", save_and_perhaps_die)
        training_sam.train(3, batch=2, objects=1, save_every=1, folder=str(folder), workers=0)
    return torch.load(folder / "sam_small_checkpoint.pt", weights_only=True)


@pytest.mark.slow
def test_interrupted_training_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", monkeypatch)
    stopped = train(tmp_path / "parts", monkeypatch, killed_after=2)
    resumed = train(tmp_path / "parts", monkeypatch)
    assert (stopped["step"], resumed["step"], whole["step"]) == (2, 3, 3)
    for weights in ("model", "average"):
        assert all(
            torch.equal(whole[weights][key], resumed[weights][key]) for key in whole[weights]
        )
    assert any(
        not torch.equal(stopped["model"][key], resumed["model"][key]) for key in whole["model"]
    )
    exported = torch.load(tmp_path / "parts/sam_small.pt", weights_only=True)
    assert all(
        torch.equal(exported[key], value.half()) for key, value in resumed["average"].items()
    )


def test_the_log_of_the_training_ends_with_the_weights_that_are_here(trained):
    steps = pd.read_csv(WEIGHTS.with_suffix(".csv")).iloc[-1]
    assert pooch.file_hash(str(WEIGHTS)).startswith(steps["weights"])
    measured = training_sam.iou_on_drawings(trained, 20)
    assert len(measured) == 3 and measured[0] == pytest.approx(steps["iou_1"], abs=0.15)


def test_without_a_folder_training_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training = Training(torch.nn.Linear(2, 2), lambda name, p: p.ndim == 2, "", "none", resume=True)
    before = training.average.weight.clone()
    for _ in training.steps(range(3), 3, 1.0, 0.2, 0.1, save_every=1):
        training.network(torch.ones(1, 2)).sum().backward()
        training.history.append((0.0,))
    assert not list(tmp_path.iterdir()) and not torch.equal(before, training.average.weight)


def candidates(*fills: float) -> torch.Tensor:
    """Logits of three candidates, 1 x 3 x 8 x 8, each the same in the middle and -9 around it."""
    logits = torch.full((1, 3, 8, 8), -9.0)
    for i, fill in enumerate(fills):
        logits[0, i, 2:6, 2:6] = fill
    return logits


def test_the_best_candidate_counts_most_and_the_error_of_the_predicted_iou():
    target = torch.zeros(1, 1, 8, 8)
    target[..., 2:6, 2:6] = 1
    right = torch.tensor([[1.0, 0.0, 0.0]])
    loss, true_iou = training_sam.candidate_loss(candidates(9, -9, -9), right, target, True)
    assert true_iou.tolist() == [[1, 0, 0]]
    unsure, _ = training_sam.candidate_loss(candidates(9, -9, -9), 0 * right, target, True)
    assert (unsure - loss).item() == pytest.approx(8 / 3)
    clear, _ = training_sam.candidate_loss(candidates(9, -9, -9), right, target, False)
    none, _ = training_sam.candidate_loss(candidates(-9, -9, -9), 0 * right, target, True)
    assert loss < clear < none


def test_affinity_wants_cells_of_an_object_alike_and_others_different():
    target = torch.zeros(1, 1, 128, 128)
    target[..., :64] = 1
    points = torch.tensor([[[20.0, 20.0]]])  # (x, y) in the input's pixels: on the left
    embeddings = torch.zeros(1, 2, 32, 32)
    embeddings[0, 0, :, :16] = embeddings[0, 1, :, 16:] = 1
    good = training_sam.affinity_loss(embeddings, points, target)
    alike = training_sam.affinity_loss(torch.ones(1, 2, 32, 32), points, target)
    assert good < 0.1 < alike


def test_clicks_go_where_the_mask_is_wrong_and_say_which():
    truth = np.zeros((1, 128, 128), bool)
    truth[0, 40:80, 40:80] = True
    spilt = truth.copy()
    spilt[0, 90:120, 90:120] = True
    none = torch.zeros(1, 0, 2), torch.zeros(1, 0)
    rng = np.random.default_rng(0)
    points, labels = training_sam.add_clicks(*none, truth, np.zeros_like(truth), 2, rng)
    assert labels.tolist() == [[1, 1]] and ((points >= 80) & (points < 160)).all()
    points, labels = training_sam.add_clicks(points, labels, truth, spilt, 1, rng)
    assert labels.tolist() == [[1, 1, 0]] and (points[0, 2] >= 180).all()


def test_the_page_says_what_the_weights_do_and_shows_the_code():
    table = chapter.by_click({"random": np.array([0.1, 0.2]), "in the repository": [0.5, 0.75]})
    assert table.columns.tolist() == ["weights", "IoU@1", "IoU@2"]
    shown = chapter.answer(table, 2_345_678, 40).html
    assert "on 40 drawings" in shown and "2.3 million" in shown
    assert "<strong>0.50</strong> with one click and of <strong>0.75</strong> with 2" in shown
    assert "random weights 0.10 and 0.20 (demo)" in shown
    log = pd.DataFrame({"steps": [400, 6000], "iou_1": [0.25, 0.5], "iou_3": [0.5, 0.75]})
    shown = chapter.log_figure(log).html
    assert "With 1 click 0.25 after 400, 0.50 after 6,000; With 3 clicks 0.50" in shown
    assert "def affinity_loss(" in chapter.source(training_sam.affinity_loss).html
    assert chapter.drawings_row(1, 2).html.count("<figure") == 2
