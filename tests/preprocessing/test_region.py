"""Masks: to weights of places, and what they do to a search."""

import numpy as np
import pytest
import torch
from PIL import Image

from invcomp.bitstream import IvcFile, decode
from invcomp.codec import Codec
from invcomp.errors import ImageError
from invcomp.generators.base import normal
from invcomp.inversion.distortion import Distortion, Target
from invcomp.inversion.options import SearchOptions
from invcomp.perception.features import PerceptualFeatures
from invcomp.preprocessing.frame import from_tensor, to_tensor
from invcomp.preprocessing.region import ELSEWHERE, FACES_OVAL, region

from ..tiny import tiny_bundle


def left_half(side: int) -> Image.Image:
    """White on the left."""
    mask = np.zeros((side, side, 3), np.uint8)
    mask[:, : side // 2] = 255
    return Image.fromarray(mask)


def test_white_matters() -> None:
    weights = region(left_half(100), 64)
    assert weights.shape == (1, 1, 64, 64)
    assert weights[..., :28].mean() == pytest.approx(1, abs=0.01)
    assert weights[..., 36:].mean() == pytest.approx(ELSEWHERE, abs=0.01)
    with pytest.raises(ImageError):
        region("faces-square", 64)


def test_the_oval_of_a_face() -> None:
    weights = region(FACES_OVAL, 128)[0, 0]
    assert weights[70, 64] == 1
    for corner in (weights[0, 0], weights[0, -1], weights[-1, 0], weights[-1, -1]):
        assert corner == pytest.approx(ELSEWHERE)
    assert torch.allclose(weights, weights.flip(1), atol=1e-5)


def test_weights_have_a_mean_of_one_in_every_layer() -> None:
    features, images = PerceptualFeatures(0.5), torch.zeros(2, 3, 64, 64)
    found = features.weights(images, region(left_half(64), 64))
    assert found.shape == (1, features(images).shape[1])
    assert found[:, : 3 * 64 * 64].mean() == pytest.approx(1, abs=1e-4)
    assert found.mean() == pytest.approx(1, abs=1e-4)
    assert torch.allclose(features.weights(images, torch.full((1, 1, 9, 9), 0.3)), found * 0 + 1)


@torch.no_grad()
def test_screening_and_steps_see_the_same_distance() -> None:
    bundle = tiny_bundle()
    features = PerceptualFeatures(0.5)
    distortion = Distortion(bundle.generator, features, mixed=False, compiled=False)
    image = distortion.generator(bundle.coordinates.latents(bundle.candidates[:1]))
    weights = features.weights(image, region(left_half(64), 64))
    wanted, latents = distortion.target(image), bundle.coordinates.mean
    for quick in (None, distortion):
        weighted = Target(wanted, distortion, quick, weights)
        expected = (weights * (distortion.features_of(latents) - wanted).square()).sum()
        assert float(weighted.distance(latents)) == pytest.approx(float(expected), rel=1e-4)
        with torch.enable_grad():
            steps = weighted.distance(latents, quickly=True)
            assert float(steps) == pytest.approx(float(expected), rel=1e-4)
            assert float(weighted.screen(latents)) == pytest.approx(float(expected), rel=1e-4)


def test_the_search_spends_on_what_matters() -> None:
    codec = Codec(tiny_bundle(), "cpu", compiled=False)
    with torch.no_grad():
        c = normal(2, 64, seed=3) * codec.decoder.coordinates.deviations
        one, other = codec.decoder.generator(codec.decoder.coordinates.latents(c))
    both = torch.cat([one[:, :, :32], other[:, :, 32:]], 2)  # the left of one, the right of another
    image, options = from_tensor(both[None]), SearchOptions(iterations=40, starts=1)
    errors = []
    for mask in (left_half(64), left_half(64).transpose(Image.Transpose.ROTATE_180), None):
        encoded = next(codec.encode([image], quality=30, mask=mask, search=options))
        difference = (to_tensor(encoded.decoded) - to_tensor(image)).square()
        errors.append((float(difference[..., :32].mean()), float(difference[..., 32:].mean())))
        assert decode(IvcFile.unpack(encoded.data), codec.bundle.entropy).integers.any()
    (left, _), (_, right), plain = errors
    assert left < plain[0]
    assert right < plain[1]
