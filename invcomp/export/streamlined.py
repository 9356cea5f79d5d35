"""A generator in fewer passes over its maps, for runtimes that fuse little.

WebAssembly's onnxruntime runs operators one after the other, and a LeakyRelu takes it half as long
as the convolution before. Here modulation scales the depth-wise kernels, and noise comes as one
more channel, which the point-wise convolution adds to all others. A styled convolution then is two
operators, and the runtime computes the LeakyRelu within the second one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generators.base import Generator
from ..generators.mobile_stylegan import Block, StyledConv, inverse_haar

SLOPE = 0.2  # of the LeakyRelu


def streamlined(generator: Generator) -> Generator:
    """A copy of a generator that makes one image at a time, the same up to rounding."""
    copied = copy.deepcopy(generator)
    blocks = getattr(copied, "blocks", None)
    if isinstance(blocks, nn.ModuleList) and all(isinstance(each, Block) for each in blocks):
        replaced = [StreamlinedBlock(cast(Block, each)) for each in blocks]
        copied.blocks = nn.ModuleList(replaced).train(copied.training)
    return copied


class StreamlinedBlock(nn.Module):
    """A `Block` for a batch of one.

    Args:
        block: whose weights it takes.
    """

    identity: Tensor

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.up, self.conv1, self.conv2 = block.up, block.conv1, block.conv2
        identity = torch.zeros(1, 1, 3, 3)
        identity[..., 1, 1] = 1
        self.register_buffer("identity", identity)
        # The last channels are the noise of both: the first convolution hands the second one on.
        with torch.no_grad():
            one, two = _pointwise(block.conv1), _pointwise(block.conv2)
            outputs, inputs = one.weight.shape[:2]
            weight = F.pad(one.weight, (0, 0, 0, 0, 0, 2, 0, 1))  # [outputs + 1, inputs + 2, 1, 1]
            weight[:outputs, inputs] = weight[outputs, inputs + 1] = 1
            bias = torch.cat([cast(Tensor, one.bias), torch.zeros(1)])
            self.weight1, self.bias1 = nn.Parameter(weight), nn.Parameter(bias)
            self.weight2 = nn.Parameter(F.pad(two.weight, (0, 0, 0, 0, 0, 1), value=1))
            self.bias2 = two.bias

    def forward(self, x: Tensor, styles: Sequence[Tensor]) -> Tensor:
        """[1, inputs, R/2, R/2] and three [1, style] to [1, outputs, R, R]."""
        x = inverse_haar(x * self.up(styles[0])[:, :, None, None])  # [1, inputs/4, R, R]
        passed = F.leaky_relu(self.conv2.noise, 1 / SLOPE)  # there is a LeakyRelu on its way
        x = torch.cat([x, self.conv1.noise, passed], 1)
        x = self._depthwise(x, self.conv1, styles[1], 2)
        x = F.leaky_relu(F.conv2d(x, self.weight1, self.bias1), SLOPE)
        x = self._depthwise(x, self.conv2, styles[2], 1)
        return F.leaky_relu(F.conv2d(x, self.weight2, self.bias2), SLOPE)

    def _depthwise(self, x: Tensor, layer: StyledConv, style: Tensor, noises: int) -> Tensor:
        """Modulates and convolves all channels but the last, which stay as they are."""
        kernels = cast(nn.Sequential, layer.convolution)[0].weight
        modulated = kernels * layer.modulation(style)[0, :, None, None, None]
        weight = torch.cat([modulated, *[self.identity] * noises])
        return F.conv2d(x, weight, padding=1, groups=len(weight))


def _pointwise(layer: StyledConv) -> nn.Conv2d:
    return cast(nn.Conv2d, cast(nn.Sequential, layer.convolution)[1])
