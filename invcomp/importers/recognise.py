"""Recognises the kind of generator in a file and reads it, or says in one line why not."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import BundleError, MissingBundleError
from ..generators.base import Generator
from .biggan import read_biggan
from .dcgan import read_dcgan
from .nvidia_pickle import read_nvidia
from .reasons import reason_of, short
from .rosinality import read_rosinality
from .torch_file import MAGIC, StoredTensor, open_zip, read_torch

Kind = tuple[str, Callable[[Path], Generator]]

NVIDIA: Kind = ("StyleGAN2-ADA or StyleGAN3 network pickle", read_nvidia)
ROSINALITY: Kind = ("stylegan2-pytorch checkpoint", read_rosinality)
BIGGAN: Kind = ("BigGAN-deep state dict", read_biggan)
DCGAN: Kind = ("stack of transposed convolutions", read_dcgan)

PROGRAMS = {  # by names in the only folder of their zip files
    "TorchScript": ("code/", "constants.pkl", "model.json"),
    "a file of torch.export": ("models/", "archive_format", "serialized_exported_program"),
}
OTHERS = {  # by their first bytes
    b"\x89HDF\r\n\x1a\n": "Keras or TensorFlow weights (HDF5)",
    b"\x08\x01\x12": "a TensorFlow saved model",
}
CHECKPOINT_END = bytes.fromhex("57fb808b247547db")  # of the index of a TensorFlow checkpoint
WAY_OUT = (
    "convert the weights to a supported kind, or register the network as a generator of your own"
)
TENSORFLOW = ("dnnlib.tflib", "tfutil", "tensorflow")  # modules in NVIDIA's older pickles
MAGIC_BYTES = MAGIC.to_bytes(10, "little")
LONGEST_HEAD = 64  # bytes that contain the pickled magic number of old torch files
NAMES = 10_000  # to look at


def read_foreign(path: Path) -> tuple[Generator, str]:
    """The generator of a third-party file, and the kind of file.

    Nothing in the file is executed.

    Raises:
        MissingBundleError: no such file.
        BundleError: an unknown kind, damaged, or TorchScript; one line with one reason.
    """
    if not path.is_file():
        raise MissingBundleError(f"{path}: no such file")
    _refuse_programs(path)
    kind, read = _kind_of(path)
    try:
        return read(path), kind
    except BundleError as error:
        reason = str(error).removeprefix(f"{path}: ")
        if any(f"asks for {module}" in reason for module in TENSORFLOW):
            reason = (
                "a network of NVIDIA's TensorFlow code: convert it with legacy.py of the "
                "StyleGAN2-ADA-PyTorch or StyleGAN3 repository, and import the result"
            )
        raise BundleError(f"{path}: {short(reason)}") from error


def _refuse_programs(path: Path) -> None:
    """Gives TorchScript and torch.export files, which would fail anyway, their own reason.

    Raises:
        BundleError: it is one of them.
    """
    try:
        with path.open("rb") as file, open_zip(file) as archive:
            names = archive.namelist()
    except Exception:  # not a zip file, or a hostile one: the readers report it
        return
    for kind, marks in PROGRAMS.items():
        if any(name.partition("/")[2].startswith(marks) or name in marks for name in names):
            raise BundleError(
                f"{path}: {kind} is a program, and programs are not executed: "
                "save the state dict instead, torch.save(network.state_dict(), ...)"
            )
    if "model.weights.h5" in names:
        raise _unknown(path, f"a Keras model: {WAY_OUT}")


def _kind_of(path: Path) -> Kind:
    """The kind of file, by its first bytes and the names in it.

    Raises:
        BundleError: it is not supported.
    """
    with path.open("rb") as file:
        head = file.read(LONGEST_HEAD)
        file.seek(max(path.stat().st_size - 8, 0))
        end = file.read(8)
    for beginning, what in OTHERS.items():
        if head.startswith(beginning):
            raise _unknown(path, f"{what}: {WAY_OUT}")
    if end == CHECKPOINT_END:
        raise _unknown(path, f"a TensorFlow checkpoint: {WAY_OUT}")
    if head.startswith(b"PK\x03\x04") or MAGIC_BYTES in head:
        return _kind_of_tensors(path)
    if head[:1] == pickle.PROTO:
        return NVIDIA
    if not head:
        raise _unknown(path, "it is empty")
    raise _unknown(path, "it is neither a network pickle nor a file of torch.save")


def _kind_of_tensors(path: Path) -> Kind:
    """The kind of network in a file of `torch.save`, by its names.

    Raises:
        BundleError: it is not supported, or contains more than data.
    """
    try:
        content = read_torch(path)
    except Exception as error:  # a hostile pickle can raise anything
        reason = reason_of(error)
        if "which is not allowed" in reason:
            reason += ": save the state dict alone, torch.save(network.state_dict(), ...)"
        raise _unknown(path, reason) from error
    names: set[str] = set()
    convolutions = False
    for _, (name, tensor) in zip(range(NAMES), _tensors(content), strict=False):
        names.add(name.removeprefix("module."))
        convolutions = convolutions or len(tensor.place[1]) == 4
    if any(name.endswith("conv.modulation.weight") for name in names):
        return ROSINALITY
    if any(name.startswith("generator.gen_z.") for name in names):
        return BIGGAN
    if any(".to_style1." in name for name in names):
        raise _unknown(
            path,
            "a checkpoint of lucidrains' stylegan2_pytorch, whose network is not NVIDIA's "
            f"StyleGAN2: {WAY_OUT}",
        )
    if convolutions:
        return DCGAN
    raise _unknown(
        path, f"it contains {f'tensors such as {min(names)}' if names else 'no tensors'}"
    )


def _tensors(content: Any) -> Iterator[tuple[str, StoredTensor]]:
    """Names and tensors of all dicts in a file, including nested ones; each dict once."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        current = waiting.pop()
        if not isinstance(current, Mapping) or id(current) in seen:
            continue
        seen.add(id(current))
        for name, value in current.items():
            if isinstance(value, StoredTensor) and isinstance(name, str):
                if isinstance(value.place[1], tuple):
                    yield name, value
            else:
                waiting.append(value)


def _unknown(path: Path, reason: str) -> BundleError:
    return BundleError(f"{path}: no generator of a known kind: {short(reason)}")
