"""benchmarks/gpu.py runs to its end without a GPU, and says that it was not run where there is
none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks/gpu.py"


def run(*options: str) -> str:
    command = [sys.executable, str(SCRIPT), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_measures_nothing():
    assert run() == (
        "benchmarks/gpu.py was not run: there is no GPU here. "
        "No figure of this project is one of it.\n"
    )


def test_its_dry_run_compares_and_measures_and_keeps_nothing():
    measured = set((SCRIPT.parent / "measured").iterdir())
    text = run("--device", "cpu", "--small", "--side", "96")
    equal, speed = text.split("\n\n")[:2]
    assert "exact mode is SamPredictor" in equal
    assert equal.splitlines()[2].split()[:2] == ["sam_small", "True"]
    assert "evaluate / encoder" in speed and "on the processor" in speed
    assert float(speed.splitlines()[2].split()[-1]) > 0
    assert "Left out" not in text
    assert set((SCRIPT.parent / "measured").iterdir()) == measured
