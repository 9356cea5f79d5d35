"""Reads image files: upright, in 8-bit sRGB, within limits of size.

What a file leaves open, or what is lost, is said by an `ImageWarning`.
"""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from pathlib import Path
from typing import IO

from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from ..errors import ImageError, ImageWarning
from .colour import WHITE, Colour, to_srgb
from .jxl import jxl_size

LEAST_SIDE = 16  # px, of the shorter side
LARGEST_SIDE = 65535  # px: a file's original size has two bytes for each side
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
JXL_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
PLUGINS = {  # of formats that Pillow does not read alone: suffixes, module, package
    "HEIC": ((".heic", ".heif", ".hif"), "pillow_heif.HeifImagePlugin", "pillow-heif"),
    "JPEG XL": ((".jxl",), "pillow_jxl", "pillow-jxl-plugin"),
}
NAMES = (  # Pillow's, of the formats that are read: data alone, decoded in this process
    "AVIF BMP CUR DDS DIB FITS GIF HEIF ICNS ICO IM JPEG JPEG2000 JXL MPO MSP PCX PNG PPM PSD QOI"
    " SGI SUN TGA TIFF WEBP XBM XPM"
)
FORMATS = NAMES.split()
COMPOSED = ("MPO", "PSD")  # several images that are no animation: views, layers
JPEG_START = b"\xff\xd8"
DAMAGED_EXIF = "damaged EXIF data: not turned upright"
ORIENTATION = 0x0112  # EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def readable_suffixes() -> set[str]:
    """Suffixes of the image formats that Pillow and its plug-ins read, in lower case.

    Not those that Pillow passes to other programs: PostScript is a program itself.
    """
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    return known.union(*(suffixes for suffixes, _, _ in PLUGINS.values()))


def read_image(path: Path, background: Colour = WHITE) -> Image.Image:
    """The image of a file: upright, in 8-bit sRGB, transparency on `background`.

    Warns with one `ImageWarning`, which names the file.

    Raises:
        ImageError: missing, not an image, damaged, too small or too large.
    """
    try:
        with path.open("rb") as file:
            image, notes = decode_image(file, background)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # of what reads a URL, any exception
        if "://" not in str(path):
            raise
        raise ImageError(f"{path}: cannot be read: {error}") from error
    if notes:
        warnings.warn(ImageWarning(f"{path}: {'; '.join(notes)}"), stacklevel=1)
    return image


def upright_srgb(image: Image.Image, background: Colour = WHITE) -> Image.Image:
    """The same for an image that Pillow has opened or made, of any size.

    Raises:
        ImageError: it cannot be read completely.
    """
    try:
        upright, notes = _converted(image, background)
    except Exception as error:  # Pillow's plug-ins raise any exception on damaged files
        raise ImageError(f"the image cannot be read: {_reason(error)}") from error
    if notes:
        warnings.warn(ImageWarning("; ".join(notes)), stacklevel=1)
    return upright


