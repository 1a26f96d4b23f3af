"""A built book as one file, and which of its numbers moved."""

import json
import zipfile

import pandas as pd
import pytest

from medsam_utils.book import archive
from medsam_utils.book.archive import keep, moved, numbers, read_numbers
from medsam_utils.book.pages.record import downloads
from medsam_utils.case import BadInputError
from tests.test_statistics import rows_of


def book(root, ious: dict[str, dict[str, list[float]]]):
    """A built book with a page for each name, which holds its rows as pages do."""
    pages = root / archive.HTML / "book/pages"
    pages.mkdir(parents=True, exist_ok=True)
    (root / archive.HTML / "index.html").write_text("<p>book</p>")
    for name, cases in ious.items():
        rows = rows_of(cases).assign(protocol="paper")
        (pages / f"{name}.html").write_text(downloads(name, rows).html)
    for name in ("CITATION.cff", "LICENSE"):
        (root / name).write_text(name)
    return root


@pytest.fixture
def root(tmp_path):
    return book(tmp_path / "a", {"one": {"a": [0.5, 0.7], "b": [0.7, 0.9]}, "two": {"a": [0.25]}})


def test_the_numbers_of_a_book_are_the_means_of_the_rows_in_its_pages(root):
    table = numbers(root / archive.HTML)
    assert table[["page", "click", "iou", "objects"]].values.tolist() == [
        ["one", 1, pytest.approx(0.6), 2],
        ["one", 2, pytest.approx(0.8), 2],
        ["two", 1, 0.25, 1],
    ]


def test_a_kept_book_has_its_pages_its_numbers_and_the_hash_of_each_file(root, tmp_path):
    keep(root, tmp_path / "book.zip")
    with zipfile.ZipFile(tmp_path / "book.zip") as kept:
        made = json.loads(kept.read(archive.MADE))
        assert set(kept.namelist()) == {archive.MADE, *made["sha256"]}
        assert {"html/index.html", "html/book/pages/one.html", "CITATION.cff"} <= set(
            made["sha256"]
        )
    table, _ = read_numbers(tmp_path / "book.zip")
    pd.testing.assert_frame_equal(table, numbers(root / archive.HTML), check_dtype=False)


def test_what_moved_is_gone_or_is_new_is_told(root, tmp_path, capsys):
    keep(root, tmp_path / "book.zip")
    later = book(tmp_path / "b", {"one": {"a": [0.5, 0.7], "b": [0.7, 0.95]}, "three": {"a": [1]}})
    found = moved(read_numbers(tmp_path / "book.zip")[0], numbers(later / archive.HTML))
    assert found[["page", "click", "what"]].values.tolist() == [
        ["one", 2, "moved"],
        ["two", 1, "gone"],
        ["three", 1, "new"],
    ]
    assert found["moved"].iloc[0] == pytest.approx(0.025)
    assert archive.main(["moved", str(tmp_path / "book.zip"), "--root", str(later)]) == 0
    assert "1 moved, 1 gone, 1 new." in capsys.readouterr().out


def test_what_rounds_to_the_same_three_digits_has_not_moved(root):
    table = numbers(root / archive.HTML)
    assert moved(table, table.assign(iou=table["iou"] + 0.0004)).empty
    assert len(moved(table, table.assign(iou=table["iou"] - 0.0006))) == 3


def test_a_number_that_became_undefined_has_moved(root):
    table = numbers(root / archive.HTML)
    assert len(moved(table, table.assign(iou=[float("nan"), *table["iou"][1:]]))) == 1


def test_changed_numbers_and_other_files_are_refused(root, tmp_path):
    keep(root, tmp_path / "book.zip")
    with zipfile.ZipFile(tmp_path / "book.zip") as kept:
        contents = {name: kept.read(name) for name in kept.namelist()}
    with zipfile.ZipFile(tmp_path / "book.zip", "w") as changed:
        for name, content in contents.items():
            changed.writestr(name, content.replace(b"0.25", b"0.35"))
    with pytest.raises(BadInputError, match="was changed"):
        read_numbers(tmp_path / "book.zip")
    (tmp_path / "book.zip").write_bytes(b"book")
    with pytest.raises(BadInputError, match="no kept book"):
        read_numbers(tmp_path / "book.zip")
    with pytest.raises(BadInputError, match="no such file"):
        read_numbers(tmp_path / "nothing.zip")


def test_without_a_built_book_it_says_how_to_get_one(tmp_path, capsys):
    assert archive.main(["keep", "--root", str(tmp_path)]) == 2
    assert "run `make book` first" in capsys.readouterr().err
