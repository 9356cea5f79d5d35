"""Adaptive augmentation: flips, colour, translation, cutout, each with probability p.

Real and generated images get the same differentiable operations, so that the generator does not
learn them (Karras et al. 2020, arXiv:2006.06676, sections 2 and 3). The operations and their ranges
are those of DiffAugment (Zhao et al. 2020, arXiv:2006.10738). kornia is not used because it takes
three times as long for a batch of small images: docs/experiments.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RANDOMS = 13  # uniform numbers per image
SHIFT = 1 / 8  # largest translation, relative to the image's size
HOLE = 1 / 2  # size of the cutout, relative to the image's size


def augment(images: Tensor, p: Tensor, randoms: Tensor) -> Tensor:
    """Augments images.

    Args:
        images: [N, 3, R, R] in [-1, 1].
        p: probability of each operation, a scalar tensor (so that a change does not recompile).
        randoms: uniform in [0, 1), [N, RANDOMS]; drawn by the caller, so that a run is
            reproducible and can be split between processes.
    """
    u = [column[:, None, None, None] for column in randoms.unbind(1)]
    x = torch.where(u[0] < p / 2, images.flip(3), images)
    x = x + (u[1] < p) * (u[2] - 0.5)  # brightness
    mean = x.mean(1, keepdim=True)
    x = torch.where(u[3] < p, mean + (x - mean) * (2 * u[4]), x)  # saturation
    mean = x.mean([1, 2, 3], keepdim=True)
    x = torch.where(u[5] < p, mean + (x - mean) * (u[6] + 0.5), x)  # contrast
    size = x.shape[3]
    for axis, gate, amount in ((2, u[7], u[8]), (3, u[7], u[9])):
        shift = ((amount * 2 - 1) * SHIFT * size).round() * (gate < p)
        x = _shift(x, shift.flatten().long(), axis)
    return x * _hole(size, torch.where(u[10] < p, HOLE, 0.0), u[11], u[12])


def _shift(x: Tensor, shift: Tensor, axis: int) -> Tensor:
    """Shifts every image by its own number of pixels [N] along an axis; fills with zeros."""
    size = x.shape[axis]
    source = torch.arange(size, device=x.device)[None] - shift[:, None]  # [N, size]
    inside = (source >= 0) & (source < size)
    form = (-1, 1, size, 1) if axis == 2 else (-1, 1, 1, size)
    index = source.clamp(0, size - 1).view(form).expand(x.shape)
    return x.gather(axis, index) * inside.view(form)


def _hole(size: int, part: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """[N, 1, size, size], zero in a square of `part` of the size, centred at (y, x) in [0, 1)."""
    place = (torch.arange(size, device=y.device) + 0.5) / size
    rows = (place[None, None, :, None] - y).abs() < part / 2  # [N, 1, size, 1]
    columns = (place[None, None, None, :] - x).abs() < part / 2  # [N, 1, 1, size]
    return 1 - (rows & columns).float()


@dataclass
class AdaptiveProbability:
    """The ADA controller: p follows the discriminator's confidence on real images.

    Attributes:
        p: the current probability, 0 to 1.
        target: target mean sign of real logits (0.6 in the paper, section 3.1).
        kimg: thousand images in which p can change from 0 to 1 (500 in the paper).
    """

    p: float = 0.0
    target: float = 0.6
    kimg: float = 500.0

    def adapt(self, sign: float, images: int) -> None:
        """Updates p after `images` images whose logits have this mean sign."""
        change = images / (self.kimg * 1000)
        self.p = min(max(self.p + (change if sign > self.target else -change), 0.0), 1.0)
