"""RITM against numbers of the released code, and what this project adds: answers by clicks
alone."""

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logit

from medsam_utils import load_model
from medsam_utils.case import BadInputError, Case
from medsam_utils.clicks import PAPER, Click
from medsam_utils.fingerprint import model_files
from medsam_utils.metrics import iou
from medsam_utils.models import MODELS
from medsam_utils.models.checkpoints import Checkpoint
from medsam_utils.models.ritm import KEPT_STATES, Ritm
from medsam_utils.models.ritm_network import SIZES, build_ritm
from medsam_utils.simulation import replay, simulate

# Made by the released code (SamsungLabs/ritm_interactive_segmentation at b9b4460) from the weights,
# networks, pictures and clicks of this file. The hashes are over its networks' sorted lines "name
# shape".
EXPECTED = json.loads(Path(__file__).with_name("ritm_expected.json").read_text())

CLICKS = [
    (40, 62, True),
    (20, 100, True),
    (70, 15, False),
    (52, 75, True),
    (3, 60, False),
    (30, 50, True),
    (85, 118, True),
    (41, 64, False),
    (60, 40, True),
]
PROBES = [(40, 62), (22, 97), (50, 70), (60, 45), (5, 58), (33, 90), (80, 110), (45, 20)]
ZOOMS = {
    "none": {"skip_clicks": 10**6},
    "after the first click": {"target_size": 96, "min_crop_size": 32},
    "at once": {"target_size": 96, "min_crop_size": 32, "skip_clicks": 0},
    "as released": {},
}


def picture(rows=90, cols=120):
    """Waves and a bright disk, uint8 rows x cols x 3."""
    r, c = np.mgrid[:rows, :cols]
    waves = [
        60 * np.sin(r / 9) + 40 * np.cos(c / 7),
        70 * np.sin((r + c) / 11),
        80 * np.cos(r / 15),
    ]
    image = np.stack([120 + wave for wave in waves], axis=-1)
    image[(r - 40) ** 2 + (c - 62) ** 2 < 18**2] = 230, 200, 150
    return image.clip(0, 255).astype(np.uint8)


