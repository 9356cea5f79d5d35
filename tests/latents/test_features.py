"""Perceptual features: their squared distance is LPIPS and squared error, at every size."""

import pytest
import torch

from invcomp.latents.features import PerceptualFeatures, seen_size
from invcomp.latents.lpips_network import load_lpips


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
