"""Reads BigGAN-deep in the layout of Hugging Face's pytorch-pretrained-BigGAN.

Sizes are inferred from the tensors. Which blocks enlarge, and the epsilon of batch norm, are read
from config.json next to the file. Without it, only the published designs can be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BundleError
from ..generators.biggan import BigGAN
from .reasons import refusal
from .torch_file import as_tensor, read_torch, tensors_of

LONGEST_CONFIG = 1 << 16  # bytes
ATTENTION = {"snconv1x1_theta": "theta", "snconv1x1_phi": "phi", "snconv1x1_g": "g",
             "snconv1x1_o_conv": "o"}  # fmt: skip
# the published models of 128, 256 and 512 px: input and output of each block in widths, and the
# block after the attention; every second block enlarges
BEGINNING = [(16, 16), (16, 16), (16, 16), (16, 8)]
PUBLISHED = [
    [*BEGINNING, (8, 8), (8, 4), (4, 4), (4, 2), (2, 2), (2, 1)],
    [*BEGINNING, (8, 8), (8, 8), (8, 8), (8, 4), (4, 4), (4, 2), (2, 2), (2, 1)],
    [*BEGINNING, (8, 8), (8, 8), (8, 8), (8, 4), (4, 4), (4, 2), (2, 2), (2, 1), (1, 1), (1, 1)],
]
PUBLISHED_ATTENTION = 8


@dataclass(frozen=True)
class Config:
    """What cannot be inferred from the tensors.

    Attributes:
        blocks: for each, whether it doubles the size, and its channels in widths; None: as in the
            published models.
        eps: of batch norm.
    """

    blocks: Sequence[Sequence[int]] | None = None
    eps: float = 1e-4


def read_biggan(path: Path) -> BigGAN:
    """The generator of a state dict, read as data.

    Batch norm gets the statistics of truncation 1, i.e. of untruncated z.

    Raises:
        BundleError: not such a file, damaged, or its config.json is invalid.
    """
    try:
        stored = tensors_of(read_torch(path), path)
        if "generator.gen_z.weight_orig" not in stored:
            raise ValueError("it has no generator.gen_z")
        state = {name: as_tensor(value) for name, value in stored.items()}
        return from_state(state, read_config(path))
    except Exception as error:  # a hostile pickle can raise anything
        raise refusal(path, "not a readable BigGAN-deep", error) from error


def read_config(path: Path) -> Config:
    """The config next to a weight file.

    It is config.json, or x-config.json for x-pytorch_model.bin.

    Raises:
        ValueError: it is invalid.
    """
    for name in (path.name.replace("pytorch_model.bin", "config.json"), "config.json"):
        beside = path.with_name(name)
        if beside == path or not beside.is_file():
            continue
        with beside.open("rb") as file:
            values = json.loads(file.read(LONGEST_CONFIG))
        blocks, eps = values.get("layers"), values.get("eps", Config.eps)
        if not isinstance(eps, float) or not 0 < eps < 1:
            raise ValueError(f"{name}: eps is {eps!r}")
        if blocks is not None and not all(map(_is_block, blocks)):
            raise ValueError(f"{name}: each layer must be [enlarges, inputs, outputs]")
        return Config(blocks, eps)
    return Config()


def _is_block(block: Any) -> bool:
    return (
        isinstance(block, list)
        and len(block) == 3
        and isinstance(block[0], bool)
        and all(type(widths) is int for widths in block[1:])
    )


def from_state(state: Mapping[str, Tensor], config: Config) -> BigGAN:
    """The generator of a state dict.

    Raises:
        ValueError, KeyError, RuntimeError, OptionError: it is of another kind.
    """
    folded = fold_spectral_norm(state)
    numbers = [re.match(r"generator\.layers\.(\d+)\.", name) for name in folded]
    order = sorted({int(match[1]) for match in numbers if match})
    attending = [n for n in order if f"generator.layers.{n}.gamma" in folded]
    plain = [n for n in order if n not in attending]
    if order != list(range(len(order))) or len(attending) > 1:
        raise ValueError("its layers are not blocks and at most one attention")
    width = len(folded["generator.bn.weight"])
    found = [
        [len(folded[f"generator.layers.{n}.{part}.weight"]) for part in ("bn_0.scale", "conv_3")]
        for n in plain
    ]  # channels of each block's input and output
    attention = attending[0] if attending else None
    blocks = config.blocks or _published_blocks(found, width, attention)
    if [[channels * width for channels in block[1:]] for block in blocks] != found:
        raise ValueError(f"blocks of {found} channels do not match width {width}")
    embedding_size, classes = folded["embeddings.weight"].shape
    z_size = folded["generator.gen_z.weight"].shape[1] - embedding_size
    with torch.device("meta"):
        generator = BigGAN(width, blocks, attention, classes, z_size, embedding_size, config.eps)
    places = {n: f"blocks.{index}" for index, n in enumerate(plain)}
    places |= dict.fromkeys(attending, "attention")
    renamed = dict(_renamed(name, value, places) for name, value in folded.items())
    wanted = generator.state_dict()
    if more := sorted(renamed.keys() - wanted.keys()):
        raise ValueError(
            f"it has {len(more)} tensors that a BigGAN does not have, such as {more[0]}"
        )
    for name, value in wanted.items():
        if name not in renamed or renamed[name].shape != value.shape:
            there = tuple(renamed[name].shape) if name in renamed else "missing"
            raise ValueError(f"{name} is {there}, expected {tuple(value.shape)}")
    generator.load_state_dict(renamed, assign=True)
    return generator.eval().requires_grad_(False)


def _published_blocks(
    found: Sequence[Sequence[int]], width: int, attention: int | None
) -> list[list[int]]:
    """The blocks of a published design, recognised by its channels.

    Raises:
        BundleError: it is another design.
    """
    blocks = [tuple(channels / max(width, 1) for channels in each) for each in found]
    if blocks not in PUBLISHED or attention != PUBLISHED_ATTENTION:
        raise BundleError(
            "a BigGAN-deep whose design is not a published one: put its config.json next to it, "
            "which specifies the blocks that enlarge"
        )
    return [[index % 2 == 1, *map(int, each)] for index, each in enumerate(blocks)]


def fold_spectral_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Divides weights by their largest singular value, from the stored vectors u and v.

    `x.weight_orig`, `x.weight_u` and optionally `x.weight_v` become `x.weight` in float32.

    Raises:
        ValueError: a norm is unusable.
    """
    folded = {}
    for name, value in state.items():
        if name.endswith(("weight_u", "weight_v")):
            continue
        if name.endswith("weight_orig"):
            prefix = name.removesuffix("_orig")
            matrix, u = value.double().flatten(1), state[f"{prefix}_u"].double()
            if f"{prefix}_v" in state:
                v = state[f"{prefix}_v"].double()
            else:  # torch before 1.1 did not store it
                v = torch.nn.functional.normalize(matrix.T @ u, dim=0)
            norm = float(u @ matrix @ v)
            if not 0 < abs(norm) < float("inf"):
                raise ValueError(f"{name}: its spectral norm is {norm}")
            name, value = prefix, value.double() / norm
        folded[name] = value.to(torch.float32, copy=True)
    return folded


def _renamed(name: str, value: Tensor, places: Mapping[int, str]) -> tuple[str, Tensor]:
    """Our name and value for a tensor."""
    if name.startswith("generator.conv_to_rgb."):
        return name.removeprefix("generator."), value[:3].clone()  # further channels are unused
    if match := re.fullmatch(r"generator\.layers\.(\d+)\.(.+)", name):
        first, *rest = match[2].split(".")
        ours = ".".join([places[int(match[1])], ATTENTION.get(first, first), *rest])
    else:
        ours = name.removeprefix("generator.")
    for theirs, part in (("running_means", "mean"), ("running_vars", "var")):
        if ours.endswith(theirs):  # [truncations from 0 to 1, channels]
            return ours.replace(theirs, part), value[-1].clone()
    return ours, value
