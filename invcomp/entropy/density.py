"""The Laplace mixture as a density: bits with a gradient, and the integer tables.

Each coordinate k has a mixture of two Laplace densities with the scales b_k and `tail_ratio` b_k.
The second one models the tails of real images, which prior samples do not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .mixture import LaplaceMixture, PriorShape
from .model import Density
from .tables import PriorTables, frequencies_from_probabilities

LARGEST = 24  # larger integers are coded with the escape symbol
FLOOR = 2.0**-24  # the least probability in a table
ACTIVE = 0.15  # prior scale, in units of q_step, below which a coordinate stays zero


def probability(x: Tensor, scale: Tensor, shape: PriorShape) -> Tensor:
    """Mass of [x - 1/2, x + 1/2]; x and `scale`, b_k, are in units of q_step."""
    narrow = _laplace_interval(x, scale)
    wide = _laplace_interval(x, scale * shape.tail_ratio)
    return (1 - shape.tail_weight) * narrow + shape.tail_weight * wide


def bits_of(x: Tensor, scale: Tensor, shape: PriorShape) -> Tensor:
    """Code length in bits of x, in units of q_step, elementwise. x need not be an integer."""
    return -(probability(x, scale, shape) + FLOOR).log2()


@dataclass(frozen=True)
class PriorScales:
    """The prior scale b of every coordinate at any step index, equal to the tables', in float.

    Attributes:
        indices: scale indices at step index 0, int64 [K].
        slopes: increase of the indices with each step index, in 256ths, int64 [K].
    """

    indices: Tensor
    slopes: Tensor

    @classmethod
    def of(cls, tables: PriorTables, device: torch.device | str = "cpu") -> PriorScales:
        """The scales of tables."""
        slopes = np.zeros_like(tables.scales) if tables.slopes is None else tables.slopes
        return cls(*(torch.from_numpy(part).long().to(device) for part in (tables.scales, slopes)))

    def at(self, step_index: int) -> Tensor:
        """b_k at q_step 2^(-step_index / 16), [K]."""
        rise = torch.div(self.slopes * step_index, 256, rounding_mode="floor")
        return torch.pow(2.0, (self.indices + rise).float() / 16)


class MixtureDensity(Density):
    """A Laplace mixture between integers.

    Args:
        mixture: the entropy model.
        device: of its tensors.
    """

    def __init__(self, mixture: LaplaceMixture, device: torch.device | str = "cpu") -> None:
        self.scales, self.shape = PriorScales.of(mixture.tables, device), mixture.shape
        self._ratios: dict[int, Tensor] = {}  # by step index, because every iteration asks

    def ratios(self, step_index: int) -> Tensor:
        """b_k in units of q_step, [K]."""
        if step_index not in self._ratios:
            scales = self.scales.at(step_index)
            self._ratios[step_index] = scales / scales.new_tensor([q_step_of(step_index)])
        return self._ratios[step_index]

    def bits(self, scaled: Tensor, step_indices: Sequence[int]) -> Tensor:
        """Code length in bits, [N, k]; see `Density`."""
        ratios = torch.stack([self.ratios(index) for index in step_indices])
        return bits_of(scaled, ratios[:, : scaled.shape[1]], self.shape)

    def active(self, step_index: int) -> int:
        """Number of leading coordinates up to the last whose scale is over ACTIVE q_step."""
        reaching = (self.ratios(step_index) > ACTIVE).nonzero()
        return int(reaching[-1]) + 1 if len(reaching) else 1


def _laplace_interval(x: Tensor, scale: Tensor) -> Tensor:
    distance = x.abs()
    outer = 0.5 * torch.exp(-(distance - 0.5).clamp_min(0) / scale) * -torch.expm1(-1 / scale)
    inner = 1 - 0.5 * (
        torch.exp(-(distance + 0.5) / scale) + torch.exp(-(0.5 - distance).clamp_min(0) / scale)
    )
    return torch.where(distance > 0.5, outer, inner)


def q_step_of(step_index: float) -> float:
    """The q_step of a step index: 2^(-step_index/16)."""
    return float(2.0 ** (-step_index / 16))


def step_index_of(q_step: float) -> int:
    """The step index with the q_step closest to this one."""
    return int(np.clip(round(-16 * np.log2(q_step)), 0, 255))


def make_mixture(
    scales: NDArray[np.int16],
    shape: PriorShape,
    classes: int = 1,
    slopes: NDArray[np.int16] | None = None,
) -> LaplaceMixture:
    """A mixture with its integer tables: one row for each quarter octave of scale over q_step.

    Args:
        scales: log2 of every b_k in sixteenths of an octave, at step index 0, [K].
        shape: of the mixture.
        classes: of the generator; 1 if it has none.
        slopes: of the scales, see `PriorTables`.
    """
    first, stride = -96, 4
    ratios = torch.arange(first, 112 + 1, stride, dtype=torch.float64)
    scale = torch.pow(2.0, ratios / 16)[:, None]  # [T, 1]
    symbols = torch.arange(-LARGEST, LARGEST + 1, dtype=torch.float64)[None]
    inside = probability(symbols, scale, shape)  # [T, 2 * LARGEST + 1]
    escape = (1 - inside.sum(1, keepdim=True)).clamp_min(FLOOR)
    frequencies = frequencies_from_probabilities(torch.cat([inside, escape], 1).numpy())
    tables = PriorTables(frequencies, first, stride, scales, classes, slopes)
    return LaplaceMixture(tables, shape)
