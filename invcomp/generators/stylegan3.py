"""StyleGAN3 (Karras et al. 2021, arXiv:2106.12423), configurations T and R. Inference only.

Signals are band-limited everywhere: the input is Fourier features, and each nonlinearity is between
low-pass filters for up- and downsampling, so that details move with the image instead of sticking
to pixels. Parameters have the names and shapes of NVIDIA's repository; filters are computed from
the paper's design (section 3.2 and appendix C), not read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import OptionError
from .base import (
    LARGEST_SIDE,
    NO_OFFSETS,
    Generator,
    InnerMap,
    LatentLayer,
    Offsets,
    with_offset,
)
from .stylegan2 import FullyConnected, MappingNetwork, check_clamp

LARGEST = {  # of a design: otherwise a few bytes in a file could demand any amount of memory
    "layers": 64,
    "critical": 64,
    "first_cutoff": 64,
    "first_stopband": 128,
    "last_stopband_rel": 16,
    "margin": 256,
    "channel_base": 1 << 24,
    "channel_max": 1 << 14,
    "kernel": 15,
    "filter_size": 16,
    "upsampling": 16,
    "output_scale": 1000,
}
LARGEST_FACTOR = 16  # of a layer's up- or downsampling


@dataclass(frozen=True)
class Design:
    """Parameters of bands and sizes of all layers (section 3.2; defaults: configuration T).

    Attributes:
        layers: L0 .. L(layers - 1), without the input and to-RGB.
        critical: number of last layers that are critically sampled.
        first_cutoff, first_stopband: of the first layer, in cycles per image.
        last_stopband_rel: of the last layer, as a multiple of its cutoff.
        margin: pixels beyond the image's border.
        channel_base, channel_max: channels are base / 2 / cutoff, at most max.
        kernel: of the convolutions, 3 (T) or 1 (R).
        filter_size: taps of a filter for each factor of up- or downsampling.
        upsampling: of the nonlinearity.
        radial: radially symmetric downsampling filters (R).
        output_scale: factor on the image.
        clamp: largest absolute activation, as in training; None: no clamping.
    """

    layers: int = 14
    critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3
    margin: int = 10
    channel_base: int = 32768
    channel_max: int = 512
    kernel: int = 3
    filter_size: int = 6
    upsampling: int = 2
    radial: bool = False
    output_scale: float = 0.25
    clamp: float | None = 256.0

    def __post_init__(self) -> None:
        check_clamp(self.clamp)
        if self.layers <= self.critical or min(self.layers, self.kernel, self.filter_size) < 1:
            raise OptionError(
                f"invalid design: {self.layers} layers, {self.critical} of them critical"
            )
        for name, most in LARGEST.items():
            if not 0 <= getattr(self, name) <= most:
                raise OptionError(f"{name} is {getattr(self, name)}, not 0 to {most}")
        if min(self.first_cutoff, self.first_stopband, self.last_stopband_rel) < 0.1:
            raise OptionError("a band has no width")


@dataclass(frozen=True)
class Band:
    """A layer's output: sampling rate, band and size."""

    cutoff: float
    half_width: float
    rate: int
    size: int
    channels: int


def bands(design: Design, resolution: int, outputs: int = 3) -> list[Band]:
    """Bands of L0 .. to-RGB: cutoffs and stopbands grow geometrically (section 3.2)."""
    last = resolution / 2
    part = np.minimum(
        np.arange(design.layers + 1) / (design.layers - design.critical), 1
    )  # [layers + 1]
    cutoffs = design.first_cutoff * (last / design.first_cutoff) ** part
    last_stopband = last * design.last_stopband_rel
    stopbands = design.first_stopband * (last_stopband / design.first_stopband) ** part
    rates = np.exp2(np.ceil(np.log2(np.minimum(stopbands * 2, resolution))))
    half_widths = np.maximum(stopbands, rates / 2) - cutoffs
    sizes = rates + design.margin * 2
    sizes[-2:] = resolution
    channels = np.rint(np.minimum(design.channel_base / 2 / cutoffs, design.channel_max))
    channels[-1] = outputs
    columns = zip(cutoffs, half_widths, rates, sizes, channels, strict=True)
    return [Band(float(c), float(h), int(r), int(s), int(n)) for c, h, r, s, n in columns]


