"""Augmentation: what it leaves, what it changes, and the controller."""

import pytest
import torch

from invcomp.training.augmentation import RANDOMS, AdaptiveProbability, augment


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_nothing_at_probability_zero() -> None:
    x = images()
    assert torch.equal(augment(x, torch.tensor(0.0), torch.rand(4, RANDOMS)), x)


@pytest.mark.parametrize(
    ("column", "value"),
    [(0, 0.2), (2, 1.0), (4, 0.0), (6, 1.0), (8, 1.0), (9, 0.0), (11, 0.5)],
    ids=["flip", "brightness", "saturation", "contrast", "down", "left", "hole"],
)
def test_every_operation_changes_the_image(column: int, value: float) -> None:
    neutral = torch.tensor([1.0, 0, 0.5, 0, 0.5, 0, 0.5, 0, 0.5, 0.5, 1, 0, 0])
    if column == 11:
        neutral[10:13] = torch.tensor([0.0, 0.5, 0.5])
    else:
        neutral[column] = value
    x = images(1)
    base = torch.tensor([1.0, 0, 0.5, 0, 0.5, 0, 0.5, 0, 0.5, 0.5, 1, 0, 0])
    p = torch.tensor(0.9)
    assert torch.allclose(augment(x, p, base[None]), x, atol=1e-6)
    assert (augment(x, p, neutral[None]) - x).abs().max() > 0.1


def test_a_shift_moves_pixels_and_brings_in_zeros() -> None:
    x = images(1)
    randoms = torch.tensor([[1.0, 0, 0.5, 0, 0.5, 0, 0.5, 0, 1.0, 0.5, 1, 0, 0]])
    moved = augment(x, torch.tensor(0.9), randoms)
    assert torch.allclose(moved[:, :, 2:], x[:, :, :-2], atol=1e-6)
    assert float(moved[:, :, :2].abs().max()) == 0


def test_gradients_flow() -> None:
    x = images().double().requires_grad_()
    randoms = torch.rand(4, RANDOMS, generator=torch.Generator().manual_seed(1)).double()
    p = torch.tensor(0.7).double()
    assert torch.autograd.gradcheck(lambda x: augment(x, p, randoms), (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, p, randoms), (x,), fast_mode=True)


def test_the_controller_holds_the_target() -> None:
    ada = AdaptiveProbability(kimg=1)
    ada.adapt(0.9, 100)
    assert ada.p == pytest.approx(0.1)
    ada.adapt(0.3, 50)
    assert ada.p == pytest.approx(0.05)
    ada.adapt(0.3, 5000)
    assert ada.p == 0
    ada.adapt(0.9, 5000)
    assert ada.p == 1
