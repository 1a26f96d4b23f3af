"""Files are written whole or not at all."""

import pytest

from medsam_utils.files import atomic_path


def test_a_written_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as unfinished:
        unfinished.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half" and [*target.parent.iterdir()] == [target]


def test_after_an_error_the_old_file_stays_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="cut"), atomic_path(target) as unfinished:
        unfinished.write_text("ne")
        raise ValueError("cut")
    assert target.read_text() == "old" and [*tmp_path.iterdir()] == [target]
