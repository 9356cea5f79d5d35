"""The residual discriminator of StyleGAN2 (Karras et al. 2020, arXiv:1912.04958, section 4.1).

Parameters have the names and shapes of NVIDIA's StyleGAN2-ADA-PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generators.stylegan2 import GAIN, FullyConnected, smooth


class Conv(nn.Module):
    """Convolution with equalised learning rate, optionally to half the size, then a leaky ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        down: bool = False,
        bias: bool = True,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.weight_gain = 1 / math.sqrt(inputs * kernel**2)
        self.kernel, self.down, self.activate = kernel, down, activate

    def forward(self, x: Tensor, gain: float = 1) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W], or half that size; times `gain`."""
        # factors commute with a leaky ReLU: they are applied to the weights, which are few
        gain = gain * GAIN if self.activate else gain
        weight = self.weight * (self.weight_gain * gain)
        bias = None if self.bias is None else self.bias * gain
        if self.down:  # smoothing with padding keeps output pixels centred
            x = smooth(F.pad(x, [(self.kernel + 1) // 2] * 4))
            x = F.conv2d(x, weight, bias, stride=2)
        else:
            x = F.conv2d(x, weight, bias, padding=self.kernel // 2)
        return F.leaky_relu(x, 0.2) if self.activate else x


class DiscriminatorBlock(nn.Module):
    """Two convolutions to half the size, with a 1x1 shortcut."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        if first:
            self.fromrgb = Conv(3, inputs, 1)
        self.conv0 = Conv(inputs, inputs, 3)
        self.conv1 = Conv(inputs, outputs, 3, down=True)
        self.skip = Conv(inputs, outputs, 1, down=True, bias=False, activate=False)
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        """Image [N, 3, R, R] or features [N, inputs, R, R] to [N, outputs, R/2, R/2]."""
        if self.first:
            x = self.fromrgb(x)
        shortcut = self.skip(x, math.sqrt(0.5))
        return shortcut + self.conv1(self.conv0(x), math.sqrt(0.5))  # type: ignore[no-any-return]


class Epilogue(nn.Module):
    """Minibatch deviation, one convolution, two linear layers."""

    def __init__(self, channels: int, group: int) -> None:
        super().__init__()
        self.group = group
        self.conv = Conv(channels + (group > 1), channels, 3)
        self.fc = FullyConnected(channels * 16, channels, activate=True)
        self.out = FullyConnected(channels, 1)

    def forward(self, x: Tensor, batches: int) -> Tensor:
        """[N, channels, 4, 4] to [N]."""
        if self.group > 1:
            parts = [minibatch_deviation(part, self.group) for part in x.chunk(batches)]
            x = torch.cat([x, torch.cat(parts)], 1)
        return self.out(self.fc(self.conv(x).flatten(1))).flatten()  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    """Maps images to logits; above zero means that an image is classified as real.

    Args:
        channels: for every resolution from 4 px up, as in the generator.
        group: samples per group of minibatch deviation; 1: off.
    """

    def __init__(self, channels: Sequence[int], group: int = 4) -> None:
        super().__init__()
        self.resolutions = [4 * 2**index for index in range(1, len(channels))][::-1]
        for resolution, (inputs, outputs) in zip(
            self.resolutions, pairwise(channels[::-1]), strict=True
        ):
            first = resolution == self.resolutions[0]
            setattr(self, f"b{resolution}", DiscriminatorBlock(inputs, outputs, first))
        self.b4 = Epilogue(channels[0], group)

    def forward(self, images: Tensor, batches: int = 1) -> Tensor:
        """Logits of one batch, or of several of equal size in one pass, which is faster.

        Args:
            images: [N, 3, R, R] in [-1, 1], each batch a multiple of the group.
            batches: number of concatenated batches; deviations are computed within each.

        Returns:
            [N].
        """
        x = images
        for resolution in self.resolutions:
            x = getattr(self, f"b{resolution}")(x)
        return self.b4(x, batches).float()  # type: ignore[no-any-return]


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """Mean deviation over groups of samples, as an extra feature (arXiv:1710.10196, section 3).

    Groups are strided (sample i is in group i mod N/group), as in NVIDIA's code.

    Args:
        x: [N, C, H, W].
        group: samples per group; the whole batch if that is smaller.

    Returns:
        [N, 1, H, W].
    """
    group = min(group, len(x))
    grouped = x.float().unflatten(0, (group, -1))  # [group, N/group, C, H, W]
    variance = (grouped - grouped.mean(0)).square().mean(0)  # Tensor.var is slow over an outer axis
    deviation = (variance + 1e-8).sqrt().mean([1, 2, 3])  # [N/group]
    deviation = deviation.repeat(group)[:, None, None, None].to(x.dtype)  # [N, 1, 1, 1]
    expanded: Tensor = deviation.expand(-1, 1, x.shape[2], x.shape[3])
    return expanded
