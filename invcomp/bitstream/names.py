"""Names of an archive's members: which are allowed, and how a page of them is coded."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from ..errors import BitstreamError
from .ivc import pack_length, unpack_length

LONGEST_NAME, LONGEST_PART = 1023, 255  # bytes
LARGEST_NAMES = 1 << 15  # bytes of the names of a page, before they are coded
_MOST_SHARED = 255
_PLAIN, _DEFLATED = 0, 1
_RAW_DEFLATE = -15
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    port + digit for port in ("com", "lpt") for digit in "0123456789¹²³"
}
_HIDDEN = {0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # lines and directions


def fault_of(name: str) -> str | None:
    """Why a member may not have this name; None if it may.

    A name is a relative path with slashes. No file system takes it for anything else, and no
    terminal for a command.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "it is no UTF-8"
    if length > LONGEST_NAME:
        return f"it has over {LONGEST_NAME} bytes"
    codes = {ord(character) for character in name}
    if any(code < 0x20 or 0x7F <= code < 0xA0 for code in codes) or codes & _HIDDEN:
        return "it has control characters"
    if "\\" in name:
        return "it has a backslash"
    if name[1:2] == ":" and name[0].isascii() and name[0].isalpha():
        return "it begins with a drive"
    for part in name.split("/"):
        if not part.strip(". "):
            return "it is absolute, or has a part that is empty or only dots"
        if len(part.encode()) > LONGEST_PART:
            return f"it has a part of over {LONGEST_PART} bytes"
        if part.split(".")[0].rstrip(" ").lower() in _DEVICES:
            return "it names a device"
    return None


def pack_names(names: Sequence[str]) -> bytes:
    """Codes names: each without what it shares with the one before, all deflated if that helps.

    Args:
        names: allowed ones, of at most LARGEST_NAMES bytes.
    """
    shared, lengths, rest, before = bytearray(), b"", b"", b""
    for name in names:
        text = name.encode()
        most = min(len(text), len(before), _MOST_SHARED)
        alike = next((at for at in range(most) if text[at] != before[at]), most)
        shared.append(alike)
        lengths += pack_length(len(text) - alike)
        rest += text[alike:]
        before = text
    plain = bytes(shared) + lengths + rest
    packer = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE)
    deflated = packer.compress(plain) + packer.flush()
    form, coded = min((_PLAIN, plain), (_DEFLATED, deflated), key=lambda each: len(each[1]))
    return bytes([form]) + pack_length(len(coded)) + coded


def unpack_names(data: bytes, at: int, count: int) -> tuple[list[str], int]:
    """The names at the position `at`, and the position after them.

    Raises:
        BitstreamError: they are damaged, or one is not allowed.
    """
    form = data[at : at + 1]
    length, at = unpack_length(data, at + 1)
    coded, end = data[at : at + length], at + length
    if len(coded) < length or form not in (b"\0", b"\1"):
        raise BitstreamError("altered: its names make no sense")
    plain = _inflated(coded) if form[0] == _DEFLATED else coded
    if len(plain) < count:
        raise BitstreamError("altered: its names make no sense")
    lengths, here = [], count
    for _ in range(count):
        length, here = unpack_length(plain, here)
        lengths.append(length)
    if here + sum(lengths) != len(plain):
        raise BitstreamError("altered: its names make no sense")
    names, before = [], b""
    for shared, length in zip(plain[:count], lengths, strict=True):
        if shared > len(before):
            raise BitstreamError("altered: its names make no sense")
        before = before[:shared] + plain[here : here + length]
        here += length
        names.append(_checked(before))
    return names, end


def _inflated(coded: bytes) -> bytes:
    unpacker = zlib.decompressobj(_RAW_DEFLATE)
    try:
        plain = unpacker.decompress(coded, 2 * LARGEST_NAMES)
    except zlib.error as error:
        raise BitstreamError("altered: its names cannot be inflated") from error
    if not unpacker.eof or unpacker.unused_data:
        raise BitstreamError("altered: its names cannot be inflated")
    return plain


def _checked(text: bytes) -> str:
    try:
        name = text.decode()
    except UnicodeDecodeError as error:
        raise BitstreamError("refused: a member's name is no UTF-8") from error
    if fault := fault_of(name):
        raise BitstreamError(f"refused: a member has the name {name!r}: {fault}")
    return name
