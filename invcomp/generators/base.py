"""The interface of all generators: ordered latent layers in, an image in [-1, 1] out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError

Offsets = Mapping[int, Tensor]  # what is added to inner maps: [N, C, size, size] by their size
LARGEST_SIDE = 4096  # px of an image
NO_OFFSETS: Offsets = MappingProxyType({})


class InnerMap(NamedTuple):
    """Feature maps between two layers of a generator, to which offsets can be added.

    Attributes:
        size: height and width in places. No two inner maps of a generator have the same.
        channels: C.
    """

    size: int
    channels: int


class Recording(dict[int, Tensor]):
    """Offsets that add nothing, and keep the inner maps that they would be added to."""


@dataclass(frozen=True)
class LatentLayer:
    """One layer of a generator that takes a latent.

    Attributes:
        name: of the layer, for `invcomp info`.
        shape: of one sample's latent, without the batch.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values of one sample."""
        return math.prod(self.shape)


class Generator(nn.Module, ABC):
    """A generator network G: flat latents [N, D] to images [N, 3, R, R] in [-1, 1].

    A flat latent concatenates the latents of all layers in order; D is `latent_size`.

    Attributes:
        resolution: height and width R of an image in pixels.
        z_size: length of the prior's Gaussian vector z.
        layers: the layers that take a latent, in order.
        shared_size: if every layer takes its own copy of one vector (StyleGAN's w), the length
            of that vector; else None.
        classes: number of classes; 0 if not class-conditional. A class only affects the latents:
            `forward` does not take one.
        inner_maps: from the input to the image; none if offsets cannot be added.
        frame: how the images that it was trained on were fitted; None: it is not known.
    """

    resolution: int
    z_size: int
    layers: tuple[LatentLayer, ...]
    shared_size: int | None = None
    classes: int = 0
    inner_maps: tuple[InnerMap, ...] = ()
    frame: str | None = None

    @property
    def latent_size(self) -> int:
        """D, the length of a flat latent."""
        return sum(layer.size for layer in self.layers)

    @abstractmethod
    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """Latents of the generator's own prior.

        Args:
            z: standard normal, [N, z_size].
            classes: int64 [N] in 0 .. `classes` - 1, if and only if the generator is
                class-conditional.

        Returns:
            [N, D], or [N, shared_size] if layers share one vector (see `spread`).
        """

    @abstractmethod
    def forward(self, latents: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """Images of flat latents: [N, D] to [N, 3, R, R] in about [-1, 1], not clamped.

        Args:
            latents: flat, [N, D].
            offsets: added to inner maps, by their size.
        """

    def forward_reduced(
        self, latents: Tensor, resolution: int, offsets: Offsets = NO_OFFSETS
    ) -> Tensor:
        """The image of `forward`, averaged over blocks down to `resolution` px.

        A generator that can make the small image at lower cost overrides this.
        """
        given = () if offsets is NO_OFFSETS else (offsets,)  # a generator may take none
        return reduce_images(self.forward(latents, *given), resolution)

    def trunk_layers(self, resolution: int) -> int:
        """How many latent layers `trunk` uses at a resolution; 0 if it has no such layer."""
        return 0

    def trunk(self, latents: Tensor, resolution: int, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """Feature maps of an inner layer: [N, D] to [N, C, resolution, resolution].

        Only offsets up to this resolution count.

        A large generator has it, so that a `Surrogate` can replace the layers above.

        Raises:
            OptionError: there is none; `trunk_layers` is 0.
        """
        raise OptionError(f"a {type(self).__name__} has no inner layer of this resolution")

    def spread(self, shared: Tensor) -> Tensor:
        """Flat latents [N, D] with the same vector [N, shared_size] for every layer."""
        return shared if self.shared_size is None else shared.repeat(1, len(self.layers))

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The constructor's arguments as JSON values, which a bundle stores with the weights."""


def with_offset(x: Tensor, offsets: Offsets) -> Tensor:
    """An inner map [N, C, size, size], with what is added to maps of its size."""
    if isinstance(offsets, Recording):
        offsets[x.shape[-1]] = x
        return x
    offset = offsets.get(x.shape[-1])
    return x if offset is None else x + offset.to(x.dtype)


def reduce_images(image: Tensor, resolution: int) -> Tensor:
    """Area average of [N, C, H, W] to `resolution` px; smaller images are unchanged."""
    if image.shape[-1] <= resolution:
        return image
    return F.adaptive_avg_pool2d(image, resolution)


def sample_of(generator: Generator, z: Tensor, classes: Tensor | None) -> Tensor:
    """Calls `Generator.sample`, whose `classes` argument is optional without classes."""
    return generator.sample(z) if classes is None else generator.sample(z, classes)


def draw_classes(generator: Generator, count: int, source: torch.Generator) -> Tensor | None:
    """Uniformly drawn classes, int64 [count]; None, without drawing, if there are none."""
    if not generator.classes:
        return None
    return torch.randint(generator.classes, (count,), generator=source)


def check_class(class_index: int, classes: int) -> None:
    """Checks that a class exists.

    Raises:
        OptionError: it does not.
    """
    if classes < 2:
        raise OptionError(f"class {class_index}: the model has no classes")
    if not 0 <= class_index < classes:
        raise OptionError(f"class {class_index}: the model's classes are 0 to {classes - 1}")


def normal(count: int, size: int, seed: int) -> Tensor:
    """Standard normal [count, size], the same on every machine for a seed (drawn on the CPU)."""
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def enlarged(side: int, doublings: int) -> int:
    """The side in pixels after doublings, before any layer is made for them.

    Raises:
        OptionError: it is over LARGEST_SIDE: a mistake, or an attack on memory.
    """
    if not 0 <= doublings <= LARGEST_SIDE.bit_length() or side << doublings > LARGEST_SIDE:
        raise OptionError(f"{doublings} doublings of {side} px: over {LARGEST_SIDE} px")
    return side << doublings


def check_depth(depth: int) -> None:
    """Rejects an implausible depth of a mapping network, as in a hostile file.

    Raises:
        OptionError: it is not in 1..64.
    """
    if not 1 <= depth <= 64:
        raise OptionError(f"a mapping network of {depth} layers: must be 1 to 64")
