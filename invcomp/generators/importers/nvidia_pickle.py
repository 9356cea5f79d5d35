"""Reads the pickles of NVIDIA's StyleGAN2-ADA-PyTorch and StyleGAN3 repositories as data.

Their own loader executes Python source that the pickle carries. This one executes nothing: every
object is read into an inert stand-in, the source is dropped, and what is not on a short list is
refused by name. Networks are then built from our own modules and the tensors by their names.

Tensors come as bytes that `torch.save` wrote. They are not given to `torch.load`, even with
`weights_only`: it reserves whatever size they declare. Here a tensor can only be a view of bytes
that are in the file.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import BundleError
from ..base import Generator
from ..stylegan2 import StyleGAN2
from ..stylegan3 import Design, StyleGAN3
from .numpy_pickle import ARRAY_GLOBALS, ArrayUnpickler
from .torch_file import MAGIC, STORAGES, Dropped, check_total, load_into, parameter, view

PLAIN = (bool, int, float, str)  # what a network is made with
HEAD = 4096  # bytes that are searched for the head of a storage
LONGEST_NAME = 1000  # of a tensor, with the modules that it is in
FILTER = [1.0, 3.0, 3.0, 1.0]  # the only resampling filter that the networks here have


def read_nvidia(path: Path) -> Generator:
    """The averaged generator (`G_ema`) of a network pickle.

    Raises:
        BundleError: not such a pickle, damaged, one that asks for anything but data, or a network
            of a kind that is not known here.
    """
    try:
        with path.open("rb") as file:
            top = _Unpickler(file).load()
    except Exception as error:  # a hostile pickle can raise what it likes
        raise BundleError(f"{path}: not a network pickle that can be read: {error}") from error
    if not isinstance(top, Mapping) or not isinstance(top.get("G_ema"), _Object):
        raise BundleError(f"{path}: it holds no network called G_ema")
    network: _Object = top["G_ema"]
    try:
        tensors = _tensors(network)
        check_total(tensors, path)
        return _build(network.arguments, tensors)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    except Exception as error:  # as above
        raise BundleError(f"{path}: the network cannot be rebuilt: {error}") from error


class _Object:
    """Stands in for an object of a class whose source came along: its attributes, nothing else."""

    def __init__(self, meta: object) -> None:
        if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
            raise pickle.UnpicklingError("a persistent object without a state")
        self.state = meta["state"]

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that it was made with."""
        given = self.state.get("_init_kwargs", {})
        inner = {k: _plain(v) for k, v in given.items() if isinstance(v, dict)}
        return {**_plain(given), **inner}


def _plain(values: dict[Any, Any]) -> dict[str, Any]:
    """The numbers and texts of a dictionary: all that a network is made with."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(name, str) and isinstance(value, PLAIN)
    }


class _Dict(dict[Any, Any]):
    """Stands in for dnnlib's EasyDict and for OrderedDict; filled item by item, never copied."""

    def __init__(self, *items: object) -> None:
        if any(items):
            raise pickle.UnpicklingError("a dictionary of another one")
        super().__init__()


class _Storage:
    """Bytes of tensors, as one array of their type."""

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
            raise pickle.UnpicklingError(f"a storage that declares {count} values and holds fewer")
        self.array: NDArray[Any] = np.frombuffer(data, kind.dtype, count, begin)


class _StorageType:
    """Stands in for torch's storage classes, and then for the one storage in the bytes."""

    def __init__(self, name: str) -> None:
        self.dtype = np.dtype(STORAGES[name])


class _StorageUnpickler(ArrayUnpickler):
    """Reads the small pickles at the head of what torch.save wrote."""

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
    """torch._utils._rebuild_tensor_v2, on bytes that are there."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return view(storage.array, offset, size, stride)


class _Unpickler(ArrayUnpickler):
    """What a network pickle may name, and the stand-in for each."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        **ARRAY_GLOBALS,
        ("collections", "OrderedDict"): _Dict,
        ("dnnlib.util", "EasyDict"): _Dict,
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Object,
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
        """The stand-in of a global."""
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return self.storage
        return super().find_class(module, name)

    def storage(self, data: object) -> _Storage:
        """torch.storage._load_from_bytes; the same bytes are read once."""
        if id(data) not in self.storages:
            self.storages[id(data)] = _Storage(data)
        return self.storages[id(data)]


