"""The discriminator on frozen features: what is fixed, what is trained, what its logits weigh."""

import pytest
import torch
import torch.nn.functional as F

from invcomp.training.feature_discriminator import FeatureDiscriminator


@pytest.mark.parametrize("resolution", [16, 64, 128])
def test_logits_of_places(resolution: int) -> None:
    network = FeatureDiscriminator(resolution)
    logits = network(network.mixed(torch.rand(2, 3, resolution, resolution)))
    assert logits.shape == (2, len(network.weights))
    assert float(network.weights.sum()) == pytest.approx(1)


def test_only_heads_are_trained() -> None:
    names = {
        name.split(".")[0]
        for name, parameter in FeatureDiscriminator(32).named_parameters()
        if parameter.requires_grad
    }
    assert names == {"heads"}


def test_coarse_layers_reach_every_head() -> None:
    """Features are mixed over layers, from the coarsest to the finest."""
    torch.manual_seed(0)
    network = FeatureDiscriminator(64)
    images = torch.rand(1, 3, 64, 64)
    before = network.mixed(images)
    with torch.no_grad():
        network.across[-1].weight.mul_(2)  # type: ignore[operator]
    after = network.mixed(images)
    assert all(not torch.allclose(*pair) for pair in zip(before, after, strict=True))


def test_gradients_reach_the_image() -> None:
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    network = FeatureDiscriminator(32)
    network(network.mixed(images)).sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0


def test_the_state_is_restored() -> None:
    torch.manual_seed(0)
    one = FeatureDiscriminator(32).eval()
    other = FeatureDiscriminator(32).eval()
    images = torch.rand(1, 3, 32, 32)
    assert not torch.allclose(one(one.mixed(images)), other(other.mixed(images)))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(one.mixed(images)), other(other.mixed(images)))


def test_enlarging_is_part_of_the_first_layer() -> None:
    """Away from the border it is AlexNet's first layer of the image, enlarged."""
    network = FeatureDiscriminator(32)
    images = torch.rand(1, 3, 32, 32)
    large = F.interpolate(images, size=(64, 64), mode="bilinear", align_corners=False)
    expected = network.trunk.slice1(network.scaling(large))
    found = network._layers(network.scaling(images))[0]
    assert found.shape == expected.shape
    inside = (..., slice(1, -1), slice(1, -1))
    assert torch.allclose(found[inside], expected[inside], atol=1e-4)
