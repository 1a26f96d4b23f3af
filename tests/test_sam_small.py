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
from medsam_utils.demo.drawings import draw, kind_of
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
    scores = training_sam.score_drawings(trained, 20)
    first = scores[(scores["prompt"] == "clicks") & (scores["click"] == 1)]
    assert len(first) == 20 and first["iou"].mean() == pytest.approx(steps["iou_1"], abs=0.15)


@pytest.mark.slow
def test_it_takes_boxes_and_sees_edges_within_cells(trained):
    scores = training_sam.score_drawings(trained, 30)
    clicks, box = (scores[scores["prompt"] == prompt] for prompt in ("clicks", "box"))
    assert box["iou"].mean() > 0.3
    last = clicks[clicks["click"] == 3]
    assert last["on_borders"].sum() / last["edges"].sum() < 0.65


def test_without_a_folder_training_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training = Training(torch.nn.Linear(2, 2), lambda name, p: p.ndim == 2, "", "none", resume=True)
    before = training.average.weight.clone()
    for _ in training.steps(range(3), 3, 1.0, 0.2, 0.1, save_every=1):
        training.network(torch.ones(1, 2)).sum().backward()
        training.history.append((0.0,))
    assert not list(tmp_path.iterdir()) and not torch.equal(before, training.average.weight)


def answer(*fills: float) -> torch.Tensor:
    """Logits 1 x 4 x 16 x 16, each mask the same in the middle and -9 around it."""
    logits = torch.full((1, 4, 16, 16), -9.0)
    for i, fill in enumerate(fills):
        logits[0, i, 4:12, 4:12] = fill
    return logits


SQUARE = torch.zeros(1, 1, 16, 16)
SQUARE[..., 4:12, 4:12] = 1
EVEN = torch.ones_like(SQUARE)


def test_the_best_candidate_counts_most_and_the_error_of_the_predicted_iou():
    right = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    one, none = answer(-9, 9, -9, -9), answer(-9, -9, -9, -9)
    loss, true_iou = training_sam.prompt_loss(one, right, SQUARE, EVEN, ambiguous=True)
    assert true_iou.tolist() == [[0, 1, 0, 0]]
    unsure, _ = training_sam.prompt_loss(one, 0 * right, SQUARE, EVEN, ambiguous=True)
    assert (unsure - loss).item() == pytest.approx(2 * (1 - 0.05) / 4)
    clear, _ = training_sam.prompt_loss(one, right, SQUARE, EVEN, ambiguous=False)
    missed, _ = training_sam.prompt_loss(none, 0 * right, SQUARE, EVEN, ambiguous=True)
    assert loss < clear and loss < missed


def test_the_single_mask_is_for_prompts_of_one_meaning():
    single, ious = answer(9, 9, 9, 9), torch.ones(1, 4)
    wrong = answer(-9, 9, 9, 9)
    costs = [
        training_sam.prompt_loss(wrong, ious, SQUARE, EVEN, ambiguous)[0]
        - training_sam.prompt_loss(single, ious, SQUARE, EVEN, ambiguous)[0]
        for ambiguous in (True, False)
    ]
    assert 0 < 2 * costs[0] < costs[1]


def test_pixels_beside_the_outline_weigh_more():
    near, far = answer(9, 9, 9, 9), answer(9, 9, 9, 9)
    near[..., 3, 4:12] = 9  # eight pixels too many, beside the outline
    far[..., 0, 4:12] = 9  # as many, away from it
    for edge_weight, longer in ((0.0, False), (4.0, True)):
        weight = training_sam.pixel_weights(SQUARE, edge_weight)
        losses = [training_sam.mask_losses(part, SQUARE, weight)[0][0, 0] for part in (near, far)]
        assert (losses[0] > 1.5 * losses[1]) == longer


def test_affinity_wants_cells_of_an_object_alike_and_others_different():
    target = torch.zeros(1, 1, 128, 128)
    target[..., :64] = 1
    truths = target[:, 0].numpy() > 0
    embeddings = torch.zeros(1, 2, 32, 32)
    embeddings[0, 0, :, :16] = embeddings[0, 1, :, 16:] = 1
    good = training_sam.affinity_loss(embeddings, truths, target)
    alike = training_sam.affinity_loss(torch.ones(1, 2, 32, 32), truths, target)
    assert good < 0.1 < alike


def test_half_of_the_boxes_are_tight_others_off_by_a_twentieth_and_at_most_five_pixels():
    truth = np.zeros((200, 128, 128), bool)
    truth[:, 40:60, 30:80] = True  # rows 80 to 119 and columns 60 to 159 of the input
    boxes = training_sam.noisy_boxes(truth, np.random.default_rng(0))
    off = boxes - [60, 80, 159, 119]
    assert 80 < (off == 0).all(axis=1).sum() < 120
    noise = off[(off != 0).any(axis=1)]
    assert np.abs(noise).max() == 5  # twice a twentieth of 100 pixels is more
    assert ((noise[:, 1::2].std(axis=0) > 1.5) & (noise[:, 1::2].std(axis=0) < 2.5)).all()