def decode_image(file: IO[bytes], background: Colour = WHITE) -> tuple[Image.Image, list[str]]:
    """As `read_image`, from an open file; returns the notes in place of warning.

    Raises:
        ImageError: not an image, damaged, too small or too large.
    """
    if not file.seekable():
        file = io.BytesIO(file.read())
    try:
        opened, damage = _open(file)
        with opened as image:
            notes = damage + _limited(image)
            upright, more = _converted(image, background)
            if getattr(image, "is_animated", False) and image.format not in COMPOSED:
                notes.append("several frames: the first is used")
            return upright, notes + more
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError("not an image that Pillow can read") from error
    except Exception as error:  # Pillow's plug-ins raise any exception on damaged files
        raise ImageError(f"the image cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _converted(image: Image.Image, background: Colour) -> tuple[Image.Image, list[str]]:
    image.load()  # before the orientation: some formats store it after the pixels
    damage = []
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        turn, damage = None, [DAMAGED_EXIF]
    converted, notes = to_srgb(image, background)
    return converted if turn is None else converted.transpose(turn), damage + notes


def _open(file: IO[bytes]) -> tuple[Image.Image, list[str]]:
    """The image with its header read, not its pixels, and what was wrong with it."""
    start = file.read(64)
    file.seek(0)
    if not start:
        raise ImageError("the file is empty")
    if start[4:8] == b"ftyp" and any(brand in start for brand in HEIC_BRANDS):
        plug_in("HEIC")
    if start.startswith(JXL_STARTS):
        plug_in("JPEG XL")
        if size := jxl_size(file.read()):  # the plug-in decodes as soon as it opens
            _refuse_large(*size)
        file.seek(0)
    try:
        Image.init()
        return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN]), []
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        file.seek(0)
        if start.startswith(JPEG_START):  # can be reduced
            return JpegImagePlugin.jpeg_factory(file), []
        raise ImageError(_too_large("the image has")) from error
    except UnidentifiedImageError:
        file.seek(0)
        data = file.read() if start.startswith(JPEG_START) else b""
        if len(plain := _without_exif(data)) == len(data):
            raise
        return Image.open(io.BytesIO(plain), formats=["JPEG"]), [DAMAGED_EXIF]


def _without_exif(data: bytes) -> bytes:
    """A JPEG file without its EXIF data, for which Pillow may refuse it."""
    at, kept = 2, [data[:2]]
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # the scan
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xE1 or data[at + 4 : at + 8] != b"Exif":
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def plug_in(name: str) -> None:
    """Registers the plug-in of a format with Pillow."""
    _, module, package = PLUGINS[name]
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ImageError(f"{name} needs the package {package}: pip install {package}") from error


def _limited(image: Image.Image) -> list[str]:
    """Refuses sizes out of the limits; a large JPEG is reduced as it is decoded."""
    width, height = image.size
    if min(width, height) < LEAST_SIDE:
        raise ImageError(
            f"{width} x {height} pixels are too few: the shorter side needs at least {LEAST_SIDE}"
        )
    if width * height > _most_pixels() and _is_decoded_by_rows(image):
        for scale in (2, 4, 8):
            if -(-width // scale) * -(-height // scale) <= _most_pixels():
                image.draft(None, (width // scale, height // scale))
                break
    _refuse_large(*image.size)
    if image.size == (width, height):
        return []
    return [f"{width} x {height} pixels: reduced to {image.width} x {image.height}"]


def check_size(size: tuple[int, int]) -> None:
    """Refuses sizes that the file format or Pillow does not allow.

    Raises:
        ImageError: a side has over 65535 pixels, or all are over `Image.MAX_IMAGE_PIXELS`.
    """
    limit = Image.MAX_IMAGE_PIXELS or LARGEST_SIDE**2
    if max(size) > LARGEST_SIDE or size[0] * size[1] > limit:
        raise ImageError(f"{size[0]} x {size[1]} pixels are more than Pillow's limit allows")


def _most_pixels() -> int:
    return Image.MAX_IMAGE_PIXELS or sys.maxsize


def _refuse_large(width: int, height: int) -> None:
    if width * height > _most_pixels():
        raise ImageError(_too_large(f"{width} x {height} are"))


def _too_large(claim: str) -> str:
    return f"{claim} more than {_most_pixels():,} pixels: possibly a decompression bomb"


def _is_decoded_by_rows(image: Image.Image) -> bool:
    """Whether it is a JPEG of one scan; for others libjpeg holds all coefficients in memory."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or "progressive" in image.info:
        return False
    assert image.fp is not None
    channels, end = image.layers, image.fp.tell()  # Pillow stopped after the header of a scan
    header = bytes([0xFF, 0xDA, 0, 6 + 2 * channels, channels])
    image.fp.seek(end - len(header) - 2 * channels - 3)
    found = image.fp.read(len(header))
    image.fp.seek(end)
    return found == header