def _tensors(network: _Object) -> dict[str, NDArray[Any]]:
    """Parameters and buffers of a module and those in it, under torch's names."""
    found: dict[str, NDArray[Any]] = {}
    seen: set[int] = set()
    waiting = [("", network)]
    while waiting:
        prefix, module = waiting.pop()
        if id(module) in seen or len(prefix) > LONGEST_NAME:  # twice within itself: without an end
            raise ValueError("a module in two places, or nested without an end")
        seen.add(id(module))
        for kind in ("_parameters", "_buffers"):
            for name, value in module.state.get(kind, {}).items():
                if isinstance(value, np.ndarray):
                    found[f"{prefix}{name}"] = value
        for name, inner in module.state.get("_modules", {}).items():
            if isinstance(inner, _Object):
                waiting.append((f"{prefix}{name}.", inner))
    return found


def _build(arguments: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Generator:
    """Our network of NVIDIA's tensors; its kind is read off their names."""
    if arguments.get("img_channels", 3) != 3:
        raise BundleError(f"{arguments['img_channels']} channels: pictures have 3")
    if "synthesis.b4.const" in tensors:
        generator: Generator = _stylegan2(tensors)
    elif "synthesis.input.freqs" in tensors:
        generator = _stylegan3(arguments, tensors)
    else:
        raise BundleError("neither StyleGAN2 nor StyleGAN3 by its parameters")
    wanted = generator.state_dict()
    load_into(generator, {name: tensors[name] for name in wanted if name in tensors})
    return generator.eval().requires_grad_(False)


def _mapping(tensors: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Sizes, depth and classes of the mapping network, off its tensors."""
    depth = sum(name.startswith("mapping.fc") and name.endswith(".weight") for name in tensors)
    w_size, inputs = tensors["mapping.fc0.weight"].shape
    embedding = tensors.get("mapping.embed.weight")  # [numbers of a class, classes]
    beside, classes = (0, 0) if embedding is None else embedding.shape
    return {
        "z_size": inputs - beside,
        "w_size": w_size,
        "mapping_depth": depth,
        "classes": classes,
    }


def _stylegan2(tensors: dict[str, NDArray[Any]]) -> StyleGAN2:
    """Channels are the shapes of each resolution's second convolution."""
    channels: list[int] = []
    while (name := f"synthesis.b{4 << len(channels)}.conv1.weight") in tensors:
        channels.append(tensors[name].shape[0])
    sizes = [4 << index for index in range(len(channels))]
    if any(f"synthesis.b{size}.torgb.weight" not in tensors for size in sizes):
        raise BundleError("another architecture than skip outputs")
    filters = tensors.get(f"synthesis.b{sizes[-1]}.resample_filter")
    if filters is not None:
        row = filters.sum(0) if filters.ndim == 2 else filters
        expected = np.array(FILTER) / sum(FILTER)
        if row.shape != expected.shape or not np.allclose(row, expected, atol=1e-5):
            raise BundleError("another resampling filter than [1, 3, 3, 1]")
    with torch.device("meta"):
        return StyleGAN2(channels, **_mapping(tensors))


def _stylegan3(arguments: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> StyleGAN3:
    """The design is what the network was made with; its repository keeps it among the arguments."""
    nested = arguments.get("synthesis_kwargs", {})
    given = {**arguments, **nested}
    names = {
        "num_layers": "layers",
        "num_critical": "critical",
        "first_cutoff": "first_cutoff",
        "first_stopband": "first_stopband",
        "last_stopband_rel": "last_stopband_rel",
        "margin_size": "margin",
        "channel_base": "channel_base",
        "channel_max": "channel_max",
        "conv_kernel": "kernel",
        "filter_size": "filter_size",
        "lrelu_upsampling": "upsampling",
        "use_radial_filters": "radial",
        "output_scale": "output_scale",
    }
    kinds = {name: type(value) for name, value in vars(Design()).items()}
    design = {ours: kinds[ours](given[theirs]) for theirs, ours in names.items() if theirs in given}
    with torch.device("meta"):
        return StyleGAN3(int(given["img_resolution"]), **_mapping(tensors), design=design)
