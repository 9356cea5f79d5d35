"""AVIF files of one still image, from and to the frame of their AV1 stream.

Everything else in such a file follows from the image's size and six flags.
"""

from __future__ import annotations

_SEQUENCE, _DELIMITER, _FRAME = 1, 2, 6  # types of OBU, the parts of an AV1 stream


def flags_and_frame(file: bytes, size: tuple[int, int]) -> tuple[int, bytes] | None:
    """The flags of a file's sequence header, and the payload of its frame.

    None if the file holds more than that, or another kind of image than `still_image` makes.
    """
    obus = _obus(file.partition(b"mdat")[2])
    if set(obus) != {_SEQUENCE, _DELIMITER, _FRAME}:
        return None
    flags = _sequence_flags(obus[_SEQUENCE], size)
    return None if flags is None else (flags, obus[_FRAME])


def still_image(flags: int, size: tuple[int, int], frame: bytes) -> bytes:
    """The AVIF file of a frame.

    Args:
        flags: six bits of the sequence header: superblocks of 128 px, intra filter, intra edge
            filter, superres, CDEF, loop restoration.
        size: of the image, up to 4096 px a side.
        frame: payload of its OBU.
    """
    sequence = _obu(_SEQUENCE, _sequence_header(flags, size))
    return _file(_obu(_DELIMITER, b"") + sequence + _obu(_FRAME, frame), size)


def _obus(data: bytes) -> dict[int, bytes]:
    """The parts of an AV1 stream by their type, if they have sizes and no type occurs twice."""
    found: dict[int, bytes] = {}
    while data:
        kind, length, at = data[0] >> 3, 0, 1
        for shift in range(0, 56, 7):
            byte, at = data[at], at + 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        if data[0] & 7 != 2 or kind in found:
            return {}
        found[kind], data = data[at : at + length], data[at + length :]
    return found


def _obu(kind: int, payload: bytes) -> bytes:
    length, size = len(payload), b""
    while length >= 0x80:
        length, size = length >> 7, size + bytes([length & 0x7F | 0x80])
    return bytes([kind << 3 | 2]) + size + bytes([length]) + payload


def _sequence_header(
    flags: int, size: tuple[int, int], level: int = 31, bits: tuple[int, int] = (12, 12)
) -> bytes:
    """The header of a still image: 8 bits, 4:2:0, sRGB by the matrix of BT.601, full range.

    Args:
        flags: of `still_image`.
        size: of the image.
        level: number of its level; 31 is the one without limits.
        bits: that the width and the height are written with.
    """
    profile, still, reduced, lengths = "000", "1", "1", "".join(f"{each - 1:04b}" for each in bits)
    sides = "".join(f"{side - 1:0{each}b}" for side, each in zip(size, bits, strict=True))
    depth, monochrome, described, full, position, own_steps = "0", "0", "1", "1", "00", "0"
    colour = depth + monochrome + described + f"{1:08b}{13:08b}{6:08b}" + full + position
    text = profile + still + reduced + f"{level:05b}" + lengths + sides + f"{flags:06b}"
    text += colour + own_steps + "0" + "1"  # no grain; the end
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def _sequence_flags(header: bytes, size: tuple[int, int]) -> int | None:
    """The flags of a sequence header; None if it is not one of `_sequence_header`."""
    text = "".join(f"{byte:08b}" for byte in header)
    if len(text) < 24:
        return None
    level, across, down = int(text[5:10], 2), int(text[10:14], 2) + 1, int(text[14:18], 2) + 1
    flags = int(text[18 + across + down :][:6] or "0", 2)
    same = header == _sequence_header(flags, size, level, (across, down))
    return flags if same else None


def _file(obus: bytes, size: tuple[int, int]) -> bytes:
    """An AVIF file of the parts of an AV1 stream of `size`."""

    def box(kind: bytes, *content: bytes) -> bytes:
        body = b"".join(content)
        return (8 + len(body)).to_bytes(4, "big") + kind + body

    def file(start: int) -> bytes:
        place = start.to_bytes(4, "big") + len(obus).to_bytes(4, "big")
        sides = b"".join(side.to_bytes(4, "big") for side in size)
        properties = box(
            b"ipco",
            box(b"ispe", bytes(4), sides),
            box(b"pixi", bytes(4), b"\3\x08\x08\x08"),
            box(b"av1C", b"\x81\x1f\x0c\0"),
            box(b"colr", b"nclx\0\1\0\x0d\0\6\x80"),
        )
        used = box(b"ipma", bytes(4), b"\0\0\0\1\0\1\4\1\2\x83\4")
        meta = box(
            b"meta",
            bytes(4),
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", bytes(4), b"\0\1"),
            box(b"iloc", bytes(4), b"\x44\0\0\1\0\1\0\0\0\1", place),
            box(b"iinf", bytes(4), b"\0\1", box(b"infe", b"\2\0\0\0\0\1\0\0av01\0")),
            box(b"iprp", properties, used),
        )
        return box(b"ftyp", b"avif", bytes(4), b"avifmif1miafMA1B") + meta + box(b"mdat", obus)

    return file(len(file(0)) - len(obus))
