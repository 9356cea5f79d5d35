"""The .ivc container: one compressed image. docs/format.md specifies it.

Version 2 is written. Version 1 is read too.
"""

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..entropy.model import STEP_INDICES, Decoded, EntropyModel
from ..errors import BitstreamError, ImageError, OptionError, VersionError

MAGIC = b"\xc9V"  # 0xC9 is an I with its high bit set; no ASCII or UTF-8 text begins like this
VERSION = 2
MAX_LAYERS = 7  # after the coordinates; the count has three bits
_FIXED = 10  # bytes up to the end of the checksum, which has the last two
_HAS_OPTIONS = 0x08
_CRITICAL = 0x80  # options and layers from this tag on must be known, others may be skipped
_ORIGINAL_SIZE, _PADDED = 1, 129  # options
# layers: photo/ reads the first two, latents/detail.py the next, photo/ the details of more faces
FACES, PHOTO, DETAIL, MORE_DETAILS, CONVENTIONAL = 1, 2, 3, 4, 129
LARGEST_FILE = 1 << 26  # bytes that `read_ivc` reads
NO_BUNDLE = bytes(4)  # the fingerprint of a file that needs none


class Layer(NamedTuple):
    """A part of a file after the coordinates.

    Attributes:
        tag: the kind of layer, 1 to 255. A reader must know tags from 128 on.
        payload: its bytes.
    """

    tag: int
    payload: bytes


