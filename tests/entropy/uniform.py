"""A second entropy model, to show that the rest asks nothing else of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invcomp.entropy.model import Decoded, Density, EntropyModel
from invcomp.errors import BitstreamError

LARGEST = 7


@dataclass(frozen=True)
class Uniform(EntropyModel):
    """-7..7 with equal probability at any step index: half a byte each, zeros at the end cut."""

    length: int

    @property
    def count(self) -> int:
        return self.length

    def encode(
        self, integers: NDArray[np.integer[Any]], step_index: int, class_index: int = 0
    ) -> bytes:
        if integers.shape != (self.length,) or np.abs(integers).max() > LARGEST or class_index:
            raise ValueError("not what this model codes")
        digits = "".join(f"{value % 16:x}" for value in integers.tolist())
        return bytes.fromhex(digits + "0" * (self.length % 2)).rstrip(b"\0")

    def decode(self, payload: bytes, step_index: int, whole: bool = True) -> Decoded:
        digits = [int(digit, 16) for digit in payload.hex()]
        if len(digits) > self.length + 1 or 8 in digits or (whole and payload.endswith(b"\0")):
            raise BitstreamError("altered: not what this model writes")
        integers = np.zeros(self.length, dtype=np.int32)
        values = [digit - 16 * (digit > LARGEST) for digit in digits[: self.length]]
        integers[: len(values)] = values
        return Decoded(integers, 0)

    def code_length(
        self, integers: NDArray[np.integer[Any]], step_index: int
    ) -> NDArray[np.float64]:
        return np.full(self.length, math.log2(2 * LARGEST + 1))

    def density(self, device: torch.device | str = "cpu") -> UniformDensity:
        return UniformDensity(self.length)

    def fitted(self, coded: Sequence[tuple[int, Tensor]], deviations: Tensor) -> Uniform:
        return self

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def settings(self) -> dict[str, Any]:
        return {"length": self.length}


@dataclass(frozen=True)
class UniformDensity(Density):
    """Flat up to 7, and steep beyond."""

    length: int

    def bits(self, scaled: Tensor, step_indices: Sequence[int]) -> Tensor:
        return math.log2(2 * LARGEST + 1) + 100 * (scaled.abs() - LARGEST).clamp_min(0)

    def active(self, step_index: int) -> int:
        return self.length
