"""pages/speed.py: measured tables as they are, and what is missing said."""

import pandas as pd
import pytest

from medsam_utils.book.pages import speed
from medsam_utils.case import BadInputError


@pytest.fixture
def folder(tmp_path):
    table = pd.DataFrame(
        {"image": ["8 x 8", "8 x 8", "9 x 9"], "objects": [1, 2, 1]}
        | {"released / ours": [2.0, 3.0, 20.0], "ours / bare": [0.5, 1.0, 1.25]}
    )
    table.to_csv(tmp_path / "loop_by_size.csv", index=False)
    (tmp_path / "loop_by_size.md").write_text(
        "Nine clicks. Measured 2020-02-02 on a <b>.\n\n| ... |\n"
    )
    return tmp_path


def test_the_answer_names_the_ends_of_the_range(folder):
    by_size = speed.read(folder, "loop_by_size")
    text = speed.answer(by_size).html
    assert "<strong>2.0</strong> (8 x 8 pixels, 1 object)" in text
    assert "<strong>20</strong> (9 x 9 pixels, 1 object)" in text
    assert "<strong>0.50</strong> to <strong>1.25</strong>" in text
    ratio = speed.ratio(by_size, "ours / bare", "Times the model")
    assert "a line per number of objects. Times the model, by image size: 0.5 to 1.25" in ratio.html
    assert [list(line.get_ydata()) for line in ratio.drawing.axes[0].lines] == [[0.5, 1.25], [1.0]]


def test_a_table_says_when_and_on_what_it_was_measured_and_a_missing_one_how_to_get_it(folder):
    text = speed.tables(folder, "loop_by_size", "workers").html
    assert "<strong>Nine clicks.</strong> Measured 2020-02-02 on a &lt;b&gt;." in text
    assert "<code>workers</code> was not measured" in text and "make bench" in text


def test_without_any_measurement_the_remedy_is_named(tmp_path):
    with pytest.raises(BadInputError, match="make bench"):
        speed.read(tmp_path, "loop_by_size")