def random_state(shapes):
    """Weights by name for {name: shape}, batch statistics included: nothing in the network is
    neutral."""
    rng, state = np.random.default_rng(0), {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(7)
        elif name.endswith("running_var"):
            state[name] = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 4:
            state[name] = rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        elif name.endswith("weight"):
            state[name] = rng.uniform(0.3, 0.8, shape)
        else:
            state[name] = rng.standard_normal(shape) * 0.1
    state["maps_transform.3.scale"] = np.full(1, -3.0)
    types = {True: torch.int64, False: torch.float32}
    return {k: torch.as_tensor(v, dtype=types[k.endswith("tracked")]) for k, v in state.items()}


def shapes_of(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


class Blobs(torch.nn.Module):
    """A network by hand: a blob right of each positive click, a hole by each negative one, some
    memory."""

    with_prev_mask = True  # asked for by the released code

    def forward(self, image, points):
        spots = torch.zeros_like(image[:, 0])
        r, c = (torch.arange(n).float() for n in image.shape[2:])
        for b, n in np.ndindex(points.shape[:2]):
            row, col, index = points[b, n].tolist()
            if index >= 0:
                distance = (r - row).square()[:, None] + (c - col - 5).square()
                spots[b] += (8 if n < points.shape[1] // 2 else -20) * torch.exp(-distance / 800)
        return (spots + 3 * image[:, 3] + image[:, 0] - 4)[:, None]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Random h18s in the released files' form; the last layer is fitted, so that clicks make small
    masks."""
    state = random_state(shapes_of(build_ritm("h18s")))
    head = {name: torch.tensor(values) for name, values in EXPECTED["head"].items()}
    state["feature_extractor.cls_head.weight"] = head["weight"].reshape(1, -1, 1, 1)
    state["feature_extractor.cls_head.bias"] = head["bias"].reshape(1)
    path = tmp_path_factory.mktemp("ritm") / "h18s.pth"
    config = {
        "class": "HRNetModel",
        "params": {"width": {"type": "builtin", "value": 18, "specified": True}},
    }
    torch.save({"state_dict": state, "config": config}, path)
    return path


@pytest.fixture
def blobs(tmp_path):
    """Function that makes a Ritm of `Blobs`."""

    def make(zoom="as released", flip=True):
        (tmp_path / "none.pt").write_bytes(b"")
        model = Ritm("blobs", Checkpoint(tmp_path / "none.pt"), "h18s", zoom=ZOOMS[zoom], flip=flip)
        model.network = Blobs()
        return model

    return make


def as_clicks(points):
    return [Click(row, col, positive, 0.0, 0) for row, col, positive in points]


def answers(model, image, points):
    """Logits after each click, and the boxes looked at."""
    embedding = model.encode(image)
    for n in range(1, len(points) + 1):
        logits = model.predict(embedding, [as_clicks(points[:n])]).logits[0, 0]
        box = embedding.states[tuple(points[:n])].box
        yield logits, None if box is None else list(box)


def check(model, image, points, expected, scale=1):
    for (logits, box), there in zip(answers(model, image, points), expected, strict=True):
        assert box == there["box"]
        assert np.count_nonzero(logits > 0) == there["pixels"]
        probes = [logits[row * scale, col * scale] for row, col in PROBES]
        np.testing.assert_allclose(probes, np.array(there["logits"]) - logit(0.49), atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_a_networks_parameters_have_the_released_names_and_shapes(size):
    with torch.device("meta"):
        shapes = shapes_of(build_ritm(size))
    lines = "\n".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items()))
    assert hashlib.sha256(lines.encode()).hexdigest() == EXPECTED["parameters"][size]


@pytest.mark.parametrize("size", SIZES)
def test_a_network_gives_the_released_networks_logits(size):
    network = build_ritm(size)
    network.load_state_dict(random_state(shapes_of(network)))
    image = torch.as_tensor(picture(45, 70)).permute(2, 0, 1)[None] / 255
    before = torch.linspace(0, 1, 70).expand(1, 1, 45, 70)
    positive, negative = (
        [[20, 31.5, 0], [3, 66, 2], [-1, -1, -1]],
        [[40, 10, 1], [-3, 30, 3], [-2, -2, 4]],
    )
    points = torch.tensor([positive + negative])
    with torch.inference_mode():
        logits = network(torch.cat([image, before], dim=1), points)[0, 0]
    np.testing.assert_allclose(logits[::11, ::17], EXPECTED["networks"][size], atol=1e-4)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("zoom", ["none", "after the first click", "at once"])
def test_nine_clicks_get_the_released_codes_answers(checkpoint, zoom, flip):
    model = Ritm("ritm", Checkpoint(checkpoint), "h18s", zoom=ZOOMS[zoom], flip=flip, device="cpu")
    check(model, picture(), CLICKS, EXPECTED["h18s"][f"{zoom}, {flip}"])


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("zoom", ZOOMS)
def test_boxes_and_masks_follow_the_released_code(blobs, zoom, flip):
    """The third click removes the object that the first two made: the box outlives it."""
    points = [(3 * row, 3 * col, positive) for row, col, positive in CLICKS]
    points[2:2] = [(*points[0][:2], False), (*points[1][:2], False)]
    check(
        blobs(zoom, flip), picture(270, 360), points, EXPECTED["blobs"][f"{zoom}, {flip}"], scale=3
    )


def test_an_answer_depends_on_image_and_clicks_alone(blobs):
    model, image, points = blobs(), picture(270, 360), as_clicks(CLICKS)
    step_by_step = model.encode(image)
    for n in range(1, 6):
        last = model.predict(step_by_step, [points[:n]]).logits
    np.testing.assert_array_equal(model.predict(model.encode(image), [points[:5]]).logits, last)
    other = points[3:8]
    together = model.predict(model.encode(image), [other, points[:5]]).logits
    np.testing.assert_array_equal(together[1:], last)
    again = model.predict(step_by_step, [points[:2]]).logits  # two steps back, as in the explorer
    np.testing.assert_array_equal(again, model.predict(model.encode(image), [points[:2]]).logits)
    np.testing.assert_array_equal(model.predict(step_by_step, [points[:5]]).logits, last)


def test_a_known_sequence_is_not_computed_again(blobs):
    model = blobs()
    embedding, calls = model.encode(picture()), []
    model.network.register_forward_hook(lambda *_: calls.append(1))
    model.predict(embedding, [as_clicks(CLICKS[:3])])
    assert len(calls) == 3
    model.predict(embedding, [as_clicks(CLICKS[:3])])
    model.predict(embedding, [as_clicks(CLICKS[:4])])
    assert len(calls) == 4


def test_the_number_of_kept_states_is_bounded(blobs):
    model = blobs()
    embedding = model.encode(picture(20, 30))
    first = model.predict(embedding, [as_clicks([(0, 0, True)])]).logits
    for col in range(1, 30):
        model.predict(embedding, [as_clicks([(0, col, True), (9, col, False)])])
    assert len(embedding.states) == KEPT_STATES
    np.testing.assert_array_equal(
        model.predict(embedding, [as_clicks([(0, 0, True)])]).logits, first
    )


def test_one_candidate_on_the_images_grid_without_an_estimate(blobs):
    prediction = blobs().predict(
        blobs().encode(picture()), [as_clicks(CLICKS[:1]), as_clicks(CLICKS[1:2])]
    )
    assert prediction.logits.shape == (2, 1, 90, 120)
    assert prediction.logits.dtype == np.float32
    assert np.isfinite(prediction.logits).all()
    assert np.isnan(prediction.predicted_iou).all()
    assert prediction.most_confident().tolist() == [0, 0]
    assert prediction.mask(0, 0)[40, 62]
    assert not prediction.mask(1, 0)[40, 62]


def test_the_mask_is_where_the_probability_is_above_the_threshold(blobs):
    model = blobs()
    at = np.float32(model.threshold)
    below, above = np.nextafter(at, np.float32([0, 1]))
    logits = model._log_odds(np.array([0, below, at, above, 1], np.float32))
    assert (logits > 0).tolist() == [False, False, False, True, True]


def test_the_whole_image_is_brought_between_the_least_and_greatest_side(blobs):
    model, sizes = blobs(), []
    model.longest_side = 64, 96
    model.network.register_forward_hook(
        lambda network, given, answer: sizes.append(answer.shape[2:])
    )
    for shape in ((90, 120), (16, 32), (50, 80)):
        prediction = model.predict(model.encode(picture(*shape)), [as_clicks([(5, 6, True)])])
        assert prediction.logits.shape[2:] == shape
    assert sizes == [(72, 96), (32, 64), (50, 80)]


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 2)])
def test_tiny_images_are_answered(checkpoint, shape):
    model = load_model("ritm_h18s", checkpoint, device="cpu")
    corner = shape[0] - 1, shape[1] - 1
    points = as_clicks([(0, 0, True), (*corner, False), (*corner, True)])
    prediction = model.predict(model.encode(np.full((*shape, 3), 99, np.uint8)), [points])
    assert prediction.logits.shape == (1, 1, *shape)
    assert np.isfinite(prediction.logits).all()


def test_replay_draws_the_mask_of_a_stored_row(blobs):
    masks = {name: np.zeros((300, 400), bool) for name in ("left", "right")}
    masks["left"][50:200, 30:180] = masks["right"][90:250, 220:390] = True
    case, model = Case("drawn", "one", "one", None, picture(300, 400), masks), blobs()
    rows = pd.DataFrame(simulate(case, {"left": "left", "right": "right"}, model, PAPER, clicks=4))
    assert rows["iou"].nunique() == 8  # every click changed its mask
    for row in rows.itertuples():
        mask = replay(case, model, rows[rows["task"] == row.task], row.click)
        assert iou(mask, masks[row.task]) == row.iou


def test_a_worker_gets_the_same_model(checkpoint):
    model = load_model("ritm_h18s", checkpoint, device="cpu")
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.name, copy.weights, copy.settings()) == (
        model.name,
        model.weights,
        model.settings(),
    )
    given = picture(30, 40), [as_clicks([(9, 9, True)])]
    first, second = (m.predict(m.encode(given[0]), given[1]).logits for m in (model, copy))
    np.testing.assert_array_equal(first, second)
    assert len(pickle.dumps(model)) < 1000


@pytest.mark.parametrize("name", ["ritm_h18", "ritm_h32"])
def test_weights_of_another_size_are_refused(checkpoint, name):
    with pytest.raises(
        BadInputError, match=r"h18s\.pth does not fit h\d+ .*choose the model of its size"
    ):
        load_model(name, checkpoint, device="cpu").predict(
            load_model(name, checkpoint, device="cpu").encode(picture(9, 9)),
            [as_clicks([(1, 1, True)])],
        )


def test_settings_tell_all_that_decides_an_answer(checkpoint):
    settings = load_model("ritm_h18s", checkpoint, device="cpu").settings()
    assert json.loads(json.dumps(settings))["zoom"]["target_size"] == 400
    assert (settings["threshold"], settings["flip"]) == (0.49, True)


def test_stored_rows_depend_on_all_modules_of_the_network_and_of_zooming():
    names = {path.stem for path in model_files(Ritm)}
    assert {"ritm", "ritm_network", "ritm_zoom", "ritm_small", "sam_small"} <= names


def test_all_three_released_sizes_are_in_the_registry():
    entries = {
        name: entry for name, entry in MODELS.items() if entry.options.get("architecture") in SIZES
    }
    assert list(entries) == ["ritm_h18s", "ritm_h18", "ritm_h32"]
    for entry in entries.values():
        assert (
            f"coco_lvis_{entry.options['architecture']}_itermask.pth" in entry.checkpoint.location
        )
