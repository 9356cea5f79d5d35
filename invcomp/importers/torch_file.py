"""Reads what `torch.save` wrote, in both its layouts, as plain data. Nothing is executed.

`torch.load` is not used, even with `weights_only`: it reserves whatever size a tensor declares,
unpacks what a zip file holds, and knows the layout before zip files only without `mmap`. Here a
tensor can only be a view of bytes that are in the file, which is mapped, not read (as a private
copy, for torch's tensors cannot be read-only).
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO, ClassVar
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..generators.base import Generator
from .numpy_pickle import ARRAY_GLOBALS, ArrayUnpickler

STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
FILTER = (1.0, 3.0, 3.0, 1.0)  # the only resampling filter that the networks here have
MAGIC = 0x1950A86A20F9469CFC6C  # of the layout before zip files
DIMENSIONS = 8  # at most, of a tensor
DIRECTORY = 1 << 20  # bytes of a zip file's directory that any file may have
BYTES_PER_DIRECTORY_BYTE = 64  # of a larger file, for a larger one


def read_torch(path: Path) -> Any:
    """What `torch.save` wrote: dicts, lists and numbers, with a `StoredTensor` for each tensor.

    Objects of other classes are refused by name, but for a few that stand beside networks
    (`argparse.Namespace`): of those nothing is kept.

    Raises:
        OSError: it cannot be read.
        ValueError, UnpicklingError, and others of pickle's: it is another file, or damaged.
    """
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return _read_zip(file)
        file.seek(0)
        return _read_legacy(file)


def tensors_of(content: Any, path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a state dict, as views of the file.

    Args:
        content: a dict of `read_torch` that holds nothing but tensors.
        path: of the file that it was read from.

    Raises:
        ValueError: it holds something else, or tensors that share their bytes.
    """
    if not isinstance(content, Mapping) or not content:
        raise ValueError("it holds no state dict")
    found: dict[str, NDArray[Any]] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, StoredTensor):
            raise ValueError("a state dict with something else than tensors")
        found[name] = value.array
    check_total(found, path)
    return found


