"""BigGAN-deep: its interface; against the published layout see importers/test_biggan.py."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from invcomp.errors import OptionError
from invcomp.generators.biggan import BigGAN, Block

BLOCKS = [[False, 2, 2], [True, 2, 1]]


def network(**changes: Any) -> BigGAN:
    torch.manual_seed(0)
    options = {"width": 8, "blocks": BLOCKS, "attention": 1, "classes": 3, "z_size": 6,
               "embedding_size": 4, **changes}  # fmt: skip
    return BigGAN(**options).eval().requires_grad_(False)


def test_layers_and_sizes() -> None:
    generator = network()
    assert [layer.name for layer in generator.layers] == ["4px.input", "4px.block0", "8px.block1"]
    assert (generator.shared_size, generator.latent_size, generator.classes) == (10, 30, 3)
    again = BigGAN(**generator.options())
    assert again.state_dict().keys() == generator.state_dict().keys()
    assert generator.resolution == 8


def test_the_published_sizes() -> None:
    """Appendix B's 256-px network, but for its width of 128: twelve blocks, attention at 64 px."""
    widths = [16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1]
    blocks = [[index % 2 == 1, *pair] for index, pair in enumerate(pairwise(widths))]
    generator = BigGAN(4, blocks, 8, 1000)
    assert generator.resolution == 256
    assert len(generator.layers) == 13
    assert generator.layers[8].name == "64px.block7"
    assert generator.gen_z.weight.shape == (4 * 4 * 16 * 4, 256)
    assert generator.attention.theta.weight.shape == (2, 16, 1, 1)


def test_every_layer_moves_the_image_and_so_does_the_class() -> None:
    generator = network()
    torch.nn.init.normal_(generator.attention.gamma)
    z = torch.randn(2, 6)
    one, other = (generator.sample(z, torch.tensor(c)) for c in ([0, 1], [2, 1]))
    assert torch.equal(one[:, :6], z)
    assert not torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    latents = generator.spread(one).requires_grad_()
    image = generator(latents)
    assert image.shape == (2, 3, 8, 8)
    image.square().sum().backward()
    assert latents.grad is not None
    assert (latents.grad.view(2, 3, 10).abs().sum(2) > 0).all()


def test_the_way_around_drops_channels_and_repeats_pixels() -> None:
    block = Block(4, 8, 4, up=True, eps=1e-4).eval()
    for parameter in block.conv_3.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 8, 2, 2)
    expected = x[:, :4].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(block(x, torch.randn(1, 4)), expected)


def test_classes_are_needed() -> None:
    with pytest.raises(ValueError, match="needs classes"):
        network().sample(torch.randn(1, 6))


@pytest.mark.parametrize(
    "changes",
    [
        {"blocks": []},
        {"blocks": [[True, 2, 2]]},
        {"blocks": [[True, 1, 2], [False, 2, 1]]},
        {"blocks": [[False, 2, 2], [True, 1, 1]]},
        {"blocks": [[True, 1, 1]] * 40},
        {"attention": 2},
        {"width": 3},
        {"classes": 0},
        {"z_size": -1},
    ],
)
def test_what_is_no_biggan(changes: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        network(**changes)
