"""What an entropy model is: from integers to the bytes of a payload and back, and to their bits.

No symbol depends on floating point, so a payload decodes to the same integers on every machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import BitstreamError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STEP_INDICES = 256


class Decoded(NamedTuple):
    """The contents of a payload.

    Attributes:
        integers: quantised coordinates, `[K]`, zero where nothing was decoded.
        class_index: of a class-conditional generator; 0 if there is one class, or if the class was
            not decoded.
    """

    integers: NDArray[np.int32]
    class_index: int


class EntropyModel(ABC):
    """The probabilities of the integers of one payload, and their code.

    It is a part of the bundle, so encoder and decoder have the same. What the search needs of it,
    bits with a gradient, is its `density`.
    """

    @property
    @abstractmethod
    def count(self) -> int:
        """K, the number of integers in a payload."""

    @property
    def classes(self) -> int:
        """C, the number of classes. If it is over 1, a payload holds a class too."""
        return 1

    @property
    def class_bits(self) -> float:
        """Ideal code length of a class in bits; 0 if there is only one."""
        return 0.0

    @abstractmethod
    def encode(
        self, integers: NDArray[np.integer[Any]], step_index: int, class_index: int = 0
    ) -> bytes:
        """The payload of integers `[K]`. Zeros take no bytes, even with the class 0.

        Args:
            integers: each within +-(2^31 - 1).
            step_index: in 0..255. The integers are in units of q_step = 2^(-step_index / 16).
            class_index: 0 if there is one class; it then takes no bits.

        Raises:
            OptionError: the step index is not in 0..255.
            ValueError: the integers have another shape or are out of range, or the class is.
        """

    @abstractmethod
    def decode(self, payload: bytes, step_index: int, whole: bool = True) -> Decoded:
        """The inverse of `encode`.

        Args:
            payload: of a file.
            step_index: in 0..255.
            whole: False: the payload is the beginning of one. Integers are then zero from the
                first one that it does not determine.

        Raises:
            BitstreamError: `encode` does not write this payload.
        """

    def decode_segments(
        self, segments: Sequence[bytes], count: int, step_index: int, whole: bool = True
    ) -> Decoded:
        """Decodes the segments of a file of version 1, which only the mixture has.

        Args:
            segments: the first of them.
            count: number of segments in the file.
            step_index: in 0..255.
            whole: False: the last one of `segments` is the beginning of a segment.

        Raises:
            BitstreamError: a segment is altered, or the bundle has no such segments.
        """
        raise BitstreamError("altered: its bundle has no files of version 1")

    @abstractmethod
    def code_length(
        self, integers: NDArray[np.integer[Any]], step_index: int
    ) -> NDArray[np.float64]:
        """Ideal code length of every integer of `[K]` in bits, `[K]`, without the class."""

    @abstractmethod
    def density(self, device: torch.device | str = "cpu") -> Density:
        """The same probabilities between integers, on a device."""

    @abstractmethod
    def fitted(self, coded: Sequence[tuple[int, Tensor]], deviations: Tensor) -> EntropyModel:
        """A model of this kind that codes images of the domain in the fewest bits.

        Args:
            coded: of every image, a step index and the integers found at it, int [K].
            deviations: prior deviations of the coordinates, [K], on the CPU.
        """

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What coding depends on, by the names in a bundle's file. The fingerprint covers it."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The rest of what a bundle's file stores, as JSON: it does not change what is decoded."""


class Density(ABC):
    """An entropy model between integers, in torch: the rate term of the search."""

    @abstractmethod
    def bits(self, scaled: Tensor, step_indices: Sequence[int]) -> Tensor:
        """Code length in bits, with a gradient, [N, k].

        Args:
            scaled: the first k coordinates of N images in units of their q_step, [N, k]. The others
                are zero.
            step_indices: of the images, N.
        """

    @abstractmethod
    def active(self, step_index: int) -> int:
        """Number of leading coordinates, at least 1. Later ones are zero at this step index."""
