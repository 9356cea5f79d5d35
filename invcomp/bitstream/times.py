"""Times of an archive's members: the field of a page that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..errors import BitstreamError
from .bits import Bits, pack_bits, taken

LATEST_TIME = 253_402_300_799  # the last second of the year 9999
_BASE = 5  # bytes of the first time
_MOST_ORDER = 39
_MOST_BITS = 40  # of a difference
_GAPS = 0x80  # not every member has a time


def is_time(seconds: int) -> bool:
    """Whether an archive can hold a time: seconds since 1970, up to the end of the year 9999."""
    return 0 <= seconds <= LATEST_TIME


def pack_times(times: Sequence[int | None]) -> bytes:
    """Codes times, each as the difference from the one before.

    Args:
        times: of the members of a page; at least one has a time.
    """
    known = [time for time in times if time is not None]
    codes = [_fold(b - a) for a, b in pairwise(known)]
    order = min(range(_MOST_ORDER + 1), key=lambda k: sum(_size(code, k) for code in codes))
    gaps = len(known) < len(times)
    fields, left, begun = list[tuple[int, int]](), iter(codes), False
    for time in times:
        if gaps:
            fields.append((time is not None, 1))
        if time is not None and begun:
            code = next(left) + (1 << order)
            fields.append((code, 2 * code.bit_length() - 1 - order))  # zeros, then the number
        begun |= time is not None
    head = bytes([order | _GAPS * gaps]) + known[0].to_bytes(_BASE, "big")
    return head + pack_bits(fields)


def unpack_times(field: bytes, count: int) -> list[int | None]:
    """The times of the `count` members of a page; None: a member has none.

    Raises:
        BitstreamError: they make no sense.
    """
    head, base = taken(field, 0, 1)[0], taken(field, 1, _BASE)
    order, gaps = head & ~_GAPS, bool(head & _GAPS)
    time, begun = int.from_bytes(base, "big"), False
    bits, found = Bits(field[1 + _BASE :]), list[int | None]()
    if order > _MOST_ORDER:
        raise _senseless()
    for _ in range(count):
        if gaps and not bits.take(1):
            found.append(None)
            continue
        if begun:
            time += _unfold(_read(bits, order))
        if not is_time(time):
            raise BitstreamError("altered: a member has a time before 1970 or after 9999")
        found.append(time)
        begun = True
    if not begun or 1 + _BASE + bits.size != len(field):
        raise _senseless()
    return found


def _senseless() -> BitstreamError:
    return BitstreamError("altered: the times of its members make no sense")


def _fold(difference: int) -> int:
    """A number from 0 on: 0, -1, 1, -2, 2 and so on become 0, 1, 2, 3, 4."""
    return 2 * difference if difference >= 0 else -2 * difference - 1


def _unfold(code: int) -> int:
    return -(code + 1) // 2 if code % 2 else code // 2


def _size(code: int, order: int) -> int:
    """Bits of a number as an exponential Golomb code."""
    return 2 * (code + (1 << order)).bit_length() - 1 - order


def _read(bits: Bits, order: int) -> int:
    """A number as an exponential Golomb code: zeros, then the number with so many bits more."""
    more = 0
    while not bits.take(1):
        more += 1
        if order + more >= _MOST_BITS:
            raise _senseless()
    return (1 << order + more | bits.take(order + more)) - (1 << order)
