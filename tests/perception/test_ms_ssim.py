"""MS-SSIM against the package pytorch-msssim.

The expected values were made by pytorch-msssim 1.0.0 on a CPU, from the same images in [0, 1]:
ms_ssim(x, y, data_range=1.0, size_average=False).
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.perception.ms_ssim import LEAST_SIDE, ms_ssim


def uniform(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_noise_has_the_published_value() -> None:
    image = uniform(1)
    noisy = image + 0.3 * torch.randn(image.shape, generator=torch.Generator().manual_seed(2))
    assert ms_ssim(image, noisy).tolist() == pytest.approx([0.8977308, 0.9002128], abs=1e-5)
    unlike = ms_ssim(image, uniform(3))
    assert unlike.tolist() == pytest.approx([0.0487282, 0.0679434], abs=1e-5)
    assert ms_ssim(image, -image).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("side", "blurred", "shifted"), [(256, 0.8448941, 0.5999231), (1024, 0.9540479, 0.8272470)]
)
def test_portraits_have_the_published_value(side: int, blurred: float, shifted: float) -> None:
    portrait = Image.open(pretrained_path("portrait.jpg"))
    portrait = portrait.resize((side, side), Image.Resampling.BOX)
    image = torch.from_numpy(np.array(portrait)).permute(2, 0, 1)[None] / 127.5 - 1
    small = F.avg_pool2d(image, 8)
    others = F.interpolate(small, scale_factor=8, mode="bilinear"), image.roll((5, 3), (2, 3))
    found = [ms_ssim(image, other).item() for other in others]
    assert found == pytest.approx([blurred, shifted], abs=1e-4)


def test_equal_images_down_to_the_least_side() -> None:
    assert LEAST_SIDE == 176
    image = uniform(1)[..., :LEAST_SIDE, :]
    assert ms_ssim(image, image).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("sides", [(1, 1), (5, 40), (11, 11), (60, 30), (175, 175)])
def test_small_images_have_fewer_scales(sides: tuple[int, int]) -> None:
    image = uniform(1)[..., : sides[0], : sides[1]]
    assert ms_ssim(image, image).tolist() == pytest.approx([1, 1])
    noisy = [image + 0.1 * level * uniform(2)[..., : sides[0], : sides[1]] for level in (1, 4)]
    near, far = (ms_ssim(image, each) for each in noisy)
    assert (near < 1).all()
    assert (far < near).all()


def test_a_floor_gives_opposite_images_a_gradient() -> None:
    image = uniform(1)
    opposite = (-image).requires_grad_()
    value = ms_ssim(image, opposite, floor=0.01)
    assert (value > 0).all()
    assert (value < 0.1).all()
    value.sum().backward()
    assert opposite.grad is not None
    assert opposite.grad.isfinite().all()
    assert opposite.grad.abs().max() > 0
