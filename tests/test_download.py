"""Downloads that are cut, changed, refused or asked for twice."""

import threading
from types import SimpleNamespace

import pytest
from local_server import sha256

from medsam_utils.case import BadInputError
from medsam_utils.download import WrongHashError, download

CONTENT = bytes(range(256)) * 400  # 102,400 bytes, no two neighbouring bytes alike


def test_a_good_file_arrives_and_a_second_call_makes_no_request(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    path = tmp_path / "new" / "f.bin"
    assert download(f"{server.url}/f.bin", path, sha256(CONTENT)) == path
    assert path.read_bytes() == CONTENT
    download(f"{server.url}/f.bin", path, sha256(CONTENT))
    assert server.requests == [("/f.bin", None)]


def test_a_wrong_hash_names_both_hashes_and_leaves_nothing(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    with pytest.raises(WrongHashError) as error:
        download(f"{server.url}/f.bin", tmp_path / "f.bin", "0" * 64)
    assert sha256(CONTENT) in str(error.value)
    assert "0" * 64 in str(error.value)
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []


def test_a_cut_download_asks_only_for_the_rest(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    server.cuts = [60_000]
    path = download(f"{server.url}/f.bin", tmp_path / "f.bin", sha256(CONTENT))
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/f.bin", None), ("/f.bin", "bytes=60000-")]


def test_the_rest_is_asked_for_by_the_next_call_too(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    server.cuts = [60_000, 0, 0, 0]
    with pytest.raises(BadInputError, match=r"cut after 60000 of 102400.*60000 bytes are kept"):
        download(f"{server.url}/f.bin", tmp_path / "f.bin", sha256(CONTENT))
    assert not (tmp_path / "f.bin").exists()
    server.requests.clear()
    assert download(f"{server.url}/f.bin", tmp_path / "f.bin").read_bytes() == CONTENT
    assert server.requests == [("/f.bin", "bytes=60000-")]


def test_many_cuts_are_no_failure_as_long_as_bytes_come(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    server.cuts = [10_000] * 10
    assert download(f"{server.url}/f.bin", tmp_path / "f.bin").read_bytes() == CONTENT
    assert len(server.requests) == 11


def test_a_server_that_ignores_ranges_begins_again(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    server.cuts, server.ranges = [60_000], False
    assert download(f"{server.url}/f.bin", tmp_path / "f.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=60000-"]


def test_a_file_that_changed_between_two_calls_is_not_mixed(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    server.cuts = [60_000, 0, 0, 0]
    with pytest.raises(BadInputError):
        download(f"{server.url}/f.bin", tmp_path / "f.bin")
    server.files["/f.bin"] = other = CONTENT[::-1]
    assert download(f"{server.url}/f.bin", tmp_path / "f.bin").read_bytes() == other


def test_a_part_that_is_already_whole_is_used(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    (tmp_path / "f.bin.part").write_bytes(CONTENT)
    (tmp_path / "f.bin.part.version").write_text(f'"{sha256(CONTENT)[:8]}"')
    assert download(f"{server.url}/f.bin", tmp_path / "f.bin").read_bytes() == CONTENT
    assert server.requests == [("/f.bin", f"bytes={len(CONTENT)}-")]


def test_a_part_of_unknown_version_is_not_continued(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    (tmp_path / "f.bin.part").write_bytes(b"something else")
    assert download(f"{server.url}/f.bin", tmp_path / "f.bin").read_bytes() == CONTENT
    assert server.requests == [("/f.bin", None)]


def test_a_missing_file_is_asked_for_once_and_told_with_a_way_out(server, tmp_path):
    with pytest.raises(BadInputError, match=r"404.*put it at .*f\.bin"):
        download(f"{server.url}/f.bin", tmp_path / "f.bin")
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again_after_growing_pauses(server, tmp_path, pauses):
    server.files["/f.bin"] = CONTENT
    server.statuses = [503, 429, 500]
    assert download(f"{server.url}/f.bin", tmp_path / "f.bin").read_bytes() == CONTENT
    assert pauses == [1, 2, 4]


def test_a_full_disk_is_told_before_anything_is_written(server, tmp_path, monkeypatch):
    server.files["/f.bin"] = CONTENT
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(BadInputError, match="disk has"):
        download(f"{server.url}/f.bin", tmp_path / "f.bin")
    assert not (tmp_path / "f.bin.part").exists()


def test_two_threads_that_want_one_file_download_it_once(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    wanted = [
        threading.Thread(
            target=download, args=(f"{server.url}/f.bin", tmp_path / "f.bin", sha256(CONTENT))
        )
        for _ in range(4)
    ]
    for thread in wanted:
        thread.start()
    for thread in wanted:
        thread.join()
    assert (tmp_path / "f.bin").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_file_that_was_changed_here_is_fetched_again(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    (tmp_path / "f.bin").write_bytes(b"something else")
    assert (
        download(f"{server.url}/f.bin", tmp_path / "f.bin", sha256(CONTENT)).read_bytes() == CONTENT
    )


def test_a_file_that_was_changed_here_is_told_with_both_hashes_if_it_cannot_be_fetched(
    server, tmp_path
):
    (tmp_path / "f.bin").write_bytes(b"something else")
    with pytest.raises(BadInputError) as error:
        download(f"{server.url}/f.bin", tmp_path / "f.bin", sha256(CONTENT))
    assert sha256(CONTENT) in str(error.value) and sha256(b"something else") in str(error.value)
