"""Integers to bytes and back: the prior tables, the range coder and the .ivc container.

Nothing here knows a generator or torch, and nothing that decides a symbol is floating point:
a file reads the same on every machine. docs/format.md is the specification.
"""

from invcomp.bitstream.coder import (
    decode_beginning,
    decode_class_and_segment,
    decode_segment,
    encode_segment,
)
from invcomp.bitstream.ivc import MAGIC, VERSION, Decoded, IvcFile, decode, encode
from invcomp.bitstream.tables import PriorTables, frequencies_from_probabilities

__all__ = [
    "MAGIC",
    "VERSION",
    "Decoded",
    "IvcFile",
    "PriorTables",
    "decode",
    "decode_beginning",
    "decode_class_and_segment",
    "decode_segment",
    "encode",
    "encode_segment",
    "frequencies_from_probabilities",
]
