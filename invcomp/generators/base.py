"""The one interface of all generators: ordered latent layers in, an image in [-1, 1] out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError


@dataclass(frozen=True)
class LatentLayer:
    """One place of a generator that takes a latent.

    Attributes:
        name: what the place is called, for `invcomp info`.
        shape: the shape of one sample's latent there, without the batch.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values of one sample."""
        return math.prod(self.shape)


class Generator(nn.Module, ABC):
    """A generator network G: flat latents [N, D] to images [N, 3, R, R] in [-1, 1].

    A flat latent is the latents of all layers, in order, side by side; D is `latent_size`.

    Attributes:
        resolution: height and width R of an image in pixels.
        z_size: length of the prior's Gaussian vector z.
        layers: the places that take a latent, in order.
        shared_size: where every layer takes its own copy of one vector (StyleGAN's w), the
            length of that vector; else None.
        classes: of a class-conditional generator; 0: there are none. A class acts through the
            latents alone: `forward` knows of none.
    """

    resolution: int
    z_size: int
    layers: tuple[LatentLayer, ...]
    shared_size: int | None = None
    classes: int = 0

    @property
    def latent_size(self) -> int:
        """D, the length of a flat latent."""
        return sum(layer.size for layer in self.layers)

    @abstractmethod
    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """Latents of the generator's own prior.

        Args:
            z: standard normal, [N, z_size].
            classes: of each, int64 [N] in 0 .. `classes` - 1: given where the generator is
                class-conditional, and only there.

        Returns:
            [N, D], or [N, shared_size] where layers share one vector (see `spread`).
        """

    @abstractmethod
    def forward(self, latents: Tensor) -> Tensor:
        """Images of flat latents: [N, D] to [N, 3, R, R] in about [-1, 1], not clamped."""

    def forward_reduced(self, latents: Tensor, resolution: int) -> Tensor:
        """The image of `forward`, averaged over blocks down to `resolution` px.

        A generator that can make the small image for less than the whole overrides this.
        """
        return reduce_images(self.forward(latents), resolution)

    def trunk_layers(self, resolution: int) -> int:
        """How many latent layers `trunk` uses at a resolution; 0: it cannot stop there."""
        return 0

    def trunk(self, latents: Tensor, resolution: int) -> Tensor:
        """Feature maps of an inner layer: [N, D] to [N, C, resolution, resolution].

        A large generator has it, so that a `Surrogate` can stand for the layers above.

        Raises:
            OptionError: it has none; `trunk_layers` is 0 there.
        """
        raise OptionError(f"a {type(self).__name__} has no inner layer to stop at")

    def spread(self, shared: Tensor) -> Tensor:
        """Flat latents [N, D] that give every layer the same vector [N, shared_size]."""
        return shared if self.shared_size is None else shared.repeat(1, len(self.layers))

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The constructor's arguments as JSON values: what a bundle needs beside the weights."""


def reduce_images(image: Tensor, resolution: int) -> Tensor:
    """Area average of [N, C, H, W] to `resolution` px; one as small as that is left unchanged."""
    if image.shape[-1] <= resolution:
        return image
    return F.adaptive_avg_pool2d(image, resolution)


def sample_of(generator: Generator, z: Tensor, classes: Tensor | None) -> Tensor:
    """`Generator.sample`, which need not take classes where there are none."""
    return generator.sample(z) if classes is None else generator.sample(z, classes)


def draw_classes(generator: Generator, count: int, source: torch.Generator) -> Tensor | None:
    """Classes int64 [count], equally likely; None, and nothing drawn, where there are none."""
    if not generator.classes:
        return None
    return torch.randint(generator.classes, (count,), generator=source)


def check_class(class_index: int, classes: int) -> None:
    """Whether a class is one of so many.

    Raises:
        OptionError: it is not.
    """
    if classes < 2:
        raise OptionError(f"class {class_index}: the model has no classes")
    if not 0 <= class_index < classes:
        raise OptionError(f"class {class_index}: the model's classes are 0 to {classes - 1}")


def normal(count: int, size: int, seed: int) -> Tensor:
    """Standard normal [count, size], the same on every machine for a seed (drawn on the CPU)."""
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def check_depth(depth: int) -> None:
    """Refuses a depth of a mapping network that no network has, but a hostile file may say.

    Raises:
        OptionError: it is not in 1..64.
    """
    if not 1 <= depth <= 64:
        raise OptionError(f"a mapping network of {depth} layers: 1 to 64 are possible")
