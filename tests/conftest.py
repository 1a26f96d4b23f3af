"""One thread per test process: two torch jobs that share cores without it are far slower than one."""

import os

import pytest

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def no_kept_listings(monkeypatch):
    """Let no test write listings into the user's cache; `test_listings` has one of its own."""
    monkeypatch.setattr("medsam_utils.datasets.listings.SETTLED", float("inf"))
