"""Writes .ivc files of version 1, which the package only reads."""

from binascii import crc_hqx
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invcomp.entropy.coder import encode_payload
from invcomp.entropy.tables import PriorTables


def pack(
    integers: NDArray[np.integer[Any]], step_index: int, tables: PriorTables, fingerprint: bytes
) -> bytes:
    """A file in the segments of tables of one class, each of fewer than 255 bytes."""
    rows = tables.rows(step_index)
    segments = [
        encode_payload(integers[part], rows[part], tables, escapes_last=True)
        for part in tables.segments
    ]
    fixed = b"\xc9V" + bytes([0x10 | len(segments) - 1]) + fingerprint + bytes([step_index])
    rest = bytes(map(len, segments[:-1])) + b"".join(segments)
    return fixed + crc_hqx(fixed + rest, 0xFFFF).to_bytes(2, "big") + rest
