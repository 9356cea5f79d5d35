"""Conventional codecs through Pillow and its plug-ins, each at its best, at reduced sizes too.

At a few hundred bytes a codec does best on a small version of the image, so every codec is tried
at several sizes, scaled down and back up by Lanczos, and at the quality that just reaches a target.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image, features
from torch import Tensor

SIZES = (96, 128, 192, 256, 384, 512, 768, 1024)
SMALL_SIZES = (16, 24, 32, 48, 64)  # for small images, too
SMALL = 256
MAX_QUALITY = 100
LEAST_QUALITY = {
    "avif": 0,
    "webp": 0,
    "jpeg": 1,
    "jxl": 1,
    "heic": 0,
    "jp2": 1,
    "webp-lossless": MAX_QUALITY,
}
NEIGHBOURS = 3  # qualities below the bisection's that are tried too, as it is not quite monotone
CODECS = ("avif", "webp", "jpeg")  # what Pillow's own wheels have
ALL_CODECS = (*CODECS, "jxl", "heic", "jp2", "webp-lossless")
LABELS = {
    "avif": "AVIF",
    "webp": "WebP",
    "jpeg": "JPEG",
    "jxl": "JPEG XL",
    "heic": "HEIC",
    "jp2": "JPEG 2000",
    "webp-lossless": "WebP, lossless",
}
KINDS = {"heic": "HEIF", "jp2": "JPEG2000", "webp-lossless": "WEBP"}  # where Pillow's name differs
# modules that register with Pillow
PLUGINS = {"jxl": "pillow_jxl", "heic": "pillow_heif.HeifImagePlugin"}

Metric = Callable[[Tensor], float]


@dataclass(frozen=True)
class CodecResult:
    """One file of a conventional codec.

    Attributes:
        codec: one of ALL_CODECS.
        bytes: size of the whole file.
        size: longer side in pixels at which it was encoded.
        quality: Pillow's quality setting, 0 to 100; of JPEG 2000 the PSNR in dB that it aims at.
        value: the metric of the decoded image.
        decoded: the image, scaled back up to the original's size.
    """

    codec: str
    bytes: int
    size: int
    quality: int
    value: float
    decoded: Image.Image

    def as_json(self) -> dict[str, str | int | float]:
        """Everything but the image."""
        return {name: value for name, value in vars(self).items() if name != "decoded"}


def sizes_for(side: int) -> list[int]:
    """Sizes to try for an image whose longer side is so many pixels, its own the last."""
    sizes = SIZES if side > SMALL else (*SMALL_SIZES, *SIZES)
    return [*(size for size in sizes if size < side), side]


def available_codecs(names: Sequence[str] = CODECS) -> tuple[str, ...]:
    """Those of the codecs that Pillow can write here.

    JPEG XL needs pillow-jxl-plugin, HEIC pillow-heif.
    """
    return tuple(name for name in names if _is_available(name))


def _is_available(codec: str) -> bool:
    if codec in PLUGINS:
        with suppress(ImportError):
            importlib.import_module(PLUGINS[codec])
        return _kind(codec) in Image.SAVE
    names = {"jpeg": "jpg", "jp2": "jpg_2000", "webp-lossless": "webp"}
    return bool(features.check(names.get(codec, codec)))


def _kind(codec: str) -> str:
    return KINDS.get(codec, codec.upper())


def smallest_reaching(
    image: Image.Image,
    metric: Metric,
    target: float,
    codecs: Sequence[str] | None = None,
    sizes: Sequence[int] = SIZES,
) -> list[CodecResult]:
    """The smallest file of each codec whose decoded image has a metric of `target` or less.

    Args:
        image: the original.
        metric: distance of a decoded image [1, 3, H, W] in [0, 1], of the original's size.
        target: the largest distance allowed.
        codecs: names; by default all that are available.
        sizes: longer sides in pixels to try; for those above the original's, its own is.

    Returns:
        One result for each codec that reaches the target at all.
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
    """The nearest image of each codec whose file has at most so many bytes: a thumbnail, enlarged.

    Args:
        image: the original.
        metric: distance of a decoded image [1, 3, H, W] in [0, 1], of the original's size.
        limit: in bytes.
        codecs: names; by default all that are available.
        sizes: longer sides in pixels to try; for those above the original's, its own is.

    Returns:
        One result for each codec that can make so small a file at all.
    """
    found = []
    for name in available_codecs() if codecs is None else codecs:
        fitting = []
        for size in sorted({min(size, max(image.size)) for size in sizes}):
            trial = _Trial(name, image, size, metric)
            quality = _finest_within(trial, limit)
            if quality is None:
                break  # larger sizes only start from larger files
            fitting.append(trial.result(quality))
        if fitting:
            found.append(min(fitting, key=lambda result: result.value))
    return found


