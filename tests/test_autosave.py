"""What is prompted and accepted is kept after every step, and there again in a new kernel."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image
from test_explorer import write_folder

from medsam_utils import load_images
from medsam_utils.book.explorer.live import Explorer


@pytest.fixture
def images(tmp_path):
    root = write_folder(tmp_path / "own", ["a", "b"])
    return load_images(root / "images")


@pytest.fixture
def begun(images, tmp_path):
    """An explorer that was left: two objects were prompted, the first was accepted."""
    explorer = Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    explorer.state = {"case": "a.png", "class": "cyst", "clicks": [[12, 15, 1]]}
    explorer.accept()
    explorer.state = {"case": "a.png", "class": "cyst", "object": 2, "clicks": [[40, 30, 1]]}
    return explorer


def kept(tmp_path):
    return sorted(path.name for path in (tmp_path / "kept").glob("*"))


def test_a_new_explorer_of_the_same_images_goes_on_where_the_last_one_was(images, begun, tmp_path):
    again = Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    assert again.session == begun.session and again.answers == begun.answers
    assert again.notice.startswith("recovered: 2 objects, 1 accepted") and again.files["recovered"]
    again.undo()
    assert again.state["clicks"] == []


def test_nothing_is_kept_before_something_is_prompted_or_without_being_asked(images, tmp_path):
    Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    Explorer(images, ["grabcut"], state={"clicks": [[12, 15, 1]]})
    assert kept(tmp_path) == [] and sorted(os.listdir(tmp_path)) == ["own"]


def test_what_was_taken_back_stays_taken_back(images, begun, tmp_path):
    begun.undo()
    begun.withdraw(images.title, images.title, "a.png", "cyst", 1)
    begun.state = {"case": "a.png", "class": "cyst"}
    begun.undo()
    again = Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    assert again.accepted == [] and again.session["objects"] == []


def test_a_state_that_is_asked_for_is_shown_and_the_rest_recovered(images, begun, tmp_path):
    again = Explorer(images, ["grabcut"], state={"case": "b.png"}, autosave=tmp_path / "kept")
    assert again.state["case"] == "b.png" and len(again.accepted) == 1


def test_other_images_have_a_session_of_their_own(begun, tmp_path):
    other = load_images(write_folder(tmp_path / "other", ["a"]) / "images")
    explorer = Explorer(other, ["grabcut"], autosave=tmp_path / "kept")
    assert explorer.accepted == [] and not explorer.files["recovered"]
    explorer.state = {**explorer.state, "clicks": [[12, 15, 1]]}
    assert len(kept(tmp_path)) == 2


def test_to_begin_anew_puts_what_was_recovered_aside(images, begun, tmp_path):
    (name,) = kept(tmp_path)
    before = (tmp_path / "kept" / name).read_bytes()
    again = Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    again._receive(again, {"begin": []}, [])
    assert again.accepted == [] == again.state["clicks"] and not again.files["recovered"]
    aside = tmp_path / "kept" / name.replace(".json", ".1.json")
    assert aside.read_bytes() == before and str(aside) in again.notice
    again.resume(aside)
    assert len(again.accepted) == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"version": 99}'])
def test_a_damaged_file_is_put_aside_and_told(images, begun, tmp_path, content):
    (name,) = kept(tmp_path)
    (tmp_path / "kept" / name).write_bytes(content)
    again = Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    assert "no session to resume" in again.notice and "put aside" in again.notice
    again.state = {**again.state, "clicks": [[12, 15, 1]]}
    aside = name.replace(".json", ".1.json")
    assert kept(tmp_path) == sorted([name, aside])
    assert (tmp_path / "kept" / aside).read_bytes() == content


def test_a_session_of_cases_that_are_gone_is_put_aside_and_told(images, begun, tmp_path):
    (images.root / "a.png").rename(images.root / "c.png")
    again = Explorer(load_images(images.root), ["grabcut"], autosave=tmp_path / "kept")
    assert "'a.png' of" in again.notice and len(kept(tmp_path)) == 1 and again.accepted == []


def test_files_that_were_saved_before_are_renewed_after_recovery(images, begun, tmp_path):
    begun.save(tmp_path / "out", ["png", "folder"])
    begun.state = {**begun.state, "clicks": [[40, 30, 1], [2, 2, 0]]}
    again = Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    again.withdraw(images.title, images.title, "a.png", "cyst", 1)
    again.accept()
    again.save(tmp_path / "out", ["png", "folder"])
    mask = np.asarray(Image.open(tmp_path / "out/masks/a.png"))
    assert mask[40, 30] and not mask[12, 15]


def test_a_folder_that_cannot_be_written_does_not_stop_the_clicks(images, tmp_path):
    (tmp_path / "kept").write_text("a file where the folder should be")
    explorer = Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    explorer.state = {**explorer.state, "clicks": [[12, 15, 1]]}
    assert explorer.answers[0]["mask"] and "not kept after this step" in explorer.notice


def test_what_is_kept_is_plain_json_that_resume_reads(images, begun, tmp_path):
    (name,) = kept(tmp_path)
    assert json.loads((tmp_path / "kept" / name).read_text("utf-8"))["version"] == 2
    again = Explorer(images, ["grabcut"])
    again.resume(tmp_path / "kept" / name)
    assert again.session == begun.session


def test_of_two_explorers_of_the_same_images_neither_writes_over_the_other_s(
    images, begun, tmp_path
):
    (name,) = kept(tmp_path)
    other = Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    begun.state = {**begun.state, "clicks": [[40, 30, 1], [2, 2, 0]]}
    other.accept()
    assert other.notice.startswith("another explorer has written")
    assert kept(tmp_path) == [name.replace(".json", "-2.json"), name]
    begun.undo()
    assert len(kept(tmp_path)) == 2 and len(begun.accepted) == 1 and len(other.accepted) == 2
    sessions = [Explorer(images, ["grabcut"]) for _ in kept(tmp_path)]
    for one, path in zip(sessions, kept(tmp_path), strict=True):
        one.resume(tmp_path / "kept" / path)
    assert [one.session for one in sessions] == [other.session, begun.session]


def test_two_explorers_that_begin_at_once_keep_a_session_each(images, tmp_path):
    both = [Explorer(images, ["grabcut"], autosave=tmp_path / "kept") for _ in range(2)]
    for number, one in enumerate(both):
        one.state = {"case": "a.png", "class": "cyst", "clicks": [[12, 15 + number, 1]]}
    assert len(kept(tmp_path)) == 2


def test_the_session_that_was_kept_last_is_recovered_and_the_other_told(images, begun, tmp_path):
    (name,) = kept(tmp_path)
    other = Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    begun.state = {**begun.state, "clicks": [[40, 30, 1], [2, 2, 0]]}
    other.accept()
    os.utime(tmp_path / "kept" / name, (0, 0))
    again = Explorer(images, ["grabcut"], autosave=tmp_path / "kept")
    assert len(again.accepted) == 2 and f"another explorer kept {tmp_path / 'kept' / name}" in (
        again.notice
    )
