"""Perceptual features: their squared distance is LPIPS and squared error, at every size."""

import pytest
import torch
import torch.nn.functional as F

from invcomp.generators.base import normal
from invcomp.perception.features import PerceptualFeatures, seen_size
from invcomp.perception.identity import Face
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


def test_faces_are_seen_closer() -> None:
    """At 512 px, by LPIPS and squared error of the whole, the face's part weighing more."""
    face = Face((0.25, 0.25, 0.75, 0.75), closer=0.0, around=0.7)
    one, other = (0.4 * normal(1, 3 * 1024**2, seed).reshape(1, 3, 1024, 1024) for seed in (1, 2))
    features = PerceptualFeatures(0.5, face=face, closer=face)
    plain = PerceptualFeatures(0.5, face=face)
    assert (features.resolution, plain.resolution) == (512, 256)
    with torch.no_grad():
        found, without = ((each(one) - each(other)).square().sum() for each in (features, plain))
        whole = [F.avg_pool2d(x, 2) for x in (one, other)]
        distance = features.lpips(*whole) + 0.5 * (whole[0] - whole[1]).square().mean()
    torch.testing.assert_close(found - without, 0.7 * distance.sum(), rtol=1e-4, atol=1e-4)
    assert features(F.avg_pool2d(one, 4)).shape == features(one).shape  # as a surrogate's image
    count = plain(one).shape[1]
    assert torch.equal(features(one)[:, :count], plain(one))


def test_a_whole_image_is_seen_closer() -> None:
    """Enlarged to 512 px, by LPIPS and squared error, with one weight."""
    one, other = (0.4 * normal(1, 3 * 256**2, seed).reshape(1, 3, 256, 256) for seed in (1, 2))
    features, plain = PerceptualFeatures(2.0, closer=0.7), PerceptualFeatures(2.0)
    with torch.no_grad():
        found, without = ((each(one) - each(other)).square().sum() for each in (features, plain))
        large = [F.interpolate(x, scale_factor=2, mode="bilinear") for x in (one, other)]
        distance = features.lpips(*large) + 2 * (large[0] - large[1]).square().mean()
    torch.testing.assert_close(found - without, 0.7 * distance.sum(), rtol=1e-4, atol=1e-4)
    assert PerceptualFeatures(2.0, closer=0.0)(one).shape == plain(one).shape


def test_the_face_weighs_by_its_share() -> None:
    """An even difference counts `closer` + `around` times; beside the face, `around` times."""
    face = Face((0.25, 0.25, 0.75, 0.75), closer=1.0, around=0.5)
    features = PerceptualFeatures(1.0, face=face, closer=face)
    count = PerceptualFeatures(1.0, face=face)(torch.zeros(1, 3, 512, 512)).shape[1]
    black = torch.zeros(1, 3, 512, 512)
    grey, beside = black + 0.1, black.clone()
    beside[..., :64] = 0.1  # left of the face, an eighth of the image
    pixels = slice(count, count + 3 * 512**2)
    with torch.no_grad():
        seen = [features(image)[:, pixels] for image in (black, grey, beside)]
    found = [float((each - seen[0]).square().sum()) for each in seen[1:]]
    assert found == pytest.approx([1.5 * 0.01, 0.5 * 0.01 / 8], rel=1e-3)


def test_a_region_weighs_what_is_closer_too() -> None:
    image = torch.zeros(1, 3, 512, 512)
    face = Face((0.5, 0.25, 1.0, 0.75))
    features = PerceptualFeatures(0.5, face=face, closer=face)
    even = features.weights(image, torch.full((1, 1, 64, 64), 0.3))
    torch.testing.assert_close(even, torch.ones_like(features(image)))
    region = torch.full((1, 1, 64, 64), 0.5)
    region[..., 32:] = 1.5
    count = PerceptualFeatures(0.5, face=face)(image).shape[1]
    pixels = features.weights(image, region)[:, count : count + 3 * 512**2].view(3, 512, 512)
    torch.testing.assert_close(pixels[..., :256], torch.full((3, 512, 256), 0.5))
    torch.testing.assert_close(pixels[..., 256:], torch.full((3, 512, 256), 1.5))
