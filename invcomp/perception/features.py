"""The perceptual features whose squared distance is the distortion.

LPIPS + beta * MSE, and for faces identity, and the first two once more at twice the resolution.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import lpips
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generators.base import reduce_images
from .identity import DESCRIPTOR_SIZE, Face, Identity
from .lpips_network import load_lpips

RESOLUTION = 256  # LPIPS is computed on the image reduced to this; smaller ones are not resized
CLOSER = 512  # px at which a face and what is around it are seen again
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
        closer: what is seen at 512 px too, by LPIPS + beta * MSE: a face and the whole image, with
            the weights `Face.closer` and `Face.around`; or the whole image, with this weight. At
            256 px an eye has 20 px, and what the detail does to skin and hair is averaged away.
            Smaller images are enlarged: AlexNet's stride of 4 px is then one of 2.
    """

    places: Tensor | None

    def __init__(
        self,
        beta: float,
        enlarged: int = 0,
        face: Face | None = None,
        closer: Face | float | None = None,
    ) -> None:
        super().__init__()
        self.beta, self.enlarged = beta, enlarged
        places = _places(closer or 0.0)
        self.closer = closer if places.any() else None
        self.identity = None if face is None else Identity(face, RESOLUTION)
        self.lpips: Any = load_lpips("alex")  # its package has no types
        self.register_buffer("places", None if self.closer is None else places, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [-1, 1] to features [N, F]."""
        large, images = images, reduce_images(images, RESOLUTION)
        parts = self._compared(images, self._seen(images))
        if self.identity is not None:
            parts.append(self.identity(at_least(images)))
        if self.closer is not None:
            closer = reduce_images(at_least(large, CLOSER, "bilinear"), CLOSER)
            parts += self._compared(closer, closer, self.places)
        return torch.cat(parts, 1)

    def coarse(self) -> PerceptualFeatures:
        """The first of these features, without those at 512 px; by the same networks."""
        found = copy(self)
        found.closer = None
        return found

    @property
    def resolution(self) -> int:
        """Of the images that `forward` needs, in pixels: larger ones are reduced to it."""
        return RESOLUTION if self.closer is None else CLOSER

    def _compared(self, images: Tensor, seen: Tensor, places: Tensor | None = None) -> list[Tensor]:
        """Features of LPIPS + beta * MSE: of pixels, and of AlexNet's layers of `seen`.

        Args:
            images: [N, 3, H, W] in [-1, 1].
            seen: the same at the size that AlexNet sees.
            places: weights of places, [1, 1, H, W]; None: all are 1.
        """
        weighted = images if places is None else images * places.sqrt()
        parts = [weighted.flatten(1) * self._pixel_weight(images[0].numel())]
        for layer, head in zip(self.layers(seen), self.lpips.lins, strict=True):
            height, width = layer.shape[2:]
            weight = head.model[-1].weight.clamp_min(0)  # [1, C, 1, 1]
            if places is not None:
                weight = weight * F.adaptive_avg_pool2d(places, (height, width))
            root = (weight / (height * width)).sqrt()
            parts.append((lpips.normalize_tensor(layer) * root).flatten(1))
        return parts

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
        seen = (images, *self.layers(self._seen(images)))
        parts = [_weights(part, region) for part in seen]
        if self.identity is not None:  # of the face, independent of the region
            parts.append(torch.ones(1, DESCRIPTOR_SIZE, device=parts[0].device))
        if self.closer is not None:
            closer = at_least(images, CLOSER, "bilinear")
            parts += [_weights(part, region) for part in (closer, *self.layers(closer))]
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


def _places(closer: Face | float) -> Tensor:
    """Weights of places at 512 px, [1, 1, 512, 512]: those of a face have a mean of `closer`."""
    places = torch.zeros(1, 1, CLOSER, CLOSER)
    if not isinstance(closer, Face):
        return places + closer
    left, top, right, bottom = (round(side * CLOSER) for side in closer.chip)
    places[:, :, top:bottom, left:right] = 1
    return closer.around + closer.closer * places / places.mean()


def _weights(part: Tensor, region: Tensor) -> Tensor:
    """Weights [1, F] of feature maps [1, C, h, w] for a region, relative to its mean."""
    height, width = part.shape[2:]
    places = F.adaptive_avg_pool2d(region.cpu(), (height, width)).to(part.device)
    return (places / places.mean()).expand_as(part).flatten(1)


def at_least(images: Tensor, side: int = RESOLUTION, mode: str = "bicubic") -> Tensor:
    """Images [N, 3, H, W]; smaller ones are enlarged to `side`."""
    if images.shape[-1] >= side:
        return images
    return F.interpolate(images, size=(side, side), mode=mode)


def seen_size(images: Tensor) -> Tensor:
    """Images [N, 3, H, W], resized for the perceptual networks: 32 to 256 px."""
    if images.shape[-1] < LEAST:
        return F.interpolate(images, size=(LEAST, LEAST), mode="nearest")
    return reduce_images(images, RESOLUTION)
