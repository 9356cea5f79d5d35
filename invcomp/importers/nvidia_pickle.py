"""Reads the pickles of NVIDIA's StyleGAN2-ADA-PyTorch and StyleGAN3 repositories as data.

Their own loader executes Python source in the pickle. This one executes nothing: it reads every
object into an inert stand-in, drops the source, and rejects by name everything that is not on a
short list. Networks are then built from our own modules and the tensors by their names.

Tensors are bytes that `torch.save` wrote. They are not passed to `torch.load`, even with
`weights_only`, because it reserves any size that they declare. Here a tensor can only be a view of
bytes in the file.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from ..generators.base import Generator
from .numpy_pickle import ARRAY_GLOBALS, ArrayUnpickler
from .nvidia_network import Module, Network, build
from .reasons import refusal
from .torch_file import MAGIC, STORAGES, Dropped, check_total, parameter, view

HEAD = 4096  # bytes in which to search the head of a storage


def read_nvidia(path: Path) -> Generator:
    """The averaged generator (`G_ema`) of a network pickle.

    Raises:
        BundleError: not such a pickle, damaged, containing anything but data, or a network of an
            unknown kind.
    """
    try:
        with path.open("rb") as file:
            top = _Unpickler(file).load()
    except Exception as error:  # a hostile pickle can raise anything
        raise refusal(path, "not a readable network pickle", error) from error
    if not isinstance(top, Mapping) or not isinstance(top.get("G_ema"), Module):
        raise BundleError(f"{path}: it contains no network called G_ema")
    try:
        network = Network(top["G_ema"])
        check_total(network.tensors, path)
        return build(network)
    except Exception as error:  # as above
        raise refusal(path, "the network cannot be rebuilt", error) from error


class _Dict(dict[Any, Any]):
    """Stands in for dnnlib's EasyDict and for OrderedDict; filled item by item, never copied."""

    def __init__(self, *items: object) -> None:
        if any(items):
            raise pickle.UnpicklingError("a dictionary made from another one")
        super().__init__()


class _Storage:
    """The values of tensors, as one array of their type."""

    def __init__(self, data: object) -> None:
        if not isinstance(data, bytes):
            raise pickle.UnpicklingError("a storage that is not bytes")
        file = io.BytesIO(data[:HEAD])
        if _StorageUnpickler(file).load() != MAGIC:
            raise pickle.UnpicklingError("a storage that torch.save did not write")
        for _ in ("protocol", "system"):
            _StorageUnpickler(file).load()
        kind = _StorageUnpickler(file).load()
        keys = _StorageUnpickler(file).load()
        if not isinstance(kind, _StorageType) or not isinstance(keys, list) or len(keys) != 1:
            raise pickle.UnpicklingError("a storage of an unknown layout")
        begin = file.tell() + 8
        count = int.from_bytes(data[begin - 8 : begin], "little", signed=True)
        if count < 0 or count * kind.dtype.itemsize > len(data) - begin:
            raise pickle.UnpicklingError(f"a storage that declares {count} values but has fewer")
        self.array: NDArray[Any] = np.frombuffer(data, kind.dtype, count, begin)


class _StorageType:
    """Stands in for torch's storage classes, and then for the storage in the bytes."""

    def __init__(self, name: str) -> None:
        self.dtype = np.dtype(STORAGES[name])


class _StorageUnpickler(ArrayUnpickler):
    """Reads the small pickles at the head of a torch.save file."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return _StorageType(name)
        return super().find_class(module, name)

    def persistent_load(self, identity: Any) -> Any:
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise pickle.UnpicklingError("a storage of an unknown layout")
        if len(identity) > 5 and identity[5] is not None:
            raise pickle.UnpicklingError("a view of a storage")
        return identity[1]


def _tensor(
    storage: object, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> NDArray[Any]:
    """Stands in for torch._utils._rebuild_tensor_v2, on existing bytes."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return view(storage.array, offset, size, stride)


class _Unpickler(ArrayUnpickler):
    """The globals that a network pickle may contain, and their stand-ins."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        **ARRAY_GLOBALS,
        ("collections", "OrderedDict"): _Dict,
        ("dnnlib.util", "EasyDict"): _Dict,
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): Module,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("builtins", "set"): Dropped,
        ("__builtin__", "set"): Dropped,
    }
    stateless: ClassVar[tuple[type, ...]] = (_Dict, Dropped)

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.storages: dict[int, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a global."""
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return self.storage
        return super().find_class(module, name)

    def storage(self, data: object) -> _Storage:
        """Stands in for torch.storage._load_from_bytes; reads the same bytes once."""
        if id(data) not in self.storages:
            self.storages[id(data)] = _Storage(data)
        return self.storages[id(data)]
