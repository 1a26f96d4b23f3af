"""Models of `transformers`: equal to the package's own processor and model on random weights."""

import functools
import json
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medsam_utils import MODELS, BadInputError, Click, Protocol, evaluate, load_folder, load_model
from medsam_utils.book.explorer.live import Explorer
from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.models.hub import HubCheckpoint
from medsam_utils.models.transformers_sam import TransformersSam
from tests.notebook_cells import run_cells

transformers = pytest.importorskip("transformers", reason='needs "medsam-utils[models]"')
save_file = pytest.importorskip("safetensors.torch").save_file

MORE = ("sam_small", "ritm_small", "grabcut")  # models beside those of transformers
SIDE = 128  # pixels; the encoders' own are 1008 and 1024
SHAPES = [(3, 200), (131, 90), (257, 300)]


def _sam(prefix: str, vit_dim: dict[str, int]) -> SimpleNamespace:
    config = getattr(transformers, f"{prefix}Config")(
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "mlp_dim": 32,
            "output_channels": 32,
            "window_size": 4,
            "global_attn_indexes": [1],
            "num_pos_feats": 16,
        },
        prompt_encoder_config={
            "hidden_size": 32,
            "image_size": SIDE,
            "image_embedding_size": SIDE // 16,
        },
        mask_decoder_config=_decoder(**vit_dim),
    )
    resize = transformers.SamImageProcessor(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}
    )
    return SimpleNamespace(
        model=getattr(transformers, f"{prefix}Model")(config),
        processor=getattr(transformers, f"{prefix}Processor")(resize),
    )


def _decoder(**more: int) -> dict[str, int]:
    return {
        "hidden_size": 32,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
        **more,
    }


def _of_sam2(
    prefix: str,
    backbone: dict,
    channels: list[int],
    kind: str = "Model",
    hidden: int = 32,
    **memory: Any,
) -> SimpleNamespace:
    config = getattr(transformers, prefix + kind.replace("Model", "Config"))(
        vision_config={
            "model_type": f"{prefix.lower()}_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": channels,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": hidden,
        },
        prompt_encoder_config={"hidden_size": hidden, "image_size": SIDE, "patch_size": 16},
        mask_decoder_config=_decoder(hidden_size=hidden),
        **memory,
    )
    resize = transformers.Sam2ImageProcessor(size={"height": SIDE, "width": SIDE})
    return SimpleNamespace(
        model=getattr(transformers, prefix + kind)(config),
        processor=transformers.Sam2Processor(resize),
        sessions=transformers.Sam2VideoProcessor(resize, transformers.Sam2VideoVideoProcessor()),
    )


HIERA = {
    "model_type": "sam2_hiera_det_model",
    "image_size": [SIDE, SIDE],
    "hidden_size": 8,
    "embed_dim_per_stage": [8, 16, 32, 64],
    "num_attention_heads_per_stage": [1, 1, 2, 2],
    "blocks_per_stage": [1, 1, 2, 1],
    "global_attention_blocks": [3],
}
REPVIT = {
    "model_type": "timm_wrapper",
    "architecture": "repvit_m0_9",
    "num_classes": 1000,
    "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
}


def _edgetam(**kind: Any) -> SimpleNamespace:
    pytest.importorskip("timm", reason='needs "medsam-utils[models]"')
    return _of_sam2("EdgeTam", REPVIT, [384, 192, 96, 48], **kind)


def _sam3(kind: str = "Model", hidden: int = 32, **memory: Any) -> SimpleNamespace:
    side = 8 * 14
    memory |= {"image_size": side} if memory else {}
    config = getattr(transformers, "Sam3Tracker" + kind.replace("Model", "Config"))(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": side,
                "pretrain_image_size": side,
                "window_size": 4,
                "global_attn_indexes": [1],
            },
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": hidden,
        },
        prompt_encoder_config={"hidden_size": hidden, "image_size": side},
        mask_decoder_config=_decoder(hidden_size=hidden),
        **memory,
    )
    resize = transformers.Sam3ImageProcessor(size={"height": side, "width": side})
    video = transformers.Sam2VideoVideoProcessor()
    return SimpleNamespace(
        model=getattr(transformers, "Sam3Tracker" + kind)(config),
        processor=transformers.Sam3TrackerProcessor(resize),
        sessions=transformers.Sam3TrackerVideoProcessor(resize, video),
    )


BUILD = {
    "SAM": functools.partial(_sam, "Sam", {}),
    "HQ-SAM": functools.partial(_sam, "SamHQ", {"vit_dim": 16}),
    "SAM 2.1": functools.partial(_of_sam2, "Sam2", HIERA, [64, 32, 16, 8]),
    "SAM 3": _sam3,
    "EdgeTAM": _edgetam,
}


