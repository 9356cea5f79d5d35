"""Fits the entropy model of the detail to the integers of real images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .density import LARGEST
from .detail import CONTEXTS, DetailModel, Integers, MapShape, Surroundings
from .tables import PriorTables, frequencies_from_probabilities

Coded = tuple[int, Integers]  # a step index and the integers found at it, flat


@dataclass(frozen=True)
class Magnitudes:
    """The magnitudes of integers other than zero: two geometric distributions.

    Attributes:
        one: probability of magnitude 1 where others than zero are rarest.
        falling: how much smaller it is where all are other than zero.
        tail: ratio of the probabilities of magnitudes m + 1 and m from 2 on.
    """

    one: float
    falling: float
    tail: float


SHAPES = tuple(
    Magnitudes(one, falling, tail)
    for one in (0.6, 0.7, 0.8, 0.9)
    for falling in (0.1, 0.3, 0.5)
    for tail in (0.4, 0.55, 0.7, 0.8)
)
FIRST, STRIDE = -192, 4  # probabilities from 2^-12 up to 1, by a quarter of an octave
OFFSETS = range(-64, 65, 4)  # tried changes of a channel's scale, in sixteenths of an octave
SLOPES = range(-256, 129, 32)  # of it with the step index, in 256ths
BOOSTS = range(-32, 81, 4)
ROUNDS = 3  # of channels and contexts in turn
LEAST = 8.0  # bits by which a context must gain to have a boost of its own
FIRST_SHAPE = Magnitudes(0.8, 0.3, 0.55)


@dataclass(frozen=True)
class _Channel:
    """All integers of a channel at one step index.

    Attributes:
        index: of the channel.
        step_index: of the images.
        magnitudes: of the integers, at most one more than the tables' largest.
        contexts: flat index of each into the boosts.
    """

    index: int
    step_index: int
    magnitudes: NDArray[np.int64]
    contexts: NDArray[np.int64]


def provisional_detail(shapes: Sequence[MapShape], deviations: torch.Tensor) -> DetailModel:
    """The model that the first images are coded with.

    Args:
        shapes: of the maps, coarsest first.
        deviations: of the coefficients of every channel under the prior, [channels].
    """
    # most coefficients are zero
    scales = (16 * (deviations / 4).log2()).round().to(torch.int16).numpy() - 80
    boosts = np.zeros(CONTEXTS, dtype=np.int16)
    boosts += 16 * np.arange(CONTEXTS[1], dtype=np.int16)[None, :, None, None]
    boosts += 10 * np.arange(CONTEXTS[2], dtype=np.int16)[None, None, :, None]
    return DetailModel(sparse_tables(scales, FIRST_SHAPE), tuple(shapes), boosts)


def fit_detail(coded: Sequence[Coded], start: DetailModel) -> DetailModel:
    """The scales, slopes, boosts and shape that code these images in the fewest bits.

    Contexts do not depend on the model, so every integer belongs to one context, and channels and
    contexts are fitted in turn.

    Args:
        coded: step indices and integers of images of the domain.
        start: whose maps are coded.
    """
    groups = list(_groups(coded, start))
    pivot = round(float(np.mean([step for step, _ in coded])))
    slopes = SLOPES if len({step for step, _ in coded}) > 1 else (0,)
    first = _Fit(groups, start, FIRST_SHAPE, pivot, slopes)
    best = min(SHAPES, key=first.bits_with)
    return _Fit(groups, start, best, pivot, slopes).model()


def _groups(coded: Sequence[Coded], model: DetailModel) -> Iterator[_Channel]:
    """The channels that are not empty, of all images."""
    for step_index, integers in coded:
        around = Surroundings()
        for channel in model.channels():
            values = np.abs(integers[channel.part].astype(np.int64))
            square = values.reshape(channel.size, channel.size)
            around.begin(channel)
            if values.any():
                contexts = np.ravel_multi_index(around.known_contexts(square), CONTEXTS)
                magnitudes = np.minimum(values, model.tables.largest + 1)
                yield _Channel(channel.index, step_index, magnitudes, contexts.ravel())
            around.end(square)


def sparse_tables(
    scales: NDArray[np.int16], shape: Magnitudes, slopes: NDArray[np.int16] | None = None
) -> PriorTables:
    """Tables of integers that are mostly zero.

    A ratio index is here log2 of the probability of an integer other than zero, in sixteenths.

    Args:
        scales: of the channels, at step index 0.
        shape: of the magnitudes.
        slopes: of the scales, see `PriorTables`.
    """
    ratios = np.arange(FIRST, 1, STRIDE)
    nonzero = np.minimum(2.0 ** (ratios / 16), 0.97)[:, None]  # [T, 1]
    one = shape.one - shape.falling * nonzero
    tail = shape.tail ** np.arange(LARGEST)[None]  # of 2, 3, .., LARGEST and all larger
    tail[:, -1] /= 1 - shape.tail
    more = (1 - one) * tail * (1 - shape.tail)
    sides = 0.5 * nonzero * np.concatenate([one, more[:, :-1]], 1)  # of 1..LARGEST
    escape = nonzero * more[:, -1:]
    rows = np.concatenate([sides[:, ::-1], 1 - nonzero, sides, escape], 1)
    return PriorTables(frequencies_from_probabilities(rows), FIRST, STRIDE, scales, slopes=slopes)


class _Fit:
    """A fit with one shape of the mixture."""

    def __init__(
        self,
        groups: Sequence[_Channel],
        start: DetailModel,
        shape: Magnitudes,
        pivot: int,
        slopes: Sequence[int],
    ) -> None:
        self.groups, self.start, self.shape, self.pivot = groups, start, shape, pivot
        self.tables = sparse_tables(start.tables.scales, shape)
        self.lengths = _lengths_of(self.tables)
        self.scales = start.tables.scales_at(pivot)  # at the pivot
        self.slopes = np.zeros(len(self.scales), dtype=np.int64)
        self.boosts = start.boosts.astype(np.int64).ravel()
        for _ in range(ROUNDS):
            self._fit_channels(slopes)
            self._fit_contexts()

    def model(self) -> DetailModel:
        """The fitted model."""
        scales = self.scales - self.slopes * self.pivot // 256
        slopes = self.slopes.astype(np.int16)
        tables = sparse_tables(scales.astype(np.int16), self.shape, slopes)
        boosts = self.boosts.reshape(CONTEXTS).astype(np.int16)
        return DetailModel(tables, self.start.shapes, boosts)

    def bits_with(self, shape: Magnitudes) -> float:
        """Bits of all integers with another shape, but the scales of this fit."""
        lengths = _lengths_of(sparse_tables(self.start.tables.scales, shape))
        return sum(
            float(lengths[self._rows(group), group.magnitudes].sum()) for group in self.groups
        )

    def _ratio(self, group: _Channel) -> int:
        rise = self.slopes[group.index] * (group.step_index - self.pivot) // 256
        return int(self.scales[group.index] + rise) + group.step_index

    def _rows(self, group: _Channel) -> NDArray[np.int64]:
        return self.tables.rows_of(self._ratio(group) + self.boosts[group.contexts])

    def _bits(self, group: _Channel, ratio: int, boost: int | None = None) -> NDArray[np.float64]:
        """Code length of every integer, with its own boost or another one."""
        boosts = self.boosts[group.contexts] if boost is None else np.int64(boost)
        rows = self.tables.rows_of(ratio + np.broadcast_to(boosts, group.magnitudes.shape))
        found: NDArray[np.float64] = self.lengths[rows, group.magnitudes]
        return found

    def _fit_channels(self, slopes: Sequence[int]) -> None:
        tried = [(offset, slope) for offset in OFFSETS for slope in slopes]
        bits = np.zeros((len(self.scales), len(tried)))
        for group in self.groups:
            for column, (offset, slope) in enumerate(tried):
                rise = slope * (group.step_index - self.pivot) // 256
                ratio = int(self.scales[group.index]) + offset + rise + group.step_index
                bits[group.index, column] += self._bits(group, ratio).sum()
        chosen = [tried[column] for column in bits.argmin(1)]
        for index, (offset, slope) in enumerate(chosen):
            if bits[index].any():  # else no image has it
                self.scales[index] += offset
                self.slopes[index] = slope

    def _fit_contexts(self) -> None:
        bits = np.zeros((len(BOOSTS), self.boosts.size))
        now = np.zeros(self.boosts.size)
        for group in self.groups:
            ratio = self._ratio(group)
            np.add.at(now, group.contexts, self._bits(group, ratio))
            for row, boost in enumerate(BOOSTS):
                np.add.at(bits[row], group.contexts, self._bits(group, ratio, boost))
        gains = now - bits.min(0) > LEAST
        self.boosts[gains] = np.array(BOOSTS)[bits.argmin(0)][gains]


def _lengths_of(tables: PriorTables) -> NDArray[np.float64]:
    """Code length in bits of every magnitude 0..M and of the escape, by row, [T, M + 2]."""
    columns = np.arange(tables.largest, 2 * tables.largest + 2)
    return np.asarray(24 - np.log2(tables.frequencies[:, columns].astype(np.float64)))
