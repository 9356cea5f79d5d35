"""What a latent space is to the search and the decoder: coordinates, and the latents they mean."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class LatentSpace(ABC):
    """A map from coordinates to what the generator takes.

    Equal distances in coordinates are about equal distortions, so one q_step suits them all.

    Attributes:
        deviations: prior standard deviation of every coordinate, [K].
    """

    deviations: Tensor

    @property
    def count(self) -> int:
        """K, the number of coordinates."""
        return len(self.deviations)

    @property
    def classes(self) -> int:
        """C, the number of classes, each with a mean latent of its own; 1 if there are none."""
        return 1

    @abstractmethod
    def latents(self, coordinates: Tensor, classes: Tensor | None = None) -> Tensor:
        """What the generator takes, differentiable, [N, D].

        Args:
            coordinates: the first k of each, [N, k]. The others are zero.
            classes: int64 [N]; None: class 0.
        """

    def means(self, classes: Tensor | None = None) -> Tensor:
        """The latents of coordinates that are all zero, [N, D]; None: that of class 0, [1, D]."""
        size = 1 if classes is None else len(classes)
        return self.latents(self.deviations.new_zeros(size, self.count), classes)

    def expanded(self) -> LatentSpace:
        """The same space, in the form that maps coordinates many times in the shortest time."""
        return self
