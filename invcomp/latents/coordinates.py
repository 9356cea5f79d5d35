"""Perceptual coordinates of a generator's latents, in which one q_step suits every direction.

Let f be the perceptual features (features.py) of G(l), J = df/dl. Under the prior
l = mean + L x, x ~ N(0, I), the singular vectors of J L give coordinates c. Their Euclidean
distance is perceptual distance to first order. They are uncorrelated, and sorted by deviation.
J^T J is estimated from single backward passes: E[(J^T u)(J^T u)^T] for u ~ N(0, I).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..generators.base import Generator
from ..stored import array
from .prior import Prior
from .space import LatentSpace

FLOATS = "float16 float32"
LARGEST_MEANS = 1 << 25  # values, of all classes
RANK = (
    1e-4  # directions with a smaller eigenvalue of the root, relative to the largest, are left out
)


@dataclass(frozen=True)
class Coordinates(LatentSpace):
    """The map from coordinates c [N, K] to flat latents: l = mean + c @ basis.

    Attributes:
        mean: mean latent of every class, [C, D]; one row if there are no classes.
        codes: basis as integers, int8 [K, D].
        code_scales: value of one integer in each row, [K].
        deviations: prior standard deviation of every coordinate, [K], descending.
    """

    mean: Tensor
    codes: Tensor
    code_scales: Tensor
    deviations: Tensor

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], generator: Generator) -> Coordinates:
        """The coordinates of a bundle's tensors, for its generator.

        Raises:
            KeyError, ValueError: one is missing, or they do not fit the generator.
        """
        mean = tensors["coordinates.mean"]
        means = mean if mean.ndim == 2 else mean[None]  # [C, d]
        size, classes = generator.latent_size, max(generator.classes, 1)
        length = means.shape[1] if means.shape[1:] == (size,) else generator.shared_size
        array(means, "the mean", FLOATS, classes, length or size)
        if classes * size > LARGEST_MEANS:
            raise ValueError(f"means of {classes} classes, each of {size} values")
        codes = array(tensors["coordinates.codes"], "the basis", "int8", None, size)
        scales, deviations = (
            array(tensors[f"coordinates.{part}"], part, FLOATS, len(codes))
            for part in ("code_scales", "deviations")
        )
        if float(deviations.min()) <= 0:
            raise ValueError("a deviation is not above 0")
        return cls(means.repeat(1, size // means.shape[1]), codes, scales, deviations)

    @property
    def classes(self) -> int:
        """C, the number of classes; 1 if there are none."""
        return len(self.mean)

    def basis(self) -> Tensor:
        """The basis in float32, [K, D]."""
        return self.codes.float() * self.code_scales[:, None]

    def expanded(self) -> Coordinates:
        """The same coordinates with the basis kept in float32."""
        return ExpandedCoordinates(self.mean, self.codes, self.code_scales, self.deviations)

    def to(self, device: torch.device | str) -> Coordinates:
        """The same coordinates on another device."""
        return Coordinates(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def latents(self, coordinates: Tensor, classes: Tensor | None = None) -> Tensor:
        """Flat latents [N, D] of the first k coordinates [N, k]; see `LatentSpace`."""
        count = coordinates.shape[1]
        scaled = coordinates * self.code_scales[:count]
        return self.means(classes) + scaled @ self.codes[:count].float()

    def means(self, classes: Tensor | None = None) -> Tensor:
        """Mean latents [N, D] of classes, int64 [N]; None: that of class 0, [1, D]."""
        return self.mean[:1] if classes is None else self.mean[classes]


class ExpandedCoordinates(Coordinates):
    """Coordinates that keep their basis in float32: four times the memory of its codes."""

    @cached_property
    def _basis(self) -> Tensor:
        return super().basis()

    def basis(self) -> Tensor:
        """The basis in float32, [K, D]."""
        return self._basis

    def latents(self, coordinates: Tensor, classes: Tensor | None = None) -> Tensor:
        """Flat latents [N, D] of the first k coordinates [N, k]; see `LatentSpace`."""
        return self.means(classes) + coordinates @ self._basis[: coordinates.shape[1]]


def coordinates_of(shared: Tensor, coordinates: Coordinates, prior: Prior) -> Tensor:
    """The coordinates [N, K] of the likeliest x whose latents are equal in all layers.

    With B the basis, c = S V^T x and B = S^-1 V^T L^T give c = S^2 B (L L^T)^-1 (l - mean). The
    rounding of B makes it an estimate, which is useless for latents that differ between layers.

    Args:
        shared: vectors minus their mean, [N, d].
        coordinates: of the generator.
        prior: that the coordinates were computed with.
    """
    values, vectors = torch.linalg.eigh(prior.root.double())
    kept = values > RANK * values[-1]
    inverse = (vectors[:, kept] / values[kept].square()) @ vectors[:, kept].T  # root^-2
    layers = prior.layers + (prior.tau**2 if prior.layers > 1 else 0)  # L L^T sums over them
    rows = coordinates.basis().unflatten(1, (prior.layers, -1)).sum(1)  # [K, d]
    found: Tensor = shared @ (inverse.float() / layers) @ rows.T * coordinates.deviations.square()
    return found


def perceptual_coordinates(
    gradients: Tensor, prior: Prior, count: int
) -> tuple[Coordinates, Tensor]:
    """The `count` perceptual coordinates with the largest deviations.

    Args:
        gradients: draws J^T u, one in each row, [N, D].
        prior: of the latents.
        count: K, at most N.

    Returns:
        The coordinates, and the projection [d, K] that takes w - mean (shared by all layers) to
        its coordinates.
    """
    a = prior.pull_back(gradients) / len(gradients) ** 0.5  # [N, M]
    energies, vectors = torch.linalg.eigh((a @ a.T).double())
    energies, left = energies.flip(0)[:count], vectors.flip(1)[:, :count].float()  # U, [N, K]
    deviations = energies.clamp_min(1e-12).sqrt().float()
    right = (left.T @ a) / deviations[:, None]  # V^T, [K, M]
    codes, scales = quantise_rows(prior.push(right) / deviations[:, None])
    # for l = mean + L x the coordinates are c = S V^T x = U^T A x; A is the gradients times L
    projection = left.T @ gradients / len(gradients) ** 0.5  # [K, D]
    shared = projection.unflatten(1, (prior.layers, -1)).sum(1)
    return Coordinates(prior.mean.repeat(1, prior.layers), codes, scales, deviations), shared.T


def quantise_rows(basis: Tensor) -> tuple[Tensor, Tensor]:
    """8-bit rows: int8 [K, D] and each row's scale [K].

    Search and decoder both use the rounded basis, so rounding costs no precision. The coordinates
    are only slightly less orthogonal.
    """
    scales = basis.abs().amax(1) / 127
    return (basis / scales[:, None]).round().to(torch.int8), scales
