"""Reads checkpoints of rosinality's stylegan2-pytorch: another naming of the same StyleGAN2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..generators.stylegan2 import StyleGAN2
from .reasons import refusal
from .torch_file import check_total, is_resampling_filter, load_into, read_torch, tensors_of

# names of a layer's tensors there and here; ours lack the leading axis
PARTS = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",  # of to-RGB
}
PARALLEL = "module."


def read_rosinality(path: Path) -> StyleGAN2:
    """The generator of a checkpoint, read as data: the averaged one, `g_ema`, if there is one.

    A state dict alone also works. If a file has no noise (older versions drew it for every image),
    it is drawn once.

    Raises:
        BundleError: not such a checkpoint, damaged, or not exactly StyleGAN2.
    """
    try:
        checkpoint: Any = read_torch(path)
        state = rename(tensors_of(state_dict_of(checkpoint), path))
        channels = [
            state[f"synthesis.b{size}.conv1.weight"].shape[0]
            for size in (4 << index for index in range(20))
            if f"synthesis.b{size}.conv1.weight" in state
        ]
        depth = sum(name.startswith("mapping.fc") for name in state) // 2
        w_size, z_size = state["mapping.fc0.weight"].shape
        with torch.device("meta"):
            generator = StyleGAN2(channels, z_size, w_size, depth)
        average = checkpoint.get("latent_avg")
        state["mapping.w_avg"] = np.zeros(w_size) if average is None else average.array.reshape(-1)
        check_total(state, path)
        if not any(name.endswith(".noise_const") for name in state):
            state |= draw_noise(generator, path.stat().st_size)
        load_into(generator, state)
    except Exception as error:  # a hostile pickle can raise anything
        raise refusal(path, "not a checkpoint of stylegan2-pytorch", error) from error
    return generator.eval().requires_grad_(False)


def state_dict_of(checkpoint: Any) -> Mapping[str, Any]:
    """The generator's state dict in a checkpoint, without the prefix of parallel training.

    Raises:
        ValueError: there is none.
    """
    if not isinstance(checkpoint, Mapping):
        raise ValueError("it contains no dict")
    state: Mapping[str, Any] = checkpoint
    for name in ("g_ema", "g"):
        if isinstance(checkpoint.get(name), Mapping) and checkpoint[name]:
            state = checkpoint[name]
            break
    names = [name for name in state if isinstance(name, str)]
    if names and all(name.startswith(PARALLEL) for name in names):
        return {name.removeprefix(PARALLEL): state[name] for name in names}
    return state


def draw_noise(generator: StyleGAN2, most: int) -> dict[str, NDArray[Any]]:
    """Noise for every convolution, reproducible.

    Args:
        generator: that needs it.
        most: bytes that it may take.

    Raises:
        ValueError: it would take more: no network is smaller than its noise.
    """
    shapes = {
        name: value.shape
        for name, value in generator.state_dict().items()
        if name.endswith(".noise_const")
    }
    if 4 * sum(shape.numel() for shape in shapes.values()) > most:
        raise ValueError("its noise is missing and would be larger than the file")
    source = np.random.default_rng(0)
    return {name: source.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def rename(state: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Converts rosinality's names and shapes to NVIDIA's.

    Raises:
        ValueError: an unknown tensor, or another resampling filter.
    """
    renamed = {}
    for name, value in state.items():
        if re.fullmatch(r"convs\.\d+\.conv\.blur\.kernel|to_rgbs\.\d+\.upsample\.kernel", name):
            if not is_resampling_filter(value, 4):
                raise ValueError("its resampling filter is not [1, 3, 3, 1]")
        elif name == "input.input":
            renamed["synthesis.b4.const"] = value[0]
        elif match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
            renamed[f"mapping.fc{int(match[1]) - 1}.{match[2]}"] = value
        elif match := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
            renamed[f"{_layer(int(match[1]))}.noise_const"] = value[0, 0]
        else:
            place, part = _place(name)
            if not place or part not in PARTS:
                raise ValueError(f"{name} is a tensor that a StyleGAN2 does not have")
            shape = {"weight": value.shape[1:], "noise_strength": ()}.get(PARTS[part])
            target = value.reshape(-1) if PARTS[part] == "bias" else value
            renamed[f"{place}.{PARTS[part]}"] = target if shape is None else value.reshape(shape)
    return renamed


def _layer(index: int) -> str:
    """The layer of a convolution index: one at 4 px, then two per resolution."""
    size = 4 << ((index + 1) // 2)
    return f"synthesis.b{size}.conv{0 if index % 2 else 1}"


def _place(name: str) -> tuple[str, str]:
    """Our layer for a tensor's name, and the rest of the name."""
    if match := re.fullmatch(r"convs\.(\d{1,2})\.(.+)", name):
        return _layer(int(match[1]) + 1), match[2]
    if match := re.fullmatch(r"to_rgbs\.(\d{1,2})\.(.+)", name):
        return f"synthesis.b{8 << int(match[1])}.torgb", match[2]
    first, _, part = name.partition(".")
    return {"conv1": "synthesis.b4.conv1", "to_rgb1": "synthesis.b4.torgb"}.get(first, ""), part
