"""KID: small for images of one kind, large for others."""

import pytest
import torch
from torch import Tensor

from invcomp.errors import OptionError
from invcomp.perception.kid import Kid, LpipsFeatures


def stripes(count: int, width: int, seed: int) -> Tensor:
    """Images [count, 3, 32, 32] of stripes with a random phase."""
    phase = torch.randint(0, 2 * width, (count, 1), generator=torch.Generator().manual_seed(seed))
    rows = ((torch.arange(32)[None] + phase) // width % 2 * 255).to(torch.uint8)
    return rows[:, None, :, None].expand(-1, 3, -1, 32).contiguous()


def test_other_images_are_further() -> None:
    kid = Kid([stripes(40, 2, 0)])
    near, far = kid([stripes(40, 2, 1)]), kid([stripes(40, 5, 1)])
    assert abs(near) < far / 10


def test_it_can_be_asked_again() -> None:
    kid = Kid(stripes(40, 2, 0).split(20))
    state = torch.get_rng_state()
    first, again = (kid(stripes(30, 4, 1).split(n)) for n in (30, 10))
    assert abs(first - again) < 1e-4 * abs(first)
    assert torch.equal(torch.get_rng_state(), state)  # a training's noise is not touched


def test_unknown_features_are_refused() -> None:
    with pytest.raises(OptionError, match="no features vgg"):
        Kid([], features="vgg")


def test_features_have_the_kernels_scale() -> None:
    """|x|^2 / d = 1, where every place has a feature vector that is not zero."""
    images = torch.randint(
        0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    network = LpipsFeatures()
    with torch.no_grad():
        features = network(images)
    assert features.shape == (4, network.num_features)
    assert torch.allclose(features.square().mean(1), torch.ones(4), rtol=0.02)


def test_large_images_are_seen_at_256_px() -> None:
    small = torch.randint(
        0, 256, (1, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    network = LpipsFeatures()
    with torch.no_grad():
        assert torch.allclose(network(large), network(small), atol=1e-4)
