"""Rate-distortion curves over a set of images: settings, means and hulls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from ..conventional.codecs import LABELS
from .results import Measured, Setting

OURS = "invcomp"
NAMES = {OURS: OURS, **LABELS}
SHARES = (1.0, 0.5, 0.25, 0.125)
LEAST_SIZE = 16  # pixels: below it nothing is recognisable
# few and rather low: there the curves overlap with ours
QUALITIES: dict[str, tuple[int, ...]] = {
    "avif": (0, 12, 28, 48, 70),
    "webp": (0, 12, 32, 60, 85),
    "jpeg": (2, 10, 22, 42, 75),
    "jxl": (1, 10, 28, 52, 80),
    "heic": (0, 12, 28, 48, 70),
    "jp2": (20, 24, 28, 32, 37),  # dB
}
COMPARED = tuple(QUALITIES)
METRIC_NAMES = {
    "lpips_alex": "LPIPS-Alex",
    "lpips_vgg": "LPIPS-VGG",
    "dists": "DISTS",
    "ms_ssim": "MS-SSIM",
    "psnr": "PSNR, dB",
    "identity": "identity (dlib, which invcomp optimises)",
    "judge": "identity (judge, cosine)",
    "kid": "KID",
}
MORE_IS_BETTER = frozenset({"ms_ssim", "psnr", "judge"})


@dataclass(frozen=True)
class Point:
    """Means over all images of one codec at one setting.

    Attributes:
        codec: "invcomp", or one of COMPARED.
        size: side in pixels of the encoded image.
        quality: the quality setting.
        bytes: mean file size.
        seconds: mean encoding time.
        values: mean metrics by name; "kid" is of the whole set.
    """

    codec: str
    size: int
    quality: float
    bytes: float
    seconds: float
    values: dict[str, float]


def sizes_of(resolution: int, shares: Sequence[float] = SHARES) -> list[int]:
    """The sides in pixels at which an image of `resolution` px is encoded, the largest first."""
    sizes = {max(round(resolution * share), min(LEAST_SIZE, resolution)) for share in shares}
    return sorted(sizes, reverse=True)


def mean_points(files: Iterable[Measured], kids: dict[Setting, float]) -> list[Point]:
    """The mean of every setting.

    Args:
        files: of the same images at every setting.
        kids: by codec, size and quality.
    """
    groups: dict[Setting, list[Measured]] = defaultdict(list)
    for file in files:
        groups[file.codec, file.size, file.quality].append(file)
    points = []
    for setting, group in groups.items():
        values = {name: fmean(file.values[name] for file in group) for name in group[0].values}
        if setting in kids:
            values["kid"] = kids[setting]
        rate = fmean(file.bytes for file in group)
        points.append(Point(*setting, rate, fmean(file.seconds for file in group), values))
    return points


def loss(point: Point, metric: str) -> float:
    """A metric's value, with its sign chosen so that lower is better."""
    value = point.values[metric]
    return -value if metric in MORE_IS_BETTER else value


def hull(points: Iterable[Point], metric: str) -> list[Point]:
    """The best points of one codec: the lower convex hull of distortion over bytes.

    Any mean between two neighbours can be reached by encoding some of the images at one setting
    and the rest at the other. Points above the hull are never the best choice.

    Returns:
        Points with increasing bytes and improving metric.
    """
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.bytes, loss(point, metric))):
        if best and loss(point, metric) >= loss(best[-1], metric):
            continue  # more bytes without improvement
        while len(best) > 1 and _is_above(best[-2], best[-1], point, metric):
            best.pop()
        best.append(point)
    return best


def _is_above(left: Point, middle: Point, right: Point, metric: str) -> bool:
    """Whether the middle point lies on or above the line through the others."""
    rise = loss(right, metric) - loss(left, metric)
    line = loss(left, metric) + rise * (middle.bytes - left.bytes) / (right.bytes - left.bytes)
    return loss(middle, metric) >= line


def bytes_at(curve: Sequence[Point], metric: str, wanted: Point) -> float | None:
    """Mean bytes that a hull needs to equal the metric of another codec's point.

    Args:
        curve: a hull by this metric.
        metric: to equal.
        wanted: the other codec's point. If the whole hull is better, its smallest files count.

    Returns:
        Bytes; None if the hull does not reach the value.
    """
    target = loss(wanted, metric)
    if loss(curve[0], metric) <= target:
        return curve[0].bytes
    for left, right in pairwise(curve):
        if loss(right, metric) <= target:
            part = (loss(left, metric) - target) / (loss(left, metric) - loss(right, metric))
            return left.bytes + part * (right.bytes - left.bytes)
    return None