@functools.cache
def build(family: str) -> SimpleNamespace:
    """The package's own model and processor; weights that make masks with an inside and an
    outside."""
    torch.manual_seed(0)
    own = BUILD[family]()
    with torch.no_grad():
        for name, weight in own.model.named_parameters():
            if weight.ndim > 1 and "embed" not in name:
                torch.nn.init.normal_(weight, std=1.5 / np.sqrt(weight[0].numel()))
    own.model.eval()
    return own


@pytest.fixture(params=BUILD)
def own(request):
    return build(request.param)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Write a model and its processor to a folder, once for all tests."""
    folders = {}

    def save(own: SimpleNamespace) -> Path:
        if id(own) not in folders:
            folder = tmp_path_factory.mktemp("hub") / type(own.model).__name__
            own.model.save_pretrained(folder)
            own.processor.save_pretrained(folder)
            folders[id(own)] = folder
        return folders[id(own)]

    return save


@functools.cache
def loaded(folder: Path) -> TransformersSam:
    return load_model("transformers", checkpoint=folder, device="cpu")


def image_of(shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (*shape, 3), dtype=np.uint8)


def prompts_of(shape: tuple[int, int], kind: str, objects: int) -> tuple[list, np.ndarray | None]:
    """Clicks and boxes of a kind of prompt, for some objects."""
    rng = np.random.default_rng(1)
    count = {"a click": 1, "three clicks": 3, "a box": 0, "a box and two clicks": 2}.get(kind, 2)
    clicks = [
        [
            Click(int(rng.integers(shape[0])), int(rng.integers(shape[1])), i % 2 == 0, 1.0, 1)
            for i in range(count)
        ]
        for _ in range(objects)
    ]
    if "box" not in kind:
        return clicks, None
    corners = np.sort(rng.integers(0, shape, (objects, 2, 2)), axis=1)
    return clicks, corners.reshape(objects, 4)


KINDS = ["a click", "three clicks", "a box", "a box and two clicks", "two clicks and a mask"]


def reference(own, image, clicks, box, logits, multimask=True):
    """Masks on the image, predicted IoU and low resolution logits as the package itself gives them.

    For one object."""
    prompts = {}
    if clicks:
        prompts["input_points"] = [[[[float(c.col), float(c.row)] for c in clicks]]]
        prompts["input_labels"] = [[[int(c.positive) for c in clicks]]]
    if box is not None:
        prompts["input_boxes"] = [[[float(box[i]) for i in (1, 0, 3, 2)]]]
    inputs = own.processor(
        images=image, input_data_format="channels_last", return_tensors="pt", **prompts
    )
    sizes = {name: inputs.pop(name) for name in list(inputs) if name.endswith("_sizes")}
    if logits is not None:
        inputs["input_masks"] = torch.as_tensor(logits)[None, None]
    with torch.no_grad():
        answer = own.model(**inputs, multimask_output=multimask)
    (masks,) = own.processor.post_process_masks(answer.pred_masks, **sizes)
    return masks[0].numpy(), answer.iou_scores[0, 0].numpy(), answer.pred_masks[0, 0].numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_predicted_iou_are_those_of_the_package_itself(own, saved, kind):
    """Each object alone and all in one batch; what differs is the rounding of sums."""
    model = loaded(saved(own))
    inside = []
    for shape in SHAPES:
        image = image_of(shape)
        embedding = model.encode(image)
        clicks, boxes = prompts_of(shape, kind, objects=2)
        logits = model.predict(embedding, clicks).logits[:, 1] if "mask" in kind else None
        batched = model.predict(embedding, clicks, boxes, logits)
        for i in range(2):
            some = slice(i, i + 1)
            prompt = [clicks[some], *(p if p is None else p[some] for p in (boxes, logits))]
            masks, predicted_iou, low = reference(
                own, image, *(p if p is None else p[0] for p in prompt)
            )
            for prediction, k in ((model.predict(embedding, *prompt), 0), (batched, i)):
                allowed = 5e-5 * np.abs(low).max()
                np.testing.assert_allclose(prediction.logits[k], low, rtol=0, atol=allowed)
                np.testing.assert_allclose(prediction.predicted_iou[k], predicted_iou, atol=1e-4)
                found = np.stack([prediction.mask(k, candidate) for candidate in range(3)])
                assert (found != masks).sum() <= 2  # of up to 231,300 pixels: logits nearly 0
            inside.append(masks.mean())
    assert 0.02 < np.mean(inside) < 0.98  # neither all nor nothing, which would be equal too


def test_one_mask_is_the_first_tokens_unless_the_choice_by_stability_is_asked_for(tmp_path, saved):
    own, image = build("SAM 2.1"), image_of((90, 120))
    decoder = own.model.mask_decoder
    folder = Path(shutil.copytree(saved(own), tmp_path / "unstable"))
    config = json.loads((folder / "config.json").read_text())
    config["mask_decoder_config"]["dynamic_multimask_stability_thresh"] = 1.1  # no mask is stable
    (folder / "config.json").write_text(json.dumps(config))
    rows_compare = load_model("transformers", checkpoint=folder, device="cpu")
    as_package = TransformersSam("x", HubCheckpoint(folder), device="cpu", stability=True)
    clicks = [[Click(40, 50, True, 1.0, 1)]]
    single, chosen, three = (
        model.predict(model.encode(image), clicks, multimask=several)
        for model, several in ((rows_compare, False), (as_package, False), (rows_compare, True))
    )
    best = three.most_confident()[0]
    np.testing.assert_allclose(chosen.logits[0, 0], three.logits[0, best], atol=1e-3)
    assert chosen.predicted_iou[0, 0] == three.predicted_iou[0, best]
    assert decoder.dynamic_multimask_via_stability  # the package's own default
    decoder.dynamic_multimask_via_stability = False
    _, _, low = reference(own, image, clicks[0], None, None, multimask=False)
    decoder.dynamic_multimask_via_stability = True
    np.testing.assert_allclose(single.logits[0], low, atol=1e-3)
    assert single.logits.shape[1] == 1 and not np.allclose(single.logits, chosen.logits)
    assert rows_compare.settings() != as_package.settings()


def test_a_model_for_videos_gives_the_one_for_images_that_is_in_it(tmp_path, saved):
    """As the files of SAM 2.1 and of SAM 3 are released."""
    torch.manual_seed(0)
    video = _of_sam2("Sam2", HIERA, [64, 32, 16, 8], kind="VideoModel")
    video.model.save_pretrained(tmp_path / "sam2")
    video.processor.save_pretrained(tmp_path / "sam2")
    network = load_model("transformers", checkpoint=tmp_path / "sam2").network
    expected = video.model.state_dict()
    assert all(torch.equal(expected[k], v) for k, v in network.state_dict().items())

    own = build("SAM 3")
    folder = Path(shutil.copytree(saved(own), tmp_path / "sam3"))
    names = {
        "vision_encoder.backbone.": "detector_model.vision_encoder.backbone.",
        "vision_encoder.neck.": "tracker_neck.",
    }
    released = {"detector_model.text_encoder.weight": torch.ones(2)}
    for key, tensor in own.model.state_dict().items():
        start = next((name for name in names if key.startswith(name)), "")
        new = names[start] + key.removeprefix(start) if start else "tracker_model." + key
        released[new] = tensor.clone()
    save_file(released, folder / "model.safetensors", {"format": "pt"})
    tracker = json.loads((folder / "config.json").read_text()) | {
        "model_type": "sam3_tracker_video"
    }
    released_config = {"model_type": "sam3_video", "tracker_config": tracker}
    (folder / "config.json").write_text(json.dumps(released_config))
    model = load_model("sam3_tracker", checkpoint=folder)
    assert model.name == "sam3_tracker"  # it is called as the repository is
    expected = own.model.state_dict()
    assert all(torch.equal(expected[k], v) for k, v in model.network.state_dict().items())


# Memory


def video_of(family: str) -> SimpleNamespace:
    """The package's own model for videos and its processor, small, with weights that make masks."""
    torch.manual_seed(0)
    hidden = 128  # the package knows no memory of fewer than 64 channels, half of these
    memory = {
        "image_size": SIDE,
        "memory_attention_hidden_size": hidden,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_attention_rope_feat_sizes": [8, 8],
        "memory_encoder_hidden_size": hidden,
        "mask_downsampler_embed_dim": hidden,
        "memory_fuser_embed_dim": hidden,
        "memory_fuser_intermediate_dim": 32,
    }
    if family == "EdgeTAM":
        latents = ("num_latents", "num_latents_2d")
        memory |= {f"perceiver_resampler_{name}": 16 for name in latents}
        memory["memory_attention_rope_k_sizes"] = [4, 4]
    own = BUILD[family](kind="VideoModel", hidden=hidden, **memory)
    with torch.no_grad():
        for name, weight in own.model.named_parameters():
            if weight.ndim > 1 and "embed" not in name:
                torch.nn.init.normal_(weight, std=1.5 / np.sqrt(weight[0].numel()))
        own.model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(9.0)  # the object is there
    own.model.eval()
    return own


