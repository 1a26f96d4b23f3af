"""Ways through a volume: what is tried, what its rows count, and what the page says of them."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from medsam_utils import evaluate, load_dataset, load_model
from medsam_utils.book.pages.through_volume import (
    answer,
    both_ways,
    dice_curves,
    slices,
    ways_table,
)
from medsam_utils.book.runs import run_models
from medsam_utils.case import BadInputError
from medsam_utils.clicks import PAPER
from medsam_utils.statistics import by_volume
from medsam_utils.workflows.propagation_evaluation import (
    EVERY_SLICE,
    MEMORY,
    Plan,
    evaluate_volumes,
    find_volume,
    median_row,
    summary,
)

TINY = Plan(("click and mask",), stop="never", clicks=2, rounds=1, beyond=1, max_volumes=1)


@pytest.fixture(scope="module")
def sam():
    return load_model("sam_small", device="cpu")


@pytest.fixture(scope="module")
def rows(sam):
    return evaluate_volumes(load_dataset("mri_prostate"), sam, PAPER, TINY)


def test_rows_count_every_click_and_more_rounds_prompt_more_slices(rows):
    of_task = rows[rows["task"] == rows["task"].iloc[0]]
    of_task = of_task[of_task["stop"].isin(["", "never"])]
    slices = of_task["prompted"].iloc[0]
    assert slices > 3 and of_task[["way", "prompted", "spent"]].values.tolist() == [
        ["every slice", slices, slices],
        ["every slice", slices, 2 * slices],
        ["click and mask", 1, 2],
        ["click and mask", 3, 6],
    ]
    assert ((rows["dice"] > 0) & (rows["dice"] <= 1) & (rows["surface"] <= rows["hd95"])).all()


def test_rows_of_slices_judged_by_volume_are_those_of_the_stacked_masks(rows, sam):
    every = rows[rows["way"] == EVERY_SLICE].set_index(["volume", "task", "round"])
    (volume,) = every.index.unique("volume")
    found = evaluate(load_dataset("mri_prostate"), sam, clicks=2, executor=None, metrics=("union",))
    whole = by_volume(found).query("case_id == @volume")
    assert len(whole) == len(every)
    slices = found[found["case_id"].str.startswith(f"{volume}_z")]
    for line in whole.to_dict("records"):
        expected = every.loc[(volume, line["task"], line["click"] - 1)]
        assert line["dice"] == pytest.approx(expected["dice"], abs=1e-12)
        assert line["slices"] == expected["slices"]
        same = (slices["task"] == line["task"]) & (slices["click"] == line["click"])
        assert slices.loc[same, "dice"].mean() == pytest.approx(expected["slice_dice"], abs=1e-12)


def test_all_stop_rules_are_tried_with_one_slice_and_the_rounds_under_one(rows):
    single = rows[(rows["task"] == rows["task"].iloc[0]) & (rows["way"] != EVERY_SLICE)]
    assert single[["stop", "round"]].values.tolist() == [
        ["never", 0],
        ["never", 1],
        ["predicted IoU", 0],
        ["area", 0],
        ["both", 0],
    ]


def test_a_model_with_a_memory_is_also_tried_with_it_on_the_same_clicks(rows):
    model = load_model("sam_small", device="cpu")
    model.tracks = True

    def track(embeddings, masks, reverse):
        return [masks[min(masks)]] * len(embeddings)  # as if nothing changed

    model.track = track
    found = evaluate_volumes(load_dataset("mri_prostate"), model, PAPER, TINY)
    memory = found["way"] == MEMORY
    assert found[~memory].reset_index(drop=True).equals(rows)
    of_task = found[found["task"] == found["task"].iloc[0]]
    columns = ["stop", "round", "prompted", "spent"]
    assert of_task.loc[of_task["way"] == MEMORY, columns].values.tolist() == [
        ["", 0, 1, 2],
        ["", 1, 3, 6],
    ]
    assert (found.loc[memory, "dice"] > 0).all() and MEMORY not in set(rows["way"])


def test_the_page_tells_a_memory_as_one():
    rows = volumes()
    rows.loc[rows["way"] == "click", ["way", "stop"]] = MEMORY, ""
    table = summary(rows)
    shown = re.sub("<.*?>", "", answer(table).html)
    assert "m with its memory reaches Dice 0.95" in shown
    assert "memory 0.60 with 2.0, 0.95 with 6.0 clicks" in dice_curves(table, "never").html
    assert ways_table(table).frame["way"].tolist() == [*["every slice"] * 2, "box", "memory"]


def test_the_record_says_what_was_done(rows):
    record = rows.attrs["record"]
    assert (record["device"], record["cases"]) == ("cpu", 1)
    assert record["settings"]["plan"] == {
        **{"ways": ("click and mask",), "stop": "never", "least_iou": 0.5, "most_change": 2.0},
        **{"clicks": 2, "rounds": 1, "beyond": 1, "max_volumes": 1},
    }


def test_the_volume_shown_is_the_one_of_the_row_slice_by_slice(rows, sam):
    table = summary(rows)
    median = median_row(rows, table[table["best"]].iloc[0])
    assert median["way"] == "click and mask" and median["round"] == 0
    dataset = load_dataset("mri_prostate")
    volume = find_volume(dataset, median["volume"], median["task"], beyond=1)
    assert (volume.volume, volume.task) == (median["volume"], median["task"])
    areas = [truth.area for truth in volume.truths]
    shown = slices(volume, volume.truths, np.argmax(areas), "title", median["dice"]).html
    assert shown.count("<figure") == len(volume.cases) and "clicked: Dice 1.00" in shown
    assert f"title: Dice of the volume {median['dice']:.2f}" in shown
    assert shown.count("empty, as it should be</figcaption>") == areas.count(0) > 0


def test_a_stop_rule_sets_its_own_threshold_and_the_chosen_one_comes_first():
    plan = Plan(("box", "click"), stop="both", least_iou=0.6, most_change=3.0)
    assert plan.settings[:2] == [("box", "both"), ("click", "both")] and len(plan.settings) == 8
    limits = {stop: plan.propagation("box", stop) for _, stop in plan.settings}
    found = {stop: (limit.least_iou, limit.most_change) for stop, limit in limits.items()}
    assert found == {
        "never": (0, np.inf),
        "predicted IoU": (0.6, np.inf),
        "area": (0, 3),
        "both": (0.6, 3),
    }


def test_an_unknown_stop_rule_says_which_there_are():
    with pytest.raises(BadInputError, match=r"'soon' .*never, predicted IoU, area, both"):
        Plan(("box",), stop="soon")


def test_a_model_without_such_prompts_is_a_note_and_sam_small_stands_in():
    plan = replace(TINY, ways=("box",), clicks=1, rounds=0)
    runs = run_models(
        partial(evaluate_volumes, plan=plan),
        [load_dataset("mri_prostate")],
        "ritm_small",
        compute="device=cpu",
        stand_ins=["sam_small"],
    )
    assert list(runs.models) == ["sam_small"]
    assert set(runs.rows["way"]) == {"every slice", "box"}
    assert "ritm_small" in runs.notes[0] and "sam_small stands in" in runs.notes[1]


def volumes():
    """Rows of six patients: one slice gives 0.5 by box and 0.6 by click, all four give 0.7 and
    0.9."""
    dices = {
        ("every slice", "", 0): (4, 0.7),
        ("every slice", "", 1): (8, 0.9),
        ("box", "area", 0): (2, 0.5),
        ("click", "area", 0): (2, 0.6),
        ("click", "area", 1): (6, 0.95),
    }
    return pd.DataFrame(
        dict(zip(("way", "stop", "round"), key, strict=True))
        | {"dataset": "d", "task": "T", "volume": p, "patient_id": p, "model": "m", "level": "demo"}
        | {
            "spent": spent,
            "dice": dice,
            "slice_dice": dice - 0.05,
            "hd95": 3.0,
            "surface": np.nan if p == "a" else 1.0,
        }
        for p in "abcdef"
        for key, (spent, dice) in dices.items()
    )


def test_the_best_way_is_that_of_one_slice_and_differences_are_to_it():
    table = summary(volumes())
    assert table.loc[table["best"], ["way", "round"]].values.tolist() == [["click", 0]]
    table = table.set_index(["way", "round"])
    assert table["difference"].round(6).to_dict() == {
        **{("every slice", 0): 0.1, ("every slice", 1): 0.3, ("box", 0): -0.1},
        **{("click", 0): 0.0, ("click", 1): 0.35},
    }
    assert table.loc[("click", 1), ["spent", "low", "high"]].tolist() == pytest.approx(
        [6, 0.95, 0.95]
    )
    assert table.loc[("box", 0), ["patients", "surface"]].tolist() == [6, 1.0]  # NaN is left out


def test_the_answer_compares_clicks_at_equal_dice():
    # carried: 0.60 with 2 clicks, every slice: 0.70 with 4; carried: 0.95 with 6, above 8's 0.90
    shown = re.sub("<.*?>", "", answer(summary(volumes())).html)
    assert shown == (
        "More than were tried: m carried as click reaches Dice 0.95 (0.95 to 0.95) with 6.0 "
        "clicks in the volume, and clicking in every slice only 0.90 with 8.0 (6 objects through "
        "a volume, demo)."
    )


@pytest.mark.parametrize(("first", "begins"), [(2, "It saves 2.0 clicks"), (5, "It saves none")])
def test_what_carrying_saves_is_the_clicks_that_every_slice_needs_for_its_dice(first, begins):
    rows = volumes()
    rows = rows[~((rows["way"] == "click") & (rows["round"] == 1))]
    rows.loc[rows["way"] == "click", "spent"] = first
    shown = re.sub("<.*?>", "", answer(summary(rows)).html)
    assert shown.startswith(f"{begins}: m carried as click reaches Dice 0.60")
    assert "clicking in every slice reaches 0.70 with 4.0" in shown


def test_the_page_shows_every_slice_per_volume_and_per_slice():
    frame = both_ways(summary(volumes())).frame
    columns = ["clicks in each slice", "per volume", "per slice"]
    assert frame[columns].values.tolist() == [
        [1, "0.70 (0.70 to 0.70)", "0.65"],
        [2, "0.90 (0.90 to 0.90)", "0.85"],
    ]


def test_levels_have_answers_and_best_ways_of_their_own():
    measured = volumes().assign(level="measured", dataset="e")
    measured.loc[measured["way"] == "box", "dice"] = 0.65
    table = summary(pd.concat([volumes(), measured]))
    assert table.loc[table["best"], "way"].tolist() == ["click", "box"]
    assert answer(table).html.count("<strong>m</strong> carried as") == 2


def test_the_curves_are_of_one_stop_rule_and_the_table_of_one_slice():
    table = summary(volumes())
    shown = dice_curves(table, "area").html
    assert "every slice 0.70 with 4.0, 0.90 with 8.0 clicks" in shown
    assert "click 0.60 with 2.0, 0.95 with 6.0 clicks" in shown
    shown = dice_curves(table, "never").html
    assert "every slice 0.70" in shown and "click 0.60" not in shown
    lines = ways_table(table).frame
    assert lines["way"].tolist() == ["every slice", "every slice", "box", "click"]
    assert lines["Dice"].tolist()[-1] == "0.60 (0.60 to 0.60)"
