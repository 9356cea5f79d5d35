"""The integer frequency tables that encoder and decoder share."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BitstreamError, BundleError, OptionError
from ..stored import array
from .model import STEP_INDICES

PRECISION = 24  # bits; constriction's Categorical models have this precision
TOTAL = 1 << PRECISION
LARGEST_INTEGER = 2**31 - 1  # absolute value of a coordinate, which decodes to int32
MAX_SEGMENTS = 8  # of a file of version 1; the count had three bits
MAX_CLASSES = 1 << 16
LARGEST_WEIGHTS = 1 << 22  # of all integers that are decoded at once, which have a row each


@dataclass(frozen=True, eq=False)
class PriorTables:
    """The prior of every coordinate as integers. It is a part of the bundle.

    A coordinate with prior scale 2^(a/16), coded with q_step 2^(-s/16), has the ratio index a + s:
    the log2 of scale over q_step in sixteenths of an octave. Row t of `frequencies` is the table
    for ratio index `first_ratio + t * ratio_stride`; other ratios use the closest row. With a
    small q_step coordinates become larger, so a rises with s by a slope.

    Args:
        frequencies: `[T, 2M + 2]`, the frequencies of the integers -M..M and, last, of the
            escape, which precedes an integer larger than M. Entries are >= 1, rows sum to 2^24.
        first_ratio: ratio index of row 0.
        ratio_stride: ratio indices from one row to the next, >= 1.
        scales: `[K]`, the scale index a of every coordinate.
        classes: C, 1 to 65536, of a class-conditional generator. If it is over 1, a payload begins
            with the class. All classes are equally likely.
        slopes: `[K]`, the increase of every a with each step index, in 256ths. `scales` then has
            the a of step index 0. None: all are 0.
        segment_ends: coordinate counts at which the segments of files of version 1 end, increasing;
            the last is K. Empty: such files have one segment.

    Raises:
        BundleError: the parts do not fit together.
    """

    frequencies: NDArray[np.uint32]
    first_ratio: int
    ratio_stride: int
    scales: NDArray[np.int16]
    classes: int = 1
    slopes: NDArray[np.int16] | None = None
    segment_ends: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        shape = self.frequencies.shape
        ends = self.segment_ends
        if self.frequencies.dtype != np.uint32 or len(shape) != 2 or shape[0] < 1:
            raise BundleError("prior tables: the frequencies are not a uint32 matrix")
        if shape[1] < 2 or shape[1] % 2:
            raise BundleError(f"prior tables: {shape[1]} columns, not two or a larger even number")
        if self.frequencies.min() < 1 or (self.frequencies.sum(1, dtype=np.uint64) != TOTAL).any():
            raise BundleError("prior tables: a row has a zero or does not sum to 2^24")
        if self.ratio_stride < 1:
            raise BundleError(f"prior tables: ratio stride {self.ratio_stride} is under 1")
        if self.scales.dtype != np.int16 or self.scales.ndim != 1:
            raise BundleError("prior tables: the scales are not an int16 vector")
        if self.slopes is not None and (
            self.slopes.dtype != np.int16 or self.slopes.shape != self.scales.shape
        ):
            raise BundleError("prior tables: the slopes are not as many int16 as the scales")
        if ends and (len(ends) > MAX_SEGMENTS or ends[-1] != len(self.scales)):
            raise BundleError(
                f"prior tables: segment ends {ends} do not make 1 to {MAX_SEGMENTS} segments"
                f" of {len(self.scales)} coordinates"
            )
        if any(end <= start for start, end in pairwise((0, *ends))):
            raise BundleError(f"prior tables: segment ends {ends} do not increase")
        if len(self.scales) > LARGEST_WEIGHTS // shape[1]:
            raise BundleError(
                f"prior tables: {len(self.scales)} coordinates with {shape[1]} columns each"
            )
        if not 1 <= self.classes <= MAX_CLASSES:
            raise BundleError(f"prior tables: {self.classes} classes are not 1 to {MAX_CLASSES}")

    @classmethod
    def of(
        cls, arrays: Mapping[str, NDArray[Any]], prefix: str, classes: int = 1
    ) -> tuple["PriorTables", list[int]]:
        """Tables that a bundle stores under names with a prefix.

        Returns:
            The tables, without segments, and the other numbers of their layout.

        Raises:
            BundleError, KeyError, ValueError: they do not fit together, or one is missing.
        """
        layout = array(arrays[f"{prefix}.layout"], "layout", "int32", None).tolist()
        frequencies = array(arrays[f"{prefix}.frequencies"], "frequencies", "int32", None, None)
        if frequencies.min() < 1:
            raise BundleError("prior tables: a frequency is under 1")
        first_ratio, ratio_stride, *others = layout
        own = arrays[f"{prefix}.scales"], classes, arrays.get(f"{prefix}.slopes")
        return cls(frequencies.astype(np.uint32), first_ratio, ratio_stride, *own), others

    @property
    def largest(self) -> int:
        """M, the largest integer with its own frequency. Larger ones are coded with the escape."""
        return int(self.frequencies.shape[1]) // 2 - 1

    @property
    def segments(self) -> tuple[slice, ...]:
        """The coordinates of every segment of a file of version 1."""
        ends = self.segment_ends or (len(self.scales),)
        return tuple(map(slice, (0, *ends[:-1]), ends))

    def parts(self, count: int) -> tuple[slice, ...]:
        """The coordinates of each payload of a file: of its segments, or all in one.

        Raises:
            BitstreamError: the number of segments does not fit these tables.
        """
        if count == 1:
            return (slice(0, len(self.scales)),)
        if count != len(self.segments):
            raise BitstreamError(f"altered: {count} segments, its bundle has {len(self.segments)}")
        return self.segments

    @property
    def class_bits(self) -> float:
        """Ideal code length of a class in bits; 0 if there is only one."""
        return float(PRECISION - np.log2(TOTAL // self.classes))

    def scales_at(self, step_index: int) -> NDArray[np.int64]:
        """Scale index a of every coordinate, `[K]`, at q_step 2^(-step_index / 16).

        Raises:
            OptionError: the step index is not in 0..255.
        """
        if not 0 <= step_index < STEP_INDICES:
            raise OptionError(f"step index {step_index} is not in 0..{STEP_INDICES - 1}")
        scales = self.scales.astype(np.int64)
        if self.slopes is None:
            return scales
        return scales + self.slopes.astype(np.int64) * step_index // 256

    def rows(self, step_index: int) -> NDArray[np.int64]:
        """Table row of every coordinate, `[K]`, at q_step 2^(-step_index / 16).

        Raises:
            OptionError: the step index is not in 0..255.
        """
        return self.rows_of(self.scales_at(step_index) + step_index)

    def rows_of(self, ratios: NDArray[np.int64]) -> NDArray[np.int64]:
        """Table rows of ratio indices."""
        nearest = (ratios - self.first_ratio + self.ratio_stride // 2) // self.ratio_stride
        return np.clip(nearest, 0, len(self.frequencies) - 1)

    def code_length(
        self, integers: NDArray[np.integer[Any]], step_index: int
    ) -> NDArray[np.float64]:
        """Ideal code length of every integer in bits, `[K]`, its escape code included.

        Args:
            integers: `[K]`, the quantised coordinates.
            step_index: in 0..255.
        """
        return self.bits_at(integers, self.rows(step_index))

    def bits_at(
        self, integers: NDArray[np.integer[Any]], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Ideal code length of every integer in bits, by its table row."""
        values = integers.astype(np.int64)
        magnitude = np.abs(values)
        escaped = magnitude > self.largest
        columns = np.where(escaped, -1, values + self.largest)
        bits = PRECISION - np.log2(self.frequencies[rows, columns])
        suffix = np.frexp(np.maximum(magnitude - self.largest, 1))[1] - 1
        return np.asarray(bits + escaped * (2 * suffix + 2), dtype=np.float64)


def frequencies_from_probabilities(probabilities: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Rounds every row of probabilities to integers >= 1 that sum to exactly 2^24.

    Every symbol gets 1. The rest is shared in proportion, rounded down. What is left goes to the
    largest remainders; ties go to the lower column.

    Args:
        probabilities: `[T, n]`, finite and >= 0; a row need not sum to 1.

    Returns:
        `[T, n]` frequencies.

    Raises:
        ValueError: a row is negative somewhere, not finite, or all zero.
    """
    total = probabilities.sum(1, keepdims=True)
    if (probabilities < 0).any() or not np.isfinite(total).all() or (total <= 0).any():
        raise ValueError("probabilities must be finite, >= 0 and not all zero in a row")
    columns = probabilities.shape[1]
    share = probabilities / total * (TOTAL - columns)
    frequencies = np.floor(share).astype(np.int64)
    missing = TOTAL - columns - frequencies.sum(1, keepdims=True)
    rank = np.argsort(np.argsort(frequencies - share, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(frequencies + (rank < missing) + 1, dtype=np.uint32)
