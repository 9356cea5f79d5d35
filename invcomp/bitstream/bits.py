"""Numbers as a string of bits, the highest bit of a byte first."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import BitstreamError


def pack_bits(fields: Iterable[tuple[int, int]]) -> bytes:
    """Numbers of so many bits each, with zeros up to a whole byte."""
    value, size = 0, 0
    for number, bits in fields:
        value, size = value << bits | number, size + bits
    return (value << -size % 8).to_bytes((size + 7) // 8, "big")


class Bits:
    """Reads numbers of so many bits each.

    Raises:
        BitstreamError: when it is read: there are too few.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, bits: int) -> int:
        """The next number."""
        end = self._at + bits
        first, last = self._at // 8, (end + 7) // 8
        value = int.from_bytes(taken(self._data, first, last - first), "big") >> 8 * last - end
        self._at = end
        return value & (1 << bits) - 1

    @property
    def size(self) -> int:
        """Bytes that have been read, the last one in part."""
        return (self._at + 7) // 8


def taken(data: bytes, at: int, length: int) -> bytes:
    """The bytes of a part of a page.

    Raises:
        BitstreamError: the page ends before.
    """
    if at + length > len(data):
        raise BitstreamError("altered: a page of its directory ends too early")
    return data[at : at + length]
