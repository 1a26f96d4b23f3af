"""Tasks on processes and clusters: none is lost with its worker, and shards are one run."""

import os
import signal
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medsam_utils import evaluate, load_folder, load_model
from medsam_utils.case import BadInputError
from medsam_utils.workers import Processes, executor_for, run


def square(number: int, marker: Path | None = None) -> int:
    """Kills its own process at 3 unless the marker is there, and leaves it."""
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_a_killed_worker_s_tasks_are_done_by_another(tmp_path):
    tasks = [(number, tmp_path / "killed") for number in range(6)]
    with Processes(1) as executor:
        assert sorted(run(square, tasks, executor)) == [0, 1, 4, 9, 16, 25]
    assert (tmp_path / "killed").exists()


class Losing(Executor):
    """Loses what it is given, and after some time takes nothing more."""

    def __init__(self, takes: int):
        self.takes = takes

    def submit(self, function, /, *args, **kwargs):
        if not self.takes:
            raise BrokenExecutor("no worker left")
        self.takes -= 1
        future = Future()
        future.set_exception(BrokenExecutor("died"))
        return future


def test_a_task_that_kills_every_worker_ends_the_run_with_the_reason():
    with pytest.raises(RuntimeError, match="workers died 3 times"):
        list(run(square, [(2,)], Losing(100)))


def test_what_an_executor_takes_no_more_is_computed_here():
    assert sorted(run(square, [(number,) for number in (0, 1, 2, 4)], Losing(2))) == [0, 1, 4, 16]


def test_an_error_in_a_task_is_no_lost_worker():
    class Here(Executor):
        def submit(self, function, /, *args, **kwargs):
            future = Future()
            try:
                future.set_result(function(*args))
            except Exception as error:
                future.set_exception(error)
            return future

    with pytest.raises(TypeError):
        list(run(square, [("a",)], Here()))


@pytest.fixture
def dataset(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "own" / part).mkdir(parents=True)
    for i in range(9):
        mask = cv2.circle(np.zeros((50, 60), np.uint8), (20 + i, 25), 8 + i, 1, -1)
        image = 60 + 100 * mask + np.random.default_rng(i).normal(0, 10, mask.shape)
        cv2.imwrite(str(tmp_path / "own" / "images" / f"{i}.png"), image.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(tmp_path / "own" / "masks" / f"{i}.png"), 255 * mask)
    return load_folder(tmp_path / "own", name="own")


def test_two_shards_into_one_store_are_one_run_byte_for_byte(dataset, tmp_path):
    run = {"dataset": dataset, "model": load_model("grabcut"), "clicks": 2}
    parts = [evaluate(**run, store=tmp_path / "store", shard=(k, 2)) for k in (1, 0)]
    assert [part["case_id"].nunique() for part in parts] == [5, 4]
    merged, whole = evaluate(**run, store=tmp_path / "store"), evaluate(**run)
    assert merged.attrs["record"]["computed"] == 0
    merged.attrs = whole.attrs = {}
    merged.to_parquet(tmp_path / "merged.parquet")
    whole.to_parquet(tmp_path / "whole.parquet")
    assert (tmp_path / "merged.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_more_shards_than_cases_leave_some_empty_and_none_out(dataset):
    run = {"dataset": dataset, "model": load_model("grabcut"), "clicks": 1, "max_cases": 3}
    parts = [evaluate(**run, shard=(k, 4)) for k in range(4)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), evaluate(**run), check_flags=False)
    with pytest.raises(BadInputError, match="shard 4 of 4 does not exist"):
        evaluate(**run, shard=(4, 4))


def test_the_record_tells_seconds_by_stage_and_memory(dataset):
    record = evaluate(dataset, load_model("grabcut"), clicks=1).attrs["record"]
    assert set(record["stages"]) == {"load", "encode", "predict", "clicks and scores"}
    assert 0 < sum(record["stages"].values()) <= record["seconds"]
    assert record["peak_memory"] > 50


def test_a_scheduler_that_is_not_there_is_named():
    pytest.importorskip("distributed")
    with pytest.raises(BadInputError, match="scheduler"), executor_for(scheduler="nowhere"):
        pass


def test_rows_from_a_dask_cluster_that_lost_a_worker_are_identical(dataset):
    distributed = pytest.importorskip("distributed")
    model = load_model("grabcut")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        executor_for(scheduler=cluster.scheduler_address) as executor,
    ):
        os.kill(executor.submit(os.getpid).result(), signal.SIGKILL)
        rows = evaluate(dataset, model, clicks=2, executor=executor)
    pd.testing.assert_frame_equal(rows, evaluate(dataset, model, clicks=2), check_flags=False)
