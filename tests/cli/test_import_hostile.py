"""Hostile files on the command line: exit code 1, one line on stderr, nothing written."""

from pathlib import Path

import pytest

from ..importers.hostile import (
    ATTACKS,
    KINDS,
    WRAPPINGS,
    write_attack,
    write_stylegan3,
    write_tensor,
)
from .conftest import Invcomp, finish, start

SOME_ATTACKS = [*ATTACKS][::6]


def refused(invcomp: Invcomp, path: Path) -> None:
    outcome = invcomp("models", "import", path, "-o", path.parent / "ours.ivm")
    assert outcome.code == 1
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in line
    assert {entry.name for entry in path.parent.iterdir()} == {path.name}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hostile.pkl"


@pytest.mark.parametrize("attack", SOME_ATTACKS)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_attacks(invcomp: Invcomp, wrapping: str, attack: str, path: Path) -> None:
    write_attack(path, wrapping, attack, Path("executed"))
    refused(invcomp, path)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_declared_shape_of_10_gb(invcomp: Invcomp, wrapping: str, path: Path) -> None:
    write_tensor(path, wrapping, "a shape of 10 GB")
    refused(invcomp, path)


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_file(invcomp: Invcomp, kind: str, path: Path) -> None:
    KINDS[kind](path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(invcomp, path)


def test_a_design_without_bounds(invcomp: Invcomp, path: Path) -> None:
    for arguments in ({"num_layers": 10**9}, {"first_cutoff": 0.0}, {"img_channels": "x\n" * 9999}):
        write_stylegan3(path, **arguments)
        refused(invcomp, path)


def test_as_a_program_of_its_own(path: Path, tiny_cache: Path) -> None:
    """Nothing on stderr either of what lies below Python: warnings, or a crash."""
    write_attack(path, "network pickle", "a hash without a bottom", Path("executed"))
    outcome = finish(start("models", "import", path, "-o", path.parent / "o.ivm", cache=tiny_cache))
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
