"""Tasks on processes and clusters: none is lost with its worker, and shards are one run."""

import inspect
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medsam_utils import evaluate, load_folder, load_model, machine
from medsam_utils.case import BadInputError
from medsam_utils.models import Model
from medsam_utils.models.grabcut import GrabCut
from medsam_utils.workers import Processes, executor_for, forked_processes, run


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
        cv2.imwrite(
            str(tmp_path / "own" / "images" / f"{i}.png"), image.clip(0, 255).astype(np.uint8)
        )
        cv2.imwrite(str(tmp_path / "own" / "masks" / f"{i}.png"), 255 * mask)
    return load_folder(tmp_path / "own", name="own")


@pytest.fixture
def run_of(dataset, monkeypatch):
    """Arguments of `evaluate`: nine cases, two to a task."""
    monkeypatch.setattr(sys.modules["medsam_utils.evaluate"], "BATCH", 2)
    return {"dataset": dataset, "model": load_model("grabcut"), "clicks": 2}


def as_bytes(rows: pd.DataFrame) -> bytes:
    """The rows as a Parquet file, without the record of their run."""
    rows = rows.copy()
    rows.attrs = {}
    return rows.to_parquet(index=False)


def test_two_shards_into_one_store_are_one_run_byte_for_byte(run_of, tmp_path):
    parts = [evaluate(**run_of, store=tmp_path / "store", shard=(k, 2)) for k in (1, 0)]
    assert [part["case_id"].nunique() for part in parts] == [5, 4]
    merged = evaluate(**run_of, store=tmp_path / "store")
    assert merged.attrs["record"]["computed"] == 0
    assert as_bytes(merged) == as_bytes(evaluate(**run_of))


@pytest.mark.slow
def test_one_two_and_four_processes_give_the_bytes_of_this_one(run_of):
    expected = as_bytes(evaluate(**run_of))
    for workers in (1, 2, 4):
        with Processes(workers) as executor:
            rows = evaluate(**run_of, executor=executor)
        assert as_bytes(rows) == expected
        assert set(rows.attrs["record"]["stages"]) == {
            "load",
            "encode",
            "predict",
            "clicks and scores",
        }


on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks on Linux alone")


@on_linux
@pytest.mark.parametrize("name", ["grabcut", "sam_small", "ritm_small"])
def test_a_run_takes_the_cores_by_itself_and_gives_the_bytes_of_one(
    dataset, monkeypatch, capsys, name
):
    model = load_model(name, device="cpu")
    monkeypatch.setenv("MEDSAM_WORKERS", "1")
    alone = evaluate(dataset, model, clicks=2)
    assert alone.attrs["record"]["computed_on"] == "cpu, 1 thread"
    assert f"own, {name} (cpu, 1 thread)" in capsys.readouterr().err
    monkeypatch.setenv("MEDSAM_WORKERS", "3")
    by_itself = evaluate(dataset, model, clicks=2)
    assert by_itself.attrs["record"]["computed_on"] == "3 processes"
    assert by_itself.attrs["record"]["threads"] == 1
    assert f"own, {name} (3 processes)" in capsys.readouterr().err
    assert as_bytes(by_itself) == as_bytes(alone)


@on_linux
def test_forked_processes_share_the_weights_that_are_read_once(dataset, monkeypatch):
    monkeypatch.setenv("MEDSAM_WORKERS", "2")
    model = load_model("sam_small", device="cpu")
    monkeypatch.setattr(type(model), "__reduce__", None)  # so that it cannot be sent anywhere
    expected = evaluate(dataset, model, clicks=1, executor=None)
    assert as_bytes(evaluate(dataset, model, clicks=1)) == as_bytes(expected)


class Roomy(Model):
    """A model that needs much memory."""

    forks, memory = True, 850


