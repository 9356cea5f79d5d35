"""Generators as safetensors: weights under plain names, and kind and options as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import BundleError, InvcompError, MissingBundleError
from ..files import atomic_write
from ..preprocessing.frame import check_frame
from .base import Generator
from .registry import class_of, kind_of

FORMAT = "invcomp generator 1"
PREFIX = "generator."


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


def build(description: dict[str, Any], tensors: dict[str, Tensor]) -> Generator:
    """The generator from `describe` and `tensors_of`, frozen, in float32.

    Raises:
        BundleError: the kind is not installed or registered, or its options are invalid.
        KeyError, TypeError, RuntimeError: description and tensors do not match.
    """
    kind, options = class_of(description["kind"]), description["options"]
    with torch.device("meta"):  # skips drawing random weights
        generator = _construct(kind, options)
    state = {
        name[len(PREFIX) :]: value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
        if name.startswith(PREFIX)
    }
    generator.load_state_dict(state, assign=True)
    if any(value.is_meta for value in generator.buffers()):  # computed buffers, not in the file
        generator = _construct(kind, options)
        generator.load_state_dict(state, assign=True)
    return generator.eval().requires_grad_(False)


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
        generator = build(json.loads(metadata["generator"]), tensors)
        if (frame := metadata.get("frame")) is not None:
            check_frame(frame)
            generator.frame = frame
        return generator
    except BundleError:
        raise
    except (
        SafetensorError, InvcompError, KeyError, TypeError, ValueError, RuntimeError, OSError
    ) as error:  # fmt: skip
        raise BundleError(f"{path}: damaged generator ({error})") from error
