"""SAM 2's released files: names, sizes, and numbers of the authors' code on random weights."""

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from local_server import sha256
from random_weights import random_weights

from medsam_utils import MODELS, BadInputError, Click, load_model
from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.models.mirrored import MirroredCheckpoint
from medsam_utils.models.sam2_released import SIZES, Size, description, renamed

transformers = pytest.importorskip("transformers", reason='needs "medsam-utils[models]"')

# Made by the authors' code (facebookresearch/sam2 at 2b90b9f) from the weights, images and prompts
# of this file. The hashes are over its networks' sorted lines "name shape"; the names are those of
# all parts but the image encoder, which are equal in all sizes.
EXPECTED = json.loads(Path(__file__).with_name("sam2_expected.json").read_text())

SMALL = Size(8, 1, (1, 1, 2, 1), (3,))
SIDE = 1024  # as the network takes it, so that nothing is resized
PROBES = [(64, 64), (64, 192), (128, 128), (192, 64), (192, 192), (20, 240), (140, 100), (250, 30)]
PROMPTED = 1  # the slice whose mask is given
ABSENT = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")
"""Of SAM 2.1 alone."""


def released_shapes(size):
    """Return names and shapes of all tensors in the authors' file of a size."""
    shapes = {name: tuple(shape) for name, shape in EXPECTED["names"].items()}
    trunk, side, channels = "image_encoder.trunk", size.background, size.channels

    def add(name, *shape):
        shapes[f"{trunk}.{name}.weight"], shapes[f"{trunk}.{name}.bias"] = shape, shape[:1]

    shapes[f"{trunk}.pos_embed"] = (1, channels, side, side)
    shapes[f"{trunk}.pos_embed_window"] = (1, channels, size.windows[0], size.windows[0])
    add("patch_embed.proj", channels, 3, 7, 7)
    stages = [stage for stage, count in enumerate(size.blocks) for _ in range(count)]
    for i, stage in enumerate(stages):
        before = channels * 2 ** stages[max(i - 1, 0)]
        after = channels * 2**stage
        add(f"blocks.{i}.norm1", before)
        add(f"blocks.{i}.attn.qkv", 3 * after, before)
        add(f"blocks.{i}.attn.proj", after, after)
        add(f"blocks.{i}.norm2", after)
        add(f"blocks.{i}.mlp.layers.0", 4 * after, after)
        add(f"blocks.{i}.mlp.layers.1", after, 4 * after)
        if before != after:
            add(f"blocks.{i}.proj", after, before)
    for i in range(4):
        name = f"image_encoder.neck.convs.{i}.conv"
        shapes[f"{name}.weight"] = (256, channels * 2 ** (3 - i), 1, 1)
        shapes[f"{name}.bias"] = (256,)
    return shapes


def random_state(shapes):
    """Return weights by name for {name: shape}; nothing in the network is neutral."""
    state = random_weights(shapes, wide="gaussian")
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"] += 5  # the object is there
    return {name: torch.as_tensor(values, dtype=torch.float32) for name, values in state.items()}


def picture(shift=0):
    """Return waves with a disc and a bar, uint8 SIDE x SIDE x 3."""
    row, col = np.mgrid[:SIDE, :SIDE]
    image = 110 + 40 * np.sin(row / 37) * np.cos((col + shift) / 59)
    image[(row - 400) ** 2 + (col - 450 - shift) ** 2 < 180**2] += 70
    image[(row > 700) & (row < 800) & (col > 600 + shift)] -= 60
    return np.stack([image, image * 0.9, 255 - image], axis=2).clip(0, 255).astype(np.uint8)


def known_mask():
    """Return the disc of the prompted slice, bool SIDE x SIDE."""
    row, col = np.mgrid[:SIDE, :SIDE]
    return (row - 400) ** 2 + (col - 450 - 20 * PROMPTED) ** 2 < 180**2


def prompts():
    """Return clicks as (row, col, positive) and the box of each kind of prompt."""
    clicks, box = [(400, 450, True), (760, 700, False), (300, 420, True)], (220, 270, 580, 630)
    return {
        "a click": (clicks[:1], None),
        "three clicks": (clicks, None),
        "a box": ([], box),
        "a box and two clicks": (clicks[:2], box),
    }


@pytest.fixture(scope="module")
def state():
    return random_state(released_shapes(SMALL))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(SIZES, "test", SMALL)


