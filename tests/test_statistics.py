"""statistics.py, on tables that can be checked by eye."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medsam_utils.case import BadInputError
from medsam_utils.statistics import (
    at_percentiles,
    by_components,
    by_object,
    by_size,
    by_volume,
    challenge_scores,
    clicks_to_targets,
    clustered_means,
    interval,
    iou_by_click,
    mean_curves,
    means,
    noc,
    noc_table,
    summary,
)


def rows_of(
    ious: dict[str, list[float]], model: str = "m", task: str = "T", level: str = "demo"
) -> pd.DataFrame:
    """Rows of one task: case -> IoU after each click; the patient is the case's first letter."""
    return pd.DataFrame(
        [
            {"task": task, "model": model, "level": level, "case_id": case, "patient_id": case[0]}
            | {"click": click, "iou": value}
            for case, values in ious.items()
            for click, value in enumerate(values, start=1)
        ]
    )


def test_the_mean_is_over_images_not_over_patients():
    means = mean_curves(rows_of({"a1": [0.2], "a2": [0.4], "b1": [0.9]}))
    assert means["iou"].tolist() == pytest.approx([0.5])


def test_means_of_groups_have_the_interval_of_the_same_values_as_a_curve():
    rows = rows_of(
        {
            f"{patient}{i}": [0.1 * i + j / 20, 0.5]
            for j, patient in enumerate("abcdef")
            for i in (1, 2)
        }
    )
    curve = mean_curves(rows)
    table = means(by_object(rows), ["click"])
    columns = ["iou", "low", "high", "objects", "patients"]
    pd.testing.assert_frame_equal(table[columns], curve[columns])
    assert by_object(rows, (2, 9))["click"].unique().tolist() == [2]  # the ninth was not made
    unknown = means(rows.assign(iou=np.where(rows["click"] == 1, np.nan, rows["iou"])), ["click"])
    assert unknown["objects"].tolist() == [0, 12] and unknown["patients"].tolist() == [0, 6]


def test_clicks_to_a_target_are_told_for_each_object():
    table = clicks_to_targets(rows_of({"a1": [0.5, 0.9], "b1": [0.1, 0.2]}), targets=(0.4, 0.8))
    lines = table[["case_id", "target", "clicks", "missed"]].values.tolist()
    assert lines == [
        ["a1", 0.4, 1, False],
        ["a1", 0.8, 2, False],
        ["b1", 0.4, 2, True],
        ["b1", 0.8, 2, True],
    ]


def test_tasks_models_and_levels_are_never_mixed_and_keep_their_order():
    rows = pd.concat(
        [
            rows_of({"a1": [0.1], "b1": [0.3]}, model="z"),
            rows_of({"a1": [0.5], "b1": [0.7]}, model="b"),
            rows_of({"a1": [0.9], "b1": [0.9]}, model="b", level="measured"),
        ]
    )
    means = mean_curves(rows)
    assert means[["model", "level", "iou"]].values.tolist() == [
        ["z", "demo", pytest.approx(0.2)],
        ["b", "demo", pytest.approx(0.6)],
        ["b", "measured", pytest.approx(0.9)],
    ]


def test_a_perfect_object_keeps_its_iou_and_an_undefined_one_is_left_out():
    table = iou_by_click(rows_of({"a1": [0.5, 1.0], "b1": [0.1, 0.2, 0.3]}))
    assert table.loc[("T", "m", "demo", "a1", "a")].tolist() == [0.5, 1.0, 1.0]
    assert mean_curves(rows_of({"a1": [np.nan], "b1": [0.3]}))["iou"].tolist() == [0.3]


def test_the_bootstrap_draws_patients_not_images():
    # a thousand images of one patient at 0 and one image of another at 1: half of a draw's patients
    # decide
    values = np.array([[0.0]] * 1000 + [[1.0]])
    means = clustered_means(values, np.array(["a"] * 1000 + ["b"]), repeats=4000)
    assert np.mean(means == 0.0) == pytest.approx(0.25, abs=0.03)
    assert np.mean(means == 1.0) == pytest.approx(0.25, abs=0.03)
    # the same images, each a patient of its own, tell far more
    values = np.random.default_rng(0).normal(0.5, 0.1, (10, 1)).repeat(50, axis=0)
    of_ten = np.diff(interval(values, np.repeat(np.arange(10), 50)), axis=0)
    of_many = np.diff(interval(values, np.arange(500)), axis=0)
    assert of_ten > 5 * of_many


