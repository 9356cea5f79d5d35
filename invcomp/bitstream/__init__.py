"""The .ivc container: one compressed image, from and to the coded integers.

Nothing here, nor in the coder and the tables of `entropy`, knows a generator or torch, and nothing
that decides a symbol is floating point: a file reads the same on every machine. docs/format.md is
the specification.
"""

from .ivc import MAGIC, VERSION, Decoded, IvcFile, Layer, decode, encode

__all__ = ["MAGIC", "VERSION", "Decoded", "IvcFile", "Layer", "decode", "encode"]
