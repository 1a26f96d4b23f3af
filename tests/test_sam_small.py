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
from medsam_utils.demo.drawings import draw
from medsam_utils.models.sam_small import build_sam_small
from medsam_utils.workflows.training import Training
from tests.notebook_cells import run_cells

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
    """Run the training notebook for 3 tiny steps and return its checkpoint."""
    parameters = {
        "steps": 3,
        "batch": 2,
        "objects": 1,
        "workers": 0,
        "threads": 1,
        "save_every": 1,
        "unseen": 1,
    }
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
        run_cells("train_sam_small", folder=str(folder), **parameters)
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
    names, _ = run_cells("train_sam_small", until="def iou_on_drawings", device="cpu")
    measured = names["iou_on_drawings"](trained, 20)
    assert len(measured) == 3 and measured[0] == pytest.approx(steps["iou_1"], abs=0.15)


def test_without_a_folder_training_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training = Training(torch.nn.Linear(2, 2), lambda name, p: p.ndim == 2, "", "none", resume=True)
    before = training.average.weight.clone()
    for _ in training.steps(range(3), 3, 1.0, 0.2, 0.1, save_every=1):
        training.network(torch.ones(1, 2)).sum().backward()
        training.history.append((0.0,))
    assert not list(tmp_path.iterdir()) and not torch.equal(before, training.average.weight)
