"""StyleGAN2 (Karras et al. 2020, arXiv:1912.04958): mapping, modulated convolutions, skip outputs.

Parameters have the names and shapes of NVIDIA's StyleGAN2-ADA-PyTorch, so that its weights load
one to one. Weights have unit variance and are scaled when they are used (equalised learning rate,
Karras et al. 2018, arXiv:1710.10196, section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError
from .base import (
    NO_OFFSETS,
    Generator,
    InnerMap,
    LatentLayer,
    Offsets,
    check_depth,
    enlarged,
    with_offset,
)

Noise = Literal["random", "const", "none"]
GAIN = math.sqrt(2)  # preserves the variance through a leaky ReLU


class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate.

    Args:
        inputs, outputs: sizes.
        bias: initial value of the bias.
        activate: whether a leaky ReLU follows.
        rate: factor on the learning rate, implemented by scaling weight and bias.
    """

    def __init__(
        self, inputs: int, outputs: int, bias: float = 0, activate: bool = False, rate: float = 1
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full([outputs], float(bias)))
        self.weight_gain, self.bias_gain, self.activate = rate / math.sqrt(inputs), rate, activate

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs] to [N, outputs]."""
        x = F.linear(x * self.weight_gain, self.weight, self.bias * self.bias_gain)
        return F.leaky_relu(x, 0.2) * GAIN if self.activate else x


class MappingNetwork(nn.Module):
    """z to w; the learning rate is a hundredth (section 3.1 of the StyleGAN paper).

    A class is embedded as w_size numbers, which are concatenated to z (section 2.1 of
    StyleGAN2-ADA, arXiv:2006.06676, for its conditional CIFAR-10).
    """

    w_avg: Tensor

    def __init__(self, z_size: int, w_size: int, depth: int, classes: int = 0) -> None:
        super().__init__()
        check_depth(depth)
        self.depth, self.classes = depth, classes
        if classes:
            self.embed = FullyConnected(classes, w_size)
        first = z_size + (w_size if classes else 0)
        for index in range(depth):
            inputs = first if index == 0 else w_size
            layer = FullyConnected(inputs, w_size, activate=True, rate=0.01)
            setattr(self, f"fc{index}", layer)
        self.register_buffer("w_avg", torch.zeros(w_size))

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """[N, z_size], and int64 [N] if there are classes, to [N, w_size]."""
        x = normalise(z)
        if self.classes:
            if classes is None:
                raise ValueError("a class-conditional generator needs classes")
            given = F.one_hot(classes, self.classes).to(x.dtype)  # [N, classes]
            x = torch.cat([x, normalise(self.embed(given))], 1)
        for index in range(self.depth):
            x = getattr(self, f"fc{index}")(x)
        return x


def normalise(x: Tensor) -> Tensor:
    """Scales rows of [N, d] to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class ModulatedConv(nn.Module):
    """Base of both modulated convolutions: the style scales each input channel.

    Args:
        w_size, inputs, outputs, kernel: sizes.
        clamp: largest absolute value of the output; None: no clamping.
    """

    def __init__(
        self, w_size: int, inputs: int, outputs: int, kernel: int, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_size, inputs, bias=1)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def clamped(self, x: Tensor) -> Tensor:
        """Clamps the output."""
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class SynthesisLayer(ModulatedConv):
    """Modulated 3x3 convolution with demodulation, noise, bias, leaky ReLU.

    Modulation scales the input and demodulation the output. This equals scaling the weights for
    every sample (section 2.2), without a convolution per sample.
    """

    noise_const: Tensor

    def __init__(
        self,
        w_size: int,
        inputs: int,
        outputs: int,
        resolution: int,
        up: bool,
        clamp: float | None = None,
    ) -> None:
        super().__init__(w_size, inputs, outputs, 3, clamp)
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.resolution, self.up = resolution, up

    def forward(self, x: Tensor, w: Tensor, noise: Noise = "const") -> Tensor:
        """[N, inputs, R or R/2, ...] and [N, w_size] to [N, outputs, R, R]."""
        style = self.affine(w)  # [N, inputs]
        squares = self.weight.square().sum([2, 3])  # [outputs, inputs]
        # the gain commutes with the leaky ReLU and costs nothing here
        demodulation = GAIN * torch.rsqrt(style.square() @ squares.t() + 1e-8)  # [N, outputs]
        bias = (GAIN * self.bias)[None, :, None, None]  # [1, outputs, 1, 1]
        x = x * style[:, :, None, None]
        if self.up:
            x = F.conv_transpose2d(
                x, self.weight.transpose(0, 1), stride=2
            )  # [N, outputs, R+1, R+1]
            x = smooth(F.pad(x, (1, 1, 1, 1)), gain=4)
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = torch.addcmul(bias.to(x.dtype), x, demodulation[:, :, None, None].to(x.dtype))
        if noise == "random":
            shape = (len(x), 1, self.resolution, self.resolution)
            drawn = torch.randn(shape, device=x.device, dtype=x.dtype)
            x = x + drawn * (self.noise_strength * GAIN)
        elif noise == "const":
            x = x + self.noise_const.to(x.dtype) * (self.noise_strength * GAIN)
        return self.clamped(F.leaky_relu(x, 0.2))


