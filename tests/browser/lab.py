"""A JupyterLab of its own, and a notebook that has been run in it: for the tests, and for a
benchmark."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
from chromium import watched

OPTIONS = [
    "--ServerApp.ip=127.0.0.1",
    "--IdentityProvider.token=",
    "--allow-root",
    "--no-browser",
    "--expose-app-in-browser",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=",
]


@contextmanager
def served(home: Path, cells: Sequence[str]) -> Iterator[str]:
    """Address of a notebook of these cells, as long as the server in the folder `home` runs."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(text) for text in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), home / "live.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    packages = [
        str(Path(__file__).resolve().parents[2]),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyterlab",
            *OPTIONS,
            f"--ServerApp.port={port}",
            f"--ServerApp.root_dir={home}",
        ],
        env={**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join(packages)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and server.poll() is None:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab/tree/live.ipynb"
    finally:
        server.terminate()
        server.wait(30)


def ran(context, address: str):
    """A page with the notebook at that address, all of it run, and its explorer drawn."""
    page = watched(context)
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function("() => jupyterapp.shell.currentWidget?.context?.isReady")
    page.evaluate(
        "() => jupyterapp.shell.currentWidget.context.sessionContext.ready.then(() => {})"
    )
    # not waited for: the promise of a command that JupyterLab drops is never settled
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.wait_for_selector(".medsam-explorer canvas")
    return page
