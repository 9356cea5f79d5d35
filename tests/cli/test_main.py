"""The program as a whole: help, version, what is imported, how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

import invcomp as package

from .conftest import Invcomp, finish, start

VERBS = ("compress", "decompress", "info", "demo", "compare", "prepare")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from invcomp.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy', 'PIL') if name in sys.modules])\n"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout.splitlines()[-1] == "[]", output.stderr


def test_help_names_every_verb(invcomp: Invcomp) -> None:
    outcome = invcomp("--help")
    assert outcome.code == 0
    assert all(verb in outcome.out for verb in (*VERBS, "models"))


@pytest.mark.parametrize(
    "verb",
    [*((verb,) for verb in VERBS), ("models", "list"), ("models", "get"), ("models", "info")],
)
def test_every_verb_has_help_with_examples(invcomp: Invcomp, verb: tuple[str, ...]) -> None:
    outcome = invcomp(*verb, "--help")
    assert outcome.code == 0
    assert outcome.out.count(f"invcomp {' '.join(verb)}") >= 2  # usage, and an example


def test_version(invcomp: Invcomp) -> None:
    outcome = invcomp("--version")
    assert (outcome.code, outcome.out) == (0, f"invcomp {package.__version__}\n")


def test_a_reader_that_goes_away_leaves_no_traceback(tmp_path: Path, tiny_cache: Path) -> None:
    process = start("models", "list", "--json", cache=tiny_cache)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    outcome = finish(process)
    assert "Traceback" not in outcome.err
    assert "Exception" not in outcome.err
