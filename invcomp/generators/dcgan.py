"""DCGAN (Radford et al. 2016, arXiv:1511.06434) and plain stacks of transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError
from .base import NO_OFFSETS, Generator, InnerMap, LatentLayer, Offsets, enlarged, with_offset


class DCGAN(Generator):
    """Transposed convolutions of z, all but the last with batch norm and ReLU; then tanh.

    The first enlarges one pixel to `kernel` pixels, the others double the size.

    Args:
        channels: of z with the classes, and of each layer's output except the image.
        kernel: of every convolution; the first has no padding, the others pad to double the size.
        bias: whether convolutions have biases.
        classes: if conditional, a one-hot class of this length follows z; 0: none.
    """

    def __init__(
        self, channels: Sequence[int], kernel: int = 4, bias: bool = False, classes: int = 0
    ) -> None:
        super().__init__()
        if len(channels) < 2 or min(channels) < 1 or kernel < 4 or kernel % 2:
            raise OptionError(f"channels {list(channels)}, kernel {kernel}: not a DCGAN")
        if not 0 <= classes < channels[0]:
            raise OptionError(f"{classes} classes among {channels[0]} inputs: not a DCGAN")
        self.channels, self.kernel, self.bias = tuple(channels), kernel, bias
        self.classes, self.z_size = classes, channels[0] - classes
        self.resolution = enlarged(kernel, len(channels) - 1)
        self.layers = (LatentLayer("z", (channels[0],)),)
        stack: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(pairwise([*channels, 3])):
            stride, padding = (1, 0) if index == 0 else (2, kernel // 2 - 1)
            stack.append(nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=bias))
            if index < len(channels) - 1:
                stack += [nn.BatchNorm2d(outputs), nn.ReLU()]
        self.main = nn.Sequential(*stack, nn.Tanh())
        self.inner_maps = tuple(
            InnerMap(kernel * 2**index, count) for index, count in enumerate(channels[1:])
        )

    def options(self) -> dict[str, Any]:
        """See `Generator.options`."""
        given = {"channels": list(self.channels), "kernel": self.kernel, "bias": self.bias}
        return {**given, "classes": self.classes} if self.classes else given

    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """See `Generator.sample`: z itself, and the one-hot class."""
        if not self.classes:
            return z
        if classes is None:
            raise ValueError("a class-conditional generator needs classes")
        return torch.cat([z, F.one_hot(classes, self.classes).to(z.dtype)], 1)

    def forward(self, latents: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.forward`."""
        x = latents[:, :, None, None]
        for layer in self.main:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                x = with_offset(x, offsets)
        return x
