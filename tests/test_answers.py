"""Every chapter has a question and an answer, and each number of the answer follows from its rows.

The numbers are computed here a second time, by plain pandas, from rows that are drawn at random: no
number of a sentence may come from anywhere else, and all of one sentence weigh the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import jupytext
import numpy as np
import pandas as pd
import pytest
import yaml

from medsam_utils import published
from medsam_utils.book.pages import (
    annotation_effort,
    claims,
    comparison,
    confidence,
    everything,
    examples,
    fine_tuning,
    overview,
    page,
    prompt_modes,
    pseudo_labels,
    regions,
    speed,
    switches,
    tasks,
    through_volume,
    which_mask,
)
from medsam_utils.comparison import compare_ways
from medsam_utils.confidence import calibration_error
from medsam_utils.statistics import by_object, clicks_to_targets, mean_curves
from medsam_utils.workflows.fine_tuning import gains
from medsam_utils.workflows.propagation_evaluation import summary as volume_summary

ROOT = Path(__file__).resolve().parents[1]
CLICKS = 9
SIZES = {"T: large": 8, "T: small": 6, "U": 14}  # objects of each task: weights must not be equal


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Rows of two models on three tasks, two objects of each patient, with random IoUs."""
    rng = np.random.default_rng(5)
    lines = []
    for task, count in SIZES.items():
        for model, lift in (("m", 0.2), ("n", 0.1)):
            for i in range(count):
                iou = rng.uniform(0, 0.5)
                share = 0.001 if i % 3 == 0 else 0.2
                for click in range(1, CLICKS + 1):
                    iou = float(np.clip(iou + rng.normal(lift / 4, 0.08), 0, 1))
                    line = {"dataset": task[0].lower(), "task": task, "model": model}
                    line |= {"level": "demo", "case_id": f"c{i}", "patient_id": f"p{i // 2}"}
                    line |= {"click": click, "iou": iou, "row": 1, "col": 1, "positive": True}
                    line |= {"predicted_iou": min(1.0, iou + 0.2), "components": 1 + i % 2}
                    lines.append(line | {"area_share": share})
    return pd.DataFrame(lines)


def numbers(shown) -> list[str]:
    """The numbers of an answer in their order, without intervals, names and counts of clicks."""
    text = re.sub("<.*?>", "", shown.html)
    text = re.sub(r" \((?:95 % interval )?[-+]?[\d.]+%? to [-+]?[\d.]+%?\)", "", text)
    text = re.sub(r"95 % interval [-+][\d.]+ to [-+][\d.]+", "", text)
    return re.findall(r"[-+]?\d+\.\d+|\d+%", text)


def last_ious(rows: pd.DataFrame, model: str, click: int) -> pd.DataFrame:
    return rows[(rows["model"] == model) & (rows["click"] == click)]


def over_tasks(table: pd.DataFrame, value: str) -> float:
    """Mean over tasks of the means over objects."""
    return table.groupby("task")[value].mean().mean()


# ---- for each notebook: the answer, and its numbers computed again


def dataset(rows):
    one = rows[rows["task"].str.startswith("T")]
    expected = []
    for model in ("m", "n"):
        for click in (1, CLICKS):
            means = last_ious(one, model, click).groupby("task", sort=False)["iou"].mean()
            expected += [f"{mean:.2f}" for mean in means]
    return page.answer(one), expected


def modality(rows):
    means = rows[rows["model"] == "m"].groupby(["task", "click"])["iou"].mean().unstack()
    shown = overview.answer(rows)
    text = re.sub("<.*?>", "", shown.html)
    for task, curve in means.iterrows():
        first = next((click for click in curve.index if curve[click] >= 0.8), None)
        groups = re.search(
            r"one click on (.*?), with two to 9 on (.*?), and never on (.*?)\.", text
        )
        place = 3 if first is None else 1 if first == 1 else 2
        assert task in groups[place]
    return shown, ["0.80"]


