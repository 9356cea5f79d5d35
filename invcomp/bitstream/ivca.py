"""The .ivca container: a set of .ivc files in one file. docs/format.md specifies it.

An archive is a header and blocks. A block has a directory in pages, then what its members do not
share. Every member is the .ivc file that was put in, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from ..errors import BitstreamError, VersionError
from .crc import CRC, mended, with_crc
from .ivc import MAGIC as IVC_MAGIC
from .ivc import IvcFile
from .pages import Entry, Kind, Outline, pack_page, paged, unpack_page
from .source import Source

MAGIC = b"\xc9AV"
VERSION = 1
SUFFIX = ".ivca"
_MARKER = b"\xc9B"  # of a block
_HEADER, _BLOCK = 8, 25  # bytes: the archive's header, and a block's
_ROW = Struct(">BHI")  # of the table of pages: members - 1, bytes, bytes of their payloads
_DIGEST = 16
LEAST_BLOCK = _BLOCK + _ROW.size + CRC  # bytes; with fewer, a block has no page
_READ = 1 << 16  # bytes that are read of the file at once
_FLIPPED = "has a flipped bit, which is put right on reading"


class Member(NamedTuple):
    """A member of an archive.

    Attributes:
        name: a relative path with slashes.
        kind: what it shares with others.
        step: its step index, one byte.
        check: the checksum of its file, two bytes.
        offset: of its other bytes in the archive.
        length: of these bytes.
        time: of its original, in seconds since 1970; None: it is not stored.
    """

    name: str
    kind: Kind
    step: bytes
    check: bytes
    offset: int
    length: int
    time: int | None = None

    @property
    def fingerprint(self) -> bytes:
        """First 4 bytes of its bundle's; zeros: it needs no bundle."""
        return self.kind.head[1:]

    @property
    def file_size(self) -> int:
        """Bytes of its .ivc file."""
        return 10 + len(self.kind.prefix) + self.length

    def file_of(self, rest: bytes) -> bytes:
        """Its .ivc file, from its bytes in the archive."""
        head = IVC_MAGIC + self.kind.head + self.step + self.check
        return head + self.kind.prefix + rest


@dataclass
class Block:
    """A block of an archive.

    Attributes:
        start: its position.
        end: the position after it.
        digest: of its members.
        members: those that are readable.
        count: of all its members.
        damage: what is wrong with it, one line each.
        cut: number of members whose bytes the file ends before.
    """

    start: int
    end: int
    digest: bytes
    members: list[Member] = field(default_factory=list)
    count: int = 0
    damage: list[str] = field(default_factory=list)
    cut: int = 0


class Digest:
    """The digest of members, in their order."""

    def __init__(self) -> None:
        self._hash = sha256()

    def add(self, name: str, file: bytes) -> None:
        """Adds a member with its .ivc file."""
        self._hash.update(name.encode() + b"\0" + len(file).to_bytes(4, "big") + file)

    def value(self) -> bytes:
        """16 bytes."""
        return self._hash.digest()[:_DIGEST]


def header() -> bytes:
    """The first bytes of every archive."""
    return with_crc(MAGIC + bytes([VERSION]))


