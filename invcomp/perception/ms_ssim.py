"""MS-SSIM, for the search and as a metric."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # from the finest scale
WINDOW, SIGMA = 11, 1.5  # side and deviation of the Gaussian window, in pixels
LEAST_SIDE = WINDOW * 2 ** (len(SCALE_WEIGHTS) - 1)  # of an image whose every scale is compared


def ms_ssim(one: Tensor, other: Tensor, floor: float = 0.0) -> Tensor:
    """MS-SSIM (Wang et al. 2003) of images [N, C, H, W] in [-1, 1]: [N].

    Differentiable. Windows that reach over the border are left out. If a side is odd, the next
    scale lacks its last row or column. An image under 176 px has only the scales that a window
    fits, so its value compares with no other size's; under 11 px its border is repeated.

    Args:
        one: images.
        other: images to compare with them.
        floor: least value of each scale's factor. A power of 0 has no gradient, so a search
            without a floor stops at images with opposite structure.
    """
    missing = [max(WINDOW - side, 0) for side in one.shape[2:]]
    if any(missing):
        border = (0, missing[1], 0, missing[0])
        one, other = (F.pad(image, border, mode="replicate") for image in (one, other))
    product = torch.ones(len(one), one.shape[1], device=one.device)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            one, other = (F.avg_pool2d(image, 2) for image in (one, other))
        luminance, contrast = _ssim_parts(one, other)
        # luminance is used at the last scale only
        is_last = scale == len(SCALE_WEIGHTS) - 1 or min(one.shape[2:]) < 2 * WINDOW
        found = (luminance * contrast if is_last else contrast).mean((2, 3))
        product = product * found.clamp_min(floor) ** weight
        if is_last:
            break
    return product.mean(1)


def _ssim_parts(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of the two factors of SSIM, luminance and contrast-structure: [N, C, h, w] each."""
    channels = x.shape[1]
    moments = torch.cat([x, y, x * x, y * y, x * y], 1)
    offsets = torch.arange(WINDOW, device=x.device) - WINDOW // 2
    window = (-(offsets**2) / (2 * SIGMA**2)).exp()
    window = (window / window.sum()).expand(moments.shape[1], 1, 1, WINDOW)
    moments = F.conv2d(moments, window, groups=moments.shape[1])
    moments = F.conv2d(moments, window.transpose(2, 3), groups=moments.shape[1])
    x_mean, y_mean, xx, yy, xy = moments.split(channels, 1)
    # Wang's constants, (0.01, 0.03) times the range 2; the means are those of images in [0, 2]
    first, second = 0.02**2, 0.06**2
    covariance, variances = xy - x_mean * y_mean, xx - x_mean**2 + yy - y_mean**2
    x_mean, y_mean = x_mean + 1, y_mean + 1
    luminance = (2 * x_mean * y_mean + first) / (x_mean**2 + y_mean**2 + first)
    return luminance, (2 * covariance + second) / (variances + second)
