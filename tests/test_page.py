"""page.py: what a page says of its rows, on a folder of three small images."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from medsam_utils import PAPER, RELEASED_CODE, load_folder
from medsam_utils.book import runs
from medsam_utils.book.pages import page, protocol, record
from medsam_utils.case import BadInputError, Exclusion
from medsam_utils.models import checkpoints
from medsam_utils.statistics import summary


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two images with a bright square, and a third one whose mask is empty."""
    root = tmp_path_factory.mktemp("own")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for name, size in (("a", 12), ("b", 16), ("empty", 0)):
        mask = np.zeros((40, 48), np.uint8)
        mask[10 : 10 + size, 14 : 14 + size] = 255
        noise = np.random.default_rng(size).integers(0, 60, mask.shape)
        Image.fromarray((mask // 2 + noise).astype(np.uint8)).save(root / f"images/{name}.png")
        Image.fromarray(mask).save(root / f"masks/{name}.png")
    return root


@pytest.fixture(scope="module")
def dataset(folder):
    return load_folder(folder, name="My <study>")


@pytest.fixture(scope="module")
def evaluated(dataset):
    return runs.evaluate_models([dataset], "grabcut", clicks=3, compute="store=")


def read_table(html: str) -> pd.DataFrame:
    head, *lines = (
        [cell.text for cell in line(["th", "td"])]
        for line in BeautifulSoup(html, "html.parser")("tr")
    )
    return pd.DataFrame(lines, columns=head)


def test_the_answer_is_one_sentence_with_its_numbers_and_level(evaluated):
    text = re.sub("<.*?>", "", page.answer(evaluated.rows).html)
    means = evaluated.rows.groupby("click")["iou"].mean()
    assert text == (
        f"grabcut reaches a mean IoU of {means[1]:.2f} with one click and of {means[3]:.2f} with 3 "
        "(measured on your data)."
    )


def test_the_answer_has_intervals_where_there_are_patients_enough(evaluated):
    rows = evaluated.rows
    ious = np.linspace(0.3, 0.7, 11)
    rows = pd.concat(
        rows[rows["case_id"] == rows["case_id"].iloc[0]].assign(
            patient_id=str(i), case_id=str(i), iou=value
        )
        for i, value in enumerate(ious)
    )
    half = (
        2.228 * ious.std(ddof=1) / 11**0.5
    )  # Student's interval, which is close for such even values
    (low, high), *_ = re.findall(r"\(95 % interval ([\d.]+) to ([\d.]+)\)", page.answer(rows).html)
    assert (float(low), float(high)) == pytest.approx((0.5 - half, 0.5 + half), abs=0.03)


def test_only_demo_pages_carry_the_banner(dataset, evaluated):
    models = evaluated.models
    assert page.banner([dataset], models, []).html == ""
    demo = page.banner([dataclasses.replace(dataset, level="demo")], models, []).html
    assert "not medical images" in demo and "medsam-demo" in demo
    assert "My &lt;study&gt;" in demo  # a title is text, never markup


def test_the_table_has_every_column_and_its_level(evaluated):
    table = read_table(page.results_table(summary(evaluated.rows)).html)
    assert table.columns.tolist() == [
        *(
            "task",
            "model",
            "level",
            "cases",
            "patients",
            "objects",
            "IoU@1",
            "IoU@3",
            "NoC@80 (never)",
        )
    ]
    assert table.loc[0, ["model", "level", "cases", "objects"]].tolist() == [
        "grabcut",
        "measured",
        "2",
        "2",
    ]


def test_a_task_of_the_study_has_its_published_lines_labelled(evaluated):
    rows = evaluated.rows.assign(task="US-Breast", level="demo")
    table = read_table(page.results_table(summary(rows)).html)
    assert table["level"].tolist() == ["demo", "published", "published"]
    assert table["IoU@1"].tolist()[1:] == ["0.469", "0.228"]


def test_files_that_are_not_read_are_listed_and_then_nothing_is_said_to_be_complete():
    rows = pd.DataFrame()
    rows.attrs = {"excluded": [], "not_read": []}
    assert "No case was left out." in record.excluded(record.excluded_cases({"m": rows})).html
    file = Exclusion("images/a.xyz", "not read", "images/a.xyz", "of no format")
    rows.attrs["not_read"] = [dataclasses.asdict(file)]
    shown = record.excluded(record.excluded_cases({"m": rows})).html
    assert "No case was left out." not in shown
    assert "1 file was not read" in shown and "images/a.xyz" in shown and "of no format" in shown


def test_excluded_cases_are_counted_by_reason_and_listed_below_the_root(dataset, evaluated, folder):
    shown = record.excluded(record.excluded_cases(evaluated.tables)).html
    assert "<strong>1 case is</strong> left out" in shown
    assert "1 × no labelled pixel" in shown
    assert "<td>masks/empty.png</td>" in shown and str(folder) not in shown


def test_equal_reasons_count_together_wherever_the_name_stands(dataset):
    rows, cases = pd.DataFrame(), ["case1", "case2", "case3"]
    facts = ["is empty", "is empty", "no image"]
    rows.attrs["excluded"] = [
        {"case_id": case, "kind": "no object", "path": f"masks/{case}.png", "fact": fact}
        for case, fact in zip(cases, facts, strict=True)
    ]
    shown = record.excluded(record.excluded_cases({"m": rows})).html
    assert "<li>2 × is empty</li><li>1 × no image</li>" in shown


def test_the_page_says_how_it_was_made(evaluated):
    parameters = {"dataset": "us_breast", "folder": "/my data", "clicks": 3, "compute": ""}
    shown = record.made_by("dataset", parameters, evaluated.tables, PAPER).html
    assert "-p folder &#x27;my data&#x27; \\\n    -p clicks 3" in shown
    assert "us_breast" not in shown and "-p compute" not in shown
    assert "torch " in shown and "most_confident" in shown


def test_a_model_without_weights_is_named_and_the_embedded_ones_stand_in(
    dataset, monkeypatch, tmp_path
):
    def offline(*arguments, **options):
        raise BadInputError("no network")

    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path))
    monkeypatch.setattr(checkpoints, "download", offline)
    asked = runs.evaluate_models([dataset], "sam_vit_b", clicks=1, compute="store=")
    assert (
        list(asked.models) == list(asked.dataset_tables(dataset.name)) == ["sam_small", "grabcut"]
    )
    notes = asked.notes
    assert "sam_vit_b is not on this page" in notes[0] and "no network" in notes[0]
    assert "stand in" in notes[1]
    asked = runs.evaluate_models([dataset], "sam_vit_b grabcut", clicks=1, compute="store=")
    assert list(asked.models) == ["grabcut"] and len(asked.notes) == 1


