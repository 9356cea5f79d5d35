"""Runs the command line: in this process, or as a program of its own."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from invcomp.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
FAST = ("--iterations", "6", "--starts", "1", "--no-compile", "--device", "cpu")


@dataclass(frozen=True)
class Outcome:
    """What a run of the program gave."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


Invcomp = Callable[..., Outcome]


@pytest.fixture
def invcomp(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Invcomp:
    """Runs `invcomp ARGUMENTS` with the tiny bundle in the cache."""

    def call(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["invcomp", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            run()
        return Outcome(int(exit.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def compress(invcomp: Invcomp, tiny_model: Path) -> Invcomp:
    """Runs `invcomp compress ARGUMENTS` with the tiny bundle and a short search."""
    return lambda *arguments: invcomp("compress", "--model", tiny_model, *FAST, *arguments)


@pytest.fixture(scope="session")
def ivc(tiny_cache: Path, images: list[Path]) -> bytes:
    """The .ivc file of the first image."""
    from PIL import Image

    from invcomp.bundle import read_bundle
    from invcomp.codec import Codec
    from invcomp.inversion.options import SearchOptions

    codec = Codec(read_bundle(tiny_cache / "models" / "tiny.ivm"), "cpu", compiled=False)
    with Image.open(images[0]) as image:
        return codec.compress(image, search=SearchOptions(iterations=6, starts=1))


@contextmanager
def standard_input(file: Path) -> Iterator[None]:
    """A file of at most 64 KB comes through a pipe that is this process's standard input."""
    kept, (out, into) = os.dup(0), os.pipe()
    try:
        os.write(into, file.read_bytes())
        os.close(into)
        os.dup2(out, 0)
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(out)


def start(
    *arguments: str | Path,
    cache: Path,
    largest_file: int | None = None,
) -> subprocess.Popen[str]:
    """Starts `python -m invcomp ARGUMENTS` as a process of its own.

    It hears Ctrl-C even where the tests themselves run in a shell's background, which ignores it.
    It may be kept from writing files past a size in bytes, as on a full disk.
    """

    def before() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    environment = {**os.environ, "INVCOMP_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "invcomp", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=before,
    )


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Waits for it to end."""
    out, err = process.communicate(timeout=600)
    return Outcome(process.returncode, out, err)
