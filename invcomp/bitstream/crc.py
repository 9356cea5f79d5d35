"""CRC-32 that finds damage, and puts a single flipped bit right."""

import zlib

CRC = 4  # bytes
_MOST_MENDED = 1 << 16  # bytes that are searched for a flipped bit
_AFTER = [zlib.crc32(bytes([byte])) ^ zlib.crc32(b"\0") for byte in range(256)]  # a byte later


def with_crc(data: bytes) -> bytes:
    """The data and its CRC-32."""
    return data + zlib.crc32(data).to_bytes(CRC, "big")


def mended(coded: bytes) -> bytes | None:
    """What stands before a CRC-32, with one flipped bit put right; None: more is wrong.

    CRCs are linear: what a flipped bit changes of the CRC does not depend on the data.
    """
    data, stored = coded[:-CRC], coded[-CRC:]
    wrong = zlib.crc32(data) ^ int.from_bytes(stored, "big")
    if not wrong or len(coded) < CRC:
        return data if len(coded) >= CRC else None
    if wrong.bit_count() == 1:
        return data  # the flipped bit is one of the CRC
    if len(data) > _MOST_MENDED:
        return None
    changes = [zlib.crc32(bytes([1 << bit])) ^ zlib.crc32(b"\0") for bit in range(8)]
    for at in range(len(data) - 1, -1, -1):
        if wrong in changes:
            flipped = bytearray(data)
            flipped[at] ^= 1 << changes.index(wrong)
            return bytes(flipped)
        changes = [change >> 8 ^ _AFTER[change & 0xFF] for change in changes]
    return None