def pack_directory(outlines: Sequence[Outline], digest: bytes) -> tuple[bytes, list[int]]:
    """A block up to its payloads.

    Args:
        outlines: of its members, at least one.
        digest: of its members.

    Returns:
        The bytes, and for each member the position in its file from which on it follows them.
    """
    table, pages, cuts = b"", b"", list[int]()
    for members in paged(outlines):
        page, own = pack_page(members)
        size = sum(member.length - cut for member, cut in zip(members, own, strict=True))
        table += _ROW.pack(len(members) - 1, len(page), size)
        pages += with_crc(page)
        cuts += own
    count = (len(table) // _ROW.size).to_bytes(3, "big")
    return with_crc(_MARKER + count + digest) + with_crc(table) + pages, cuts


class Contents:
    """What an archive holds, as far as it can be read.

    Attributes:
        blocks: in order, up to the end of the file.
        flaws: what is wrong with its header, one line each.

    Raises:
        VersionError: the format version is newer, or a field must be known.
        BitstreamError: not an archive; two members have one name; or a directory makes no sense
            that is not damaged.
    """

    def __init__(self, source: Source) -> None:
        self.blocks: list[Block] = []
        self.flaws: list[str] = []
        at = self._read_header(source)
        names = set[str]()
        while at < source.size:
            block = _read_block(source, at)
            for member in block.members:
                if member.name in names:
                    raise BitstreamError(f"refused: two members have the name {member.name!r}")
                names.add(member.name)
            self.blocks.append(block)
            at = block.end

    @property
    def members(self) -> list[Member]:
        """Those of all blocks that are readable, in order."""
        return [member for block in self.blocks for member in block.members]

    @property
    def damage(self) -> list[str]:
        """What is wrong, one line each; of an archive that is only cut short, nothing."""
        return self.flaws + [line for block in self.blocks for line in block.damage]

    @property
    def cut(self) -> int:
        """How many members at least were not written to their end."""
        return sum(block.cut for block in self.blocks)

    @property
    def digest(self) -> bytes | None:
        """Of all members; None while the archive is unfinished, because it has several blocks."""
        finished = len(self.blocks) == 1 and not self.cut
        return self.blocks[0].digest if finished else None

    def _read_header(self, source: Source) -> int:
        """Checks the header; returns the position after it."""
        start = source.read(0, _HEADER, _READ)
        if len(start) < _HEADER and header().startswith(start):
            return source.size  # it has just been begun
        plain = mended(start)
        if len(start) < _HEADER or plain is None or plain[:3] != MAGIC:
            raise BitstreamError("not an .ivca archive")
        if plain[3] > VERSION:
            raise VersionError(
                f"archive version {plain[3]} is newer than this program reads ({VERSION}):"
                " update invcomp"
            )
        if plain[3] != VERSION:
            raise BitstreamError(f"altered: there is no archive version {plain[3]}")
        if start != header():
            self.flaws.append(f"the header {_FLIPPED}")
        return _HEADER


def _read_block(source: Source, at: int) -> Block:
    """The block at a position; without members if there is none, up to where the next one is."""
    fixed = source.read(at, _BLOCK, _READ)
    plain = mended(fixed) if len(fixed) == _BLOCK else None
    if plain is None or plain[:2] != _MARKER:
        if len(fixed) < _BLOCK and fixed.startswith(_MARKER[: len(fixed)]):
            return Block(at, source.size, b"", cut=1, count=1)
        return _lost(source, at)
    pages = int.from_bytes(plain[2:5], "big")
    block = Block(at, source.size, plain[5:])
    if with_crc(plain) != fixed:
        block.damage.append(f"the block at byte {at} {_FLIPPED}")
    table_at = at + _BLOCK
    size = pages * _ROW.size + CRC
    if table_at + size > source.size:
        block.cut = block.count = max(pages, 1)  # at least
        return block
    coded = source.read(table_at, size, _READ)
    table = mended(coded)
    if table is None or not pages:
        return _lost(source, at)
    if with_crc(table) != coded:
        block.damage.append(f"the block at byte {at} {_FLIPPED}")
    _read_pages(source, block, table_at + size, table)
    return block


def _read_pages(source: Source, block: Block, at: int, table: bytes) -> None:
    """Reads the pages of a block, from a position on, and sets the block's end."""
    offset = at + sum(size + CRC for _, size, _ in _ROW.iter_unpack(table))
    for last, size, payloads in _ROW.iter_unpack(table):
        count, first, end = last + 1, block.count + 1, offset + payloads
        block.count += count
        if at + size + CRC > source.size:
            block.cut += count
            continue
        coded = source.read(at, size + CRC, _READ)
        page, at = mended(coded), at + len(coded)
        which = f"the directory of members {first} to {block.count}"
        if page is None:
            block.damage.append(f"{which} is damaged: they are lost")
        else:
            if with_crc(page) != coded:
                block.damage.append(f"{which} {_FLIPPED}")
            for entry in unpack_page(page, count):
                if offset + entry.length <= source.size:
                    block.members.append(_placed(entry, offset))
                else:
                    block.cut += 1
                offset += entry.length
            if offset != end:
                raise BitstreamError("altered: its directory contradicts itself")
        offset = end
    block.end = min(offset, source.size)


def _placed(entry: Entry, offset: int) -> Member:
    name, kind, step, check, length, time = entry
    return Member(name, kind, step, check, offset, length, time)


def _lost(source: Source, at: int) -> Block:
    """What lies between a position and the next block that can be read."""
    end = at + 1
    while end + _BLOCK <= source.size:
        window = source.read(end, _READ)
        found = _find_block(window)
        if found is not None:
            end += found
            break
        end += len(window) - _BLOCK + 1
    else:
        end = source.size
    damage = f"{end - at} bytes from byte {at} on are damaged: what they held is lost"
    return Block(at, end, b"", damage=[damage])


def _find_block(window: bytes) -> int | None:
    """The position of the first whole beginning of a block."""
    found = window.find(_MARKER)
    while 0 <= found <= len(window) - _BLOCK:
        fixed = window[found : found + _BLOCK]
        if with_crc(fixed[:-CRC]) == fixed:
            return found
        found = window.find(_MARKER, found + 1)
    return None


def read_file(source: Source, member: Member) -> bytes:
    """The .ivc file of a member.

    Raises:
        BitstreamError: it is damaged.
        VersionError: it has a newer version.
    """
    data = member.file_of(source.read(member.offset, member.length))
    IvcFile.unpack(data)  # verifies its checksum
    return data