@pytest.mark.parametrize("patients", [10, 30])
@pytest.mark.parametrize("shape", ["normal", "skewed"])
def test_the_interval_covers_the_true_mean_on_clustered_data(patients, shape):
    low_misses, high_misses = [], []
    for design in range(
        4
    ):  # which patient has how many images, 1 to 10; each column is an experiment
        rng = np.random.default_rng([patients, design])
        of = np.repeat(np.arange(patients), rng.integers(1, 11, patients))
        if shape == "normal":
            truth = 0.5
            values = rng.normal(0.5, 0.1, (patients, 1000))[of] + rng.normal(
                0, 0.05, (len(of), 1000)
            )
        else:  # most masks good, a long tail of bad ones
            truth = 8 / 9.5
            mean = rng.beta(8, 1.5, (patients, 1000))[of]
            values = rng.beta(10 * mean, 10 * (1 - mean) + 1e-9)
        low, high = interval(values, of, seed=design)
        low_misses += [np.mean(truth < low)]
        high_misses += [np.mean(high < truth)]
    assert 0.93 <= 1 - np.mean(low_misses) - np.mean(high_misses) <= 0.97
    assert max(np.mean(low_misses), np.mean(high_misses)) < 0.05  # neither end is far too near


def test_an_interval_stays_within_what_there_can_be():
    values = np.array([[1.0], [1.0], [1.0], [1.0], [1.0], [0.2]])
    low, high = interval(values, np.arange(6))
    assert 0 <= low[0] < 0.8 and high[0] == 1
    assert interval(np.full((6, 1), 0.7), np.arange(6)).tolist() == [[pytest.approx(0.7)]] * 2


def test_too_few_patients_have_no_interval():
    means = mean_curves(rows_of({"a1": [0.2], "a2": [0.4], "b1": [0.4], "c1": [0.1], "d1": [0.3]}))
    assert means[["low", "high"]].isna().all(axis=None)
    assert means[["objects", "patients"]].values.tolist() == [[5, 4]]
    # the fifth patient's only value is undefined
    assert np.isnan(interval(np.array([[0.1], [0.2], [0.3], [0.4], [np.nan]]), np.arange(5))).all()


def test_noc_counts_a_miss_as_all_clicks_and_reports_its_share():
    ious = np.array([[0.85, 0.9, 0.9], [0.1, 0.81, 0.5], [0.1, 0.2, 0.79]])
    assert noc(ious, 0.8) == (pytest.approx((1 + 2 + 3) / 3), pytest.approx(1 / 3))


def test_the_summary_has_the_counts_and_the_clicks_that_were_made():
    line = summary(
        rows_of({"a1": [0.2, 0.4, 0.9], "a2": [0.4, 0.6, 0.7], "b1": [0.6, 0.8, 0.8]})
    ).iloc[0]
    assert line[["cases", "patients", "objects"]].tolist() == [3, 2, 3]
    assert line[["IoU@1", "IoU@3"]].tolist() == pytest.approx([0.4, 0.8])
    assert "IoU@5" not in line
    assert (line["NoC@80"], line["missed"]) == (
        pytest.approx((3 + 3 + 2) / 3),
        pytest.approx(1 / 3),
    )


def test_the_percentiles_are_real_objects_and_ties_go_by_name():
    chosen = at_percentiles(rows_of({f"a{i}": [i / 10] for i in range(5)}))
    assert chosen == {25: ("a1", 0.1), 50: ("a2", 0.2), 75: ("a3", 0.3)}
    assert at_percentiles(rows_of({"a2": [0.5], "a1": [0.5]}), (0,)) == {0: ("a1", 0.5)}


def test_noc_at_several_targets():
    rows = rows_of(
        {"a1": [0.85, 0.9, 0.7], "b1": [0.1, 0.81, 0.5], "c1": [0.1, 0.2, 0.79], "d1": [0.95] * 3}
    )
    table = noc_table(rows)
    assert table["target"].tolist() == [0.8, 0.85, 0.9]
    assert table["noc"].tolist() == [(1 + 2 + 3 + 1) / 4, (1 + 3 + 3 + 1) / 4, (2 + 3 + 3 + 1) / 4]
    assert table["missed"].tolist() == [1 / 4, 2 / 4, 2 / 4]
    assert table["low"].isna().all() and set(table["objects"]) == {4}
    more = noc_table(pd.concat([rows, rows_of({"e1": [0.1, 0.1, 0.8]})]), (0.8,)).iloc[0]
    assert 1 <= more["low"] < more["noc"] == 2.0 < more["high"] <= 3


