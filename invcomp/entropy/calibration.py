"""Fits a Laplace mixture to the integers of real images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .density import PriorScales, bits_of, make_mixture, q_step_of
from .mixture import LaplaceMixture, PriorShape

Coded = tuple[int, Tensor]  # a step index and the integers found at it, int [K]

SHAPES = [PriorShape(0.0, 1.0)] + [
    PriorShape(weight, ratio) for weight in (0.01, 0.03, 0.1, 0.3) for ratio in (2.0, 3.0, 4.0)
]
SLOPES = tuple(range(-64, 289, 32))  # from -1/4 to 1 1/8 of a scale index
REACH = 48  # largest change of a scale, in sixteenths of an octave


def provisional_scales(deviations: Tensor) -> Tensor:
    """Scale indices of Laplace densities with 1.5 times the prior's deviations, int16 [K].

    Coordinates of real images are larger than those of prior samples. The first images are coded
    with these scales.
    """
    return (16 * (1.5 * deviations / 2**0.5).log2()).round().to(torch.int16)


def provisional_mixture(deviations: Tensor, classes: int = 1) -> LaplaceMixture:
    """The mixture that the first images are coded with, from prior deviations [K]."""
    return make_mixture(provisional_scales(deviations).numpy(), PriorShape(), classes)


def fit_mixture(coded: Sequence[Coded], start: Tensor, classes: int = 1) -> LaplaceMixture:
    """The scales, their slopes and the shape that code these images in the fewest bits.

    With a small q_step, bits weigh less in the search, so coordinates become larger. The slopes
    model this. They are fitted if the images were coded at different step indices.

    The scale of a coordinate is fitted on a window of its neighbours, a quarter of its index to
    either side. So few images are enough, and no coordinate is fitted to a single image.

    Args:
        coded: step indices and integers of images of the domain.
        start: scale indices around which to search, int16 [K].
        classes: of the generator; 1 if it has none.
    """
    step_indices = {step_index for step_index, _ in coded}
    pivot = round(sum(step_indices) / len(step_indices))  # where a slope has no effect
    slopes = torch.tensor(SLOPES if len(step_indices) > 1 else (0,))
    offsets = torch.arange(-REACH, REACH + 1, 2)
    tried = torch.cartesian_prod(offsets, slopes)  # [A, 2]
    best: tuple[float, Tensor, PriorShape] | None = None
    for shape in SHAPES:
        bits = _bits(coded, start.long() - pivot * tried[:, 1:] // 256, shape, tried)  # [A, K]
        chosen = torch.from_numpy(_window_sums(bits.numpy())).argmin(0)  # [K]
        total = float(bits.gather(0, chosen[None]).sum())
        if best is None or total < best[0]:
            best = total, tried[chosen], shape
    assert best is not None
    _, found, shape = best
    offset, slope = found.unbind(1)
    scales = (start + offset - pivot * slope // 256).to(torch.int16).numpy()
    sloped = slope.to(torch.int16).numpy() if len(step_indices) > 1 else None
    return make_mixture(scales, shape, classes, sloped)


def _bits(coded: Sequence[Coded], start: Tensor, shape: PriorShape, tried: Tensor) -> Tensor:
    """Bits of every coordinate over all images for every offset and slope, [A, K].

    Args:
        coded: the images.
        start: scale indices at step index 0 without an offset, by slope, [A, K].
        shape: of the prior.
        tried: offsets and slopes, [A, 2].
    """
    total = torch.zeros(start.shape, dtype=torch.float64)
    offsets, slopes = tried[:, :1], tried[:, 1:]
    for step_index, integers in coded:
        scales = PriorScales(start + offsets, slopes).at(step_index).double()
        total += bits_of(integers.double()[None], scales / q_step_of(step_index), shape)
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
