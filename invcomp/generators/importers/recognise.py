"""Finds out what kind of generator a file holds, and reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import BundleError, MissingBundleError
from ..base import Generator
from .biggan import read_biggan
from .dcgan import read_dcgan
from .nvidia_pickle import read_nvidia
from .rosinality import read_rosinality
from .torch_file import open_zip

READERS: dict[str, Callable[[Path], Generator]] = {
    "StyleGAN2-ADA or StyleGAN3 network pickle": read_nvidia,
    "stylegan2-pytorch checkpoint": read_rosinality,
    "BigGAN-deep state dict": read_biggan,
    "stack of transposed convolutions": read_dcgan,
}

PROGRAMS = {  # by what lies in the one folder of their zip files
    "TorchScript": ("code/", "constants.pkl", "model.json"),
    "what torch.export saves": ("models/", "archive_format", "serialized_exported_program"),
}
REASON = 240  # letters at most of why a file is not of a kind


def read_foreign(path: Path) -> tuple[Generator, str]:
    """The generator of somebody else's file, and what kind of file it is.

    Nothing in the file is executed.

    Raises:
        MissingBundleError: no such file.
        BundleError: of no known kind, damaged, or TorchScript.
    """
    if not path.is_file():
        raise MissingBundleError(f"{path}: no such file")
    _refuse_programs(path)
    reasons = []
    for kind, read in READERS.items():
        try:
            return read(path), kind
        except BundleError as error:
            reasons.append(f"as a {kind}: {_short(str(error).removeprefix(f'{path}: '))}")
    raise BundleError(f"{path}: no generator of a known kind ({'; '.join(reasons)})")


def _refuse_programs(path: Path) -> None:
    """TorchScript and torch.export have a reason of their own; they would fail anyway.

    Raises:
        BundleError: it is one of them.
    """
    try:
        with path.open("rb") as file, open_zip(file) as archive:
            names = archive.namelist()
    except Exception:  # no zip file, or a hostile one: the readers tell
        return
    for kind, marks in PROGRAMS.items():
        if any(name.partition("/")[2].startswith(marks) or name in marks for name in names):
            raise BundleError(
                f"{path}: {kind} is a program, and programs in a file are not run: "
                "save the state dict instead, torch.save(network.state_dict(), ...)"
            )


def _short(reason: str) -> str:
    """A reason in one line, however long a name in a hostile file is."""
    line = "".join(letter if letter.isprintable() else " " for letter in reason[: 4 * REASON])
    line = " ".join(line.split())
    return line if len(line) <= REASON else f"{line[:REASON]}..."
