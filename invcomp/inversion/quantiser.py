"""Coordinates to a file of at most so many bytes: rounding, and leaving off what matters least."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..bitstream import encode
from ..entropy.density import step_of
from ..entropy.tables import PriorTables
from ..quality import FINEST

FILL = 0.93  # of the bytes that a file may take shall be used


class Place(NamedTuple):
    """Where a search stands with one image.

    Attributes:
        coordinates: before they are rounded, [K].
        class_index: of a class-conditional generator, else 0.
    """

    coordinates: NDArray[np.float64]
    class_index: int


@dataclass(frozen=True)
class Quantiser:
    """Makes the files of one image.

    Attributes:
        tables: the bundle's.
        fingerprint: the first 4 bytes of the bundle's.
        original_size: (width, height) in pixels, None where it is the generator's own.
    """

    tables: PriorTables
    fingerprint: bytes
    original_size: tuple[int, int] | None = None

    @property
    def least(self) -> int:
        """Bytes that hold any class with all coordinates at zero."""
        zeros = np.zeros(len(self.tables.scales), dtype=np.int64)
        bits = 0.0
        if self.tables.classes > 1:
            bits = self.tables.class_bits + float(self.tables.code_length(zeros, 0).sum())
        return len(self.encode(zeros, 0, 0)) + math.ceil(bits / 8)

    def file(self, place: Place, step_index: int) -> bytes:
        """The file with every coordinate rounded to the nearest step."""
        integers = np.rint(place.coordinates / step_of(step_index)).astype(np.int64)
        return self.encode(integers, step_index, place.class_index)

    def encode(self, integers: NDArray[Any], step_index: int, class_index: int = 0) -> bytes:
        """The file of integers [K]."""
        fixed = self.tables, self.fingerprint, self.original_size
        return encode(integers, step_index, *fixed, class_index)

    def index_for(self, place: Place, size: float) -> int:
        """The finest step index, 0 to FINEST, at which the file has at most so many bytes."""
        low, high = 0, FINEST
        while low < high:
            middle = (low + high + 1) // 2
            if len(self.file(place, middle)) <= size:
                low = middle
            else:
                high = middle - 1
        return low

    def filling(self, place: Place, step_index: int, limit: int) -> bytes:
        """A file of at most `limit` bytes, and of FILL of them where any step can use them.

        That of the given step, if it is such; else the one nearest to the place among those of
        coarser and finer steps, trimmed.

        Args:
            place: of the image.
            step_index: that the search adapted to.
            limit: in bytes, `least` or more.
        """
        given = self.file(place, step_index)
        if FILL * limit <= len(given) <= limit:
            return given
        found: list[tuple[bool, float, bytes]] = []
        for index in range(min(step_index, self.index_for(place, limit)), FINEST + 1):
            plain = len(self.file(place, index))
            if plain < FILL * limit and index < FINEST:
                continue
            data, distance = self._trimmed(place, index, limit)
            found.append((len(data) < FILL * limit, distance, data))
            # trimming so much costs more than a coarser step does
            if plain > (2 * limit if found[-1][0] else (2 - FILL) * limit):
                break
        return min(found)[2]

    def trimmed(self, place: Place, step_index: int, limit: int) -> bytes:
        """The file, its least valuable integers brought nearer to zero until it fits in `limit`.

        Distance in coordinates is distortion to first order, so what a move costs is known
        without the generator: those go first that cost the least for every bit they save.
        """
        return self._trimmed(place, step_index, limit)[0]

    def _trimmed(self, place: Place, step_index: int, limit: int) -> tuple[bytes, float]:
        """The trimmed file, and the squared distance of its coordinates from the place."""
        step = step_of(step_index)
        steps = place.coordinates / step
        integers = np.rint(steps).astype(np.int64)
        while len(data := self.encode(integers, step_index, place.class_index)) > limit:
            if not integers.any():
                data = self.encode(integers, 0, place.class_index)
                break
            # a few at a time, as each changes what the next one is worth; and no more than is
            # sure, as the last byte of what is too much may hold a single bit
            self._trim(steps, integers, step_index, min(8 * (len(data) - limit) - 7, 9))
        return data, step**2 * float(np.square(steps - integers).sum())

    def _trim(
        self,
        steps: NDArray[np.float64],
        integers: NDArray[np.int64],
        step_index: int,
        bits: int,
    ) -> None:
        """Brings integers one nearer to zero, as many as save so many bits, or all of them."""
        smaller = integers - np.sign(integers)
        lengths = (self.tables.code_length(values, step_index) for values in (integers, smaller))
        saved = np.maximum(np.subtract(*lengths), 1e-6)
        cost = np.square(steps - smaller) - np.square(steps - integers)
        nonzero = np.flatnonzero(integers)
        order = nonzero[np.argsort((cost / saved)[nonzero])]
        count = int(np.searchsorted(saved[order].cumsum(), bits)) + 1
        integers[order[:count]] = smaller[order[:count]]