def check_total(tensors: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Refuses tensors that have more bytes than their file: copies would multiply shared ones.

    Raises:
        ValueError: so it is.
    """
    if sum(value.nbytes for value in tensors.values()) > path.stat().st_size:
        raise ValueError("tensors that share their bytes: together they are larger than the file")


def as_tensor(values: NDArray[Any]) -> Tensor:
    """A view of a file as a tensor to compute with; what is kept must be a copy."""
    return torch.from_numpy(values if values.flags.aligned else np.array(values))


def load_into(generator: Generator, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Gives a generator on the meta device copies of its tensors, in float32.

    Nothing is copied before all of them fit.

    Raises:
        ValueError: one is missing, of another shape, or one too many.
    """
    wanted = generator.state_dict()
    for name, value in wanted.items():
        if name not in tensors or tensors[name].shape != value.shape:
            there = tensors[name].shape if name in tensors else "missing"
            raise ValueError(f"{name} is {there}, expected {tuple(value.shape)}")
    if more := sorted(tensors.keys() - wanted.keys()):
        kind = type(generator).__name__
        raise ValueError(f"it has {len(more)} tensors that a {kind} does not have, as {more[0]}")
    state = {
        name: torch.from_numpy(
            np.array(tensors[name], np.float32 if value.is_floating_point() else np.int64)
        )
        for name, value in wanted.items()
    }
    generator.load_state_dict(state, assign=True)


def is_resampling_filter(values: NDArray[Any], gain: float) -> bool:
    """Whether a filter is that of StyleGAN2: [1, 3, 3, 1] along both axes, with a sum of `gain`."""
    line = np.array(FILTER) / sum(FILTER)
    expected = np.outer(line, line) * gain
    return values.shape == expected.shape and np.allclose(values, expected, rtol=0, atol=1e-6)


def view(values: NDArray[Any], offset: Any, size: Any, stride: Any) -> NDArray[Any]:
    """A tensor on the values of its storage; never more than there are.

    Where and how large it is comes from a file, so it can be of any type.

    Raises:
        UnpicklingError: it is larger than its storage, or no tensor.
    """
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise UnpicklingError("a tensor without a shape")
    numbers = (offset, *size, *stride)
    if len(size) > DIMENSIONS or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        raise UnpicklingError("a tensor whose shape is none")
    if prod(size) > len(values):
        raise UnpicklingError(f"a tensor of shape {size} in a storage of {len(values)}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if prod(size) and last >= len(values):
        raise UnpicklingError(f"a tensor of shape {size} beyond its storage")
    steps = [step * values.itemsize for step in stride]
    if not prod(size):
        return np.empty(0, values.dtype)  # a shape beside no bytes could be any
    writeable = values.flags.writeable
    return np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=writeable)


class Storage:
    """The values that tensors are views of; in the old layout they come after all tensors.

    Attributes:
        dtype: of the values.
        count: how many the pickle declares.
        values: themselves, once they were met.
    """

    def __init__(self, dtype: np.dtype[Any], count: object) -> None:
        if type(count) is not int or count < 0:
            raise UnpicklingError("a storage without a size")
        self.dtype, self.count = dtype, count
        self.values: NDArray[Any] | None = None

    def fill(self, mapped: mmap.mmap, begin: int, length: int) -> None:
        """Takes the values from where they lie in the file, `length` bytes at most."""
        if self.count * self.dtype.itemsize > min(length, len(mapped) - begin):
            raise UnpicklingError(f"a storage that declares {self.count} values and holds fewer")
        self.values = np.frombuffer(mapped, self.dtype, self.count, begin)


class StoredTensor:
    """Stands in for a tensor: where it lies in its storage."""

    def __init__(self, storage: object, offset: Any, size: Any, stride: Any, *_: object) -> None:
        if not isinstance(storage, Storage):
            raise UnpicklingError("a tensor without a storage")
        self.storage, self.place = storage, (offset, size, stride)

    @property
    def array(self) -> NDArray[Any]:
        """Its values, in the file."""
        if self.storage.values is None:
            raise UnpicklingError("a tensor whose storage is missing")
        return view(self.storage.values, *self.place)


class Dropped:
    """Stands in for what is not looked at."""

    def __init__(self, *_: object) -> None:
        pass


class PlainDict(dict[Any, Any]):
    """Stands in for dictionaries of other classes; filled item by item, never copied."""

    def __init__(self, *_: object) -> None:
        super().__init__()


class _StorageType:
    """Stands in for one of torch's storage classes."""

    def __init__(self, name: str) -> None:
        self.dtype = np.dtype(STORAGES[name])


def parameter(data: object = None, *_: object) -> object:
    """Stands in for torch._utils._rebuild_parameter."""
    return data


class TorchUnpickler(ArrayUnpickler):
    """What the pickle in a file of torch.save may name, and the stand-in for each.

    Attributes:
        storages: those that were met, by their keys.
    """

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        **ARRAY_GLOBALS,
        ("collections", "OrderedDict"): PlainDict,
        ("collections", "defaultdict"): PlainDict,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch._utils", "_rebuild_tensor"): StoredTensor,
        ("torch._utils", "_rebuild_tensor_v2"): StoredTensor,
        ("argparse", "Namespace"): Dropped,
        ("builtins", "dict"): Dropped,
        ("__builtin__", "dict"): Dropped,
        ("torch", "device"): Dropped,
        ("torch", "Size"): Dropped,
    }
    stateless: ClassVar[tuple[type, ...]] = (PlainDict, Dropped)

    def __init__(self, file: BinaryIO, length: int | None = None) -> None:
        super().__init__(file, length)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a global."""
        if module == "torch" and name in STORAGES:
            return _StorageType(name)
        return super().find_class(module, name)

    def persistent_load(self, identity: Any) -> Storage:
        """The storage of ("storage", type, key, device, count, view of another)."""
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise UnpicklingError("a storage of an unknown layout")
        kind, key, count = identity[1], identity[2], identity[4]
        if not isinstance(kind, _StorageType) or not isinstance(key, str) or any(identity[5:]):
            raise UnpicklingError("a storage of an unknown layout")
        storage = self.storages.setdefault(key, Storage(kind.dtype, count))
        if (storage.dtype, storage.count) != (kind.dtype, count):
            raise UnpicklingError("a storage of two sizes")
        return storage


class _NumbersUnpickler(ArrayUnpickler):
    """Reads the small pickles around the main one: numbers, text, lists and dicts."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {}