def comparison_page(rows):
    study = published.click_table().pivot(index="task", columns=["method", "click"], values="iou")
    several = study.index.str.contains("Brain|Hip|Organ")
    sam, ritm = study["SAM", 9], study["RITM", 9]
    expected = [
        f"{ritm[~several].mean():.2f}",
        f"{sam[~several].mean():.2f}",
        f"{sam[several].mean():.2f}",
        f"{ritm[several].mean():.2f}",
    ]
    shown = comparison.answer(pd.concat([published.curves(), mean_curves(rows)]))
    text = re.sub("<.*?>", "", shown.html)
    assert f"on {(study['SAM', 1] > study['RITM', 1]).sum()} of 28 tasks" in text
    assert f"{(ritm > sam)[~several].sum()} of the {(~several).sum()} tasks of one class" in text
    assert f"{(sam > ritm)[several].sum()} of the {several.sum()} tasks of several" in text
    ahead = [
        (last_ious(rows, "m", c).groupby("task")["iou"].mean())
        > (last_ious(rows, "n", c).groupby("task")["iou"].mean())
        for c in (1, CLICKS)
    ]
    assert f"on {ahead[0].sum()} of 3 tasks with one click, and on {ahead[1].sum()} with 9" in text
    return shown, expected


def tasks_page(rows):
    table = published.click_table().pivot(index="task", columns=["method", "click"], values="iou")
    shown = tasks.answer(tasks.table())
    text = re.sub("<.*?>", "", shown.html)
    once, thrice, nine = ((table["SAM", k] > table["RITM", k]).sum() for k in (1, 3, 9))
    assert f"on {once} of 28 tasks with one click, on {thrice} with three and on {nine}" in text
    return shown, []


def claims_page(rows):
    verdicts = pd.DataFrame(
        {"level": ["published"] * 4, "verdict": ["supported"] * 3 + ["undetermined"]}
    )
    shown = claims.answer(verdicts)
    text = re.sub("<.*?>", "", shown.html)
    assert text.startswith("Of 4 sentences of the study 3 are supported, 0 are refuted and 1 are")
    return shown, []


def multi_region(rows):
    several = rows[rows["components"] > 1]
    expected = []
    for model in ("m", "n"):
        course = several[several["model"] == model].pivot(
            index=["task", "case_id"], columns="click", values="iou"
        )
        hurt = (course.max(axis=1) - course[CLICKS] > 0.05).mean()
        ends = [f"{course[click].mean():.2f}" for click in (1, CLICKS)]
        expected += [f"{hurt:.0%}", "0.05", *ends]
    return regions.answer(several), expected


def confidence_page(rows):
    shown = confidence.answer(rows, calibration_error(rows))
    expected = []
    for model in ("m", "n"):
        excess = (rows["predicted_iou"] - rows["iou"])[rows["model"] == model]
        expected += [f"{excess.abs().mean():.2f}", f"{abs(excess.mean()):.2f}"]
    for model in ("m", "n"):
        table = rows[rows["model"] == model]
        wide = table.pivot(index=["task", "case_id"], columns="click", values="iou")
        reached = wide >= 0.8
        clicks = np.where(reached.any(axis=1), reached.to_numpy().argmax(axis=1) + 1, CLICKS)
        small = (table.groupby(["task", "case_id"])["area_share"].first() < 0.003).loc[wide.index]
        missed = ~reached.any(axis=1)
        one = [f"{clicks[small].mean():.1f}", "0.80", f"{missed[small].mean():.0%}"]
        two = [f"{clicks[~small].mean():.1f}", f"{missed[~small].mean():.0%}"]
        expected += ["0.3", *one, *two]
    return shown, expected


def examples_page(rows):
    chosen = examples.quartiles(rows)
    expected = []
    for model in ("m", "n"):
        first = last_ious(rows, model, 1)
        medians = [
            group.sort_values("iou")["iou"].iloc[int((len(group) - 1) / 2 + 0.5)]
            for _, group in first.groupby("task")
        ]
        expected += [f"{min(medians):.2f}", f"{max(medians):.2f}"]
    return examples.answer(chosen), expected


