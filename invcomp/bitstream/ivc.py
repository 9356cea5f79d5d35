"""The .ivc container, version 1: one compressed picture. Specified in docs/format.md."""

from binascii import crc_hqx
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..entropy.coder import (
    decode_beginning,
    decode_class_and_segment,
    decode_segment,
    encode_segment,
)
from ..entropy.tables import MAX_SEGMENTS, STEP_INDICES, PriorTables
from ..errors import BitstreamError, ImageError, OptionError, VersionError

MAGIC = b"\xc9V"  # 0xC9 is an I with its high bit set: no ASCII or UTF-8 text begins like this
VERSION = 1
_FIXED = 10  # bytes up to and with the checksum, which is the last two of them
_HAS_OPTIONS = 0x08
_CRITICAL = 0x80  # options from here on must be understood, those below may be skipped
_ORIGINAL_SIZE = 1


class Decoded(NamedTuple):
    """What a file holds.

    Attributes:
        integers: quantised coordinates, `[K]`, zero where nothing was decoded.
        class_index: of a class-conditional generator; 0 where there is one class, or where no
            segment was decoded.
    """

    integers: NDArray[np.int32]
    class_index: int


@dataclass(frozen=True)
class IvcFile:
    """The fields of an .ivc file.

    Args:
        fingerprint: the first 4 bytes of the fingerprint of the bundle that decodes it.
        step_index: s in 0..255; the quantiser's step is 2^(-s/16).
        segments: the 1 to 8 coded segments, most important first; of the beginning of a file
            those that are whole.
        original_size: (width, height) of the picture in pixels, 1 to 65535 each, or None where
            it is the generator's own.
        version: of the format.
        missing: how many more segments the whole file has, where only its beginning was read.
        beginning: what was read of the first of those.

    Raises:
        ImageError: the original size does not fit the format.
        ValueError: another field does not.
    """

    fingerprint: bytes
    step_index: int
    segments: tuple[bytes, ...]
    original_size: tuple[int, int] | None = None
    version: int = VERSION
    missing: int = 0
    beginning: bytes = b""

    def __post_init__(self) -> None:
        if self.version != VERSION or len(self.fingerprint) != 4:
            raise ValueError("an .ivc file has version 1 and a fingerprint of 4 bytes")
        count = len(self.segments) + self.missing
        if not 0 <= self.step_index < STEP_INDICES or not 1 <= count <= MAX_SEGMENTS:
            raise ValueError("an .ivc file has a step index in 0..255 and 1 to 8 segments")
        if self.original_size and not all(1 <= side <= 0xFFFF for side in self.original_size):
            width, height = self.original_size
            raise ImageError(f"{width} x {height} pixels: an .ivc file can say 1 to 65535 a side")

    def pack(self) -> bytes:
        """The file's bytes.

        Raises:
            ValueError: segments are missing.
        """
        if self.missing:
            raise ValueError(f"{self.missing} segments of the file are missing")
        options = b""
        if self.original_size:
            value = b"".join(side.to_bytes(2, "big") for side in self.original_size)
            options = bytes([_ORIGINAL_SIZE]) + _pack_length(len(value)) + value + b"\0"
        layout = VERSION << 4 | (_HAS_OPTIONS if options else 0) | (len(self.segments) - 1)
        fixed = MAGIC + bytes([layout]) + self.fingerprint + bytes([self.step_index])
        lengths = b"".join(_pack_length(len(segment)) for segment in self.segments[:-1])
        rest = lengths + options + b"".join(self.segments)
        return fixed + _checksum(fixed + rest) + rest

    @classmethod
    def unpack(cls, data: bytes, first: int | None = None) -> "IvcFile":
        """Read a file's bytes, or so many from its beginning.

        Args:
            data: the file.
            first: read the first so many bytes alone, as if no more had come: those segments that
                lie whole in them, and the beginning of the next. The data itself may then be cut
                short, as a download that broke off: what there is of it cannot be verified, as the
                checksum is that of the whole.

        Raises:
            VersionError: a newer format version, or an option this program must know and does not.
            BitstreamError: not an .ivc file, truncated, or altered.
            OptionError: `first` is negative.
        """
        if first is not None and first < 0:
            raise OptionError(f"the first {first} bytes: at least 0 are needed")
        whole, data = data, data[:first]
        if not MAGIC.startswith(data[: len(MAGIC)]):
            raise BitstreamError("not an .ivc file")
        if len(data) < _FIXED:
            raise BitstreamError(f"truncated: {len(data)} bytes are no whole .ivc header")
        version, layout = data[2] >> 4, data[2] & 0x0F
        if version > VERSION:
            raise VersionError(
                f"format version {version} is newer than this program reads ({VERSION}):"
                " update invcomp"
            )
        at, lengths = _FIXED, []
        for _ in range(layout & (MAX_SEGMENTS - 1)):
            length, at = _unpack_length(data, at)
            lengths.append(length)
        options, at = _unpack_options(data, at) if layout & _HAS_OPTIONS else ({}, at)
        verified = _checksum(whole[: _FIXED - 2] + whole[_FIXED:]) == whole[_FIXED - 2 : _FIXED]
        if first is None or verified:
            _take(whole, at, sum(lengths))
        if first is None and not verified:
            raise BitstreamError("altered, or cut short: its checksum does not match")
        if version < VERSION:
            raise BitstreamError(f"altered: there is no format version {version}")
        segments = _whole_segments(data, at, lengths, len(whole) if verified else None)
        missing = len(lengths) + 1 - len(segments)
        beginning = data[at + sum(map(len, segments)) :] if missing else b""
        return cls(
            data[3:7],
            data[7],
            segments,
            _read_options(options),
            missing=missing,
            beginning=beginning,
        )