@pytest.fixture
def file(tmp_path, state, small):
    """A released file of the small size."""
    path = tmp_path / "sam2_small.pt"
    torch.save({"model": state}, path)
    return path


@pytest.mark.parametrize("name", SIZES)
def test_all_tensors_of_a_released_size_have_their_place(name):
    shapes = released_shapes(SIZES[name])
    lines = "\n".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items()))
    assert hashlib.sha256(lines.encode()).hexdigest() == EXPECTED["parameters"][name]
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in shapes.items()}
        config = transformers.Sam2VideoConfig(**description(state, Path("x.pt")))
        network = transformers.Sam2VideoModel(config)
    found, expected = renamed(state), network.state_dict()
    assert {name: t.shape for name, t in found.items()} == {n: t.shape for n, t in expected.items()}


@pytest.fixture(scope="module")
def released(tmp_path_factory, state):
    """The model of a released file, and three slices as it has encoded them."""
    path = tmp_path_factory.mktemp("released") / "sam2_small.pt"
    torch.save({"model": state}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "test", SMALL)
        model = load_model("transformers", checkpoint=path, device="cpu")
        embeddings = [model.encode(picture(20 * i)) for i in range(3)]
        _ = model._video  # reads the file again
    return model, embeddings


def test_masks_and_predicted_iou_are_those_of_the_authors_code(released):
    model, (embedding, *_) = released
    for kind, (points, box) in prompts().items():
        clicks = [[Click(*point, 1.0, 1) for point in points]]
        boxes = None if box is None else np.array([box])
        prediction = model.predict(embedding, clicks, boxes)
        check(prediction, EXPECTED["image"][kind])
        if kind == "a click":
            first = prediction.logits[:, 0].clip(-32, 32)  # as the authors' predictor does
    again = model.predict(embedding, [clicks[0][:1]], None, first)
    check(again, EXPECTED["image"]["a mask fed back"])


