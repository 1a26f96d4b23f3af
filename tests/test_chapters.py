"""Pages that put datasets, regions or protocols side by side: their numbers, on rows one can
check."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medsam_utils import PAPER, RELEASED_CODE, load_folder, published
from medsam_utils.book.pages import (
    comparison,
    examples,
    figures,
    label_rule,
    overview,
    regions,
    seeds,
    switches,
)
from medsam_utils.book.runs import Runs
from medsam_utils.comparison import CHANGE, rank_agreement, run_differences, seed_spread
from medsam_utils.models import Prediction
from medsam_utils.statistics import mean_curves


def rows_of(task: str, model: str = "m", **cases: list[float]) -> pd.DataFrame:
    """Rows with one patient per case: case=[IoU after click 1, 2, ...]."""
    return pd.DataFrame(
        {
            "dataset": "d",
            "task": task,
            "model": model,
            "level": "demo",
            "case_id": case,
            "patient_id": case,
            "click": click,
            "row": 0,
            "col": 0,
            "positive": True,
            "components": 2,
            "iou": iou,
        }
        for case, ious in cases.items()
        for click, iou in enumerate(ious, start=1)
    )


def text(shown) -> str:
    return re.sub("<.*?>", "", shown.html)


FIVE = "abcde"


def test_the_answer_names_the_tasks_that_reach_080_with_one_click_with_more_and_never():
    rows = pd.concat(
        [
            rows_of("T: one", **{case: [0.85, 0.7] for case in FIVE}),
            rows_of("T: more", **{case: [0.5, 0.8] for case in FIVE}),
            rows_of("T: never", **{case: [0.5, 0.79] for case in FIVE}),
            rows_of("T: few", a=[0.9, 0.9]),
        ]
    )
    assert text(overview.answer(rows)) == (
        "m (demo) reaches a mean IoU of 0.80 with one click on T: one, with two to 2 on T: more, "
        "and never on T: never."
    )


def test_a_task_with_few_objects_is_ranked_nowhere():
    assert "no task here has 5 objects" in text(overview.answer(rows_of("A", a=[0.1])))


def test_levels_are_never_in_one_sentence():
    rows = pd.concat(
        [
            rows_of("A", **{case: [0.9] for case in FIVE}),
            rows_of("B", **{case: [0.1] for case in FIVE}).assign(level="measured"),
        ]
    )
    shown = text(overview.answer(rows))
    assert "m (demo) reaches a mean IoU of 0.80 with one click on A, and never on none" in shown
    assert "m (measured on your data) reaches a mean IoU of 0.80 with one click on none" in shown


def test_a_modality_page_has_the_first_model_and_the_study_apart():
    rows = pd.concat([rows_of("US-Breast", model=m, a=[0.2, 0.5]) for m in ("m", "n")])
    shown = overview.curves(mean_curves(rows)).html
    titles = re.findall(r"<figcaption[^>]*><strong>(.*?)\.</strong>", shown)
    assert titles == ["SAM · published", "RITM · published", "m · demo"]
    assert shown.count("US-Breast gains +0.30") == 2  # in the caption, and as alternative text


def test_only_objects_of_several_regions_are_counted():
    rows = pd.concat([rows_of("T", a=[0.2, 0.4]), rows_of("T", b=[0.9, 0.9]).assign(components=1)])
    (line,) = regions.summary(regions.several(rows)).to_dict("records")
    assert (line["objects"], line["regions"], line["IoU@1"], line["IoU@2"]) == (1, 2, 0.2, 0.4)


def test_the_extremes_are_the_object_that_gains_most_and_the_one_that_loses_most_if_it_is_much():
    rows = rows_of("T", a=[0.1, 0.8, 0.79], b=[0.5, 0.7, 0.6], c=[0.5, 0.5, 0.5])
    lines = regions.extremes(rows).to_dict("records")
    assert [(line["which"], line["case_id"], line["best_click"]) for line in lines] == [
        ("helped most", "a", 2),
        ("hurt most", "b", 2),
    ]
    assert regions.extremes(rows[rows["case_id"] != "b"])["which"].tolist() == ["helped most"]
    assert regions.extremes(rows.iloc[:0]).empty


def test_hurt_is_the_share_that_ends_more_than_005_below_its_best():
    rows = rows_of("T", a=[0.2, 0.8, 0.6], b=[0.2, 0.8, 0.76], c=[0.1, 0.2, 0.3], d=[0.9, 0.2, 0.2])
    (line,) = regions.summary(rows).to_dict("records")
    assert line["hurt"] == 0.5  # a and d
    assert line["loss since best"] == pytest.approx((0.2 + 0.04 + 0 + 0.7) / 4)
    assert (
        "Yes: with m 50% of 4 objects of several regions end more than 0.05 below their best IoU"
        in text(regions.answer(rows))
    )


def test_regions_answer_weighs_every_object_the_same():
    rows = pd.concat([rows_of("T", a=[0.2, 0.4]), rows_of("U", b=[0.5, 0.7], c=[0.8, 1.0])])
    assert "from 0.50 with one click to 0.70 with 2" in text(regions.answer(rows))  # not 0.43, 0.63


def test_the_worst_click_is_told_with_what_it_says():
    rows = rows_of("T", a=[0.5, 0.8, 0.6]).assign(positive=[True, True, False])
    told = regions.worst_click(rows)
    assert told.startswith("Click 3, which says that its pixel lies outside it, makes it worse")
    assert "IoU 0.80 before it, 0.60 after it" in told


def test_without_an_object_of_several_regions_the_page_says_so():
    rows = regions.several(rows_of("T", a=[0.5]).assign(components=1))
    assert "No object" in text(regions.answer(rows))
    assert regions.curves(mean_curves(rows)).html.count("<figure") == 0


def test_every_rule_of_the_released_code_is_a_switch_of_its_own():
    made = switches.switches()
    assert made["released-code"] == RELEASED_CODE
    for field, value in vars(RELEASED_CODE).items():
        if value != getattr(PAPER, field) and field != "equals":  # which decides no click
            changed = made[f"{field}={value}"]
            assert {f for f in vars(PAPER) if getattr(changed, f) != getattr(PAPER, f)} == {field}


def effects(paper, switched):
    """Differences of one switch, after the first two clicks."""
    return run_differences({"paper": paper, "s": switched}, "paper", "switch", clicks=(1, 2))


def test_an_effect_is_the_mean_paired_difference_and_needs_five_patients_for_an_interval():
    many = {f"p{i}": [i / 10, 0.5] for i in range(6)}
    paper = pd.concat([rows_of("T", **many), rows_of("U", a=[0.5, 0.5])])
    switched = paper.assign(iou=paper["iou"] + np.where(paper["click"] == 1, 0.25, 0))
    table = effects(paper, switched).set_index(["task", "click"])
    assert table.loc[("T", 1), CHANGE].tolist() == pytest.approx([0.25] * 3)
    assert table.loc[("T", 2), "difference"] == 0
    assert table.loc["U", "difference low"].isna().all()


@pytest.fixture
def two_classes(tmp_path):
    """One image with class 1 on its left half and class 2 on its right."""
    from PIL import Image

    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    label_map = np.repeat([[1] * 4 + [2] * 4], 6, axis=0).astype(np.uint8)
    Image.fromarray(label_map * 100).save(tmp_path / "images/a.png")
    Image.fromarray(label_map).save(tmp_path / "masks/a.png")
    return load_folder(tmp_path, name="two", classes={"label 1": 1, "label 2": 2})


def test_a_label_is_wrong_where_a_positive_click_lies_on_another_class(two_classes):
    first, second = two_classes.tasks.values()
    rows = pd.concat(
        [rows_of(first, a=[0.5, 0.4, 0.3]), rows_of(second, a=[0.5])], ignore_index=True
    )
    rows["case_id"] = two_classes.list().references[0].case_id
    rows["col"] = [1, 6, 6, 6]
    rows["positive"] = [True, True, False, True]
    assert label_rule.wrong_labels(two_classes, rows).tolist() == [False, True, False, False]


def test_the_label_rule_s_effect_is_over_objects_and_weighs_tasks_the_same(two_classes):
    first, second = two_classes.tasks.values()
    paper = pd.concat(
        [rows_of(first, a=[0.5, 0.5, 0.5, 0.6]), rows_of(second, a=[0.5, 0.5, 0.5, 0.7])],
        ignore_index=True,
    )
    paper["case_id"] = two_classes.list().references[0].case_id
    paper["col"] = [1] * 4 + [6] * 4
    code = paper.assign(iou=[0.5, 0.5, 0.5, 0.4, 0.5, 0.5, 0.5, 0.7], col=[1, 6, 1, 1, 6, 6, 6, 6])
    runs = [
        Runs({"two": two_classes}, {"m": None}, {("two", "m"): rows}, []) for rows in (paper, code)
    ]
    (line,) = label_rule.summary(*runs).to_dict("records")
    assert (line["wrong"], line["touched"], line["patients"]) == (1 / 8, 0.5, 1)
    assert line["difference"] == pytest.approx(-0.1)
    shown = text(label_rule.answer(label_rule.summary(*runs)))
    assert shown.startswith("Too few patients to tell: with the released rule the IoU of m after 4")
    assert "changes by -0.10, from 0.65 to 0.55; 12% of the clicks get another label" in shown
    means = label_rule.means(*runs)
    last = means[means["click"] == 4].set_index("rule")["iou"]
    assert last.to_dict() == pytest.approx({"object": 0.65, "foreground": 0.55})
    curves = text(label_rule.curves(means))
    assert "m, 2 tasks · demo" in curves and "SAM · published" in curves
    assert "this object: 0.50 at 1, 0.65 at 4; any labelled pixel: 0.50 at 1, 0.55 at 4" in curves
    untouched = text(label_rule.answer(label_rule.summary(runs[0], runs[0])))
    assert "No click of m lies on another class" in untouched and "nan" not in untouched


def test_the_study_has_ten_tasks_with_several_classes():
    tasks = set(published.click_table()["task"])
    assert len(published.SEVERAL_CLASSES) == 10 and set(published.SEVERAL_CLASSES) <= tasks


def test_a_choice_among_masks_is_switched_only_for_models_with_several(monkeypatch):
    runs = []

    def evaluated(datasets, models, protocol, **_):
        runs.append((protocol.name, models))
        rows = pd.DataFrame({"model": ["s (half)", "r"], "iou_1": [0.5, np.nan]})
        return Runs({}, {}, {("d", "all"): rows}, [])

    monkeypatch.setattr(switches, "evaluate_models", evaluated)
    protocols = {"first": replace(PAPER, mask_choice="first"), "seed=1": replace(PAPER, seed=1)}
    assert list(switches.evaluate_protocols([], "s r", protocols)) == ["paper", "first", "seed=1"]
    assert [models for _, models in runs] == ["s r", "s", "s r"]


def test_an_effect_leaves_out_a_model_that_was_not_run_with_the_switch():
    paper = pd.concat([rows_of("T", model, a=[0.5, 0.5]) for model in ("m", "n")])
    switched = rows_of("T", "m", a=[0.5, 0.75])
    table = effects(paper, switched)
    table = table[table["click"] == 2]
    assert table[["model", "difference"]].values.tolist() == [["m", 0.25]]


def test_rankings_are_told_beside_their_tau_and_one_model_has_none():
    def run(**ious):
        each = [rows_of("T", model, **{p: [iou] for p in "abcde"}) for model, iou in ious.items()]
        return pd.concat(each)

    runs = {"paper": run(m=0.75, n=0.5), "s": run(m=0.25, n=0.5)}
    table = switches.rankings(rank_agreement(runs, "paper", "switch"))
    first, second = table.frame.to_dict("records")
    assert (first["switch"], first["ranking"], first["Kendall's tau"]) == ("paper", "m, n", "")
    assert (second["ranking"], second["Kendall's tau"]) == ("n, m", "-1.00 (-1.00 to -1.00)")
    alone = rank_agreement({"paper": run(m=0.75)}, "paper", "switch")
    assert "One model has no ranking" in text(switches.rankings(alone))


def test_ties_are_told_by_the_share_that_had_one_and_how_far_the_means_move():
    draws = [
        rows_of("T", a=[0.5, 0.6], b=[0.5, iou]).assign(ties=[1, 2, 1, 1])
        for iou in (0.6, 0.8, 0.6)
    ]
    spread = seed_spread(draws)
    shown = text(seeds.answer(spread))
    assert "50% of 2 objects had a choice" in shown
    assert "the mean of a task moves by 0.100 on average, by 0.100 at most (T)" in shown
    (line,) = seeds.by_task(spread, clicks=(2,)).to_dict("records")
    assert line["mean IoU at 2"] == "0.600 to 0.700" and line["tied by 2"] == "50%"


def test_the_page_of_examples_names_the_tasks_with_the_lowest_and_the_highest_median():
    rows = pd.concat(
        [
            rows_of("T: low", a=[0.1], b=[0.2], c=[0.9], d=[0.9], e=[0.1]),
            rows_of("T: high", a=[0.7], b=[0.8], c=[0.8], d=[0.9], e=[0.8]),
            rows_of("T: two", a=[1.0], b=[1.0]),
        ]
    )
    assert "ranges from 0.20 (T: low) to 0.80 (T: high) over 2 tasks of 5 objects" in text(
        examples.answer(examples.quartiles(rows))
    )


def test_each_task_has_a_picture_for_each_model_and_quartile(two_classes):
    class Half:
        """Answers with the left half of the image, whatever is clicked."""

        name = "half"

        def encode(self, image):
            return image.shape[:2]

        def predict(self, shape, clicks, boxes=None, logits=None):
            logits = np.tile(
                np.where(np.arange(shape[1]) < shape[1] // 2, 1.0, -1.0), (shape[0], 1)
            )
            return Prediction(
                logits[None, None].astype("float32"), np.zeros((1, 1)), lambda low: low
            )

    case_id = two_classes.list().references[0].case_id
    (first, second), tables = two_classes.tasks.values(), []
    for task in (first, second):
        rows = rows_of(task, "half", a=[0.5])
        tables.append(rows.assign(case_id=case_id, distance=1.0, ties=1, mask_index=0))
    runs = Runs({"two": two_classes}, {"half": Half()}, {("two", "half"): pd.concat(tables)}, [])
    shown = examples.side_by_side(runs, examples.quartiles(runs.rows)).html
    captions = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", shown)
    assert captions == [f"<strong>half, {p}th</strong><br>IoU 0.50" for p in (25, 50, 75)] * 2
    assert (
        f"half on {first}, 25th percentile" in shown
        and f"half on {second}, 75th percentile" in shown
    )


def test_the_study_s_tasks_that_a_run_lacks_are_shown_as_published():
    assert comparison.other_tasks(published.curves(), rows_of("US-Breast", a=[0.5])) == [
        task for task in published.click_table()["task"].unique() if task != "US-Breast"
    ]
    shown = figures.study_curves("US-Kidney").html
    assert "US-Kidney, published" in shown and "<figcaption" in shown
