"""Streams: files of conventional codecs without what is the same in each of them."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image, features

from ..errors import BitstreamError, ImageError, OptionError
from ..preprocessing.jxl import jxl_size
from ..preprocessing.reading import plug_in
from .av1 import flags_and_frame, still_image
from .codecs import LABELS

CODECS = ("avif", "webp", "jxl")  # by the number in a stream's first byte
LARGEST = 4096  # px a side

_FLAGS = 0x3F  # of the first byte; its other two bits are the codec
_JXL_SIGNATURE = b"\xff\x0a"
_VP8_START = b"\x9d\x01\x2a"
_RIFF = 20  # bytes of the headers around a VP8 frame


class StreamHeader(NamedTuple):
    """What the beginning of a stream says.

    Attributes:
        codec: one of CODECS.
        size: (width, height) of the coded image in pixels.
    """

    codec: str
    size: tuple[int, int]


def decompress(stream: bytes) -> Image.Image:
    """The RGB image of a stream, in the size in which it was coded.

    Raises:
        BitstreamError: the stream is damaged, or its size is over a limit.
        ImageError: Pillow cannot read this codec here.
    """
    codec, size = read_header(stream)
    require(codec)
    try:
        with Image.open(io.BytesIO(file_of(stream)), formats=[codec.upper()]) as opened:
            image: Image.Image = opened.convert("RGB")
    except Exception as error:  # decoders raise any exception on damaged streams
        raise BitstreamError(f"altered: its {LABELS[codec]} stream cannot be decoded") from error
    if image.size != size:
        raise BitstreamError(f"altered: its {LABELS[codec]} stream contradicts its size")
    return image


def read_header(stream: bytes) -> StreamHeader:
    """Codec and size of a stream, without decoding it.

    Raises:
        BitstreamError: the stream makes no sense, or its size is over 4096 pixels a side or over
            Pillow's limit.
    """
    number, flags = (stream[0] >> 6, stream[0] & _FLAGS) if stream else (len(CODECS), 0)
    if number >= len(CODECS) or (flags and CODECS[number] != "avif"):
        raise BitstreamError("altered: it holds no known stream of a conventional codec")
    codec, size = CODECS[number], None
    if codec == "jxl":
        size = jxl_size(_JXL_SIGNATURE + stream[1:])
    elif len(stream) >= 4:
        sides = int.from_bytes(stream[1:4], "big")
        size = (sides >> 12) + 1, (sides & 0xFFF) + 1
    if size is None:
        raise BitstreamError(f"truncated: {len(stream)} bytes of a stream of {LABELS[codec]}")
    most = Image.MAX_IMAGE_PIXELS
    if max(size) > LARGEST or (most is not None and size[0] * size[1] > most):
        raise BitstreamError(f"{size[0]} x {size[1]} pixels are more than a stream may have")
    return StreamHeader(codec, size)


def require(codec: str) -> None:
    """Registers a codec with Pillow if that is needed.

    Raises:
        OptionError: there is no such codec.
        ImageError: it is not available here; the message says what to install.
    """
    if codec not in CODECS:
        raise OptionError(f"there is no codec {codec}: {', '.join(CODECS)}")
    if codec == "jxl":
        plug_in("JPEG XL")
    elif not features.check(codec):
        raise ImageError(f"this Pillow lacks {LABELS[codec]}: pip install --force-reinstall pillow")


def stripped(file: bytes, codec: str, size: tuple[int, int]) -> bytes:
    """The stream of a file that Pillow wrote of an RGB image of `size`.

    Raises:
        ImageError: the file has another form than that for which streams are made.
    """
    number = CODECS.index(codec) << 6
    if codec == "jxl":
        if file.startswith(_JXL_SIGNATURE):
            return bytes([number]) + file[len(_JXL_SIGNATURE) :]
    else:
        sides = ((size[0] - 1) << 12 | (size[1] - 1)).to_bytes(3, "big")
        if codec == "webp":
            frame = file[_RIFF : _RIFF + int.from_bytes(file[16:20], "little")]
            if file[12:16] == b"VP8 " and frame[3:10] == _vp8_start(size):
                return bytes([number]) + sides + frame[:3] + frame[10:]
        elif found := flags_and_frame(file, size):
            return bytes([number | found[0]]) + sides + found[1]
    raise ImageError(f"this Pillow writes {LABELS[codec]} in another form than is known")


def file_of(stream: bytes) -> bytes:
    """The file of a stream, as Pillow reads it."""
    codec, size = read_header(stream)
    if codec == "jxl":
        return _JXL_SIGNATURE + stream[1:]
    if codec == "avif":
        return still_image(stream[0] & _FLAGS, size, stream[4:])
    frame = stream[4:7] + _vp8_start(size) + stream[7:]
    chunk = b"WEBPVP8 " + len(frame).to_bytes(4, "little") + frame + b"\0" * (len(frame) % 2)
    return b"RIFF" + len(chunk).to_bytes(4, "little") + chunk


def _vp8_start(size: tuple[int, int]) -> bytes:
    return _VP8_START + b"".join(side.to_bytes(2, "little") for side in size)
