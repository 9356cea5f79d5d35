"""What a step draws at random: images, latents, and numbers for the augmentation."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor

from .augmentation import RANDOMS
from .data import Dataset
from .options import TrainOptions


class Batches:
    """Draws the batch of every step.

    Every process draws the numbers of the whole batch and takes its part, n images.

    Args:
        data: images to train on.
        options: how to train.
        layers: of the generator.
        accelerator: processes and device.

    Attributes:
        random: the source of all numbers, in the same state in every process.
    """

    def __init__(
        self, data: Dataset, options: TrainOptions, layers: int, accelerator: Accelerator
    ) -> None:
        self.data, self.options, self.layers = data, options, layers
        self.processes, self.rank = accelerator.num_processes, accelerator.process_index
        self.device = accelerator.device
        self.random = torch.Generator().manual_seed(options.seed)

    def real(self, seen: int) -> Tensor:
        """Images [n, 3, R, R] in [-1, 1], after `seen` images."""
        indices = self.data.shuffled(self.options.seed, seen, self.options.batch)
        mirrored = torch.rand(self.options.batch, generator=self.random) < 0.5
        images = self.data.batch(indices[self.rank :: self.processes]).to(self.device)
        real = images.float() / 127.5 - 1
        if self.options.mirror:
            real = torch.where(self._mine(mirrored)[:, None, None, None], real.flip(3), real)
        return real.contiguous(memory_format=torch.channels_last)

    def z(self) -> Tensor:
        """[n, 1, z_size]; with style mixing [n, 3, z_size]: two z, and the layer to switch at."""
        options = self.options
        size = (options.batch, 2 if options.style_mixing else 1, options.w_size)
        z = torch.randn(size, generator=self.random)
        if options.style_mixing:
            cut = torch.randint(1, self.layers, (options.batch, 1, 1), generator=self.random)
            mixed = torch.rand(options.batch, 1, 1, generator=self.random) < options.style_mixing
            cut = torch.where(mixed, cut, self.layers).float().expand(-1, 1, size[2])
            z = torch.cat([z, cut], 1)
        return self._mine(z)

    def randoms(self) -> Tensor:
        """Uniform numbers for two augmentations, [2, n, RANDOMS]."""
        return self._mine(torch.rand(2, self.options.batch, RANDOMS, generator=self.random), 1)

    def _mine(self, drawn: Tensor, axis: int = 0) -> Tensor:
        """This process's part of a batch: every k-th, so that deviation groups stay complete."""
        indices = torch.arange(self.rank, drawn.shape[axis], self.processes)
        return drawn.index_select(axis, indices).to(self.device)