def effort(rows):
    objects = clicks_to_targets(rows)
    timed = objects.assign(
        seconds=2.4 + 5 * (objects["clicks"] - 1) + 79.2 * objects["missed"].astype(float)
    )
    expected = []
    for model in ("m", "n"):
        one = rows[rows["model"] == model]
        wide = one.pivot(index=["task", "case_id"], columns="click", values="iou") >= 0.8
        missed = ~wide.any(axis=1)
        clicks = np.where(missed, CLICKS, wide.to_numpy().argmax(axis=1) + 1)
        table = pd.DataFrame({"missed": missed, "seconds": 2.4 + 5 * (clicks - 1) + 79.2 * missed})
        saved = 1 - over_tasks(table, "seconds") / 79.2
        expected += [f"{abs(saved):.0%}", "0.80", "79.2", f"{over_tasks(table, 'missed'):.0%}"]
    return annotation_effort.answer(timed, 79.2), expected


def switchboard(rows):
    rng = np.random.default_rng(1)
    lower = rows.assign(iou=(rows["iou"] - rng.uniform(0, 0.2, len(rows))).clip(0, 1))
    draw = rows.assign(iou=(rows["iou"] - 0.03).clip(0, 1))
    runs = {"paper": rows, "distance=opencv5": lower, "seed=1": draw}
    expected = []
    for model in ("m", "n"):
        last = {name: last_ious(table, model, CLICKS) for name, table in runs.items()}
        changes = {
            name: table.assign(change=table["iou"] - last["paper"]["iou"])
            for name, table in last.items()
        }
        change, noise = (over_tasks(changes[n], "change") for n in ("distance=opencv5", "seed=1"))
        expected += [f"{change:+.2f}", f"{noise:+.2f}"]
    return switches.answer(switches.mean_effects(runs)), expected


def ways(rows) -> pd.DataFrame:
    """Two ways to get a mask of every object after the last click."""
    objects = by_object(rows[rows["model"] == "m"], [CLICKS]).assign(way="own")
    anew = objects.assign(way="anew", iou=(objects["iou"] + 0.1 * (objects.index % 3)).clip(0, 1))
    return pd.concat([objects, anew]).assign(task="T")


def pseudo(rows):
    both = ways(rows)
    both["case_id"] = both.groupby("way").cumcount().astype(str)
    table = compare_ways(both, "own", ["task", "level"])
    means = both.groupby("way")["iou"].mean()
    change = means["anew"] - means["own"]
    one = [f"{change:+.2f}", f"{means['own']:.2f}", f"{means['anew']:.2f}"]
    return pseudo_labels.answer(table, table.copy(), "anew"), one * 2


def tuning(rows):
    before = rows[(rows["model"] == "m") & (rows["task"] != "T: small")]
    after = before.assign(iou=(before["iou"] + 0.15 * before["click"] / CLICKS).clip(0, 1))
    table = gains(before, after, {"U"}, {f"p{i}" for i in range(7)}, (1, CLICKS))
    expected = []
    for task in ("U", "T: large"):
        ends = [last_ious(t[t["task"] == task], "m", 1)["iou"].mean() for t in (before, after)]
        expected += [f"{ends[1] - ends[0]:+.2f}", f"{ends[0]:.2f}", f"{ends[1]:.2f}"]
    return fine_tuning.answer(table), expected


def volumes(rows):
    lines, far = [], {"hd95": 1.0, "surface": 1.0}
    for way, stop, number, spent, lift in (
        ("every slice", "", 0, 8, 0.2),
        ("every slice", "", 1, 16, 0.3),
        ("mask", "area", 0, 3, 0.1),
        ("mask", "area", 1, 9, 0.15),
    ):
        for i, iou in enumerate(last_ious(rows, "m", 1)["iou"]):
            line = {"dataset": "d", "task": "T", "volume": str(i), "patient_id": str(i)}
            line |= {"model": "m", "level": "demo", "way": way, "stop": stop, "round": number}
            lines.append(line | {"spent": spent, "dice": iou + lift, "slice_dice": 0.5, **far})
    table = pd.DataFrame(lines)
    dice = table.groupby(["way", "round"])["dice"].mean()
    carried, every = dice["mask", 1], dice["every slice", 0]
    expected = [f"{carried:.2f}", "9.0", f"{every:.2f}", "8.0"]  # none is saved
    return through_volume.answer(volume_summary(table)), expected


