"""Weights files: downloaded, cached, cut, wrong, changed, hostile; own ones by path; devices and
dtypes."""

import argparse
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from local_server import sha256
from segment_anything import sam_model_registry

from medsam_utils import MODELS, PAPER, Click, iou, load_dataset, load_model, next_click
from medsam_utils.case import BadInputError
from medsam_utils.download import WrongHashError
from medsam_utils.models import as_prediction
from medsam_utils.models.checkpoints import (
    Checkpoint,
    check_tensors,
    differences,
    load_state_dict,
    shapes,
)
from medsam_utils.models.devices import available_devices, choose_device
from medsam_utils.models.sam_small import build_sam_small


def build_small():
    """Return the small SAM's tensors."""
    return build_sam_small().state_dict()


STATE = {"layer.weight": torch.arange(30_000.0), "layer.bias": torch.ones(3)}
PAGE = b"<!DOCTYPE html><html><body>Sign in to continue</body></html>"


class Attack:
    """What a pickle may hold: a call that is made when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def saved(content: object, is_zip: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


WEIGHTS = saved(STATE)


@pytest.fixture
def models(monkeypatch, tmp_path):
    """Folder where downloaded weights are kept."""
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path))
    return tmp_path / "models"


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


# From a server, with a published hash


def test_weights_arrive_once_and_are_then_read_without_the_network(server, models):
    server.files["/w.pth"] = WEIGHTS
    checkpoint = Checkpoint(f"{server.url}/w.pth", sha256(WEIGHTS))
    assert torch.equal(load_state_dict(checkpoint.path())["layer.weight"], STATE["layer.weight"])
    assert checkpoint.path() == models / "w.pth"
    assert len(server.requests) == 1
    assert kept(models) == ["w.pth"]


def test_a_cut_download_goes_on_where_it_stopped(server, models):
    server.files["/w.pth"], server.cuts = WEIGHTS, [50_000]
    assert Checkpoint(f"{server.url}/w.pth", sha256(WEIGHTS)).path().read_bytes() == WEIGHTS
    assert server.requests == [("/w.pth", None), ("/w.pth", "bytes=50000-")]


def test_what_stays_cut_is_no_weights_file_and_the_next_call_asks_for_the_rest(server, models):
    server.files["/w.pth"], server.cuts = WEIGHTS, [50_000, 0, 0, 0]
    checkpoint = Checkpoint(f"{server.url}/w.pth")
    with pytest.raises(BadInputError, match="cut after 50000 of"):
        checkpoint.path()
    assert not (models / "w.pth").exists()
    assert checkpoint.path().read_bytes() == WEIGHTS
    assert server.requests[-1] == ("/w.pth", "bytes=50000-")


def test_weights_with_another_hash_are_refused_and_not_kept(server, models):
    server.files["/w.pth"] = WEIGHTS
    with pytest.raises(WrongHashError, match="not kept") as error:
        Checkpoint(f"{server.url}/w.pth", sha256(b"others")).path()
    assert sha256(WEIGHTS) in str(error.value) and sha256(b"others") in str(error.value)
    assert kept(models) == []


def test_a_registered_hash_is_known_without_the_file():
    assert load_model("sam_vit_h").weights == MODELS["sam_vit_h"].checkpoint.known_sha256


# From a server, where nobody publishes a hash


def test_the_first_hash_is_recorded_as_sha256sum_writes_it(server, models):
    server.files["/w.pth"] = WEIGHTS
    checkpoint = Checkpoint(f"{server.url}/w.pth")
    assert checkpoint.sha256 == sha256(WEIGHTS)
    assert (models / "w.pth.sha256").read_text() == f"{sha256(WEIGHTS)}  w.pth\n"
    again = Checkpoint(f"{server.url}/w.pth")
    assert (again.sha256, again.path()) == (sha256(WEIGHTS), models / "w.pth")
    assert len(server.requests) == 1


def test_a_file_that_is_another_one_later_is_refused_with_both_hashes_and_a_remedy(server, models):
    server.files["/w.pth"] = WEIGHTS
    Checkpoint(f"{server.url}/w.pth").path().unlink()
    server.files["/w.pth"] = changed = saved(STATE | {"layer.bias": torch.zeros(3)})
    with pytest.raises(BadInputError, match=r"delete that record") as error:
        Checkpoint(f"{server.url}/w.pth").path()
    assert sha256(WEIGHTS) in str(error.value) and sha256(changed) in str(error.value)
    assert kept(models) == ["w.pth.sha256"]
    (models / "w.pth.sha256").unlink()
    assert Checkpoint(f"{server.url}/w.pth").sha256 == sha256(changed)


def test_a_file_that_was_changed_here_is_not_used(server, models):
    server.files["/w.pth"] = WEIGHTS
    path = Checkpoint(f"{server.url}/w.pth").path()
    path.write_bytes(saved({"other": torch.ones(1)}))
    assert Checkpoint(f"{server.url}/w.pth").path().read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (PAGE, r"read as weights: .*it is a web page"),
        (WEIGHTS[:50_000], r"read as weights: .*cut short"),
        (b"", "fetched .*empty"),
        (b"PNG", r"read as weights: .*torch.save"),
    ],
    ids=["a web page", "half a file", "nothing", "something else"],
)
def test_what_is_no_weights_file_is_neither_kept_nor_recorded(content, reason, server, models):
    server.files["/w.pth"] = content
    with pytest.raises(BadInputError, match=rf"w\.pth (cannot|could not) be {reason}"):
        Checkpoint(f"{server.url}/w.pth").path()
    assert kept(models) == []


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_weights_that_would_run_code_are_refused_not_kept_and_do_not_run(
    is_zip, server, models, tmp_path
):
    server.files["/w.pth"] = saved({"weights": Attack(tmp_path / "ran")}, is_zip)
    with pytest.raises(BadInputError, match=r"it holds \S+, and to read that could run code"):
        Checkpoint(f"{server.url}/w.pth").path()
    assert kept(models) == [] and not (tmp_path / "ran").exists()


def test_ritm_is_registered_without_a_hash_and_sam_with_one():
    ritm = [entry.checkpoint for name, entry in MODELS.items() if name.startswith("ritm_h")]
    assert [checkpoint.known_sha256 for checkpoint in ritm] == [None] * 3
    assert all(str(checkpoint.location).startswith("https://") for checkpoint in ritm)
    sam = [entry.checkpoint for name, entry in MODELS.items() if name.startswith("sam_vit_")]
    assert all(len(checkpoint.known_sha256) == 64 and checkpoint.size for checkpoint in sam)


# By path


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The small SAM with random weights, as a file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(build_sam_small().state_dict(), path)
    return path


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"none\.pth is missing"):
        load_model("sam_vit_b", checkpoint=tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (PAGE, "web page"),
        (
            saved(torch.nn.Linear(2, 2)),
            r"it holds torch\.nn\.modules\.linear\.Linear, .*state_dict",
        ),
        (saved([1, 2]), "no state dict of tensors"),
        (saved({"model": {"epoch": 3}}), "no state dict of tensors"),
        (saved({}), "no state dict of tensors"),
    ],
    ids=["a web page", "a whole module", "a list", "numbers", "nothing"],
)
def test_a_file_without_a_state_dict_is_refused_with_the_reason(content, reason, tmp_path):
    path = tmp_path / "odd.pth"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=rf"odd\.pth .*{reason}"):
        load_model("sam", checkpoint=path)
    assert path.exists()  # it is the user's


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_a_cut_file_is_refused_wherever_it_is_cut(is_zip, tmp_path):
    whole, path = saved(STATE, is_zip), tmp_path / "cut.pth"
    for length in np.linspace(0, len(whole) - 1, 25).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInputError, match=r"cut\.pth cannot be read as weights"):
            load_state_dict(path)


SAM_STATE = {"image_encoder.weight": torch.arange(6.0), "mask_decoder.bias": torch.ones(3)}
OPTIMISER = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-3}]}

WRAPPINGS = {
    "none": dict,
    "model": lambda s: {"model": s, "epoch": 3},
    "state_dict": lambda s: {"state_dict": s, "loss": torch.tensor(0.5)},
    "model_state": lambda s: {"model_state": s, "optimizer": OPTIMISER},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer_state_dict": OPTIMISER},
    "net": lambda s: {"net": s, "args": argparse.Namespace(lr=1e-3), "best": np.float64(0.9)},
    "module in model": lambda s: {"model": {"module": s}, "hyper_parameters": {"name": "x"}},
    "four deep": lambda s: {"a": {"b": {"model": {"state_dict": s}}}},
}
PREFIXES = ["", "module.", "model.", "sam.", "_orig_mod.", "module._orig_mod.model.sam.", "net."]


# Of a network without SAM's names nothing says where it begins in unknown dictionaries.
WRAPPED = [(STATE, name) for name in WRAPPINGS if name != "four deep"]
WRAPPED += [(SAM_STATE, name) for name in WRAPPINGS]


@pytest.mark.parametrize(("state", "wrapping"), WRAPPED)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_training_scripts_put_round_weights_is_taken_off(wrapping, prefix, state, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(WRAPPINGS[wrapping]({prefix + name: t for name, t in state.items()}), path)
    found = load_state_dict(path)
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_parts_that_were_saved_one_by_one_are_one_network(tmp_path):
    parts = {"image_encoder": {"weight": torch.ones(2)}, "mask_decoder": {"bias": torch.ones(3)}}
    torch.save({"epoch": 3, **parts}, tmp_path / "w.pth")
    assert list(load_state_dict(tmp_path / "w.pth")) == list(SAM_STATE)


@pytest.mark.parametrize(
    "inside", ["image_encoder._orig_mod.weight", "image_encoder.module.weight"]
)
def test_a_compiled_or_distributed_part_is_that_part(inside, tmp_path):
    torch.save({inside: torch.ones(2)}, tmp_path / "w.pth")
    assert list(load_state_dict(tmp_path / "w.pth")) == ["image_encoder.weight"]


def test_constants_of_the_pixels_are_no_weights(tmp_path):
    torch.save({**SAM_STATE, "pixel_mean": torch.zeros(3, 1, 1)}, tmp_path / "w.pth")
    assert list(load_state_dict(tmp_path / "w.pth")) == list(SAM_STATE)


def test_of_two_copies_the_one_called_model_is_taken(tmp_path):
    averaged = {name: tensor + 1 for name, tensor in SAM_STATE.items()}
    torch.save({"model": SAM_STATE, "ema": averaged}, tmp_path / "w.pth")
    assert torch.equal(
        load_state_dict(tmp_path / "w.pth")["mask_decoder.bias"], SAM_STATE["mask_decoder.bias"]
    )


def test_two_networks_without_a_known_name_are_refused_with_their_names(tmp_path):
    torch.save({"student": SAM_STATE, "teacher": SAM_STATE}, tmp_path / "w.pth")
    with pytest.raises(BadInputError, match=r"holds several networks \(student, teacher\)"):
        load_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_safetensors_are_read_whatever_the_file_is_called(name, device, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({f"model.{n}": t for n, t in STATE.items()}, tmp_path / name)
    found = load_state_dict(tmp_path / name, device)
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in STATE.items()}
    assert device == "meta" or torch.equal(found["layer.weight"], STATE["layer.weight"])


def test_safetensors_that_are_cut_are_refused(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    whole = safetensors.save(STATE)
    for length in (9, 50, len(whole) // 2, len(whole) - 1):
        (tmp_path / "w.safetensors").write_bytes(whole[:length])
        with pytest.raises(BadInputError, match=r"w\.safetensors cannot be read as weights"):
            load_state_dict(tmp_path / "w.safetensors")


@pytest.mark.parametrize("architecture", ["vit_b", "vit_l", "vit_h"])
def test_the_size_of_own_sam_weights_is_found(architecture, tmp_path, monkeypatch):
    with torch.device("meta"):
        state = sam_model_registry[architecture]().state_dict()
    monkeypatch.setattr("medsam_utils.models.sam.load_state_dict", lambda path, device: state)
    path = tmp_path / "mine.pth"
    path.touch()
    model = load_model("sam", checkpoint=path, device="cpu")
    assert (model.settings()["architecture"], model.name) == (architecture, "sam (mine)")


def test_own_weights_predict_under_the_name_of_their_file_in_a_worker_too(small):
    model = load_model("sam", checkpoint=small, device="cpu")
    copy = pickle.loads(pickle.dumps(model))
    for one in (model, copy):
        assert (one.name, one.weights) == ("sam (mine)", sha256(small.read_bytes()))
    image, clicks = np.zeros((20, 30, 3), np.uint8), [[Click(5, 5, True, 1.0, 1)]]
    answers = [one.predict(one.encode(image), clicks).logits for one in (model, copy)]
    assert np.array_equal(*answers) and answers[0].shape == (1, 3, 128, 128)


def test_other_weights_never_go_by_the_name_of_the_registered_ones(small):
    assert load_model("sam_small", checkpoint=small).name == "sam_small (mine)"
    assert load_model("sam_small").name == "sam_small"


def test_medsam_asks_for_its_file_and_tells_where_it_is(tmp_path, small):
    with pytest.raises(BadInputError, match=r"bowang-lab/MedSAM .*checkpoint="):
        load_model("medsam_vit_b")
    path = tmp_path / "medsam_vit_b.pth"
    path.write_bytes(small.read_bytes())
    assert load_model("medsam_vit_b", checkpoint=path).name == "medsam_vit_b"
    with pytest.raises(BadInputError, match=r'does not fit SAM vit_b .*take the name "sam"'):
        _ = load_model("medsam_vit_b", checkpoint=path).network


def test_weights_of_no_sam_are_refused_with_what_differs(tmp_path):
    state = build_small()
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 99)
    torch.save(state, tmp_path / "odd.pth")
    fact = r"fits no SAM .*nearest, small, .*mask_decoder\.iou_token\.weight is 1 x 99 instead of"
    with pytest.raises(BadInputError, match=fact):
        load_model("sam", checkpoint=tmp_path / "odd.pth")


def vit_b():
    """SAM ViT-B's tensors without values."""
    with torch.device("meta"):
        return sam_model_registry["vit_b"]().state_dict()


