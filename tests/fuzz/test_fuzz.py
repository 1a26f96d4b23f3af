"""A seeded share of the fuzz; `make fuzz` goes on for hours."""

import sys
import time

import pytest

from medsam_utils.datasets import listings

from . import AREAS, UNDETECTABLE
from .outcomes import faults, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads its peaks from /proc")


@pytest.mark.slow
@pytest.mark.parametrize("area", AREAS)
def test_damaged_files_are_refused_or_read_as_they_were(area, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(listings, "SETTLED", -60)
    monkeypatch.setattr(time, "sleep", time.sleep)  # an area changes it
    counts = run({area: AREAS[area]}, tmp_path, seed=0, seconds=4)
    assert counts and faults(counts, UNDETECTABLE) == {}, counts
