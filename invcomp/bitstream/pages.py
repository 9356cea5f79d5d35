"""Pages of an archive's directory: what up to 256 members need besides their bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import BitstreamError, VersionError
from .bits import Bits, pack_bits, taken
from .ivc import IvcFile, pack_length, unpack_length
from .names import LARGEST_NAMES, pack_names, unpack_names
from .times import pack_times, unpack_times

MOST_MEMBERS = 256
LARGEST_MEMBER = (1 << 24) - 1  # bytes
_FIXED = 10  # bytes of a file before its checksum ends
_LEAST_SHARERS, _LONGEST_PREFIX = 3, 64  # below and above, a kind of its own saves nothing
_MOST_LENGTH_BITS, _MOST_STEP_BITS = 24, 8
_TIMES, _CRITICAL = 1, 0x80  # tags of further fields


class Outline(NamedTuple):
    """What a directory needs to know of a member.

    Attributes:
        name: of the member.
        fixed: the first 10 bytes of its file.
        prefix: the bytes after them that other members may have too.
        length: of the file in bytes.
        time: of its original, in seconds since 1970; None: it is not stored.
    """

    name: str
    fixed: bytes
    prefix: bytes
    length: int
    time: int | None = None

    @classmethod
    def of(cls, name: str, data: bytes, time: int | None = None) -> Outline:
        """The outline of an .ivc file.

        Raises:
            BitstreamError: it is damaged, or larger than an archive's members may be.
        """
        file = IvcFile.unpack(data)
        if len(data) > LARGEST_MEMBER:
            raise BitstreamError(f"{len(data)} bytes: a member has at most {LARGEST_MEMBER}")
        end = _FIXED
        if file.version > 1:  # the tags of layers; if there is none, all up to the payload
            end = _FIXED + len(file.layers) if file.layers else len(data) - len(file.payloads[0])
        prefix = data[_FIXED:end]
        shared = prefix if len(prefix) <= _LONGEST_PREFIX else b""
        return cls(name, data[:_FIXED], shared, len(data), time)


class Kind(NamedTuple):
    """What members have in common.

    Attributes:
        head: layout and fingerprint of their files, 5 bytes.
        prefix: the bytes after a file's checksum.
    """

    head: bytes
    prefix: bytes


class Entry(NamedTuple):
    """What the directory says of a member.

    Attributes:
        name: of the member.
        kind: what it has in common with others.
        step: its step index, one byte.
        check: the checksum of its file, two bytes.
        length: of the part of its file that lies among the payloads, in bytes.
        time: of its original, in seconds since 1970; None: it is not stored.
    """

    name: str
    kind: Kind
    step: bytes
    check: bytes
    length: int
    time: int | None = None


@dataclass(frozen=True)
class _Range:
    """Numbers from `least` on, as `bits` bits above it."""

    least: int
    bits: int

    @classmethod
    def of(cls, numbers: Sequence[int]) -> _Range:
        return cls(min(numbers), (max(numbers) - min(numbers)).bit_length())


def paged(outlines: Iterable[Outline]) -> Iterator[list[Outline]]:
    """The members of each page."""
    page: list[Outline] = []
    taken = 0
    for outline in outlines:
        size = len(outline.name.encode()) + 6  # at most, with its two lengths
        if len(page) == MOST_MEMBERS or taken + size > LARGEST_NAMES:
            yield page
            page, taken = [], 0
        page.append(outline)
        taken += size
    if page:
        yield page


def pack_page(outlines: Sequence[Outline]) -> tuple[bytes, list[int]]:
    """A page, and the position in every member's file from which on it lies among the payloads.

    A kind may be listed several times, for members whose numbers need fewer bits apart.
    """
    kinds = _kinds_of(outlines)
    apart = [(kind, outline.fixed[7]) for kind, outline in zip(kinds, outlines, strict=True)]
    together = [(kind, 0) for kind in kinds]
    ends = min((_pack_numbers(outlines, groups) for groups in (together, apart)), key=_size)
    page = ends[0] + pack_names([outline.name for outline in outlines]) + ends[1]
    page += b"".join(outline.fixed[8:] for outline in outlines)
    times = [outline.time for outline in outlines]
    if times.count(None) < len(times):
        field = pack_times(times)
        page += bytes([_TIMES]) + pack_length(len(field)) + field
    return page, [_FIXED + len(kind.prefix) for kind in kinds]


def _size(parts: tuple[bytes, bytes]) -> int:
    return sum(map(len, parts))


def _pack_numbers(
    outlines: Sequence[Outline], groups: Sequence[tuple[Kind, int]]
) -> tuple[bytes, bytes]:
    """The kinds of a page, one for each group of members, and the numbers of its members."""
    lengths = [
        outline.length - _FIXED - len(kind.prefix)
        for outline, (kind, _) in zip(outlines, groups, strict=True)
    ]
    steps = [outline.fixed[7] for outline in outlines]
    members: dict[tuple[Kind, int], list[int]] = {}
    for at, group in enumerate(groups):
        members.setdefault(group, []).append(at)
    coded, fields = bytearray([len(members) - 1]), [[(0, 0)]] * len(outlines)
    for number, ((kind, _), own) in enumerate(members.items()):
        length, step = _Range.of([lengths[at] for at in own]), _Range.of([steps[at] for at in own])
        coded += kind.head + pack_length(len(kind.prefix)) + kind.prefix
        coded += length.least.to_bytes(3, "big") + bytes([length.bits, step.least, step.bits])
        for at in own:
            fields[at] = [
                (number, (len(members) - 1).bit_length()),
                (lengths[at] - length.least, length.bits),
                (steps[at] - step.least, step.bits),
            ]
    return bytes(coded), pack_bits([each for member in fields for each in member])


def _kinds_of(outlines: Sequence[Outline]) -> list[Kind]:
    """The kind of each member. A prefix that few of them share is left in their files."""
    whole = [Kind(outline.fixed[2:7], outline.prefix) for outline in outlines]
    sharers = Counter(whole)
    return [kind if sharers[kind] >= _LEAST_SHARERS else Kind(kind.head, b"") for kind in whole]


def unpack_page(page: bytes, count: int) -> list[Entry]:
    """What a page says of its `count` members.

    Raises:
        VersionError: it has a field that must be known.
        BitstreamError: it makes no sense.
    """
    kinds, ranges, at = [], [], 1
    for _ in range(taken(page, 0, 1)[0] + 1):
        head, at = taken(page, at, 5), at + 5
        size, at = unpack_length(page, at)
        prefix, at = taken(page, at, size), at + size
        *least, length_bits, least_step, step_bits = taken(page, at, 6)
        at += 6
        if length_bits > _MOST_LENGTH_BITS or step_bits > _MOST_STEP_BITS:
            raise BitstreamError("altered: a page of its directory makes no sense")
        kinds.append(Kind(head, prefix))
        length = _Range(int.from_bytes(bytes(least), "big"), length_bits)
        ranges.append((length, _Range(least_step, step_bits)))
    names, at = unpack_names(page, at, count)
    bits = Bits(page[at:])
    found = []
    for name in names:
        number = bits.take((len(kinds) - 1).bit_length())
        if number >= len(kinds):
            raise BitstreamError("altered: a page of its directory makes no sense")
        size, step = (each.least + bits.take(each.bits) for each in ranges[number])
        if step > 0xFF or size > LARGEST_MEMBER:
            raise BitstreamError("altered: a page of its directory makes no sense")
        found.append((name, kinds[number], bytes([step]), size))
    at += bits.size
    checks = taken(page, at, 2 * count)
    further = _unpack_further(page, at + 2 * count)
    times: Sequence[int | None] = [None] * count
    if _TIMES in further:
        times = unpack_times(further[_TIMES], count)
    return [
        Entry(name, kind, step, checks[2 * n : 2 * n + 2], size, times[n])
        for n, (name, kind, step, size) in enumerate(found)
    ]


def _unpack_further(page: bytes, at: int) -> dict[int, bytes]:
    """Further fields by their tags; refuses those that must be known."""
    found, last = dict[int, bytes](), 0
    while at < len(page):
        tag = page[at]
        if tag <= last:
            raise BitstreamError("altered: fields of its directory are out of order")
        size, at = unpack_length(page, at + 1)
        found[tag], at, last = taken(page, at, size), at + size, tag
    if last >= _CRITICAL:
        raise VersionError(f"it needs field {last}, which this program lacks: update invcomp")
    return found