def test_an_adapter_that_is_left_over_is_named(tmp_path):
    state = {f"sam.{name}": torch.empty(shape) for name, shape in shapes(build_small()).items()}
    state |= {f"sam.image_encoder.blocks.{n}.Adapter.weight": torch.ones(2, 2) for n in range(12)}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    fact = r"nearest, small, it differs: it holds 12 tensors of an adapter besides \(image_encoder"
    with pytest.raises(BadInputError, match=fact):
        load_model("sam", checkpoint=tmp_path / "w.pth")


def test_tensors_beside_the_network_are_named_by_their_part(tmp_path):
    state = build_small()
    torch.save({**state, "box_head.weight": torch.ones(2)}, tmp_path / "w.pth")
    fact = r"it holds 1 tensor of box_head besides \(box_head\.weight\)"
    with pytest.raises(BadInputError, match=fact):
        _ = load_model("sam_small", checkpoint=tmp_path / "w.pth").network


@pytest.mark.parametrize(("pixels", "patches"), [(256, 16), (512, 32)])
def test_another_image_size_is_told_in_a_sentence_of_its_own(pixels, patches):
    expected = shapes(vit_b())
    found = expected | {"image_encoder.pos_embed": (1, patches, patches, 768)}
    found["image_encoder.blocks.2.attn.rel_pos_h"] = (2 * patches - 1, 64)
    assert differences(found, expected) == (
        f"its image encoder is made for another image size, {patches} x {patches} patches instead "
        "of 64 x 64: it cannot be used"
    )


