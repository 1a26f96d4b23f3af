"""The page of claims: its table, its figure, and who stands for the study's methods."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pandas as pd
import pytest

from medsam_utils import BadInputError, load_model
from medsam_utils.book.claims import judge, load_claims, measured_table, published_table
from medsam_utils.book.pages import claims
from medsam_utils.book.runs import Runs
from tests.test_claims import METHODS, rows
from tests.test_page import read_table

CLAIMS, GROUPS = load_claims()


@pytest.fixture(scope="module")
def verdicts() -> pd.DataFrame:
    pair = rows([0.7, 0.75], [0.3, 0.7])
    measured = judge(CLAIMS, measured_table(pair, METHODS), GROUPS, resamples=999)
    study = judge(CLAIMS, published_table(), GROUPS, resamples=999)
    return claims.levels(study, measured, pair)


def test_published_and_measured_verdicts_have_tables_of_their_own(verdicts):
    shown = claims.table(verdicts).html
    parts = re.split("<p>", shown)[1:]
    assert [len(read_table(part)) for part in parts] == verdicts.groupby(
        "level", sort=False
    ).size().tolist()
    assert "published" in parts[0] and "measured on your data" in parts[1]


def test_a_line_of_the_table_has_sentence_effect_and_verdict(verdicts):
    lines = read_table(claims.table(verdicts).html.split("<p>")[1]).set_index("n")
    line = lines.loc["9"]
    effect = verdicts[verdicts["n"] == 9].iloc[0]
    assert line["found"].startswith(f"{effect['effect']:.2f} ({effect['low']:.2f} to")
    assert line["verdict"] == effect["verdict"] and line["tested"].endswith(": above 0.1")
    number = lines.loc["2"]
    assert number["found"].startswith("0.113") and number["p"] == "not tested"


def test_the_figure_has_a_line_for_each_tested_claim(verdicts):
    shown = claims.effects(verdicts).html
    assert shown.count("<figure") == 2
    tested = verdicts[verdicts["wanted_low"].notna()]
    captions = re.findall(r"<figcaption.*?</figcaption>", shown, re.DOTALL)
    for caption, (_, table) in zip(captions, tested.groupby("level", sort=False), strict=True):
        assert f"{(table['verdict'] == 'supported').sum()} supported" in caption


def test_the_first_sam_and_the_first_ritm_stand_for_the_study_s():
    names = ("grabcut", "sam_small", "ritm_small")
    runs = Runs({}, {name: load_model(name) for name in names}, {}, [])
    assert claims.stand_ins(runs) == {"SAM": "sam_small", "RITM": "ritm_small"}
    assert claims.stand_ins(Runs({}, {}, {}, [])) == {}


def test_phantoms_are_left_out_and_alone_they_are_refused():
    drawn, real = (SimpleNamespace(name=level, level=level) for level in ("demo", "measured"))
    assert claims.real([drawn, real]) == [real]
    with pytest.raises(BadInputError, match="demo: phantoms alone"):
        claims.real([drawn])
