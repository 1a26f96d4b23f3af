"""Damaged and hostile inputs for as long as you like: python -m tests.fuzz --seconds 3600."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from . import AREAS, UNDETECTABLE
from .outcomes import faults, run

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
parser.add_argument("areas", nargs="*", help=f"some of {', '.join(AREAS)}; all by default")
parser.add_argument("--seconds", type=float, default=3600)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
with tempfile.TemporaryDirectory() as folder:
    os.environ["MEDSAM_CACHE"] = f"{folder}/cache"
    chosen = {name: make for name, make in AREAS.items() if name in (options.areas or AREAS)}
    counts = run(chosen, Path(folder), options.seed, options.seconds)
for kind, outcomes in sorted(counts.items()):
    print(f"{kind}: {dict(outcomes.most_common())}")
bad = faults(counts, UNDETECTABLE)
print(f"{sum(c.total() for c in counts.values())} inputs, seed {options.seed}; faults: {bad or 0}")
sys.exit(bool(bad))