@dataclass(frozen=True)
class IvcFile:
    """The fields of an .ivc file.

    Args:
        fingerprint: the first 4 bytes of the fingerprint of the bundle that decodes it.
        step_index: s in 0..255; q_step is 2^(-s/16).
        payloads: the coded coordinates. Version 2 has one, version 1 one for each of 1 to 8
            segments of the coordinates. Of a partial file, the complete ones.
        original_size: (width, height) of the original in pixels, 1 to 65535 each; None: the
            generator's own size.
        layers: parts after the coordinates, at most 7, with increasing tags. Of a partial file, the
            complete ones.
        version: of the format.
        missing: number of payloads that are missing from a partial file.
        beginning: the bytes that were read of the first missing payload.
        padded: whether the original was scaled into the generator's square and padded on its
            shorter axis; it then has an original size. Otherwise it was stretched to the square.
        cut: of a partial file, the layer that ends too early, with the bytes that were read.

    Raises:
        ImageError: the original size does not fit the format.
        ValueError: another field does not fit the format.
    """

    fingerprint: bytes
    step_index: int
    payloads: tuple[bytes, ...]
    original_size: tuple[int, int] | None = None
    layers: tuple[Layer, ...] = ()
    version: int = VERSION
    missing: int = 0
    beginning: bytes = b""
    padded: bool = False
    cut: Layer | None = None

    def __post_init__(self) -> None:
        if len(self.fingerprint) != 4 or not 0 <= self.step_index < STEP_INDICES:
            raise ValueError("an .ivc file has a fingerprint of 4 bytes and a step index in 0..255")
        if self.version not in (1, VERSION):
            raise ValueError(f"there is no format version {self.version}")
        if self.version == VERSION and len(self.payloads) + self.missing != 1:
            raise ValueError("an .ivc file of version 2 has one payload of coordinates")
        tags = [layer.tag for layer in self.layers]
        if len(tags) > MAX_LAYERS or any(b <= a for a, b in pairwise([0, *tags, 256])):
            raise ValueError(f"layers have at most {MAX_LAYERS} increasing tags in 1..255")
        if self.original_size and not all(1 <= side <= 0xFFFF for side in self.original_size):
            width, height = self.original_size
            raise ImageError(f"{width} x {height} pixels: an .ivc file can say 1 to 65535 a side")
        if self.padded and not self.original_size:
            raise ValueError("a padded image has an original size")

    @property
    def needs_bundle(self) -> bool:
        """Whether a bundle decodes it; else its image is a conventional codec's stream."""
        return self.layer(CONVENTIONAL) is None

    def has(self, tag: int) -> bool:
        """Whether the file has a layer with a tag, or the beginning of one."""
        return self.layer(tag) is not None or (self.cut is not None and self.cut.tag == tag)

    def layer(self, tag: int) -> bytes | None:
        """The payload of the layer with a tag; None if the file has none."""
        return next((layer.payload for layer in self.layers if layer.tag == tag), None)

    def pack(self) -> bytes:
        """The file's bytes, in version 2.

        Raises:
            ValueError: a payload is missing, or the file is of version 1.
        """
        if self.missing or self.version != VERSION:
            raise ValueError(f"only whole files of version {VERSION} are written")
        options = b""
        if self.original_size:
            value = b"".join(side.to_bytes(2, "big") for side in self.original_size)
            options = bytes([_ORIGINAL_SIZE]) + pack_length(len(value)) + value
            options += bytes([_PADDED, 0]) * self.padded + b"\0"
        layout = VERSION << 4 | (_HAS_OPTIONS if options else 0) | len(self.layers)
        fixed = MAGIC + bytes([layout]) + self.fingerprint + bytes([self.step_index])
        tags = bytes(layer.tag for layer in self.layers)
        chunks = [*self.payloads, *(layer.payload for layer in self.layers)]
        lengths = b"".join(pack_length(len(chunk)) for chunk in chunks[:-1])
        rest = tags + lengths + options + b"".join(chunks)
        return fixed + _checksum(fixed + rest) + rest

    @classmethod
    def unpack(cls, data: bytes, first: int | None = None) -> "IvcFile":
        """Reads a file's bytes, or a number of bytes from its beginning.

        Args:
            data: the file.
            first: use this many bytes only: payloads and layers that are complete in them, and the
                beginning of the next payload. The data may then be truncated, for example by an
                interrupted download. Truncated data cannot be verified, because the checksum is
                that of the whole file.

        Raises:
            VersionError: the format version is newer, or the file has an unknown option or layer
                that must be known.
            BitstreamError: the data is not an .ivc file, truncated, or altered.
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
        more = layout & 0x07  # segments in version 1, layers in version 2
        tags = _take(data, _FIXED, more) if version == VERSION else b""
        at, lengths = _FIXED + len(tags), []
        for _ in range(more):
            length, at = unpack_length(data, at)
            lengths.append(length)
        options, at = _unpack_options(data, at) if layout & _HAS_OPTIONS else ({}, at)
        verified = _checksum(whole[: _FIXED - 2] + whole[_FIXED:]) == whole[_FIXED - 2 : _FIXED]
        if first is None or verified:
            _take(whole, at, sum(lengths))
        if first is None and not verified:
            raise BitstreamError("altered, or cut short: its checksum does not match")
        if version == 0:
            raise BitstreamError("altered: there is no format version 0")
        _check_tags(tags)
        chunks = _complete_chunks(data, at, lengths, len(whole) if verified else None)
        count = 1 if version == VERSION else more + 1
        payloads, missing = chunks[:count], max(0, count - len(chunks))
        size, padded = _read_options(options)
        cut, ended = None, at + sum(map(len, chunks))
        if not missing and len(chunks) - count < len(tags):
            cut = Layer(tags[len(chunks) - count], data[ended:])
        if CONVENTIONAL in tags:
            _check_conventional(data[:8], tags, lengths, len(chunks), padded)
        return cls(
            data[3:7],
            data[7],
            payloads,
            size,
            tuple(map(Layer, tags, chunks[count:])),
            version,
            missing,
            data[ended:] if missing else b"",
            padded,
            cut,
        )


def read_ivc(path: Path) -> bytes:
    """The bytes of a file, which may be a pipe.

    Raises:
        BitstreamError: it has over 64 MB, or no end.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise BitstreamError(f"over {LARGEST_FILE:,} bytes are no .ivc file")
    return data


def encode(
    integers: NDArray[np.integer[Any]],
    step_index: int,
    entropy: EntropyModel,
    fingerprint: bytes,
    original_size: tuple[int, int] | None = None,
    class_index: int = 0,
    padded: bool = False,
    layers: Sequence[Layer] = (),
) -> bytes:
    """Codes quantised coordinates to an .ivc file.

    Args:
        integers: `[K]`, each within +-(2^31 - 1).
        step_index: in 0..255. The integers are in units of q_step = 2^(-step_index / 16).
        entropy: the bundle's entropy model.
        fingerprint: the first 4 bytes of the bundle's.
        original_size: (width, height) in pixels; None: the generator's own size.
        class_index: of a class-conditional generator. It takes no bits if there is one class.
        padded: as in `IvcFile`.
        layers: after the coordinates.

    Returns:
        The bytes of the file.

    Raises:
        ImageError: the original size is over 65535 pixels a side.
        OptionError: the step index is not in 0..255.
        ValueError: the integers have another shape or are out of range, or the class is.
    """
    payload = entropy.encode(integers, step_index, class_index)
    fixed = fingerprint, step_index, (payload,), original_size, tuple(layers)
    return IvcFile(*fixed, padded=padded).pack()


