"""How alike an image and its decoded image look, without torch: MS-SSIM of luma and chroma."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

COMPARED = 1 << 19  # pixels at which images are compared, at most
WINDOW = 8  # px, of SSIM
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents (Wang et al., 2003)
CHANNELS = (0.8, 0.1, 0.1)  # weights of Y, Cb, Cr

Plane = NDArray[np.float32]


class Comparison:
    """Compares decoded images with one original.

    Args:
        original: an RGB image.
    """

    def __init__(self, original: Image.Image) -> None:
        scale = min((COMPARED / (original.width * original.height)) ** 0.5, 1)
        width, height = (max(1, round(side * scale)) for side in original.size)
        self.size = width, height
        self.planes = self._planes(original)

    def similarity(self, decoded: Image.Image) -> float:
        """MS-SSIM of a decoded image of any size; higher is better, 1 is the original."""
        others = self._planes(decoded)
        return sum(
            weight * _ms_ssim(one, other)
            for weight, one, other in zip(CHANNELS, self.planes, others, strict=True)
        )

    def _planes(self, image: Image.Image) -> list[Plane]:
        """Y, Cb and Cr, the last two at half the size."""
        scaled = image.resize(self.size, Image.Resampling.LANCZOS).convert("YCbCr")
        luma, *chroma = scaled.split()
        return [np.asarray(each, np.float32) for each in (luma, *(c.reduce(2) for c in chroma))]


def _ms_ssim(one: Plane, other: Plane) -> float:
    """MS-SSIM of two planes, with square windows; small planes have fewer scales."""
    product = luminance = 1.0
    for exponent in SCALES:
        contrast, luminance = _ssim(one, other)
        product *= max(contrast, 1e-6) ** exponent
        if min(one.shape) < 2 * WINDOW:
            break
        one, other = _halved(one), _halved(other)
    return float(product * max(luminance, 1e-6) ** SCALES[-1])


def _ssim(one: Plane, other: Plane) -> tuple[float, float]:
    """Means of SSIM's contrast and structure, and of its luminance."""

    def mean(plane: Plane) -> Plane:
        return np.asarray(uniform_filter(plane, WINDOW))

    first, second = mean(one), mean(other)
    variances = mean(one * one + other * other) - first * first - second * second
    covariance = mean(one * other) - first * second
    contrast = (2 * covariance + 58.5225) / (variances + 58.5225)
    luminance = (2 * first * second + 6.5025) / (first * first + second * second + 6.5025)
    return float(contrast.mean()), float(luminance.mean())


def _halved(plane: Plane) -> Plane:
    height, width = (length // 2 * 2 for length in plane.shape)
    blocks = plane[:height, :width].reshape(height // 2, 2, width // 2, 2)
    return np.asarray(blocks.mean((1, 3)), np.float32)
