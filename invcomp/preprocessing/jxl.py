"""The size of a JPEG XL image from its header (ISO/IEC 18181), without decoding it."""

from __future__ import annotations

CONTAINER = b"\0\0\0\x0cJXL "
RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height
SIDE_BITS = (9, 13, 18, 30)


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None if there is no codestream."""
    start = _codestream(data) if data.startswith(CONTAINER) else 0
    if start is None or data[start : start + 2] != b"\xff\x0a":
        return None
    bits = int.from_bytes(data[start + 2 : start + 16], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    is_small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if is_small else take(SIDE_BITS[take(2)]) + 1

    height, ratio = side(), take(3)
    if not ratio:
        return side(), height
    across, down = RATIOS[ratio - 1]
    return height * across // down, height


def _codestream(data: bytes) -> int | None:
    """Where the codestream begins in the boxes of a container."""
    place = 0
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        content = place + 8
        if length == 1:  # a longer length follows
            length, content = int.from_bytes(data[content : content + 8], "big"), content + 8
        if kind in (b"jxlc", b"jxlp"):
            return content + 4 * (kind == b"jxlp")  # which has an index
        if length < 8:  # 0: up to the end
            return None
        place += length
    return None
