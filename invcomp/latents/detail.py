"""The detail: coded offsets of a generator's inner maps, in perceptual units.

A vector for each layer cannot say where: a strand of hair over a face, an earring, a gaze. Offsets
of inner maps can, and the layers after them make a natural image of any map. For a map of C
channels, let M = E[g g^T] over draws and places, g the gradient of the perceptual features of
random directions to the map at a place, and S the covariance of the channels between prior samples.
The strongest eigenvectors u of S^(1/2) M S^(1/2) give the coded channels S^(1/2) u / sqrt(energy):
the squared sum of their coefficients over places is distortion to first order. Places that matter
more have smaller units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..entropy.detail import DetailModel, MapShape
from ..errors import BundleError
from ..generators.base import NO_OFFSETS, Generator, Offsets
from ..stored import array

DIGEST = 2  # bytes of the digest at the beginning of a file's layer


@dataclass(frozen=True)
class MapChannels:
    """The coded channels of one inner map.

    Attributes:
        basis: [K, C], the offset of a coefficient of one. float32, of which a bundle's float16 is
            an exact copy: compiled code that mixes float16 and bfloat16 warns.
        units: [size, size], a factor on the coefficients of each place. float32 as well.
        deviations: of the coefficients under the prior, [K], descending.
    """

    basis: Tensor
    units: Tensor
    deviations: Tensor

    @property
    def shape(self) -> MapShape:
        """Coded channels and size."""
        return MapShape(len(self.basis), len(self.units))

    @classmethod
    def measured(
        cls, metric: Tensor, covariance: Tensor, energies: Tensor, count: int
    ) -> MapChannels:
        """The strongest channels of a map.

        Args:
            metric: M, [C, C].
            covariance: S, [C, C].
            energies: squared gradients of every place, [size, size].
            count: K.
        """
        values, vectors = torch.linalg.eigh(covariance.double())
        root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
        found, directions = torch.linalg.eigh(root @ metric.double() @ root)
        found, directions = found.flip(0)[:count], directions.flip(1)[:, :count]
        deviations = found.clamp_min(1e-12).sqrt()
        basis = (root @ directions / deviations).T
        smooth = torch.nn.functional.avg_pool2d(
            energies[None, None].double(), 3, 1, 1, count_include_pad=False
        )[0, 0]
        units = (smooth / smooth.mean()).clamp(0.05, 20).rsqrt()
        return cls(basis.half().float(), units.half().float(), deviations.float())

    @classmethod
    def of(
        cls, tensors: Mapping[str, Tensor], prefix: str, shape: MapShape, channels: int
    ) -> MapChannels:
        """Those of a bundle's tensors, whose names begin with a prefix.

        Args:
            tensors: of the bundle.
            prefix: of their names.
            shape: by the entropy model.
            channels: C, of the generator's map.

        Raises:
            KeyError, ValueError: one is missing, or has another shape or values out of range.
        """
        wanted: dict[str, tuple[str, tuple[int, ...]]] = {
            "basis": ("float16", (shape.channels, channels)),
            "units": ("float16", (shape.size, shape.size)),
            "deviations": ("float32", (shape.channels,)),
        }
        found = {
            name: array(tensors[prefix + name], prefix + name, dtype, *form)
            for name, (dtype, form) in wanted.items()
        }
        if min(float(found[name].min()) for name in ("units", "deviations")) <= 0:
            raise ValueError(f"{prefix}: a unit or a deviation is not above 0")
        return cls(**{name: value.float() for name, value in found.items()})

    def tensors(self) -> dict[str, Tensor]:
        """What a bundle stores."""
        return {
            "basis": self.basis.half().cpu(),
            "units": self.units.half().cpu(),
            "deviations": self.deviations.cpu(),
        }

    def to(self, device: torch.device | str) -> MapChannels:
        """The same channels on another device."""
        return MapChannels(*(value.to(device) for value in vars(self).values()))

    def offset(self, coefficients: Tensor) -> Tensor:
        """Coefficients [N, K, size, size] to the offset of the map, [N, C, size, size]."""
        scaled = coefficients * self.units.to(coefficients.dtype)
        return torch.einsum("nkhw,kc->nchw", scaled, self.basis.to(coefficients.dtype))


@dataclass(frozen=True)
class Detail:
    """Coded channels of some inner maps, and the entropy model of their integers.

    Attributes:
        maps: coarsest first.
        model: of the integers.
    """

    maps: tuple[MapChannels, ...]
    model: DetailModel

    def __post_init__(self) -> None:
        if tuple(each.shape for each in self.maps) != self.model.shapes:
            raise BundleError("detail: its maps are not those of its entropy model")

    @property
    def count(self) -> int:
        """Number of coefficients of all maps."""
        return self.model.count

    @property
    def digest(self) -> bytes:
        """SHA-256 of all that determines offsets. Files name the detail by its beginning."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.digest()

    def to(self, device: torch.device | str) -> Detail:
        """The same detail on another device."""
        return Detail(tuple(each.to(device) for each in self.maps), self.model)

    def offsets(self, coefficients: Tensor) -> Offsets:
        """Offsets of the inner maps by their size, from flat coefficients [N, count]."""
        parts = coefficients.split([each.shape.count for each in self.maps], 1)
        return {
            each.shape.size: each.offset(part.unflatten(1, (-1, *each.units.shape)))
            for each, part in zip(self.maps, parts, strict=True)
        }

    def deviations(self) -> Tensor:
        """Prior deviation of every coefficient, [count]."""
        return torch.cat(
            [each.deviations.repeat_interleave(each.shape.size**2) for each in self.maps]
        )

    def pack(self, payload: bytes) -> bytes:
        """The layer of a file: which detail it is, and the payload of the entropy model."""
        return self.digest[:DIGEST] + payload

    def unpack(self, layer: bytes) -> bytes | None:
        """The payload of a layer; None if it is of another detail, or too short."""
        return layer[DIGEST:] if layer[:DIGEST] == self.digest[:DIGEST] else None

    def tensors(self) -> dict[str, Tensor]:
        """What a bundle's file stores, by name."""
        found = {name: torch.from_numpy(array) for name, array in self.model.arrays().items()}
        for index, each in enumerate(self.maps):
            found |= {f"detail.{index}.{name}": value for name, value in each.tensors().items()}
        return found

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], generator: Generator) -> Detail | None:
        """The detail of a bundle's tensors; None if it has none.

        Raises:
            BundleError, KeyError, TypeError, ValueError: it is damaged, or the generator has no
                such maps.
        """
        arrays: dict[str, Any] = {
            name: value.numpy() for name, value in tensors.items() if name.startswith("detail.")
        }
        if not arrays:
            return None
        model, own = DetailModel.of(arrays), {e.size: e.channels for e in generator.inner_maps}
        bases = [tensors[f"detail.{index}.basis"] for index in range(len(model.shapes))]
        if any(
            basis.shape[1:] != (own.get(shape.size),)
            for basis, shape in zip(bases, model.shapes, strict=True)
        ):
            raise BundleError("detail: the generator has no such maps")
        maps = [
            MapChannels.of(tensors, f"detail.{index}.", shape, own[shape.size])
            for index, shape in enumerate(model.shapes)
        ]
        return cls(tuple(maps), model)


