"""The encoder network: a small network that predicts the start of a search from an image.

Squared error in perceptual coordinates is distortion to first order. So the network is trained on
generated images and their coordinates, without the generator in the loop. Its input are features of
the AlexNet of LPIPS, which the search loads anyway; its own weights come after them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generators.base import reduce_images

if TYPE_CHECKING:  # it imports lpips, which a decoder does not need
    from ..perception.features import PerceptualFeatures

SEEN = 128  # px of its input image
GRID = 7  # features are resampled to a grid of 7 x 7
LEADING = 400  # largest number of predicted coordinates


class InversionEncoder(nn.Module):
    """Predicts the leading perceptual coordinates of images.

    Args:
        count: number of predicted coordinates.
        width: channels of the convolutions.
        hidden: units of the layer before the last.
    """

    units: Tensor
    errors: Tensor

    def __init__(self, count: int, width: int = 160, hidden: int = 384) -> None:
        super().__init__()
        self.count, self.width, self.hidden = count, width, hidden
        channels = 48 + 4 * 64 + 192 + 384 + 256 + 256
        self.normalise = nn.BatchNorm2d(channels, affine=False)
        self.conv1 = nn.Conv2d(channels, width, 1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1)
        self.squeeze = nn.Conv2d(width, 40, 1)
        self.drop = nn.Dropout(0.1)
        self.linear = nn.Linear(40 * GRID**2, count)
        self.linear1 = nn.Linear(40 * GRID**2, hidden)
        self.linear2 = nn.Linear(hidden, count)
        self.register_buffer("units", torch.ones(count))  # prior deviations of the coordinates
        self.register_buffer("errors", torch.ones(count))  # of the predictions, on held-out pairs

    def options(self) -> dict[str, Any]:
        """The constructor's arguments as JSON values."""
        return {"count": self.count, "width": self.width, "hidden": self.hidden}

    def forward(self, seen: Tensor) -> Tensor:
        """Features of `see`, [N, C, 7, 7], to coordinates [N, count]."""
        x = F.leaky_relu(self.conv1(self.normalise(seen)), 0.2)
        x = x + F.leaky_relu(self.conv2(x), 0.2)
        x = x + F.leaky_relu(self.conv3(x), 0.2)
        x = self.drop(F.leaky_relu(self.squeeze(x), 0.2).flatten(1))
        x = self.linear(x) + self.linear2(F.leaky_relu(self.linear1(x), 0.2))
        found: Tensor = x * self.units
        return found


@torch.no_grad()
def see(features: PerceptualFeatures, images: Tensor) -> Tensor:
    """Images [N, 3, H, W] in [-1, 1] to the input of the encoder network, [N, C, 7, 7].

    The first layers have a larger grid. 4 x 4 pixels of the image at 28 px and 2 x 2 positions of
    the first convolution become channels. The second convolution is averaged.
    """
    images = reduce_images(images, SEEN)
    if images.shape[-1] < SEEN:
        images = F.interpolate(images, size=(SEEN, SEEN), mode="nearest")
    first, second, *rest = features.layers(images)
    pixels = F.pixel_unshuffle(F.adaptive_avg_pool2d(images, 4 * GRID), 4)
    first = F.pixel_unshuffle(F.adaptive_avg_pool2d(first, 2 * GRID), 2)
    second = F.adaptive_avg_pool2d(second, GRID)
    return torch.cat([pixels, first, second, *rest], 1).float()
