"""Offsets of inner maps, in every design of generator."""

import pytest
import torch

from invcomp.generators import MobileStyleGAN, StyleGAN2, StyleGAN3, mobile_stylegan
from invcomp.generators.base import Generator, Recording, draw_classes, normal, sample_of
from invcomp.generators.biggan import BigGAN
from invcomp.generators.dcgan import DCGAN


def designs() -> dict[str, Generator]:
    torch.manual_seed(0)
    return {
        "MobileStyleGAN": MobileStyleGAN(16, (16, 16, 16)),
        "StyleGAN2": StyleGAN2((8, 8, 8), 8, 8, 2),
        "StyleGAN3": StyleGAN3(16, 8, 8, 2, {"channel_base": 128, "channel_max": 8}),
        "DCGAN": DCGAN((6, 8, 8)),
        "BigGAN": BigGAN(4, ((1, 4, 2), (0, 2, 2), (1, 2, 1)), None, 3, 6, 6),
    }


@pytest.mark.parametrize("name", designs())
def test_offsets_are_added_to_the_maps_that_are_listed(name: str) -> None:
    generator = designs()[name].eval().requires_grad_(False)
    source = torch.Generator().manual_seed(1)
    z, classes = normal(2, generator.z_size, 2), draw_classes(generator, 2, source)
    latents = generator.spread(sample_of(generator, z, classes))
    seen = Recording()
    plain = generator(latents, seen)
    assert torch.equal(plain, generator(latents))
    listed = {each.size: each.channels for each in generator.inner_maps}
    assert len(listed) == len(generator.inner_maps) > 0
    assert listed.items() <= {size: found.shape[1] for size, found in seen.items()}.items()
    for size, channels in listed.items():
        offset = torch.zeros(2, channels, size, size)
        assert torch.equal(generator(latents, {size: offset}), plain)
        offset[1, :, size // 2, size // 2] = 3.0
        moved = generator(latents, {size: offset})
        assert torch.equal(moved[0], plain[0])
        assert not torch.equal(moved[1], plain[1])


def test_offsets_change_the_trunk_below_them_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mobile_stylegan, "without_lattice", lambda images: images)
    generator = designs()["MobileStyleGAN"].eval().requires_grad_(False)
    latents = generator.spread(generator.sample(normal(1, 16, 3)))
    offsets = {16: torch.ones(1, 16, 16, 16)}
    assert torch.equal(generator.trunk(latents, 8, offsets), generator.trunk(latents, 8))
    assert torch.equal(generator.trunk(latents, 16, offsets), generator.trunk(latents, 16) + 1)
    image = generator.forward_reduced(latents, 16, offsets)
    assert torch.allclose(
        image, torch.nn.functional.avg_pool2d(generator(latents, offsets), 2), atol=1e-5
    )
