"""What shows whether a training goes well: samples, KID, warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..generators.sampling import grid, samples, to_uint8
from ..generators.stylegan2 import StyleGAN2
from ..perception.kid import Kid
from .data import Dataset
from .options import TrainOptions
from .run import RunDirectory

CHUNK = 64  # real images per batch for KID
GRID = 64  # images of a sample grid


class Monitor:
    """Snapshots of the averaged generator, judged by KID and by the variance of its samples.

    Args:
        averaged: the generator.
        data: images that it is trained on.
        held_out: images for KID; None: no KID.
        options: of the training.
        directory: for samples and snapshots.

    Attributes:
        best_kid: the lowest so far.
        kid_features: of `best_kid`: figures of different features must not be compared.
    """

    def __init__(
        self,
        averaged: StyleGAN2,
        data: Dataset,
        held_out: Dataset | None,
        options: TrainOptions,
        directory: RunDirectory,
    ) -> None:
        self.averaged, self.data, self.held_out = averaged, data, held_out
        self.options, self.directory = options, directory
        self.device = next(averaged.parameters()).device
        self.best_kid, self.kid_features = float("inf"), ""
        self._kid: Kid | None = None

    def snapshot(self, images: int) -> tuple[dict[str, Any], str | None]:
        """Writes samples and a snapshot after `images` images.

        Returns:
            KID as values for the record, and a warning if all samples look alike.
        """
        shown = self.draw_samples(images)
        values: dict[str, Any] = {}
        best = self.held_out is None
        if self.held_out is not None:
            kid = self.kid()
            values = {"kid": kid, "kid_features": self.kid_features}
            best = kid < self.best_kid
            self.best_kid = min(self.best_kid, kid)
        self.directory.snapshot(self.averaged, images, best)
        return values, self.collapsed(shown)

    def look(self, images: int) -> None:
        """Writes samples before the first snapshot, and a generator that can be prepared."""
        self.draw_samples(images)
        if self.best_kid == float("inf"):
            self.directory.first_best(self.averaged)

    def draw_samples(self, images: int) -> Tensor:
        """Writes a grid of samples after `images` images; returns them, [GRID, 3, R, R]."""
        self._set_mean_w()
        shown = torch.cat(list(samples(self.averaged, GRID)))
        self.directory.save_samples(grid([shown]), images)
        return shown

    @torch.no_grad()
    def _set_mean_w(self) -> None:
        """Computes the mean w of the averaged generator, for truncation."""
        z = torch.randn(10_000, self.averaged.z_size, generator=torch.Generator().manual_seed(0))
        z = z.to(self.device)
        self.averaged.mapping.w_avg.copy_(self.averaged.sample(z).mean(0))

    def kid(self) -> float:
        """KID of the averaged generator against the held-out images."""
        assert self.held_out is not None
        if self._kid is None:
            self._kid = Kid(_batches(self.held_out), self.device)
            # a resumed run may have begun where other weights were available
            if self.kid_features != self._kid.features:
                self.kid_features, self.best_kid = self._kid.features, float("inf")
        fake = samples(self.averaged, self.options.kid_samples, seed=1)
        return self._kid(map(to_uint8, fake))

    def collapsed(self, shown: Tensor) -> str | None:
        """Warns if samples vary less than a quarter as much as real images."""
        count = min(GRID, len(self.data))
        real = self.data.batch(np.arange(count)).float() / 127.5 - 1
        ours, theirs = (float(x.float().var(0).mean()) for x in (shown, real))
        if ours < theirs / 4:
            on_features = self.options.discriminator == "features"  # which has no penalty
            advice = "" if on_features else "raise gamma two- to fourfold, or "
            return (
                f"the samples look alike (variance {ours:.3f}, real images {theirs:.3f}): "
                f"{advice}try the loss rpgan"
            )
        return None


def saturated(sign: float, augmentation_p: float, images: int) -> str | None:
    """A warning if the discriminator is confident on nearly all real images.

    Args:
        sign: mean sign of real logits.
        augmentation_p: probability of each augmentation.
        images: seen so far.
    """
    if sign <= 0.95 or images <= 20_000:
        return None
    advice = (
        "raise gamma or use more images"
        if augmentation_p > 0.8
        else "raise gamma or let the adaptive augmentation continue"
    )
    return f"the discriminator is confident on {sign:.0%} of real images: {advice}"


def _batches(dataset: Dataset) -> Iterator[Tensor]:
    """All images in order, [n, 3, R, R] uint8."""
    for first in range(0, len(dataset), CHUNK):
        yield dataset.batch(np.arange(first, min(first + CHUNK, len(dataset))))
