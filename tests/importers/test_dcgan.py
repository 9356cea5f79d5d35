"""DCGAN stacks: inferred from their tensors, the same images as torch's own modules."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from invcomp.errors import BundleError
from invcomp.importers.dcgan import read_dcgan


def stack(bias: bool = False, kernel: int = 4, colours: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    pad = kernel // 2 - 1
    network = nn.Sequential(
        nn.ConvTranspose2d(10, 8, kernel, 1, 0, bias=bias), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 6, kernel, 2, pad, bias=bias), nn.BatchNorm2d(6), nn.ReLU(),
        nn.ConvTranspose2d(6, colours, kernel, 2, pad, bias=bias), nn.Tanh(),
    )  # fmt: skip
    network(torch.randn(16, 10, 1, 1))  # so that batch norm has seen something
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel", [4, 6])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_same_images(tmp_path: Path, bias: bool, kernel: int, wrapped: bool) -> None:
    network = stack(bias, kernel)
    state: Any = network.state_dict()
    torch.save({"netG_state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "g.tar")
    read = read_dcgan(tmp_path / "g.tar")
    z = torch.randn(3, 10)
    assert torch.equal(read(read.sample(z)), network(z[:, :, None, None]))
    assert read.resolution == kernel * 4


@pytest.mark.parametrize("legacy", [False, True])
def test_half_precision_and_strides(tmp_path: Path, legacy: bool) -> None:
    network = stack()
    state = {n: v.half() if v.is_floating_point() else v for n, v in network.state_dict().items()}
    state["3.weight"] = state["3.weight"].permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    torch.save(state, tmp_path / "g.pt", _use_new_zipfile_serialization=not legacy)
    read, z = read_dcgan(tmp_path / "g.pt"), torch.randn(3, 10)
    network.load_state_dict(state)
    assert torch.equal(read(z), network(z[:, :, None, None]))


def test_the_last_inputs_are_a_class(tmp_path: Path) -> None:
    network = stack()
    torch.save(network.state_dict(), tmp_path / "g.pth", _use_new_zipfile_serialization=False)
    read = read_dcgan(tmp_path / "g.pth", classes=4)
    assert (read.classes, read.z_size, read.latent_size) == (4, 6, 10)
    z, classes = torch.randn(3, 6), torch.tensor([3, 0, 1])
    inputs = torch.cat([z, torch.eye(4)[classes]], 1)
    assert torch.equal(read(read.sample(z, classes)), network(inputs[:, :, None, None]))
    assert read.options()["classes"] == 4
    assert "classes" not in read_dcgan(tmp_path / "g.pth").options()
    with pytest.raises(ValueError, match="needs classes"):
        read.sample(z)
    with pytest.raises(BundleError, match="10 classes among 10"):
        read_dcgan(tmp_path / "g.pth", classes=10)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"a": torch.ones(3)},
        stack(colours=1).state_dict(),
        nn.Conv2d(3, 3, 3).state_dict(),
        {**stack().state_dict(), "more": torch.ones(1)},
        {name: value for name, value in stack().state_dict().items() if "running" not in name},
    ],
)
def test_other_networks(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "g.pt")
    with pytest.raises(BundleError):
        read_dcgan(tmp_path / "g.pt")


def test_a_tensor_of_a_fork(tmp_path: Path) -> None:
    path = tmp_path / "g.pt"
    torch.save({**stack().state_dict(), "more.weight": torch.ones(1)}, path)
    with pytest.raises(BundleError) as raised:
        read_dcgan(path)
    assert str(raised.value) == (
        f"{path}: not a stack of transposed convolutions: it has 1 tensors that a DCGAN does not "
        "have, such as more.weight"
    )
