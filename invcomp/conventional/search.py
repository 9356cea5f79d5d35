"""The best stream of a conventional codec within some bytes."""

from __future__ import annotations

from PIL import Image

from ..errors import GoalError
from .codecs import LABELS, LEAST_QUALITY, Reduced, finest_within
from .streams import decompress, require, stripped

SIZES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)  # longer sides
CAREFUL = 512  # px, up to which the best AVIF is coded again with more effort
# of Pillow's AVIF: the encoder whose form of stream is known, and its effort
QUICK, SLOW = {"codec": "aom", "speed": 6}, {"codec": "aom", "speed": 4}


def compress(image: Image.Image, codec: str, limit: int, around: int = 0) -> bytes:
    """The best stream of at most `limit` bytes.

    The image is coded at several sizes, each in the highest quality that fits. The best has the
    highest MS-SSIM to the original. (This imports torch, which decoding a stream does not.)

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
    from .similarity import Comparison

    require(codec)
    rgb = image.convert("RGB")
    comparison, within, sides = Comparison(rgb), limit - around, _sides(max(rgb.size))
    options = QUICK if codec == "avif" else {}
    best, highest, size, worse = b"", -1.0, 0, 0
    trials = (_Streams(codec, rgb, side, options) for side in sides)
    for trial, quality in finest_within(trials, within):
        stream = trial.encode(quality)
        score = comparison.similarity(decompress(stream))
        worse = worse + 1 if score <= highest else 0
        if not worse:
            best, highest, size = stream, score, trial.size
        elif worse == 2:
            break
    if not best:
        smallest = _Streams(codec, rgb, sides[0], options)
        least = around + smallest.length(LEAST_QUALITY[codec])
        raise GoalError(f"{limit} bytes: {LABELS[codec]} needs at least {least} here")
    if codec == "avif" and size <= CAREFUL:
        careful = _Streams(codec, rgb, size, SLOW)
        finest = careful.finest_within(within)
        if finest is not None:
            stream = careful.encode(finest)
            if comparison.similarity(decompress(stream)) > highest:
                return stream
    return best


class _Streams(Reduced):
    """Streams in place of files."""

    def _encode(self, quality: int) -> bytes:
        return stripped(super()._encode(quality), self.codec, self.reduced.size)


def _sides(own: int) -> list[int]:
    """Longer sides at which an image of this longer side is coded."""
    return [*(side for side in SIZES if side < own), *([own] if own <= SIZES[-1] else [])]
