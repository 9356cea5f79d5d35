"""A surrogate for a large generator's last layers, for the search.

More than half of the time of a 1024-px generator goes into layers that draw what the distortion,
taken at 256 px, hardly sees. The generator's own layers up to 256 px, and two light ones in place
of the rest, make the small image in well under half of the time; what they get wrong the search
corrects (distortion.py).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError
from ..generators.base import Generator

TRUNK = 256  # px of the generator's last own feature maps, and of the image
LEAST = 512  # px of a generator that repays a surrogate
STYLE = 128  # the latents of the layers passed by are squeezed into so many numbers


class Surrogate(nn.Module):
    """The generator's trunk at 256 px to the image at 256 px.

    Generators of this kind learn to have the image so far in every layer, but for a modulation
    and a linear map: that is the first way here. The second is for what is not linear.

    Args:
        inputs: channels of the trunk.
        skipped: values of a flat latent that belong to the layers passed by.
        width: channels of the second way.
    """

    def __init__(self, inputs: int, skipped: int, width: int = 32) -> None:
        super().__init__()
        self.inputs, self.skipped, self.width = inputs, skipped, width
        self.style = nn.Linear(skipped, STYLE)
        self.modulation = nn.Linear(STYLE, inputs + width)
        self.linear = nn.Conv2d(inputs, 3, 3, padding=1)
        self.conv = nn.Conv2d(inputs, width, 1)
        self.to_image = nn.Conv2d(width, 3, 3, padding=1)
        with torch.no_grad():  # begins near a grey image
            self.modulation.weight.mul_(0.3)
            self.linear.weight.mul_(0.1)
            self.to_image.weight.mul_(0.1)

    @staticmethod
    def fits(generator: Generator) -> bool:
        """Whether a generator is large enough to repay one, and can stop inside."""
        return generator.resolution >= LEAST and generator.trunk_layers(TRUNK) > 0

    @classmethod
    def of(cls, generator: Generator) -> Surrogate:
        """An untrained one for a generator.

        Raises:
            OptionError: it has no use for one.
        """
        if not cls.fits(generator):
            kind = type(generator).__name__
            raise OptionError(f"a {kind} of {generator.resolution} px has no use for a surrogate")
        latents = next(generator.parameters()).new_zeros(1, generator.latent_size)
        with torch.no_grad():
            inputs = generator.trunk(latents, TRUNK).shape[1]
        passed = generator.layers[generator.trunk_layers(TRUNK) :]
        return cls(inputs, sum(layer.size for layer in passed))

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
        """What stands for `generator.forward_reduced(latents, 256)`: [N, 3, 256, 256]."""
        return self(generator.trunk(latents, TRUNK), latents)  # type: ignore[no-any-return]
