"""Reading takes at most twice a file's size of memory, as the operating system counts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARGIN = 24 << 20  # bytes that reading may take beside, however small the file


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_large_files(tmp_path: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.importers.memory", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    results = json.loads(outcome.stdout)
    for name, result in results.items():
        assert result["growth"] <= 2 * result["bytes"] + MARGIN, (name, result)
        assert bool(result["error"]) == (name not in VALID_NAMES), (name, result)


VALID_NAMES = {
    "stylegan2", "stylegan2 of protocol 2", "stylegan3", "rosinality", "rosinality before zip",
    "dcgan", "dcgan before zip",
}  # fmt: skip
