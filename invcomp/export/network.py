"""A bundle's decoder as one torch module: integers of a file in, an image out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..bundle import Bundle
from ..entropy.density import q_step_of
from ..entropy.model import STEP_INDICES
from ..generators.base import NO_OFFSETS
from .streamlined import streamlined


class IntegersToImage(nn.Module):
    """Integers of one file to its image in the generator's frame.

    What the range decoder finds goes in as it is, so that whoever runs the network does no
    arithmetic. The q_step comes from a table, because a power is rounded differently elsewhere.

    Args:
        bundle: generator, coordinates and detail.
        fast: makes the image in fewer passes, see `streamlined`; it is rounded differently.
    """

    q_steps: Tensor

    def __init__(self, bundle: Bundle, fast: bool = False) -> None:
        super().__init__()
        self.generator = streamlined(bundle.generator) if fast else bundle.generator
        self.coordinates = bundle.coordinates
        self.classes = self.coordinates.classes
        self.maps = () if bundle.detail is None else bundle.detail.maps
        steps = [np.float32(q_step_of(index)) for index in range(STEP_INDICES)]
        self.register_buffer("q_steps", torch.from_numpy(np.array(steps)))

    def inputs(self) -> dict[str, Tensor]:
        """Examples of all inputs by name, zeros: what each is, see `forward`."""
        found = {"integers": torch.zeros(1, self.coordinates.count, dtype=torch.int32)}
        found["step_index"] = torch.zeros(1, dtype=torch.int32)
        if self.classes > 1:
            found["class_index"] = torch.zeros(1, dtype=torch.int32)
        for each in self.maps:
            shape = (1, each.shape.channels, each.shape.size, each.shape.size)
            found[f"detail_{each.shape.size}"] = torch.zeros(shape, dtype=torch.int32)
        return found

    def forward(self, integers: Tensor, step_index: Tensor, *others: Tensor) -> Tensor:
        """The image, uint8 [R, R, 3]: rows, columns, RGB.

        Args:
            integers: of the coordinates, int32 [1, K].
            step_index: s of the file, int32 [1].
            others: the class, int32 [1], if the bundle has classes; then the integers of the detail
                for each map of the bundle's, coarsest first, int32 [1, channels, size, size].
        """
        q_step = self.q_steps[step_index.long()]  # [1]
        details = list(others)
        classes = details.pop(0).long() if self.classes > 1 else None
        latents = self.coordinates.latents(integers.float() * q_step, classes)
        offsets = {
            each.shape.size: each.offset(found.float() * q_step)
            for each, found in zip(self.maps, details, strict=True)
        } or NO_OFFSETS
        taken = () if offsets is NO_OFFSETS else (offsets,)  # a generator may take none
        image = self.generator(latents, *taken)[0]  # [3, R, R]
        values: Tensor = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return values.permute(1, 2, 0)
