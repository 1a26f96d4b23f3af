"""Where tasks are computed: this process, several, or a Dask cluster; none is lost."""

from __future__ import annotations

import ctypes
import functools
import itertools
import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from itertools import islice
from typing import Any, Literal

import cv2

from .case import BadInputError
from .machine import cores, free_memory
from .models import Model

IN_FLIGHT = (
    256  # tasks that wait or run at a time, enough for so many workers; no more are held in memory
)
ATTEMPTS = 3  # how often a task is handed out whose worker died
BESIDE_MODEL = 400  # MiB that a process takes for images, masks and rows, whatever the model
WATCH = 1.0  # seconds between two looks at whether the process that started a worker is there
SPARE = 0.8  # of the free memory: so much may be planned with


@contextmanager
def executor_for(
    workers: int | str = "auto", scheduler: str = ""
) -> Iterator[Executor | Literal["auto"] | None]:
    """Yield what `evaluate` takes as executor: "auto", processes, a Dask cluster or None.

    workers: "auto" for what the machine has, see `forked_processes`; 0 or 1 for this process alone,
    None; else a number of processes. scheduler: address of a Dask scheduler, such as
    "tcp://10.0.0.1:8786"; it overrules `workers`. Raises BadInputError for another text, if there
    is no scheduler at the address, and if Dask is not installed.
    """
    if workers != "auto" and not str(workers).isdigit():
        raise BadInputError(f'workers {workers!r} is no number: write "auto", 0, or how many')
    if scheduler:
        try:
            from distributed import Client
        except ImportError as error:
            raise BadInputError(
                f'scheduler {scheduler!r} needs Dask: install "dask[distributed]"'
            ) from error
        try:
            client = Client(scheduler, timeout=30)
        except (OSError, ValueError) as error:
            raise BadInputError(
                f"no Dask scheduler answers at {scheduler!r} ({error}): start one"
            ) from error
        with client:
            yield client.get_executor(pure=False)
    elif workers == "auto":
        yield "auto"
    elif int(workers) > 1:
        with Processes(int(workers)) as executor:
            yield executor
    else:
        yield None


class Processes(Executor):
    """Worker processes of one thread each, which are replaced when one of them dies.

    A `ProcessPoolExecutor` takes no further task after that; here the next one starts a new pool.
    """

    def __init__(self, workers: int, method: Literal["spawn", "fork"] = "spawn") -> None:
        """method: a new Python each, or copies of this one as it is at the first `submit`."""
        self.workers, self.method = workers, method
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, function: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """Hand out one call; its future raises BrokenExecutor if a process died meanwhile."""
        for _ in range(ATTEMPTS):
            if self._pool is None:
                context = multiprocessing.get_context(self.method)
                self._pool = ProcessPoolExecutor(self.workers, context, _begin_worker)
            try:
                return self._pool.submit(function, *args, **kwargs)
            except BrokenExecutor:
                self._pool = None
        raise BrokenExecutor(f"{self.workers} worker processes cannot be started")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes after what they are at."""
        if self._pool:
            self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the processes; after an error, such as Ctrl-C, at once, whatever they are at."""
        if kind and self._pool:
            # From Python 3.14 on a pool has `kill_workers`.
            for process in list((self._pool._processes or {}).values()):
                process.kill()
                process.join()
            # One may have been killed in the middle of a result: nobody waits for the rest of it.
            self._pool._result_queue._writer.close()  # type: ignore[attr-defined]
        self.shutdown(cancel_futures=kind is not None)


def _begin_worker() -> None:
    """Let this process end with the one that started it, and leave Ctrl-C to that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, even by a signal it never saw."""
    parent = multiprocessing.parent_process()
    assert parent  # this is a child
    while os.getppid() == parent.pid:  # also where another process holds the parent's end open
        parent.join(WATCH)
        if not parent.is_alive():
            break
    os._exit(1)


def single_threaded() -> None:
    """Let torch and OpenCV use one thread; other processes use the other cores."""
    _set_threads(1, 1)


def on_one_thread(results: Iterable[Any]) -> Generator[Any, None, None]:
    """Yield results computed on one thread: a sum's last digits depend on the number of threads."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1, cv2.getNumThreads()
    single_threaded()
    keep_freed_memory()
    try:
        yield from results
    finally:
        _set_threads(*before)


def _set_threads(torch_threads: int, opencv_threads: int) -> None:
    if torch := sys.modules.get("torch"):  # what needs no torch is spared its import
        torch.set_num_threads(torch_threads)
    cv2.setNumThreads(opencv_threads)


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep up to 256 MiB of freed memory, where its C library is glibc.

    Else what torch frees goes back to the system, to be fetched again page by page for the next
    layer: with glibc's own settings that is a quarter more time for six objects, and half more with
    those that Dask starts its workers with, MALLOC_TRIM_THRESHOLD_=65536.
    """
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
        ctypes.CDLL(None).mallopt(trim_threshold, 256 << 20)
        ctypes.CDLL(None).mallopt(mmap_threshold, 32 << 20)  # its greatest value


