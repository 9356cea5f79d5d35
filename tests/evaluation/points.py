"""Measurements that are made up, to draw and to reckon with."""

from invcomp.evaluation.curves import Point, mean_points
from invcomp.evaluation.report import Report
from invcomp.evaluation.results import Measured

SETTINGS = {
    "model": "tiny",
    "versions": {"invcomp": "0", "pillow": "0"},
}


def point(codec: str, bytes: float, quality: float = 0, **values: float) -> Point:
    return Point(codec, 64, quality, bytes, 0.5, values)


def curve(codec: str, metric: str, *pairs: tuple[float, float]) -> list[Point]:
    """Points from pairs of bytes and a metric's value."""
    return [point(codec, rate, index, **{metric: v}) for index, (rate, v) in enumerate(pairs)]


def report(*images: str) -> Report:
    """Ours and WebP at three qualities each; WebP's second lies off every hull."""
    files = [
        Measured(
            image, image, codec, 64, float(quality), rate, 0.1, {"lpips_alex": lpips, "psnr": psnr}
        )
        for image in images or ("a.png", "b.png")
        for codec, quality, rate, lpips, psnr in (
            ("invcomp", 34, 50, 0.30, 20.0),
            ("invcomp", 50, 100, 0.20, 21.0),
            ("invcomp", 82, 200, 0.15, 21.5),
            ("webp", 0, 400, 0.35, 19.0),
            ("webp", 10, 900, 0.34, 19.1),
            ("webp", 80, 1000, 0.10, 25.0),
        )
    ]
    return Report(SETTINGS, 64, files, mean_points(files, {}), None)
