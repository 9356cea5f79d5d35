"""MobileStyleGAN (Belousov 2021, arXiv:2104.04767): StyleGAN2 distilled to wavelets and
depth-wise separable convolutions. Inference only; noise is fixed, demodulation folded in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import (
    NO_OFFSETS,
    Generator,
    InnerMap,
    LatentLayer,
    Offsets,
    check_depth,
    enlarged,
    reduce_images,
    with_offset,
)

SMALLEST = 256  # px of an image whose lattice is removed: in smaller ones 8 px show things
PERIOD = 8  # px of the lattice
BLOCKS = 5  # a side, over which it is averaged
LARGEST = 6 / 127.5  # deviation that counts as lattice: 6 of 255 levels


class Mapping(nn.Module):
    """z to w: pixel norm, then `depth` times (linear, leaky ReLU 0.2, times sqrt 2)."""

    def __init__(self, size: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(size, size) for _ in range(depth))

    def forward(self, z: Tensor) -> Tensor:
        """[N, size] to [N, size]."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2) * 2**0.5
        return x


class StyledConv(nn.Module):
    """Modulate, depth-wise 3x3 and point-wise (or dense 3x3), noise, bias, leaky ReLU 0.2."""

    def __init__(self, style: int, inputs: int, outputs: int, resolution: int, dense: bool) -> None:
        super().__init__()
        self.modulation = nn.Linear(style, inputs)
        if dense:
            self.convolution: nn.Module = nn.Conv2d(inputs, outputs, 3, padding=1)
        else:
            self.convolution = nn.Sequential(
                nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
                nn.Conv2d(inputs, outputs, 1),
            )
        self.noise = nn.Parameter(torch.zeros(1, 1, resolution, resolution))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[N, inputs, R, R] and [N, style] to [N, outputs, R, R]."""
        x = self.convolution(x * self.modulation(style)[:, :, None, None])
        return F.leaky_relu(x + self.noise.to(x.dtype), 0.2)  # in bfloat16 if autocast is on


class Block(nn.Module):
    """Doubles the size by an inverse Haar transform, then applies two styled convolutions."""

    def __init__(self, style: int, inputs: int, outputs: int, resolution: int) -> None:
        super().__init__()
        self.up = nn.Linear(style, inputs)
        self.conv1 = StyledConv(style, inputs // 4, outputs, resolution, dense=False)
        self.conv2 = StyledConv(style, outputs, outputs, resolution, dense=False)

    def forward(self, x: Tensor, styles: Sequence[Tensor]) -> Tensor:
        """[N, inputs, R/2, R/2] and three [N, style] to [N, outputs, R, R]."""
        x = inverse_haar(x * self.up(styles[0])[:, :, None, None])  # [N, inputs/4, R, R]
        return self.conv2(self.conv1(x, styles[1]), styles[2])  # type: ignore[no-any-return]


class MobileStyleGAN(Generator):
    """MobileStyleGAN of any size.

    Args:
        style: length of z, w and every style.
        channels: output channels of the first convolution (4 px) and of each block after it; the
            last block works at half the image's resolution.
        mapping_depth: layers of the mapping network.
    """

    def __init__(self, style: int, channels: Sequence[int], mapping_depth: int = 8) -> None:
        super().__init__()
        self.style, self.channels, self.mapping_depth = style, tuple(channels), mapping_depth
        self.resolution = enlarged(4, len(self.channels))
        self.z_size = self.shared_size = style
        check_depth(mapping_depth)
        self.mapping = Mapping(style, mapping_depth)
        self.constant = nn.Parameter(torch.randn(1, self.channels[0], 4, 4))
        self.first = StyledConv(style, self.channels[0], self.channels[0], 4, dense=True)
        self.blocks = nn.ModuleList(
            Block(style, inputs, outputs, 8 * 2**index)
            for index, (inputs, outputs) in enumerate(pairwise(self.channels))
        )
        self.to_image_modulation = nn.Linear(style, self.channels[-1])
        self.to_image = nn.Conv2d(self.channels[-1], 12, 1)
        names = ["4px"]
        for index in range(len(self.blocks)):
            names += [f"{8 * 2**index}px.{part}" for part in ("up", "conv1", "conv2")]
        self.layers = tuple(LatentLayer(name, (style,)) for name in [*names, "image"])
        self.inner_maps = tuple(
            InnerMap(4 * 2**index, count) for index, count in enumerate(self.channels)
        )

    def options(self) -> dict[str, Any]:
        """See `Generator.options`."""
        return {
            "style": self.style,
            "channels": list(self.channels),
            "mapping_depth": self.mapping_depth,
        }

    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """See `Generator.sample`: w of z."""
        return self.mapping(z)  # type: ignore[no-any-return]

    def forward(self, latents: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.forward`."""
        image = inverse_haar(self.to_image(self._features(latents, offsets)))
        return without_lattice(image) if self.resolution >= SMALLEST else image

    def forward_reduced(
        self, latents: Tensor, resolution: int, offsets: Offsets = NO_OFFSETS
    ) -> Tensor:
        """See `Generator.forward_reduced`.

        The Haar low band is twice the 2x2 block average of the image, so three of the twelve
        image channels are enough, without a transform. It still has the lattice.
        """
        if resolution > self.resolution // 2:
            return super().forward_reduced(latents, resolution, offsets)
        features = self._features(latents, offsets)
        low = F.conv2d(features, self.to_image.weight[:3], self.to_image.bias[:3])  # type: ignore[index]
        return reduce_images(low / 2, resolution)

    def trunk(self, latents: Tensor, resolution: int, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.trunk`."""
        return self._blocks(latents, self._depth(resolution), offsets)

    def trunk_layers(self, resolution: int) -> int:
        """See `Generator.trunk_layers`."""
        depth = self._depth(resolution)
        return 0 if not 0 < depth < len(self.blocks) else 1 + 3 * depth

    @staticmethod
    def _depth(resolution: int) -> int:
        """Number of blocks up to a resolution."""
        return resolution.bit_length() - 3

    def _blocks(self, latents: Tensor, depth: int, offsets: Offsets) -> Tensor:
        """[N, D] to the output of the first `depth` blocks, [N, C, r, r]."""
        styles = latents.unflatten(1, (len(self.layers), self.style)).unbind(1)
        x = self.constant.expand(len(latents), -1, -1, -1)
        x = with_offset(self.first(x, styles[0]), offsets)
        for index, block in enumerate(self.blocks[:depth]):
            x = with_offset(block(x, styles[1 + 3 * index : 4 + 3 * index]), offsets)
        return x

    def _features(self, latents: Tensor, offsets: Offsets) -> Tensor:
        """[N, D] to the input of the image convolution, [N, channels[-1], R/2, R/2]."""
        last = latents[:, -self.style :]
        x = self._blocks(latents, len(self.blocks), offsets)
        modulated: Tensor = x * self.to_image_modulation(last)[:, :, None, None]
        return modulated


def without_lattice(images: Tensor) -> Tensor:
    """Images [N, 3, H, W] in about [-1, 1] without what they repeat every 8 px.

    Three inverse Haar transforms leave a weave on smooth skin (docs/experiments.md). It is what the
    8 x 8 positions of neighbouring blocks deviate from their local mean by. Deviations are clipped,
    so that edges do not count.
    """
    mean = F.pad(images, (PERIOD // 2,) * 4, mode="replicate")
    for axis in (2, 3):
        for step in (1, 1, 2, 4):  # nine taps, centred, zero at 8 px and at its harmonics
            size = mean.shape[axis] - step
            mean = (mean.narrow(axis, 0, size) + mean.narrow(axis, step, size)) / 2
    shared, reach = (images - mean).clamp(-LARGEST, LARGEST), BLOCKS // 2
    shared = F.pad(shared, (reach * PERIOD,) * 4)
    for axis in (2, 3):
        size = images.shape[axis]
        shifted = [shared.narrow(axis, PERIOD * block, size) for block in range(BLOCKS)]
        blocks = torch.arange(size // PERIOD, device=images.device)
        there = 1 + blocks.clamp(max=reach) + blocks.flip(0).clamp(max=reach)  # none past an edge
        counts = there.repeat_interleave(PERIOD)
        shared = sum(shifted[1:], shifted[0]) / (counts if axis == 3 else counts[:, None])
    return images - shared


def inverse_haar(x: Tensor) -> Tensor:
    """Inverse 2-D Haar transform: [N, 4C, H, W] to [N, C, 2H, 2W].

    The first C channels are the low band. The rest, viewed as [C, 3], are the bands high-vertical,
    high-horizontal and high-both of every channel.
    """
    channels = x.shape[1] // 4
    low = x[:, :channels]
    high_v, high_h, high_b = x[:, channels:].unflatten(1, (channels, 3)).unbind(2)
    sum_v, difference_v = low + high_v, low - high_v
    sum_h, difference_h = high_h + high_b, high_h - high_b
    quarters = torch.stack(
        [sum_v + sum_h, sum_v - sum_h, difference_v + difference_h, difference_v - difference_h], 2
    )  # [N, C, 4, H, W]
    return F.pixel_shuffle(quarters.flatten(1, 2) / 2, 2)
