"""Stored embeddings: read back bit by bit, bounded, safe with several writers."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

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
    (path,) = tmp_path.glob("*/*.npy")
    path.write_bytes(damage)
    assert store.get("ab12", lambda: np.full(5, 2)).tolist() == [2] * 5
    assert store.get("ab12", refuse).tolist() == [2] * 5


def test_a_pickle_is_never_opened(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.get("ab12", lambda: np.ones(5))
    (path,) = tmp_path.glob("*/*.npy")
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    assert store.get("ab12", lambda: np.zeros(2)).tolist() == [0, 0]


def test_the_least_recently_used_are_deleted_first(tmp_path):
    store = EmbeddingStore(tmp_path, limit=10_000)  # nine arrays of 1,128 bytes are too many
    for i in range(8):
        store.get(f"{i:02}", lambda: np.zeros(500))
        os.utime(tmp_path / f"{i:02}" / f"{i:02}.npy", (i, i))
    store.get("00", refuse)  # used just now
    store.get("08", lambda: np.zeros(500))
    kept = sorted(path.stem for path in tmp_path.glob("*/*.npy"))
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
    assert {path.suffix for path in files} == {".npy"}
    assert sum(path.stat().st_size for path in files) <= 200_000 * 1.02 + 8_128
