"""comparison.py, on differences that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from medsam_utils import load_dataset, published
from medsam_utils.comparison import (
    CHANGE,
    compare,
    compare_ways,
    crossings,
    holm,
    overtaken_at,
    paired_differences,
    rank_agreement,
    score_masks,
    seed_spread,
    sign_flip_test,
)
from tests.test_statistics import rows_of


def test_differences_are_paired_by_object_whatever_the_order():
    first = rows_of({"a1": [0.1, 0.2], "b1": [0.3, 0.4], "c1": [0.5, 0.5]}, model="one")
    second = rows_of({"d1": [0.9, 0.9], "b1": [0.5, 0.3], "a1": [0.2, 0.4]}, model="two")
    table = paired_differences(first, second).droplevel(["task", "level", "patient_id"])
    assert table.loc["a1"].tolist() == pytest.approx([0.1, 0.2])
    assert table.loc["b1"].tolist() == pytest.approx([0.2, -0.1])
    assert len(table) == 2


def test_ways_are_held_against_the_base_on_the_objects_that_both_have():
    base = rows_of({f"{patient}1": [0.3 + i / 10] for i, patient in enumerate("abcdef")})
    better = base.assign(iou=base["iou"] + 0.1)
    elsewhere = base.assign(case_id="z1", patient_id="z", iou=0.9).iloc[:1]
    ways = {"base": base, "better": pd.concat([better, elsewhere]), "other": elsewhere}
    table = compare_ways(
        pd.concat(rows.assign(way=way) for way, rows in ways.items()), "base", ["task", "level"]
    )
    assert table["way"].tolist() == ["base", "better"]  # the other shares no object with the base
    first, second = table.to_dict("records")
    assert [first[name] for name in CHANGE] == [0, 0, 0]
    assert [second[name] for name in CHANGE] == pytest.approx([0.1] * 3)
    assert second["iou"] == pytest.approx((6 * 0.65 + 0.9) / 7) and second["patients"] == 7
    assert second["low"] < second["iou"] < second["high"]


def test_masks_of_several_ways_have_a_row_for_each_class_that_is_in_the_image():
    dataset = load_dataset("xray_hip")
    case = dataset.load(dataset.list().references[0])
    first, second = case.masks
    masks = {first: case.masks[first], second: ~case.masks[second]}
    rows = score_masks(dataset, [replace(case, masks=case.masks)], {"way": [masks]}).set_index(
        "task"
    )
    assert rows.loc[dataset.tasks[first], ["iou", "dice"]].tolist() == [1, 1]
    assert rows.loc[dataset.tasks[second], ["iou", "dice"]].tolist() == [0, 0]
    empty = replace(case, masks=case.masks | {second: case.masks[second] & False})
    assert set(score_masks(dataset, [empty], {"way": [masks]})["task"]) == {dataset.tasks[first]}


def test_demo_and_measured_rows_are_never_paired():
    with pytest.raises(ValueError, match="nothing can be compared"):
        compare(rows_of({"a1": [0.1]}), rows_of({"a1": [0.1]}, level="measured"))


def test_the_sign_flip_test_by_hand():
    # sums 0.3, 0.2, -0.1 of 3 patients: of the 8 choices of signs two give 0.4 or more, so p = 2 *
    # 2/8
    assert sign_flip_test(np.array([[0.3], [0.2], [-0.1]])).tolist() == [0.5]
    assert sign_flip_test(np.zeros((6, 1))).tolist() == [1.0]
    assert sign_flip_test(np.array([[0.3, -0.2]])).tolist() == [1.0, 1.0]  # one patient
    assert sign_flip_test(np.ones((10, 1))).tolist() == [2 / 2**10]


def test_the_sign_flip_test_agrees_with_student_s_on_normal_differences():
    differences = np.random.default_rng(3).normal(0.02, 0.05, (30, 4))
    assert sign_flip_test(differences) == pytest.approx(
        ttest_1samp(differences, 0).pvalue, abs=0.02
    )


def test_slices_of_one_patient_are_one_observation():
    # 40 slices that all improve, of one patient: no test may call that significant
    first = rows_of({f"a{i}": [0.5] for i in range(40)} | {"b1": [0.5]})
    second = rows_of({f"a{i}": [0.9] for i in range(40)} | {"b1": [0.4]})
    line = compare(first, second).iloc[0]
    assert line[["objects", "patients"]].tolist() == [41, 2] and np.isnan(line["p"])
    assert line["difference"] == pytest.approx((40 * 0.4 - 0.1) / 41)
    assert np.isnan(line["low"])


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.02, 0.3 times 4, 3, 2, 1 is 0.04, 0.06, 0.04, 0.3, and never falls
    assert holm(np.array([0.02, 0.3, 0.01, 0.02])).tolist() == pytest.approx(
        [0.06, 0.3, 0.04, 0.06]
    )
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_the_correction_is_for_all_tasks_and_clicks():
    cases = {f"{patient}1": [0.5, 0.5] for patient in "abcdef"}
    better = {f"{patient}1": [0.6, 0.5] for patient in "abcdef"}
    first = pd.concat([rows_of(cases), rows_of(cases, task="U")])
    second = pd.concat([rows_of(better), rows_of(cases, task="U")])
    table = compare(first, second)
    assert table["p"].tolist() == [2 / 64, 1, 1, 1]
    assert table["p_holm"].tolist() == [4 * 2 / 64, 1, 1, 1]
    assert table.loc[0, ["difference", "low", "high"]].tolist() == pytest.approx([0.1] * 3)
    assert table["note"].tolist() == [
        "the interval is of this line alone, p is corrected for 4 tests",
        *[""] * 3,
    ]


def test_a_comparison_says_who_minus_whom_and_why_it_tests_nothing():
    first, second = (rows_of({"a1": [0.1], "b1": [value]}) for value in (0.2, 0.4))
    named = compare(first.assign(model="sam"), second.assign(model="ritm"))
    assert named["compared"].tolist() == ["ritm minus sam"] and named["difference"].gt(0).all()
    assert named["note"].tolist() == ["not tested: 2 patients are too few for any p below 0.05"]
    ruled = compare(first.assign(protocol="paper"), second.assign(protocol="released-code"))
    assert ruled["compared"].tolist() == ["released-code minus paper"]
    assert compare(first, second)["compared"].tolist() == ["second minus first"]


def test_curves_cross_where_the_other_is_ahead_for_the_first_time():
    patients = "abcdefgh"
    first = rows_of({f"{patient}1": [0.5, 0.5, 0.5, 0.5] for patient in patients})
    second = {f"{patient}1": [0.3, 0.4, 0.45, 0.6] for patient in patients}
    line = crossings(first, rows_of(second)).iloc[0]
    assert line[["ahead", "click", "low", "high", "never"]].tolist() == ["first", 4, 4, 4, 0]
    second |= {"g1": [0.3, 0.9, 0.9, 0.2], "h1": [0.3, 0.4, 0.4, 0.2]}  # patients differ now
    line = crossings(first, rows_of(second)).iloc[0]
    assert line["low"] <= line["click"] <= line["high"] and line["low"] < line["high"]
    turned = crossings(rows_of(second), first).iloc[0]
    assert turned["ahead"] == "second"
    assert (
        turned[["click", "low", "high", "never"]].tolist()
        == line[["click", "low", "high", "never"]].tolist()
    )


def test_bootstrap_samples_without_a_crossing_are_counted():
    # the second is ahead at click 2 only if patient a is drawn: not in (4/5)^5 of the samples
    first = rows_of({f"{patient}1": [0.5, 0.5] for patient in "abcde"})
    second = rows_of({"a1": [0.4, 0.95]} | {f"{patient}1": [0.4, 0.49] for patient in "bcde"})
    line = crossings(first, second, repeats=4000).iloc[0]
    assert line["never"] == pytest.approx(0.8**5, abs=0.02)
    assert (line["click"], line["low"], line["high"]) == (2, 2, np.inf)


def test_ritm_passes_sam_at_click_6_and_at_click_4_on_the_binary_tasks():
    table = published.click_table().pivot_table(index="click", columns="method", values="iou")
    assert overtaken_at((table["RITM"] - table["SAM"]).to_numpy()) == 6
    several_classes = published.click_table()["task"].str.contains("Brain|Hip|Organ")
    binary = published.click_table()[~several_classes]
    assert binary["task"].nunique() == 18
    table = binary.pivot_table(index="click", columns="method", values="iou")
    assert overtaken_at((table["RITM"] - table["SAM"]).to_numpy()) == 4


def test_the_spread_between_seeds_by_hand():
    ties = {"a1": [1, 3], "b1": [1, 1]}
    runs = []
    for ious in ({"a1": [0.4, 0.6], "b1": [0.2, 0.2]}, {"a1": [0.4, 0.8], "b1": [0.2, 0.2]}):
        rows = rows_of(ious)
        runs.append(rows.assign(ties=[n for case in rows["case_id"].unique() for n in ties[case]]))
    table = seed_spread(runs)
    assert table["tied"].tolist() == [0, 0.5]
    assert table["object_sd"].tolist() == pytest.approx([0, np.std([0.6, 0.8], ddof=1) / 2])
    assert table.loc[1, ["lowest", "highest"]].tolist() == pytest.approx([0.4, 0.5])
    assert table["mean_sd"].tolist() == pytest.approx([0, np.std([0.4, 0.5], ddof=1)])
    with pytest.raises(ValueError, match="two seeds"):
        seed_spread(runs[:1])


def models_of(level="demo", **ious):
    """Rows of models after one click, with one value for each of six patients."""
    return pd.concat(
        rows_of({f"{patient}1": [value] for patient in "abcdef"}, model=model, level=level)
        for model, value in ious.items()
    )


def test_tau_is_the_share_of_pairs_of_models_in_the_same_order_less_the_others():
    paper = models_of(first=0.9, second=0.5, third=0.1)
    runs = {"paper": paper, "same": paper.assign(iou=paper["iou"] / 2)}
    runs["one pair"] = models_of(first=0.9, second=0.1, third=0.5)
    runs["reverse"] = models_of(first=0.1, second=0.5, third=0.9)
    table = rank_agreement(runs, "paper", "switch").set_index("switch")
    assert table["tau"].tolist() == pytest.approx([1, 1, (2 - 1) / 3, -1])
    assert table["ranking"]["one pair"] == "first, third, second"
    assert table[["low", "high"]].to_numpy().T.tolist() == [table["tau"].tolist()] * 2  # all alike
    assert table[["models", "objects", "patients"]].values.tolist() == [[3, 6, 6]] * 4


def test_a_ranking_that_hangs_on_few_patients_has_an_interval_of_both_orders():
    paper = models_of(first=0.5, second=0.4)
    other = models_of(first=0.5)
    mixed = {f"{patient}1": [0.4 if patient < "e" else 0.65] for patient in "abcdef"}  # 0.483
    other = pd.concat([other, rows_of(mixed, model="second")])
    _, line = rank_agreement({"paper": paper, "other": other}, "paper").to_dict("records")
    assert (line["tau"], line["low"], line["high"]) == (1, -1, 1)


def test_models_rank_by_their_mean_over_tasks_not_over_objects():
    def run(one, two):
        many = rows_of({f"{patient}1": [one] for patient in "abcdef"}, model="first", task="D: T")
        few = rows_of({"a1": [two]}, model="first", task="D: U")
        others = [rows.assign(model="second", iou=0.5) for rows in (many, few)]  # 0.5 in both tasks
        return pd.concat([many, few, *others])

    runs = {"paper": run(0.6, 0.6), "other": run(0.6, 0.3)}  # 0.45 over tasks, 0.56 over objects
    assert rank_agreement(runs, "paper")["tau"].tolist() == [1, -1]


def test_a_model_that_was_not_run_again_keeps_its_rows_in_the_ranking():
    paper = models_of(first=0.9, second=0.5)
    runs = {"paper": paper, "x": models_of(first=0.1)}
    _, line = rank_agreement(runs, "paper").to_dict("records")
    assert (line["tau"], line["ranking"]) == (-1, "second, first")


def test_levels_have_rankings_of_their_own_and_one_model_has_none():
    paper = pd.concat([models_of(a=0.9, b=0.5), models_of("measured", a=0.2, b=0.5)])
    table = rank_agreement({"again": paper}, "again")
    assert table[["level", "ranking"]].values.tolist() == [["demo", "a, b"], ["measured", "b, a"]]
    assert rank_agreement({"paper": models_of(a=0.5)}, "paper").empty


def test_models_that_tie_have_no_order_and_no_tau():
    paper = models_of(a=0.5, b=0.5)
    table = rank_agreement({"paper": paper, "other": models_of(a=0.5, b=0.6)}, "paper")
    assert table[["tau", "low", "high"]].isna().all(axis=None)


def test_no_interval_of_a_ranking_below_five_patients():
    rows = models_of(a=0.9, b=0.5).query("patient_id < 'e'")
    (line,) = rank_agreement({"paper": rows}, "paper").to_dict("records")
    assert line["tau"] == 1 and np.isnan([line["low"], line["high"]]).all()
