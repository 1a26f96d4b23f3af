"""One thread per test process: two torch jobs that share cores without it are far slower than one."""

import os

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
