"""Tests mirror the modules. Parallel test processes share the cores (pytest-xdist)."""

import os

# before torch is imported
workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // workers, 1)))
