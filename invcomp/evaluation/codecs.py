"""Conventional codecs at the best size and quality, by a metric.

At a few hundred bytes, a codec works best on a small version of the image. Every codec is therefore
tried at several sizes (Lanczos down and up), at the quality that just reaches a target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conventional.codecs import (
    LEAST_QUALITY,
    MAX_QUALITY,
    Reduced,
    finest_within,
    is_available,
)

SIZES = (96, 128, 192, 256, 384, 512, 768, 1024)
SMALL_SIZES = (16, 24, 32, 48, 64)  # also tried for small images
SMALL = 256
NEIGHBOURS = 3  # qualities below the bisection's result to try: not quite monotone
CODECS = ("avif", "webp", "jpeg")  # included in Pillow's wheels
ALL_CODECS = (*CODECS, "jxl", "heic", "jp2", "webp-lossless")

Metric = Callable[[Tensor], float]


@dataclass(frozen=True)
class CodecResult:
    """One file of a conventional codec.

    Attributes:
        codec: one of ALL_CODECS.
        bytes: size of the whole file.
        size: longer side of the encoded image in pixels.
        quality: Pillow's quality setting, 0 to 100; for JPEG 2000 the target PSNR in dB.
        value: the metric of the decoded image.
        decoded: the decoded image, scaled up to the original's size.
    """

    codec: str
    bytes: int
    size: int
    quality: int
    value: float
    decoded: Image.Image

    def as_json(self) -> dict[str, str | int | float]:
        """All fields except the image."""
        return {name: value for name, value in vars(self).items() if name != "decoded"}


def sizes_for(side: int) -> list[int]:
    """Sizes to try for an image with this longer side in pixels; the last is its own."""
    sizes = SIZES if side > SMALL else (*SMALL_SIZES, *SIZES)
    return [*(size for size in sizes if size < side), side]


def available_codecs(names: Sequence[str] = CODECS) -> tuple[str, ...]:
    """The codecs that Pillow can write here.

    JPEG XL needs pillow-jxl-plugin, HEIC pillow-heif.
    """
    return tuple(name for name in names if is_available(name))


def smallest_reaching(
    image: Image.Image,
    metric: Metric,
    target: float,
    codecs: Sequence[str] | None = None,
    sizes: Sequence[int] = SIZES,
) -> list[CodecResult]:
    """The smallest file of each codec whose decoded image has a metric of at most `target`.

    Args:
        image: the original.
        metric: of a decoded image [1, 3, H, W] in [0, 1], in the original's size.
        target: the largest allowed metric.
        codecs: names; by default all available ones.
        sizes: longer sides in pixels to try; larger ones than the original's are cut to it.

    Returns:
        One result for each codec that reaches the target.
    """
    names = available_codecs() if codecs is None else codecs
    results = (_search(name, image, metric, target, sizes) for name in names)
    return [result for result in results if result is not None]


def best_within(
    image: Image.Image,
    metric: Metric,
    limit: int,
    codecs: Sequence[str] | None = None,
    sizes: Sequence[int] = (*SMALL_SIZES, *SIZES),
) -> list[CodecResult]:
    """The best enlarged thumbnail of each codec in a file of at most `limit` bytes.

    Args:
        image: the original.
        metric: of a decoded image [1, 3, H, W] in [0, 1], in the original's size.
        limit: in bytes.
        codecs: names; by default all available ones.
        sizes: longer sides in pixels to try; larger ones than the original's are cut to it.

    Returns:
        One result for each codec that can write such a small file.
    """
    found = []
    for name in available_codecs() if codecs is None else codecs:
        trials = (
            _Trial(name, image, size, metric)
            for size in sorted({min(size, max(image.size)) for size in sizes})
        )
        fitting = [trial.result(quality) for trial, quality in finest_within(trials, limit)]
        if fitting:
            found.append(min(fitting, key=lambda result: result.value))
    return found


def smallest_possible(
    image: Image.Image,
    metric: Metric,
    codecs: Sequence[str] | None = None,
    size: int = SIZES[0],
) -> list[CodecResult]:
    """The smallest file that each codec can write at `size`, at any distortion."""
    results = []
    for name in available_codecs() if codecs is None else codecs:
        trial = _Trial(name, image, size, metric)
        least = LEAST_QUALITY[name]
        lowest = range(least, min(least + 10, MAX_QUALITY + 1))  # the lowest is not always smallest
        results.append(trial.result(min(lowest, key=trial.length)))
    return results


def _search(
    codec: str, image: Image.Image, metric: Metric, target: float, sizes: Sequence[int]
) -> CodecResult | None:
    """Bisects the quality at each size; measures only files smaller than the best so far."""
    best: CodecResult | None = None
    for size in sorted({min(size, max(image.size)) for size in sizes}):
        trial = _Trial(codec, image, size, metric)
        low, high, reached = LEAST_QUALITY[codec], MAX_QUALITY, -1
        if best is None and trial.value(high) > target:
            continue
        if best is not None and trial.length(low) >= best.bytes:
            break  # larger sizes only give larger files
        while low <= high:
            quality = (low + high) // 2
            if best is not None and trial.length(quality) >= best.bytes:
                high = quality - 1
            elif trial.value(quality) <= target:
                best, reached, high = trial.result(quality), quality, quality - 1
            else:
                low = quality + 1
        for quality in range(max(reached - NEIGHBOURS, LEAST_QUALITY[codec]), reached):
            is_smaller = best is not None and trial.length(quality) < best.bytes
            if is_smaller and trial.value(quality) <= target:
                best = trial.result(quality)
    return best


class _Trial(Reduced):
    """Adds a metric; each quality is measured at most once."""

    def __init__(self, codec: str, image: Image.Image, size: int, metric: Metric) -> None:
        super().__init__(codec, image, size)
        self.metric = metric
        self.value = cache(self._value)

    def _value(self, quality: int) -> float:
        pixels = torch.from_numpy(np.array(self.decode(quality)))
        return self.metric(pixels.permute(2, 0, 1)[None].float() / 255)

    def result(self, quality: int) -> CodecResult:
        length, value = self.length(quality), self.value(quality)
        return CodecResult(self.codec, length, self.size, quality, value, self.decode(quality))
