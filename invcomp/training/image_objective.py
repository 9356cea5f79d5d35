"""The loss of networks that make images: surrogate and proxy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..bundle import Bundle
from ..device import has_fast_bfloat16
from ..generators.base import reduce_images
from ..perception.features import PerceptualFeatures
from .pairs import Indices, Pairs


class ImageObjective:
    """Loss of a network that makes images: distortion and absolute pixel error."""

    def __init__(
        self,
        bundle: Bundle,
        pairs: Pairs,
        image: Callable[[Tensor, Tensor], Tensor],
        device: torch.device,
        compiled: bool,
    ) -> None:
        settings = bundle.settings
        self.features = PerceptualFeatures(settings.beta, face=settings.face).to(device)
        self.pairs, self.image, self.device = pairs, image, device
        self.mixed = has_fast_bfloat16(device)
        self._mean = torch.compile(self._mean_loss, dynamic=False) if compiled else self._mean_loss

    def loss(self, indices: Indices) -> Tensor:
        """See the class."""
        batch = (part.to(self.device) for part in self.pairs.batch(indices))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            return self._mean(*batch)

    def _mean_loss(self, coordinates: Tensor, classes: Tensor, real: Tensor) -> Tensor:
        made = self.image(coordinates, classes)
        real = reduce_images(real, made.shape[-1])
        with torch.no_grad():
            target = self.features(real).float()
        difference: Tensor = self.features(made).float() - target
        return difference.square().sum(1).mean() + (made.float() - real).abs().mean()

    def _both(self, indices: Indices) -> tuple[Tensor, Tensor]:
        coordinates, classes, real = (part.to(self.device) for part in self.pairs.batch(indices))
        made = self.image(coordinates, classes)
        return made, reduce_images(real, made.shape[-1])

    @torch.no_grad()
    def distortion(self) -> float:
        """Mean distortion of held-out pairs."""
        found = [
            (self.features(made) - self.features(real)).square().sum(1)
            for made, real in map(self._both, self._held_out())
        ]
        return float(torch.cat(found).mean())

    @torch.no_grad()
    def lpips(self) -> float:
        """Mean LPIPS-Alex of held-out pairs."""
        both = map(self._both, self._held_out())
        found = [self.features.lpips_distance(made.clamp(-1, 1), real) for made, real in both]
        return float(torch.cat(found).mean())

    def _held_out(self) -> list[Indices]:
        indices = np.arange(self.pairs.learned, len(self.pairs))
        return [indices[first : first + 8] for first in range(0, len(indices), 8)]