class SynthesisInput(nn.Module):
    """Fourier features, rotated and shifted according to w (appendix F of the paper)."""

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, w_size: int, channels: int, size: int, rate: int, bandwidth: float) -> None:
        super().__init__()
        self.size, self.rate, self.bandwidth = size, rate, bandwidth
        freqs = torch.randn(channels, 2)
        radii = freqs.square().sum(1, keepdim=True).sqrt()
        freqs = freqs / (radii * radii.square().exp().pow(0.25)) * bandwidth  # uniform in a disc
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = FullyConnected(w_size, 4)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def forward(self, w: Tensor) -> Tensor:
        """[N, w_size] to [N, channels, size, size]."""
        t = self.affine(w)  # [N, 4]: cosine and sine of the rotation, shift in x and y
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        one, zero = torch.ones_like(t[:, 0]), torch.zeros_like(t[:, 0])
        turn = torch.stack([t[:, 0], -t[:, 1], zero, t[:, 1], t[:, 0], zero, zero, zero, one], 1)
        shift = torch.stack([one, zero, -t[:, 2], zero, one, -t[:, 3], zero, zero, one], 1)
        transform = turn.view(-1, 3, 3) @ shift.view(-1, 3, 3) @ self.transform  # [N, 3, 3]
        phases = self.phases + (self.freqs @ transform[:, :2, 2:]).squeeze(2)  # [N, channels]
        freqs = self.freqs @ transform[:, :2, :2]  # [N, channels, 2]
        beyond = (freqs.norm(dim=2) - self.bandwidth) / (self.rate / 2 - self.bandwidth)
        amplitudes = (1 - beyond).clamp(0, 1)  # fades what the rotation moved out of the band
        half = 0.5 * self.size / self.rate
        line = (torch.arange(self.size, device=w.device, dtype=w.dtype) * 2 + 1) / self.size - 1
        y, x = torch.meshgrid(line * half, line * half, indexing="ij")
        places = torch.stack([x, y], 2).flatten(0, 1)  # [size^2, 2]
        waves = torch.einsum("pk,nck->npc", places, freqs) + phases[:, None]
        features = (waves * (2 * math.pi)).sin() * amplitudes[:, None]  # [N, size^2, channels]
        features = features @ (self.weight / math.sqrt(len(self.weight))).t()
        image: Tensor = features.transpose(1, 2).unflatten(2, (self.size, self.size))
        return image


