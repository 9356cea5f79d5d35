"""From coordinates to a file with a limited number of bytes, by rounding and trimming."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..bitstream import DETAIL, Layer, encode
from ..entropy.density import q_step_of
from ..entropy.model import EntropyModel
from ..latents.detail import Detail
from ..quality import FINEST
from .detail import integers_of

FILL = 0.93  # least fraction of the allowed bytes that a file should use


class Optimum(NamedTuple):
    """What a search has found for one image.

    Attributes:
        coordinates: before rounding, [K]; the coefficients of the detail follow, if it was searched
            for, [K + M].
        class_index: of a class-conditional generator, else 0.
    """

    coordinates: NDArray[np.float64]
    class_index: int


@dataclass(frozen=True)
class Quantiser:
    """Makes the files of one image.

    Attributes:
        entropy: the bundle's model.
        fingerprint: the first 4 bytes of the bundle's.
        original_size: (width, height) in pixels; None: the generator's own size.
        padded: whether the original was padded to the generator's square.
        detail: of the bundle; None: it has none.
    """

    entropy: EntropyModel
    fingerprint: bytes
    original_size: tuple[int, int] | None = None
    padded: bool = False
    detail: Detail | None = None

    @property
    def least(self) -> int:
        """Size in bytes that is enough for any class with all coordinates at zero."""
        zeros = np.zeros(self.entropy.count, dtype=np.int64)
        bits = 0.0
        if self.entropy.classes > 1:
            bits = self.entropy.class_bits + float(self.entropy.code_length(zeros, 0).sum())
        return len(self.encode(zeros, 0, 0)) + math.ceil(bits / 8)

    def file(self, optimum: Optimum, step_index: int) -> bytes:
        """The file with every coordinate rounded to the nearest multiple of q_step.

        Coefficients of the detail have a dead zone.
        """
        scaled = optimum.coordinates / q_step_of(step_index)
        return self.encode(self.rounded(scaled), step_index, optimum.class_index)

    def rounded(self, scaled: NDArray[Any]) -> NDArray[np.int64]:
        """The integers of coordinates in units of q_step, and of the coefficients after them."""
        coordinates, coefficients = np.split(scaled, [self.entropy.count])
        return np.concatenate([np.rint(coordinates).astype(np.int64), integers_of(coefficients)])

    def encode(self, integers: NDArray[Any], step_index: int, class_index: int = 0) -> bytes:
        """The file of integers [K], or [K + M] with those of the detail."""
        coordinates, coefficients = np.split(integers, [self.entropy.count])
        layers = []
        if self.detail is not None and coefficients.any():
            payload = self.detail.model.encode(coefficients, step_index)
            layers.append(Layer(DETAIL, self.detail.pack(payload)))
        fixed = self.entropy, self.fingerprint, self.original_size
        return encode(coordinates, step_index, *fixed, class_index, self.padded, layers)

    def index_for(self, optimum: Optimum, size: float) -> int:
        """The largest step index, 0 to FINEST, at which the file has at most `size` bytes."""
        low, high = 0, FINEST
        while low < high:
            middle = (low + high + 1) // 2
            if len(self.file(optimum, middle)) <= size:
                low = middle
            else:
                high = middle - 1
        return low

    def filling(self, optimum: Optimum, step_index: int, limit: int) -> bytes:
        """A file of at most `limit` bytes that uses FILL of them if any q_step can.

        It is the file at the given step index if that fits. Else files at other step indices are
        trimmed, and the one with the coordinates closest to the optimum is taken.

        Args:
            optimum: of the image.
            step_index: that the search ended with.
            limit: in bytes, `least` or more.
        """
        given = self.file(optimum, step_index)
        if FILL * limit <= len(given) <= limit:
            return given
        found: list[tuple[bool, float, bytes]] = []
        for index in range(min(step_index, self.index_for(optimum, limit)), FINEST + 1):
            plain = len(self.file(optimum, index))
            if plain < FILL * limit and index < FINEST:
                continue
            data, distance = self._trimmed(optimum, index, limit)
            found.append((len(data) < FILL * limit, distance, data))
            # trimming this much costs more than a larger q_step does
            if plain > (2 * limit if found[-1][0] else (2 - FILL) * limit):
                break
        return min(found)[2]

    def trimmed(self, optimum: Optimum, step_index: int, limit: int) -> bytes:
        """The file with integers moved towards zero until it has at most `limit` bytes.

        Squared distance in coordinates is distortion to first order, so the cost of a move is known
        without the generator. The moves that cost least for every bit saved are made first.
        """
        return self._trimmed(optimum, step_index, limit)[0]

    def _trimmed(self, optimum: Optimum, step_index: int, limit: int) -> tuple[bytes, float]:
        """The trimmed file, and the squared distance between its coordinates and the optimum."""
        q_step = q_step_of(step_index)
        scaled = optimum.coordinates / q_step
        integers, coordinates = self.rounded(scaled), self.entropy.count
        while len(data := self.encode(integers, step_index, optimum.class_index)) > limit:
            if not integers.any():
                data = self.encode(integers, 0, optimum.class_index)
                break
            # a few at a time, because each move changes the value of the others; and only the bits
            # that are certainly too many: the last byte may hold a single bit
            excess = 8 * (len(data) - limit) - 7
            most = 9 if len(integers) == coordinates else max(9, excess // 2)
            self._trim(scaled, integers, step_index, min(excess, most))
        return data, q_step**2 * float(np.square(scaled - integers).sum())

    def _trim(
        self,
        scaled: NDArray[np.float64],
        integers: NDArray[np.int64],
        step_index: int,
        bits: int,
    ) -> None:
        """Moves integers one step towards zero: as many as save this many bits, at most all."""
        smaller = integers - np.sign(integers)
        (first, more), (first_smaller, more_smaller) = (
            np.split(values, [self.entropy.count]) for values in (integers, smaller)
        )
        length = self.entropy.code_length
        saved = length(first, step_index) - length(first_smaller, step_index)
        if self.detail is not None and len(more):
            bits_saved = self.detail.model.saved(more, more_smaller, step_index)
            saved = np.concatenate([saved, bits_saved])
        saved = np.maximum(saved, 1e-6)
        cost = np.square(scaled - smaller) - np.square(scaled - integers)
        nonzero = np.flatnonzero(integers)
        order = nonzero[np.argsort((cost / saved)[nonzero])]
        count = int(np.searchsorted(saved[order].cumsum(), bits)) + 1
        integers[order[:count]] = smaller[order[:count]]
