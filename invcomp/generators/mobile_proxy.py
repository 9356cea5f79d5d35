"""A small generator of a MobileStyleGAN's own layers: perceptual coordinates to a small image.

The first blocks of that generator are kept. What makes them large is their styles, 512 numbers for
every layer: here all styles come from one short vector, which is a linear map of the coordinates.
One convolution draws the image from the last block kept, as every layer of such a generator has
the image so far in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError
from .base import Generator, LatentLayer
from .mobile_stylegan import Block, MobileStyleGAN

RANK = 96  # 2.9 M parameters at 128 px with 650 coordinates


class MobileProxy(Generator):
    """Coordinates to an image, through the first blocks of a MobileStyleGAN.

    Args:
        coordinates: K, how many there are.
        rank: length of the vector that all styles come from.
        channels: of the 4-px map and of every block kept, up to the image's resolution.

    Raises:
        OptionError: sizes that cannot be.
    """

    deviations: Tensor

    def __init__(self, coordinates: int, rank: int, channels: Sequence[int]) -> None:
        super().__init__()
        if min(coordinates, rank, *channels) < 1 or len(channels) < 2:
            raise OptionError(
                f"{coordinates} coordinates, rank {rank}, channels {list(channels)}: no such proxy"
            )
        self.coordinates, self.rank, self.channels = coordinates, rank, tuple(channels)
        self.resolution, self.z_size = 2 * 2 ** len(channels), coordinates
        self.layers = (LatentLayer("coordinates", (coordinates,)),)
        self.squeeze = nn.Linear(coordinates, rank, bias=False)
        self.first = nn.Linear(rank, 16 * channels[0])
        self.blocks = nn.ModuleList(
            Block(rank, inputs, outputs, 8 * 2**index)
            for index, (inputs, outputs) in enumerate(pairwise(channels))
        )
        self.to_image_modulation = nn.Linear(rank, channels[-1])
        self.to_image = nn.Conv2d(channels[-1], 3, 3, padding=1)
        self.register_buffer("deviations", torch.ones(coordinates))  # of the prior

    @classmethod
    def of(
        cls,
        generator: MobileStyleGAN,
        mean: Tensor,
        basis: Tensor,
        deviations: Tensor,
        resolution: int,
    ) -> MobileProxy:
        """The blocks of a generator under the best styles of rank RANK; it draws nothing yet.

        Args:
            generator: whose blocks.
            mean: flat latent where all coordinates are zero, [D].
            basis: from coordinates to flat latents, [K, D].
            deviations: prior deviation of every coordinate, [K].
            resolution: of the images: a power of two from 8 to half the generator's.
        """
        channels = generator.channels[: resolution.bit_length() - 2]
        proxy = cls(len(basis), min(RANK, len(basis)), channels)
        with torch.no_grad():
            proxy.deviations.copy_(deviations)
            proxy._take_styles(*styles_of(generator, mean, basis, len(proxy.styled())))
            for own, other in zip(proxy.blocks, generator.blocks, strict=False):
                for name in ("conv1", "conv2"):
                    mine, theirs = getattr(own, name), getattr(other, name)
                    mine.convolution.load_state_dict(theirs.convolution.state_dict())
                    mine.noise.copy_(theirs.noise)
            for parameter in (proxy.to_image_modulation.weight, *proxy.to_image.parameters()):
                parameter.zero_()
            proxy.to_image_modulation.bias.fill_(1)
        return proxy

    def styled(self) -> list[nn.Linear]:
        """What takes the short vector, but for the last: in the order of a generator's layers."""
        return [self.first, *_modulations(self.blocks)]

    def _take_styles(self, shifts: list[Tensor], maps: list[Tensor]) -> None:
        """The best map of this rank from coordinates to what each of `styled` gives.

        Args:
            shifts: what they give where all coordinates are zero.
            maps: what one of each coordinate adds, [K, size].
        """
        # a layer counts by its change under the prior against its size at the mean
        sizes = [float(shift.square().mean().sqrt()) for shift in shifts]
        joint = torch.cat([part / size for part, size in zip(maps, sizes, strict=True)], 1)
        left, energies, right = torch.linalg.svd(self.deviations[:, None] * joint, False)
        self.squeeze.weight.copy_(left[:, : self.rank].T)
        weights = energies[: self.rank, None] * right[: self.rank]  # [rank, all sizes]
        parts = weights.split([len(shift) for shift in shifts], 1)
        for layer, part, size, shift in zip(self.styled(), parts, sizes, shifts, strict=True):
            layer.weight.copy_(size * part.T)
            layer.bias.copy_(shift)

    def options(self) -> dict[str, Any]:
        """See `Generator.options`."""
        return {
            "coordinates": self.coordinates,
            "rank": self.rank,
            "channels": list(self.channels),
        }

    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """See `Generator.sample`: coordinates, as of a Gaussian prior."""
        return z * self.deviations

    def features(self, latents: Tensor) -> Tensor:
        """[N, K] to what the image is drawn from, [N, channels[-1], R, R]."""
        style = self.squeeze(latents / self.deviations)  # [N, rank]
        x = F.leaky_relu(self.first(style).unflatten(1, (-1, 4, 4)), 0.2)
        x = x.contiguous(memory_format=torch.channels_last)  # a quarter faster on CPUs
        for block in self.blocks:
            x = block(x, (style, style, style))
        return x * self.to_image_modulation(style)[:, :, None, None]  # type: ignore[no-any-return]

    def forward(self, latents: Tensor) -> Tensor:
        """See `Generator.forward`."""
        return self.to_image(self.features(latents))  # type: ignore[no-any-return]


def _modulations(blocks: Any) -> list[nn.Linear]:
    return [
        layer
        for block in blocks
        for layer in (block.up, block.conv1.modulation, block.conv2.modulation)
    ]


def styles_of(
    generator: MobileStyleGAN, mean: Tensor, basis: Tensor, count: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Of the first `count` styled layers: what they give at the mean, and per coordinate.

    The first layer's input is a constant: with it the whole convolution is linear in the style.
    """
    layers = [generator.first.modulation, *_modulations(generator.blocks)][:count]
    size = (len(generator.layers), generator.style)
    means, bases = mean.unflatten(0, size), basis.unflatten(1, size)  # [J, S], [K, J, S]
    shifts = [layer(means[index]) for index, layer in enumerate(layers)]
    maps = [bases[:, index] @ layer.weight.T for index, layer in enumerate(layers)]
    dense, constant = generator.first.convolution, generator.constant
    assert isinstance(dense, nn.Conv2d)
    drawn = dense(constant * shifts[0][None, :, None, None]) + generator.first.noise
    added = F.conv2d(constant * maps[0][:, :, None, None], dense.weight, padding=1)
    shifts[0], maps[0] = drawn.flatten(), added.flatten(1)  # [16 C], [K, 16 C]
    return shifts, maps
