"""What a decoder of the bitstream needs of a bundle, as JSON: integers alone.

The names are those of the models in `tests/bitstream/vectors.json` and docs/format.md.
"""

from __future__ import annotations

from typing import Any

from ..bundle import Bundle
from ..entropy.mixture import LaplaceMixture
from ..entropy.tables import PriorTables
from ..errors import BundleError
from ..latents.detail import DIGEST


def tables_of(bundle: Bundle) -> dict[str, Any]:
    """The tables of the coordinates, and under "detail" those of the detail if there is one.

    Raises:
        BundleError: the bundle has another entropy model, which no decoder outside of Python knows.
    """
    if not isinstance(bundle.entropy, LaplaceMixture):
        kind = type(bundle.entropy).__name__
        raise BundleError(f"{bundle.settings.name}: a {kind} has no tables to export")
    found = _integers(bundle.entropy.tables)
    if bundle.detail is not None:
        model = bundle.detail.model
        found["detail"] = {
            "digest": bundle.detail.digest[:DIGEST].hex(),
            "maps": [[shape.channels, shape.size] for shape in model.shapes],
            **_integers(model.tables),
            "boosts": model.boosts.tolist(),
        }
    return found


def _integers(tables: PriorTables) -> dict[str, Any]:
    slopes = [0] * len(tables.scales) if tables.slopes is None else tables.slopes.tolist()
    found: dict[str, Any] = {
        "frequencies": tables.frequencies.tolist(),
        "first_ratio": tables.first_ratio,
        "ratio_stride": tables.ratio_stride,
        "scales": tables.scales.tolist(),
        "slopes": slopes,
    }
    if tables.classes > 1:
        found["classes"] = tables.classes
    if tables.segment_ends:
        found["segment_ends"] = list(tables.segment_ends)
    return found