@on_linux
def test_as_many_processes_as_cores_cases_and_memory_allow(monkeypatch):
    monkeypatch.setattr("medsam_utils.workers.cores", lambda: 16)
    for free, cases, expected in [
        (64_000, 100, 16),
        (64_000, 5, 5),
        (64_000, 0, 1),
        (10_000, 100, 6),  # 80 % of it, in parts of 850 and 400 MiB
        (500, 100, 1),
        (None, 100, 16),  # where the system does not tell
    ]:
        monkeypatch.setattr("medsam_utils.workers.free_memory", lambda free=free: free)
        assert forked_processes(Roomy(), cases) == expected
    monkeypatch.setattr(Roomy, "forks", False)
    assert forked_processes(Roomy(), 100) == 1


def test_the_larger_the_sam_the_more_memory_a_process_is_counted_with():
    from medsam_utils.models.sam import ARCHITECTURES, MEMORY

    assert list(MEMORY) == [name for name in ARCHITECTURES if name != "onnx"]
    assert list(MEMORY.values()) == sorted(MEMORY.values())


def test_the_environment_and_a_container_limit_the_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)), raising=False)
    for name in ("MEDSAM_WORKERS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert machine.cores() == 12
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cores() == 12
    (tmp_path / "cpu.max").write_text("350000 100000\n")
    assert machine.cores() == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
    assert machine.cores() == 2
    monkeypatch.setenv("MEDSAM_WORKERS", "5")
    assert machine.cores() == 5


def test_memory_that_a_container_does_not_grant_is_not_free(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    before = machine.free_memory()
    if before is None:
        pytest.skip("this system does not tell")
    (tmp_path / "memory.max").write_text(f"{300 << 20}\n")
    (tmp_path / "memory.current").write_text(f"{100 << 20}\n")
    assert machine.free_memory() == 200


def test_workers_are_a_number_or_auto():
    with executor_for("auto") as executor:
        assert executor == "auto"
    for alone in (0, 1, "1"):
        with executor_for(alone) as executor:
            assert executor is None
    with executor_for(2) as executor:
        assert executor.workers == 2
    with pytest.raises(BadInputError, match="'many' is no number"), executor_for("many"):
        pass


def test_the_number_of_threads_decides_nothing_and_stays_as_it_was(dataset):
    import torch  # only here: worker processes import this module too

    model, before = load_model("sam_small", device="cpu"), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = evaluate(dataset, model, clicks=3, max_cases=3)
        torch.set_num_threads(3)
        assert as_bytes(evaluate(dataset, model, clicks=3, max_cases=3)) == as_bytes(expected)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_more_shards_than_cases_leave_some_empty_and_none_out(dataset):
    run = {"dataset": dataset, "model": load_model("grabcut"), "clicks": 1, "max_cases": 3}
    parts = [evaluate(**run, shard=(k, 4)) for k in range(4)]
    pd.testing.assert_frame_equal(
        pd.concat(parts, ignore_index=True), evaluate(**run), check_flags=False
    )
    with pytest.raises(BadInputError, match="shard 4 of 4 does not exist"):
        evaluate(**run, shard=(4, 4))


def test_rows_that_are_packed_while_others_come_in_are_the_same_bytes(run_of, monkeypatch):
    expected = as_bytes(evaluate(**run_of))
    monkeypatch.setattr(sys.modules["medsam_utils.evaluate"], "TABLES", 2)
    assert as_bytes(evaluate(**run_of)) == expected


def test_the_record_tells_seconds_by_stage_and_memory(dataset, monkeypatch):
    """Stages may overlap, so that their sum says nothing; each has at least what it waited."""
    predict = GrabCut.predict

    def slow(self, *arguments, **options):
        time.sleep(0.05)
        return predict(self, *arguments, **options)

    monkeypatch.setattr(GrabCut, "predict", slow)
    record = evaluate(dataset, load_model("grabcut"), clicks=1).attrs["record"]
    assert set(record["stages"]) == {"load", "encode", "predict", "clicks and scores"}
    assert record["stages"]["load"] > 0 and record["stages"]["clicks and scores"] > 0
    assert record["stages"]["predict"] >= 0.05 * len(dataset.list().references)
    assert record["seconds"] > 0
    assert record["peak_memory"] > 50


def test_a_scheduler_that_is_not_there_is_named():
    pytest.importorskip("distributed")
    with pytest.raises(BadInputError, match="scheduler"), executor_for(scheduler="nowhere"):
        pass


class Killing(Executor):
    """Hands calls on to an executor, and kills a process as soon as the first result is there."""

    def __init__(self, executor: Executor, victim: int):
        self.executor, self.victim, self.results = executor, victim, 0

    def submit(self, function, /, *args, **kwargs):
        future = self.executor.submit(function, *args, **kwargs)
        future.add_done_callback(self.count)
        return future

    def count(self, future):
        self.results += 1
        if self.results == 1:
            os.kill(self.victim, signal.SIGKILL)


def page_faults(arrays: int) -> int:
    """How many pages of memory the system hands out to fill and free so many arrays of 1,024
    pages."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(arrays):
        np.ones(4 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_dask_cluster_gives_the_same_bytes_though_a_worker_is_killed_in_mid_run(run_of):
    """In a Python of its own: late in a long session Dask's event loop has not started within its
    ten seconds, for a reason that is not known."""
    if "MEDSAM_ALONE" not in os.environ:
        name = f"{__file__}::{inspect.currentframe().f_code.co_name}"
        command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", name]
        clean = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
        alone = clean | {"MEDSAM_ALONE": "1"}
        done = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout
        return
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        executor_for(scheduler=cluster.scheduler_address) as executor,
    ):
        killing = Killing(executor, executor.submit(os.getpid).result())
        rows = evaluate(**run_of, executor=killing)
        assert killing.results > 1
        # Memory that is freed is used again, though Dask asks the C library to give it back.
        (faults,) = run(page_faults, [(20,)], executor)
        assert faults < 4 * 1024 or platform.libc_ver()[0] != "glibc"
    assert as_bytes(rows) == as_bytes(evaluate(**run_of))


RUN = """
import signal, sys, time
import numpy as np
from medsam_utils import Model, as_prediction, evaluate, load_folder, results, workers
results.FLUSH_SECONDS = 0

class Slow(Model):
    name, forks = "slow", True
    def settings(self):
        return {}
    def encode(self, image):
        time.sleep(0.1)
        return image.shape[:2]
    def predict(self, embedding, clicks):
        return as_prediction(np.ones((len(clicks), *embedding), bool), embedding)

if __name__ == "__main__":
    # A shell lets what it starts in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    own, run = load_folder(sys.argv[1], name="own"), {"clicks": 1, "store": sys.argv[2]}
    sys.modules["medsam_utils.evaluate"].BATCH = 2
    if sys.argv[3] == "forks":
        evaluate(own, Slow(), **run)
    elif sys.argv[3] == "processes":
        with workers.executor_for(2) as executor:
            evaluate(own, Slow(), **run, executor=executor)
    else:
        from distributed import LocalCluster
        with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
            with workers.executor_for(scheduler=cluster.scheduler_address) as executor:
                evaluate(own, Slow(), **run, executor=executor)
"""


def processes_of(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = path.read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:  # it has ended meanwhile
            continue
        found += [int(path.parent.name)] if int(of_group) == group and state != "Z" else []
    return found


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("way", ["forks", "processes", "dask"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_an_ended_run_keeps_its_finished_cases_and_leaves_no_process(way, number, tmp_path):
    if way == "dask":
        pytest.importorskip("distributed")
    for part in ("images", "masks"):
        (tmp_path / "own" / part).mkdir(parents=True)
        for i in range(60):
            mask = cv2.circle(np.zeros((40, 50), np.uint8), (20, 20), 8, 255, -1)
            cv2.imwrite(str(tmp_path / "own" / part / f"{i}.png"), mask)
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, tmp_path / "run.py", tmp_path / "own", tmp_path / "store", way]
    environment = os.environ | {"MEDSAM_WORKERS": "2"}

    def stored() -> int:
        parts = list((tmp_path / "store").rglob("part-*.parquet"))
        return pd.concat(map(pd.read_parquet, parts))["case_id"].nunique() if parts else 0

    with subprocess.Popen(
        command, start_new_session=True, env=environment, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while stored() < 10 and process.poll() is None:
                time.sleep(0.05)
            before = stored()
            if number == signal.SIGINT:  # a terminal sends it to all
                os.killpg(process.pid, number)
            else:
                process.kill()
            process.wait(20)
            deadline = time.monotonic() + 20
            while processes_of(process.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert processes_of(process.pid) == []
        finally:
            for left in processes_of(process.pid):
                os.kill(left, signal.SIGKILL)
    assert 10 <= before <= stored() < 60


@on_linux
@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_loses_no_stored_row_and_doubles_none(tmp_path):
    """Of this process alone or of all; MEDSAM_KILLS=60 does it so often."""
    kills = int(os.environ.get("MEDSAM_KILLS", "4"))
    rng = np.random.default_rng(kills)
    for part in ("images", "masks"):
        (tmp_path / "own" / part).mkdir(parents=True)
        for i in range(20):
            mask = cv2.circle(np.zeros((40, 50), np.uint8), (20, 20), 4 + i % 9, 255, -1)
            cv2.imwrite(str(tmp_path / "own" / part / f"{i}.png"), mask)
    (tmp_path / "run.py").write_text(RUN)
    store, ended = tmp_path / "store", 0

    def started(way: str = "forks") -> subprocess.Popen:
        command = [sys.executable, tmp_path / "run.py", tmp_path / "own", store, way]
        return subprocess.Popen(
            command,
            start_new_session=True,
            env=os.environ | {"MEDSAM_WORKERS": "2"},
            stderr=subprocess.DEVNULL,
        )

    def stored() -> pd.DataFrame:
        parts = [pd.read_parquet(path) for path in store.rglob("part-*.parquet")]
        rows = pd.concat(parts) if parts else pd.DataFrame({"case_id": []})
        return rows.sort_values("case_id", ignore_index=True)

    seconds = time.monotonic()
    assert started().wait(60) == 0
    seconds, whole = time.monotonic() - seconds, stored()
    assert len(whole) == 20
    store = tmp_path / "killed"
    for turn in range(kills):
        before = set(stored()["case_id"])
        with started() as process:
            try:
                process.wait(rng.uniform(0.4, 1) * seconds)
            except subprocess.TimeoutExpired:
                if turn % 2:
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
            ended += process.wait(20) != 0
            deadline = time.monotonic() + 20
            while (left := processes_of(process.pid)) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert left == []
        after = stored()
        assert before <= set(after["case_id"]) and not after["case_id"].duplicated().any()
        expected = whole[whole["case_id"].isin(after["case_id"])].reset_index(drop=True)
        if len(after):  # else it was killed before its first part
            pd.testing.assert_frame_equal(after, expected)
        if len(after) == 20:
            store = tmp_path / f"killed {turn}"
    assert started().wait(60) == 0
    pd.testing.assert_frame_equal(stored(), whole)
    print(f"{ended} of {kills} runs were killed before their end")
    assert ended >= kills // 2


def test_after_an_error_processes_end_at_once():
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError), Processes(2, "fork") as executor:
        for _ in range(10):
            executor.submit(time.sleep, 30)
        _ = 1 / 0
    assert time.monotonic() - started < 10


def test_on_ctrl_c_what_has_finished_still_comes():
    class Interrupted(Executor):
        """Two tasks are done; Ctrl-C comes while the third is waited for."""

        def submit(self, function, /, *args, **kwargs):
            future = Future()
            if args[1] < 2:
                future.set_result(function(*args))
            return future

    results, got = run(square, [(0,), (1,), (2,)], Interrupted()), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medsam_utils.workers.wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            got.extend(results)
    assert got == [0, 1]


def interrupt(*_, **__):
    raise KeyboardInterrupt
