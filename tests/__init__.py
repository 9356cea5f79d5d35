"""Tests mirror the modules. Parallel test processes share the cores (pytest-xdist)."""

import os

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # before torch is imported
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(share, 1)))