def encode(
    integers: NDArray[np.integer[Any]],
    step_index: int,
    tables: PriorTables,
    fingerprint: bytes,
    original_size: tuple[int, int] | None = None,
    class_index: int = 0,
    overhead: float = 1.0,
) -> bytes:
    """Code quantised coordinates to an .ivc file.

    Args:
        integers: `[K]`, each within +-(2^31 - 1).
        step_index: in 0..255; the integers count steps of 2^(-step_index / 16).
        tables: the bundle's tables.
        fingerprint: the first 4 bytes of the bundle's.
        original_size: (width, height) in pixels, None where it is the generator's own.
        class_index: of a class-conditional generator; it costs nothing where there is one class.
        overhead: part of the file that the bundle's segments may cost; where they cost more, all
            coordinates are in one. Below 0 they always are.

    Returns:
        The bytes of the file.

    Raises:
        ImageError: the original size is over 65535 pixels a side.
        OptionError: the step index is not in 0..255.
        ValueError: integers of another shape or out of range, or such a class.
    """
    rows = tables.rows(step_index)
    if integers.shape != rows.shape:
        raise ValueError(f"integers {integers.shape} do not fit tables of {rows.shape}")
    if not 0 <= class_index < tables.classes:
        raise ValueError(f"class {class_index} is not one of {tables.classes}")

    def file_of(parts: tuple[slice, ...]) -> bytes:
        segments = (
            encode_segment(
                integers[part],
                rows[part],
                tables,
                class_index if part.start == 0 and tables.classes > 1 else None,
            )
            for part in parts
        )
        return IvcFile(fingerprint, step_index, tuple(segments), original_size).pack()

    several, one = file_of(tables.segments), file_of(tables.parts(1))
    return one if len(several) - len(one) > overhead * len(several) else several


def decode(file: IvcFile, tables: PriorTables, segments: int | None = None) -> Decoded:
    """Take back the quantised coordinates of a file, and its class.

    Whether the file belongs to the tables is for the caller to see: compare the fingerprints.

    Args:
        file: what `IvcFile.unpack` gave.
        tables: the tables of the bundle that the file names.
        segments: how many of the segments to decode, from the first; None for all, and for what
            the beginning of the next one settles.

    Raises:
        BitstreamError: a segment is altered, or the file has other segments than the tables.
        OptionError: the file has no such number of segments.
    """
    parts = tables.parts(len(file.segments) + file.missing)
    if segments is not None and not 0 <= segments <= len(file.segments):
        raise OptionError(f"{segments} segments asked for, the file has {len(file.segments)}")
    rows = tables.rows(file.step_index)
    integers, class_index = np.zeros(len(rows), dtype=np.int32), 0
    for data, part in list(zip(file.segments, parts, strict=False))[:segments]:
        if part.start == 0 and tables.classes > 1:
            class_index, integers[part] = decode_class_and_segment(data, rows[part], tables)
        else:
            integers[part] = decode_segment(data, rows[part], tables)
    if segments is None and file.missing:
        part = parts[len(file.segments)]
        with_class = part.start == 0 and tables.classes > 1
        settled = decode_beginning(file.beginning, rows[part], tables, with_class)
        class_index, integers[part] = (settled[0] if with_class else class_index), settled[1]
    return Decoded(integers, class_index)


def _checksum(data: bytes) -> bytes:
    return crc_hqx(data, 0xFFFF).to_bytes(2, "big")


def _take(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise BitstreamError(f"truncated: {len(data)} bytes of at least {at + length}")
    return data[at : at + length]


def _whole_segments(
    data: bytes, at: int, lengths: list[int], size: int | None
) -> tuple[bytes, ...]:
    """The segments that lie whole in a file's beginning.

    Args:
        data: the beginning.
        at: where the first segment begins.
        lengths: of all but the last.
        size: of the whole file, where the last ends; None: nobody knows.
    """
    bounds = [*accumulate(lengths, initial=at), *([] if size is None else [size])]
    return tuple(data[a:b] for a, b in pairwise(bounds) if b <= len(data))


def _pack_length(length: int) -> bytes:
    return b"\xff" * (length // 255) + bytes([length % 255])


def _unpack_length(data: bytes, at: int) -> tuple[int, int]:
    """The length that stands at `at`, and where it ends."""
    length = 0
    while (byte := _take(data, at, 1)[0]) == 255:
        length, at = length + byte, at + 1
    return length + byte, at + 1


def _unpack_options(data: bytes, at: int) -> tuple[dict[int, bytes], int]:
    """The options that begin at `at`, by tag, and where they end."""
    options: dict[int, bytes] = {}
    while tag := _take(data, at, 1)[0]:
        if options and tag <= max(options):
            raise BitstreamError("altered: its options are out of order")
        length, at = _unpack_length(data, at + 1)
        options[tag] = _take(data, at, length)
        at += length
    return options, at + 1


def _read_options(options: dict[int, bytes]) -> tuple[int, int] | None:
    """The original size, if the options give one."""
    for tag in options:
        if tag >= _CRITICAL:
            raise VersionError(f"it needs option {tag}, which this program lacks: update invcomp")
    value = options.get(_ORIGINAL_SIZE)
    if value is None:
        return None
    width, height = int.from_bytes(value[:2], "big"), int.from_bytes(value[2:], "big")
    if len(value) != 4 or not (width and height):
        raise BitstreamError("altered: its original size makes no sense")
    return width, height
