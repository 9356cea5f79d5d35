"""A discriminator on the features of a frozen network: Projected GAN (arXiv:2111.01007).

What images have in common is known before the first step, so a small set of images suffices for
longer. The frozen network is AlexNet, which ships for LPIPS; the paper's is an EfficientNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..perception.lpips_network import load_lpips

LAYERS = (0, 1, 2, 4)  # of AlexNet's five; the last three have one size
CHANNELS = (64, 192, 384, 256)  # of these layers
WIDTH = 128  # channels of mixed features and heads
SEEN = 256  # px: smaller images are enlarged twofold, AlexNet's first stride is 4
TAPS, FOLDED = 11, 7  # of its first kernel, and of one that enlarges as well
SMALLEST = 8  # px: a head halves its maps down to fewer than these


class FeatureDiscriminator(nn.Module):
    """Maps images to logits of places, of four layers of the frozen network.

    Features are mixed over channels and layers by fixed random convolutions (section 3.2), so that
    no head can rest on a few of them. Spectral normalisation takes the place of a penalty.

    Args:
        resolution: of the images.
    """

    weights: Tensor
    first: Tensor

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.enlarges = resolution < SEEN
        metric: Any = load_lpips("alex")
        self.scaling, self.trunk = metric.scaling_layer, metric.net
        self.register_buffer("first", _enlarging(self.trunk.slice1[0].weight), persistent=False)
        self.across = nn.ModuleList(_fixed(count, WIDTH, 1) for count in CHANNELS)
        self.down = nn.ModuleList(_fixed(WIDTH, WIDTH, 3) for _ in CHANNELS[1:])
        with torch.no_grad():
            seen = self.mixed(torch.zeros(1, 3, resolution, resolution))
        self.heads = nn.ModuleList(_head(each.shape[-1]) for each in seen)
        places = [head(each).numel() for head, each in zip(self.heads, seen, strict=True)]
        shares = [torch.full((count,), 1 / count / len(places)) for count in places]
        self.register_buffer("weights", torch.cat(shares), persistent=False)

    def forward(self, mixed: Sequence[Tensor]) -> Tensor:
        """What `mixed` made of N images to logits [N, places]; `weights` has a sum of one."""
        found = [head(each).flatten(1) for head, each in zip(self.heads, mixed, strict=True)]
        return torch.cat(found, 1).float()

    def mixed(self, images: Tensor) -> list[Tensor]:
        """Images [N, 3, R, R] in [-1, 1] to mixed features of each layer, finest first.

        [N, WIDTH, h, w]; nothing here is trained, so both networks' steps can share them.
        """
        layers = self._layers(self.scaling(images))
        mixed = [mix(layers[index]) for index, mix in zip(LAYERS, self.across, strict=True)]
        for index in range(len(mixed) - 2, -1, -1):  # what deeper layers see goes to finer ones
            fine, coarse = mixed[index], mixed[index + 1]
            coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="nearest")
            mixed[index] = self.down[index](fine + coarse)
        return mixed

    def _layers(self, x: Tensor) -> Sequence[Tensor]:
        """AlexNet's five layers."""
        if not self.enlarges:
            return self.trunk(x)  # type: ignore[no-any-return]
        layers = [F.relu(F.conv2d(x, self.first, self.trunk.slice1[0].bias, stride=2, padding=2))]
        for part in (self.trunk.slice2, self.trunk.slice3, self.trunk.slice4, self.trunk.slice5):
            layers.append(part(layers[-1]))
        return layers


def _enlarging(kernel: Tensor) -> Tensor:
    """A kernel with stride 2 that enlarges twofold (bilinear) and convolves with stride 4.

    The same but at the border: there zeros are interpolated with the outermost pixels.
    """
    places = torch.arange(TAPS)[:, None] / 2 + 0.75  # of the taps, in pixels before enlarging
    spread = (1 - (places - torch.arange(FOLDED)).abs()).clamp(min=0)  # [TAPS, FOLDED]
    return torch.einsum("ocyx,yi,xj->ocij", kernel, spread, spread)


def _fixed(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """A random convolution that is not trained and keeps the size of values."""
    made = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, nonlinearity="linear")
    return made.requires_grad_(False)


def _head(size: int) -> nn.Sequential:
    """Halves maps of this size until they are small; then a logit for each place."""
    parts: list[nn.Module] = []
    while size >= SMALLEST:
        parts += [spectral_norm(nn.Conv2d(WIDTH, WIDTH, 4, 2, 1)), nn.LeakyReLU(0.2)]
        size //= 2
    return nn.Sequential(*parts, spectral_norm(nn.Conv2d(WIDTH, 1, 3, padding=1)))
