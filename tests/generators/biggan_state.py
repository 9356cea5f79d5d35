"""A tiny BigGAN-deep as pytorch-pretrained-BigGAN stores it, and what it makes, in plain float64.

Written from appendix B of arXiv:1809.11096 and the names and shapes of the published files;
spectral norm is applied the naive way, by the matrix's own singular values.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor

WIDTH, Z, EMBEDDING, CLASSES, STATS, EPS = 8, 6, 5, 4, 11, 1e-4
# whether it enlarges, input and output in widths
LAYERS = [(False, 4, 4), (True, 4, 4), (False, 4, 2), (True, 2, 2), (False, 2, 1), (True, 1, 1)]
ATTENTION = 2  # before this block

# the published model of 128 px, whose config.json need not be there
LAYERS_128 = [(False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8),
              (True, 8, 4), (False, 4, 4), (True, 4, 2), (False, 2, 2), (True, 2, 1)]  # fmt: skip
ATTENTION_128 = 8

# 64 px, the smallest whose files have a detail
LAYERS_64 = [*LAYERS, (False, 1, 1), (True, 1, 1)]

State = dict[str, Tensor]
Layers = list[tuple[bool, int, int]]


def published_state(seed: int = 0) -> State:
    """Random weights of a small network under the published names."""
    return state_of(LAYERS, ATTENTION, WIDTH, seed)


def state_128() -> State:
    """The same of the published design of 128 px, but for its width."""
    return state_of(LAYERS_128, ATTENTION_128, 4)


def write_64(path: Path) -> None:
    """A file of 64 px with its config.json, in a folder that has no other."""
    torch.save(state_of(LAYERS_64, ATTENTION, 4), path)
    path.with_name("config.json").write_text(json.dumps({"layers": LAYERS_64}))


def state_of(layers: Layers, attention: int, width: int, seed: int = 0) -> State:
    """Random weights of any design, u and v as many power iterations leave them."""
    source = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=source)

    state: State = {"embeddings.weight": drawn(EMBEDDING, CLASSES)}

    def normed(name: str, *shape: int, bias: bool = True) -> None:
        weight = drawn(*shape)
        left, _, right = torch.linalg.svd(weight.flatten(1).double())
        state[f"{name}.weight_orig"] = weight
        state[f"{name}.weight_u"] = left[:, 0].float()
        state[f"{name}.weight_v"] = right[0].float()
        if bias:
            state[f"{name}.bias"] = drawn(shape[0]) / 4

    def norm(name: str, channels: int, conditional: bool) -> None:
        state[f"{name}.running_means"] = drawn(STATS, channels) / 4
        state[f"{name}.running_vars"] = drawn(STATS, channels).square() / 4 + 0.1
        if conditional:
            normed(f"{name}.scale", channels, Z + EMBEDDING, bias=False)
            normed(f"{name}.offset", channels, Z + EMBEDDING, bias=False)
        else:
            state[f"{name}.weight"], state[f"{name}.bias"] = (
                1 + drawn(channels) / 4,
                drawn(channels),
            )

    normed("generator.gen_z", 16 * layers[0][1] * width, Z + EMBEDDING)
    place = 0
    for index, (_, before, after) in enumerate(layers):
        inputs, outputs = before * width, after * width
        if index == attention:
            name = f"generator.layers.{place}"
            state[f"{name}.gamma"] = torch.tensor([0.7])
            normed(f"{name}.snconv1x1_theta", inputs // 8, inputs, 1, 1, bias=False)
            normed(f"{name}.snconv1x1_phi", inputs // 8, inputs, 1, 1, bias=False)
            normed(f"{name}.snconv1x1_g", inputs // 2, inputs, 1, 1, bias=False)
            normed(f"{name}.snconv1x1_o_conv", inputs, inputs // 2, 1, 1, bias=False)
            place += 1
        inner = inputs // 4
        sizes = [(inner, inputs, 1), (inner, inner, 3), (inner, inner, 3), (outputs, inner, 1)]
        for part, (ends, begins, kernel) in enumerate(sizes):
            norm(f"generator.layers.{place}.bn_{part}", begins, conditional=True)
            normed(f"generator.layers.{place}.conv_{part}", ends, begins, kernel, kernel)
        place += 1
    norm("generator.bn", width, conditional=False)
    normed("generator.conv_to_rgb", width, width, 3, 3)
    return state


def reference_image(state: State, z: Tensor, label: int, eps: float = EPS) -> Tensor:
    """The image [3, R, R] of one z [Z] and a class, at truncation 1."""
    state = {name: value.double() for name, value in state.items()}
    vector = torch.cat([z.double(), state["embeddings.weight"][:, label]])
    x = weight(state, "generator.gen_z") @ vector + state["generator.gen_z.bias"]
    x = x.view(4, 4, -1).permute(2, 0, 1)
    place = 0
    for index, (up, _, after) in enumerate(LAYERS):
        if index == ATTENTION:
            x = attention(state, f"generator.layers.{place}", x)
            place += 1
        name, around = f"generator.layers.{place}", x[: after * WIDTH]
        for part in range(4):
            x = batch_norm(state, f"{name}.bn_{part}", x, vector, eps).clamp_min(0)
            if up and part == 1:
                x, around = repeat(x), repeat(around)
            x = convolution(state, f"{name}.conv_{part}", x)
        x, place = x + around, place + 1
    x = batch_norm(state, "generator.bn", x, vector, eps).clamp_min(0)
    return convolution(state, "generator.conv_to_rgb", x)[:3].tanh()


def weight(state: State, name: str) -> Tensor:
    """The weight over its largest singular value."""
    original = state[f"{name}.weight_orig"]
    return original / torch.linalg.svdvals(original.flatten(1))[0]


def batch_norm(state: State, name: str, x: Tensor, vector: Tensor, eps: float) -> Tensor:
    """The last statistics are those of truncation 1; [C, H, W] to the same."""
    mean, variance = state[f"{name}.running_means"][-1], state[f"{name}.running_vars"][-1]
    if f"{name}.weight" in state:
        scale, offset = state[f"{name}.weight"], state[f"{name}.bias"]
    else:
        scale = 1 + weight(state, f"{name}.scale") @ vector
        offset = weight(state, f"{name}.offset") @ vector
    normalised = (x - mean[:, None, None]) / (variance[:, None, None] + eps).sqrt()
    return normalised * scale[:, None, None] + offset[:, None, None]


def convolution(state: State, name: str, x: Tensor) -> Tensor:
    """A sum over shifted images: [C, H, W] to [C', H, W], zeros beyond the border."""
    kernel = weight(state, name)  # [C', C, k, k]
    reach = kernel.shape[2] // 2
    _, height, width = x.shape
    padded = torch.zeros(len(x), height + 2 * reach, width + 2 * reach).double()
    padded[:, reach : reach + height, reach : reach + width] = x
    out = torch.zeros(len(kernel), height, width).double()
    for row in range(kernel.shape[2]):
        for column in range(kernel.shape[3]):
            shifted = padded[:, row : row + height, column : column + width]
            out += torch.einsum("oi,ihw->ohw", kernel[:, :, row, column], shifted)
    return out + state[f"{name}.bias"][:, None, None] if f"{name}.bias" in state else out


def repeat(x: Tensor) -> Tensor:
    """Every pixel four times."""
    return x.repeat_interleave(2, 1).repeat_interleave(2, 2)


def attention(state: State, name: str, x: Tensor) -> Tensor:
    """Place by place: what each sees is a mean of the pooled values."""

    def pooled(part: Tensor) -> Tensor:
        quarters = [part[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return torch.stack(quarters).amax(0).flatten(1)

    queries = convolution(state, f"{name}.snconv1x1_theta", x).flatten(1)
    keys = pooled(convolution(state, f"{name}.snconv1x1_phi", x))
    values = pooled(convolution(state, f"{name}.snconv1x1_g", x))
    seen = torch.zeros(len(values), queries.shape[1]).double()
    for place in range(queries.shape[1]):
        likeness = [math.exp(float(queries[:, place] @ key)) for key in keys.T]
        for share, value in zip(likeness, values.T, strict=True):
            seen[:, place] += share / sum(likeness) * value
    moved = convolution(state, f"{name}.snconv1x1_o_conv", seen.view(-1, *x.shape[1:]))
    return x + state[f"{name}.gamma"] * moved
