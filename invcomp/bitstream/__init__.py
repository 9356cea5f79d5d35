"""The .ivc container: one compressed image, from and to the coded integers.

This package, and what codes payloads in `entropy`, use neither a generator nor torch. No symbol
depends on floating point, so a file decodes to the same integers on every machine.
docs/format.md is the specification. `ivca` is the container of many such images.
"""

from ..entropy.model import Decoded
from .ivc import (
    CONVENTIONAL,
    DETAIL,
    FACES,
    MAGIC,
    MORE_DETAILS,
    PHOTO,
    VERSION,
    IvcFile,
    Layer,
    decode,
    encode,
    read_ivc,
)

__all__ = [
    "CONVENTIONAL",
    "DETAIL",
    "FACES",
    "MAGIC",
    "MORE_DETAILS",
    "PHOTO",
    "VERSION",
    "Decoded",
    "IvcFile",
    "Layer",
    "decode",
    "encode",
    "read_ivc",
]
