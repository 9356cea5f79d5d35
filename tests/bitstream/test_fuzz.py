"""Thousands of mutated files with right checksums; scripts/benchmarks/fuzz.py reads a million."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks" / "fuzz.py"


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_files_are_read_or_refused(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5,000 in all: no other exception than the documented ones, nothing large is reserved."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))  # for mutations.py beside it
    fuzz = runpy.run_path(str(SCRIPT))
    found = fuzz["run"](2500, seed, tmp_path)
    assert not any(tmp_path.iterdir())  # where a file is kept that breaks anything
    assert sum(found["ends"].values()) == 2500
    assert 0 < found["largest"] < 64 << 20
    assert found["grown"] < 64 << 20
    assert found["ends"]["BitstreamError"] > 500
    assert found["ends"]["read"] > 20  # or nothing behind the container was reached