def test_the_decoder_alone_is_no_sam(tmp_path):
    state = {n: t for n, t in build_small().items() if not n.startswith("image_encoder")}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(BadInputError, match=r"it lacks \d+ tensors of image_encoder"):
        load_model("sam", checkpoint=tmp_path / "w.pth")


def test_notes_of_a_script_that_could_run_code_are_refused_and_do_not_run(tmp_path):
    notes = {"model": SAM_STATE, "args": Attack(tmp_path / "ran")}
    (tmp_path / "w.pth").write_bytes(saved(notes))
    with pytest.raises(BadInputError, match="could run code"):
        load_state_dict(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


# Devices and number formats


def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert available_devices() == ["cuda:0", "cuda:1", "cpu"]
    assert [str(choose_device(name)) for name in ("cuda", "cuda:1", "cpu", None)] == (
        ["cuda", "cuda:1", "cpu", "cuda"]
    )
    for absent in ("cuda:2", "mps", "gpu"):
        with pytest.raises(
            BadInputError, match=f"device '{absent}' is not .*cuda:0 or cuda:1 or cpu"
        ):
            load_model("sam_small", device=absent)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert str(choose_device()) == "mps"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_the_masks_and_changes_the_name_in_the_rows(dtype):
    """How far logits move depends on the processor (AMX sums otherwise): masks agree on all."""
    dataset = load_dataset("us_breast")
    case = dataset.load(dataset.list().references[0])
    click = next_click(case.masks["lesion"], None, PAPER, np.random.default_rng(0))
    whole, half = (load_model("sam_small", device="cpu", dtype=name) for name in ("float32", dtype))
    expected, found = (
        model.predict(model.encode(case.image), [[click]]) for model in (whole, half)
    )
    assert found.logits.dtype == np.float32
    assert half.network.image_encoder.neck[1].weight.dtype == getattr(torch, dtype)
    assert not np.array_equal(found.logits, expected.logits)  # it has been computed in `dtype`
    for ours, reference in zip(found.logits[0] > 0, expected.logits[0] > 0, strict=True):
        assert reference.any() and iou(ours, reference) > 0.9
    assert half.name == f"sam_small ({dtype})"
    assert half.settings() != whole.settings()
    assert pickle.loads(pickle.dumps(half)).name == half.name


def test_features_beyond_the_range_of_float16_are_told_not_predicted_from(monkeypatch):
    model = load_model("sam_small", device="cpu", dtype="float16")
    too_large = torch.full((1, 64, 32, 32), 1e5).half()
    monkeypatch.setattr(model.network.image_encoder, "forward", lambda pixels: too_large)
    with pytest.raises(BadInputError, match=r"sam_small \(float16\) overflows .*take bfloat16"):
        model.encode(np.zeros((9, 9, 3), np.uint8))


def test_a_model_without_a_network_has_no_dtype_and_an_unknown_one_is_refused():
    with pytest.raises(BadInputError, match="grabcut has no option dtype"):
        load_model("grabcut", dtype="bfloat16")
    with pytest.raises(BadInputError, match="dtype 'int8' is unknown: choose float32"):
        load_model("sam_small", dtype="int8")


def test_every_model_of_the_registry_says_where_its_weights_are():
    for name, entry in MODELS.items():
        assert entry.checkpoint or entry.by_hand or name == "grabcut"
        assert entry.title and entry.licence and entry.citation


# Numbers that a network cannot compute with, and sizes that memory cannot hold


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda w: w.index_fill(0, torch.tensor([0]), torch.nan), "NaN or infinite"),
        (lambda w: w.index_fill(0, torch.tensor([0]), -torch.inf), "NaN or infinite"),
        (lambda w: w.double() * 1e300, "NaN or infinite"),
        (lambda w: w.long(), "holds torch.int64"),
        (lambda w: w > 0, "holds torch.bool"),
        (lambda w: w.to(torch.complex64), "holds torch.complex64"),
        (lambda w: w.to_sparse(), "torch.sparse_coo"),
    ],
    ids=["NaN", "infinite", "too large", "integers", "truth values", "complex", "sparse"],
)
@pytest.mark.parametrize("name", ["sam", "ritm_small"])
def test_weights_that_are_no_finite_numbers_are_refused(name, change, fact, tmp_path):
    embedded = MODELS["sam_small" if name == "sam" else name].checkpoint.path()
    state = load_state_dict(embedded)
    wrong = next(key for key in state if key.endswith(".weight"))
    torch.save(state | {wrong: change(state[wrong])}, tmp_path / "w.pt")
    with pytest.raises(BadInputError, match=rf"w\.pt: .*{fact}"):
        load_model(name, checkpoint=tmp_path / "w.pt", device="cpu").load()


