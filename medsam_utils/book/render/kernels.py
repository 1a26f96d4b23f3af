"""Kernels that begin with everything imported: each is forked from one process that did it once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.context import BaseContext
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

WARM = f"{__package__}.warm"


def kernel_options() -> dict[str, Any]:
    """Return what papermill needs to fork kernels here, nothing where it cannot.

    Outside Linux forking a process that has loaded its libraries is not safe.
    """
    return {"kernel_manager_class": ForkedKernelManager} if sys.platform == "linux" else {}


def _context() -> BaseContext:
    """Return how kernels start: forked from one process that has imported `WARM`."""
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload([WARM])
    return forked


class ForkedKernelManager(AsyncKernelManager):
    """Start kernels as `ForkedProvisioner` does."""

    async def _async_pre_start_kernel(self, **kw: Any) -> tuple[list[str], dict[str, Any]]:
        if self.provisioner is None:
            self.provisioner = ForkedProvisioner(
                kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
            )
        return await super()._async_pre_start_kernel(**kw)

    pre_start_kernel = _async_pre_start_kernel


class ForkedProvisioner(LocalProvisioner):
    """Launch an IPython kernel in a process forked by `_context` instead of a new Python."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        """Start the kernel; cmd: how a new Python would be told to, ending in the arguments."""
        arguments = cmd[cmd.index("-f") :]
        self.process = _Forked(arguments, str(kwargs.get("cwd") or os.getcwd()), kwargs["env"])
        self.pid = self.pgid = self.process.pid  # it leads a group of its own
        return self.connection_info


class _Forked:
    """A kernel's process with the methods that `LocalProvisioner` calls of a subprocess."""

    stdin = stdout = stderr = None

    def __init__(self, *task: Any) -> None:
        self._process = _context().Process(target=_run_kernel, args=task)
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self._process.exitcode

    def wait(self) -> int | None:
        """Return the exit status when it has ended."""
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)


def _run_kernel(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be an IPython kernel."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the fork server ignores it
    starter = multiprocessing.parent_process()
    threading.Thread(target=lambda: (starter.join(), os._exit(1)), daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if (threads := environment.get("OMP_NUM_THREADS")) and (torch := sys.modules.get("torch")):
        torch.set_num_threads(int(threads))
    # nothing of the renderer is part of the notebook
    multiprocessing.set_start_method(None, force=True)
    asyncio.set_event_loop(None)
    sys.argv = ["ipykernel_launcher", *arguments]
    IPKernelApp.launch_instance(arguments)
