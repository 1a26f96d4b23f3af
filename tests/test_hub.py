"""Repositories of models: fetched once, gated, unknown, out of reach; tried on a local server."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from medsam_utils import MODELS, BadInputError, load_model
from medsam_utils.models.hub import HubCheckpoint

constants = pytest.importorskip("huggingface_hub.constants", reason='needs "medsam-utils[models]"')

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "sam2"}',
    "preprocessor_config.json": b"{}",
    "model.safetensors": b"tensors",
    "pytorch_model.bin": b"the same as a pickle",
    "README.md": b"read me",
}
BY_HAND = r"put its files config.json, preprocessor_config.json .* and give that as checkpoint="


class Hub:
    """What a hub answers: a tree of files, or a refusal with a code."""

    def __init__(self) -> None:
        self.files, self.status, self.code, self.asked = dict(FILES), 200, "", []

    def handle(self, request) -> None:
        path = urlsplit(request.path).path
        self.asked.append(path)
        headers, body = {"X-Repo-Commit": COMMIT, "Connection": "close"}, b""
        if self.status != 200:
            headers["X-Error-Code"] = self.code
        elif "/tree/" in path:
            body = json.dumps(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": name}
                    for name, content in self.files.items()
                ]
            ).encode()
        elif path.startswith("/api/models/"):
            body = json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": []}).encode()
        else:
            body = self.files[Path(path).name]
            headers["ETag"] = f'"{Path(path).name}"'
        request.send_response(self.status)
        headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    """A hub on this machine, and a cache of its own."""
    hub = Hub()
    server.handle = hub.handle
    address = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "own"))
    return hub


def test_a_repository_is_fetched_with_what_is_read_of_it_and_its_commit_is_kept(hub):
    checkpoint = HubCheckpoint.given("owner/name")
    names = ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert [file.name for file in checkpoint.files()] == names
    assert sorted(file.name for file in checkpoint.path().iterdir()) == names
    assert checkpoint.commit == COMMIT and len(checkpoint.sha256) == 64
    assert not any("README" in path or ".bin" in path for path in hub.asked)


def test_the_hash_changes_with_the_content_of_any_file(hub, tmp_path):
    folder = Path(tmp_path / "copy")
    folder.mkdir()
    hashes = {HubCheckpoint.given("owner/name").sha256}
    for changed in (None, "config.json", "model.safetensors"):
        for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
            (folder / name).write_bytes(FILES[name] + b" " * (name == changed))
        hashes.add(HubCheckpoint(folder).sha256)
    assert len(hashes) == 3  # the unchanged copy has the repository's


def test_an_older_format_is_taken_where_there_is_no_other(hub):
    del hub.files["model.safetensors"]
    names = ["config.json", "preprocessor_config.json", "pytorch_model.bin"]
    assert [file.name for file in HubCheckpoint.given("owner/name").files()] == names


def test_what_was_fetched_is_read_without_a_network(hub):
    first = HubCheckpoint.given("owner/name")
    expected = first.sha256
    hub.status = 503
    assert HubCheckpoint.given("owner/name").sha256 == expected


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "GatedRepo", "owner/name is given only to who has agreed to its terms: agree at"),
        (401, "GatedRepo", "owner/name is given only to who has agreed to its terms: agree at"),
        (404, "RepoNotFound", "owner/name is no repository of huggingface.co that can be read"),
        (404, "RevisionNotFound", "owner/name could not be fetched"),
        (503, "", "owner/name could not be fetched"),
    ],
)
def test_a_refusal_says_why_and_which_files_to_put_where(hub, status, code, words):
    hub.status, hub.code = status, code
    with pytest.raises(BadInputError, match=f"{words}.*{BY_HAND}"):
        HubCheckpoint.given("owner/name").path()


def test_a_hub_out_of_reach_says_which_files_to_put_where(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BadInputError, match=f"could not be fetched.*{BY_HAND}"):
        load_model("sam3_tracker")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInputError, match=f"could not be fetched.*{BY_HAND}"):
        HubCheckpoint.given("owner/other").path()


def test_files_that_a_person_put_where_the_message_says_are_read_instead(hub, tmp_path):
    folder = tmp_path / "own" / "models" / "owner" / "name"
    folder.mkdir(parents=True)
    with pytest.raises(BadInputError, match=r"models/owner/name has no config\.json"):
        HubCheckpoint.given("owner/name").path()
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (folder / name).write_bytes(FILES[name])
    checkpoint = HubCheckpoint.given("owner/name")
    assert checkpoint.path() == folder and checkpoint.commit == "" and not hub.asked


def test_a_repository_without_weights_is_refused(hub):
    del hub.files["model.safetensors"], hub.files["pytorch_model.bin"]
    with pytest.raises(BadInputError, match=r"has no model\.safetensors"):
        HubCheckpoint.given("owner/name").path()


def test_what_is_given_is_a_folder_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert HubCheckpoint.given("owner/name").location == "owner/name"
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert HubCheckpoint.given("owner/name").location == Path("owner/name")
    assert HubCheckpoint.given("/data/sam3").location == Path("/data/sam3")


def test_no_entry_needs_a_network_to_be_listed():
    assert all(entry.title for entry in MODELS.values() if entry.from_hub)
