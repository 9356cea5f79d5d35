"""Perceptual coordinates: a frame for a generator's latents where one step fits every direction.

Let f be the perceptual features (features.py) of G(l), J = df/dl. Under the prior
l = mean + L x, x ~ N(0, I), the singular vectors of J L give coordinates c whose Euclidean
distance is perceptual distance to first order, uncorrelated, with deviations sorted by what they
matter. J^T J is estimated from single backward passes: E[(J^T u)(J^T u)^T] for u ~ N(0, I).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Coordinates:
    """The map from coordinates c [N, K] to flat latents: l = mean + c @ basis.

    Attributes:
        mean: mean latent of every class, [C, D]; one row where there are no classes.
        codes: basis as integers, int8 [K, D].
        code_scales: what one integer is worth in each row, [K].
        deviations: prior standard deviation of every coordinate, [K], descending.
    """

    mean: Tensor
    codes: Tensor
    code_scales: Tensor
    deviations: Tensor

    @property
    def count(self) -> int:
        """K, the number of coordinates."""
        return len(self.codes)

    def basis(self) -> Tensor:
        """The basis in float32, [K, D]: kept by whoever maps many coordinates."""
        return self.codes.float() * self.code_scales[:, None]

    def to(self, device: torch.device | str) -> Coordinates:
        """The same coordinates on another device."""
        return Coordinates(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def latents(self, coordinates: Tensor, classes: Tensor | None = None) -> Tensor:
        """Flat latents [N, D] of coordinates [N, K] and classes, int64 [N]; None: the first."""
        return self.means(classes) + (coordinates * self.code_scales) @ self.codes.float()

    def means(self, classes: Tensor | None = None) -> Tensor:
        """Mean latents of classes, int64 [N]: [N, D]; of the first, [1, D], where None."""
        return self.mean[:1] if classes is None else self.mean[classes]


@dataclass(frozen=True)
class Prior:
    """Gaussian prior of latents: l = mean + L x.

    For a generator whose layers share one vector w, layer j has
    l_j = mean + root (x_0 + tau x_j): a part common to all layers and each layer's own. Else
    l = mean + root x_0 and `layers` is 1. A class has a mean of its own; the rest is common to all.

    Attributes:
        mean: [C, d], C the number of classes (1 where there are none), d the length of w (or of
            the whole latent).
        root: symmetric square root of the covariance within a class, [d, d].
        layers: number of layers that share w.
        tau: deviation of a layer's own part against the common one.
    """

    mean: Tensor
    root: Tensor
    layers: int
    tau: float

    @classmethod
    def fit(cls, samples: Tensor, layers: int, tau: float) -> Prior:
        """Mean and covariance of prior samples.

        Args:
            samples: [n, d]; or [C, n, d], where each class has so many.
            layers: that share w; 1: nothing is shared.
            tau: see `Prior`.
        """
        mean = samples.mean(-2, keepdim=True)  # [1, d] or [C, 1, d]
        within = samples if samples.ndim == 2 else (samples - mean).flatten(0, 1)
        values, vectors = torch.linalg.eigh(torch.cov(within.T.double()))
        root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
        return cls(mean.view(-1, samples.shape[-1]), root.float(), layers, tau)

    def own_parts(self, x: Tensor) -> Tensor:
        """What own parts x [N, layers * d] add to flat latents for a tau of 1: root x_j."""
        result: Tensor = (x.unflatten(1, (self.layers, -1)) @ self.root).flatten(1)
        return result

    def pull_back(self, gradients: Tensor) -> Tensor:
        """Rows g of d/dl to d/dx = g L: [N, layers * d] to [N, (1 + layers) * d]."""
        parts: Tensor = gradients.unflatten(1, (self.layers, -1)) @ self.root  # [N, layers, d]
        if self.layers == 1:
            return parts.flatten(1)
        return torch.cat([parts.sum(1), self.tau * parts.flatten(1)], 1)

    def push(self, x: Tensor) -> Tensor:
        """Rows x to L x: [K, (1 + layers) * d] to [K, layers * d]."""
        if self.layers == 1:
            return x @ self.root
        common, own = x.split([len(self.root), self.layers * len(self.root)], 1)
        parts: Tensor = common[:, None] + self.tau * own.unflatten(1, (self.layers, -1))
        return (parts @ self.root).flatten(1)


def perceptual_coordinates(
    gradients: Tensor, prior: Prior, count: int
) -> tuple[Coordinates, Tensor]:
    """The `count` perceptual coordinates of most weight.

    Args:
        gradients: draws J^T u, one a row, [N, D].
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
    # for l = mean + L x the coordinates are c = S V^T x = U^T A x, A being the gradients times L
    projection = left.T @ gradients / len(gradients) ** 0.5  # [K, D]
    shared = projection.unflatten(1, (prior.layers, -1)).sum(1)
    return Coordinates(prior.mean.repeat(1, prior.layers), codes, scales, deviations), shared.T


def quantise_rows(basis: Tensor) -> tuple[Tensor, Tensor]:
    """8-bit rows: int8 [K, D] and each row's scale [K].

    The search works in the rounded basis itself, so the rounding costs no precision: the
    coordinates are only a little less exactly orthogonal.
    """
    scales = basis.abs().amax(1) / 127
    return (basis / scales[:, None]).round().to(torch.int8), scales
