"""BD-rate (Bjontegaard, VCEG-M33, 2001) by the package `bjontegaard`: bytes at equal distortion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .curves import NAMES, Point, loss

METHOD = "pchip"  # as in the common test conditions of JVET; it never overshoots


@dataclass(frozen=True)
class BdRate:
    """How many bytes our files have more or less than a codec's at equal distortion.

    Attributes:
        codec: that ours is held against.
        metric: that is equal.
        percent: -90 is a tenth of the bytes; None: there is no such number.
        overlap: part of our curve's range of the metric over which the mean was taken.
        reason: why there is no number, or "".
    """

    codec: str
    metric: str
    percent: float | None
    overlap: float
    reason: str = ""


def bd_rate(ours: Sequence[Point], theirs: Sequence[Point], metric: str) -> BdRate:
    """Our BD-rate against one codec.

    Args:
        ours, theirs: the hulls by this metric, not empty.
        metric: whose range both have in common is taken the mean over.
    """
    from bjontegaard import bd_rate as bjontegaard  # imports matplotlib: only where it is needed

    codec = theirs[0].codec
    for curve in (ours, theirs):
        if len(curve) < 2:
            reason = f"the curve of {NAMES[curve[0].codec]} has one point only"
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
