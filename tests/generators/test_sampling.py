"""Samples: seeded, truncated, as a grid."""

import pytest
import torch

from invcomp.errors import OptionError
from invcomp.generators.sampling import grid, samples, to_uint8
from invcomp.generators.stylegan2 import StyleGAN2


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2([8, 8, 8], 8, 8, 1).eval().requires_grad_(False)


def test_a_seed_gives_the_same_images(generator: StyleGAN2) -> None:
    first, again, other = (torch.cat(list(samples(generator, 5, s))) for s in (1, 1, 2))
    assert first.shape == (5, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_truncation_brings_samples_together(generator: StyleGAN2) -> None:
    wide, narrow, none = (
        torch.cat(list(samples(generator, 8, truncation=t))).var(0).mean() for t in (1, 0.5, 0)
    )
    assert none < 1e-8 < narrow < wide


def test_size(generator: StyleGAN2) -> None:
    assert next(samples(generator, 2, size=8)).shape == (2, 3, 8, 8)


def test_bytes() -> None:
    assert to_uint8(torch.tensor([-2.0, -1, 0, 1, 2])).tolist() == [0, 0, 128, 255, 255]


def test_a_grid() -> None:
    red = torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1).expand(5, 3, 4, 4)
    image = grid([red[:2], red[2:]])
    assert image.size == (12, 8)
    assert image.getpixel((7, 7)) == (255, 0, 0)
    assert image.getpixel((11, 7)) == (255, 255, 255)  # nothing there


def test_classes() -> None:
    torch.manual_seed(0)
    network = StyleGAN2([8, 8, 8], 8, 8, 1, classes=4).eval().requires_grad_(False)
    mixed, again, ones = (
        torch.cat(list(samples(network, 12, 0, 0.5, None, given))) for given in (None, None, 1)
    )
    assert torch.equal(mixed, again)
    same = (mixed == ones).flatten(1).all(1)  # those that are of class 1 by chance
    assert 0 < int(same.sum()) < 12
    centre = torch.cat(list(samples(network, 3, 0, 0, None, 2)))  # its class's mean alone
    torch.testing.assert_close(centre[0], centre[1])
    assert not torch.allclose(centre, torch.cat(list(samples(network, 3, 0, 0, None, 3))))
    for model, given, message in [(network, 4, "0 to 3"), (network, -1, "0 to 3")]:
        with pytest.raises(OptionError, match=message):
            list(samples(model, 1, class_index=given))


def test_a_class_of_a_model_without(generator: StyleGAN2) -> None:
    with pytest.raises(OptionError, match="no classes"):
        list(samples(generator, 1, class_index=0))
