"""The proxy of a MobileStyleGAN's own layers."""

import pytest
import torch

from invcomp.errors import OptionError
from invcomp.generators.base import normal
from invcomp.generators.mobile_proxy import RANK, MobileProxy
from invcomp.generators.mobile_stylegan import MobileStyleGAN

from ..tiny import tiny_bundle

FACES = (512, 512, 512, 512, 512, 256)  # the channels of faces-1024 up to 128 px


def proxy_of(resolution: int, rank: int | None = None) -> tuple[MobileProxy, MobileStyleGAN]:
    bundle = tiny_bundle()
    coordinates, generator = bundle.coordinates, bundle.generator
    assert isinstance(generator, MobileStyleGAN)
    count = rank or coordinates.count
    proxy = MobileProxy.of(
        generator,
        coordinates.mean[0],
        coordinates.basis()[:count],
        coordinates.deviations[:count],
        resolution,
    )
    return proxy, generator


@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_at_full_rank_its_features_are_the_generator_s(resolution: int) -> None:
    proxy, generator = proxy_of(resolution)
    coordinates = normal(3, 64, seed=5) * proxy.deviations
    bundle = tiny_bundle()
    with torch.no_grad():
        wanted = generator.trunk(bundle.coordinates.latents(coordinates), resolution)
        found = proxy.features(coordinates)
    assert torch.allclose(found, wanted, atol=1e-3 * float(wanted.std()))


def test_its_images_are_of_the_size_that_was_asked_for() -> None:
    proxy, _ = proxy_of(32)
    assert proxy.resolution == 32
    assert proxy(torch.zeros(2, 64)).shape == (2, 3, 32, 32)
    again = MobileProxy(**proxy.options())
    again.load_state_dict(proxy.state_dict())
    drawn = proxy.sample(normal(2, proxy.z_size, seed=1))
    assert torch.equal(again(drawn), proxy(drawn))


def test_the_proxy_of_faces_has_three_million_parameters_at_most() -> None:
    with torch.device("meta"):
        proxy = MobileProxy(650, RANK, FACES)
    assert proxy.resolution == 128
    assert 2.5e6 < sum(value.numel() for value in proxy.parameters()) <= 3e6


@pytest.mark.parametrize("sizes", [(0, 4, (8, 8)), (4, 0, (8, 8)), (4, 4, (8,)), (4, 4, (8, 0))])
def test_sizes_that_cannot_be(sizes: tuple[int, int, tuple[int, ...]]) -> None:
    with pytest.raises(OptionError, match="no such proxy"):
        MobileProxy(*sizes)
