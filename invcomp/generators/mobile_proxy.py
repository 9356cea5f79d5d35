"""A proxy from a MobileStyleGAN's own layers: perceptual coordinates to a small image.

It keeps the first blocks of that generator. Most of their parameters are in the styles, 512 numbers
for every layer. Here all styles come from one short vector, a linear map of the coordinates. One
convolution makes the image from the last block kept, because every layer of such a generator
contains the image so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError
from .base import NO_OFFSETS, Generator, LatentLayer, Offsets, enlarged
from .mobile_stylegan import Block, MobileStyleGAN

RANK = 96  # 2.9 M parameters at 128 px with 650 coordinates


class MobileProxy(Generator):
    """Maps coordinates to an image, through the first blocks of a MobileStyleGAN.

    Args:
        coordinates: K, their number.
        rank: length of the vector for all styles.
        channels: of the 4-px map and of every block kept, up to the image's resolution.

    Raises:
        OptionError: invalid sizes.
    """

    deviations: Tensor

    def __init__(self, coordinates: int, rank: int, channels: Sequence[int]) -> None:
        super().__init__()
        if min(coordinates, rank, *channels) < 1 or len(channels) < 2:
            raise OptionError(
                f"{coordinates} coordinates, rank {rank}, channels {list(channels)}: no such proxy"
            )
        self.coordinates, self.rank, self.channels = coordinates, rank, tuple(channels)
        self.resolution, self.z_size = enlarged(2, len(channels)), coordinates
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
        """The blocks of a generator with the best styles of rank RANK; `to_image` is not set yet.

        Args:
            generator: whose blocks.
            mean: flat latent at coordinates zero, [D].
            basis: from coordinates to flat latents, [K, D].
            deviations: standard deviation of every coordinate under the prior, [K].
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
        """All layers that take the short vector, except the last, in the generator's order."""
        return [self.first, *_modulations(self.blocks)]

    def _take_styles(self, shifts: list[Tensor], maps: list[Tensor]) -> None:
        """Sets the best map of this rank from coordinates to the outputs of `styled`.

        Args:
            shifts: their outputs at coordinates zero.
            maps: their change per unit of each coordinate, [K, size].
        """
        # a layer's weight is its change under the prior relative to its size at the mean
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
        """See `Generator.sample`: coordinates with a Gaussian prior."""
        return z * self.deviations

    def features(self, latents: Tensor) -> Tensor:
        """[N, K] to the input of `to_image`, [N, channels[-1], R, R]."""
        style = self.squeeze(latents / self.deviations)  # [N, rank]
        x = F.leaky_relu(self.first(style).unflatten(1, (-1, 4, 4)), 0.2)
        x = x.contiguous(memory_format=torch.channels_last)  # a quarter faster on CPUs
        for block in self.blocks:
            x = block(x, (style, style, style))
        return x * self.to_image_modulation(style)[:, :, None, None]  # type: ignore[no-any-return]

    def forward(self, latents: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.forward`; there are no inner maps."""
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
    """Outputs of the first `count` styled layers at the mean, and their change per coordinate.

    The first layer's input is a constant, so its whole convolution is linear in the style.
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
