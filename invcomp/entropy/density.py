"""The prior of quantised coordinates as a density: bits with a gradient, and the tables made of it.

Each coordinate k follows a mixture of two Laplace densities, scale b_k and `tail_ratio` b_k: the
second carries what real images have and prior samples lack.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .tables import PriorTables, frequencies_from_probabilities

LARGEST = 24  # integers past this go through the escape
FLOOR = 2.0**-24  # the least probability that a table can hold


@dataclass(frozen=True)
class PriorShape:
    """What all coordinates have in common: how much of the mass is in the wide component."""

    tail_weight: float = 0.1
    tail_ratio: float = 3.0

    def probability(self, x: Tensor, scale: Tensor) -> Tensor:
        """Mass of [x - 1/2, x + 1/2] where `scale` is b_k in units of the step."""
        narrow = _laplace_interval(x, scale)
        wide = _laplace_interval(x, scale * self.tail_ratio)
        return (1 - self.tail_weight) * narrow + self.tail_weight * wide

    def bits(self, x: Tensor, scale: Tensor) -> Tensor:
        """Code length in bits of x (in steps; between integers it interpolates), elementwise."""
        return -(self.probability(x, scale) + FLOOR).log2()


@dataclass(frozen=True)
class PriorScales:
    """The prior scale b of every coordinate at any step, as the tables have it, in float.

    Attributes:
        indices: scale indices at step index 0, int64 [K].
        slopes: by how many 256ths they rise from one step index to the next, int64 [K].
    """

    indices: Tensor
    slopes: Tensor

    @classmethod
    def of(cls, tables: PriorTables, device: torch.device | str = "cpu") -> PriorScales:
        """Those of tables."""
        slopes = np.zeros_like(tables.scales) if tables.slopes is None else tables.slopes
        return cls(*(torch.from_numpy(part).long().to(device) for part in (tables.scales, slopes)))

    def at(self, step_index: int) -> Tensor:
        """b_k for a step 2^(-step_index / 16), [K]."""
        rise = torch.div(self.slopes * step_index, 256, rounding_mode="floor")
        return torch.pow(2.0, (self.indices + rise).float() / 16)


def _laplace_interval(x: Tensor, scale: Tensor) -> Tensor:
    distance = x.abs()
    outer = 0.5 * torch.exp(-(distance - 0.5).clamp_min(0) / scale) * -torch.expm1(-1 / scale)
    inner = 1 - 0.5 * (
        torch.exp(-(distance + 0.5) / scale) + torch.exp(-(0.5 - distance).clamp_min(0) / scale)
    )
    return torch.where(distance > 0.5, outer, inner)


def step_of(step_index: int) -> float:
    """Delta of a step index: 2^(-index/16)."""
    return float(2.0 ** (-step_index / 16))


def step_index_of(step: float) -> int:
    """The step index nearest to a step."""
    return int(np.clip(round(-16 * np.log2(step)), 0, 255))


def make_tables(
    scales: NDArray[np.int16],
    shape: PriorShape,
    classes: int = 1,
    slopes: NDArray[np.int16] | None = None,
) -> PriorTables:
    """Integer tables of a mixture: one row each quarter octave of scale against step.

    Args:
        scales: log2 of every b_k in sixteenths of an octave, at step index 0, [K].
        shape: of the mixture.
        classes: of the generator; 1 where it has none.
        slopes: of the scales, as `PriorTables` has them.
    """
    first, stride = -96, 4
    ratios = torch.arange(first, 112 + 1, stride, dtype=torch.float64)
    scale = torch.pow(2.0, ratios / 16)[:, None]  # [T, 1]
    symbols = torch.arange(-LARGEST, LARGEST + 1, dtype=torch.float64)[None]
    inside = shape.probability(symbols, scale)  # [T, 2 * LARGEST + 1]
    escape = (1 - inside.sum(1, keepdim=True)).clamp_min(FLOOR)
    frequencies = frequencies_from_probabilities(torch.cat([inside, escape], 1).numpy())
    return PriorTables(frequencies, first, stride, scales, classes, slopes)