def test_large_finite_weights_are_no_nan(tmp_path):
    state = {"weight": torch.full((2, 2), 3e38), "bias": torch.zeros(2)}
    assert check_tensors(state, torch.nn.Linear(2, 2), tmp_path) is state


def test_logits_that_are_nan_are_an_error_and_no_empty_mask():
    with pytest.raises(BadInputError, match="logits that are NaN"):
        as_prediction(np.array([[[1.0, np.nan]]]), (1, 2))
    assert as_prediction(np.array([[[1.0, -np.inf]]]), (1, 2)).mask(0, 0).tolist() == [
        [True, False]
    ]


def test_embedded_weights_that_were_changed_are_not_used(tmp_path):
    embedded = MODELS["sam_small"].checkpoint
    content = bytearray(embedded.path().read_bytes())
    content[-1] ^= 1
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(
        BadInputError, match=rf"{embedded.known_sha256}.*install this package again"
    ):
        Checkpoint(tmp_path / "w.pt", embedded.known_sha256).path()


def test_a_flipped_bit_of_a_tensor_is_found_though_torch_passes_over_it(tmp_path):
    content = bytearray(WEIGHTS)
    content[len(content) // 2] ^= 1
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(BadInputError, match="damaged"):
        load_state_dict(tmp_path / "w.pt")


def test_a_tensor_that_is_marked_as_a_folder_is_refused_for_torch_would_not_read_it(tmp_path):
    content = bytearray(WEIGHTS)
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"archive/data/1"))
    content[entry + 38] |= 0x10
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(BadInputError, match="damaged"):
        load_state_dict(tmp_path / "w.pt")


