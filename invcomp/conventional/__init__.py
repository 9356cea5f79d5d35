"""Conventional codecs without their containers: the streams that an .ivc file holds.

At some hundred bytes, what is the same in every file of a codec is a large part of it. A stream
leaves that out (docs/format.md).
"""

from .codecs import LABELS
from .search import SIZES, compress
from .streams import CODECS, StreamHeader, decompress, read_header, require

__all__ = [
    "CODECS",
    "LABELS",
    "SIZES",
    "StreamHeader",
    "compress",
    "decompress",
    "read_header",
    "require",
]
