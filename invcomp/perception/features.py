"""The perceptual features whose squared distance is the distortion.

LPIPS + beta * MSE, and for faces identity.
"""

from __future__ import annotations

from typing import Any

import lpips
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generators.base import reduce_images
from .identity import DESCRIPTOR_SIZE, Face, Identity
from .lpips_network import load_lpips

RESOLUTION = 256  # LPIPS is computed on the image reduced to this; smaller ones are not resized
LEAST = 32  # smaller images are enlarged to this: AlexNet's strides would leave nothing


class PerceptualFeatures(nn.Module):
    """f with |f(x) - f(y)|^2 = LPIPS-Alex(x, y) + beta * MSE(x, y) + identity, per image.

    The unit-normalised AlexNet features are scaled by the root of LPIPS's linear weight over the
    number of positions, pixels by the root of beta over the number of values (design of the LPIPS
    distance: Zhang et al. 2018, eq. 1).

    Args:
        beta: weight of the squared error of pixels in [-1, 1].
        enlarged: side to which smaller images are enlarged for AlexNet; 0: no change. A proxy's
            coordinates were measured on large images; 128-px faces are too small for AlexNet.
        face: where the face is, for the identity part; None: no identity part.
    """

    def __init__(self, beta: float, enlarged: int = 0, face: Face | None = None) -> None:
        super().__init__()
        self.beta, self.enlarged = beta, enlarged
        self.identity = None if face is None else Identity(face, RESOLUTION)
        self.lpips: Any = load_lpips("alex")  # its package has no types

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] to features [N, F]."""
        images = reduce_images(images, RESOLUTION)
        layers = self.layers(self._seen(images))
        parts = [images.flatten(1) * self._pixel_weight(images[0].numel())]
        for layer, head in zip(layers, self.lpips.lins, strict=True):
            positions = layer.shape[2] * layer.shape[3]
            weight = head.model[-1].weight.clamp_min(0)  # [1, C, 1, 1]
            parts.append((lpips.normalize_tensor(layer) * (weight / positions).sqrt()).flatten(1))
        if self.identity is not None:
            parts.append(self.identity(at_least(images)))
        return torch.cat(parts, 1)

    def pixels(self, features: Tensor, resolution: int) -> Tensor:
        """The images that `forward` saw, [N, 3, R, R] in [-1, 1]; beta must not be 0.

        Args:
            features: [N, F], or their weights [1, F].
            resolution: of the images, at most 256.
        """
        count = 3 * resolution**2
        pixels = features[:, :count] / self._pixel_weight(count)
        return pixels.view(-1, 3, resolution, resolution)

    def _pixel_weight(self, count: int) -> float:
        return float((self.beta / count) ** 0.5)

    @torch.no_grad()
    def weights(self, images: Tensor, region: Tensor) -> Tensor:
        """The weight of each feature for a region, for images of this size.

        Args:
            images: [N, 3, H, W]; only the size is used.
            region: weights of places, [1, 1, h, w].

        Returns:
            [1, F]: the weights of the places, for pixels and every layer, each with a mean of one.
        """
        images = reduce_images(images[:1], RESOLUTION)
        parts = []
        for part in (images, *self.layers(self._seen(images))):
            height, width = part.shape[2:]
            places = F.adaptive_avg_pool2d(region.cpu(), (height, width)).to(part.device)
            parts.append((places / places.mean()).expand_as(part).flatten(1))
        if self.identity is not None:  # of the face, independent of the region
            parts.append(torch.ones(1, DESCRIPTOR_SIZE, device=parts[0].device))
        return torch.cat(parts, 1)

    def _seen(self, images: Tensor) -> Tensor:
        if images.shape[-1] >= self.enlarged:
            return seen_size(images)
        return at_least(images, self.enlarged)

    @torch.inference_mode()
    def identity_distance(self, one: Tensor, other: Tensor) -> Tensor:
        """Distance of dlib's descriptors of images [N, 3, H, W] in [-1, 1]: [N].

        0.6 is dlib's own limit for one person. The bundle must specify where the face is.
        """
        assert self.identity is not None
        found = (
            self.identity.dlib_descriptors(at_least(reduce_images(images, RESOLUTION)))
            for images in (one, other)
        )
        distance: Tensor = torch.linalg.vector_norm(torch.sub(*found), dim=1)
        return distance

    def layers(self, images: Tensor) -> tuple[Tensor, ...]:
        """AlexNet's five layers of images [N, 3, H, W] in [-1, 1], each [N, C, h, w]."""
        return tuple(self.lpips.net(self.lpips.scaling_layer(images)))

    @torch.inference_mode()
    def lpips_distance(self, one: Tensor, other: Tensor) -> Tensor:
        """LPIPS-Alex of images [N, 3, H, W] in [-1, 1] at 256 px, without the pixel term: [N]."""
        pair = (seen_size(image) for image in (one, other))
        return self.lpips(*pair).flatten()  # type: ignore[no-any-return]


def at_least(images: Tensor, side: int = RESOLUTION) -> Tensor:
    """Images [N, 3, H, W]; smaller ones are enlarged to `side`."""
    if images.shape[-1] >= side:
        return images
    return F.interpolate(images, size=(side, side), mode="bicubic")


def seen_size(images: Tensor) -> Tensor:
    """Images [N, 3, H, W], resized for the perceptual networks: 32 to 256 px."""
    if images.shape[-1] < LEAST:
        return F.interpolate(images, size=(LEAST, LEAST), mode="nearest")
    return reduce_images(images, RESOLUTION)
