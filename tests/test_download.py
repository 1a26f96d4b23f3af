"""Downloads that are cut, changed, refused or asked for twice."""

import threading
from types import SimpleNamespace

import pytest
from local_server import sha256

from medsam_utils.case import BadInputError
from medsam_utils.download import RESERVE, WrongHashError, download

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


def test_an_endless_answer_ends_at_the_known_size_and_is_not_kept(server, tmp_path):
    server.files["/f.bin"], server.chunked = CONTENT * 20, True
    with pytest.raises(BadInputError, match=f"goes on after {len(CONTENT)} bytes"):
        download(f"{server.url}/f.bin", tmp_path / "f.bin", sha256(CONTENT), len(CONTENT))
    assert not list(tmp_path.glob("*.bin*[!k]"))


def test_an_endless_answer_of_unknown_size_leaves_room_on_the_disk(server, tmp_path, monkeypatch):
    server.files["/f.bin"], server.chunked = CONTENT * 20, True
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=RESERVE + 500_000))
    with pytest.raises(BadInputError, match="goes on after 500000 bytes"):
        download(f"{server.url}/f.bin", tmp_path / "f.bin")
    assert not (tmp_path / "f.bin.part").exists()


def test_a_file_of_another_size_is_refused_at_once(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    with pytest.raises(BadInputError, match="has 102400 bytes, not 7"):
        download(f"{server.url}/f.bin", tmp_path / "f.bin", sha256(CONTENT), 7)
    assert len(server.requests) == 1


def test_a_server_that_answers_at_another_place_is_given_up(server, tmp_path):
    server.files["/f.bin"], server.shift, server.cuts = CONTENT, 5, [60_000] * 20
    with pytest.raises(BadInputError, match="4 attempts brought nothing new"):
        download(f"{server.url}/f.bin", tmp_path / "f.bin", sha256(CONTENT))
    assert len(server.requests) < 10


@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_overlooks_a_change_between_ranges_gives_no_mixture(server, tmp_path, known):
    server.files["/f.bin"], server.cuts = CONTENT[::-1], [60_000, 0, 0, 0]
    with pytest.raises(BadInputError):
        download(f"{server.url}/f.bin", tmp_path / "f.bin")
    server.files["/f.bin"], server.overlooks = CONTENT, True
    path = download(f"{server.url}/f.bin", tmp_path / "f.bin", sha256(CONTENT) if known else None)
    assert path.read_bytes() == CONTENT


def test_without_a_hash_a_part_known_by_its_date_alone_is_not_continued(server, tmp_path):
    server.files["/f.bin"] = CONTENT
    (tmp_path / "f.bin.part").write_bytes(CONTENT[:9])
    (tmp_path / "f.bin.part.version").write_text("Sat, 28 Nov 2026 10:00:00 GMT")
    download(f"{server.url}/f.bin", tmp_path / "f.bin")
    assert server.requests == [("/f.bin", None)]


@pytest.mark.parametrize("version", ["", "\0\n", '"a"\nHost: b', "\u20ac", '"' + "x" * 10**5 + '"'])
def test_a_damaged_note_of_a_version_begins_again(server, tmp_path, version):
    server.files["/f.bin"] = CONTENT
    (tmp_path / "f.bin.part").write_bytes(CONTENT[:9])
    (tmp_path / "f.bin.part.version").write_text(version)
    assert download(f"{server.url}/f.bin", tmp_path / "f.bin").read_bytes() == CONTENT
    assert server.requests == [("/f.bin", None)]


def test_nothing_is_no_file(server, tmp_path):
    server.files["/f.bin"] = b""
    with pytest.raises(BadInputError, match="answer is empty"):
        download(f"{server.url}/f.bin", tmp_path / "f.bin")
    (tmp_path / "f.bin").touch()
    server.files["/f.bin"] = CONTENT
    assert download(f"{server.url}/f.bin", tmp_path / "f.bin").read_bytes() == CONTENT


def test_an_answer_without_length_is_taken_only_where_a_hash_tells_that_it_is_whole(
    server, tmp_path
):
    server.files["/f.bin"], server.tells_length = CONTENT, False
    with pytest.raises(BadInputError, match="does not say how long"):
        download(f"{server.url}/f.bin", tmp_path / "f.bin")
    path = download(f"{server.url}/f.bin", tmp_path / "f.bin", sha256(CONTENT))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [202, 204, 304])
def test_an_answer_that_is_no_file_is_told_with_its_number(server, tmp_path, status):
    server.files["/f.bin"], server.statuses = CONTENT, [status]
    with pytest.raises(BadInputError, match=f"answers {status}"):
        download(f"{server.url}/f.bin", tmp_path / "f.bin")


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
