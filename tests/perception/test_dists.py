import pytest
import torch

from invcomp.perception.dists import Dists


@pytest.fixture(scope="module")
def dists(vgg_trunk: None) -> Dists:
    return Dists()


def test_gives_the_values_in_the_documentation_of_torchmetrics(dists: Dists) -> None:
    """Made there with torchvision's own VGG16 (deep_image_structure_and_texture_similarity)."""
    generator = torch.Generator().manual_seed(42)
    first, second = (torch.rand(5, 3, 256, 256, generator=generator) for _ in range(2))
    expected = torch.tensor([0.1285, 0.1344, 0.1356, 0.1277, 0.1276])
    torch.testing.assert_close(dists(first, second), expected, atol=6e-5, rtol=0)


def test_equal_images_have_no_distance(dists: Dists) -> None:
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(dists(image, image), torch.zeros(2), atol=1e-6, rtol=0)


def test_is_symmetric_and_grows_with_noise(dists: Dists) -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, 64, 64, generator=generator)
    noise = torch.randn(1, 3, 64, 64, generator=generator)
    little, much = ((image + scale * noise).clamp(0, 1) for scale in (0.02, 0.2))
    assert 0 < dists(image, little) < dists(image, much) < 1
    torch.testing.assert_close(dists(image, much), dists(much, image))
