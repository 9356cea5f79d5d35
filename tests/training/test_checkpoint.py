"""Checkpoints of networks and optimisers."""

from pathlib import Path

import pytest
import torch
from torch import nn

from invcomp.errors import BundleError
from invcomp.generators.base import normal
from invcomp.training.checkpoint import load_checkpoint, restore, save_checkpoint, tensors_of


def trained(steps: int) -> tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]]:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), fused=True)
    step(network, optimiser, steps)
    return {"a": network}, {"a_adam": optimiser}


def step(network: nn.Module, optimiser: torch.optim.Optimizer, steps: int) -> None:
    for seed in range(steps):
        optimiser.zero_grad()
        network(normal(2, 3 * 64, seed=seed).view(2, 3, 8, 8)).square().mean().backward()
        optimiser.step()


def test_a_restored_training_goes_on_alike(tmp_path: Path) -> None:
    whole, optimisers = trained(3)
    save_checkpoint(tmp_path / "c", tensors_of(whole, optimisers), {"about": "three steps"})
    step(whole["a"], optimisers["a_adam"], 2)
    other, others = trained(0)
    loaded = load_checkpoint(tmp_path / "c")
    assert loaded is not None
    assert loaded[1] == {"about": "three steps"}
    restore(loaded[0], other, others)
    step(other["a"], others["a_adam"], 2)
    for one, two in zip(whole["a"].parameters(), other["a"].parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_missing_and_a_damaged_file(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "c") is None
    (tmp_path / "c").write_bytes(b"no checkpoint")
    with pytest.raises(BundleError, match="is damaged"):
        load_checkpoint(tmp_path / "c")
