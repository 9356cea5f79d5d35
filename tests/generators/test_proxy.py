"""The proxy's network: what it takes, what it makes, and that every coordinate counts."""

import pytest
import torch

from invcomp.errors import OptionError
from invcomp.generators.base import normal
from invcomp.generators.proxy import Proxy


def test_a_image_of_coordinates() -> None:
    proxy = Proxy(10, (16, 12, 8))
    assert proxy.resolution == 32
    assert proxy.latent_size == 10
    assert proxy(normal(2, 10, seed=0)).shape == (2, 3, 32, 32)


def test_every_coordinate_moves_the_image() -> None:
    proxy = Proxy(6, (8, 8))
    with torch.no_grad():
        still, moved = proxy(torch.zeros(1, 6)), proxy(torch.eye(6))
    assert ((moved - still).abs().amax((1, 2, 3)) > 0).all()


def test_units_divide_the_coordinates() -> None:
    proxy = Proxy(4, (8, 8))
    with torch.no_grad():
        before = proxy(normal(1, 4, seed=1))
        proxy.units.fill_(10.0)
        assert torch.allclose(proxy(10 * normal(1, 4, seed=1)), before, atol=1e-5)


def test_samples_have_the_prior_s_deviations() -> None:
    proxy = Proxy(3, (8,))
    proxy.deviations.copy_(torch.tensor([4.0, 2.0, 1.0]))
    drawn = proxy.sample(normal(4000, 3, seed=2))
    assert drawn.std(0).tolist() == pytest.approx([4, 2, 1], rel=0.05)


def test_classes_are_asked_for() -> None:
    with pytest.raises(ValueError, match="needs classes"):
        Proxy(3, (8,), classes=2).sample(torch.zeros(1, 3))


@pytest.mark.parametrize("channels", [(), (8, 0)])
def test_channels_that_cannot_be(channels: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="one positive number"):
        Proxy(3, channels)