class DetailedGenerator(Generator):
    """A generator whose flat latents end with the coefficients of its detail.

    For the search, to which both are one vector. Latents without coefficients mean no offsets.

    Args:
        generator: G.
        detail: on the generator's device.
    """

    def __init__(self, generator: Generator, detail: Detail) -> None:
        super().__init__()
        self.generator, self.detail = generator, detail
        self.resolution, self.z_size = generator.resolution, generator.z_size
        self.layers, self.classes = generator.layers, generator.classes
        self.shared_size = generator.shared_size

    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """See `Generator.sample`; without coefficients."""
        return self.generator.sample(z, classes)

    def forward(self, latents: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.forward`."""
        return self.generator(*self._split(latents))  # type: ignore[no-any-return]

    def forward_reduced(
        self, latents: Tensor, resolution: int, offsets: Offsets = NO_OFFSETS
    ) -> Tensor:
        """See `Generator.forward_reduced`."""
        own, found = self._split(latents)
        return self.generator.forward_reduced(own, resolution, found)

    def trunk(self, latents: Tensor, resolution: int, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.trunk`."""
        own, found = self._split(latents)
        return self.generator.trunk(own, resolution, found)

    def trunk_layers(self, resolution: int) -> int:
        """See `Generator.trunk_layers`."""
        return self.generator.trunk_layers(resolution)

    def options(self) -> dict[str, Any]:
        """See `Generator.options`."""
        return self.generator.options()

    def _split(self, latents: Tensor) -> tuple[Tensor, Offsets]:
        own, coefficients = latents.tensor_split([self.latent_size], 1)
        return own, self.detail.offsets(coefficients) if coefficients.shape[1] else NO_OFFSETS
