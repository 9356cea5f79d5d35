"""QR codes of .ivc files: made with segno, read with zxing-cpp."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import segno
import segno.consts
import zxingcpp
from PIL import Image

from ..bitstream.ivc import MAGIC
from ..errors import ImageError, OptionError
from .base45 import from_base45, to_base45

LEVELS = "LMQH"  # of error correction: 7, 15, 25, 30% of a code may be damaged
VERSIONS = 40
MARGIN = 4  # modules of white around a code, which scanners need
FORMATS = {".png": "png", ".svg": "svg", ".pdf": "pdf"}


@dataclass(frozen=True)
class Code:
    """A QR code.

    Attributes:
        symbol: segno's.
        data: the bytes that it holds.
        is_text: whether it holds them as base45.
    """

    symbol: Any
    data: bytes
    is_text: bool

    @property
    def version(self) -> int:
        """1 to 40: a code of version v has 17 + 4 v modules a side."""
        return int(self.symbol.version)

    @property
    def modules(self) -> int:
        """Black and white squares of a side, without the margin."""
        return 17 + 4 * self.version

    @property
    def level(self) -> str:
        """Of error correction, one of `LEVELS`."""
        return str(self.symbol.error)

    def file(self, suffix: str, scale: int = 8) -> bytes:
        """An image of the code, black on white, with its margin.

        Args:
            suffix: of the image's file, one of `FORMATS`.
            scale: pixels (points in a PDF) of a module's side.

        Raises:
            OptionError: there is no such format, or the scale is not at least 1.
        """
        if suffix.lower() not in FORMATS:
            raise OptionError(f"a QR code is written as {', '.join(FORMATS)}, not {suffix!r}")
        if not 1 <= scale <= 100:
            raise OptionError(f"{scale} pixels for a module: must be 1 to 100")
        buffer = io.BytesIO()
        kind = FORMATS[suffix.lower()]
        self.symbol.save(buffer, kind=kind, scale=scale, border=MARGIN, light="white")
        return buffer.getvalue()


def make_code(
    data: bytes, level: str = "M", version: int | None = None, as_text: bool = False
) -> Code:
    """The QR code of a file.

    Args:
        data: the file.
        level: least error correction, one of `LEVELS`. A higher one is taken where it needs no
            larger code.
        version: 1 to 40; None: the smallest that holds the data.
        as_text: as base45, which takes 3% more.

    Raises:
        OptionError: there is no such level or version, or it does not hold the data.
    """
    most = capacity(version or VERSIONS, level, as_text)
    if not data or len(data) > most:
        which = f"version {version}" if version else "any version"
        raise OptionError(
            f"{len(data)} bytes do not fit a QR code of {which} with error correction {level}: "
            f"it holds 1 to {most}"
        )
    mode = "alphanumeric" if as_text else "byte"
    content = to_base45(data) if as_text else data
    symbol = segno.make_qr(content, error=level, version=version, mode=mode)
    return Code(symbol, data, as_text)


def capacity(version: int, level: str = "M", as_text: bool = False) -> int:
    """How many bytes a QR code holds.

    Args:
        version: 1 to 40.
        level: of error correction, one of `LEVELS`.
        as_text: as base45.

    Raises:
        OptionError: there is no such level or version.
    """
    if level not in LEVELS or len(level) != 1:
        raise OptionError(f"error correction {level!r} is not one of {', '.join(LEVELS)}")
    if not 1 <= version <= VERSIONS:
        raise OptionError(f"version {version} of a QR code: must be 1 to {VERSIONS}")
    of_version: Any = segno.consts.SYMBOL_CAPACITY[version]
    bits = of_version[segno.consts.ERROR_MAPPING[level]]
    if not as_text:
        return int(bits - 4 - (8 if version < 10 else 16)) // 8
    left = bits - 4 - (9 if version < 10 else 11 if version < 27 else 13)
    letters = left // 11 * 2 + (left % 11 >= 6)
    return int(letters // 3 * 2 + (letters % 3 == 2))


def read_code(image: Image.Image) -> bytes:
    """The file in the QR code of an image.

    Args:
        image: of a code, or a photo that shows one, turned in any way.

    Raises:
        ImageError: it shows no QR code that can be read, or none that holds an .ivc file.
    """
    wanted: Any = zxingcpp.BarcodeFormat.QRCode
    found = zxingcpp.read_barcodes(image.convert("L"), formats=wanted)
    for each in found:
        if (data := _file_in(bytes(each.bytes))) is not None:
            return data
    raise ImageError(
        "the QR code holds no .ivc file" if found else "no QR code that can be read was found"
    )


def _file_in(contents: bytes) -> bytes | None:
    if contents.startswith(MAGIC):
        return contents
    with suppress(ValueError):
        data = from_base45(contents.decode("ascii"))
        return data if data.startswith(MAGIC) else None
    return None