def check(prediction, expected, step=1):
    largest = np.abs(prediction.logits).max()
    probes = [(row // step, col // step) for row, col in PROBES]
    found = [[logits[at] for at in probes] for logits in prediction.logits[0].clip(-32, 32)]
    np.testing.assert_allclose(found, expected["logits"], atol=5e-5 * largest)
    np.testing.assert_allclose(prediction.predicted_iou[0], expected["iou"], atol=1e-4)
    pixels = (prediction.logits[0] > 0).sum(axis=(1, 2))
    assert np.abs(pixels - expected["pixels"]).max() <= 2


@pytest.mark.parametrize("direction", ["onwards", "back"])
def test_what_the_memory_carries_on_is_that_of_the_authors_code(released, direction):
    """By pixels of the mask in 4 x 4 parts of each slice: what is remembered is in bfloat16."""
    model, embeddings = released
    known = {PROMPTED: BoxedMask.from_mask(known_mask())}
    masks = model.track(embeddings, known, reverse=direction == "back")
    found = [in_parts(mask.mask()) for mask in masks]
    np.testing.assert_allclose(found, EXPECTED["memory"][direction], atol=2e-3 * SIDE**2 / 16)


def in_parts(mask):
    """Return the pixels of a mask in 4 x 4 parts of its image, row by row."""
    part = len(mask) // 4
    return mask.reshape(4, part, 4, part).sum(axis=(1, 3)).ravel().tolist()


HALF = EXPECTED["512 pixels"]
"""The same weights with every other pixel of the images, as MedSAM2 takes them."""


@pytest.fixture(scope="module")
def half(tmp_path_factory, state):
    """The model of a file that was trained with 512 pixels, and three slices of that size."""
    path = tmp_path_factory.mktemp("half") / "own.pt"
    torch.save({"model": state}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "test", SMALL)
        model = load_model("medsam2", checkpoint=path, device="cpu")
        embeddings = [model.encode(picture(20 * i)[::2, ::2]) for i in range(3)]
        _ = model._video  # reads the file again
    return model, embeddings


def test_a_file_of_512_pixels_has_the_masks_of_the_authors_code_at_that_size(half):
    model, (embedding, *_) = half
    for kind, (points, box) in prompts().items():
        clicks = [[Click(row // 2, col // 2, sign, 1.0, 1) for row, col, sign in points]]
        boxes = None if box is None else np.array([box]) // 2
        prediction = model.predict(embedding, clicks, boxes)
        assert prediction.logits.shape[2:] == (128, 128)
        check(prediction, HALF["image"][kind], step=2)
        if kind == "a click":
            first = prediction.logits[:, 0].clip(-32, 32)
    again = model.predict(embedding, [clicks[0][:1]], None, first)
    check(again, HALF["image"]["a mask fed back"], step=2)


@pytest.mark.parametrize("direction", ["onwards", "back"])
def test_at_512_pixels_the_memory_carries_on_what_the_authors_code_does(half, direction):
    """The authors' code remembers a mask that it was given as its quarter, enlarged, transformers
    as it is. They differ along the edge, which is a larger part of a smaller image."""
    model, embeddings = half
    known = {PROMPTED: BoxedMask.from_mask(known_mask()[::2, ::2])}
    masks = model.track(embeddings, known, reverse=direction == "back")
    found = [in_parts(mask.mask()) for mask in masks]
    np.testing.assert_allclose(found, HALF["memory"][direction], atol=8e-3 * 512**2 / 16)


def test_the_image_size_is_in_name_and_settings_of_rows_and_in_a_worker(file):
    models = {
        size: load_model("transformers", checkpoint=file, device="cpu", image_size=size)
        for size in (None, 1024, 512)
    }
    names = {size: model.name for size, model in models.items()}
    usual = "transformers (sam2_small)"
    assert names == {None: usual, 1024: usual, 512: "transformers (sam2_small, 512 px)"}
    sizes = {size: model.settings()["image_size"] for size, model in models.items()}
    assert sizes == {None: 1024, 1024: 1024, 512: 512}
    assert pickle.loads(pickle.dumps(models[512])).image_size == 512


def test_medsam2_is_of_512_pixels_unless_another_size_is_given(file):
    model = load_model("medsam2", checkpoint=file, device="cpu")
    assert (model.name, model.image_size) == ("medsam2 (sam2_small)", 512)
    other = load_model("medsam2", checkpoint=file, device="cpu", image_size=1024)
    assert (other.name, other.image_size) == ("medsam2 (sam2_small, 1024 px)", 1024)


@pytest.mark.parametrize("size", [0, -512, 500, 8192])
def test_an_image_size_that_the_network_cannot_take_is_refused(file, size):
    with pytest.raises(BadInputError, match=f"image_size is {size}: give a multiple of 32"):
        load_model("transformers", checkpoint=file, device="cpu", image_size=size)


def test_an_image_size_is_refused_where_the_model_has_its_own(file):
    with pytest.raises(BadInputError, match="sam_small has no option image_size"):
        load_model("sam_small", image_size=512)
    folder = file.with_name("folder")
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (folder / name).write_text('{"model_type": "sam2"}')
    with pytest.raises(BadInputError, match=r"config\.json tells its image size: leave out"):
        load_model("transformers", checkpoint=folder, device="cpu", image_size=512)


def test_a_file_is_read_in_whatever_a_training_script_puts_round_it(tmp_path, state, small):
    expected = renamed(state)
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    optimizer = {"state": {0: {"exp_avg": torch.ones(3)}}}
    for number, content in enumerate((state, {"model": wrapped, "optimizer": optimizer})):
        torch.save(content, tmp_path / f"{number}.pt")
        model = load_model("transformers", checkpoint=tmp_path / f"{number}.pt", device="cpu")
        found = model.network.state_dict()
        assert all(torch.equal(expected[name], tensor) for name, tensor in found.items())
        assert model.name == f"transformers ({number})"


def test_sam_2_of_2024_lacks_two_parts_and_is_read_too(tmp_path, state, small):
    path = tmp_path / "sam2_hiera_small.pt"
    torch.save({"model": {k: v for k, v in state.items() if k not in ABSENT}}, path)
    model = load_model("transformers", checkpoint=path, device="cpu")
    embedding = model.encode(picture())
    clicks = [[Click(*prompts()["a click"][0][0], 1.0, 1)]]
    check(model.predict(embedding, clicks), EXPECTED["image"]["a click"])  # these are of the memory
    assert model._video.occlusion_spatial_embedding_parameter is None


@pytest.fixture
def served(server, monkeypatch, tmp_path, state, small):
    """The registry's entry with the small file at a second address on this machine."""
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": state}, path)
    content = path.read_bytes()
    server.files[f"/second/{path.name}"] = content
    checkpoint = MirroredCheckpoint(
        f"{server.url}/first/{path.name}",
        sha256(content),
        len(content),
        mirrors=(f"{server.url}/second/{path.name}",),
    )
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    entry = replace(MODELS["sam2.1_tiny"], checkpoint=checkpoint)
    monkeypatch.setitem(MODELS, "sam2.1_tiny", entry)
    return path


def test_by_name_the_file_is_fetched_once_and_only_when_it_is_needed(server, served):
    model = load_model("sam2.1_tiny", device="cpu")
    assert model.weights == sha256(served.read_bytes()) and not server.requests
    assert (model.name, model.family, model.tracks) == ("sam2.1_tiny", "Sam2", True)
    assert model.settings()["commit"] == ""
    model.load()
    assert [path.split("/")[1] for path, _ in server.requests] == ["first", "second"]
    load_model("sam2.1_tiny", device="cpu").load()
    assert len(server.requests) == 2


def test_the_same_file_by_path_has_the_same_name_in_rows_and_another_one_has_not(served, tmp_path):
    by_path = load_model("sam2.1_tiny", checkpoint=served, device="cpu")
    assert by_path.name == "sam2.1_tiny"
    assert by_path.weights == load_model("sam2.1_tiny", device="cpu").weights
    (tmp_path / "own.pt").write_bytes(served.read_bytes() + b" ")
    assert load_model("sam2.1_tiny", checkpoint=tmp_path / "own.pt").name == "sam2.1_tiny (own)"


def test_a_file_with_another_hash_is_refused_and_not_kept(server, served, tmp_path):
    for path in [f"/first/{served.name}", *server.files]:
        server.files[path] = served.read_bytes()[:-1] + b"x"
    with pytest.raises(BadInputError, match="another file than expected, it is not kept"):
        load_model("sam2.1_tiny", device="cpu").load()
    assert not list((tmp_path / "cache" / "models").glob("*.pt"))


def test_the_registered_files_have_two_addresses_and_a_published_hash():
    for size in SIZES:
        checkpoint = MODELS[f"sam2.1_{size}"].checkpoint
        places = [checkpoint.location, *checkpoint.mirrors]
        assert [place.rsplit("/", 1)[1] for place in places] == [f"sam2.1_hiera_{size}.pt"] * 2
        assert len(checkpoint.known_sha256) == 64


# Files that cannot be used


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", r"lacks 1 tensor of mask_decoder \(mask_decoder.iou_token.weight\)"),
        ("adapter", r"holds 1 tensor of an adapter besides \(lora.weight\)"),
        ("shape", r"iou_token.weight is 1 x 3 instead of 1 x 256"),
    ],
)
def test_a_file_with_other_tensors_is_refused_with_what_differs(
    tmp_path, state, small, change, words
):
    tensors, name = dict(state), "sam_mask_decoder.iou_token.weight"
    if change == "missing":
        del tensors[name]
    elif change == "adapter":
        tensors["lora.weight"] = torch.ones(2)
    else:
        tensors[name] = tensors[name][:, :3].clone()
    torch.save(tensors, tmp_path / "x.pt")
    with pytest.raises(BadInputError, match=f"x.pt does not fit SAM 2 .*{words}"):
        load_model("transformers", checkpoint=tmp_path / "x.pt", device="cpu").load()


def test_a_size_that_was_not_released_is_named(tmp_path, state):
    torch.save(state, tmp_path / "x.pt")
    words = (
        r"no released size of SAM 2, which are tiny, small, base_plus, large: .* 8 channels .* 5 "
    )
    with pytest.raises(BadInputError, match=words):
        load_model("transformers", checkpoint=tmp_path / "x.pt", device="cpu").load()


def test_files_of_sam_and_of_sam_2_are_not_taken_for_each_other(file):
    other = MODELS["sam_small"].checkpoint.location
    with pytest.raises(BadInputError, match=r'holds no SAM 2: .* with the name "sam"'):
        load_model("transformers", checkpoint=other, device="cpu").load()
    with pytest.raises(BadInputError, match=r'it is a SAM 2, which is read with .*"transformers"'):
        load_model("sam", checkpoint=file, device="cpu")


def test_a_file_that_is_no_weights_is_refused_with_its_name(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"<html>sign in</html>")
    with pytest.raises(BadInputError, match=r"x\.pt cannot be read as weights: it is a web page"):
        load_model("transformers", checkpoint=tmp_path / "x.pt", device="cpu").load()
