"""MS-SSIM of luma and chroma."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from invcomp.conventional.similarity import LUMA, Comparison
from invcomp.perception.ms_ssim import ms_ssim

from .images import drawn


def test_alike_and_less_alike() -> None:
    image = drawn(400, 300)
    comparison = Comparison(image)
    assert comparison.similarity(image) == pytest.approx(1)
    blurred = [image.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 3, 9)]
    found = [comparison.similarity(each) for each in blurred]
    assert found == sorted(found, reverse=True)
    tinted = Image.fromarray(np.asarray(image)[..., [2, 1, 0]])
    assert comparison.similarity(tinted) < 0.9


def test_a_grey_image_has_the_ms_ssim_of_its_luma() -> None:
    image = drawn(400, 300).convert("L").convert("RGB")
    for radius in (1, 4):
        blurred = image.filter(ImageFilter.GaussianBlur(radius))
        luma = float(ms_ssim(*(luma_of(each) for each in (image, blurred))))
        assert Comparison(image).similarity(blurred) == pytest.approx(LUMA * luma + 1 - LUMA)


def luma_of(image: Image.Image) -> torch.Tensor:
    plane = np.array(image.convert("YCbCr").getchannel(0), np.float32)
    return torch.from_numpy(plane)[None, None] / 127.5 - 1


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (3, 90), (12, 11), (100, 40), (175, 400)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    comparison = Comparison(drawn(*size))
    assert comparison.similarity(drawn(*size)) == pytest.approx(1)
    assert comparison.similarity(Image.new("RGB", size, "blue")) < 0.99


def test_large_images_are_compared_reduced() -> None:
    size = Comparison(Image.new("RGB", (4000, 3000))).size
    assert size[0] * size[1] <= 530_000
    assert size[0] / size[1] == pytest.approx(4 / 3, rel=0.01)
    assert Comparison(Image.new("RGB", (20_000, 1))).size == (20_000, 1)
