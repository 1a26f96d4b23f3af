"""Stored embeddings: read back bit by bit, bounded, safe with several writers."""

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context

import numpy as np
import pytest

from medsam_utils import load_model
from medsam_utils.case import BadInputError
from medsam_utils.files import write_sealed
from medsam_utils.models import model_options
from medsam_utils.models.embeddings import EmbeddingStore


def refuse():
    raise AssertionError("it is stored already")


def test_a_stored_array_is_read_and_not_computed_again(tmp_path):
    store = EmbeddingStore(tmp_path)
    values = np.random.default_rng(0).normal(size=(1, 4, 3, 3)).astype(np.float32)
    first = store.get("ab12", lambda: values)
    assert first.dtype == np.float16 and (first == values.astype(np.float16)).all()
    np.testing.assert_array_equal(EmbeddingStore(tmp_path).get("ab12", refuse), first)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00", b"<html>no array</html>"])
def test_a_damaged_array_is_computed_again(tmp_path, damage):
    store = EmbeddingStore(tmp_path)
    store.get("ab12", lambda: np.ones(5))
    (path,) = tmp_path.glob("*/*.sealed")
    path.write_bytes(damage)
    assert store.get("ab12", lambda: np.full(5, 2)).tolist() == [2] * 5
    assert store.get("ab12", refuse).tolist() == [2] * 5


def test_a_flipped_bit_is_noticed(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.get("ab12", lambda: np.ones(5))
    (path,) = tmp_path.glob("*/*.sealed")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert store.get("ab12", lambda: np.ones(5)).tolist() == [1] * 5


def test_a_pickle_is_never_opened(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.get("ab12", lambda: np.ones(5))
    (path,) = tmp_path.glob("*/*.sealed")
    hostile = BytesIO()
    np.save(hostile, np.array([print], dtype=object), allow_pickle=True)
    write_sealed(path, hostile.getvalue())
    assert store.get("ab12", lambda: np.zeros(2)).tolist() == [0, 0]


def test_the_least_recently_used_are_deleted_first(tmp_path):
    store = EmbeddingStore(tmp_path, limit=10_000)  # nine arrays of 1,128 bytes are too many
    for i in range(8):
        store.get(f"{i:02}", lambda: np.zeros(500))
        os.utime(tmp_path / f"{i:02}" / f"{i:02}.sealed", (i, i))
    store.get("00", refuse)  # used just now
    store.get("08", lambda: np.zeros(500))
    kept = sorted(path.stem for path in tmp_path.glob("*/*.sealed"))
    assert kept == ["00", "03", "04", "05", "06", "07", "08"]


def fill(folder, worker):
    store = EmbeddingStore(folder, limit=200_000)
    for i in range(100):
        value = store.get(f"{i % 25:02}", lambda i=i: np.full(4_000, i % 25))
        assert value[0] == i % 25 and len(value) == 4_000
    return worker


def test_several_writers_share_a_folder(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert sorted(pool.map(fill, [tmp_path] * 4, range(4))) == [0, 1, 2, 3]
    files = list(tmp_path.glob("*/*"))
    assert {path.suffix for path in files} == {".sealed"}
    assert sum(path.stat().st_size for path in files) <= 200_000 * 1.02 + 8_193


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def encodings(model, monkeypatch):
    """Count how often the model's network encodes from here on."""
    calls = []
    compute = model._features
    monkeypatch.setattr(
        model, "_features", lambda *images: calls.extend(images) or compute(*images)
    )
    return calls


def test_sam_encodes_an_image_once_for_all_runs(tmp_path, image, monkeypatch):
    first = load_model("sam_small", device="cpu", embeddings=tmp_path)
    calls = encodings(first, monkeypatch)
    computed, stored = first.encode(image), first.encode(image)
    again = load_model("sam_small", device="cpu", embeddings=tmp_path).encode(image)
    assert len(calls) == 1
    for embedding in (stored, again):
        assert (embedding.resized, embedding.original) == ((192, 256), (90, 120))
        np.testing.assert_array_equal(embedding.features, computed.features)
    plain = load_model("sam_small", device="cpu").encode(image)
    np.testing.assert_allclose(computed.features, plain.features, rtol=1e-6, atol=1e-7)


def test_another_image_shape_dtype_or_weights_has_an_embedding_of_its_own(
    tmp_path, image, monkeypatch
):
    model = load_model("sam_small", device="cpu", embeddings=tmp_path)
    calls = encodings(model, monkeypatch)
    other = image.copy()
    other[0, 0, 0] ^= 1
    for one in (image, other, image.reshape(120, 90, 3)):
        model.encode(one)
    assert len(calls) == 3
    rounded = load_model("sam_small", device="cpu", dtype="bfloat16", embeddings=tmp_path)
    assert rounded._key(image) != model._key(image)
    monkeypatch.setattr(rounded, "dtype", model.dtype)
    assert rounded._key(image) == model._key(image)
    monkeypatch.setattr(rounded, "weights", "0" * 64)
    assert rounded._key(image) != model._key(image)


def test_rows_of_stored_embeddings_say_so_and_workers_share_the_folder(tmp_path):
    stored = load_model("sam_small", device="cpu", embeddings=tmp_path)
    assert stored.settings()["embedding"] == "two float16"
    assert load_model("sam_small", device="cpu").settings()["embedding"] == "float32"
    worker = pickle.loads(pickle.dumps(stored))
    assert worker.embeddings.folder == tmp_path and worker.settings() == stored.settings()


def test_the_exact_mode_keeps_none(tmp_path, image):
    load_model("sam_small", device="cpu", exact=True, embeddings=tmp_path).encode(image)
    assert not any(tmp_path.iterdir())


def test_an_option_that_a_model_does_not_have_is_refused(tmp_path):
    for name in ("grabcut", "ritm_small"):
        assert model_options(name, embeddings=tmp_path) == {}
        with pytest.raises(BadInputError, match=f"{name} has no option embeddings: leave it out"):
            load_model(name, embeddings=tmp_path)
