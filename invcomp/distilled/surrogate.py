"""The surrogate: it replaces a large generator's last layers during the search.

A 1024-px generator spends more than half of its time in layers that hardly change the distortion,
which is computed at 256 px. The generator's own layers up to 256 px, and two light ones instead of
the rest, make the small image in well under half of the time. The search corrects their error
(distortion.py).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError
from ..generators.base import Generator

TRUNK = 256  # px of the generator's last own feature maps, and of the image
LEAST = 512  # px of the smallest generator for which a surrogate pays
STYLE = 128  # size of a linear projection of the skipped layers' latents


class Surrogate(nn.Module):
    """Maps the generator's trunk at 256 px to the image at 256 px.

    In these generators, the feature maps of every layer determine the image so far by a modulation
    and a linear map. This is the first branch. The second branch adds a nonlinear part.

    Args:
        inputs: channels of the trunk.
        skipped: number of values of a flat latent that belong to the skipped layers.
        width: channels of the second branch.
    """

    def __init__(self, inputs: int, skipped: int, width: int = 32) -> None:
        super().__init__()
        self.inputs, self.skipped, self.width = inputs, skipped, width
        self.style = nn.Linear(skipped, STYLE)
        self.modulation = nn.Linear(STYLE, inputs + width)
        self.linear = nn.Conv2d(inputs, 3, 3, padding=1)
        self.conv = nn.Conv2d(inputs, width, 1)
        self.to_image = nn.Conv2d(width, 3, 3, padding=1)
        with torch.no_grad():  # the image is almost grey before training
            self.modulation.weight.mul_(0.3)
            self.linear.weight.mul_(0.1)
            self.to_image.weight.mul_(0.1)

    @staticmethod
    def fits(generator: Generator) -> bool:
        """Whether a generator is large enough for a surrogate, and can return its trunk."""
        return generator.resolution >= LEAST and generator.trunk_layers(TRUNK) > 0

    def fits_between(self, generator: Generator) -> bool:
        """Whether its sizes are those of a generator's trunk and of the layers that it replaces."""
        if not self.fits(generator):
            return False
        channels = dict(generator.inner_maps).get(TRUNK, self.inputs)
        skipped = generator.layers[generator.trunk_layers(TRUNK) :]
        # a trunk may hold the image too
        fits = self.inputs in (channels, channels + 3)
        return fits and self.skipped == sum(layer.size for layer in skipped)

    @classmethod
    def of(cls, generator: Generator) -> Surrogate:
        """An untrained surrogate for a generator.

        Raises:
            OptionError: the generator has no use for one.
        """
        if not cls.fits(generator):
            kind = type(generator).__name__
            raise OptionError(f"a {kind} of {generator.resolution} px has no use for a surrogate")
        latents = next(generator.parameters()).new_zeros(1, generator.latent_size)
        with torch.no_grad():
            inputs = generator.trunk(latents, TRUNK).shape[1]
        skipped = generator.layers[generator.trunk_layers(TRUNK) :]
        return cls(inputs, sum(layer.size for layer in skipped))

    def options(self) -> dict[str, Any]:
        """The constructor's arguments as JSON values."""
        return {"inputs": self.inputs, "skipped": self.skipped, "width": self.width}

    def forward(self, features: Tensor, latents: Tensor) -> Tensor:
        """Trunk [N, inputs, 256, 256] and flat latents [N, D] to images [N, 3, 256, 256]."""
        style = F.leaky_relu(self.style(latents[:, -self.skipped :]), 0.2)  # [N, STYLE]
        scales = (1 + self.modulation(style))[:, :, None, None]
        scale1, scale2 = scales.split([self.inputs, self.width], 1)
        x = F.leaky_relu(self.conv(features) * scale2, 0.2)  # [N, width, 256, 256]
        return self.linear(features * scale1) + self.to_image(x)  # type: ignore[no-any-return]

    def image(self, generator: Generator, latents: Tensor) -> Tensor:
        """Replaces `generator.forward_reduced(latents, 256)`: [N, 3, 256, 256]."""
        return self(generator.trunk(latents, TRUNK), latents)  # type: ignore[no-any-return]