def test_pages_of_shards_fill_the_store_of_the_whole_and_say_that_they_are_parts(dataset, tmp_path):
    run = {"datasets": [dataset], "models": "grabcut", "clicks": 1}
    store = f"store={tmp_path}"
    parts = [runs.evaluate_models(**run, compute=f"{store} shard={k}/2") for k in range(2)]
    assert "part 1/2 of the cases" in parts[1].notes[0]
    (rows,) = runs.evaluate_models(**run, compute=store).tables.values()
    assert (
        rows.attrs["record"]["computed"] == 1
    )  # the case that is left out has no rows to be stored
    assert len(rows) == len(parts[0].rows) + len(parts[1].rows)
    with pytest.raises(BadInputError, match="no case: take fewer shards"):
        runs.evaluate_models(**run, compute=f"{store} shard=0/99")


@pytest.mark.parametrize("shard", ["8/8", "3", "-1/8", "1/0"])
def test_a_shard_that_does_not_exist_is_refused(dataset, shard):
    with pytest.raises(BadInputError, match="write k/n with k from 0 to n - 1"):
        runs.evaluate_models([dataset], "grabcut", clicks=1, compute=f"store= shard={shard}")


def test_an_unknown_model_is_refused_not_replaced(dataset):
    with pytest.raises(BadInputError, match="unknown"):
        runs.evaluate_models([dataset], "sam_vit_x", clicks=1, compute="store=")


def test_a_page_calls_a_model_what_its_rows_call_it(dataset):
    asked = runs.evaluate_models(
        [dataset], "sam_small", clicks=1, compute="store= dtype=bfloat16 device=cpu"
    )
    assert (
        list(asked.models) == list(asked.dataset_tables(dataset.name)) == ["sam_small (bfloat16)"]
        and asked.notes == []
    )
    assert asked.rows["model"].unique().tolist() == ["sam_small (bfloat16)"]
    assert "not the released models" in page.banner([dataset], asked.models, []).html


def test_a_weights_file_that_is_missing_changes_the_page_and_does_not_break_it(dataset):
    asked = runs.evaluate_models(
        [dataset], "sam grabcut", checkpoint="none.pth", clicks=1, compute="store="
    )
    assert list(asked.models) == ["grabcut"]
    assert "sam is not on this page: none.pth is missing" in asked.notes[0]


def test_a_missing_gpu_changes_the_device_and_is_said(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    device, notes = runs.usable_device("cuda:1")
    assert device == "cpu" and "'cuda:1' is not on this machine" in notes[0]
    assert runs.usable_device("") == (None, [])


def test_the_protocol_table_has_every_field_with_its_meaning_and_marks_differences():
    fields = protocol.fields({"PAPER": PAPER, "RELEASED_CODE": RELEASED_CODE})
    assert fields["field"].tolist() == [field.name for field in dataclasses.fields(PAPER)]
    assert fields["meaning"].str.len().min() > 10
    lines = re.findall(
        r"<tr>\s*<td><code>(\w+)</code></td>(.*?)</tr>", protocol.table(fields).html, re.S
    )
    assert [name for name, _ in lines] == fields["field"].tolist()
    differing = {name for name, cells in lines if cells.count("<strong>") == 2}
    assert differing == {f for f in vars(PAPER) if getattr(PAPER, f) != getattr(RELEASED_CODE, f)}
    assert all("<strong>" not in cells for name, cells in lines if name not in differing)


def test_the_answer_tells_two_tasks_of_all_models_and_more_of_the_first_alone(evaluated):
    one = evaluated.rows.assign(model="first")
    both = pd.concat([one, one.assign(model="second")])
    tasks = [both.assign(task=f"T: {name}") for name in "abc"]
    two = re.sub("<.*?>", "", page.answer(pd.concat(tasks[:2])).html)
    three = re.sub("<.*?>", "", page.answer(pd.concat(tasks)).html)
    assert "second reaches" in two and "(a) and" in two
    assert "second" not in three and "(a), " in three and "(c) with one click" in three
