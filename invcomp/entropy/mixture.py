"""The entropy model of today's bundles: a mixture of two Laplace densities per coordinate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..stored import number
from .coder import decode_beginning, decode_payload, encode_payload
from .model import Decoded, EntropyModel
from .tables import PriorTables

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .density import MixtureDensity


@dataclass(frozen=True)
class PriorShape:
    """The shape that all coordinates share: weight and relative scale of the wide component."""

    tail_weight: float = 0.1
    tail_ratio: float = 3.0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PriorShape:
        """The inverse of `dataclasses.asdict` through JSON.

        Raises:
            KeyError, TypeError, ValueError: the values are no shape.
        """
        weight = number(values["tail_weight"], 0, 1, "tail_weight")
        return cls(weight, number(values["tail_ratio"], 1e-3, 1e6, "tail_ratio"))


@dataclass(frozen=True, eq=False)
class LaplaceMixture(EntropyModel):
    """Independent coordinates: each has a scale, all have one shape.

    `density.make_mixture` makes one, `calibration` fits it.

    Args:
        tables: the integer tables of the range coder. They are stored and never computed again, so
            that no rounding on another machine changes a symbol.
        shape: that the tables were made with, for the density.
    """

    tables: PriorTables
    shape: PriorShape = PriorShape()

    @classmethod
    def of(
        cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any], classes: int
    ) -> LaplaceMixture:
        """The inverse of `arrays` and `settings`.

        Raises:
            BundleError: the tables do not fit together.
            KeyError, TypeError, ValueError: this is no mixture.
        """
        if others := settings.keys() - {"shape"}:
            raise ValueError(f"unknown settings {', '.join(sorted(others))}")
        tables, segment_ends = PriorTables.of(arrays, "tables", classes)
        tables = replace(tables, segment_ends=tuple(segment_ends))
        return cls(tables, PriorShape.from_json(settings["shape"]))

    @property
    def count(self) -> int:
        """K."""
        return len(self.tables.scales)

    @property
    def classes(self) -> int:
        """C."""
        return self.tables.classes

    @property
    def class_bits(self) -> float:
        """Ideal code length of a class in bits."""
        return self.tables.class_bits

    def encode(
        self, integers: NDArray[np.integer[Any]], step_index: int, class_index: int = 0
    ) -> bytes:
        """The payload of integers; see `EntropyModel`."""
        rows = self.tables.rows(step_index)
        if integers.shape != rows.shape:
            raise ValueError(f"integers {integers.shape} do not fit tables of {rows.shape}")
        if not 0 <= class_index < self.classes:
            raise ValueError(f"class {class_index} is not one of {self.classes}")
        coded_class = class_index if self.classes > 1 else None
        return encode_payload(integers, rows, self.tables, coded_class)

    def decode(self, payload: bytes, step_index: int, whole: bool = True) -> Decoded:
        """The inverse of `encode`; see `EntropyModel`."""
        read = decode_payload if whole else decode_beginning
        rows, with_class = self.tables.rows(step_index), self.classes > 1
        class_index, integers = read(payload, rows, self.tables, with_class)
        return Decoded(integers, class_index)

    def decode_segments(
        self, segments: Sequence[bytes], count: int, step_index: int, whole: bool = True
    ) -> Decoded:
        """Decodes segments, whose escape codes come last; see `EntropyModel`."""
        parts, rows = self.tables.parts(count), self.tables.rows(step_index)
        integers, class_index = np.zeros(len(rows), dtype=np.int32), 0
        for index, (segment, part) in enumerate(zip(segments, parts, strict=False)):
            with_class = index == 0 and self.classes > 1
            is_whole = whole or index < len(segments) - 1
            read = decode_payload if is_whole else decode_beginning
            found, integers[part] = read(segment, rows[part], self.tables, with_class, True)
            class_index = found if with_class else class_index
        return Decoded(integers, class_index)

    def code_length(
        self, integers: NDArray[np.integer[Any]], step_index: int
    ) -> NDArray[np.float64]:
        """Ideal code length of every integer in bits, `[K]`, its escape code included."""
        return self.tables.code_length(integers, step_index)

    def density(self, device: torch.device | str = "cpu") -> MixtureDensity:
        """The mixture between integers."""
        from .density import MixtureDensity

        return MixtureDensity(self, device)

    def fitted(self, coded: Sequence[tuple[int, Tensor]], deviations: Tensor) -> LaplaceMixture:
        """Scales, their slopes and the shape are fitted; see `calibration.fit_mixture`."""
        from .calibration import fit_mixture, provisional_scales

        return fit_mixture(coded, provisional_scales(deviations), self.classes)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The tables."""
        tables = self.tables
        layout = [tables.first_ratio, tables.ratio_stride, *tables.segment_ends]
        return {
            "tables.frequencies": tables.frequencies.astype(np.int32),
            "tables.scales": tables.scales,
            "tables.layout": np.array(layout, dtype=np.int32),
            **({} if tables.slopes is None else {"tables.slopes": tables.slopes}),
        }

    def settings(self) -> dict[str, Any]:
        """The shape."""
        return {"shape": asdict(self.shape)}