def test_curves_by_size_and_by_number_of_regions():
    rows = rows_of({"a1": [0.1, 0.2], "b1": [0.5, 0.6], "c1": [0.7, 0.8], "d1": [0.9, 1.0]})
    rows["area_share"] = rows["case_id"].map({"a1": 0.002, "b1": 0.01, "c1": 0.004, "d1": 0.5})
    rows["components"] = rows["case_id"].map({"a1": 1, "b1": 2, "c1": 7, "d1": 4})
    sizes = by_size(rows).set_index(["size", "click"])["iou"]
    assert sizes.loc[[("up to 0.3 %", 1), ("0.3 to 1 %", 1), ("above 10 %", 2)]].tolist() == [
        0.1,
        0.6,
        1.0,
    ]
    assert len(sizes) == 3 * 2  # no line for a bin without objects
    regions = by_components(rows)
    assert regions.loc[regions["click"] == 1, ["components", "iou", "objects"]].values.tolist() == [
        ["1", 0.1, 1],
        ["2", 0.5, 1],
        ["4 or more", pytest.approx(0.8), 2],
    ]


def slices_of(ious: list[list[float]], unions: list[list[int]]) -> pd.DataFrame:
    """Rows of the slices of a volume: of each slice the values after every click."""
    return pd.DataFrame(
        {"dataset": "d", "task": "T", "model": "m", "protocol": "paper", "level": "demo"}
        | {"case_id": f"v_z{z:03d}", "slice_index": z, "patient_id": "p", "click": click}
        | {"iou": iou, "union": union}
        for z, pair in enumerate(zip(ious, unions, strict=True))
        for click, (iou, union) in enumerate(zip(*pair, strict=True), start=1)
    )


def test_a_volume_is_judged_by_the_pixels_of_all_its_slices_after_each_click():
    rows = slices_of([[0.25, 0.5], [0.5, 1.0]], [[12, 8], [4, 2]])
    volume = by_volume(rows)  # 3 + 2 of 16 pixels, then 4 + 2 of 10
    assert volume[["case_id", "click", "slices"]].values.tolist() == [["v", 1, 2], ["v", 2, 2]]
    assert volume["iou"].tolist() == [5 / 16, 6 / 10]
    assert volume["dice"].tolist() == [2 * 5 / (16 + 5), 2 * 6 / (10 + 6)]
    assert mean_curves(volume)["iou"].tolist() == [5 / 16, 6 / 10]


def test_a_volume_s_score_needs_the_union_and_slices():
    rows = slices_of([[0.5]], [[8]])
    with pytest.raises(BadInputError, match=r'metrics=\("union",\)'):
        by_volume(rows.drop(columns="union"))
    with pytest.raises(BadInputError, match="d has images that are no slices"):
        by_volume(rows.assign(slice_index=pd.array([pd.NA], dtype="Int64")))


def challenge_rows(dice: list[float], nsd: list[float], task: str = "T: a") -> pd.DataFrame:
    """Rows of an object under six prompts."""
    same = {"task": task, "model": "m", "level": "measured", "case_id": "c", "patient_id": "p"}
    return pd.DataFrame({**same, "click": range(1, 7), "dice": dice, "nsd@2": nsd})


def test_the_challenge_s_area_is_over_the_five_clicks_and_not_divided():
    line = challenge_scores(challenge_rows([0.1, 0.4, 0.5, 0.6, 0.7, 0.8], [0.5] * 6)).iloc[0]
    assert line["dsc_auc"] == pytest.approx(0.45 + 0.55 + 0.65 + 0.75)
    assert line["dsc_final"] == 0.8 and line["nsd_auc"] == 2.0 and line["nsd_final"] == 0.5


def test_the_challenge_takes_classes_together_and_no_nsd_where_dice_is_low():
    rows = pd.concat(
        [challenge_rows([0.3] * 6, [0.9] * 6), challenge_rows([0.1] * 6, [0.7] * 6, "T: b")]
    )
    low = challenge_scores(rows).iloc[0]
    assert low["dsc_final"] == pytest.approx(0.2) and low["nsd_final"] == 0  # 0.2 is not above 0.2
    more = challenge_scores(rows.assign(dice=rows["dice"] + 0.01)).iloc[0]
    assert more["nsd_final"] == pytest.approx(0.8)