WITH_MEMORY = ["SAM 2.1", "SAM 3", "EdgeTAM"]


@pytest.fixture(scope="module", params=WITH_MEMORY)
def with_memory(request, tmp_path_factory):
    """The package's own model for videos, and ours of the same files."""
    own = video_of(request.param)
    folder = tmp_path_factory.mktemp("video")
    own.model.save_pretrained(folder)
    own.processor.save_pretrained(folder)
    return own, load_model("transformers", checkpoint=folder, device="cpu")


def discs(*radii: int) -> dict[int, BoxedMask]:
    """A disc in the slices whose radius is above 0."""
    row, col = np.mgrid[:60, :90]
    return {
        i: BoxedMask.from_mask((row - 30) ** 2 + (col - 40) ** 2 < radius**2)
        for i, radius in enumerate(radii)
        if radius
    }


@pytest.mark.parametrize("known", [discs(0, 0, 12, 0, 0), discs(0, 9, 0, 12, 0)])
def test_what_the_memory_carries_on_is_that_of_the_packages_own_session(with_memory, known):
    own, model = with_memory
    assert model.tracks
    images = [np.random.default_rng(i).integers(0, 256, (60, 90, 3), np.uint8) for i in range(5)]
    sizes = own.processor(images=images[0], return_tensors="pt")["original_sizes"]
    pixels = [own.processor(images=image, return_tensors="pt")["pixel_values"] for image in images]
    embeddings, areas = [model.encode(image) for image in images], []
    for reverse in (False, True):
        session = own.sessions.init_video_session()
        session.processed_frames = dict(enumerate(torch.cat(pixels)))
        for i, mask in known.items():
            own.sessions.add_inputs_to_inference_session(session, i, 7, input_masks=mask.mask())
            own.model(session, frame_idx=i)
        start = max(known) if reverse else min(known)
        expected = [np.zeros((60, 90), bool) for _ in images]
        for answer in own.model.propagate_in_video_iterator(session, start, reverse=reverse):
            (mask,) = own.processor.post_process_masks([answer.pred_masks], sizes)
            expected[answer.frame_idx] = mask.numpy().squeeze()
        found = model.track(embeddings, known, reverse)
        for mask, there in zip(found, expected, strict=True):
            assert (mask.mask() != there).sum() <= 5  # of 5,400: logits nearly 0
        areas += [mask.area for mask in found]
    assert len({area for area in areas if area}) > 3  # masks differ from slice to slice


