"""The part of a picture that matters: weights of the places in the search's distortion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .frame import fit
from .perception.identity import Face

FACES_OVAL = "faces-oval"
ELSEWHERE = 0.1  # weight of black against white: with none, anything could stand there
CENTRE, RADII = (0.5, 0.54), (0.3, 0.4)  # of the oval, x and y, in sides of the frame of FFHQ
SOFT = 0.15  # width of its edge, in radii
# centre and radii of eyes with brows, and of the mouth, in sides of the face's chip
EXPRESSIVE = (((0.5, 0.266), (0.345, 0.118)), ((0.5, 0.682), (0.204, 0.094)))
BLURRED = 0.6  # width of their edges, in radii


def region(mask: Any, resolution: int) -> Tensor:
    """Weights of the places of a frame.

    Args:
        mask: a picture, as `Codec.compress` takes one, of which white matters; its largest centred
            square is taken, as of a photograph. Or "faces-oval": where the face is in FFHQ's frame.
        resolution: of the frame in pixels.

    Returns:
        [1, 1, R, R], 0.1 to 1.

    Raises:
        ImageError: not a picture of that kind.
    """
    if isinstance(mask, str) and mask == FACES_OVAL:
        white = _oval(CENTRE, RADII, SOFT, resolution)
    else:
        picture, _ = fit(mask, resolution)
        white = (picture.mean(1, keepdim=True) + 1) / 2
    return ELSEWHERE + (1 - ELSEWHERE) * white


def emphasis(face: Face, resolution: int) -> Tensor:
    """Weights of the places of a frame that has a face: more where likeness is decided.

    Returns:
        [1, 1, R, R]: 1 + `face.emphasis` at eyes, brows and mouth, 1 elsewhere.
    """
    left, top, right, bottom = face.chip
    parts = [
        _oval(
            (left + x * (right - left), top + y * (bottom - top)),
            (wide * (right - left), tall * (bottom - top)),
            BLURRED,
            resolution,
        )
        for (x, y), (wide, tall) in EXPRESSIVE
    ]
    return 1 + face.emphasis * torch.cat(parts).amax(0, keepdim=True)


def _oval(
    centre: tuple[float, float], radii: tuple[float, float], soft: float, resolution: int
) -> Tensor:
    """1 inside of an oval, 0 outside, its edge `soft` radii wide: [1, 1, R, R]."""
    places = (torch.arange(resolution) + 0.5) / resolution
    x, y = ((places - middle) / radius for middle, radius in zip(centre, radii, strict=True))
    distance = (x[None] ** 2 + y[:, None] ** 2).sqrt()
    return ((1 + soft / 2 - distance) / soft).clamp(0, 1)[None, None]
