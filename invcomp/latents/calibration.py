"""Fits the prior of the coordinates to what real photographs were coded as."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .rate import PriorShape, step_of

Coded = tuple[int, Tensor]  # a step index and the integers found at that step, int [K]

SHAPES = [PriorShape(0.0, 1.0)] + [
    PriorShape(weight, ratio) for weight in (0.01, 0.03, 0.1, 0.3) for ratio in (2.0, 3.0, 4.0)
]
REACH = 48  # sixteenths of an octave that a scale may lie under or over its start


def provisional_scales(deviations: Tensor) -> Tensor:
    """Scale indices of Laplace densities with 1.5 times the prior's deviations, int16 [K].

    Real photographs lie further out than prior samples; 1.5 only serves to code the first of them.
    """
    return (16 * (1.5 * deviations / 2**0.5).log2()).round().to(torch.int16)


def fit_prior(coded: Sequence[Coded], start: Tensor) -> tuple[Tensor, PriorShape]:
    """The scales and the shape that code these photographs in the fewest bits.

    A coordinate's scale is fitted on a window of its neighbours in the order of weight, a quarter
    of its index to either side: few photographs suffice, and no coordinate is fitted to one.

    Args:
        coded: photographs of the domain as they were coded.
        start: scale indices to look around, int16 [K].

    Returns:
        Scale indices, int16 [K], and the shape.
    """
    offsets = torch.arange(-REACH, REACH + 1, 2)
    best: tuple[float, Tensor, PriorShape] | None = None
    for shape in SHAPES:
        bits = _bits(coded, start, shape, offsets)  # [A, K]
        windowed = torch.from_numpy(_window_sums(bits.numpy()))
        chosen = windowed.argmin(0)  # [K]
        total = float(bits.gather(0, chosen[None]).sum())
        if best is None or total < best[0]:
            best = total, (start + offsets[chosen]).to(torch.int16), shape
    assert best is not None
    return best[1], best[2]


def _bits(coded: Sequence[Coded], start: Tensor, shape: PriorShape, offsets: Tensor) -> Tensor:
    """Bits of every coordinate over all photographs for every offset of its scale, [A, K]."""
    total = torch.zeros(len(offsets), len(start), dtype=torch.float64)
    for step_index, integers in coded:
        scales = torch.pow(2.0, (start[None] + offsets[:, None]).double() / 16)
        total += shape.bits(integers.double()[None], scales / step_of(step_index))
    return total


def _window_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over each column's window of neighbours, [A, K]."""
    count = values.shape[1]
    sums = np.concatenate([np.zeros((len(values), 1)), values.cumsum(1)], 1)
    index = np.arange(count)
    reach = 4 + index // 4
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, count)
    result: NDArray[np.float64] = (sums[:, high] - sums[:, low]) / (high - low)
    return result