def _in_worker(function: Callable, *task: Any) -> Any:
    """function(*task) in a process that somebody else may have started."""
    single_threaded()
    keep_freed_memory()
    return function(*task)


def run(
    function: Callable, tasks: Iterable[tuple], executor: Executor
) -> Generator[Any, None, None]:
    """Results of `function(*task)` as they finish, at most IN_FLIGHT of them under way.

    A task whose worker died is handed out again, and computed here if the executor takes no more.
    Ctrl-C, and closing the iterator, cancels what has not begun. Raises RuntimeError if a task's
    workers died ATTEMPTS times.
    """
    return on_one_thread(_results(function, iter(tasks), executor))


def forked_processes(model: Model, cases: int) -> int:
    """Return how many forked processes a run of so many cases takes by itself, 1 for none.

    A fork is there at once and shares the weights with this process, but is not safe everywhere: it
    is taken on Linux alone, for a model that says `forks`, and not after a GPU was used here. There
    are as many as `cores`, cases and free memory allow.
    """
    torch = sys.modules.get("torch")
    if (
        not model.forks
        or not sys.platform.startswith("linux")
        or multiprocessing.current_process().daemon
        or (torch and torch.cuda.is_initialized())
    ):
        return 1
    free, each = free_memory(), BESIDE_MODEL + model.memory
    fit = cases if free is None else int(SPARE * free / each)
    return max(1, min(cores(), cases, fit))


def run_forked(
    function: Callable, items: Iterable[Any], shared: tuple, processes: int
) -> Generator[Any, None, None]:
    """Return results of `function(item, *shared)` as they finish, on forks of this process.

    They have what is shared as it is here, and not another copy of it. Otherwise as `run`.
    """
    return on_one_thread(_forked_results(function, items, shared, processes))


def _forked_results(
    function: Callable, items: Iterable[Any], shared: tuple, processes: int
) -> Iterator[Any]:
    """Yield what `run_forked` returns."""
    key = next(_KEYS)
    _SHARED[key] = function, shared
    try:
        with Processes(processes, "fork") as executor:
            yield from _results(_with_shared, ((key, item) for item in items), executor)
    finally:
        del _SHARED[key]


_KEYS = itertools.count()
_SHARED: dict[int, tuple[Callable, tuple]] = {}  # what forks of this process find in it


def _with_shared(key: int, item: Any) -> Any:
    function, shared = _SHARED[key]
    return function(item, *shared)


def _results(function: Callable, tasks: Iterator[tuple], executor: Executor) -> Iterator[Any]:
    """`run` on an executor; Ctrl-C comes after what has finished, and no further task begins."""
    again: deque[tuple[tuple, int]] = deque()
    running: dict[Future, tuple[tuple, int]] = {}
    try:
        while True:
            again.extend((task, 1) for task in islice(tasks, IN_FLIGHT - len(running) - len(again)))
            while again:
                task, attempt = again.popleft()
                try:
                    running[executor.submit(_in_worker, function, *task)] = task, attempt
                except BrokenExecutor:  # such as a plain pool one of whose processes died
                    yield function(*task)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, attempt = running.pop(future)
                try:
                    result = future.result()
                except Exception as error:
                    if not _lost(error):
                        raise
                    if attempt == ATTEMPTS:
                        raise RuntimeError(
                            f"workers died {ATTEMPTS} times ({error!r}); if memory is short, take "
                            "fewer of them: finished cases are stored, and the next run goes on "
                            "from there"
                        ) from error
                    again.append((task, attempt + 1))
                else:
                    yield result
    except KeyboardInterrupt:
        finished = [future for future in running if future.done() and not future.cancelled()]
        yield from (future.result() for future in finished if not future.exception())
        raise
    finally:
        for future in running:
            future.cancel()


def _lost(error: BaseException) -> bool:
    """Whether a worker is gone; Dask, whose error is known by its name, need not be installed."""
    return (
        isinstance(error, BrokenExecutor | CancelledError) or type(error).__name__ == "KilledWorker"
    )
