"""The entropy model of the detail: integers of inner maps, each with the scale of its context.

A map has channels, strongest first, and a channel has size x size places. Maps are coded from the
coarsest, channels from the strongest. What is coded already decides the scale of an integer: the
same place and its neighbours in stronger channels, the place in coarser maps that contains it, and
its neighbours in its own channel. Places of a channel are coded in two halves, like the squares of
a chessboard, so that those of the second half have four coded neighbours (the checkerboard context
of He et al. 2021, arXiv:2103.15306). All contexts are integers, so symbols are exact.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from .coder import BeginningReader, Reader, Unsettled, Writer, check_shortest
from .tables import LARGEST_WEIGHTS, PriorTables

Integers = NDArray[np.int32]
ADJUSTMENTS = (-8, 0, 8)  # of a channel's scale in one image, in sixteenths of an octave
EMPTY = 0  # the choice of a channel without an integer other than zero; k + 1 is ADJUSTMENTS[k]
CHOICES = len(ADJUSTMENTS) + 1
# thresholds of the three sums of magnitudes that make a context
NEAR, STRONGER, COARSER = (1, 2), (1, 3, 6), (1, 3)
CONTEXTS = (2, len(NEAR) + 1, len(STRONGER) + 1, len(COARSER) + 1)


@dataclass(frozen=True)
class MapShape:
    """Channels and size (places a side) of a coded map."""

    channels: int
    size: int

    @property
    def count(self) -> int:
        """Number of integers."""
        return self.channels * self.size**2


@dataclass(frozen=True)
class Channel:
    """A channel in coding order.

    Attributes:
        index: in the tables' scales.
        part: of the flat integers.
        size: places a side.
        first: whether it is the strongest of its map.
    """

    index: int
    part: slice
    size: int
    first: bool


@dataclass(frozen=True, eq=False)
class DetailModel:
    """A Laplace mixture whose scales depend on channel, q_step and context.

    Args:
        tables: frequencies, and scale and slope of every channel in place of a coordinate.
        shapes: of the maps, coarsest first.
        boosts: int16, shape `CONTEXTS`: what each context adds to the scale index. Its axes are the
            half of the chessboard and the levels of the three sums.

    Raises:
        BundleError: the parts do not fit together.
    """

    tables: PriorTables
    shapes: tuple[MapShape, ...]
    boosts: NDArray[np.int16]

    def __post_init__(self) -> None:
        sizes = [shape.size for shape in self.shapes]
        if self.boosts.shape != CONTEXTS or self.boosts.dtype != np.int16:
            raise BundleError("detail: the boosts do not fit the contexts")
        if sum(shape.channels for shape in self.shapes) != len(self.tables.scales):
            raise BundleError("detail: the scales are not those of the channels")
        if min(sizes, default=0) < 2 or any(b <= a for a, b in pairwise(sizes)):
            raise BundleError(f"detail: maps of {sizes} places are not from coarse to fine")
        if sizes[-1] ** 2 * self.tables.frequencies.shape[1] > 2 * LARGEST_WEIGHTS:
            raise BundleError(f"detail: a map of {sizes[-1]} places a side is too large")

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> DetailModel:
        """The inverse of `arrays`.

        Raises:
            BundleError: they do not fit together.
            KeyError, TypeError, ValueError: they are no model.
        """
        tables, shapes = PriorTables.of(arrays, "detail")
        if len(shapes) % 2 or min(shapes, default=0) < 1:
            raise BundleError(f"detail: maps of {shapes} channels and places")
        pairs = tuple(map(MapShape, shapes[::2], shapes[1::2]))
        return cls(tables, pairs, arrays["detail.boosts"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What coding depends on, by the names in a bundle's file."""
        tables = self.tables
        layout = [
            tables.first_ratio,
            tables.ratio_stride,
            *chain(*((each.channels, each.size) for each in self.shapes)),
        ]
        slopes = np.zeros_like(tables.scales) if tables.slopes is None else tables.slopes
        return {
            "detail.frequencies": tables.frequencies.astype(np.int32),
            "detail.layout": np.array(layout, dtype=np.int32),
            "detail.scales": tables.scales,
            "detail.slopes": slopes,
            "detail.boosts": self.boosts,
        }

    @property
    def count(self) -> int:
        """Number of integers of all maps."""
        return sum(shape.count for shape in self.shapes)

    def channels(self) -> Iterator[Channel]:
        """All channels in coding order."""
        index = start = 0
        for shape in self.shapes:
            for order in range(shape.channels):
                end = start + shape.size**2
                yield Channel(index, slice(start, end), shape.size, order == 0)
                index, start = index + 1, end

    def encode(self, integers: NDArray[np.integer[Any]], step_index: int) -> bytes:
        """The payload of integers `[count]`, flat in coding order. Zeros take no bytes.

        Raises:
            OptionError: the step index is not in 0..255.
            ValueError: the integers have another shape or are out of range.
        """
        if integers.shape != (self.count,):
            raise ValueError(f"integers {integers.shape} do not fit a detail of {self.count}")
        writer, around = Writer(self.tables), Surroundings()
        nonzero = [bool(integers[channel.part].any()) for channel in self.channels()]
        used = len(nonzero) - nonzero[::-1].index(True) if any(nonzero) else 0
        writer.number(used, len(nonzero) + 1)
        for channel, ratio in zip(self.channels(), self._ratios(step_index), strict=True):
            if channel.index == used:
                break
            values = _square(integers, channel)
            around.begin(channel)
            boosts = self._boosts(values, around)
            choice = self._choice(values, ratio, boosts)
            writer.number(choice, CHOICES)
            if choice != EMPTY:
                rows = self._rows(ratio, choice, boosts)
                for half in (0, 1):
                    cells = _cells(channel.size, half)
                    writer.integers(values[cells], rows[cells])
            around.end(np.abs(values))
        return writer.finish()

    def decode(self, payload: bytes, step_index: int, whole: bool = True) -> Integers:
        """The inverse of `encode`.

        Args:
            payload: of a layer.
            step_index: in 0..255.
            whole: False: the payload is the beginning of one. Integers are then zero from the first
                one that it does not determine.

        Raises:
            BitstreamError: `encode` does not write this payload.
        """
        found = np.zeros(self.count, dtype=np.int32)
        if not whole:
            with contextlib.suppress(Unsettled):
                self._read(BeginningReader(payload, self.tables), step_index, found)
            return found
        self._read(Reader(payload, self.tables), step_index, found)
        check_shortest(payload, self.encode(found, step_index))
        return found

    def code_length(
        self, integers: NDArray[np.integer[Any]], step_index: int
    ) -> NDArray[np.float64]:
        """Ideal code length of every integer in bits, `[count]`, with the contexts of `integers`.

        Those of empty channels take none. The choices of the channels are not counted.
        """
        bits, around = np.zeros(self.count), Surroundings()
        for channel, ratio in zip(self.channels(), self._ratios(step_index), strict=True):
            values = _square(integers, channel)
            around.begin(channel)
            if values.any():
                boosts = self._boosts(values, around)
                rows = self._rows(ratio, self._choice(values, ratio, boosts), boosts)
                bits[channel.part] = self.tables.bits_at(values, rows).ravel()
            around.end(np.abs(values))
        return bits

    def saved(
        self,
        integers: NDArray[np.integer[Any]],
        smaller: NDArray[np.integer[Any]],
        step_index: int,
    ) -> NDArray[np.float64]:
        """Bits saved by each of `smaller` in place of `integers`, `[count]`, in equal contexts."""
        saved, around = np.zeros(self.count), Surroundings()
        for channel, ratio in zip(self.channels(), self._ratios(step_index), strict=True):
            around.begin(channel)
            values = _square(integers, channel)
            if values.any():
                boosts = self._boosts(values, around)
                rows = self._rows(ratio, self._choice(values, ratio, boosts), boosts)
                bits = (
                    self.tables.bits_at(each, rows) for each in (values, _square(smaller, channel))
                )
                saved[channel.part] = np.subtract(*bits).ravel()
            around.end(np.abs(values))
        return saved

    def _read(self, reader: Reader, step_index: int, found: Integers) -> None:
        around, total = Surroundings(), len(self.tables.scales)
        used = reader.number(total + 1)
        for channel, ratio in zip(self.channels(), self._ratios(step_index), strict=True):
            if channel.index == used:
                return
            around.begin(channel)
            values = found[channel.part].reshape(channel.size, channel.size)  # a view
            choice = reader.number(CHOICES)
            for half in (0, 1) if choice != EMPTY else ():
                cells = _cells(channel.size, half)
                boosts = self.boosts[around.contexts(half, np.abs(values))]
                rows = self._rows(ratio, choice, boosts)
                read = np.zeros(int(cells.sum()), dtype=np.int32)
                try:
                    reader.integers(rows[cells], read)
                finally:  # what is settled of a beginning
                    values[cells] = read
            around.end(np.abs(values).astype(np.int64))

    def _ratios(self, step_index: int) -> list[int]:
        """Scale index of every channel relative to the q_step."""
        found: list[int] = (self.tables.scales_at(step_index) + step_index).tolist()
        return found

    def _rows(self, ratio: int, choice: int, boosts: NDArray[np.int16]) -> NDArray[np.int64]:
        """Table rows of a channel, [size, size]."""
        return self.tables.rows_of(boosts.astype(np.int64) + ratio + ADJUSTMENTS[choice - 1])

    def _boosts(self, values: NDArray[np.int64], around: Surroundings) -> NDArray[np.int16]:
        """The boost of every place of a channel whose integers are all known, [size, size]."""
        boosts: NDArray[np.int16] = self.boosts[around.known_contexts(np.abs(values))]
        return boosts

    def _choice(self, values: NDArray[np.int64], ratio: int, boosts: NDArray[np.int16]) -> int:
        """The choice that codes a channel in the fewest bits."""
        if not values.any():
            return EMPTY
        lengths = [
            self.tables.bits_at(values, self._rows(ratio, choice, boosts)).sum()
            for choice in range(1, CHOICES)
        ]
        return 1 + int(np.argmin(lengths))