def _finest_within(trial: _Trial, limit: int) -> int | None:
    """The highest quality whose file has at most so many bytes; None: there is none."""
    low, high = LEAST_QUALITY[trial.codec], MAX_QUALITY
    if trial.length(low) > limit:
        return None
    while low < high:
        middle = (low + high + 1) // 2
        if trial.length(middle) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def smallest_possible(
    image: Image.Image,
    metric: Metric,
    codecs: Sequence[str] | None = None,
    size: int = SIZES[0],
) -> list[CodecResult]:
    """The smallest file that each codec can make at all at `size`, whatever it looks like."""
    results = []
    for name in available_codecs() if codecs is None else codecs:
        trial = _Trial(name, image, size, metric)
        least = LEAST_QUALITY[name]
        lowest = range(least, min(least + 10, MAX_QUALITY + 1))  # the least does not always win
        results.append(trial.result(min(lowest, key=trial.length)))
    return results


def _search(
    codec: str, image: Image.Image, metric: Metric, target: float, sizes: Sequence[int]
) -> CodecResult | None:
    """Bisects the quality at each size, never measuring a file that is not the smallest so far."""
    best: CodecResult | None = None
    for size in sorted({min(size, max(image.size)) for size in sizes}):
        trial = _Trial(codec, image, size, metric)
        low, high, reached = LEAST_QUALITY[codec], MAX_QUALITY, -1
        if best is None and trial.value(high) > target:
            continue
        if best is not None and trial.length(low) >= best.bytes:
            break  # larger sizes only start from larger files
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


class Reduced:
    """One image for one codec at one size; every quality is encoded once at most.

    Args:
        codec: one of ALL_CODECS, which is available.
        image: the original.
        size: longer side in pixels at which it is encoded.
    """

    def __init__(self, codec: str, image: Image.Image, size: int) -> None:
        self.codec, self.size = codec, size
        self.original_size = image.size
        rgb = image.convert("RGB")
        rgb.info.clear()  # no metadata in the file
        scale = size / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        self.reduced = rgb.resize((width, height), Image.Resampling.LANCZOS)
        self.encode = cache(self._encode)

    def _encode(self, quality: int) -> bytes:
        buffer = io.BytesIO()
        options = _options(self.codec, self.reduced.size, quality)
        self.reduced.save(buffer, _kind(self.codec), **options)
        return buffer.getvalue()

    def length(self, quality: int) -> int:
        """Bytes of the file of a quality."""
        return len(self.encode(quality))

    def decode(self, quality: int) -> Image.Image:
        """The image of that file, scaled back up to the original's size."""
        return decode(self.encode(quality), self.original_size)


def decode(data: bytes, size: tuple[int, int]) -> Image.Image:
    """The RGB image of a conventional file, scaled to `size` (width, height) by Lanczos."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return image.resize(size, Image.Resampling.LANCZOS)


class _Trial(Reduced):
    """With a metric, every quality being measured once at most."""

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


def _options(codec: str, size: tuple[int, int], quality: int) -> dict[str, Any]:
    """Pillow's options, for small files; at larger sizes AVIF and JPEG XL try less hard."""
    if codec == "jp2":  # a bare codestream, as the boxes around it are 85 bytes of nothing
        levels = min(6, min(size).bit_length())
        return {
            "quality_mode": "dB",
            "quality_layers": [quality],
            "irreversible": True,
            "no_jp2": True,
            "num_resolutions": levels,
        }
    own: dict[str, dict[str, Any]] = {
        "avif": {"speed": 4 if max(size) <= 384 else 6, "subsampling": "4:2:0"},
        "webp": {"method": 6},
        "webp-lossless": {"method": 6, "lossless": True},
        "jxl": {
            "effort": 9 if max(size) <= 384 else 7,
            "lossless": quality == MAX_QUALITY,  # which is no lossy quality
        },
        "heic": {"chroma": "420", "save_nclx_profile": False},
        "jpeg": {"optimize": True, "progressive": True, "subsampling": "4:2:0"},
    }
    return {"quality": quality, **own[codec]}
