"""A proxy of any large generator: perceptual coordinates to a small image.

It is trained on pairs made by the large generator (training/proxy.py). Its only latent layer is
the coordinates themselves, so a file made for the large generator decodes with both, at two sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError
from .base import NO_OFFSETS, Generator, LatentLayer, Offsets, enlarged
from .mobile_stylegan import inverse_haar

SEED = 48  # channels of the 4-px map made from coordinates
CHANNELS = (224, 224, 192, 128, 64)  # for 128 px: 3 M parameters with 650 coordinates


class Block(nn.Module):
    """Convolves, doubles the size (inverse Haar transform) except the first block, refines."""

    def __init__(self, inputs: int, outputs: int, doubles: bool) -> None:
        super().__init__()
        self.doubles = doubles
        self.enter = nn.Conv2d(inputs, outputs * (4 if doubles else 1), 1)
        self.refine = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        """[N, inputs, R, R] and [N, outputs] to [N, outputs, 2R, 2R], or R without doubling."""
        x = self.enter(x)
        x = F.leaky_relu(inverse_haar(x) if self.doubles else x, 0.2) * scale[:, :, None, None]
        x = x * torch.rsqrt(
            x.square().mean(1, keepdim=True) + 1e-4
        )  # equal magnitude at every pixel
        return x + F.leaky_relu(self.refine(x), 0.2)


class Proxy(Generator):
    """Maps coordinates to an image: a 4-px map, then modulated blocks, each twice as large.

    Args:
        coordinates: K, their number.
        channels: for every resolution from 4 px up to half the image's.
        classes: number of classes, 0: none. The class follows the coordinates as a one-hot
            vector.
    """

    units: Tensor
    deviations: Tensor

    def __init__(self, coordinates: int, channels: Sequence[int], classes: int = 0) -> None:
        super().__init__()
        if not channels or min(channels) < 1:
            raise OptionError(
                f"channels are {list(channels)}: one positive number per resolution is needed"
            )
        self.coordinates, self.channels, self.classes = coordinates, tuple(channels), classes
        self.resolution, self.z_size = enlarged(4, len(channels)), coordinates
        size = coordinates + classes
        self.layers = (LatentLayer("coordinates", (size,)),)
        self.seed = nn.Linear(size, 16 * SEED)
        self.modulation = nn.Linear(size, sum(channels))
        self.blocks = nn.ModuleList(
            Block(inputs, outputs, doubles=index > 0)
            for index, (inputs, outputs) in enumerate(
                zip((SEED, *channels[:-1]), channels, strict=True)
            )
        )
        self.to_image = nn.Conv2d(channels[-1], 12, 3, padding=1)
        self.register_buffer("units", torch.ones(size))  # divisors of the coordinates
        self.register_buffer("deviations", torch.ones(coordinates))  # of the prior

    def options(self) -> dict[str, Any]:
        """See `Generator.options`."""
        return {
            "coordinates": self.coordinates,
            "channels": list(self.channels),
            "classes": self.classes,
        }

    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """See `Generator.sample`: coordinates with a Gaussian prior."""
        coordinates = z * self.deviations
        if not self.classes:
            return coordinates
        if classes is None:
            raise ValueError("a class-conditional generator needs classes")
        return torch.cat([coordinates, F.one_hot(classes, self.classes).to(z.dtype)], 1)

    def forward(self, latents: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.forward`; there are no inner maps."""
        inputs = latents / self.units
        x = self.seed(inputs).unflatten(1, (SEED, 4, 4))
        scales = (1 + self.modulation(inputs)).split(list(self.channels), 1)
        for block, scale in zip(self.blocks, scales, strict=True):
            x = block(x, scale)
        return inverse_haar(self.to_image(x))
