"""Range coding of integers with `constriction`, to the shortest byte string that decodes.

A payload does not depend on the rest of its file.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from ..errors import BitstreamError
from .tables import LARGEST_INTEGER, PriorTables


def encode_payload(
    integers: NDArray[np.integer[Any]],
    rows: NDArray[np.int64],
    tables: PriorTables,
    class_index: int | None = None,
    escapes_last: bool = False,
) -> bytes:
    """Codes integers to the only byte string that `decode_payload` accepts for them.

    It is less than one byte longer than the ideal code length, apart from the loss of the range
    coder (about a ten-thousandth of a bit for each symbol). Zeros alone take no bytes, even with
    the class 0.

    Args:
        integers: `[m]`, each within +-(2^31 - 1).
        rows: `[m]`, the table row of each (`PriorTables.rows`).
        tables: the tables.
        class_index: coded before the integers, if the tables have several classes.
        escapes_last: the order of version 1, in which escape codes follow all symbols. In version 2
            each follows its own symbol, so that any beginning of a payload decodes.

    Raises:
        ValueError: an integer is out of range, or the shapes differ.
    """
    values = integers.astype(np.int64)
    if values.shape != rows.shape:
        raise ValueError(f"integers {values.shape} do not fit rows {rows.shape}")
    if values.min() < -LARGEST_INTEGER or values.max() > LARGEST_INTEGER:
        raise ValueError("integers must lie within +-(2^31 - 1)")
    escaped = np.abs(values) > tables.largest
    symbols = np.where(values > 0, 2 * values - 1, -2 * values)
    symbols[escaped] = 2 * tables.largest + 1
    encoder, start = stream.queue.RangeEncoder(), 0
    if class_index is not None:
        encoder.encode(class_index, stream.model.Uniform(tables.classes))
    family, weights = stream.model.Categorical(perfect=False), _weights(rows, tables)
    codes = {
        int(index): _escape_bits(int(values[index]), tables.largest)
        for index in np.flatnonzero(escaped)
    }
    if escapes_last:
        codes = {len(values) - 1: [bit for code in codes.values() for bit in code]}
    for index, bits in {**codes, len(values) - 1: codes.get(len(values) - 1, [])}.items():
        run = slice(start, index + 1)
        encoder.encode(symbols[run].astype(np.int32), family, weights[run])
        encoder.encode(np.array(bits, dtype=np.int32), stream.model.Uniform(2))
        start = index + 1
    return _shortest(encoder)


def decode_payload(
    data: bytes,
    rows: NDArray[np.int64],
    tables: PriorTables,
    with_class: bool = False,
    escapes_last: bool = False,
) -> tuple[int, NDArray[np.int32]]:
    """Decodes the class, 0 if none was coded, and the integers `[m]` of `encode_payload`.

    Raises:
        BitstreamError: `encode_payload` does not write these bytes.
    """
    decoder, class_index = _decoder(data), 0
    try:
        if with_class:
            class_index = int(decoder.decode(stream.model.Uniform(tables.classes)))
        values = _decode_integers(decoder, _weights(rows, tables), tables.largest, escapes_last)
    except AssertionError as error:  # from constriction, if no symbol has this code
        raise BitstreamError("altered: its payload holds a code that means nothing") from error
    # Only the shortest code is valid. This detects many errors that the checksum misses.
    coded = encode_payload(values, rows, tables, class_index if with_class else None, escapes_last)
    if coded != data:
        raise BitstreamError("altered: its payload is not in its shortest form")
    return class_index, values


def _decode_integers(
    decoder: Any, weights: NDArray[np.float64], largest: int, escapes_last: bool
) -> NDArray[np.int32]:
    family, escape = stream.model.Categorical(perfect=False), 2 * largest + 1
    if escapes_last:
        symbols: NDArray[np.int32] = decoder.decode(family, weights)
        values = _values(symbols)
        for index in np.flatnonzero(symbols == escape):
            values[index] = _decode_escape(decoder, largest)
        return values
    again = decoder.clone()
    with contextlib.suppress(
        AssertionError
    ):  # after an escape; other errors are raised again below
        symbols = decoder.decode(family, weights)  # all at once: nearly all files have no escape
        if not (symbols == escape).any():
            return _values(symbols)
    values = np.zeros(len(weights), dtype=np.int32)
    for at in range(len(weights)):
        symbol = again.decode(family, weights[at : at + 1])
        is_escape = symbol[0] == escape
        values[at] = _decode_escape(again, largest) if is_escape else _values(symbol)[0]
    return values


def decode_beginning(
    data: bytes,
    rows: NDArray[np.int64],
    tables: PriorTables,
    with_class: bool = False,
    escapes_last: bool = False,
) -> tuple[int, NDArray[np.int32]]:
    """Decodes the beginning of a payload: class, if it has one, and integers `[m]`.

    Integers are zero from the first one that these bytes do not determine. The class is 0 if it is
    not determined.

    The missing bytes lie between all zeros and all ones, and the symbols of a range coder are
    monotonic in them. So a symbol is determined if both ends decode to it.
    """
    values = np.zeros(len(rows), dtype=np.int32)
    ends = [_decoder(data + 16 * byte) for byte in (b"\x00", b"\xff")]
    weights, class_index = _weights(rows, tables), 0

    def settled(read: Callable[[Any], int]) -> int:
        low, high = map(read, ends)
        if low != high:
            raise _Unsettled
        return low

    try:
        if with_class:
            uniform = stream.model.Uniform(tables.classes)
            class_index = settled(lambda end: int(end.decode(uniform)))
        for index in range(len(rows)):
            row = weights[index : index + 1]
            symbol = settled(partial(_decode_symbol, row))
            if symbol < 2 * tables.largest + 1:
                values[index] = int(_values(np.array([symbol]))[0])
            elif escapes_last:  # its code follows after all symbols
                break
            else:
                values[index] = settled(lambda end: _decode_escape(end, tables.largest))
    except (_Unsettled, AssertionError, BitstreamError):  # as in decode_payload
        pass
    return class_index, values


def _decode_symbol(row: NDArray[np.float64], decoder: Any) -> int:
    return int(decoder.decode(stream.model.Categorical(perfect=False), row)[0])


class _Unsettled(Exception):
    """The next symbol depends on missing bytes."""


def _values(symbols: NDArray[np.int32]) -> NDArray[np.int32]:
    """Integers of symbols in the order 0, 1, -1, 2, -2, ...; undefined for the escape."""
    return np.where(symbols % 2, symbols // 2 + 1, -(symbols // 2))


def _decoder(data: bytes) -> Any:
    words = np.frombuffer(data + bytes(-len(data) % 4), dtype=">u4").astype(np.uint32)
    return stream.queue.RangeDecoder(words)


def _weights(rows: NDArray[np.int64], tables: PriorTables) -> NDArray[np.float64]:
    """The tables of the rows, `[m, 2M + 2]`, as weights that make constriction use these integers.

    Symbols have the order 0, 1, -1, 2, -2, ..., escape. So bytes of zero, which the decoder reads
    after the end, mean integers of zero. constriction's fast quantisation gives every symbol 1 and
    shares the other 2^24 - n in proportion to the weights. The frequencies minus 1 sum to 2^24 - n,
    so its scale is exactly 1, and its sums of whole numbers are exact.
    """
    magnitudes = np.arange(1, tables.largest + 1)
    pairs = np.stack([magnitudes, -magnitudes], axis=1).ravel() + tables.largest
    order = np.concatenate([[tables.largest], pairs, [2 * tables.largest + 1]])
    return np.asarray(tables.frequencies[np.ix_(rows, order)] - 1, dtype=np.float64)


def _escape_bits(value: int, largest: int) -> list[int]:
    """|value| - largest (>= 1) as an Elias gamma code, then the sign: 0 for plus, 1 for minus."""
    binary = [int(bit) for bit in f"{abs(value) - largest:b}"]
    return [1] * (len(binary) - 1) + [0] + binary[1:] + [int(value < 0)]


def _decode_escape(decoder: Any, largest: int) -> int:
    length, bit = 0, stream.model.Uniform(2)
    while decoder.decode(bit):
        length += 1
        if length >= LARGEST_INTEGER.bit_length():
            raise BitstreamError("altered: its payload holds an integer past 32 bits")
    *binary, sign = decoder.decode(bit, length + 1).tolist()
    magnitude = largest + int("".join(map(str, [1, *binary])), 2)
    if magnitude > LARGEST_INTEGER:
        raise BitstreamError("altered: its payload holds an integer past 32 bits")
    return -magnitude if sign else magnitude


def _shortest(encoder: Any) -> bytes:
    """The shortest byte string that lies in the encoder's final interval when zeros follow it."""
    words_done, (lower, width) = encoder.pos()  # lower: the 64 bits after these words
    size = 4 * (words_done + 2)
    words = encoder.get_compressed().astype(">u4").tobytes()
    point = int.from_bytes(words.ljust(size, b"\0"), "big")  # a number inside the interval
    low = point - (point - lower) % 2**64
    length, value = 0, 0
    while value << 8 * (size - length) not in range(low, low + width):
        length += 1
        value = -(-low >> 8 * (size - length))  # low, rounded up to `length` bytes
    return value.to_bytes(length, "big")
