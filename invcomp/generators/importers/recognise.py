"""Finds out what kind of generator a file holds, and reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from ...errors import BundleError, MissingBundleError
from ..base import Generator
from .biggan import read_biggan
from .dcgan import read_dcgan
from .nvidia_pickle import read_nvidia
from .rosinality import read_rosinality

READERS: dict[str, Callable[[Path], Generator]] = {
    "StyleGAN2-ADA or StyleGAN3 network pickle": read_nvidia,
    "stylegan2-pytorch checkpoint": read_rosinality,
    "BigGAN-deep state dict": read_biggan,
    "stack of transposed convolutions": read_dcgan,
}


def read_foreign(path: Path) -> tuple[Generator, str]:
    """The generator of somebody else's file, and what kind of file it is.

    Nothing in the file is executed.

    Raises:
        MissingBundleError: no such file.
        BundleError: of no known kind, damaged, or TorchScript.
    """
    if not path.is_file():
        raise MissingBundleError(f"{path}: no such file")
    _refuse_torchscript(path)
    reasons = []
    for kind, read in READERS.items():
        try:
            return read(path), kind
        except BundleError as error:
            reasons.append(f"as a {kind}: {str(error).removeprefix(f'{path}: ')}")
    raise BundleError(f"{path}: no generator of a known kind ({'; '.join(reasons)})")


def _refuse_torchscript(path: Path) -> None:
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return  # no archive
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        raise BundleError(
            f"{path}: TorchScript is a program, and programs in a file are not run: "
            "save the state dict instead"
        )