def decode(file: IvcFile, entropy: EntropyModel) -> Decoded:
    """Decodes the quantised coordinates of a file, and its class.

    The caller must check that the file fits the entropy model, by the fingerprints.

    Args:
        file: from `IvcFile.unpack`.
        entropy: of the bundle that the file names.

    Raises:
        BitstreamError: a payload is altered, or the segments of a file of version 1 do not fit the
            entropy model.
    """
    whole, payloads = not file.missing, file.payloads
    if not whole:
        payloads = (*payloads, file.beginning)
    if file.version == 1:
        count = len(file.payloads) + file.missing
        return entropy.decode_segments(payloads, count, file.step_index, whole)
    return entropy.decode(payloads[0], file.step_index, whole)


def _checksum(data: bytes) -> bytes:
    return crc_hqx(data, 0xFFFF).to_bytes(2, "big")


def _take(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise BitstreamError(f"truncated: {len(data)} bytes of at least {at + length}")
    return data[at : at + length]


def _check_tags(tags: bytes) -> None:
    """Refuses layers that are out of order, and unknown layers that must be known."""
    if any(b <= a for a, b in pairwise(b"\0" + tags)):
        raise BitstreamError("altered: its layers are out of order")
    for tag in tags:
        if tag >= _CRITICAL and tag != CONVENTIONAL:
            raise VersionError(f"it needs layer {tag}, which this program lacks: update invcomp")


def _check_conventional(
    header: bytes, tags: bytes, lengths: list[int], complete: int, padded: bool
) -> None:
    """Refuses files with a layer "conventional" that hold anything else."""
    if header[3:] != NO_BUNDLE + b"\0" or len(tags) > 1 or lengths[0] or padded:
        raise BitstreamError("altered: beside its conventional stream there is something else")
    if complete < 2:
        raise BitstreamError("truncated: a conventional stream decodes only as a whole")


def _complete_chunks(
    data: bytes, at: int, lengths: list[int], size: int | None
) -> tuple[bytes, ...]:
    """The complete payloads and layers of a partial file.

    Args:
        data: the beginning of the file.
        at: position of the first one.
        lengths: of all but the last.
        size: of the whole file, where the last ends; None: unknown.
    """
    bounds = [*accumulate(lengths, initial=at), *([] if size is None else [size])]
    return tuple(data[a:b] for a, b in pairwise(bounds) if b <= len(data))


def pack_length(length: int) -> bytes:
    """A length in the format's code."""
    return b"\xff" * (length // 255) + bytes([length % 255])


def unpack_length(data: bytes, at: int) -> tuple[int, int]:
    """The length at the position `at`, and the position after it."""
    length = 0
    while (byte := _take(data, at, 1)[0]) == 255:
        length, at = length + byte, at + 1
    return length + byte, at + 1


def _unpack_options(data: bytes, at: int) -> tuple[dict[int, bytes], int]:
    """The options at the position `at`, by tag, and the position after them."""
    options: dict[int, bytes] = {}
    while tag := _take(data, at, 1)[0]:
        if options and tag <= max(options):
            raise BitstreamError("altered: its options are out of order")
        length, at = unpack_length(data, at + 1)
        options[tag] = _take(data, at, length)
        at += length
    return options, at + 1


def _read_options(options: dict[int, bytes]) -> tuple[tuple[int, int] | None, bool]:
    """The original size, if the options give one, and whether the image is padded."""
    for tag in options:
        if tag >= _CRITICAL and tag != _PADDED:
            raise VersionError(f"it needs option {tag}, which this program lacks: update invcomp")
    padded = _PADDED in options
    if padded and (options[_PADDED] or _ORIGINAL_SIZE not in options):
        raise BitstreamError("altered: its padding makes no sense")
    value = options.get(_ORIGINAL_SIZE)
    if value is None:
        return None, padded
    width, height = int.from_bytes(value[:2], "big"), int.from_bytes(value[2:], "big")
    if len(value) != 4 or not (width and height):
        raise BitstreamError("altered: its original size makes no sense")
    return (width, height), padded
