"""One thread per test process: two torch jobs that share cores without it are far slower than
one."""

import os
import time

import pytest
from local_server import serving

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def no_kept_listings(monkeypatch):
    """Let no test write listings into the user's cache; `test_listings` has one of its own."""
    monkeypatch.setattr("medsam_utils.datasets.listings.SETTLED", float("inf"))


@pytest.fixture
def pauses(monkeypatch):
    """No waiting between attempts of a download; the pauses that were asked for."""
    asked = []
    monkeypatch.setattr(time, "sleep", asked.append)
    return asked


@pytest.fixture
def server(pauses):
    """The server of `local_server`, and no waiting between attempts."""
    with serving() as state:
        yield state