@pytest.mark.slow
def test_one_parameter_shows_the_memory_through_the_volume(with_memory):
    _, model = with_memory
    tiny = {"max_volumes": 1, "beyond": 1, "clicks": 1, "rounds": 1, "ways": "box"}
    names, text = run_cells(
        "through_volume",
        datasets="mri_prostate",
        models="transformers",
        checkpoint=str(model.checkpoint.location),
        compute="device=cpu",
        **tiny,
    )
    lines = names["table"].set_index(["way", "stop", "round"])
    assert {("memory", "", 0), ("memory", "", 1), ("box", "area", 1)} <= set(lines.index)
    spent = lines["spent"]
    assert [spent["memory", "", n] for n in (0, 1)] == [spent["box", "area", n] for n in (0, 1)]
    assert "memory" in text


def test_a_folder_of_a_model_for_images_has_no_memory(saved):
    model = loaded(saved(build("SAM 2.1")))
    assert not model.tracks and not load_model("sam_small", device="cpu").tracks


def test_rows_hold_the_hash_of_all_files_and_a_worker_gets_the_same_model(tmp_path, saved):
    folder = Path(shutil.copytree(saved(build("SAM")), tmp_path / "fine_tuned"))
    model = load_model("transformers", checkpoint=folder, device="cpu")
    assert model.name == "transformers (fine_tuned)" and len(model.weights) == 64
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.weights, copy.settings()) == (model.weights, model.settings())
    description = folder / "processor_config.json"
    description.write_text(description.read_text().replace("0.485", "0.5"))
    changed = load_model("transformers", checkpoint=folder, device="cpu")
    assert changed.weights != model.weights


def test_rows_are_computed_from_clicks_and_from_boxes(tmp_path, saved):
    for name, picture in (("images", image_of((40, 48))), ("masks", np.eye(40, 48) * 255)):
        (tmp_path / name).mkdir()
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / name / "1.png")
    model = load_model("transformers", checkpoint=saved(build("SAM 2.1")), device="cpu")
    protocol = Protocol(min_object_pixels=1)
    for prompt, feedback in (("clicks", True), ("box_all", False)):
        chosen = replace(protocol, prompt=prompt, feedback=feedback)
        rows = evaluate(load_folder(tmp_path), model, chosen, clicks=3, executor=None)
        assert len(rows) == 3 and rows["predicted_iou_2"].notna().all()
        assert set(rows["weights"]) == {model.weights}