def test_weights_that_would_take_too_much_memory_are_refused_before_they_are_read(
    tmp_path, monkeypatch
):
    with (
        zipfile.ZipFile(io.BytesIO(WEIGHTS)) as stored,
        zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in stored.infolist():
            packed.writestr(member.filename, stored.read(member), zipfile.ZIP_DEFLATED)
        with packed.open("archive/data/9", "w", force_zip64=True) as zeros:
            for _ in range(160):
                zeros.write(bytes(1 << 20))
    monkeypatch.setattr("medsam_utils.machine.MAX_GIB", 0.1)
    assert (tmp_path / "w.pt").stat().st_size < 1_000_000
    with pytest.raises(BadInputError, match=r"declares 0\.2 GiB.*set MEDSAM_MAX_GIB=1"):
        load_state_dict(tmp_path / "w.pt")
    monkeypatch.setenv("MEDSAM_MAX_GIB", "1")
    assert set(load_state_dict(tmp_path / "w.pt")) == set(STATE)


@pytest.mark.parametrize("record", [b"", b"\xff\xfe", b"<html>", b"0" * 63])
def test_a_damaged_record_of_a_hash_is_told(record, server, models):
    server.files["/w.pth"] = WEIGHTS
    Checkpoint(f"{server.url}/w.pth").path()
    (models / "w.pth.sha256").write_bytes(record)
    with pytest.raises(BadInputError, match=r"w\.pth\.sha256: it is damaged.*delete it"):
        Checkpoint(f"{server.url}/w.pth").path()