class Surroundings:
    """What is coded around the places of a channel, as sums of magnitudes."""

    def __init__(self) -> None:
        self._sum = self._coarser = np.zeros((0, 0), dtype=np.int64)
        self._maps: list[NDArray[np.int64]] = []  # the sums of the coarser maps

    def begin(self, channel: Channel) -> None:
        """A channel comes next."""
        if not channel.first:
            return
        if self._sum.size:
            self._maps.append(self._sum)
        self._sum = np.zeros((channel.size,) * 2, dtype=np.int64)  # over its stronger channels
        self._coarser = self._sum
        for coarse in self._maps:
            places = np.arange(channel.size) * len(coarse) // channel.size
            self._coarser = self._coarser + coarse[np.ix_(places, places)]

    def end(self, magnitudes: NDArray[np.int64]) -> None:
        """A channel is coded."""
        self._sum = self._sum + magnitudes

    def known_contexts(self, magnitudes: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Indices into the boosts of both halves of a channel whose magnitudes are all known."""
        first = _cells(len(magnitudes), 0)
        halves = (self.contexts(half, magnitudes) for half in (0, 1))
        return tuple(np.where(first, *pair) for pair in zip(*halves, strict=True))

    def contexts(
        self, half: int, magnitudes: NDArray[Any]
    ) -> tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Indices into the boosts, each [size, size].

        Args:
            half: of the chessboard. In the second, the four neighbours are of the first.
            magnitudes: of the channel; only those of the first half count, for the second half.
        """
        near = _around(magnitudes.astype(np.int64)) if half else np.zeros_like(self._sum)
        stronger = 2 * self._sum + _around(self._sum)
        return (
            half,
            np.searchsorted(NEAR, near, "right"),
            np.searchsorted(STRONGER, stronger, "right"),
            np.searchsorted(COARSER, self._coarser, "right"),
        )


def _square(integers: NDArray[np.integer[Any]], channel: Channel) -> NDArray[np.int64]:
    """The integers of a channel, [size, size]."""
    return integers[channel.part].reshape(channel.size, channel.size).astype(np.int64)


def _around(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum over the four neighbours of every place."""
    padded = np.pad(values, 1)
    total: NDArray[np.int64] = (
        padded[1:-1, :-2] + padded[1:-1, 2:] + padded[:-2, 1:-1] + padded[2:, 1:-1]
    )
    return total


def _cells(size: int, half: int) -> NDArray[np.bool_]:
    """The places of one half of the chessboard, [size, size]."""
    rows, columns = np.indices((size, size))
    cells: NDArray[np.bool_] = (rows + columns) % 2 == half
    return cells