def test_detail_moves_edges_within_a_cell():
    torch.manual_seed(0)
    sam = build_sam_small()
    embedding = torch.zeros(1, sam.mask_decoder.embedding_channels, 32, 32)
    detailed = embedding.clone()
    detailed[:, 64:] = torch.randn(1, 128, 1, 1)  # the same in every cell
    prompts = sam.prompt_encoder(
        points=(torch.full((1, 1, 2), 99.0), torch.ones(1, 1)), boxes=None, masks=None
    )
    place = sam.prompt_encoder.get_dense_pe()
    with torch.no_grad():
        plain, fine = (
            sam.mask_decoder.predict_masks(one, place, *prompts)[0] for one in (embedding, detailed)
        )
    difference = (fine - plain)[0, 0].unfold(0, 4, 4).unfold(1, 4, 4)  # cells of 4 x 4 logits
    assert difference.flatten(2).std(dim=2).min() > 0.01


def test_upscaling_mixes_neighbouring_cells():
    torch.manual_seed(0)
    decoder = build_sam_small().mask_decoder
    source, changed = torch.zeros(1, 64, 4, 4), torch.zeros(1, 64, 4, 4)
    changed[0, :, 1, 1] = torch.randn(64)  # rows 4 to 7 of the logits
    none = torch.zeros(1, 16, 8, 8), torch.zeros(1, 8, 16, 16)
    with torch.no_grad():
        difference = decoder.upscale(changed, *none) - decoder.upscale(source, *none)
    rows = difference.abs().amax((0, 1, 3)).nonzero().flatten()
    # One of 16 rows of logits, and one of eight rows of the first upscaling, on both sides.
    assert rows.tolist() == list(range(1, 11))


def test_what_is_hard_about_an_object_has_a_name():
    image = np.full((256, 256), 60, np.uint8)
    masks = {name: np.zeros((256, 256), bool) for name in ("other", "thin", "hollow", "very small")}
    masks["other"][50:150, 50:150] = True
    masks["thin"][100:104, 20:220] = True
    masks["hollow"][50:150, 50:150] = True
    masks["hollow"][70:130, 70:130] = False
    masks["very small"][50:60, 50:60] = True
    masks["several parts"] = masks["other"] | np.roll(masks["other"], 102, axis=1)
    for name, mask in masks.items():
        assert kind_of(image + 90 * mask.astype(np.uint8), mask) == name
    noise = np.random.default_rng(0).integers(0, 90, image.shape, dtype=np.uint8)
    assert kind_of(noise, masks["other"]) == "faint"


def test_edges_on_cell_borders_are_counted():
    mask = np.zeros((16, 16), bool)
    mask[4:8, 3:8] = True  # three sides lie on borders: 5 + 5 + 4 edges, and 4 do not
    assert training_sam.cell_border_edges(mask) == (14, 18)


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


def scores_of(*lines: tuple) -> pd.DataFrame:
    """Scores as of `score_drawings`; of each line drawing, kind, prompt, click and iou."""
    table = pd.DataFrame(lines, columns=["drawing", "kind", "prompt", "click", "iou"])
    return table.assign(predicted_iou=table["iou"] + 0.125, on_borders=1, edges=4)


def test_the_page_says_what_the_weights_do_and_shows_the_code():
    shipped = scores_of(
        (0, "thin", "clicks", 1, 0.25),
        (0, "thin", "clicks", 2, 0.5),
        (0, "thin", "box", 1, 0.5),
        (1, "other", "clicks", 1, 0.75),
        (1, "other", "clicks", 2, 1.0),
        (1, "other", "box", 1, 0.75),
    )
    untrained = shipped.assign(iou=0.125)
    table = chapter.by_weights({"random": untrained, "in the repository": shipped})
    assert table.to_dict("records")[1] == {
        "weights": "in the repository",
        **{"IoU@1": 0.5, "IoU@2": 0.75, "box": 0.625, "edges on cell borders": 0.25},
        "confidence off by": 0.125,
    }
    kinds = chapter.by_kind(shipped).set_index("object")
    assert kinds.at["thin", "IoU@2"] == 0.5 and kinds.at["other", "box"] == 0.75
    shown = chapter.answer(table, 2_345_678, 40).html
    assert "on 40 drawings" in shown and "2.3 million" in shown
    assert "<strong>0.50</strong> with one click, of <strong>0.75</strong> with 2" in shown
    assert "<strong>0.62</strong> from a box" in shown
    assert "random weights 0.12, 0.12 and 0.12 (demo)" in shown
    log = pd.DataFrame({"steps": [400, 6000], "iou_1": [0.25, 0.5], "iou_3": [0.5, 0.75]})
    shown = chapter.log_figure(log).html
    assert "With 1 click 0.25 after 400, 0.50 after 6,000; With 3 clicks 0.50" in shown
    assert "def affinity_loss(" in chapter.source(training_sam.affinity_loss).html
    assert chapter.drawings_row(1, 2).html.count("<figure") == 2
