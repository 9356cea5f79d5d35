"""Generators as safetensors: weights under plain names, and kind and options as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import BundleError, MissingBundleError
from ..files import atomic_write
from ..preprocessing.frame import check_frame
from ..stored import finite, json_object, one_line
from .base import LARGEST_SIDE, Generator
from .registry import class_of, kind_of

FORMAT = "invcomp generator 1"
PREFIX = "generator."
LARGEST_LATENT = 1 << 20  # values
LARGEST_MAP = 1 << 30  # values of a result within a generator: StyleGAN3-R of 1024 px has 0.7
SMALL_MAP, PER_WEIGHT = 1 << 27, 128  # fewer are allowed to few weights: this, or so many for each
MOST_VALUES = 1 << 36  # of all results together, which take time


def describe(generator: Generator) -> dict[str, Any]:
    """Kind and options of a generator, as JSON values.

    Raises:
        BundleError: its kind is not registered, or its options are not JSON values.
    """
    kind, options = kind_of(generator), generator.options()
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BundleError(f"the options() of {kind} are not JSON values: {error}") from error
    return {"kind": kind, "options": options}


def tensors_of(generator: Generator) -> dict[str, Tensor]:
    """A generator's weights and buffers by name, each name with the prefix "generator."."""
    return {PREFIX + name: value for name, value in generator.state_dict().items()}


def build(
    description: dict[str, Any], tensors: Mapping[str, Tensor], known: bool = False
) -> Generator:
    """The generator from `describe` and `tensors_of`, frozen, in float32.

    What it would take to make an image is checked before any of it is reserved (`check_memory`),
    unless the description is known to be harmless.

    Raises:
        BundleError: the kind is not installed or registered, or its options are invalid.
        KeyError, TypeError, ValueError, RuntimeError: description and tensors do not match.
    """
    kind, options = class_of(description["kind"]), description["options"]
    with torch.device("meta"):  # skips drawing random weights
        generator = _construct(kind, options)
    state = {
        name[len(PREFIX) :]: value for name, value in tensors.items() if name.startswith(PREFIX)
    }
    if not known:
        check_memory(generator)
    load_checked(generator, state)
    if any(value.is_meta for value in generator.buffers()):  # computed buffers, not in the file
        generator = _construct(kind, options)
        load_checked(generator, state)
    return generator.eval().requires_grad_(False)


def load_checked(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Gives a module tensors of a file as its weights, in float32.

    Raises:
        ValueError: one has another type, or values that are not finite.
        RuntimeError: they are not those of the module.
    """
    wanted = module.state_dict()
    for name, value in state.items():
        if name in wanted and (value.is_floating_point(), value.is_complex()) != (
            wanted[name].is_floating_point(),
            False,
        ):
            raise ValueError(f"{name} has values of type {value.dtype}")
    loaded = {
        name: value.float() if value.is_floating_point() else value for name, value in state.items()
    }
    for name, value in loaded.items():
        if value.is_floating_point():
            finite(value, name)
    module.load_state_dict(loaded, assign=True)


def check_memory(generator: Generator) -> None:
    """Refuses a generator whose inner maps are huge, or large for its number of weights.

    A file of some KB can describe layers of any size. They are counted by a pass without data.

    Args:
        generator: on the meta device.

    Raises:
        BundleError: an inner map is too large, or it makes no image of its resolution.
    """
    sizes = generator.resolution, generator.z_size, generator.latent_size
    if not all(1 <= size <= LARGEST_LATENT for size in sizes):
        raise BundleError(f"images of {sizes[0]} px from {sizes[1]} numbers, {sizes[2]} latents")
    if generator.resolution > LARGEST_SIDE:
        raise BundleError(f"images of {generator.resolution} px are too large")
    latents = torch.empty(1, generator.latent_size, device="meta")
    weights = sum(value.numel() for value in generator.state_dict().values())
    most = min(max(PER_WEIGHT * weights, SMALL_MAP), LARGEST_MAP)
    try:
        with torch.no_grad(), _Counting(most):
            image = generator.eval()(latents)
    except BundleError:
        raise
    except Exception as error:
        if type(generator).__module__.startswith(__package__):
            raise BundleError(f"a generator that makes no image: {one_line(error)}") from error
        return  # one of another package need not run without data
    if image.shape != (1, 3, generator.resolution, generator.resolution):
        raise BundleError(f"a generator whose images are {list(image.shape[1:])}")


class _Counting(TorchDispatchMode):
    """Refuses operations whose results are too large."""

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most, self.total = most, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            size = value.numel() if isinstance(value, Tensor) else 0
            self.total += size
            if size > self.most or self.total > MOST_VALUES:
                raise BundleError(f"a generator with a layer of {size:,} values is too large")
        return result


def _construct(kind: type[Generator], options: dict[str, Any]) -> Generator:
    try:
        return kind(**options)
    except Exception as error:  # a third-party constructor can raise anything
        raise BundleError(
            f"cannot build a {kind.__qualname__} from its options: {error}"
        ) from error


def compact(tensor: Tensor) -> Tensor:
    """The tensor as float16 if that is lossless, else itself."""
    if tensor.dtype == torch.float32 and torch.equal(tensor.half().float(), tensor):
        return tensor.half()
    return tensor


def round_to_half(generator: Generator) -> Generator:
    """Rounds weights and buffers to float16 values in place, which halves file sizes."""
    for value in generator.state_dict().values():
        if value.dtype == torch.float32:
            value.copy_(value.half().float())
    return generator


def save_generator(generator: Generator, path: Path) -> None:
    """Writes a generator alone with its `frame`, without coordinates and priors.

    Raises:
        OutputError: it could not be written.
    """
    tensors = {
        name: compact(value.detach().cpu()).contiguous()
        for name, value in tensors_of(generator).items()
    }
    metadata = {"format": FORMAT, "generator": json.dumps(describe(generator))}
    if generator.frame is not None:
        metadata["frame"] = generator.frame
    with atomic_write(path, force=True) as temporary:
        save_file(tensors, temporary, metadata)


def is_generator(path: Path) -> bool:
    """Whether `save_generator` wrote a file, according to its metadata."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def load_generator(path: Path) -> Generator:
    """Reads what `save_generator` wrote.

    Raises:
        MissingBundleError: no such file.
        BundleError: not a generator, or damaged.
    """
    if not path.is_file():
        raise MissingBundleError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise BundleError(f"{path}: not a generator file")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        generator = build(json_object(metadata["generator"]), tensors)
        if (frame := metadata.get("frame")) is not None:
            check_frame(frame)
            generator.frame = frame
        return generator
    except BundleError:
        raise
    except Exception as error:  # a hostile file can raise anything
        raise BundleError(f"{path}: damaged generator ({one_line(error)})") from error
