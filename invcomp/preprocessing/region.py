"""The region of interest: weights of the distortion from a mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .frame import CENTRE_CROP, fit

FACES_OVAL = "faces-oval"
ELSEWHERE = 0.1  # weight of black relative to white; with 0 the search would ignore that part
CENTRE, RADII = (0.5, 0.54), (0.3, 0.4)  # of the oval, x and y, in sides of the frame of FFHQ
SOFT = 0.15  # width of its edge, in radii


def region(mask: Any, resolution: int, frame: str = CENTRE_CROP) -> Tensor:
    """Weights of the pixels of a frame.

    Args:
        mask: an image of the kinds that `Codec.compress` takes, white where weights are high. Or
            "faces-oval", the oval of the face in FFHQ's frame.
        resolution: of the frame in pixels.
        frame: how the mask is fitted; see `frame.fit`.

    Returns:
        [1, 1, R, R], 0.1 to 1.

    Raises:
        ImageError: an image of another kind.
    """
    if isinstance(mask, str) and mask == FACES_OVAL:
        white = _oval(resolution)
    else:
        image, _ = fit(mask, resolution, frame)
        white = (image.mean(1, keepdim=True) + 1) / 2
    return ELSEWHERE + (1 - ELSEWHERE) * white


def _oval(resolution: int) -> Tensor:
    """1 inside the oval, 0 outside, with a soft edge: [1, 1, R, R]."""
    positions = (torch.arange(resolution) + 0.5) / resolution
    x, y = ((positions - centre) / radius for centre, radius in zip(CENTRE, RADII, strict=True))
    distance = (x[None] ** 2 + y[:, None] ** 2).sqrt()
    return ((1 + SOFT / 2 - distance) / SOFT).clamp(0, 1)[None, None]
