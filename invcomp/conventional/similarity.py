"""How alike an image and its decoded image look: MS-SSIM of luma and chroma."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..perception.ms_ssim import ms_ssim

COMPARED = 1 << 19  # pixels at which images are compared, at most
LUMA = 0.8  # weight of Y; Cb and Cr share the rest


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

    @torch.inference_mode()
    def similarity(self, decoded: Image.Image) -> float:
        """MS-SSIM of a decoded image of any size; higher is better, 1 is the original."""
        pairs = zip(self.planes, self._planes(decoded), strict=True)
        luma, chroma = (float(ms_ssim(one, other)) for one, other in pairs)
        return LUMA * luma + (1 - LUMA) * chroma

    def _planes(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        """Y, and Cb and Cr at half the size: [1, channels, H, W] in [-1, 1]."""
        scaled = image.resize(self.size, Image.Resampling.LANCZOS).convert("YCbCr")
        luma, *chroma = scaled.split()
        return _tensor([luma]), _tensor([each.reduce(2) for each in chroma])


def _tensor(planes: list[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(each) for each in planes]))[None] / 127.5 - 1