class ToRGB(ModulatedConv):
    """Modulated 1x1 convolution to the image, without demodulation."""

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, inputs, R, R] and [N, w_size] to [N, 3, R, R]."""
        style = self.affine(w) / math.sqrt(self.weight.shape[1])
        x = F.conv2d(x * style[:, :, None, None], self.weight)
        return self.clamped(x + self.bias[:, None, None].to(x.dtype))


class SynthesisBlock(nn.Module):
    """The layers of one resolution; images are summed over resolutions (skip outputs, sec. 4)."""

    def __init__(
        self,
        w_size: int,
        inputs: int,
        outputs: int,
        resolution: int,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        if inputs == 0:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(w_size, inputs, outputs, resolution, True, clamp)
        self.conv1 = SynthesisLayer(w_size, outputs, outputs, resolution, False, clamp)
        self.torgb = ToRGB(w_size, outputs, 3, 1, clamp)
        self.inputs = inputs

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Sequence[Tensor], noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Features and image of half the size (None at 4 px) to those of this size."""
        if x is None or image is None:
            x = self.const.expand(len(ws[0]), -1, -1, -1)
            x = self.conv1(x, ws[0], noise)
            return x, self.torgb(x, ws[1]).float()
        x = self.conv1(self.conv0(x, ws[0], noise), ws[1], noise)
        return x, upsample(image) + self.torgb(x, ws[2]).float()


class SynthesisNetwork(nn.Module):
    """w of every layer to the image."""

    def __init__(self, w_size: int, channels: Sequence[int], clamp: float | None = None) -> None:
        super().__init__()
        self.blocks = [4 * 2**index for index in range(len(channels))]
        for index, resolution in enumerate(self.blocks):
            inputs = channels[index - 1] if index else 0
            block = SynthesisBlock(w_size, inputs, channels[index], resolution, clamp)
            setattr(self, f"b{resolution}", block)

    def forward(
        self, ws: Tensor, noise: Noise, resolution: int, offsets: Offsets = NO_OFFSETS
    ) -> tuple[Tensor, Tensor]:
        """[N, layers, w_size] to features and image of all blocks up to `resolution`.

        [N, C, R, R] and [N, 3, R, R]. An offset changes the features that the next block takes.
        """
        x = image = None
        each = ws.unbind(1)
        for index, size in enumerate(self.blocks):
            first = max(2 * index - 1, 0)  # to-RGB shares its w with the next block's conv0
            x, image = getattr(self, f"b{size}")(x, image, each[first : first + 3], noise)
            x = with_offset(x, offsets)
            if size == resolution:
                break
        assert isinstance(x, Tensor)
        assert isinstance(image, Tensor)
        return x, image


