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
from invcomp.generators.stylegan2 import StyleGAN2
from invcomp.importers.recognise import read_foreign
from invcomp.importers.rosinality import read_rosinality

from .nvidia import FILTER


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
        state[f"convs.{2 * index}.conv.blur.kernel"] = 4 * FILTER
        state[f"to_rgbs.{index}.upsample.kernel"] = 4 * FILTER
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


def wrapped(state: dict[str, Tensor], how: str) -> dict[str, Any]:
    if how == "in parallel":
        return {"g_ema": {f"module.{name}": value for name, value in state.items()}}
    return {"g alone": {"g": state}, "a state dict": state}[how]


@pytest.mark.parametrize("how", ["in parallel", "g alone", "a state dict"])
def test_other_wrappings(network: StyleGAN2, tmp_path: Path, how: str) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(wrapped(theirs(network), how), path)
    read, kind = read_foreign(path)
    latents = torch.randn(2, network.latent_size)
    assert kind == "stylegan2-pytorch checkpoint"
    assert torch.equal(read(latents), network(latents))


def test_the_average_goes_before_the_last(network: StyleGAN2, tmp_path: Path) -> None:
    last = {name: value + 1 for name, value in theirs(network).items()}
    torch.save({"g": last, "g_ema": theirs(network)}, tmp_path / "checkpoint.pt")
    latents = torch.randn(2, network.latent_size)
    assert torch.equal(read_rosinality(tmp_path / "checkpoint.pt")(latents), network(latents))


def test_noise_is_drawn_where_there_is_none(network: StyleGAN2, tmp_path: Path) -> None:
    """As older versions draw it for every image; here the same one at every reading."""
    path = tmp_path / "checkpoint.pt"
    state = {name: v for name, v in theirs(network).items() if not name.startswith("noises.")}
    torch.save({"g_ema": state}, path)
    read = read_rosinality(path)
    noises = [value for name, value in read.named_buffers() if name.endswith("noise_const")]
    assert len(noises) == 5
    assert 0.9 < torch.cat([noise.flatten() for noise in noises]).std() < 1.1
    assert torch.equal(noises[-1], [*read_rosinality(path).buffers()][-1])
    ws = torch.randn(2, len(network.layers), 8)
    assert torch.equal(read.images(ws, "none"), network.images(ws, "none"))


def reason(path: Path, state: dict[str, Tensor]) -> str:
    torch.save({"g_ema": state}, path)
    with pytest.raises(BundleError) as raised:
        read_foreign(path)
    return str(raised.value).removeprefix(f"{path}: not a checkpoint of stylegan2-pytorch: ")


def test_reasons(network: StyleGAN2, tmp_path: Path) -> None:
    path, state, one = tmp_path / "checkpoint.pt", theirs(network), torch.ones(1)
    filtered = torch.outer(torch.tensor([1.0, 2, 2, 1]), torch.tensor([1.0, 2, 2, 1])) / 9
    for name in ("convs.0.conv.blur.kernel", "to_rgbs.1.upsample.kernel"):
        assert reason(path, {**state, name: filtered}) == (
            "its resampling filter is not [1, 3, 3, 1]"
        )
    for name in ("convs.0.attention.weight", "extra.weight", "convs.0.kernel", "a"):
        assert reason(path, {**state, name: one}) == (
            f"{name} is a tensor that a StyleGAN2 does not have"
        )
    assert reason(path, {**state, "convs.4.conv.weight": one[:, None]}) == (
        "it has 1 tensors that a StyleGAN2 does not have, such as synthesis.b32.conv0.weight"
    )
    del state["conv1.noise.weight"]
    assert reason(path, state) == "synthesis.b4.conv1.noise_strength is missing, expected ()"
    del state["style.1.weight"]
    assert reason(path, state) == "mapping.fc0.weight is missing"


def test_noise_larger_than_its_file(tmp_path: Path) -> None:
    """Eleven resolutions of one channel: a few bytes that would ask for gigabytes."""
    with torch.device("meta"):
        shapes = StyleGAN2([1] * 11, 2, 2, 1)
    network = StyleGAN2([1], 2, 2, 1)
    state = {n: torch.zeros(v.shape) for n, v in shapes.state_dict().items() if v.numel() < 99}
    network.state_dict = lambda: state  # type: ignore[method-assign, assignment]
    network.resolution = shapes.resolution
    for size in shapes.synthesis.blocks:
        for index in (0, 1):
            state[f"synthesis.b{size}.conv{index}.noise_const"] = torch.zeros(1)
    ours = {n: v for n, v in theirs(network).items() if not n.startswith("noises.")}
    assert reason(tmp_path / "checkpoint.pt", ours) == (
        "its noise is missing and would be larger than the file"
    )


def test_a_name_that_would_be_a_huge_number(network: StyleGAN2, tmp_path: Path) -> None:
    for name in ("noises.noise_99999999999", "convs.99999999999.conv.weight"):
        state = {**theirs(network), name: torch.ones(1, 1, 1, 1)}
        assert "does not have" in reason(tmp_path / "checkpoint.pt", state)


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
