"""Reads files of `torch.save`, in both layouts, as plain data. Nothing is executed.

`torch.load` is not used, even with `weights_only`: it reserves any size that a tensor declares,
unpacks zip files, and reads the layout before zip files only without `mmap`. Here a tensor can only
be a view of bytes in the file. The file is mapped, not read (as a private copy, because torch
tensors cannot be read-only).
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
from ..generators.weights import check_memory
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
FILTER = (1.0, 3.0, 3.0, 1.0)  # the only resampling filter of the networks here
MAGIC = 0x1950A86A20F9469CFC6C  # of the layout before zip files
DIMENSIONS = 8  # at most, of a tensor
DIRECTORY = 1 << 20  # bytes of a zip directory allowed in any file
BYTES_PER_DIRECTORY_BYTE = 64  # of file size, for a larger directory


def read_torch(path: Path) -> Any:
    """The content of a file of `torch.save`: dicts, lists, numbers, and `StoredTensor`s.

    Objects of other classes are rejected by name, except for a few that are often saved with
    networks (`argparse.Namespace`), which are dropped.

    Raises:
        OSError: it cannot be read.
        ValueError, UnpicklingError, other pickle errors: another kind of file, or damaged.
    """
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return _read_zip(file)
        file.seek(0)
        return _read_legacy(file)


def tensors_of(content: Any, path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a state dict, as views of the file.

    Args:
        content: a dict from `read_torch` that contains only tensors.
        path: of the file it was read from.

    Raises:
        ValueError: it contains something else, or tensors that share bytes.
    """
    if not isinstance(content, Mapping) or not content:
        raise ValueError("it contains no state dict")
    found: dict[str, NDArray[Any]] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, StoredTensor):
            raise ValueError("a state dict with something other than tensors")
        found[name] = value.array
    check_total(found, path)
    return found


