"""The Gaussian prior of a generator's latents."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..generators.base import Generator

LEAST_OF_A_CLASS = 100  # smallest number of prior samples of a class


@dataclass(frozen=True)
class Prior:
    """Gaussian prior of latents: l = mean + L x.

    In a generator whose layers share one vector w, layer j has l_j = mean + root (x_0 + tau x_j):
    a part that all layers share, and a part of its own. Else l = mean + root x_0 and `layers` is 1.
    Each class has its own mean; the rest is the same for all classes.

    Attributes:
        mean: [C, d]. C is the number of classes, 1 if there are none; d is the length of w, or of
            the whole latent.
        root: symmetric square root of the covariance within a class, [d, d].
        layers: number of layers that share w.
        tau: deviation of a layer's own part, relative to the shared part.
    """

    mean: Tensor
    root: Tensor
    layers: int
    tau: float

    @classmethod
    def fit(cls, samples: Tensor, layers: int, tau: float) -> Prior:
        """Mean and covariance of prior samples.

        Args:
            samples: [n, d], or [C, n, d] with n samples of each class.
            layers: number of layers that share w; 1: nothing is shared.
            tau: see `Prior`.
        """
        mean = samples.mean(-2, keepdim=True)  # [1, d] or [C, 1, d]
        within = samples if samples.ndim == 2 else (samples - mean).flatten(0, 1)
        values, vectors = torch.linalg.eigh(torch.cov(within.T.double()))
        root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
        return cls(mean.view(-1, samples.shape[-1]), root.float(), layers, tau)

    def to(self, device: torch.device | str) -> Prior:
        """The same on another device."""
        return replace(self, mean=self.mean.to(device), root=self.root.to(device))

    def own_parts(self, x: Tensor) -> Tensor:
        """What own parts x [N, layers * d] add to flat latents with tau 1: root x_j."""
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


@torch.no_grad()
def prior_of(
    generator: Generator, count: int, tau: float, seed: int, device: torch.device
) -> tuple[Prior, Tensor]:
    """The prior and the samples that it was fitted to: [n, d], or [C, n, d] with classes.

    Args:
        generator: whose mapping is sampled.
        count: samples in all.
        tau: see `Prior`.
        seed: of z.
        device: that it runs on.
    """
    source = torch.Generator().manual_seed(seed)
    if generator.classes:
        drawn = _samples_by_class(generator, count, source, device)
    else:
        samples, left = [], count
        while left > 0:
            size = min(5000, left)
            z = torch.randn(size, generator.z_size, generator=source)
            samples.append(generator.sample(z.to(device)))
            left -= size
        drawn = torch.cat(samples)
    return Prior.fit(drawn, len(generator.layers) if generator.shared_size else 1, tau), drawn


def _samples_by_class(
    generator: Generator, count: int, source: torch.Generator, device: torch.device
) -> Tensor:
    """Samples [C, n, d] with the same z for every class; the second half has -z.

    So the mean is exact for a latent that is z itself, even with few samples in a class.
    """
    half = max(count // generator.classes, LEAST_OF_A_CLASS) // 2
    z = torch.randn(half, generator.z_size, generator=source)
    z = torch.cat([z, -z]).to(device)
    each = torch.arange(generator.classes, device=device)[:, None].expand(-1, len(z))
    return torch.stack([generator.sample(z, classes) for classes in each])
