"""rosinality's checkpoints: a network of ours under its names comes back the same."""

import math
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from invcomp.errors import BundleError
from invcomp.generators.importers.rosinality import read_rosinality
from invcomp.generators.stylegan2 import StyleGAN2


def theirs(network: StyleGAN2) -> dict[str, Tensor]:
    """The state dict that rosinality's Generator would have, written out layer by layer."""
    ours, state = network.state_dict(), {}
    for index in range(network.mapping_depth):
        for part in ("weight", "bias"):
            state[f"style.{index + 1}.{part}"] = ours[f"mapping.fc{index}.{part}"]
    state["input.input"] = ours["synthesis.b4.const"][None]

    def layer(name: str, place: str) -> None:
        state[f"{name}.conv.weight"] = ours[f"{place}.weight"][None]
        state[f"{name}.conv.modulation.weight"] = ours[f"{place}.affine.weight"]
        state[f"{name}.conv.modulation.bias"] = ours[f"{place}.affine.bias"]
        if "rgb" in name:
            state[f"{name}.bias"] = ours[f"{place}.bias"].view(1, 3, 1, 1)
        else:
            state[f"{name}.noise.weight"] = ours[f"{place}.noise_strength"].view(1)
            state[f"{name}.activate.bias"] = ours[f"{place}.bias"]

    layer("conv1", "synthesis.b4.conv1")
    layer("to_rgb1", "synthesis.b4.torgb")
    state["noises.noise_0"] = ours["synthesis.b4.conv1.noise_const"][None, None]
    for index in range(int(math.log2(network.resolution)) - 2):
        block = f"synthesis.b{8 << index}"
        layer(f"convs.{2 * index}", f"{block}.conv0")
        layer(f"convs.{2 * index + 1}", f"{block}.conv1")
        layer(f"to_rgbs.{index}", f"{block}.torgb")
        state[f"convs.{2 * index}.conv.blur.kernel"] = torch.ones(4, 4)
        for part in (0, 1):
            noise = ours[f"{block}.conv{part}.noise_const"]
            state[f"noises.noise_{2 * index + 1 + part}"] = noise[None, None]
    return state


@pytest.fixture
def network() -> StyleGAN2:
    torch.manual_seed(0)
    network = StyleGAN2([8, 6, 4], 8, 8, 3).eval().requires_grad_(False)
    for name, value in network.named_parameters():
        if name.endswith(("noise_strength", ".bias")):
            value.normal_()
    return network


def test_a_checkpoint(network: StyleGAN2, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    average = torch.randn(8)
    torch.save({"g_ema": theirs(network), "latent_avg": average, "g": {}}, path)
    read = read_rosinality(path)
    latents = torch.randn(2, network.latent_size)
    assert torch.equal(read(latents), network(latents))
    assert torch.equal(read.sample(latents[:, :8]), network.sample(latents[:, :8]))
    assert torch.equal(read.mapping.w_avg, average)


def test_a_checkpoint_as_its_training_saves_it(network: StyleGAN2, tmp_path: Path) -> None:
    """In the layout before zip files, with optimisers, and with the command line's arguments."""
    path = tmp_path / "checkpoint.pt"
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
    others = {"g_optim": optimiser.state_dict(), "args": Namespace(size=16), "ada_aug_p": 0.1}
    for legacy in (False, True):
        content = {"g": {}, "g_ema": theirs(network), **others}
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        latents = torch.randn(2, network.latent_size)
        assert torch.equal(read_rosinality(path)(latents), network(latents))


class Calls:
    def __reduce__(self) -> Any:
        return os.system, ("echo executed > /dev/null",)


@pytest.mark.parametrize("content", [{"g_ema": Calls()}, {"g": {}}, [1], {"g_ema": {"a.b": 1}}])
def test_other_files(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(content, path)
    with pytest.raises(BundleError):
        read_rosinality(path)


def test_damaged_files(network: StyleGAN2, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"g_ema": theirs(network)}, path)
    data = path.read_bytes()
    for percent in range(0, 100, 5):
        path.write_bytes(data[: len(data) * percent // 100])
        with pytest.raises(BundleError):
            read_rosinality(path)
