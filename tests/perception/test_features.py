"""Perceptual features: their squared distance is LPIPS and squared error, at every size."""

import pytest
import torch
import torch.nn.functional as F

from invcomp.generators.base import normal
from invcomp.perception.features import PerceptualFeatures, seen_size
from invcomp.perception.lpips_network import load_lpips


@pytest.mark.parametrize(("size", "seen"), [(8, 32), (16, 32), (32, 32), (64, 64), (512, 256)])
def test_squared_distance_is_lpips_and_squared_error(size: int, seen: int) -> None:
    source = torch.Generator().manual_seed(size)
    one, other = (torch.rand(2, 3, size, size, generator=source) * 2 - 1 for _ in range(2))
    assert seen_size(one).shape == (2, 3, seen, seen)
    features = PerceptualFeatures(0.5)
    with torch.no_grad():
        distance = (features(one) - features(other)).square().sum(1)
        lpips = load_lpips("alex")(seen_size(one), seen_size(other)).flatten()
        small = [torch.nn.functional.adaptive_avg_pool2d(x, min(size, 256)) for x in (one, other)]
    error = (small[0] - small[1]).square().mean([1, 2, 3])
    torch.testing.assert_close(distance, lpips + 0.5 * error, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features.lpips_distance(one, other), lpips)


def test_small_images_may_be_seen_enlarged() -> None:
    """As a proxy's are: the features are those of the enlarged image, the pixels its own."""
    beta = 0.5
    one, other = (0.5 * normal(1, 3 * 32 * 32, seed).reshape(1, 3, 32, 32) for seed in (1, 2))
    features = PerceptualFeatures(beta, enlarged=64)
    found = (features(one) - features(other)).square().sum()
    large = (F.interpolate(x, size=(64, 64), mode="bicubic") for x in (one, other))
    wanted = features.lpips_distance(*large) + beta * (one - other).square().mean()
    torch.testing.assert_close(found, wanted[0])
    already = normal(1, 3 * 64 * 64, 3).reshape(1, 3, 64, 64)
    assert torch.equal(features(already), PerceptualFeatures(beta)(already))
    weights = features.weights(one, torch.ones(1, 1, 32, 32))
    assert weights.shape == features(one).shape