@pytest.fixture
def by_name(tmp_path, saved, monkeypatch):
    """Small networks where the names of three of the registry's models look for them."""
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    families = {"sam3_tracker": "SAM 3", "sam_hq_vit_b": "HQ-SAM", "slimsam_50": "SAM"}
    for name, family in families.items():
        place = tmp_path / "cache" / "models" / MODELS[name].checkpoint.location
        shutil.copytree(saved(build(family)), place)
    return [*families, *MORE]


@pytest.fixture
def study(tmp_path):
    """A folder with one image and its mask."""
    for name, picture in (("images", image_of((40, 48))), ("masks", np.eye(40, 48) > 0)):
        (tmp_path / "study" / name).mkdir(parents=True)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "study" / name / "1.png")
    return tmp_path / "study"


def test_one_notebook_shows_six_models_side_by_side_from_rows_of_one_store(
    by_name, study, tmp_path
):
    compute = f"device=cpu workers=0 store={tmp_path / 'store'}"
    for computed in (1, 0):
        parameters = {"folder": str(study), "models": " ".join(by_name), "compute": compute}
        names, text = run_cells("dataset", clicks=2, **parameters)
        assert names["runs"].notes == [] and list(names["runs"].models) == by_name
        tables = names["runs"].tables.values()
        assert [rows.attrs["record"]["computed"] for rows in tables] == [computed] * 6
        assert [set(rows["model"]) for rows in tables] == [{name} for name in by_name]
        assert all(f"{name} reaches a mean IoU of" in " ".join(text.split()) for name in by_name)


def test_four_models_answer_in_the_explorer_at_once(by_name, study):
    models = {name: load_model(name, device="cpu") for name in by_name[:4]}
    explorer = Explorer(load_folder(study), models)
    explorer.state = {**explorer.state, "clicks": [[12, 18, 1], [2, 2, 0]]}
    assert [answer["model"] for answer in explorer.answers] == by_name[:4]
    assert all(answer["iou"] is not None for answer in explorer.answers)


# Folders that cannot be used


def test_a_folder_that_lacks_a_file_is_refused_with_its_name(tmp_path, saved):
    with pytest.raises(BadInputError, match="nowhere is missing: give a folder with config"):
        load_model("transformers", checkpoint=tmp_path / "nowhere")
    for file, words in (
        ("config.json", "has no config.json"),
        ("processor_config.json", "has no preprocessor_config.json or processor_config.json"),
        ("model.safetensors", "has no model.safetensors"),
    ):
        folder = Path(shutil.copytree(saved(build("SAM")), tmp_path / file))
        (folder / file).unlink()
        with pytest.raises(BadInputError, match=words):
            load_model("transformers", checkpoint=folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"model_type": "bert"}', "holds a model of type 'bert': give one of sam, "),
        ("<html>", "is not the description of a model"),
        ("[]", "is not the description of a model"),
    ],
)
def test_a_description_of_something_else_is_refused(tmp_path, saved, text, words):
    folder = Path(shutil.copytree(saved(build("SAM")), tmp_path / "other"))
    (folder / "config.json").write_text(text)
    with pytest.raises(BadInputError, match=words):
        load_model("transformers", checkpoint=folder)


def test_weights_that_lack_a_tensor_are_refused_instead_of_filled_with_random_numbers(
    tmp_path, saved
):
    folder = Path(shutil.copytree(saved(build("SAM")), tmp_path / "other"))
    state = build("SAM").model.state_dict()
    for change in ("missing", "shape", "cut"):
        tensors = {key: value.clone() for key, value in state.items()}
        kept = tensors.pop("mask_decoder.iou_token.weight")
        if change == "shape":
            tensors["mask_decoder.iou_token.weight"] = kept[:, :3].clone()
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        if change == "cut":
            (folder / "model.safetensors").write_bytes(b"<html>no file</html>")
        words = "cannot be read as SamModel" if change == "cut" else "iou_token"
        with pytest.raises(BadInputError, match=words):
            load_model("transformers", checkpoint=folder, device="cpu").load()


def test_without_the_package_the_message_says_what_to_install(saved, monkeypatch):
    folder = saved(build("SAM"))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BadInputError, match=r"needs the package transformers: run pip install"):
        load_model("transformers", checkpoint=folder).load()
