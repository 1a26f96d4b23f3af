"""SimpleClick against numbers of its released code, and files in the form that it is released."""

import hashlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from random_weights import random_weights
from scipy.special import logit
from test_ritm import CLICKS, PROBES, Blobs, answers, picture, shapes_of

from medsam_utils import BadInputError, load_model
from medsam_utils.models.checkpoints import Checkpoint
from medsam_utils.models.ritm import ARCHITECTURES, Ritm
from medsam_utils.models.simpleclick_network import SIZES, SimpleClickNetwork, Size

# Made by the released code (uncbiag/SimpleClick at f33112e) from the weights, networks, pictures
# and clicks of this file. The hashes are over its networks' sorted lines "name shape".
EXPECTED = json.loads(Path(__file__).with_name("simpleclick_expected.json").read_text())

SMALL = {
    "every sixth block": Size(16, 32, 12, 2, (8, 16, 16, 32), classes=3),
    "the last block of each quarter": Size(14, 24, 8, 3, (8, 8, 16, 16), classes=3),
}
ZOOM = {"skip_clicks": -1, "target_size": (448, 448)}


def random_state(shapes, bias):
    """Weights by name for {name: shape}; nothing in the network is neutral."""
    state = random_weights(shapes)
    state["patch_embed_coords.proj.weight"][:, 1:] *= 4  # clicks count more than the mask before
    state["head.conv_seg.bias"] = np.full(1, bias)
    return {name: torch.as_tensor(values, dtype=torch.float32) for name, values in state.items()}


def network_of(name):
    network = SimpleClickNetwork(SMALL[name]).eval()
    network.load_state_dict(random_state(shapes_of(network), EXPECTED["bias"][name]))
    return network


def model_of(network, tmp_path, zoom=None):
    (tmp_path / "none.pt").write_bytes(b"")
    checkpoint = Checkpoint(tmp_path / "none.pt")
    model = Ritm("x", checkpoint, "simpleclick_base", zoom=zoom or ZOOM, device="cpu")
    model.network = network
    return model


def scaled(points):
    """The same points in the picture three times as large."""
    return [(3 * row, 3 * col, positive) for row, col, positive in points]


def check(model, points, expected):
    image = picture(270, 360)
    for (logits, box), there in zip(answers(model, image, points), expected, strict=True):
        assert box == there["box"]
        assert np.count_nonzero(logits > 0) == there["pixels"]
        probes = [logits[3 * row, 3 * col] for row, col in PROBES]
        np.testing.assert_allclose(probes, np.array(there["logits"]) - logit(0.49), atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_a_networks_parameters_have_the_released_names_and_shapes(size):
    with torch.device("meta"):
        shapes = shapes_of(ARCHITECTURES[f"simpleclick_{size}"]())
    lines = "\n".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items()))
    assert hashlib.sha256(lines.encode()).hexdigest() == EXPECTED["parameters"][size]


@pytest.mark.parametrize(("name", "clicks"), list(zip(SMALL, (9, 3), strict=True)))
def test_nine_clicks_get_the_released_codes_answers(name, clicks, tmp_path):
    model = model_of(network_of(name), tmp_path)
    check(model, scaled(CLICKS)[:clicks], EXPECTED["clicks"][name][:clicks])


def test_boxes_and_masks_follow_the_released_code(tmp_path):
    """The first click looks at all of the image, and a removed object at all of it again."""
    points = scaled(CLICKS)
    points[2:2] = [(*points[0][:2], False), (*points[1][:2], False)]
    model = model_of(Blobs(), tmp_path)
    check(model, points, EXPECTED["blobs"])
    assert EXPECTED["blobs"][0]["box"] == [0, 269, 0, 359]


@pytest.fixture
def training_code(monkeypatch):
    """The module of the training's loss, whose objects released files hold."""
    name = "isegm.model.modeling.transformer_helper.cross_entropy_loss"

    def cross_entropy():
        pass

    loss = type("CrossEntropyLoss", (torch.nn.Module,), {"__module__": name})
    cross_entropy.__module__ = name
    cross_entropy.__qualname__ = "cross_entropy"
    module = types.ModuleType(name)
    module.CrossEntropyLoss, module.cross_entropy = loss, cross_entropy
    parts = name.split(".")
    for i in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:i]), types.ModuleType(parts[i - 1]))
    monkeypatch.setitem(sys.modules, name, module)
    instance = loss()
    instance.cls_criterion = cross_entropy
    return instance


def released(path, state, training_code):
    """Write a file as SimpleClick's training does."""
    config = {
        "class": "isegm.model.is_plainvit_model.PlainVitModel",
        "params": {"head_params": {"type": "builtin", "value": {"loss_decode": training_code}}},
    }
    torch.save({"state_dict": state, "config": config}, path)


def test_a_released_file_is_read_without_its_training_code(tmp_path, training_code, monkeypatch):
    network = network_of("every sixth block")
    path = tmp_path / "cocolvis_vit_base.pth"
    released(path, network.state_dict(), training_code)
    for name in [name for name in sys.modules if name.startswith("isegm")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(
        ARCHITECTURES, "simpleclick_base", lambda: SimpleClickNetwork(SMALL["every sixth block"])
    )
    model = load_model("simpleclick_base", checkpoint=path, device="cpu")
    assert model.name == "simpleclick_base (cocolvis_vit_base)"
    expected = network.state_dict()
    assert all(torch.equal(expected[k], v) for k, v in model.network.state_dict().items())
    check(model, scaled(CLICKS)[:1], EXPECTED["clicks"]["every sixth block"][:1])


def test_weights_of_another_size_are_refused(tmp_path):
    path = tmp_path / "small.pth"
    torch.save(network_of("every sixth block").state_dict(), path)
    with pytest.raises(BadInputError, match=r"small\.pth does not fit simpleclick_base .*choose"):
        load_model("simpleclick_base", checkpoint=path, device="cpu").load()


def test_without_a_file_the_message_says_where_it_is():
    with pytest.raises(BadInputError, match=r"simpleclick_base needs a weights file, .*Click"):
        load_model("simpleclick_base")