class SynthesisLayer(nn.Module):
    """Modulated convolution, then a nonlinearity between two filters."""

    magnitude_ema: Tensor

    def __init__(
        self, w_size: int, before: Band, after: Band, design: Design, to_rgb: bool, critical: bool
    ) -> None:
        super().__init__()
        self.to_rgb, self.kernel = to_rgb, 1 if to_rgb else design.kernel
        self.clamp = design.clamp
        self.affine = FullyConnected(w_size, before.channels, bias=1)
        shape = (after.channels, before.channels, self.kernel, self.kernel)
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        rate = max(before.rate, after.rate) * (1 if to_rgb else design.upsampling)
        self.up, self.down = round(rate / before.rate), round(rate / after.rate)
        if max(self.up, self.down) > LARGEST_FACTOR:
            raise OptionError(f"a layer that resamples by {max(self.up, self.down)}")
        taps = [
            design.filter_size * factor if factor > 1 and not to_rgb else 1
            for factor in (self.up, self.down)
        ]
        radial = design.radial and not critical
        up = low_pass(taps[0], before.cutoff, before.half_width * 2, rate)
        down = low_pass(taps[1], after.cutoff, after.half_width * 2, rate, radial)
        self.register_buffer("up_filter", up)
        self.register_buffer("down_filter", down)
        total = (after.size - 1) * self.down + 1
        total -= (before.size + self.kernel - 1) * self.up
        total += sum(taps) - 2
        low = (total + self.up) // 2
        self.padding = (low, total - low)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, inputs, h, h] and [N, w_size] to [N, outputs, H, H]."""
        style = self.affine(w)  # [N, inputs]
        weight: Tensor = self.weight
        if self.to_rgb:
            style = style / math.sqrt(weight[0].numel())
        else:
            weight = weight * weight.square().mean([1, 2, 3], keepdim=True).rsqrt()
            squares = weight.square().sum([2, 3])  # [outputs, inputs]
        x = F.conv2d(
            x * (style * self.magnitude_ema.rsqrt())[:, :, None, None],
            weight,
            padding=self.kernel - 1,
        )
        if not self.to_rgb:
            # the size of a style cancels here, so the paper's normalisation of it is omitted
            demodulation = (style.square() @ squares.t()).clamp_min(1e-12).rsqrt()
            x = x * demodulation[:, :, None, None].to(x.dtype)
        x = x + self.bias[:, None, None].to(x.dtype)
        x = resample(x, self.up_filter, self.up, 1, self.padding, self.up**2)  # type: ignore[arg-type]
        if not self.to_rgb:
            x = F.leaky_relu(x, 0.2) * math.sqrt(2)
        if self.clamp is not None:
            x = x.clamp(-self.clamp, self.clamp)
        return resample(x, self.down_filter, 1, self.down)  # type: ignore[arg-type]


class SynthesisNetwork(nn.Module):
    """w of every layer to the image."""

    def __init__(self, w_size: int, resolution: int, design: Design) -> None:
        super().__init__()
        self.output_scale, all_bands = design.output_scale, bands(design, resolution)
        first = all_bands[0]
        self.input = SynthesisInput(w_size, first.channels, first.size, first.rate, first.cutoff)
        self.names = []
        for index, after in enumerate(all_bands):
            before, last = all_bands[max(index - 1, 0)], index == design.layers
            critical = index >= design.layers - design.critical
            layer = SynthesisLayer(w_size, before, after, design, last, critical)
            self.names.append(f"L{index}_{after.size}_{after.channels}")
            setattr(self, self.names[-1], layer)
        inner = list(enumerate(all_bands))[:-1]
        sizes = {band.size: index for index, band in inner}  # of several layers, the last
        self.last_of_size = tuple(sizes.values())
        self.inner_maps = tuple(
            InnerMap(size, all_bands[index].channels) for size, index in sizes.items()
        )

    def forward(self, ws: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """[N, layers + 2, w_size] to [N, 3, R, R]."""
        first, *others = ws.unbind(1)
        x = self.input(first)
        for index, (name, w) in enumerate(zip(self.names, others, strict=True)):
            x = getattr(self, name)(x, w)
            if index in self.last_of_size:
                x = with_offset(x, offsets)
        image: Tensor = x.float() * self.output_scale
        return image


class StyleGAN3(Generator):
    """StyleGAN3 of any size.

    Args:
        resolution: of the image, a power of two.
        z_size: length of z.
        w_size: length of w.
        mapping_depth: layers of the mapping network.
        design: fields of `Design` that differ from configuration T.
        classes: number of classes; 0: not class-conditional.
    """

    def __init__(
        self,
        resolution: int,
        z_size: int = 512,
        w_size: int = 512,
        mapping_depth: int = 2,
        design: dict[str, Any] | None = None,
        classes: int = 0,
    ) -> None:
        super().__init__()
        if not 16 <= resolution <= LARGEST_SIDE or resolution & (resolution - 1):
            raise OptionError(f"resolution {resolution} is not a power of two of at least 16")
        self.resolution, self.z_size, self.w_size = resolution, z_size, w_size
        self.mapping_depth, self.shared_size, self.classes = mapping_depth, w_size, classes
        self.design = Design(**(design or {}))
        self.mapping = MappingNetwork(z_size, w_size, mapping_depth, classes)
        self.synthesis = SynthesisNetwork(w_size, resolution, self.design)
        names = ["input", *self.synthesis.names]
        self.layers = tuple(LatentLayer(name, (w_size,)) for name in names)
        self.inner_maps = self.synthesis.inner_maps

    def options(self) -> dict[str, Any]:
        """See `Generator.options`."""
        default = asdict(Design())
        design = {k: v for k, v in asdict(self.design).items() if v != default[k]}
        return {
            "resolution": self.resolution,
            "z_size": self.z_size,
            "w_size": self.w_size,
            "mapping_depth": self.mapping_depth,
            "design": design,
            **({"classes": self.classes} if self.classes else {}),  # keeps older fingerprints
        }

    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """See `Generator.sample`: w of z, [N, w_size]."""
        return self.mapping(z, classes)  # type: ignore[no-any-return]

    def forward(self, latents: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.forward`."""
        ws = latents.unflatten(1, (len(self.layers), self.w_size))
        return self.synthesis(ws, offsets)  # type: ignore[no-any-return]


