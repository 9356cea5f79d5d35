"""Reads checkpoints of rosinality's stylegan2-pytorch: another naming of the same StyleGAN2."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import BundleError
from ..stylegan2 import StyleGAN2
from .torch_file import check_total, load_into, read_torch, tensors_of

# where a layer's tensors are there, and here; ours are without the leading axis of theirs
PARTS = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",  # of to-RGB
}


def read_rosinality(path: Path) -> StyleGAN2:
    """The averaged generator (`g_ema`) of a checkpoint, read as data.

    Raises:
        BundleError: not such a checkpoint, or damaged.
    """
    try:
        checkpoint: Any = read_torch(path)
        state = rename(tensors_of(checkpoint["g_ema"], path))
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
        load_into(generator, state)
    except Exception as error:  # a hostile pickle can raise what it likes
        raise BundleError(f"{path}: not a checkpoint of stylegan2-pytorch: {error}") from error
    return generator.eval().requires_grad_(False)


def rename(state: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """NVIDIA's names and shapes for rosinality's.

    Raises:
        KeyError: a tensor that StyleGAN2 does not have.
    """
    renamed = {}
    for name, value in state.items():
        if name.endswith(".kernel"):
            continue  # resampling filters, which are always the same
        if name == "input.input":
            renamed["synthesis.b4.const"] = value[0]
        elif match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
            renamed[f"mapping.fc{int(match[1]) - 1}.{match[2]}"] = value
        elif match := re.fullmatch(r"noises\.noise_(\d+)", name):
            renamed[f"{_layer(int(match[1]))}.noise_const"] = value[0, 0]
        else:
            place, part = _place(name)
            shape = {"weight": value.shape[1:], "noise_strength": ()}.get(PARTS[part])
            target = value.reshape(-1) if PARTS[part] == "bias" else value
            renamed[f"{place}.{PARTS[part]}"] = target if shape is None else value.reshape(shape)
    return renamed


def _layer(index: int) -> str:
    """Where the convolution of an index is: one at 4 px, then two a resolution."""
    size = 4 << ((index + 1) // 2)
    return f"synthesis.b{size}.conv{0 if index % 2 else 1}"


def _place(name: str) -> tuple[str, str]:
    """Our layer of a tensor's name, and the rest of the name."""
    if match := re.fullmatch(r"convs\.(\d+)\.(.+)", name):
        return _layer(int(match[1]) + 1), match[2]
    if match := re.fullmatch(r"to_rgbs\.(\d+)\.(.+)", name):
        return f"synthesis.b{8 << int(match[1])}.torgb", match[2]
    first, part = name.split(".", 1)
    return {"conv1": "synthesis.b4.conv1", "to_rgb1": "synthesis.b4.torgb"}[first], part