def everything_page(rows):
    both = ways(rows).replace({"way": {"own": "classifier", "anew": "oracle"}})
    means = both.groupby("way")["iou"].mean()
    return everything.answer(both), [f"{means['oracle']:.2f}", f"{means['classifier']:.2f}"]


def masks(rows):
    rules = ("most confident", "first", "single", "single, fed back", "most confident, fed back")
    made = [
        mean_curves(rows[rows["model"] == "m"]).assign(
            rule=rule, iou=lambda t, i=i: t["iou"] + i / 50
        )
        for i, rule in enumerate(rules)
    ]
    curves = which_mask.over_tasks(pd.concat(made))
    mean = {
        (i, c): over_tasks(last_ious(rows, "m", c), "iou") + i / 50
        for i in range(5)
        for c in (3, CLICKS)
    }
    gain = f"{mean[0, CLICKS] - mean[0, 3]:+.2f}"
    expected = [f"{mean[4, CLICKS]:.2f}", f"{mean[1, CLICKS]:.2f}", f"{mean[0, CLICKS]:.2f}"]
    return which_mask.answer(curves), [*expected, gain, gain]


def modes(rows):
    study = pd.read_csv(ROOT / "book/published/iou_by_prompt_mode.csv")
    means = study[study["mask_choice"] == "first"].groupby("mode")["iou"].mean()
    shown = prompt_modes.answer(prompt_modes.mode_means(prompt_modes.published_modes()))
    return shown, [f"{means.max():.2f}", f"{means.min():.2f}"]


def costs(rows):
    table = pd.read_csv(ROOT / "benchmarks/measured/loop_by_size.csv")
    faster, model = table["released / ours"], table["ours / bare"]
    ends = [f"{faster.min():.1f}", f"{model.min():.2f}", f"{model.max():.2f}"]
    return speed.answer(table), [*ends, f"{1 / 1.3:.2f}", "1.3"]


ANSWERS: dict[str, Callable] = {
    "tasks": tasks_page,
    "comparison": comparison_page,
    "claims": claims_page,
    "dataset": dataset,
    "modality": modality,
    "multi_region": multi_region,
    "confidence": confidence_page,
    "examples": examples_page,
    "annotation_effort": effort,
    "switchboard": switchboard,
    "pseudo_labels": pseudo,
    "fine_tuning": tuning,
    "through_volume": volumes,
    "everything": everything_page,
    "which_mask": masks,
    "prompt_modes": modes,
    "speed": costs,
}
ELSEWHERE = {
    "label_rule": "test_chapters.py",
    "datasets": "test_catalogue.py",
    "first_page": "test_first_page.py",
    "train_sam_small": "its numbers are of networks, on drawings",
    "protocol": "shows one case, and has no number to answer",
    "models": "lists models, and has no number to answer",
}


def test_every_chapter_of_the_book_has_its_answer_checked():
    pages = yaml.safe_load((ROOT / "runs.yml").read_text("utf-8"))["pages"]
    assert {Path(one["notebook"]).stem for one in pages} == set(ANSWERS) | set(ELSEWHERE)


@pytest.mark.parametrize("notebook", [*ANSWERS, *sorted(set(ELSEWHERE) - {"first_page"})])
def test_a_chapter_begins_with_a_question(notebook):
    cells = jupytext.read(ROOT / f"notebooks/{notebook}.py").cells
    first = next(cell.source for cell in cells if "\n# " in f"\n{cell.source}")
    assert first.split("\n# ")[-1].rstrip().endswith("?")


@pytest.mark.parametrize("notebook", ANSWERS)
def test_each_number_of_an_answer_follows_from_the_rows(notebook, rows):
    shown, expected = ANSWERS[notebook](rows)
    assert numbers(shown) == expected
