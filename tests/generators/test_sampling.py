"""Samples: seeded, truncated, as a grid."""

import pytest
import torch

from invcomp.generators.sampling import grid, samples, to_uint8
from invcomp.generators.stylegan2 import StyleGAN2


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2([8, 8, 8], 8, 8, 1).eval().requires_grad_(False)


def test_a_seed_gives_the_same_pictures(generator: StyleGAN2) -> None:
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
    picture = grid([red[:2], red[2:]])
    assert picture.size == (12, 8)
    assert picture.getpixel((7, 7)) == (255, 0, 0)
    assert picture.getpixel((11, 7)) == (255, 255, 255)  # nothing there
