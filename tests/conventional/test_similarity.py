"""MS-SSIM without torch."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from invcomp.conventional.similarity import Comparison, _ms_ssim
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


def test_near_the_usual_ms_ssim() -> None:
    """Which has Gaussian windows in place of square ones."""
    image = drawn(400, 300)
    for radius in (1, 4):
        planes = [
            np.asarray(each.convert("L"), np.float32)
            for each in (image, image.filter(ImageFilter.GaussianBlur(radius)))
        ]
        ours = _ms_ssim(*planes)
        tensors = [
            torch.from_numpy(plane)[None, None].repeat(1, 3, 1, 1) / 127.5 - 1 for plane in planes
        ]
        assert ours == pytest.approx(float(ms_ssim(*tensors)), abs=0.02)


def test_large_images_are_compared_reduced() -> None:
    size = Comparison(Image.new("RGB", (4000, 3000))).size
    assert size[0] * size[1] <= 530_000
    assert size[0] / size[1] == pytest.approx(4 / 3, rel=0.01)
    assert Comparison(Image.new("RGB", (20_000, 1))).size == (20_000, 1)