class StyleGAN2(Generator):
    """StyleGAN2 of any size.

    Args:
        channels: for every resolution from 4 px up; each doubles the size.
        z_size: length of z.
        w_size: length of w.
        mapping_depth: layers of the mapping network.
        classes: number of classes; 0: not class-conditional.
        clamp: largest absolute output of every layer, as in NVIDIA's half-precision training;
            None: no clamping.
    """

    def __init__(
        self,
        channels: Sequence[int],
        z_size: int = 512,
        w_size: int = 512,
        mapping_depth: int = 8,
        classes: int = 0,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        check_clamp(clamp)
        if not channels or min(channels) < 1:
            raise OptionError(
                f"channels are {list(channels)}: one positive number per resolution is needed"
            )
        self.channels, self.z_size, self.w_size = tuple(channels), z_size, w_size
        self.mapping_depth, self.shared_size, self.classes = mapping_depth, w_size, classes
        self.resolution = enlarged(4, len(channels) - 1)
        self.mapping = MappingNetwork(z_size, w_size, mapping_depth, classes)
        self.clamp, self.synthesis = clamp, SynthesisNetwork(w_size, channels, clamp)
        names = ["4px.conv1"]
        for size in self.synthesis.blocks[1:]:
            names += [f"{size}px.conv0", f"{size}px.conv1"]
        self.layers = tuple(LatentLayer(name, (w_size,)) for name in [*names, "image"])
        sizes = self.synthesis.blocks[:-1]
        self.inner_maps = tuple(map(InnerMap, sizes, self.channels))

    def options(self) -> dict[str, Any]:
        """See `Generator.options`."""
        return {
            "channels": list(self.channels),
            "z_size": self.z_size,
            "w_size": self.w_size,
            "mapping_depth": self.mapping_depth,
            # keeps fingerprints of older bundles
            **({"classes": self.classes} if self.classes else {}),
            **({} if self.clamp is None else {"clamp": self.clamp}),
        }

    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """See `Generator.sample`: w of z, [N, w_size]."""
        return self.mapping(z, classes)  # type: ignore[no-any-return]

    def forward(self, latents: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.forward`; with constant noise."""
        return self.images(latents.unflatten(1, (len(self.layers), self.w_size)), "const", offsets)

    def images(self, ws: Tensor, noise: Noise = "const", offsets: Offsets = NO_OFFSETS) -> Tensor:
        """Images [N, 3, R, R] from w of every layer, [N, layers, w_size]."""
        return self.synthesis(ws, noise, self.resolution, offsets)[1]  # type: ignore[no-any-return]

    def trunk(self, latents: Tensor, resolution: int, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.trunk`: concatenates features and image of the block."""
        ws = latents.unflatten(1, (len(self.layers), self.w_size))
        return torch.cat(self.synthesis(ws, "const", resolution, offsets), 1)

    def trunk_layers(self, resolution: int) -> int:
        """See `Generator.trunk_layers`."""
        inner = self.synthesis.blocks[:-1]
        return 2 * inner.index(resolution) + 2 if resolution in inner else 0


def check_clamp(clamp: float | None) -> None:
    """Checks the bound of activations.

    Raises:
        OptionError: it is neither None nor a positive number.
    """
    if clamp is None or (isinstance(clamp, (int, float)) and 0 < clamp < math.inf):
        return
    raise OptionError(f"activations are clamped at {clamp!r:.40}, not a positive number")


def smooth(x: Tensor, gain: float = 1) -> Tensor:
    """The filter [1, 3, 3, 1] / 8 along height and width: [N, C, H, W] to [N, C, H-3, W-3].

    Uses one convolution per channel, which on CPUs is several times as fast as sums of slices,
    compiled or not.

    Args:
        x: features.
        gain: factor on the result.
    """
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype) / 8
    kernel = (line[:, None] * line * gain).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """Doubles the size with zeros between pixels and the filter: [N, C, H, W] to [N, C, 2H, 2W].

    Along each axis the result is (x[i-1] + 3 x[i]) / 4 at 2i and (3 x[i] + x[i+1]) / 4 at 2i+1,
    with zeros beyond the border.
    """
    for axis in (2, 3):
        padded = F.pad(x, (0, 0, 1, 1) if axis == 2 else (1, 1))
        size = x.shape[axis]
        before, after = padded.narrow(axis, 0, size), padded.narrow(axis, 2, size)
        x = torch.stack([(before + 3 * x) / 4, (3 * x + after) / 4], axis + 1).flatten(
            axis, axis + 1
        )
    return x
