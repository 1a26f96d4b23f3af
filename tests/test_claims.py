"""Claims: verdicts on tables whose truth can be seen, and on drawn ones whose truth is known."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medsam_utils import published
from medsam_utils.book.claims import (
    Claim,
    judge,
    load_claims,
    measured_table,
    published_table,
)
from medsam_utils.comparison import compare
from medsam_utils.statistics import mean_curves
from tests.test_statistics import rows_of

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import claims as benchmark

CLAIMS, GROUPS = load_claims()
PATIENTS = "abcdefghij"
METHODS = {"SAM": "m", "RITM": "n"}


def rows(sam: list[float], ritm: list[float], patients=PATIENTS, **same) -> pd.DataFrame:
    """Rows of two models after two clicks, two objects of each patient, nearly alike."""
    parts = []
    for model, curve in (("m", sam), ("n", ritm)):
        objects = {
            f"{p}{k}": [iou + 0.002 * (i % 3) + 0.001 * k for iou in curve]
            for i, p in enumerate(patients)
            for k in (1, 2)
        }
        parts.append(rows_of(objects, model=model, level="measured", **same))
    return pd.concat(parts).assign(components=1)


def verdict(claim: Claim, table: pd.DataFrame) -> pd.Series:
    (line,) = judge([claim], table, GROUPS).to_dict("records")
    return pd.Series(line)


def claim(effect: str, **more) -> Claim:
    return Claim("3", "quote", "says", effect, **more)


MORE = claim("SAM@1 - RITM@1", above=0.1, expect=0.3)


@pytest.mark.parametrize(
    ("sam", "expected"), [(0.6, "supported"), (0.45, "refuted"), (0.5005, "undetermined")]
)
def test_a_difference_is_held_against_the_value_that_the_sentence_needs(sam, expected):
    table = measured_table(rows([sam, 0.6], [0.4, 0.5]), METHODS)
    if expected == "undetermined":  # patients on both sides of it
        lift = {p: 0.05 if i % 2 else -0.05 for i, p in enumerate(PATIENTS)}
        table["SAM@1"] += table["patient_id"].map(lift)
    line = verdict(MORE, table)
    assert line["verdict"] == expected
    assert line["effect"] == pytest.approx(sam - 0.4) and line["clusters"] == 10


@pytest.mark.parametrize(
    ("ritm", "expected"), [(0.62, "supported"), (0.7, "refuted"), (0.5, "refuted")]
)
def test_similar_means_told_from_both_sides(ritm, expected):
    table = measured_table(rows([0.5, 0.6], [0.4, ritm]), METHODS)
    assert verdict(claim("RITM@2 - SAM@2", above=-0.05, below=0.05), table)["verdict"] == expected


def test_effect_interval_and_p_are_those_of_the_comparison_of_one_task():
    pair = rows([0.5, 0.6], [0.4, 0.45])
    pair["iou"] += np.random.default_rng(0).normal(0, 0.1, len(pair))
    line = verdict(claim("RITM@1 - SAM@1", above=0), measured_table(pair, METHODS))
    of_model = [pair[pair["model"] == model] for model in "mn"]
    known = compare(*of_model, clicks=[1]).iloc[0]
    assert line["effect"] == pytest.approx(known["difference"])
    assert line["p"] == pytest.approx(known["p"], abs=0.05)
    assert [line["low"], line["high"]] == pytest.approx([known["low"], known["high"]], abs=0.02)


def test_every_task_weighs_the_same():
    table = pd.concat(
        [
            rows([0.8, 0.8], [0.4, 0.5], task="A: a"),
            rows([0.4, 0.4], [0.4, 0.5], PATIENTS[:6], task="B"),
        ]
    )
    line = verdict(claim("SAM@1", above=0), measured_table(table, METHODS))
    assert line["effect"] == pytest.approx(0.6, abs=0.01) and line["tasks"] == 2
    assert line["clusters"] == 16  # patients of two datasets are never one


def test_groups_are_compared_by_their_means():
    pair = rows([0.5, 0.6], [0.4, 0.5])
    pair["components"] = np.where(pair["case_id"].str.endswith("1"), 2, 1)
    pair.loc[pair["components"] == 2, "iou"] -= 0.2
    several = claim("SAM@1", tasks="several regions", against="others", below=0)
    line = verdict(several, measured_table(pair, METHODS))
    assert line["verdict"] == "supported" and line["effect"] == pytest.approx(-0.2, abs=0.01)


def test_phantoms_count_nowhere():
    pair = rows([0.5, 0.6], [0.4, 0.5])
    assert measured_table(pair.assign(level="demo"), METHODS).empty
    mixed = pd.concat([pair, pair.assign(level="demo", iou=1.0, case_id="x")])
    pd.testing.assert_frame_equal(
        measured_table(mixed, METHODS), measured_table(pair, METHODS), check_dtype=False
    )


def test_few_patients_give_an_effect_and_no_verdict():
    table = measured_table(rows([0.9, 0.9], [0.1, 0.1], PATIENTS[:4]), METHODS)
    line = verdict(MORE, table)
    assert line["verdict"] == "undetermined" and line["note"] == "not tested: too few patients (4)"
    assert line["effect"] == pytest.approx(0.8) and np.isnan(line["p"])


def test_a_task_of_few_patients_is_left_out_and_named_where_others_remain():
    pair = pd.concat(
        [
            rows([0.8, 0.8], [0.4, 0.5], task="A"),
            rows([0.0, 0.0], [0.4, 0.5], PATIENTS[:3], task="B"),
        ]
    )
    line = verdict(claim("SAM@1", above=0.5), measured_table(pair, METHODS))
    assert line["effect"] == pytest.approx(0.8, abs=0.01) and line["tasks"] == 1
    assert line["note"] == "without B: too few patients" and line["verdict"] == "supported"


def test_what_a_table_does_not_have_is_left_out():
    table = measured_table(rows([0.5, 0.6], [0.4, 0.5]), {"SAM": "m"})
    left_out = [MORE, claim("SAM@9"), claim("SAM@1", tasks="tumours")]
    assert judge([*left_out, claim("SAM@1", above=0)], table, GROUPS)["n"].tolist() == [4]


def test_a_number_of_the_study_is_compared_and_not_tested():
    lowest = claim("SAM@1", tasks="preprint", take="min", number=0.1135)
    line = verdict(lowest, published_table())
    known = published.click_table().query("method == 'SAM' and click == 1")["iou"].min()
    assert line["verdict"] == "supported" and line["effect"] == known and np.isnan(line["p"])
    assert line["note"].startswith("MRI-Spine: GM")
    assert verdict(claim("SAM@1", take="min", number=0.12), published_table())["verdict"] == (
        "refuted"
    )


def test_the_released_table_is_that_of_the_study():
    table = published_table().set_index("task")
    curves = published.curves().set_index(["model", "task", "click"])["iou"]
    assert table.loc["CT-Spleen", "RITM@7"] == curves["RITM", "CT-Spleen", 7]
    assert table.loc["MRI-Brain: GD", "cluster"] == "MRI-Brain" and len(table) == 28


def test_a_claim_can_be_supported_more_often_the_more_patients_there_are():
    powers = []
    for patients in ("abcdefg", PATIENTS, PATIENTS + "klmnopqrst"):
        pair = rows([0.5, 0.6], [0.4, 0.5], patients)
        pair["iou"] += np.random.default_rng(1).normal(0, 0.15, len(pair))
        powers.append(verdict(MORE, measured_table(pair, METHODS))["power"])
    assert powers == sorted(powers) and powers[0] < powers[2] and powers[2] > 0.9


def test_p_is_corrected_for_all_tests_of_the_table():
    table = judge(CLAIMS, published_table(), GROUPS, resamples=999)
    tested = table[table["p"].notna()]
    smallest = tested["p"].min()
    assert tested["p_holm"].min() == pytest.approx(min(1, smallest * len(tested)))


def test_at_least_twenty_sentences_are_tested_and_quoted_briefly():
    assert len(CLAIMS) >= 20
    assert all(len(claim.quote.split()) <= 15 for claim in CLAIMS)
    assert all(np.isfinite(claim.bounds).any() for claim in CLAIMS)
    names = set(published_table()["task"]) | set(published_table()["cluster"])
    assert {task for group in GROUPS.values() for task in group} <= names


@pytest.mark.slow
def test_wrong_verdicts_on_drawn_truths_stay_below_the_level():
    """A share of benchmarks/claims.py, with fewer flips."""
    table = pd.concat(benchmark.verdicts(seed, 2999, CLAIMS, GROUPS) for seed in range(8))
    assert benchmark.wrong(table).mean() < 0.02
    assert (table["verdict"] != "undetermined").mean() > 0.25  # it does decide


def test_the_mean_of_rows_and_the_effect_of_a_claim_are_the_same_number():
    pair = rows([0.5, 0.6], [0.4, 0.5])
    line = verdict(claim("SAM@2", above=0), measured_table(pair, METHODS))
    curves = mean_curves(pair[pair["model"] == "m"])
    assert line["effect"] == pytest.approx(curves["iou"].iloc[-1])