def _read_legacy(file: BinaryIO) -> Any:
    """The layout before zip files: pickles one after the other, then the storages' values."""
    if _NumbersUnpickler(file).load() != MAGIC:
        raise ValueError("torch.save did not write it")
    for _ in ("protocol", "system"):
        _NumbersUnpickler(file).load()
    main = TorchUnpickler(file)
    content, keys = main.load(), _NumbersUnpickler(file).load()
    if not isinstance(keys, list):
        raise ValueError("storages without keys")
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    place = file.tell()
    for key in keys:
        storage = main.storages.get(key) if isinstance(key, str) else None
        count = int.from_bytes(mapped[place : place + 8], "little", signed=True)
        if storage is None or count != storage.count:
            raise ValueError(f"a storage that declares {count} values, and another number before")
        storage.fill(mapped, place + 8, len(mapped))
        place += 8 + count * storage.dtype.itemsize
    return content


def open_zip(file: BinaryIO) -> ZipFile:
    """A zip file whose directory is of a size that fits the file.

    Raises:
        BadZipFile: it is none, or its directory would take far more memory than the file.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 98, 0))
    tail = file.read(98).rjust(98, b"\0")  # zip64's end (56), where to find it (20), the end (22)
    if tail[76:80] != b"PK\x05\x06":
        raise BadZipFile("a zip file without an end")
    (directory,) = struct.unpack("<I", tail[88:92])
    if tail[56:60] == b"PK\x06\x07":
        (directory,) = struct.unpack("<Q", tail[40:48])
    if directory > DIRECTORY + size // BYTES_PER_DIRECTORY_BYTE:
        raise BadZipFile("a zip file with too large a directory")
    return ZipFile(file)


def _read_zip(file: BinaryIO) -> Any:
    """The layout since torch 1.6: a pickle and the storages' values, all of them uncompressed."""
    with open_zip(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("a zip file that torch.save did not write")
    folder = pickles[0].removesuffix("data.pkl")
    if order := entries.get(f"{folder}byteorder"):
        begin, length = _place(mapped, order)
        if mapped[begin : begin + min(length, 10)] != b"little":
            raise ValueError("of a big-endian machine")
    begin, length = _place(mapped, entries[pickles[0]])
    file.seek(begin)
    unpickler = TorchUnpickler(file, length)
    content = unpickler.load()
    for key, storage in unpickler.storages.items():
        if (entry := entries.get(f"{folder}data/{key}")) is None:
            raise ValueError("a storage is missing")
        storage.fill(mapped, *_place(mapped, entry))
    return content


def _place(mapped: mmap.mmap, entry: ZipInfo) -> tuple[int, int]:
    """Where an entry's bytes begin in the file, and how many they are."""
    head = mapped[entry.header_offset : entry.header_offset + 30]
    if entry.compress_type != ZIP_STORED or len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise BadZipFile("compressed, or damaged")
    name, extra = struct.unpack("<HH", head[26:30])
    begin = entry.header_offset + 30 + name + extra
    if begin + entry.file_size > len(mapped):
        raise BadZipFile("an entry beyond the end")
    return begin, entry.file_size
