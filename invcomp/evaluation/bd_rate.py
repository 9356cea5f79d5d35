"""BD-rate (Bjontegaard, VCEG-M33, 2001; package `bjontegaard`): bytes at equal distortion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .curves import NAMES, Point, loss

METHOD = "pchip"  # as in JVET's common test conditions; never overshoots


@dataclass(frozen=True)
class BdRate:
    """How many more or fewer bytes our files have than another codec's at equal distortion.

    Attributes:
        codec: the other codec.
        metric: that measures the distortion.
        percent: -90 means a tenth of the bytes; None if it is undefined.
        overlap: fraction of our curve's metric range over which the mean is taken.
        reason: why it is undefined, or "".
    """

    codec: str
    metric: str
    percent: float | None
    overlap: float
    reason: str = ""


def bd_rate(ours: Sequence[Point], theirs: Sequence[Point], metric: str) -> BdRate:
    """Our BD-rate against another codec.

    Args:
        ours, theirs: hulls for this metric, not empty.
        metric: the mean is taken over the range of it that both share.
    """
    from bjontegaard import bd_rate as bjontegaard  # imports matplotlib, so only on use

    codec = theirs[0].codec
    for curve in (ours, theirs):
        if len(curve) < 2:
            reason = f"the curve of {NAMES[curve[0].codec]} has only one point"
            return BdRate(codec, metric, None, 0.0, reason)
    distortions = [[loss(point, metric) for point in reversed(curve)] for curve in (ours, theirs)]
    rates = [[point.bytes for point in reversed(curve)] for curve in (ours, theirs)]
    low = max(values[0] for values in distortions)
    high = min(values[-1] for values in distortions)
    if low >= high:
        return BdRate(codec, metric, None, 0.0, "the curves do not overlap")
    percent = bjontegaard(
        rates[1], distortions[1], rates[0], distortions[0], METHOD, False, min_overlap=0
    )
    overlap = (high - low) / (distortions[0][-1] - distortions[0][0])
    return BdRate(codec, metric, float(percent), overlap)
