"""statistics.py, on tables that can be checked by eye."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medsam_utils.statistics import (
    at_percentiles,
    clustered_means,
    interval,
    iou_by_click,
    mean_curves,
    noc,
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
    # a thousand images of one patient at 0 and one image of another at 1: half of a draw's patients decide
    values = np.array([[0.0]] * 1000 + [[1.0]])
    low, high = interval(values, np.array(["a"] * 1000 + ["b"]))
    assert (low, high) == (0.0, 1.0)
    means = clustered_means(values, np.array(["a"] * 1000 + ["b"]), repeats=4000)
    assert np.mean(means == 1.0) == pytest.approx(0.25, abs=0.03)


def test_the_interval_covers_the_truth_on_clustered_data():
    rng, covered = np.random.default_rng(1), 0
    patients = np.repeat(np.arange(40), 5)
    for seed in range(200):
        values = (rng.normal(0.5, 0.1, 40)[patients] + rng.normal(0, 0.05, 200))[:, None]
        low, high = interval(values, patients, repeats=400, seed=seed)
        covered += low[0] <= 0.5 <= high[0]
    assert 0.90 <= covered / 200 <= 0.98


def test_one_patient_has_no_interval():
    means = mean_curves(rows_of({"a1": [0.2], "a2": [0.4]}))
    assert means[["low", "high"]].isna().all(axis=None)


def test_noc_counts_a_miss_as_all_clicks_and_reports_its_share():
    ious = np.array([[0.85, 0.9, 0.9], [0.1, 0.81, 0.5], [0.1, 0.2, 0.79]])
    assert noc(ious, 0.8) == (pytest.approx((1 + 2 + 3) / 3), pytest.approx(1 / 3))


def test_the_summary_has_the_counts_and_the_clicks_that_were_made():
    line = summary(rows_of({"a1": [0.2, 0.4, 0.9], "a2": [0.4, 0.6, 0.7], "b1": [0.6, 0.8, 0.8]})).iloc[0]
    assert line[["cases", "patients", "objects"]].tolist() == [3, 2, 3]
    assert line[["IoU@1", "IoU@3"]].tolist() == pytest.approx([0.4, 0.8])
    assert "IoU@5" not in line
    assert (line["NoC@80"], line["missed"]) == (pytest.approx((3 + 3 + 2) / 3), pytest.approx(1 / 3))


def test_the_percentiles_are_real_objects_and_ties_go_by_name():
    chosen = at_percentiles(rows_of({f"a{i}": [i / 10] for i in range(5)}))
    assert chosen == {25: ("a1", 0.1), 50: ("a2", 0.2), 75: ("a3", 0.3)}
    assert at_percentiles(rows_of({"a2": [0.5], "a1": [0.5]}), (0,)) == {0: ("a1", 0.5)}


def test_published_means_are_those_of_the_released_tables():
    from medsam_utils.figures import PUBLISHED

    table = pd.read_csv(PUBLISHED).pivot_table(index="method", columns="clicks", values="iou")
    assert table.loc["sam", [1, 3, 5, 9]].tolist() == pytest.approx(
        [0.4595, 0.5669, 0.5969, 0.6112], abs=5e-5
    )
    assert table.loc["ritm", [1, 3, 5, 9]].tolist() == pytest.approx(
        [0.1322, 0.4538, 0.5962, 0.6875], abs=5e-5
    )