def check_total(tensors: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Rejects tensors with more bytes than their file: copies would multiply shared bytes.

    Raises:
        ValueError: they have more.
    """
    if sum(value.nbytes for value in tensors.values()) > path.stat().st_size:
        raise ValueError("its tensors share bytes: together they are larger than the file")


def as_tensor(values: NDArray[Any]) -> Tensor:
    """A view of a file as a tensor for computation; copy it to keep it."""
    return torch.from_numpy(values if values.flags.aligned else np.array(values))


def load_into(generator: Generator, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Copies tensors in float32 into a generator on the meta device.

    Checks all of them before copying.

    Raises:
        ValueError: one is missing, has another shape, or is unknown.
        BundleError: the generator's inner maps are too large.
    """
    check_memory(generator)
    wanted = generator.state_dict()
    for name, value in wanted.items():
        if name not in tensors or tensors[name].shape != value.shape:
            there = tensors[name].shape if name in tensors else "missing"
            raise ValueError(f"{name} is {there}, expected {tuple(value.shape)}")
    if more := sorted(tensors.keys() - wanted.keys()):
        kind = type(generator).__name__
        raise ValueError(
            f"it has {len(more)} tensors that a {kind} does not have, such as {more[0]}"
        )
    state = {
        name: torch.from_numpy(
            np.array(tensors[name], np.float32 if value.is_floating_point() else np.int64)
        )
        for name, value in wanted.items()
    }
    generator.load_state_dict(state, assign=True)


def is_resampling_filter(values: NDArray[Any], gain: float) -> bool:
    """Whether a filter is StyleGAN2's: [1, 3, 3, 1] along both axes, with a sum of `gain`."""
    line = np.array(FILTER) / sum(FILTER)
    expected = np.outer(line, line) * gain
    return values.shape == expected.shape and np.allclose(values, expected, rtol=0, atol=1e-6)


def view(values: NDArray[Any], offset: Any, size: Any, stride: Any) -> NDArray[Any]:
    """A tensor as a view of its storage, never beyond its end.

    Offset, size and stride come from a file, so they can be of any type.

    Raises:
        UnpicklingError: it is larger than its storage, or not a tensor.
    """
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise UnpicklingError("a tensor without a shape")
    numbers = (offset, *size, *stride)
    if len(size) > DIMENSIONS or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        raise UnpicklingError("a tensor with an invalid shape")
    if prod(size) > len(values):
        raise UnpicklingError(f"a tensor of shape {size} in a storage of {len(values)}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if prod(size) and last >= len(values):
        raise UnpicklingError(f"a tensor of shape {size} beyond its storage")
    steps = [step * values.itemsize for step in stride]
    if not prod(size):
        return np.empty(0, values.dtype)  # without bytes, the shape could be anything
    writeable = values.flags.writeable
    return np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=writeable)


class Storage:
    """The values of tensors; in the old layout they come after all tensors.

    Attributes:
        dtype: of the values.
        count: how many the pickle declares.
        values: the values, once they are read.
    """

    def __init__(self, dtype: np.dtype[Any], count: object) -> None:
        if type(count) is not int or count < 0:
            raise UnpicklingError("a storage without a size")
        self.dtype, self.count = dtype, count
        self.values: NDArray[Any] | None = None

    def fill(self, mapped: mmap.mmap, begin: int, length: int) -> None:
        """Reads the values from their place in the file, at most `length` bytes."""
        if self.count * self.dtype.itemsize > min(length, len(mapped) - begin):
            raise UnpicklingError(f"a storage that declares {self.count} values but has fewer")
        self.values = np.frombuffer(mapped, self.dtype, self.count, begin)


class StoredTensor:
    """Stands in for a tensor: its place in its storage."""

    def __init__(self, storage: object, offset: Any, size: Any, stride: Any, *_: object) -> None:
        if not isinstance(storage, Storage):
            raise UnpicklingError("a tensor without a storage")
        self.storage, self.place = storage, (offset, size, stride)

    @property
    def array(self) -> NDArray[Any]:
        """Its values, as a view of the file."""
        if self.storage.values is None:
            raise UnpicklingError("a tensor whose storage is missing")
        return view(self.storage.values, *self.place)


class Dropped:
    """Stands in for ignored objects."""

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
    """The globals that a pickle of torch.save may contain, and their stand-ins.

    Attributes:
        storages: those found so far, by key.
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
        """The stand-in for a global."""
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
    """Reads the layout before zip files: several pickles, then the values of the storages."""
    if _NumbersUnpickler(file).load() != MAGIC:
        raise ValueError("it was not written by torch.save")
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
            raise ValueError(f"a storage that declares {count} values but another number before")
        storage.fill(mapped, place + 8, len(mapped))
        place += 8 + count * storage.dtype.itemsize
    return content


def open_zip(file: BinaryIO) -> ZipFile:
    """Opens a zip file whose directory has a plausible size.

    Raises:
        BadZipFile: not a zip file, or its directory would take far more memory than the file.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 98, 0))
    tail = file.read(98).rjust(98, b"\0")  # zip64's end (56), where to find it (20), the end (22)
    if tail[76:80] != b"PK\x05\x06":
        raise BadZipFile("a zip file without end record")
    (directory,) = struct.unpack("<I", tail[88:92])
    if tail[56:60] == b"PK\x06\x07":
        (directory,) = struct.unpack("<Q", tail[40:48])
    if directory > DIRECTORY + size // BYTES_PER_DIRECTORY_BYTE:
        raise BadZipFile("a zip file with a too large directory")
    return ZipFile(file)


def _read_zip(file: BinaryIO) -> Any:
    """Reads the layout since torch 1.6: a pickle and the storages' values, uncompressed."""
    with open_zip(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("a zip file that was not written by torch.save")
    folder = pickles[0].removesuffix("data.pkl")
    if order := entries.get(f"{folder}byteorder"):
        begin, length = _place(mapped, order)
        if mapped[begin : begin + min(length, 10)] != b"little":
            raise ValueError("written on a big-endian machine")
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
    """Offset and length of an entry's bytes in the file."""
    head = mapped[entry.header_offset : entry.header_offset + 30]
    if entry.compress_type != ZIP_STORED or len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise BadZipFile("compressed or damaged")
    name, extra = struct.unpack("<HH", head[26:30])
    begin = entry.header_offset + 30 + name + extra
    if begin + entry.file_size > len(mapped):
        raise BadZipFile("an entry beyond the end of the file")
    return begin, entry.file_size
