"""Reads state dicts of plain transposed-convolution stacks; infers sizes from the tensors."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import BundleError
from ..generators.dcgan import DCGAN
from .reasons import refusal
from .torch_file import StoredTensor, load_into, read_torch, tensors_of

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def read_dcgan(path: Path, classes: int = 0) -> DCGAN:
    """The generator in a file of `torch.save`, read as data.

    Args:
        path: of a state dict, or of a dict that contains one.
        classes: length of the one-hot class at the end of its input; not in the tensors.

    Raises:
        BundleError: the file has no such stack, or is damaged.
    """
    try:
        return from_state(tensors_of(_state_dict(read_torch(path)), path), classes)
    except Exception as error:  # a hostile pickle can raise anything
        raise refusal(path, "not a stack of transposed convolutions", error) from error


def read_face_generator(wheel: Path) -> DCGAN:
    """The 64-px face generator of the `gan-face-generate` wheel.

    Raises:
        BundleError: the file is not that wheel.
    """
    try:
        with ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
            return read_dcgan(Path(archive.extract("gan_face_generate/weights.tar", folder)))
    except (KeyError, OSError, ValueError, RuntimeError, BadZipFile) as error:
        raise BundleError(f"{wheel.name} does not contain the face generator: {error}") from error


def read_eye_generator(wheel: Path) -> DCGAN:
    """The 128-px generator of eyes in eight colours of the `omniart-eye-generator` wheel.

    Raises:
        BundleError: the file is not that wheel.
    """
    member = "omniart_eye_generator/generator_model_state.pth"
    try:
        with ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
            return read_dcgan(Path(archive.extract(member, folder)), classes=8)
    except (KeyError, OSError, ValueError, RuntimeError, BadZipFile) as error:
        raise BundleError(f"{wheel.name} does not contain the eye generator: {error}") from error


def _state_dict(content: Any, depth: int = 3) -> Mapping[str, Any]:
    """The state dict: the content itself, or its only value that is one."""
    if isinstance(content, Mapping) and content and depth:
        if all(isinstance(value, StoredTensor) for value in content.values()):
            return content
        inner = [value for value in content.values() if isinstance(value, Mapping) and value]
        if len(inner) == 1:
            return _state_dict(inner[0], depth - 1)
    raise ValueError("no state dict in it")


def from_state(state: Mapping[str, NDArray[Any]], classes: int = 0) -> DCGAN:
    """The generator of a state dict whose layers are in order.

    Raises:
        ValueError, OptionError: it is of another kind.
    """
    convolutions = [name for name, value in state.items() if value.ndim == 4]
    weights = [state[name] for name in convolutions]  # [inputs, outputs, kernel, kernel]
    kernels = {tuple(weight.shape[2:]) for weight in weights}
    if not weights or len(kernels) != 1 or weights[-1].shape[1] != 3:
        raise ValueError("its convolutions are not those of a DCGAN with 3 colours")
    prefixes = [name.removesuffix("weight") for name in convolutions]
    bias = f"{prefixes[0]}bias" in state
    channels = [weight.shape[0] for weight in weights]
    with torch.device("meta"):
        generator = DCGAN(channels, weights[0].shape[2], bias, classes)
    norms = [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]
    if len(norms) != len(weights) - 1:
        raise ValueError(f"{len(norms)} batch norms between {len(weights)} convolutions")
    renamed: dict[str, NDArray[Any]] = {}
    for index, prefix in enumerate(prefixes):
        for part in ("weight", "bias") if bias else ("weight",):
            renamed[f"main.{3 * index}.{part}"] = state[prefix + part]
    for index, prefix in enumerate(norms):
        for part in NORM:
            value = state.get(prefix + part, np.zeros([], np.int64))
            renamed[f"main.{3 * index + 1}.{part}"] = value
    known = {prefix + part for prefix in norms for part in NORM}
    known |= {prefix + part for prefix in prefixes for part in ("weight", "bias")[: 1 + bias]}
    if more := sorted(state.keys() - known):
        raise ValueError(
            f"it has {len(more)} tensors that a DCGAN does not have, such as {more[0]}"
        )
    load_into(generator, renamed)
    return generator.eval().requires_grad_(False)