def low_pass(
    taps: int, cutoff: float, width: float, rate: float, radial: bool = False
) -> Tensor | None:
    """A Kaiser low-pass filter, [taps] or radially symmetric [taps, taps]; None for one tap.

    Args:
        taps: length.
        cutoff: frequency of half amplitude, in the units of `rate`.
        width: of the transition band.
        rate: sampling rate.
        radial: the two-dimensional filter of configuration R, a jinc (appendix C).
    """
    if taps == 1:
        return None
    import scipy.signal  # takes half a second, so only on use
    import scipy.special

    if not radial:
        separable = scipy.signal.firwin(numtaps=taps, cutoff=cutoff, width=width, fs=rate)
        return torch.as_tensor(separable, dtype=torch.float32)
    place = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(*np.meshgrid(place, place))
    jinc: NDArray[Any] = scipy.special.j1(2 * cutoff * (np.pi * radius)) / (np.pi * radius)
    attenuation = scipy.signal.kaiser_atten(taps, width / (rate / 2))
    window = np.kaiser(taps, scipy.signal.kaiser_beta(attenuation))
    kernel = jinc * np.outer(window, window)
    return torch.as_tensor(kernel / kernel.sum(), dtype=torch.float32)


def resample(
    x: Tensor,
    kernel: Tensor | None,
    up: int,
    down: int,
    padding: Sequence[int] = (0, 0),
    gain: float = 1,
) -> Tensor:
    """Inserts zeros between pixels, pads (or crops), filters, keeps every `down`-th pixel.

    Args:
        x: [N, C, H, W].
        kernel: [taps] for both axes, or [taps, taps]; None: no filter.
        up, down: factors.
        padding: before and after, along both axes; negative values crop.
        gain: factor on the result.
    """
    n, c, h, w = x.shape
    if up > 1:
        x = F.pad(x[:, :, :, None, :, None], (0, up - 1, 0, 0, 0, up - 1)).reshape(
            n, c, h * up, w * up
        )
    x = F.pad(x, (padding[0], padding[1], padding[0], padding[1])) * gain
    if kernel is not None:
        kernel = kernel.flip([*range(kernel.ndim)]).to(x.dtype)
        if kernel.ndim == 2:
            x = F.conv2d(x, kernel.expand(c, 1, -1, -1), groups=c)
        else:
            x = F.conv2d(x, kernel[None, :].expand(c, 1, 1, -1), groups=c)
            x = F.conv2d(x, kernel[:, None].expand(c, 1, -1, 1), groups=c)
    return x[:, :, ::down, ::down]
