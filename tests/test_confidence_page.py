"""What the page on size and confidence says, against a model whose masks and guesses are known."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from medsam_utils.book.pages import confidence
from medsam_utils.confidence import calibration, calibration_error, mask_choices
from medsam_utils.statistics import by_size
from tests.test_statistics import rows_of


@pytest.fixture
def rows():
    """Six patients: a model says 0.9 and has 0.5, its second candidate 0.7; another model says
    nothing."""
    sure = rows_of({f"{patient}1": [0.5, 0.8] for patient in "abcdef"}, model="sure")
    first = sure["click"] == 1
    sure = sure.assign(
        **{
            "predicted_iou": 0.9,
            "predicted_iou_0": 0.9,
            "predicted_iou_1": np.where(first, 0.2, np.nan),
        },
        **{"iou_0": sure["iou"], "iou_1": np.where(first, 0.7, np.nan)},
    )
    silent = rows_of({f"{patient}1": [0.1, 0.2] for patient in "abcdef"}, model="silent")
    silent = silent.assign(iou_0=silent["iou"], predicted_iou=np.nan, predicted_iou_0=np.nan)
    both = pd.concat([sure, silent], ignore_index=True)
    large = both["case_id"] == "f1"
    return both.assign(dataset="d", row=5, area_share=np.where(large, 0.5, 0.001), components=1)


def answer(rows: pd.DataFrame) -> str:
    return confidence.answer(rows, calibration_error(rows)).html


def choices(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the models with several masks."""
    return mask_choices(rows[rows["model"] == "sure"])


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<.*?>", "", html))


def test_the_answer_says_no_with_the_error_and_the_clicks_by_size(rows):
    text = plain(answer(rows))
    assert "No: the IoU that sure predicts is off by 0.25 on a single mask" in text
    assert "on average too high by 0.25" in text and "12 masks" in text
    assert (
        "Small objects, up to 0.3 % of the image, take sure 2.0 clicks to an IoU of 0.80 (0% of 5 "
        "never get there within 2), those above 10 % 2.0 (0% of 1"
    ) in text
    silent = plain(answer(rows[rows["model"] == "silent"]))
    assert "predicts" not in silent and "take silent 2.0 clicks" in silent


def test_a_model_that_predicts_well_knows(rows):
    sure = rows[rows["model"] == "sure"].assign(predicted_iou=lambda table: table["iou"] + 0.01)
    assert plain(answer(sure)).startswith("Yes: the IoU that sure predicts is off by 0.01")


def test_every_size_has_a_line_and_its_number_of_objects(rows):
    shown = confidence.by_object_size(confidence.over_tasks(by_size(rows), "size")).html
    captions = BeautifulSoup(shown, "html.parser")("figcaption")
    assert len(captions) == 2
    assert "up to 0.3 % of the image (5 objects) 0.50 to 0.80" in captions[0].text
    assert "above 10 % of the image (1 object) 0.10 to 0.20" in captions[1].text


def test_calibration_and_choice_show_the_models_that_have_them(rows):
    reliability = confidence.reliability(calibration(rows), calibration_error(rows))
    curves = confidence.choice_curves(confidence.over_tasks(choices(rows), "choice"))
    for shown in (reliability, curves):
        (caption,) = BeautifulSoup(shown.html, "html.parser")("figcaption")
        assert caption.text.startswith("sure")
    assert "oracle 0.70 to 0.80" in caption.text and "first 0.50 to 0.80" in caption.text
    silent = rows[rows["model"] == "silent"]
    none = mask_choices(silent).iloc[:0]
    reliability = confidence.reliability(calibration(silent), calibration_error(silent))
    assert "No model" in reliability.html
    assert "No model" in confidence.choice_curves(confidence.over_tasks(none, "choice")).html
    assert confidence.regrets(none).empty


def test_the_regret_stands_with_its_interval(rows):
    table = choices(rows)
    (line,) = confidence.regrets(table[table["click"] == 1]).to_dict("records")
    assert line["model"] == "sure"
    assert [line["most confident"], line["first"], line["oracle"]] == pytest.approx([0.5, 0.5, 0.7])
    assert line["regret"] == "0.200 (0.200 to 0.200)"
