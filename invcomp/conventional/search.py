"""The best stream of a conventional codec within some bytes."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

from PIL import Image

from ..errors import GoalError
from .similarity import Comparison
from .streams import LABELS, decompress, require, stripped

SIZES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)  # longer sides
QUALITIES = {"avif": (0, 100), "webp": (0, 100), "jxl": (1, 99)}  # JPEG XL's 100 is lossless
CAREFUL = 512  # px, up to which the best AVIF is coded again with more effort


def compress(image: Image.Image, codec: str, limit: int, around: int = 0) -> bytes:
    """The best stream of at most `limit` bytes.

    The image is coded at several sizes, each in the highest quality that fits. The best has the
    highest MS-SSIM to the original.

    Args:
        image: an RGB image. It is coded with a longer side of at most 2048 pixels.
        codec: one of CODECS.
        limit: in bytes.
        around: bytes of the file around the stream, which the limit includes.

    Raises:
        OptionError: there is no such codec.
        ImageError: Pillow cannot write this codec here.
        GoalError: the codec cannot write so few bytes; the message says how many it needs.
    """
    require(codec)
    rgb = image.convert("RGB")
    comparison, within = Comparison(rgb), limit - around
    best, highest, size, worse = b"", -1.0, 0, 0
    for side in _sides(max(rgb.size)):
        trial = _Trial(codec, rgb, side)
        stream = trial.finest_within(within)
        if stream is None:
            if not best:
                least = around + trial.length(trial.least)
                raise GoalError(f"{limit} bytes: {LABELS[codec]} needs at least {least} here")
            break
        score = comparison.similarity(decompress(stream))
        worse = worse + 1 if score <= highest else 0
        if not worse:
            best, highest, size = stream, score, side
        elif worse == 2:
            break
    if codec == "avif" and size <= CAREFUL:
        careful = _Trial(codec, rgb, size, careful=True).finest_within(within)
        if careful and comparison.similarity(decompress(careful)) > highest:
            return careful
    return best


class _Trial:
    """An image for one codec at one size; each quality is coded at most once.

    Args:
        codec: an available one.
        image: an RGB image.
        side: longer side of the coded image in pixels.
        careful: whether the codec takes more time.
    """

    def __init__(self, codec: str, image: Image.Image, side: int, careful: bool = False) -> None:
        scale = side / max(image.size)
        width, height = (max(1, round(length * scale)) for length in image.size)
        self.codec, self.least, self.careful = codec, QUALITIES[codec][0], careful
        self.image = image.resize((width, height), Image.Resampling.LANCZOS)
        self.image.info.clear()  # no metadata in the file
        self.encode = cache(self._encode)

    def length(self, quality: int) -> int:
        """Bytes of the stream of a quality."""
        return len(self.encode(quality))

    def finest_within(self, limit: int) -> bytes | None:
        """The stream of the highest quality of at most `limit` bytes; None if there is none."""
        low, high = QUALITIES[self.codec]
        if self.length(low) > limit:
            return None
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.length(middle) <= limit else (low, middle - 1)
        return self.encode(low)

    def _encode(self, quality: int) -> bytes:
        buffer = io.BytesIO()
        options: dict[str, dict[str, Any]] = {
            "avif": {"codec": "aom", "speed": 4 if self.careful else 6, "subsampling": "4:2:0"},
            "webp": {"method": 6},
            "jxl": {"effort": 9 if max(self.image.size) <= 384 else 7},
        }
        self.image.save(buffer, self.codec.upper(), quality=quality, **options[self.codec])
        return stripped(buffer.getvalue(), self.codec, self.image.size)


def _sides(own: int) -> list[int]:
    """Longer sides at which an image of this longer side is coded."""
    return [*(side for side in SIZES if side < own), *([own] if own <= SIZES[-1] else [])]
