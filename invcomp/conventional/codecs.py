"""Files of conventional codecs, through Pillow and its plug-ins, of an image at one size."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

from PIL import Image, features

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
LABELS = {
    "avif": "AVIF",
    "webp": "WebP",
    "jpeg": "JPEG",
    "jxl": "JPEG XL",
    "heic": "HEIC",
    "jp2": "JPEG 2000",
    "webp-lossless": "WebP, lossless",
}
KINDS = {"heic": "HEIF", "jp2": "JPEG2000", "webp-lossless": "WEBP"}  # if Pillow's name differs
# modules that register with Pillow
PLUGINS = {"jxl": "pillow_jxl", "heic": "pillow_heif.HeifImagePlugin"}


def is_available(codec: str) -> bool:
    """Whether Pillow can write it here."""
    if codec in PLUGINS:
        with suppress(ImportError):
            importlib.import_module(PLUGINS[codec])
        return _kind(codec) in Image.SAVE
    names = {"jpeg": "jpg", "jp2": "jpg_2000", "webp-lossless": "webp"}
    return bool(features.check(names.get(codec, codec)))


class Reduced:
    """One image for one codec at one size; each quality is encoded at most once.

    Args:
        codec: an available one, of LABELS.
        image: the original.
        size: longer side in pixels to encode at.
        options: of Pillow, in place of those for small files.
    """

    def __init__(
        self, codec: str, image: Image.Image, size: int, options: Mapping[str, Any] | None = None
    ) -> None:
        self.codec, self.size = codec, size
        self.original_size, self.options = image.size, options or {}
        rgb = image.convert("RGB")
        rgb.info.clear()  # no metadata in the file
        scale = size / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        self.reduced = rgb.resize((width, height), Image.Resampling.LANCZOS)
        self.encode = cache(self._encode)

    def _encode(self, quality: int) -> bytes:
        buffer = io.BytesIO()
        options = {**_options(self.codec, self.reduced.size, quality), **self.options}
        self.reduced.save(buffer, _kind(self.codec), **options)
        return buffer.getvalue()

    def length(self, quality: int) -> int:
        """Size in bytes of the file at a quality."""
        return len(self.encode(quality))

    def decode(self, quality: int) -> Image.Image:
        """The decoded image of that file, scaled up to the original's size."""
        return decode(self.encode(quality), self.original_size)

    def finest_within(self, limit: int) -> int | None:
        """The highest quality whose file has at most `limit` bytes; None if there is none."""
        low, high = LEAST_QUALITY[self.codec], MAX_QUALITY
        if self.length(low) > limit:
            return None
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.length(middle) <= limit else (low, middle - 1)
        return low


AnyReduced = TypeVar("AnyReduced", bound=Reduced)


def finest_within(sizes: Iterable[AnyReduced], limit: int) -> Iterator[tuple[AnyReduced, int]]:
    """An image at each size and its highest quality of at most `limit` bytes.

    Args:
        sizes: the image at several sizes, the smallest first. It ends at the first size at which
            no quality fits, because larger sizes only give larger files.
        limit: in bytes.
    """
    for reduced in sizes:
        quality = reduced.finest_within(limit)
        if quality is None:
            return
        yield reduced, quality


def decode(data: bytes, size: tuple[int, int]) -> Image.Image:
    """The RGB image of a conventional file, scaled to `size` (width, height) by Lanczos."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return image.resize(size, Image.Resampling.LANCZOS)


def _kind(codec: str) -> str:
    return KINDS.get(codec, codec.upper())


def _options(codec: str, size: tuple[int, int], quality: int) -> dict[str, Any]:
    """Pillow's options for small files; less effort for large AVIF and JPEG XL."""
    if codec == "jp2":  # a bare codestream: the boxes around it take 85 bytes
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
            "lossless": quality == MAX_QUALITY,  # which is not a lossy quality
        },
        "heic": {"chroma": "420", "save_nclx_profile": False},
        "jpeg": {"optimize": True, "progressive": True, "subsampling": "4:2:0"},
    }
    return {"quality": quality, **own[codec]}
