"""Weights at several addresses: one after the other, one hash for all of them."""

import io

import pytest
import torch
from local_server import sha256

from medsam_utils import MODELS, BadInputError
from medsam_utils.models.mirrored import MirroredCheckpoint


def weights(value: float) -> bytes:
    buffer = io.BytesIO()
    torch.save({"layer.weight": torch.full((3,), value)}, buffer)
    return buffer.getvalue()


@pytest.fixture
def checkpoint(server, monkeypatch, tmp_path):
    """A file w.pth at /authors and at /mirror of the server, without a published hash."""
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path))
    return lambda: MirroredCheckpoint(
        f"{server.url}/authors/w.pth", mirrors=(f"{server.url}/mirror/w.pth",)
    )


def test_a_dead_address_leaves_it_to_the_next_and_the_hash_is_recorded(
    server, checkpoint, tmp_path
):
    server.files["/mirror/w.pth"] = weights(1)
    assert checkpoint().path().read_bytes() == weights(1)
    assert [path for path, _ in server.requests] == ["/authors/w.pth", "/mirror/w.pth"]
    record = tmp_path / "models" / "w.pth.sha256"
    assert record.read_text() == f"{sha256(weights(1))}  w.pth\n"
    assert checkpoint().sha256 == sha256(weights(1)) == checkpoint().expected_sha256
    assert len(server.requests) == 2


def test_an_address_that_answers_is_enough(server, checkpoint):
    server.files |= {"/authors/w.pth": weights(1), "/mirror/w.pth": weights(2)}
    assert checkpoint().path().read_bytes() == weights(1)
    assert len(server.requests) == 1


def test_another_file_than_the_recorded_one_is_taken_from_no_address(server, checkpoint):
    server.files["/authors/w.pth"] = weights(1)
    checkpoint().path().unlink()
    server.files |= {"/authors/w.pth": weights(2), "/mirror/w.pth": weights(3)}
    with pytest.raises(BadInputError, match=r"authors/w.pth: another.*then .*mirror/w.pth: anoth"):
        checkpoint().path()
    server.files["/mirror/w.pth"] = weights(1)  # the first one is still gone
    assert checkpoint().path().read_bytes() == weights(1)


def test_without_any_address_the_message_names_all_and_where_to_put_the_file(server, checkpoint):
    with pytest.raises(BadInputError, match=r"authors/w.pth.* put it at .*then .*mirror/w.pth"):
        checkpoint().path()


def test_every_released_ritm_has_two_addresses_of_one_file():
    for name in ("ritm_h18s", "ritm_h18", "ritm_h32"):
        checkpoint = MODELS[name].checkpoint
        files = {str(a).rsplit("/", 1)[1] for a in (checkpoint.location, *checkpoint.mirrors)}
        assert len(checkpoint.mirrors) == 1 and len(files) == 1
