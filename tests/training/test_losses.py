"""Losses and penalties against their formulas, in float64."""

import math

import pytest
import torch
from torch import Tensor, nn

from invcomp.training.losses import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    path_lengths,
)

REAL, FAKE = torch.tensor([1.0, -0.5]).double(), torch.tensor([0.25, 2.0]).double()


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_nonsaturating() -> None:
    d = (softplus(0.25) + softplus(2)) / 2 + (softplus(-1) + softplus(0.5)) / 2
    assert float(discriminator_loss("nonsaturating", REAL, FAKE)) == pytest.approx(d)
    g = (softplus(-0.25) + softplus(-2)) / 2
    assert float(generator_loss("nonsaturating", None, FAKE)) == pytest.approx(g)


def test_relativistic() -> None:
    d = (softplus(0.25 - 1) + softplus(2 + 0.5)) / 2
    assert float(discriminator_loss("rpgan", REAL, FAKE)) == pytest.approx(d)
    g = (softplus(1 - 0.25) + softplus(-0.5 - 2)) / 2
    assert float(generator_loss("rpgan", REAL, FAKE)) == pytest.approx(g)


def test_penalty_is_the_gradients_squared_norm() -> None:
    """Of x^T A x / 2 with a symmetric A the gradient is A x."""
    torch.manual_seed(0)
    a = torch.randn(12, 12).double()
    a = a + a.t()
    images = torch.randn(3, 3, 2, 2).double().requires_grad_()
    x = images.flatten(1)
    logits = torch.einsum("ni,ij,nj->n", x, a, x) / 2
    expected = (x @ a).square().sum(1).mean()
    # the penalty is computed in float32, as in training
    found = gradient_penalty(logits, images).detach()
    assert float(found) == pytest.approx(float(expected.detach()), rel=1e-6)


def test_penalty_trains_the_discriminator() -> None:
    """The penalty's own gradient by the weights, against finite differences."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Softplus(), nn.Linear(5, 1)).double()
    images = torch.randn(4, 3, 2, 2).double()

    def penalty(weight: Tensor) -> Tensor:
        x = images.clone().requires_grad_()
        logits = torch.func.functional_call(network, {"1.weight": weight}, (x,)).flatten()
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        ours = gradient_penalty(logits, x)
        assert float(ours) == pytest.approx(
            float(gradient.square().sum([1, 2, 3]).mean()), rel=1e-6
        )
        return gradient.square().sum([1, 2, 3]).mean()

    assert torch.autograd.gradcheck(penalty, (network[1].weight,))


def test_path_lengths() -> None:
    """Of images that are linear in w, y = B w, the length is |B^T n| / sqrt(H W)."""
    torch.manual_seed(0)
    b = torch.randn(12, 5).double()
    ws = torch.randn(3, 2, 5).double().requires_grad_()
    images = (ws @ b.t()).sum(1).view(3, 3, 2, 2)
    noise = torch.randn(3, 3, 2, 2).double()
    expected = (noise.flatten(1) @ b).norm(dim=1) / 2
    assert torch.allclose(path_lengths(images, ws, noise).double(), expected, rtol=1e-5)
