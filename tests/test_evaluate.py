"""Rows of a run: their contract, and that they depend on data, model and protocol alone."""

import io
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medsam_utils import PAPER, RELEASED_CODE, evaluate, iou, load_folder, load_model
from medsam_utils.case import BadInputError, Case
from medsam_utils.intensity import Window
from medsam_utils.models import Model, Prediction
from medsam_utils.results import ROW_TYPES
from medsam_utils.simulation import replay, simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images with a bright disk (label 1) beside a grey square (label 2), on noise."""
    root = tmp_path_factory.mktemp("own")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for i in range(12):
        rng = np.random.default_rng(i)
        labels = np.zeros((90, 110), np.uint8)
        cv2.circle(labels, (30 + i, 40), 12 + i % 5, 1, -1)
        cv2.rectangle(labels, (70, 20), (95, 50 + i), 2, -1)
        image = np.array([60, 220, 140])[labels] + rng.normal(0, 12, labels.shape)
        cv2.imwrite(str(root / "images" / f"case {i}.png"), image.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(root / "masks" / f"case {i}.png"), labels)
    return root


@pytest.fixture
def dataset(folder):
    return load_folder(folder, name="own")


@pytest.fixture(scope="module")
def grabcut():
    return load_model("grabcut")


class Scripted(Model):
    """A model that answers with prepared candidate masks, whatever is clicked."""

    name = "scripted"

    def __init__(self, masks: np.ndarray, predicted_iou: list[float]):
        self.masks, self.predicted_iou = masks, predicted_iou
        self.candidates, self.calls = len(masks), 0

    def encode(self, image):
        return None

    def predict(self, embedding, clicks):
        self.calls += 1
        logits = np.where(self.masks, 1.0, -1.0).astype(np.float32)
        return Prediction(
            np.repeat(logits[None], len(clicks), 0),
            np.tile(np.float32(self.predicted_iou), (len(clicks), 1)),
            lambda a: a,
        )


def as_bytes(rows: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    plain = rows.copy()
    plain.attrs = {}
    plain.to_parquet(buffer, index=False)
    return buffer.getvalue()


def test_rows_are_one_per_object_and_click_with_the_contract_columns(dataset, grabcut):
    rows = evaluate(dataset, grabcut, clicks=3)
    assert list(rows.columns) == list(ROW_TYPES)
    assert len(rows) == 12 * 2 * 3
    assert (
        rows.groupby(["case_id", "task"])["click"].apply(list).map(lambda n: n == [1, 2, 3]).all()
    )
    assert set(rows["task"]) == {"own: label 1", "own: label 2"}
    assert rows.loc[rows["click"] == 1, "positive"].all()
    assert rows["iou"].between(0, 1).all() and (rows["iou"] <= rows["dice"]).all()
    assert rows.attrs["excluded"] == []


@pytest.mark.slow
def test_a_row_s_iou_is_that_of_the_mask_it_replays(dataset):
    model = load_model("sam_small", device="cpu")
    rows = evaluate(dataset, model, clicks=3, max_cases=2)
    for (case_id, task), of_object in rows.groupby(["case_id", "task"]):
        case = dataset.load(case_id)
        truth = case.masks[task.removeprefix("own: ")]
        for click in (1, 3):
            stored = of_object.loc[of_object["click"] == click, "iou"].item()
            assert iou(replay(case, model, of_object, click), truth) == pytest.approx(
                stored, abs=1e-3
            )


def test_the_second_run_reads_everything_and_computes_nothing(dataset, grabcut, tmp_path):
    first = evaluate(dataset, grabcut, clicks=2, store=tmp_path)
    second = evaluate(dataset, grabcut, clicks=2, store=tmp_path)
    assert (first.attrs["record"]["computed"], second.attrs["record"]["computed"]) == (12, 0)
    assert as_bytes(first) == as_bytes(second) == as_bytes(evaluate(dataset, grabcut, clicks=2))


def test_rows_do_not_depend_on_the_order_in_which_cases_were_computed(dataset, grabcut, tmp_path):
    evaluate(dataset, grabcut, clicks=2, store=tmp_path, max_cases=5)
    rest = evaluate(dataset, grabcut, clicks=2, store=tmp_path)
    assert rest.attrs["record"]["computed"] == 7
    assert as_bytes(rest) == as_bytes(evaluate(dataset, grabcut, clicks=2))


@pytest.mark.slow
def test_rows_from_worker_processes_are_byte_identical(dataset, tmp_path):
    model = load_model("sam_small", device="cpu")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        rows = evaluate(dataset, model, clicks=2, store=tmp_path, executor=executor, max_cases=10)
    assert as_bytes(rows) == as_bytes(evaluate(dataset, model, clicks=2, max_cases=10))


@pytest.mark.slow
def test_the_way_of_a_gpu_gives_the_same_clicks_and_rows_that_do_not_depend_on_the_batch(
    dataset, folder, tmp_path, monkeypatch
):
    model = load_model("sam_small", device="cpu")
    alone = evaluate(dataset, model, clicks=3)
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    cv2.imwrite(str(broken / "masks" / "case 5.png"), np.zeros((7, 7), np.uint8))
    monkeypatch.setattr(model, "batched", True)
    together = evaluate(dataset, model, clicks=3)
    columns = ["case_id", "task", "click", "row", "col", "positive", "mask_index"]
    pd.testing.assert_frame_equal(together[columns], alone[columns])
    np.testing.assert_allclose(together["iou"], alone["iou"], atol=1e-3)
    shards = [evaluate(dataset, model, clicks=3, shard=(k, 5)) for k in range(5)]
    assert as_bytes(pd.concat(shards, ignore_index=True)) == as_bytes(together)
    without = evaluate(load_folder(broken, name="own"), model, clicks=3)
    assert [case["case_id"] for case in without.attrs["excluded"]] == ["case 5"]
    others = together[together["case_id"] != "case 5"].reset_index(drop=True)
    assert as_bytes(without) == as_bytes(others)


def test_in_one_process_the_next_image_is_encoded_while_one_is_clicked_on(dataset):
    encoded, clicked = [], []
    model = Scripted(np.zeros((3, 90, 110), bool), [0.9, 0.5, 0.1])
    predict = model.predict

    def noting_encode(image):
        encoded.append(threading.get_ident())
        return image

    def noting_predict(*given):
        deadline = time.monotonic() + 10  # the first click waits for the second image
        while len(encoded) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        clicked.append((threading.get_ident(), len(encoded)))
        return predict(*given)

    model.encode, model.predict = noting_encode, noting_predict
    evaluate(dataset, model, clicks=1, max_cases=3)
    assert clicked[0][1] >= 2 and {thread for thread, _ in clicked}.isdisjoint(encoded)


RUN = """
import sys
from medsam_utils import evaluate, load_folder, load_model, results
results.FLUSH_SECONDS = 0
own = load_folder(sys.argv[1], name="own")
rows = evaluate(own, load_model("grabcut"), clicks=4, store=sys.argv[2])
print("computed", rows.attrs["record"]["computed"])
"""


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_rows_and_repeats_no_finished_case(
    folder, dataset, grabcut, tmp_path
):
    random.seed(0)
    command = [sys.executable, "-c", RUN, str(folder), str(tmp_path)]
    kills = 0
    for _ in range(3):
        before = {path.name for path in tmp_path.rglob("part-*.parquet")}
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wanted = len(before) + random.randint(1, 3)
        while process.poll() is None and len(list(tmp_path.rglob("part-*.parquet"))) < wanted:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.05))
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert kills
    finished = pd.concat(map(pd.read_parquet, tmp_path.rglob("part-*.parquet")))["fingerprint"]
    assert finished.value_counts().eq(2 * 4).all(), "a case is stored whole, once"
    last = evaluate(dataset, grabcut, clicks=4, store=tmp_path)
    assert last.attrs["record"]["computed"] == 12 - finished.nunique()
    assert as_bytes(last) == as_bytes(evaluate(dataset, grabcut, clicks=4))
    assert not list(tmp_path.rglob("part-*.tmp"))


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run | {"protocol": replace(PAPER, seed=1)},
        lambda run: run | {"clicks": 3},
        lambda run: run | {"dataset": replace(run["dataset"], mask_threshold=128, level="demo")},
    ],
    ids=["protocol", "clicks", "dataset"],
)
def test_a_changed_setting_is_computed_anew(dataset, grabcut, tmp_path, change):
    run = {"dataset": dataset, "model": grabcut, "clicks": 2, "store": tmp_path, "max_cases": 2}
    evaluate(**run)
    assert evaluate(**change(run)).attrs["record"]["computed"] == 2


def test_a_perfect_mask_stops_the_clicks_and_carries_its_iou_forward(dataset):
    case = dataset.load(dataset.list().references[0])
    model = Scripted(case.masks["label 1"][None], [0.9])
    rows = evaluate(dataset, model, clicks=4, max_cases=1)
    disk = rows[rows["task"] == "own: label 1"]
    assert disk["iou"].tolist() == [1.0] * 4
    assert disk["row"].tolist()[1:] == [-1] * 3 and not disk["positive"].iloc[1:].any()
    square = rows[rows["task"] == "own: label 2"]
    assert (square["row"] >= 0).all() and (square["iou"] == 0).all()


def test_rows_tell_the_size_and_the_regions_of_the_true_object():
    truth = np.zeros((10, 20), bool)
    truth[1:5, 1:6] = truth[6:8, 10:20] = True
    case = Case("own", "a", "p", None, np.zeros((10, 20, 3), np.uint8), {"label 1": truth})
    model = Scripted(truth[None], [0.5])
    first, second = simulate(case, {"label 1": "own"}, model, PAPER, clicks=2)
    assert (first["area_share"], first["components"]) == (0.2, 2)
    assert (second["area_share"], second["components"], second["row"]) == (0.2, 2, -1)


@pytest.mark.parametrize(("choice", "index"), [("most_confident", 1), ("first", 0), ("oracle", 2)])
def test_the_mask_that_counts_is_the_protocol_s(dataset, choice, index):
    truth = dataset.load(dataset.list().references[0]).masks["label 1"]
    candidates = np.stack([truth & False, np.roll(truth, 5), np.roll(truth, 1)])
    model = Scripted(candidates, [0.2, 0.9, 0.5])
    rows = evaluate(dataset, model, replace(PAPER, mask_choice=choice), clicks=1, max_cases=1)
    row = rows[rows["task"] == "own: label 1"].iloc[0]
    assert row["mask_index"] == index
    assert row["iou"] == row[f"iou_{index}"] == iou(candidates[index], truth)
    assert row[["predicted_iou_0", "predicted_iou_1", "predicted_iou_2"]].tolist() == pytest.approx(
        [0.2, 0.9, 0.5]
    )


def test_small_objects_are_left_out_where_the_protocol_says_so(dataset, grabcut):
    largest = max(mask.sum() for mask in dataset.load(dataset.list().references[0]).masks.values())
    rows = evaluate(
        dataset, grabcut, replace(PAPER, min_object_pixels=int(largest)), clicks=1, max_cases=1
    )
    assert len(rows) == 1


def test_each_class_is_clicked_on_under_its_own_intensity_rule(dataset):
    seen = []

    class Looking(Scripted):
        def encode(self, image):
            seen.append(int(image.max()))
            return super().encode(image)

    truth = dataset.load(dataset.list().references[0]).masks["label 1"]
    model = Looking(np.stack([truth]), [0.5])
    two_windows = replace(dataset, class_intensity={"label 2": Window(centre=1000, width=100)})
    one = evaluate(two_windows, model, clicks=1, max_cases=1)
    assert set(one["task"]) == {"own: label 1", "own: label 2"}
    assert seen == [255, 0]
    seen.clear()
    evaluate(two_windows, model, RELEASED_CODE, clicks=1, max_cases=1)
    assert seen == [255], "the released code has one rule for all"


def test_the_released_code_runs_to_the_end(dataset, grabcut):
    rows = evaluate(dataset, grabcut, RELEASED_CODE, clicks=3, max_cases=2)
    assert set(rows["protocol"]) == {"released-code"}


def test_a_bad_case_is_listed_and_does_not_move_the_others(folder, grabcut, tmp_path):
    copy = tmp_path / "own"
    subprocess.run(["cp", "-r", folder, copy], check=True)
    whole = evaluate(load_folder(copy, name="own"), grabcut, clicks=1)
    broken = copy / "images" / "case 4.png"
    broken.write_bytes(broken.read_bytes()[:200])
    rows = evaluate(load_folder(copy, name="own"), grabcut, clicks=1)
    (excluded,) = rows.attrs["excluded"]
    assert excluded["case_id"] == "case 4" and excluded["path"].endswith("case 4.png")
    kept = whole[whole["case_id"] != "case 4"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, kept, check_flags=False)


def test_a_dataset_without_a_usable_case_is_an_error_with_the_reason(tmp_path, grabcut):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "a.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(BadInputError, match=r"no usable case.*a\.png.*no labelled pixel"):
        evaluate(load_folder(tmp_path), grabcut)


def test_at_most_so_many_cases_are_spread_over_the_dataset(dataset, grabcut):
    rows = evaluate(dataset, grabcut, clicks=1, max_cases=3)
    assert rows["case_id"].unique().tolist() == ["case 0", "case 6", "case 11"]
